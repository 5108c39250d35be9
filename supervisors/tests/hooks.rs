//! The hooks at pools with threads.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use millpond::{
    ControlError, Hook, HookContext, HookOptions, HookSpec, JobContext, JobOptions, Ladder, LaneChange, Limits, Notice,
    PoolExecutor, Retune, Select, ThreadPool, TimeLimit, Verdict, Watchdog,
};
use millpond_supervisors::hook::{Alarm, Alert, AlertCause, AuditTrail, Tracing};
use parking_lot::Mutex;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const LIMIT: TimeLimit = TimeLimit::secs(30);

/// What breaks a line of JSON that is not escaped.
const NASTY: &str = "no \"more\",\nnot {now}: \u{1} \\ \u{2028} ünï";

/// Collects what is written, a byte short and with an error while it is broken.
#[derive(Clone, Default)]
struct Paper(Arc<(Mutex<Vec<u8>>, AtomicBool, AtomicUsize)>);

impl Paper {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.0.lock().clone()).expect("it is text");
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    fn of(&self, what: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["what"] == *what).collect()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.1.load(Ordering::SeqCst) {
            self.0.2.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("out of paper"));
        }
        self.0.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Denies;

impl Hook for Denies {
    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        Verdict::deny(NASTY)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for another thread")]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited for ever until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_question_and_all_that_happens_is_a_line_of_json() -> Outcome {
    let paper = Paper::default();
    let trail = AuditTrail::new(paper.clone());
    let pool = ThreadPool::builder("audited").limits(Limits::fixed(1)).build()?;
    until("it is up", || pool.saturation().idle == 1);
    pool.blocking().set_hook(trail.spec("audit"), LIMIT)?;
    pool.blocking().set_hook(HookSpec::new("budget", Denies), LIMIT)?;
    let refused = pool.by("day shift").blocking().resize(Limits::fixed(4), LIMIT);
    assert!(matches!(refused, Err(ControlError::Vetoed { .. })));
    let change = Retune::new().lane(LaneChange::new("default").capacity(7));
    pool.by("night shift").blocking().retune(change, LIMIT)?;
    let worker = pool.inventory_now().workers[0].worker;
    pool.by("night shift").blocking().terminate(Select::worker(worker), Ladder::kill(), LIMIT)?;
    until("another is up", || pool.inventory_now().workers.iter().any(|row| row.worker != worker));
    pool.blocking().shutdown(LIMIT)?;
    until("the end is written", || paper.of("gate").iter().any(|line| line["state"] == "closed"));

    let vetoed = &paper.of("vetoed")[0];
    assert_eq!((&vetoed["question"], &vetoed["asked_for"]), (&"resize".into(), &"day shift".into()), "{vetoed}");
    assert_eq!((&vetoed["vetoed_by"], &vetoed["because"]), (&"budget".into(), &NASTY.into()), "{vetoed}");
    assert_eq!((&vetoed["from"]["max"], &vetoed["to"]["max"]), (&1.into(), &4.into()), "{vetoed}");
    let answer = &vetoed["answers"][0];
    assert_eq!(
        (&answer["hook"], &answer["verdict"], &answer["defaulted"]),
        (&"budget".into(), &"deny".into(), &false.into())
    );
    let allowed = &paper.of("allowed")[0];
    assert_eq!(
        (&allowed["question"], &allowed["answers"][0]["verdict"]),
        (&"start".into(), &"allow".into()),
        "{allowed}"
    );
    let retuned = &paper.of("retuned")[0];
    assert_eq!(retuned["by"], "night shift");
    assert!(retuned["changed"].as_str().is_some_and(|text| text.contains("lane `default`: capacity")), "{retuned}");
    let gone = &paper.of("worker gone")[0];
    assert_eq!(
        (&gone["worker"], &gone["by"]),
        (&worker.to_string().into(), &"terminated by night shift".into()),
        "{gone}"
    );
    let terminated = &paper.of("terminated")[0];
    assert_eq!(
        (&terminated["by"], &terminated["targets"][0]["rung"]),
        (&"night shift".into(), &"kill".into()),
        "{terminated}"
    );
    assert_eq!(terminated["targets"][0]["worker"], worker.to_string(), "{terminated}");
    let gates: Vec<_> = paper.of("gate").iter().map(|line| (line["state"].clone(), line["by"].clone())).collect();
    assert_eq!(gates, [("draining".into(), "operator".into()), ("closed".into(), "operator".into())]);
    for line in paper.lines() {
        assert!(line["pool"] == "audited" && line["at_ns"].is_u64() && line["unix_ms"].is_u64(), "{line}");
        assert_ne!(line["what"], "other", "each notice has a shape of its own: {line}");
    }
    assert_eq!(trail.lost(), 0);
    Ok(())
}

