//! How workers end that are many, or slow to end, or do not end, and what becomes of their jobs.

use std::time::Duration;

use millpond::testing::{Scripted, SettableClock};
use millpond::{
    ActorPool, Fate, JobError, Ladder, Lane, Limits, PoolBuilder, PoolExecutor, Rung, Select, TaskPool, TimeLimit,
    orphans,
};
use tokio::runtime::{Builder, Runtime};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, after_control, at_rest, named, put, soon, until};
use crate::subject::{Doer, OnActors, OnTasks, OnThreads, Subject};
use crate::task::{Gate, Task};

/// What a termination costs must not grow faster than it has to: each of these ends in an event of its own, at which all look.
#[test]
fn two_thousand_workers_that_end_one_by_one_are_one_termination() {
    const MANY: usize = 2000;
    let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
    let lane = Lane::new("default").capacity(MANY);
    let builder = PoolBuilder::new(&named::<OnThreads>("many"), backend).default_lane(lane);
    let pool = builder.limits(Limits::new(0, MANY)).clock(clock.clock()).build().expect("it is built");
    let handles: Vec<_> =
        (0..MANY as u64).map(|job| millpond::Executor::try_submit(&pool, job).expect("there is a place")).collect();
    until("all are busy", || pool.saturation().active == MANY);
    let inventory = pool.inventory_now();
    assert!(inventory.workers.is_sorted_by_key(|row| row.worker), "by slot");

    let ladder = Ladder::new().then(Rung::Stop, Duration::from_secs(60));
    let mut reply = spawn(pool.terminate(Select::all(), ladder, LIMIT));
    assert_pending!(reply.poll());
    after_control(&pool);
    for worker in script.started() {
        assert!(script.take(worker).is_some() && script.finish(worker, 1));
        script.die(worker);
        // Control has looked at each of them before the next one ends.
        soon(pool.resume(LIMIT)).expect("it is open");
    }
    let report = soon(reply).expect("it answers");
    assert_eq!(report.targets.len(), MANY);
    assert!(report.targets.iter().all(|row| row.fate == Fate::Stopped), "{report}");
    assert!(handles.into_iter().all(|handle| soon(handle).is_ok()));
    until("all are gone", || pool.inventory_now().workers.is_empty());
    at_rest(&pool);
}

fn abort(pool: &dyn PoolExecutor) {
    pool.abort();
}

fn shut_down(pool: &dyn PoolExecutor) {
    soon(pool.shutdown(TimeLimit::millis(20))).expect("it answers");
}

fn of_ours(pool: &dyn PoolExecutor) -> usize {
    orphans().into_iter().filter(|orphan| *orphan.pool == *pool.name()).count()
}

/// A runtime on whose one thread nothing else runs while a job is polled.
fn one_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Its future goes no further, and is dropped: it was killed, and nobody needs to wait to say so.
fn a_job_at_an_await_is_killed<S: Subject>(builder: PoolBuilder<S::Backend>, on: &Runtime, end: fn(&dyn PoolExecutor)) {
    let pool: PoolOf<S> = builder.limits(Limits::fixed(1)).build().expect("it is built");
    let gate = Gate::new();
    let handle = put::<S>(&pool, Task::deaf(&gate));
    until("it runs", || gate.entered() == 1);
    // The thread is free for somebody else: the job has yielded.
    soon(on.spawn(async {})).expect("it runs");
    end(&pool);
    let error = soon(handle).expect_err("the pool is gone");
    assert!(matches!(error, JobError::Killed(_)), "{error}");
    until("nobody is left", || of_ours(&pool) == 0 && pool.inventory_now().workers.is_empty());
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.killed, ledger.abandoned, ledger.pending), (1, 0, 0), "{ledger}");
}

/// Whoever is told that it was killed would think that it runs no more.
fn a_job_that_blocks_its_thread_is_abandoned<S: Subject>(
    builder: PoolBuilder<S::Backend>,
    _on: &Runtime,
    end: fn(&dyn PoolExecutor),
) {
    let pool: PoolOf<S> = builder.limits(Limits::fixed(1)).build().expect("it is built");
    let gate = Gate::new();
    let handle = put::<S>(&pool, Task::blocking(&gate));
    until("it runs", || gate.entered() == 1);
    end(&pool);
    let error = soon(handle).expect_err("the pool is gone");
    assert!(matches!(error, JobError::Abandoned(_)), "{error}");
    assert_eq!((of_ours(&pool), pool.saturation().abandoned), (1, 1), "it runs");
    gate.open();
    until("it has returned", || of_ours(&pool) == 0 && pool.saturation().abandoned == 0);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.killed, ledger.abandoned, ledger.pending), (0, 1, 0), "{ledger}");
}

#[test]
fn a_pool_that_ends_kills_async_jobs_at_an_await_and_abandons_those_that_block() {
    let on = one_thread();
    let runtime = || on.handle().clone();
    let tasks = || TaskPool::builder(named::<OnTasks>("ends")).runtime(runtime());
    let actors = || ActorPool::builder(named::<OnActors>("ends"), Doer).runtime(runtime());
    for end in [abort, shut_down] {
        a_job_at_an_await_is_killed::<OnTasks>(tasks(), &on, end);
        a_job_at_an_await_is_killed::<OnActors>(actors(), &on, end);
        a_job_that_blocks_its_thread_is_abandoned::<OnTasks>(tasks(), &on, end);
        a_job_that_blocks_its_thread_is_abandoned::<OnActors>(actors(), &on, end);
    }
}
