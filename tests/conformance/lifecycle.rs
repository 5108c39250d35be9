//! Shutdowns of pools that are in trouble, and invariant 9.

use std::task::Poll;

use millpond::{CloseReason, ControlError, JobError, PoolExecutor, TimeLimit, orphans};
use tokio_test::task::spawn;

use crate::rig::{LIMIT, fixed, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_shutdown_answers_though_the_actor_is_killed_meanwhile
    ;
    in_this_process:
    shutdown_returns_by_its_deadline_though_jobs_do_not_end,
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
