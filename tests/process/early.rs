//! Jobs that are handed to a child together with another one: whatever happens to that one, or to the child, they are run once.
//!
//! The clock of most of these pools stands still, so that each job begins a moment after the one before it: then the next one is handed over early. The first job of a
//! child goes alone, and then they go in pairs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Exit, Fate, JobError, JobHandle, JobOptions, JobStatus, JoinError, Ladder, Limits, PoolExecutor, ProcessPool,
    Recycle, Redelivery, Restart, RestartPolicy, Rung, Select, SlotHistory, TimeLimit, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rig::{Marks, builder, failure, mark, signal, until};

pub(crate) const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

pub(crate) fn pool(name: &str, workers: usize) -> ProcessPool {
    let clock = SettableClock::new().clock();
    builder(name).limits(Limits::fixed(workers)).clock(clock).start_limit(LIMIT.0 * 1_000).build().unwrap()
}

pub(crate) fn same(n: u64) -> u64 {
    n
}

/// In a child: begins, and ends when there is a file of that name.
pub(crate) fn wait((marks, gate): (String, String)) {
    mark(&marks);
    while !Path::new(&gate).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A file that is there once it is opened.
pub(crate) struct Gate(Marks);

impl Gate {
    pub(crate) fn new(name: &str) -> Self {
        Self(Marks::new(&format!("{name}-gate")))
    }

    pub(crate) fn path(&self) -> String {
        self.0.path()
    }

    pub(crate) fn open(&self) {
        mark(&self.0.path());
    }
}

/// Submits while nothing is dispatched, so that all of it is there when the first one begins.
pub(crate) fn at_once<T>(pool: &ProcessPool, submit: impl FnOnce() -> T) -> T {
    pool.blocking().quiesce(LIMIT).unwrap();
    let submitted = submit();
    pool.blocking().resume(LIMIT).unwrap();
    submitted
}

#[track_caller]
pub(crate) fn done<T>(mut handle: JobHandle<T>) -> T {
    handle.join_timeout(LIMIT.0).expect("it is done")
}

#[track_caller]
pub(crate) fn is_at_rest(pool: &ProcessPool) {
    until("it is at rest", || pool.saturation().active == 0);
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.saturation.queued, snapshot.ledger.pending), (0, 0), "{}", snapshot.ledger);
    assert!(snapshot.ledger.balances(), "{}", snapshot.ledger);
}

/// A job that runs until the gate opens, and has begun, behind a few that are quick and before one that makes its mark.
fn behind_a_long_one(pool: &ProcessPool, name: &str) -> (JobHandle<()>, JobHandle<()>, Gate, Marks) {
    let (began, gate, marks) = (Marks::new(&format!("{name}-began")), Gate::new(name), Marks::new(name));
    let submit = || {
        let quick: Vec<_> = (0..5).map(|n| pool.submit_blocking(same, n).unwrap()).collect();
        let long = pool.submit_blocking(wait, (began.path(), gate.path())).unwrap();
        let next = pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap();
        (quick, long, next)
    };
    let (quick, long, next) = at_once(pool, submit);
    quick.into_iter().for_each(|quick| _ = done(quick));
    until("it has begun", || !began.pids().is_empty());
    (long, next, gate, marks)
}

#[test]
fn no_job_waits_behind_a_long_one_while_another_child_has_none() {
    let pool = pool("no-wait", 2);
    let (began, gate) = (Marks::new("no-wait-began"), Gate::new("no-wait"));
    let submit = || {
        let quick = |n| pool.submit_blocking(same, n).unwrap();
        let before: Vec<_> = (0..20).map(quick).collect();
        let long = pool.submit_blocking(wait, (began.path(), gate.path())).unwrap();
        (before, long, (0..20).map(quick).collect::<Vec<_>>())
    };
    let (before, long, after) = at_once(&pool, submit);
    before.into_iter().chain(after).for_each(|quick| _ = done(quick));
    assert_ne!(long.status(), JobStatus::Done, "nothing waits for it");
    gate.open();
    done(long);
    is_at_rest(&pool);
}