struct Panics;

impl Hook for Panics {
    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        panic!("no idea")
    }
}

/// What a trail is worth most for: who was let in to decide, who failed at that, and who ended the trail itself.
#[test]
fn hooks_that_come_go_and_fail_are_in_the_trail() -> Outcome {
    let paper = Paper::default();
    let trail = AuditTrail::new(paper.clone());
    let pool = ThreadPool::builder("guarded").limits(Limits::new(0, 1)).hook_spec(trail.spec("audit")).build()?;
    let options = HookOptions::new().limit(LIMIT.0).default_verdict(Verdict::deny("unanswered"));
    let shaky = || HookSpec::new("shaky", Panics).options(options.clone());
    pool.by("ann").blocking().set_hook(shaky(), LIMIT)?;
    pool.by("bob").blocking().set_hook(shaky(), LIMIT)?;
    assert!(pool.blocking().resize(Limits::new(0, 2), LIMIT).is_err());
    pool.by("ann").blocking().remove_hook("shaky", LIMIT)?;
    pool.by("mallory").blocking().remove_hook("audit", LIMIT)?;
    until("its own end is written", || paper.of("hook").len() == 4);
    let changes: Vec<_> =
        paper.of("hook").iter().map(|line| ["hook", "change", "by"].map(|field| line[field].clone())).collect();
    let expected = [
        ["shaky", "added", "ann"],
        ["shaky", "replaced", "bob"],
        ["shaky", "removed", "ann"],
        ["audit", "removed", "mallory"],
    ];
    assert_eq!(changes, expected.map(|line| line.map(Value::from)));
    let fault = &paper.of("hook fault")[0];
    for (field, value) in
        [("hook", "shaky"), ("question", "resize"), ("fault", "it panicked: no idea"), ("reason", "unanswered")]
    {
        assert_eq!(fault[field], value, "{fault}");
    }
    Ok(())
}

/// Warned about, asked, and that it heeded that.
#[test]
fn each_rung_of_an_overdue_job_is_in_the_trail() -> Outcome {
    let paper = Paper::default();
    let trail = AuditTrail::new(paper.clone());
    let watchdog = Watchdog::new(Duration::ZERO, Ladder::cooperative(LIMIT.0));
    let builder = ThreadPool::builder("watched").limits(Limits::fixed(1)).watchdog(watchdog);
    let pool = builder.hook_spec(trail.spec("audit")).hook_spec(Tracing.spec("log")).build()?;
    let log = Log::install();
    let silent = pool.with(JobOptions::new().overdue_after(Duration::from_millis(1))).submit_blocking(|| {
        let cx = JobContext::current().expect("a job has a context");
        until("it is asked to stop", || cx.is_cancelled());
    })?;
    silent.join()?;
    until("that is written", || !paper.of("terminated").is_empty());
    for (what, field, value) in
        [("overdue", "by", "watchdog"), ("overdue rung", "rung", "cancel"), ("overdue rung", "by", "watchdog")]
    {
        assert_eq!(paper.of(what)[0][field], value, "{:?}", paper.of(what));
    }
    let over = &paper.of("terminated")[0];
    let target = &over["targets"][0];
    assert_eq!(
        (&over["by"], &target["rung"], &target["fate"]),
        (&"watchdog".into(), &"cancel".into(), &"finished by itself".into()),
        "{over}"
    );
    until("the log has it", || {
        log.starts(Level::INFO, "watched", "job #1 on worker 0.1: finished by itself at cancel") == 1
    });
    Ok(())
}

