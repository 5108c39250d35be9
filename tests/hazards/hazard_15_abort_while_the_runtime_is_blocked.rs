//! Hazard 15, drain hang or silent loss, continued: a pool is aborted while every thread of the application's runtime is blocked.
//!
//! Nobody of that runtime can be asked, so the caller itself writes every outcome; whose code cannot be reached is listed.

use std::pin::pin;
use std::task::Poll;

use millpond::{
    CloseReason, ControlError, Executor, JobError, JobStatus, Lane, Limits, PoolExecutor, RejectReason, TimeLimit,
    orphans,
};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, on_fresh_instances, put};
use crate::latch::Meter;
use crate::patience::{CONTROL_LIMIT, Flag, eventually, within};

const THREADS: usize = 2;

on_every_kind!(in_this_process: an_abort_writes_every_outcome_while_the_runtime_is_blocked);
on_fresh_instances!(an_abort_writes_every_outcome_while_the_runtime_is_blocked);

fn an_abort_writes_every_outcome_while_the_runtime_is_blocked<K: Kind>() {
    let ground = Ground::with_threads(THREADS);
    let pool = K::builder("h15-abort", &ground)
        .limits(Limits::fixed(2))
        .default_lane(Lane::new("default").capacity(3).admission_limit(None))
        .build()
        .expect("the configuration is sound");
    let (held, bodies) = (ground.latch(), Meter::default());
    let running: Vec<_> = (0..2).map(|_| put::<K>(&pool, Work::value(0).counted(&bodies).until(&held))).collect();
    eventually("both run", || bodies.inside() == 2);
    let stuck = ground.block(THREADS);
    let queued: Vec<_> = (0..3).map(|n| put::<K>(&pool, Work::value(n))).collect();
    let (mut submit, woken) = (pin!(pool.submit(K::job(Work::value(0)))), Flag::new());
    assert!(woken.poll(submit.as_mut()).is_pending());

    within(CONTROL_LIMIT, "an abort", || pool.abort());
    assert!(running.iter().chain(&queued).all(|handle| handle.status() == JobStatus::Done), "at once");
    assert!(woken.is_up(), "at once");
    for handle in queued {
        let JobError::NotStarted(error) = failure(handle) else { panic!("it began") };
        assert_eq!(error.reason, CloseReason::Shutdown);
    }
    for handle in running {
        assert!(matches!(failure(handle), JobError::Abandoned(_) | JobError::Killed(_)));
    }
    match woken.poll(submit.as_mut()) {
        Poll::Ready(Err(refused)) => {
            let reason = refused.reason();
            assert!(matches!(reason, RejectReason::Closed { reason: CloseReason::Shutdown, .. }), "{refused}");
        }
        Poll::Ready(Ok(_)) => panic!("accepted by a pool that is gone"),
        Poll::Pending => panic!("waits for a pool that is gone"),
    }
    let ask = || pool.blocking().inventory(TimeLimit::default());
    let answer = within(CONTROL_LIMIT, "a control call", ask);
    assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
    within(CONTROL_LIMIT, "a second abort", || pool.abort());

    let left = || orphans().iter().filter(|orphan| &*orphan.pool == pool.name()).count();
    if K::ON_RUNTIME || !K::KILLABLE {
        assert_eq!((left(), bodies.inside()), (2, 2), "nobody can end them now");
    }
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.pending, ledger.waiting) == (0, 0), "{ledger}");
    stuck.open();
    held.open();
    eventually("nobody is left", || bodies.inside() == 0 && left() == 0);
    eventually("they are gone", || pool.inventory_now().workers.is_empty());
}