#[test]
fn one_that_is_cancelled_does_not_run() {
    let pool = pool("cancelled-early", 1);
    let (long, next, gate, marks) = behind_a_long_one(&pool, "cancelled-early");
    assert_eq!((next.status(), pool.saturation().queued), (JobStatus::Queued, 1));
    next.cancel();
    assert!(matches!(failure(next), JobError::Cancelled(_)), "and that before the one before it is over");
    gate.open();
    done(long);
    assert_eq!(marks.pids().len(), 0);
    is_at_rest(&pool);
}

#[test]
fn one_that_is_terminated_is_withdrawn() {
    let pool = builder("withdrawn-early").limits(Limits::fixed(1)).build().unwrap();
    for round in 0..20 {
        let (long, next, gate, marks) = behind_a_long_one(&pool, &format!("withdrawn-early-{round}"));
        let report = pool.blocking().terminate(Select::job(next.id()), Ladder::kill(), LIMIT).unwrap();
        assert_eq!(report.targets.iter().map(|end| end.fate).collect::<Vec<_>>(), [Fate::Withdrawn], "{report}");
        assert!(matches!(failure(next), JobError::Cancelled(_)));
        gate.open();
        done(long);
        assert_eq!(marks.pids().len(), 0);
    }
    is_at_rest(&pool);
}

#[test]
fn one_whose_child_is_killed_goes_to_the_next_child() {
    let pool = pool("killed-early", 1);
    let (long, next, _gate, marks) = behind_a_long_one(&pool, "killed-early");
    let id = long.id();
    drop(pool.blocking().terminate(Select::job(id), Ladder::kill(), LIMIT).unwrap());
    assert!(matches!(failure(long), JobError::Killed(_)));
    assert_eq!(next.lost_deliveries(), 0);
    done(next);
    assert_eq!(marks.pids().len(), 1);
    is_at_rest(&pool);
}

/// Whoever is lost is replaced, however many.
struct AtOnce;

impl RestartPolicy for AtOnce {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::After(Duration::ZERO)
    }
}

/// As long as its child lives it is in its hands: nobody knows whether it has begun.
#[test]
fn jobs_around_one_that_kills_its_child_run_once() {
    let clock = SettableClock::new().clock();
    let pool = builder("around").limits(Limits::fixed(2)).clock(clock).start_limit(LIMIT.0 * 1_000);
    let pool = pool.restart_policy(AtOnce).build().unwrap();
    let marks: Vec<_> = (0..120).map(|n| Marks::new(&format!("around-{n}"))).collect();
    let job = |(n, path): (usize, String)| {
        mark(&path);
        match n % 6 {
            2 => std::process::abort(),
            4 => std::process::exit(3),
            _ => n,
        }
    };
    let submit = || (0..).zip(&marks).map(|(n, marks)| pool.submit_blocking(job, (n, marks.path())).unwrap()).collect();
    let handles: Vec<_> = at_once(&pool, submit);
    for (n, mut handle) in handles.into_iter().enumerate() {
        match handle.join_timeout(LIMIT.0) {
            Ok(same) => assert_eq!((n, n % 6 != 2 && n % 6 != 4), (same, true)),
            Err(JoinError::Job(JobError::Lost(_))) => assert!(n % 6 == 2 || n % 6 == 4, "job {n} is lost"),
            other => panic!("job {n}: {other:?}"),
        }
    }
    let ran: BTreeMap<_, _> =
        marks.iter().map(|marks| marks.pids().len()).enumerate().filter(|(_, ran)| *ran != 1).collect();
    assert!(ran.is_empty(), "not once: {ran:?}");
    is_at_rest(&pool);
}

#[test]
fn one_that_may_be_delivered_again_had_no_delivery_before_it_began() {
    let pool = pool("again-early", 1);
    let options = JobOptions::new().redeliver(Redelivery::new(2).back_off(LIMIT.0, LIMIT.0));
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let dies = pool.submit_blocking(|()| -> u64 { std::process::abort() }, ()).unwrap();
        (quick, dies, pool.with(options).submit_call_blocking(same, 7).unwrap())
    };
    let (quick, dies, next) = at_once(&pool, submit);
    done(quick);
    assert!(matches!(failure(dies), JobError::Lost(_)));
    assert_eq!(next.lost_deliveries(), 0);
    assert_eq!(done(next), 7);
    is_at_rest(&pool);
}