#[test]
fn a_trail_that_cannot_be_written_counts_and_goes_on() -> Outcome {
    let log = Log::install();
    let paper = Paper::default();
    let trail = AuditTrail::new(paper.clone());
    let pool = ThreadPool::builder("unwritten").limits(Limits::new(0, 1)).hook_spec(trail.spec("audit")).build()?;
    let pause = || pool.blocking().quiesce(LIMIT).and_then(|()| pool.blocking().resume(LIMIT));
    pause()?;
    until("both are written", || paper.of("gate").len() == 2);
    paper.0.1.store(true, Ordering::SeqCst);
    for times in 1..=3 {
        pause()?;
        until("they are lost", || trail.lost() == times * 2);
    }
    assert_eq!(paper.0.2.load(Ordering::SeqCst), 6, "each line is tried once");
    assert_eq!(log.count(Level::ERROR, "unwritten", "an audit trail cannot be written: out of paper"), 1);
    paper.0.1.store(false, Ordering::SeqCst);
    pause()?;
    until("it goes on", || text_of(&paper).matches("\"gate\"").count() == 4);
    let lines: Vec<Value> = text_of(&paper)
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let whats: Vec<_> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    assert_eq!(whats, ["gate", "gate", "lost", "gate", "gate"]);
    assert_eq!((&lines[2]["lines"], trail.lost()), (&6.into(), 6));
    Ok(())
}

fn text_of(paper: &Paper) -> String {
    String::from_utf8(paper.0.0.lock().clone()).expect("it is text")
}

#[test]
fn an_alarm_is_raised_while_a_pool_is_saturated_and_cleared_after() -> Outcome {
    let (alerts, told) = sync_channel(16);
    let alarm = Alarm::new(move |alert| drop(alerts.try_send(alert))).quiet(Duration::ZERO);
    let log = Log::install();
    let pool = ThreadPool::builder("alarmed").limits(Limits::fixed(1)).hook_spec(alarm.spec("alarm"));
    let pool = pool.hook_spec(Tracing.spec("log")).build()?;
    let (release, released) = sync_channel::<()>(1);
    let holds = pool.submit_blocking(move || released.recv().is_ok())?;
    let waits = pool.submit_blocking(|| ())?;
    let raised = told.recv_timeout(LIMIT.0)?;
    assert_eq!((&*raised.pool, raised.raised, raised.saturation.queued), ("alarmed", true, 1), "{raised}");
    assert!(
        raised.since < raised.at && raised.to_string().starts_with("pool `alarmed` is saturated, after "),
        "{raised}"
    );
    release.send(())?;
    assert!(holds.join()?);
    waits.join()?;
    let cleared = told.recv_timeout(LIMIT.0)?;
    assert_eq!((cleared.raised, cleared.since), (false, raised.since), "{cleared}");
    assert!(told.try_recv().is_err());
    until("the log has it", || log.count(Level::INFO, "alarmed", "the pool is saturated no more") == 1);
    assert_eq!(log.count(Level::WARN, "alarmed", "the pool is saturated"), 1);
    Ok(())
}

/// It does not stand for a pool that is gone, or that it knows nothing of any more.
#[test]
fn an_alarm_ends_with_its_pool_however_that_ends_and_with_itself() -> Outcome {
    let ends: [(fn(&ThreadPool), _); 5] = [
        (|pool| assert!(pool.blocking().shutdown(LIMIT).is_ok()), AlertCause::Ended),
        (|pool| pool.abort(), AlertCause::Ended),
        (|pool| pool.actor().stop(None), AlertCause::Ended),
        (|pool| pool.actor().kill(), AlertCause::Ended),
        (|pool| pool.blocking().remove_hook("alarm", LIMIT).expect("it is there"), AlertCause::LetGo),
    ];
    for (end, cause) in ends {
        let (alerts, told) = sync_channel(16);
        let alarm = Alarm::new(move |alert| drop(alerts.try_send(alert))).clear_after(Duration::from_secs(3600));
        let pool =
            ThreadPool::builder("short-lived").limits(Limits::fixed(1)).hook_spec(alarm.spec("alarm")).build()?;
        let (release, released) = sync_channel::<()>(1);
        let holds = pool.submit_blocking(move || released.recv().is_ok())?;
        let waits = pool.submit_blocking(|| ())?;
        let raised = told.recv_timeout(LIMIT.0)?;
        assert_eq!((raised.raised, raised.cause), (true, AlertCause::Saturated));
        release.send(())?;
        assert!(holds.join()?);
        waits.join()?;
        end(&pool);
        let cleared = told.recv_timeout(LIMIT.0)?;
        assert_eq!((cleared.raised, cleared.cause, cleared.since), (false, cause, raised.since), "{cleared}");
        assert!(cleared.at >= raised.at && cleared.to_string().starts_with("pool `short-lived` "), "{cleared}");
        assert!(told.recv().is_err(), "nobody tells anything any more");
        until("its name is free", || cause == AlertCause::LetGo || ractor::registry::where_is("short-lived").is_none());
    }
    Ok(())
}

