//! What depends on time and is no limit of a job, on a clock that the test moves: old jobs, a shutdown's report.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{Fate, JobOptions, Ladder, Limits, PoolExecutor, Rung, Select, TimeLimit};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, put, put_with, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{ASKED, Gate, Task};

conform! {
    active_longer_than_takes_the_old_and_leaves_the_young,
    the_real_clock_does_not_move_a_settable_one
    ;
    in_this_process:
    a_shutdowns_report_has_each_job_once,
}

const SECOND: Duration = Duration::from_secs(1);

fn clocked<S: Subject>(what: &str, limits: Limits) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool = build::<S>(what, |builder| builder.limits(limits).clock(clock.clock()));
    (pool, clock)
}

/// The selector by age goes by how long the job has run.
fn active_longer_than_takes_the_old_and_leaves_the_young<S: Subject>() {
    let (pool, clock) = clocked::<S>("older", Limits::fixed(2));
    // A worker that comes up while the clock is moved may have read it before.
    until("both are up", || pool.saturation().idle == 2);
    let gate = Gate::new();
    let old = put_with::<S>(&pool, JobOptions::new().label("old"), Task::polite(&gate));
    until("it runs", || gate.entered() == 1);
    clock.advance(SECOND * 10);
    let young = put_with::<S>(&pool, JobOptions::new().label("young"), Task::polite(&gate));
    until("both run", || gate.entered() == 2);
    clock.advance(SECOND);
    let select = Select::active_longer_than(SECOND * 5);
    assert_eq!(pool.select(&select).expect("it is sound").len(), 1);
    let ladder = Ladder::new().then(Rung::Stop, SECOND).then(Rung::Cancel, SECOND);
    let worker = worker_of(&pool, &old);
    let mut reply = spawn(pool.terminate(select, ladder, LIMIT));
    assert_pending!(reply.poll());
    after_control(&pool);
    clock.advance(SECOND);
    assert_eq!(soon(old).unwrap(), ASKED);
    let report = soon(reply).expect("it answers");
    // By the time of the second rung the worker had been told to leave, and did when its job ended.
    assert_eq!((report.targets.len(), report.targets[0].fate), (1, Fate::Finished));
    assert!(pool.inventory_now().workers.iter().all(|row| row.worker != worker));
    gate.open();
    assert_eq!(soon(young).unwrap(), 0, "the young one did not notice");
    at_rest(&pool);
}

/// `ShutdownReport`: one of every way to end, and what was over before is not in it.
fn a_shutdowns_report_has_each_job_once<S: Subject>() {
    let (pool, clock) = clocked::<S>("partition", Limits::fixed(2));
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    let (gate, deaf) = (Gate::new(), Gate::new());
    let stuck = put::<S>(&pool, Task::blocking(&gate));
    let polite = put::<S>(&pool, Task::polite(&gate));
    until("both run", || gate.entered() == 2);
    let expires = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND), Task::value(0));
    let cancelled = put::<S>(&pool, Task::value(0));
    let panics = put::<S>(&pool, Task::panics("on purpose"));
    let returns = put::<S>(&pool, Task::value(3));
    let holds = put::<S>(&pool, Task::deaf(&deaf));
    let waits = put::<S>(&pool, Task::value(0));
    let mut end = spawn(pool.shutdown(TimeLimit::secs(8)));
    assert_pending!(end.poll());
    after_control(&pool);
    cancelled.cancel();
    clock.advance(SECOND);
    clock.advance(SECOND * 5);
    assert_eq!((soon(polite).unwrap(), soon(returns).unwrap()), (ASKED, 3));
    until("its worker has come to the next", || deaf.entered() == 1);
    clock.advance(SECOND * 2);
    let report = soon(end).expect("it answers");
    assert_eq!((report.completed, report.panicked, report.expired, report.not_started), (1, 1, 1, 1), "{report}");
    assert_eq!((report.cancelled, report.killed + report.abandoned, report.lost), (2, 2, 0), "{report}");
    assert!(report.abandoned >= 1, "one cannot be made to end: {report}");
    assert_eq!(report.jobs(), 8, "{report}");
    let told = report.to_string();
    assert!(
        told.starts_with("shut down in 8.0 s: 1 completed, 1 panicked, 1 expired, 1 not started, 2 cancelled"),
        "{told}"
    );
    assert!([stuck, expires, cancelled, panics, holds, waits].into_iter().all(|handle| soon(handle).is_err()));
}

/// `DESIGN.md`, section 3: a pool has no time but that of its own clock.
fn the_real_clock_does_not_move_a_settable_one<S: Subject>() {
    let (pool, clock) = clocked::<S>("standstill", Limits::fixed(1));
    let (other, other_clock) = clocked::<S>("other-clock", Limits::fixed(1));
    soon(put::<S>(&pool, Task::value(1))).unwrap();
    other_clock.advance(SECOND);
    assert_eq!((pool.snapshot().taken_at, clock.now()), (clock.now(), millpond::Timestamp::from_nanos(0)));
    assert_eq!(other.snapshot().taken_at, other_clock.now());
}