#[test]
fn a_panic_before_one_is_nothing_to_it() {
    let pool = pool("panic-early", 1);
    let job = |n: u64| if n % 3 == 1 { panic!("no {n}") } else { n };
    let submit = || (0..60).map(|n| pool.submit_blocking(job, n).unwrap()).collect();
    let handles: Vec<_> = at_once(&pool, submit);
    for (n, handle) in (0..).zip(handles) {
        match n % 3 {
            1 => assert!(matches!(failure(handle), JobError::Panicked(_))),
            _ => assert_eq!(done(handle), n),
        }
    }
    is_at_rest(&pool);
}

#[test]
fn a_pool_that_is_resized_recycled_and_paused_runs_each_once() {
    let recycle = Recycle::new().after_jobs(20);
    let pool = builder("moved-early").limits(Limits::fixed(3)).recycle(recycle).build().unwrap();
    let marks = Marks::new("moved-early");
    let job = |(n, path): (u64, String)| {
        mark(&path);
        n
    };
    let mut handles = Vec::new();
    for round in 0..12_u64 {
        handles.extend((0..50).map(|n| pool.submit_blocking(job, (50 * round + n, marks.path())).unwrap()));
        match round % 4 {
            0 => drop(pool.blocking().resize(Limits::fixed(1), LIMIT).unwrap()),
            1 => pool.blocking().quiesce(LIMIT).unwrap(),
            2 => pool.blocking().resume(LIMIT).unwrap(),
            _ => drop(pool.blocking().resize(Limits::fixed(3), LIMIT).unwrap()),
        }
    }
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(done(handle), n);
    }
    assert_eq!(marks.pids().len(), 600);
    is_at_rest(&pool);
}

#[test]
fn a_drain_waits_for_what_was_handed_over() {
    let pool = pool("drain-early", 1);
    let (long, next, gate, marks) = behind_a_long_one(&pool, "drain-early");
    gate.open();
    let report = pool.blocking().shutdown(LIMIT).unwrap();
    assert!(long.status() == JobStatus::Done && next.status() == JobStatus::Done, "{report}");
    assert_eq!(marks.pids().len(), 1);
}

/// One that is in the hands of a child which is killed with its pool may have begun.
#[test]
fn a_pool_that_is_killed_leaves_no_handle_waiting() {
    for round in 0..10 {
        let pool = pool(&format!("gone-early-{round}"), 1);
        let (began, gate) = (Marks::new(&format!("gone-early-{round}")), Gate::new("gone-early"));
        let submit = || {
            let quick: Vec<_> = (0..round).map(|n| pool.submit_blocking(same, n).unwrap()).collect();
            let long = pool.submit_blocking(wait, (began.path(), gate.path())).unwrap();
            (quick, long, (0..3).map(|n| pool.submit_blocking(same, n).unwrap()).collect::<Vec<_>>())
        };
        let (_quick, long, after) = at_once(&pool, submit);
        until("it has begun", || !began.pids().is_empty());
        pool.actor().get_cell().kill();
        assert!(matches!(failure(long), JobError::Killed(_)));
        for (n, handle) in (0..).zip(after) {
            let error = failure(handle);
            let killed = n == 0 && matches!(error, JobError::Killed(_));
            assert!(killed || matches!(error, JobError::NotStarted(_)), "{error}");
        }
    }
}

#[test]
fn limits_to_the_wait_hold_all_the_same() {
    let pool = pool("limit-early", 1);
    let long = Duration::from_secs(3_600);
    let submit = || {
        (0..100)
            .map(|n| pool.with(JobOptions::new().queue_limit(long)).submit_call_blocking(same, n).unwrap())
            .collect()
    };
    let handles: Vec<_> = at_once(&pool, submit);
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(done(handle), n);
    }
    is_at_rest(&pool);
}