/// One that is let go of may panic as it says so: that is logged, and harms nobody.
#[test]
fn whoever_an_alarm_tells_may_panic_when_it_is_let_go_of() -> Outcome {
    let log = Log::install();
    let (alerts, told) = sync_channel(16);
    let tell = move |alert: Alert| {
        assert!(alert.raised, "on purpose");
        drop(alerts.try_send(alert));
    };
    let alarm = Alarm::new(tell).spec("alarm");
    let pool = ThreadPool::builder("let-go").limits(Limits::fixed(1)).hook_spec(alarm).build()?;
    let (release, released) = sync_channel::<()>(1);
    let holds = pool.submit_blocking(move || released.recv().is_ok())?;
    let waits = pool.submit_blocking(|| ())?;
    assert!(told.recv_timeout(LIMIT.0)?.raised);
    pool.blocking().remove_hook("alarm", LIMIT)?;
    let message = "whoever an alarm tells panicked when it was let go of";
    until("that is logged", || log.count(Level::ERROR, "let-go", message) == 1);
    release.send(())?;
    assert!(holds.join()?);
    waits.join()?;
    Ok(())
}

/// Tells when its pool is relieved.
struct Relief(std::sync::mpsc::SyncSender<()>);

impl Hook for Relief {
    async fn told(&self, _cx: &HookContext, notice: &Notice) {
        if let Notice::Relieved { .. } = notice {
            self.0.try_send(()).expect("the test listens");
        }
    }
}

#[test]
fn an_alarm_that_missed_the_relief_is_cleared_when_it_has_caught_up() -> Outcome {
    let (alerts, told) = sync_channel(16);
    let (go_on, goes_on) = sync_channel::<()>(16);
    let goes_on = Mutex::new(goes_on);
    let alarm = Alarm::new(move |alert| {
        drop(alerts.try_send(alert));
        // Whoever is told takes his time.
        goes_on.lock().recv().expect("the test goes on");
    });
    let (relief, relieved) = sync_channel(16);
    let pool = ThreadPool::builder("slow-alarm").limits(Limits::fixed(1)).hook("relief", Relief(relief));
    let pool = pool.hook_spec(alarm.spec("alarm")).build()?;
    let (release, released) = sync_channel::<()>(1);
    let holds = pool.submit_blocking(move || released.recv().is_ok())?;
    let waits = pool.submit_blocking(|| ())?;
    let raised = told.recv_timeout(LIMIT.0)?;
    for _ in 0..50 {
        pool.blocking().quiesce(LIMIT)?;
        pool.blocking().resume(LIMIT)?;
    }
    let row = |name: &str| pool.blocking().hooks(LIMIT).map(|rows| rows.into_iter().find(|row| *row.name == *name));
    assert!(row("alarm")?.is_some_and(|row| row.missed > 0), "its mailbox is full");
    release.send(())?;
    assert!(holds.join()?);
    waits.join()?;
    relieved.recv_timeout(LIMIT.0)?;
    assert!(told.try_recv().is_err());
    go_on.send(())?;
    let cleared = told.recv_timeout(LIMIT.0)?;
    assert_eq!((cleared.cause, cleared.since), (AlertCause::Relieved, raised.since), "{cleared}");
    assert_eq!(cleared.saturation.queued, 0, "{cleared}");
    go_on.send(())?;
    Ok(())
}

/// Messages of `millpond_supervisors`, with level and pool.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String, String)>>>);

impl Log {
    /// The one of this process: hooks have threads of their own.
    fn install() -> Self {
        static LOG: std::sync::LazyLock<Log> = std::sync::LazyLock::new(|| {
            let log = Log::default();
            tracing::subscriber::set_global_default(log.clone()).expect("there is no other");
            log
        });
        LOG.clone()
    }

    fn starts(&self, level: Level, pool: &str, message: &str) -> usize {
        let seen = self.0.lock();
        seen.iter().filter(|(l, p, m)| *l == level && p == pool && m.starts_with(message)).count()
    }

    fn count(&self, level: Level, pool: &str, message: &str) -> usize {
        let seen = self.0.lock();
        seen.iter().filter(|(l, p, m)| *l == level && p == pool && m == message).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("millpond_supervisors")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        #[derive(Default)]
        struct Seen(String, String);
        impl Visit for Seen {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.1 = format!("{value:?}"),
                    "pool" => self.0 = format!("{value:?}").trim_matches('"').to_owned(),
                    _ => {}
                }
            }
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        self.0.lock().push((*event.metadata().level(), seen.0, seen.1));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
