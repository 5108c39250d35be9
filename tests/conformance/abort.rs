//! `PoolExecutor::abort` (invariants 7 and 9): every outcome is written before it returns, whatever the jobs do, and what cannot be
//! ended is listed by `orphans()` until it returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use millpond::{
    CloseReason, ControlError, Executor, JobError, JobStatus, JoinError, Ladder, Lane, Limits, Orphan, PoolExecutor,
    RejectReason, Rejected, Select, orphans,
};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, after_control, build, fixed, hold, offer, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_job_may_abort_its_own_pool,
    an_abort_leaves_no_drain_waiting
    ;
    in_this_process:
    an_abort_ends_what_runs_what_is_queued_and_who_waits,
}

fn of_ours(name: &str) -> Vec<Orphan> {
    orphans().into_iter().filter(|orphan| *orphan.pool == *name).collect()
}

#[track_caller]
fn closed<J>(refused: &Rejected<J>) {
    let closed = matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::Shutdown, .. });
    assert!(closed, "{refused}");
}

#[track_caller]
fn not_started(error: &JobError) {
    assert!(matches!(error, JobError::NotStarted(why) if why.reason == CloseReason::Shutdown), "{error}");
}

/// Whatever is asked, nobody is there to answer it, and that is said without waiting for the limit.
#[track_caller]
fn control_is_closed<S: Subject>(pool: &PoolOf<S>) {
    let answers = [
        soon(pool.inventory(LIMIT)).map(drop),
        soon(pool.resize(Limits::fixed(1), LIMIT)).map(drop),
        soon(pool.terminate(Select::all(), Ladder::kill(), LIMIT)).map(drop),
        soon(pool.quiesce(LIMIT)),
        soon(pool.resume(LIMIT)),
        soon(pool.drain(LIMIT)),
        soon(pool.shutdown(LIMIT)).map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
    }
}

fn an_abort_ends_what_runs_what_is_queued_and_who_waits<S: Subject>() {
    let pool = build::<S>("abort", |builder| {
        builder.limits(Limits::fixed(2)).default_lane(Lane::new("default").capacity(2).admission_limit(None))
    });
    let gate = Gate::new();
    let stuck: Vec<_> = (0..2).map(|_| put::<S>(&pool, Task::blocking(&gate))).collect();
    until("both are stuck", || gate.entered() == 2);
    let joined = put::<S>(&pool, Task::value(1));
    let queued = put::<S>(&pool, Task::value(2));
    let mut waits = spawn(pool.submit(S::job(Task::value(3))));
    assert_pending!(waits.poll());
    thread::scope(|scope| {
        let join = scope.spawn(|| joined.join());
        let submit = scope.spawn(|| pool.submit_blocking(S::job(Task::value(4))).map(drop));
        until("both wait at the gate", || pool.saturation().waiting == 2);

        pool.abort();

        assert!(stuck.iter().chain([&queued]).all(|handle| handle.status() == JobStatus::Done), "at once");
        assert!(waits.is_woken(), "at once");
        match join.join().expect("it returns").expect_err("it never began") {
            JoinError::Job(error) => not_started(&error),
            other => panic!("{other}"),
        }
        let refused = submit.join().expect("it returns").expect_err("it is gone");
        closed(&refused);
        assert_eq!(S::run_here(refused.into_job()), 4);
    });
    closed(&soon(waits).expect_err("it is gone"));
    not_started(&soon(queued).expect_err("it never began"));
    closed(&offer::<S>(&pool, Task::value(5)).expect_err("it is gone"));
    control_is_closed::<S>(&pool);

    let left = of_ours(pool.name());
    assert_eq!((left.len(), pool.saturation().abandoned), (2, 2), "both still run: {left:?}");
    let ledger = pool.snapshot().ledger;
    pool.abort();
    assert_eq!(pool.snapshot().ledger, ledger, "a second time changes nothing");
    assert_eq!(of_ours(pool.name()).len(), 2, "nor is anybody listed twice");
    for handle in stuck {
        assert!(left.iter().any(|orphan| orphan.job == Some(handle.id())), "{left:?}");
        match soon(handle).expect_err("it did not end") {
            JobError::Abandoned(lost) => assert!(lost.by.contains("aborted"), "{lost}"),
            other => panic!("{other}"),
        }
    }
    gate.open();
    until("their code has returned", || of_ours(pool.name()).is_empty());
    until("they are gone", || pool.inventory_now().workers.is_empty());
    assert_eq!(pool.saturation().abandoned, 0);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.pending, ledger.waiting) == (0, 0), "{ledger}");
    assert_eq!((ledger.offered, ledger.accepted, ledger.rejected, ledger.not_started), (7, 4, 3, 2), "{ledger}");
    pool.abort();
}

fn a_job_may_abort_its_own_pool<S: Subject>() {
    let pool = fixed::<S>("abort-own", 1);
    let (asked, returned) = (pool.clone(), Arc::new(AtomicBool::new(false)));
    let tell = returned.clone();
    let task = Task::call(move || {
        asked.abort();
        tell.store(true, Ordering::Release);
        1
    });
    let job = put::<S>(&pool, task);
    assert!(
        matches!(soon(job), Err(JobError::Killed(_) | JobError::Abandoned(_))),
        "its outcome is written by the abort"
    );
    until("the abort returns", || returned.load(Ordering::Acquire));
    control_is_closed::<S>(&pool);
    until("its code has returned", || of_ours(pool.name()).is_empty());
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

fn an_abort_leaves_no_drain_waiting<S: Subject>() {
    let pool = fixed::<S>("abort-drain", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let mut drained = spawn(pool.drain(LIMIT));
    assert_pending!(drained.poll());
    after_control(&pool);
    assert_pending!(drained.poll());
    pool.abort();
    let answer = soon(drained);
    assert!(matches!(answer, Err(ControlError::Closed { operation: "drain", .. })), "{answer:?}");
    assert!(soon(held).is_err());
}
