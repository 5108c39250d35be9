//! What control decides is an event each, with its facts in fields, and nothing of a user's is formatted for it on the control thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millpond::{
    Exit, JobOptions, Ladder, LaneChange, Limits, PoolExecutor, Restart, RestartPolicy, Retune, Rung, Select,
    SlotHistory, StartContext, StartError, ThreadPool, TimeLimit, Timestamp, Watchdog,
};
use parking_lot::Mutex;
use tracing::Level;

use crate::listener::{Heard, heard, listen, times_heard};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

/// The pool's event with this message.
#[track_caller]
fn event(pool: &ThreadPool, message: &str) -> Heard {
    let heard = heard("message", message, |heard| heard.fields.get("pool").is_some_and(|name| name == pool.name()));
    assert!(heard.target.starts_with("millpond::"), "{heard:?}");
    heard
}

#[track_caller]
fn assert_fields(heard: &Heard, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        assert_eq!(heard.fields.get(field).map(|is| &**is), Some(*value), "{field} of {heard:?}");
    }
}

#[test]
fn each_decision_is_an_event_with_its_facts() {
    listen();
    let pool = ThreadPool::builder("decided").limits(Limits::fixed(1)).build().expect("it is built");
    assert_fields(&event(&pool, "a worker is being started"), &[("worker", "0.1"), ("restarts", "0")]);
    let ready = event(&pool, "a worker is ready");
    assert_fields(&ready, &[("worker", "0.1")]);
    assert!(ready.fields.contains_key("start_delay"));

    pool.blocking().resize(Limits::fixed(3), LIMIT).expect("it answers");
    assert_fields(&event(&pool, "new limits are in force"), &[("max_before", "1"), ("max", "3"), ("min", "3")]);

    let change = Retune::new().lane(LaneChange::new("default").capacity(7));
    pool.by("night shift").blocking().retune(change, LIMIT).expect("it can be done");
    let changes = "lane `default`: capacity 1024 to 7";
    assert_fields(&event(&pool, "the pool was retuned"), &[("by", "night shift"), ("changes", changes)]);

    let (begin, begun) = std::sync::mpsc::sync_channel(1);
    let stop = Arc::new(std::sync::Barrier::new(2));
    let until = stop.clone();
    let job = move || {
        begin.send(()).expect("the test listens");
        until.wait();
    };
    let stuck = pool.with(JobOptions::new().run_limit(Duration::from_secs(3600))).submit_blocking(job);
    let stuck = stuck.expect("there is a place");
    begun.recv().expect("it runs");
    pool.blocking().terminate(Select::Job(stuck.id()), Ladder::kill(), LIMIT).expect("it answers");
    let rung = event(&pool, "a rung of the ladder");
    assert_fields(&rung, &[("rung", "kill"), ("job", "1"), ("by", "terminated by an operator")]);
    let abandoned = event(&pool, "a worker cannot be made to end: it is abandoned");
    assert_eq!((abandoned.level, &abandoned.fields["worker"]), (Level::WARN, &rung.fields["worker"]));
    stop.wait();
    let gone = heard("exit", "killed", |heard| heard.fields["pool"] == pool.name());
    assert_fields(&gone, &[("message", "a worker is gone"), ("by", "terminated by an operator")]);

    pool.blocking().quiesce(LIMIT).expect("it answers");
    assert_fields(&event(&pool, "the gate moved"), &[("state", "quiesced"), ("by", "operator")]);
    pool.blocking().shutdown(LIMIT).expect("it answers");
    assert_fields(&event(&pool, "the pool was shut down"), &[("completed", "0"), ("not_started", "0")]);
}

/// Notes which threads read it.
struct Shy(Arc<Mutex<Vec<String>>>);

impl Shy {
    fn note(&self) {
        self.0.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
    }
}

impl fmt::Debug for Shy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note();
        f.write_str("Shy")
    }
}

impl fmt::Display for Shy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note();
        f.write_str("shy")
    }
}

impl std::error::Error for Shy {}

struct GiveUp;

impl RestartPolicy for GiveUp {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        if slot.faults.len() < 2 { Restart::After(Duration::ZERO) } else { Restart::Escalate("twice".to_owned()) }
    }
}