/// Arguments, or a result, that this process takes apart, or puts together, for as long as there is no file of that name.
#[derive(Debug)]
pub(crate) struct Stuck {
    began: String,
    gate: String,
    here: u32,
}

impl Stuck {
    fn new(began: &Marks, gate: &Gate) -> Self {
        Self { began: began.path(), gate: gate.path(), here: std::process::id() }
    }

    /// What it is made of in a child, to be taken apart here.
    pub(crate) fn parts(began: &Marks, gate: &Gate) -> (String, String, u32) {
        (began.path(), gate.path(), std::process::id())
    }

    pub(crate) fn back((began, gate, here): (String, String, u32)) -> Self {
        Self { began, gate, here }
    }

    fn wait_here(&self) {
        if std::process::id() == self.here {
            wait((self.began.clone(), self.gate.clone()));
        }
    }
}

impl Serialize for Stuck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.wait_here();
        (&self.began, &self.gate, self.here).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stuck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (began, gate, here) = Deserialize::deserialize(deserializer)?;
        let stuck = Self { began, gate, here };
        stuck.wait_here();
        Ok(stuck)
    }
}

/// A job whose result does not get out of this process's code until the gate opens, which it has got into, and one that has begun behind it.
fn behind_a_stuck_result(pool: &ProcessPool, name: &str) -> (JobHandle<Stuck>, JobHandle<()>, Gate, Marks) {
    let (began, gate, marks) = (Marks::new(&format!("{name}-began")), Gate::new(name), Marks::new(name));
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let stuck = pool.submit_blocking(Stuck::back, Stuck::parts(&began, &gate)).unwrap();
        (quick, stuck, pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap())
    };
    let (quick, stuck, next) = at_once(pool, submit);
    done(quick);
    until("it is read", || !began.pids().is_empty());
    until("the next one has begun", || !marks.pids().is_empty());
    (stuck, next, gate, marks)
}

/// What its arguments are put together by does not end. Neither is sent before that: so no result waits for it, and no run limit of a job that is over goes on.
#[test]
fn one_whose_arguments_take_for_ever_has_an_outcome_when_its_worker_is_taken() {
    let pool = pool("stuck-early", 1);
    let (began, gate) = (Marks::new("stuck-early-began"), Gate::new("stuck-early"));
    let marks = Marks::new("stuck-early");
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let first = pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap();
        (quick, first, pool.submit_blocking(|_: Stuck| (), Stuck::new(&began, &gate)).unwrap())
    };
    let (quick, mut first, mut stuck) = at_once(&pool, submit);
    done(quick);
    until("it is put together", || !began.pids().is_empty());
    assert_eq!((first.status(), stuck.status()), (JobStatus::Running, JobStatus::Queued));
    let worker = pool.inventory_now().workers[0].worker;
    let now = Ladder::new().then(Rung::Kill, Duration::ZERO);
    let report = pool.blocking().terminate(Select::worker(worker), now, LIMIT).unwrap();
    assert_eq!(report.targets[0].fate, Fate::Abandoned, "{report}");
    for handle in [&mut first, &mut stuck] {
        let ended = handle.join_timeout(LIMIT.0);
        assert!(matches!(ended, Err(JoinError::Job(JobError::Abandoned(_)))), "{ended:?}");
    }
    gate.open();
    assert_eq!(done(pool.submit_blocking(same, 3).unwrap()), 3);
    assert_eq!(marks.pids().len(), 0, "it was not sent before the other one could be, and not after that");
    is_at_rest(&pool);
}

/// Between two jobs: the first one's result is here, and the second has begun.
#[test]
fn one_that_began_has_an_outcome_when_its_pool_ends_between_two_jobs() {
    let pool = pool("between-early", 1);
    let (mut stuck, mut next, gate, marks) = behind_a_stuck_result(&pool, "between-early");
    pool.abort();
    let ended = stuck.join_timeout(LIMIT.0);
    assert!(matches!(ended, Err(JoinError::Job(JobError::Killed(_)))), "{ended:?}");
    let ended = next.join_timeout(LIMIT.0);
    assert!(matches!(ended, Err(JoinError::Job(JobError::Killed(_)))), "{ended:?}");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.killed == 2 && ledger.pending == 0, "{ledger}");
    gate.open();
    assert_eq!(marks.pids().len(), 1);
}

