//! 15. Drain hang or silent loss: a shutdown beside a job that nothing ends, with a hundred more in the queue.
//!
//! It is over when its limit is, and its report accounts for every job. Whoever submits meanwhile is either refused or served, and
//! never let in to be forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond::{
    CloseReason, ControlError, Executor, JobError, Pool, PoolExecutor, RejectReason, ShutdownReport, TimeLimit, orphans,
};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, on_fresh_instances, put, value};
use crate::latch::{Latch, Meter};
use crate::patience::{CONTROL_LIMIT, eventually, has_passed, scaled, within};

const QUEUED: u64 = 100;

on_every_kind!(
    in_this_process:
    nothing_but_the_unkillable_runs,
    the_rest_is_done_in_time,
    who_is_asked_in_time_ends_by_itself,
    submits_beside_a_shutdown_are_kept_or_refused,
);
on_fresh_instances!(
    nothing_but_the_unkillable_runs,
    the_rest_is_done_in_time,
    who_is_asked_in_time_ends_by_itself,
    submits_beside_a_shutdown_are_kept_or_refused,
);

/// For what runs into the limit anyway; not shorter than a supervisor's look at things takes on a busy machine.
fn limit() -> TimeLimit {
    TimeLimit(scaled(Duration::from_secs(1)).max(Duration::from_millis(200)))
}

/// For what has to be done within the limit, or in its last quarter, and so has to get the processor in it. Not scaled.
const AMPLE: TimeLimit = TimeLimit::secs(4);

/// A pool of so many workers, one of which holds a job that nothing ends.
fn pool_with_one_unkillable<K: Kind>(
    name: &str,
    ground: &Ground,
    workers: usize,
) -> (Pool<K::Backend>, millpond::JobHandle<crate::kinds::Output>, Latch) {
    let pool = K::pool(name, ground, workers);
    let (stuck, bodies) = (ground.latch(), Meter::default());
    let unkillable = put::<K>(&pool, Work::value(0).counted(&bodies).block(&stuck));
    eventually("it runs", || bodies.inside() == 1);
    (pool, unkillable, stuck)
}

/// Shuts down, and checks that it takes the limit and no more.
#[track_caller]
fn shut_down<B: millpond::Backend>(pool: &Pool<B>, limit: TimeLimit) -> ShutdownReport {
    let since = Instant::now();
    let report = within(limit.0 + CONTROL_LIMIT, "a shutdown", || pool.blocking().shutdown(limit)).expect("it answers");
    assert!(has_passed(limit.0, since), "there was time left: {:?}", since.elapsed());
    assert_eq!(report.killed + report.abandoned, 1, "the unkillable one is neither done nor forgotten: {report:?}");
    let refused = pool.blocking().inventory(TimeLimit::default());
    assert!(matches!(refused, Err(ControlError::Closed { .. })), "the pool has ended");
    report
}

/// It is an orphan until its code returns, and no longer.
fn is_an_orphan_until_it_returns<B: millpond::Backend>(pool: &Pool<B>, stuck: &Latch) {
    let listed = || orphans().iter().filter(|orphan| &*orphan.pool == pool.name()).count();
    // A worker that was told to leave with the pool may be listed beside it until it has.
    eventually("it alone is an orphan", || listed() == 1);
    stuck.open();
    eventually("the orphan is gone", || listed() == 0);
}

fn nothing_but_the_unkillable_runs<K: Kind>() {
    let ground = Ground::new();
    let (pool, unkillable, stuck) = pool_with_one_unkillable::<K>("h15-one", &ground, 1);
    let queued: Vec<_> = (0..QUEUED).map(|n| put::<K>(&pool, Work::value(n))).collect();
    let report = shut_down(&pool, limit());
    assert_eq!((report.completed, report.not_started, report.cancelled), (0, QUEUED, 0));
    assert!(matches!(failure(unkillable), JobError::Abandoned(_) | JobError::Killed(_)));
    for handle in queued {
        let JobError::NotStarted(error) = failure(handle) else { panic!("it began") };
        assert_eq!(error.reason, CloseReason::Shutdown);
    }
    is_an_orphan_until_it_returns(&pool, &stuck);
}

fn the_rest_is_done_in_time<K: Kind>() {
    let ground = Ground::new();
    let (pool, unkillable, stuck) = pool_with_one_unkillable::<K>("h15-rest", &ground, 2);
    pool.blocking().quiesce(TimeLimit::default()).expect("it answers");
    let queued: Vec<_> = (0..QUEUED).map(|n| put::<K>(&pool, Work::value(n))).collect();
    let report = shut_down(&pool, AMPLE);
    assert_eq!((report.completed, report.not_started, report.cancelled), (QUEUED, 0, 0));
    assert_eq!(queued.into_iter().map(value).sum::<u64>(), QUEUED * (QUEUED - 1) / 2);
    assert!(unkillable.join().is_err());
    is_an_orphan_until_it_returns(&pool, &stuck);
}

fn who_is_asked_in_time_ends_by_itself<K: Kind>() {
    let ground = Ground::new();
    let (pool, unkillable, stuck) = pool_with_one_unkillable::<K>("h15-asked", &ground, 2);
    let bodies = Meter::default();
    let polite = put::<K>(&pool, Work::value(4).counted(&bodies).until_cancelled());
    eventually("it runs", || bodies.inside() == 1);
    let report = shut_down(&pool, AMPLE);
    assert_eq!((report.completed, report.not_started, report.cancelled), (0, 0, 1));
    assert_eq!(value(polite), 4, "what it gave when it was asked is its output");
    assert!(unkillable.join().is_err());
    is_an_orphan_until_it_returns(&pool, &stuck);
}

/// Four threads submit until they are refused: what was accepted has an outcome, and the ledger knows each.
fn submits_beside_a_shutdown_are_kept_or_refused<K: Kind>() {
    let ground = Ground::new();
    for round in 0..20 {
        let pool = K::pool(&format!("h15-beside-{round}"), &ground, 2);
        let go = AtomicBool::new(false);
        let accepted = std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..4).map(|_| scope.spawn(|| submit_until_closed::<K>(&pool, &go))).collect();
            eventually("they submit", || pool.snapshot().ledger.accepted > 50);
            go.store(true, Ordering::Release);
            pool.blocking().shutdown(TimeLimit::secs(10)).expect("it answers");
            submitters.into_iter().map(|submitter| submitter.join().expect("no panic")).sum::<u64>()
        });
        let ledger = pool.snapshot().ledger;
        assert_eq!((ledger.accepted, ledger.completed, ledger.pending), (accepted, accepted, 0), "{ledger}");
    }
}

fn submit_until_closed<K: Kind>(pool: &Pool<K::Backend>, go: &AtomicBool) -> u64 {
    let mut accepted = 0;
    loop {
        match pool.try_submit(K::job(Work::value(1))).map_err(|rejected| rejected.into_reason()) {
            Ok(handle) => accepted += value(handle),
            Err(RejectReason::Closed { .. }) => {
                assert!(go.load(Ordering::Acquire), "not before the shutdown");
                return accepted;
            }
            Err(other) => panic!("{other}"),
        }
    }
}
