//! Quiesce and resume, drain, shutdown, and invariant 9.

use std::task::Poll;
use std::time::Duration;

use millpond::{
    CloseReason, ControlError, JobError, JobStatus, Limits, PoolExecutor, RejectReason, TimeLimit, orphans,
};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, after_control, at_rest, fixed, hold, named, offer, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_quiesced_pool_admits_and_does_not_dispatch,
    a_job_in_hand_goes_on_while_the_pool_is_quiesced,
    a_draining_pool_refuses_and_runs_what_was_admitted,
    drain_is_one_way,
    a_quiesced_pool_drains_what_it_had_admitted,
    shutdown_reports_what_became_of_the_jobs,
    a_second_shutdown_hurries_the_first,
    the_name_is_free_when_a_shutdown_has_answered,
    a_shutdown_answers_though_the_actor_is_killed_meanwhile,
    those_who_wait_at_the_gate_are_told_that_it_closes,
    whoever_asks_a_pool_that_is_gone_is_told_so
    ;
    in_this_process:
    shutdown_returns_by_its_deadline_though_jobs_do_not_end,
}

/// A quiesced pool still takes jobs in; it runs them after `resume`.
fn a_quiesced_pool_admits_and_does_not_dispatch<S: Subject>() {
    let pool = fixed::<S>("quiesce", 2);
    until("both are up", || pool.saturation().idle == 2);
    soon(pool.quiesce(LIMIT)).unwrap();
    assert_eq!(pool.snapshot().gate, "quiesced");
    let handles: Vec<_> = (0..5).map(|n| put::<S>(&pool, Task::value(n))).collect();
    after_control(&pool);
    let seen = pool.saturation();
    assert_eq!((seen.queued, seen.active, seen.idle), (5, 0, 2));
    assert!(handles.iter().all(|handle| handle.status() == JobStatus::Queued));
    soon(pool.resume(LIMIT)).unwrap();
    handles.into_iter().zip(0..).for_each(|(handle, n)| assert_eq!(soon(handle).unwrap(), n));
    assert_eq!(pool.snapshot().gate, "open");
    at_rest(&pool);
}

fn a_job_in_hand_goes_on_while_the_pool_is_quiesced<S: Subject>() {
    let pool = fixed::<S>("quiesce-busy", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let queued = put::<S>(&pool, Task::value(1));
    soon(pool.quiesce(LIMIT)).unwrap();
    gate.open();
    assert_eq!(soon(held).unwrap(), 0);
    assert_eq!((queued.status(), pool.saturation().active), (JobStatus::Queued, 0), "its worker takes no other");
    soon(pool.resume(LIMIT)).unwrap();
    assert_eq!(soon(queued).unwrap(), 1);
    at_rest(&pool);
}

/// The answer comes when what was admitted has run.
fn a_draining_pool_refuses_and_runs_what_was_admitted<S: Subject>() {
    let pool = fixed::<S>("drain", 1);
    let gate = Gate::new();
    let mut handles = hold::<S>(&pool, &gate, 1);
    handles.extend((0..3).map(|_| put::<S>(&pool, Task::value(0))));
    let mut drained = spawn(pool.drain(LIMIT));
    assert_pending!(drained.poll());
    after_control(&pool);
    assert_eq!(pool.snapshot().gate, "draining");
    let refused = offer::<S>(&pool, Task::value(9)).expect_err("it drains");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::Draining, .. }), "{refused}");
    assert_eq!(S::run_here(refused.into_job()), 9);
    assert_pending!(drained.poll());
    gate.open();
    soon(drained).unwrap();
    assert_eq!((pool.snapshot().ledger.completed, pool.saturation().active), (4, 0), "all have run when it answers");
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// `DESIGN.md`, section 1: from `Draining` the gate only closes.
fn drain_is_one_way<S: Subject>() {
    let pool = fixed::<S>("one-way", 1);
    soon(pool.drain(LIMIT)).unwrap();
    for (what, answer) in [("quiesce", soon(pool.quiesce(LIMIT))), ("resume", soon(pool.resume(LIMIT)))] {
        let error = answer.expect_err("it drains");
        let typed = matches!(&error, ControlError::TooLate { operation, reason: CloseReason::Draining, .. } if *operation == what);
        assert!(typed && error.to_string().contains("it drains"), "{error}");
    }
    soon(pool.drain(LIMIT)).expect("to drain again is to wait again");
    soon(pool.shutdown(LIMIT)).expect("and it can be shut down");
}

fn a_quiesced_pool_drains_what_it_had_admitted<S: Subject>() {
    let pool = fixed::<S>("quiesce-drain", 1);
    soon(pool.quiesce(LIMIT)).unwrap();
    let handle = put::<S>(&pool, Task::value(2));
    soon(pool.drain(LIMIT)).unwrap();
    assert_eq!(soon(handle).unwrap(), 2);
}

/// The report has a place for every job that the pool had.
fn shutdown_reports_what_became_of_the_jobs<S: Subject>() {
    let pool = fixed::<S>("report", 2);
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    let gate = Gate::new();
    let mut handles = hold::<S>(&pool, &gate, 2);
    handles.extend((0..3).map(|_| put::<S>(&pool, Task::value(0))));
    let mut end = spawn(pool.shutdown(LIMIT));
    assert_pending!(end.poll());
    after_control(&pool);
    gate.open();
    let report = soon(end).expect("it answers");
    assert_eq!((report.completed, report.not_started, report.killed, report.abandoned), (5, 0, 0, 0));
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let refused = offer::<S>(&pool, Task::value(1)).expect_err("it is shut down");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::Shutdown, .. }), "{refused}");
    until("its workers are gone", || pool.inventory_now().workers.is_empty());
}