#[test]
fn a_shutdown_counts_what_was_handed_over_among_what_it_killed() {
    let pool = pool("counted-early", 1);
    let (mut stuck, mut next, gate, _marks) = behind_a_stuck_result(&pool, "counted-early");
    let report = pool.blocking().shutdown(TimeLimit(Duration::ZERO)).unwrap();
    assert_eq!((report.killed, report.not_started), (2, 0), "{report}");
    for ended in [stuck.join_timeout(LIMIT.0).map(drop), next.join_timeout(LIMIT.0)] {
        assert!(matches!(ended, Err(JoinError::Job(JobError::Killed(_)))), "{ended:?}");
    }
    gate.open();
}

/// Whether the child has answered by then is the machine's business, and mostly it has not.
#[test]
fn a_ladder_ends_whose_target_a_child_that_stands_still_was_handed() {
    let pool = pool("still-early", 1);
    let (began, marks) = (Marks::new("still-early-began"), Marks::new("still-early"));
    let stands = |path: String| {
        mark(&path);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).unwrap();
        // Its threads may run on for a moment.
        std::thread::sleep(Duration::from_millis(200));
    };
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let first = pool.submit_blocking(stands, began.path()).unwrap();
        (quick, first, pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap())
    };
    let (quick, first, next) = at_once(&pool, submit);
    done(quick);
    until("it has begun", || !began.pids().is_empty());
    let now = Ladder::new().then(Rung::Stop, Duration::ZERO).then(Rung::Kill, Duration::ZERO);
    let report = pool.blocking().terminate(Select::job(next.id()), now, LIMIT).unwrap();
    let fate = report.targets[0].fate;
    assert!(matches!(fate, Fate::StillRunning | Fate::Withdrawn), "{report}");
    signal(began.pids()[0], "CONT");
    done(first);
    // Whatever of it was too late for the ladder: it was asked to stop before it began, unless it has begun.
    let mut next = next;
    let ended = next.join_timeout(LIMIT.0);
    let ran = marks.pids().len();
    match ended {
        Ok(()) => assert_eq!(ran, 1),
        Err(JoinError::Job(JobError::Cancelled(_))) => assert_eq!(ran, 0),
        other => panic!("{other:?}"),
    }
    is_at_rest(&pool);
}

/// The stop, or the kill, comes as the first one runs, ends, or is over; and the second one is back, or begins. It is not meant.
#[test]
fn what_is_aimed_at_a_job_misses_the_one_that_was_handed_over_with_it() {
    let pool = builder("aimed-early").limits(Limits::fixed(1)).restart_policy(AtOnce).build().unwrap();
    let works = |n: u64| (0..n * 1_000).fold(0_u64, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
    for round in 0..60 {
        let marks = Marks::new(&format!("aimed-early-{round}"));
        let submit = || {
            let quick: Vec<_> = (0..3).map(|n| pool.submit_blocking(same, n).unwrap()).collect();
            let first = pool.submit_blocking(works, round % 20).unwrap();
            let mark = |path: String| mark(&path);
            (quick, first, pool.submit_blocking(mark, marks.path()).unwrap())
        };
        let (quick, mut first, next) = at_once(&pool, submit);
        let rung = if round % 2 == 0 { Rung::Stop } else { Rung::Kill };
        let ladder = Ladder::new().then(rung, LIMIT.0);
        let report = pool.blocking().terminate(Select::job(first.id()), ladder, LIMIT).unwrap();
        quick.into_iter().for_each(|quick| _ = done(quick));
        let ended = first.join_timeout(LIMIT.0).map(drop);
        let mut next = next;
        assert!(next.join_timeout(LIMIT.0).is_ok(), "round {round}: {ended:?} of\n{report}");
        assert_eq!(marks.pids().len(), 1, "round {round}");
    }
    is_at_rest(&pool);
}