#[test]
fn a_fault_is_told_without_reading_the_users_error() {
    listen();
    let readers = Arc::new(Mutex::new(Vec::new()));
    let shy = readers.clone();
    let refuse = move |_: &StartContext| -> Result<(), StartError> { Err(StartError::failed(Shy(shy.clone()))) };
    let builder = ThreadPool::builder("faulty").limits(Limits::fixed(1)).initializer(refuse).restart_policy(GiveUp);
    let pool = builder.build().expect("it is built");
    let fault = event(&pool, "a worker ended by a fault");
    assert_fields(&fault, &[("worker", "0.1"), ("exit", "failed to start")]);
    assert_eq!(fault.level, Level::DEBUG, "the warning has its cause");
    assert_fields(&event(&pool, "a restart was decided"), &[("worker", "0.1"), ("restart", "after")]);
    let given_up = event(&pool, "the pool is given up");
    assert_fields(&given_up, &[("worker", "0.2"), ("restart", "escalate"), ("reason", "twice")]);
    assert_eq!(given_up.level, Level::ERROR);
    let readers = readers.lock().clone();
    assert_eq!(readers, ["faulty-0.1", "faulty-0.2"], "each worker reads its own");
}

/// What the watchdog does is told once each, with the job by its name and line.
#[test]
fn an_overdue_job_is_told_of_once() {
    listen();
    let ladder = Ladder::new().then(Rung::Cancel, Duration::from_millis(5)).then(Rung::Kill, Duration::from_millis(5));
    let watchdog = Watchdog::new(Duration::from_millis(5), ladder);
    let pool = ThreadPool::builder("silent").limits(Limits::fixed(1)).watchdog(watchdog).build().expect("it is built");
    let (end, ends) = std::sync::mpsc::sync_channel::<()>(1);
    let options = JobOptions::new().label("quiet").overdue_after(Duration::from_millis(20));
    let line = line!() + 1;
    let stuck = pool.with(options).submit_blocking(move || ends.recv().is_err()).expect("there is a place");
    let warning = event(&pool, "a job is overdue: it makes no progress");
    assert_eq!(warning.level, Level::WARN);
    assert_fields(&warning, &[("job", "1"), ("claim", "1"), ("label", "quiet")]);
    assert!(warning.fields["from"].starts_with(&format!("tests/tracing/decisions.rs:{line}:")), "{warning:?}");
    stuck.join().expect_err("its worker is taken");
    event(&pool, "a worker cannot be made to end: it is abandoned");
    // Everything about this job, by whatever words.
    let about = |heard: &Heard| heard.fields.get("pool").is_some_and(|name| name == pool.name());
    let told: Vec<_> = ["Cancel", "Kill"].map(|rung| times_heard("rung", rung, about)).into();
    assert_eq!(told, [1, 1]);
    assert_eq!(times_heard("job", "1", about), 3, "the warning and two rungs");
    drop(end);
}

/// Of a hook that the system gives no thread to, the first refusal is told of, and the end of them.
#[cfg(feature = "testing")]
#[test]
fn a_hook_without_a_thread_is_told_of_once_and_when_it_has_one() {
    use std::sync::atomic::Ordering;

    use millpond::testing::SettableClock;
    use millpond::{Hook, HookOptions, HookSpec};

    struct Threadless;
    impl Hook for Threadless {}

    listen();
    let hook = HookSpec::new("threadless", Threadless).options(HookOptions::told_only());
    let (refusals, clock) = (hook.refusals(), SettableClock::new());
    refusals.store(usize::MAX, Ordering::Release);
    let builder = ThreadPool::builder("without-threads").limits(Limits::fixed(1)).clock(clock.clock());
    let pool = builder.hook_spec(hook).build().expect("it is built");
    let tell = || {
        pool.blocking().quiesce(LIMIT).expect("it is open");
        pool.blocking().resume(LIMIT).expect("it is quiesced");
        clock.advance(Duration::from_millis(100));
    };
    (0..5).for_each(|_| tell());
    let about = |level: Level, text: &'static str| {
        move |heard: &Heard| heard.level == level && heard.fields["message"].contains(text)
    };
    assert!(usize::MAX - refusals.load(Ordering::Acquire) >= 5, "it is tried again and again");
    assert_eq!(times_heard("hook", "threadless", about(Level::ERROR, "no thread for a hook")), 1);
    let has_one = || times_heard("hook", "threadless", about(Level::INFO, "a hook has its thread"));
    assert_eq!(has_one(), 0);
    refusals.store(0, Ordering::Release);
    (0..2).for_each(|_| tell());
    assert_eq!(has_one(), 1);
}