/// Invariants 7 and 9: no handle is left waiting, and what cannot be ended is listed by `orphans()` until it returns.
fn shutdown_returns_by_its_deadline_though_jobs_do_not_end<S: Subject>() {
    let pool = fixed::<S>("deadline", 2);
    let name = pool.name().to_owned();
    let gate = Gate::new();
    let stuck: Vec<_> = (0..2).map(|_| put::<S>(&pool, Task::blocking(&gate))).collect();
    until("both are stuck", || gate.entered() == 2);
    let queued: Vec<_> = (0..3).map(|_| put::<S>(&pool, Task::value(0))).collect();
    let report = soon(pool.shutdown(TimeLimit::millis(40))).expect("it answers, whatever the jobs do");
    assert_eq!((report.completed, report.not_started, report.cancelled), (0, 3, 0));
    assert_eq!((report.killed, report.abandoned), (0, 2), "on no kind of worker can they be made to end");
    for handle in queued {
        let error = soon(handle).expect_err("it never began");
        assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::Shutdown), "{error}");
    }
    let of_ours = || orphans().into_iter().filter(|orphan| *orphan.pool == *name).collect::<Vec<_>>();
    let left = of_ours();
    assert_eq!(left.len(), 2, "both still run: {left:?}");
    for handle in stuck {
        assert!(left.iter().any(|orphan| orphan.job == Some(handle.id())), "{left:?}");
        assert!(matches!(soon(handle), Err(JobError::Abandoned(_))));
    }
    assert_eq!(pool.saturation().abandoned, 2, "counted until they return");
    gate.open();
    until("both have returned", || of_ours().is_empty());
    until("and are counted no more", || pool.saturation().abandoned == 0);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

fn a_second_shutdown_hurries_the_first<S: Subject>() {
    let pool = fixed::<S>("hurry", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let mut first = spawn(pool.shutdown(TimeLimit::secs(3600)));
    assert_pending!(first.poll());
    let second = soon(pool.shutdown(TimeLimit(Duration::from_millis(20)))).expect("by its own deadline");
    assert_eq!(soon(first).expect("and so is the first"), second);
    assert!(soon(held).is_err());
}

fn the_name_is_free_when_a_shutdown_has_answered<S: Subject>() {
    let name = named::<S>("again");
    for round in 0..200 {
        let pool = S::builder(&name).limits(Limits::fixed(1)).build();
        let pool = pool.unwrap_or_else(|error| panic!("round {round}: {error}"));
        soon(pool.shutdown(LIMIT)).expect("it answers");
    }
}

/// Either its actor was still there to end it, and then it says how; or it was not, and then that is said.
fn a_shutdown_answers_though_the_actor_is_killed_meanwhile<S: Subject>() {
    for round in 0..50 {
        let pool = fixed::<S>("killed-meanwhile", 1);
        let mut end = spawn(pool.shutdown(LIMIT));
        let answer = match end.poll() {
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                // A little later each time.
                (0..round * 20).for_each(|_| std::hint::spin_loop());
                pool.actor().kill();
                soon(end)
            }
        };
        assert!(matches!(answer, Ok(_) | Err(ControlError::Closed { operation: "shutdown", .. })), "{answer:?}");
    }
}

/// `DESIGN.md`, section 4: "waiters are refused".
fn those_who_wait_at_the_gate_are_told_that_it_closes<S: Subject>() {
    let pool = crate::rig::build::<S>("closes", |builder| {
        builder.limits(millpond::Limits::fixed(1)).default_lane(millpond::Lane::new("default").capacity(0))
    });
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let mut waiter = spawn(millpond::Executor::submit(&pool, S::job(Task::value(3))));
    assert_pending!(waiter.poll());
    let mut end = spawn(pool.shutdown(LIMIT));
    assert_pending!(end.poll());
    let refused = soon(waiter).expect_err("it closes");
    assert!(matches!(refused.reason(), RejectReason::Closed { .. }), "{refused}");
    assert_eq!(S::run_here(refused.into_job()), 3);
    gate.open();
    assert_eq!((soon(held).unwrap(), soon(end).expect("it answers").completed), (0, 1));
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.rejected == 1, "{ledger}");
}

fn whoever_asks_a_pool_that_is_gone_is_told_so<S: Subject>() {
    let pool = fixed::<S>("gone", 1);
    soon(pool.shutdown(LIMIT)).unwrap();
    until("its actor is gone", || pool.actor().get_status() == ractor::ActorStatus::Stopped);
    let error = soon(pool.inventory(LIMIT)).expect_err("nobody is there");
    assert!(matches!(error, ControlError::Closed { operation: "inventory", .. }), "{error}");
    assert!(error.to_string().contains(pool.name()), "{error}");
    assert!(soon(pool.shutdown(LIMIT)).is_err() && soon(pool.drain(LIMIT)).is_err());
    assert_eq!((pool.snapshot().gate, pool.inventory_now().workers.len()), ("closed", 0), "what is read still reads");
}
