//! The ladder: cancel asks, stop waits for the job's end, kill takes; the report says which of them did it.

use std::time::Duration;

use millpond::{
    Ended, Fate, JobError, JobStatus, KillReach, Ladder, PoolExecutor, Rung, Select, TargetReport, WorkerState,
};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, at_rest, fixed, hold, put, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{ASKED, Gate, Task};

conform! {
    a_job_that_listens_finishes_at_cancel,
    a_job_that_does_not_listen_is_still_running_after_a_cooperative_ladder,
    stop_lets_the_job_end_and_takes_the_worker_after_it,
    stop_takes_an_idle_worker_at_once,
    a_graceful_ladder_goes_up_to_kill_only_if_it_must,
    a_killed_job_has_one_outcome_whatever_it_returns_later,
    a_ladder_without_a_rung_does_nothing,
    a_condemned_worker_takes_no_other_job
    ;
    in_this_process:
    a_job_that_never_yields_is_abandoned_and_counted_until_it_returns,
}

/// As long as it may take: the test opens the gate before.
const PATIENT: Duration = Duration::from_secs(60);
/// So short that whoever does not listen overstays it.
const SHORT: Duration = Duration::from_millis(5);

fn one(pool: &dyn PoolExecutor, select: Select, ladder: Ladder) -> TargetReport {
    let report = soon(pool.terminate(select, ladder, LIMIT)).expect("it answers");
    assert_eq!(report.targets.len(), 1, "{report:?}");
    report.targets[0]
}

fn a_job_that_listens_finishes_at_cancel<S: Subject>() {
    let pool = fixed::<S>("cancel", 1);
    let gate = Gate::new();
    let handle = put::<S>(&pool, Task::polite(&gate));
    until("it runs", || gate.entered() == 1);
    let worker = worker_of(&pool, &handle);
    let row = one(&pool, Select::job(handle.id()), Ladder::cooperative(PATIENT));
    assert_eq!((row.fate, row.rung), (Fate::Finished, Some(Rung::Cancel)));
    assert_eq!((row.job, row.outcome), (Some(handle.id()), Some(Ended::Completed)));
    assert_eq!(soon(handle).unwrap(), ASKED, "it ended as it saw fit: it has completed");
    at_rest(&pool);
    assert_eq!(pool.inventory_now().workers[0].worker, worker, "its worker goes on");
    assert_eq!(pool.snapshot().ledger.completed, 1);
}

fn a_job_that_does_not_listen_is_still_running_after_a_cooperative_ladder<S: Subject>() {
    let pool = fixed::<S>("deaf", 1);
    let gate = Gate::new();
    let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let row = one(&pool, Select::job(handle.id()), Ladder::cooperative(SHORT));
    assert_eq!((row.fate, row.rung), (Fate::StillRunning, Some(Rung::Cancel)));
    assert_eq!((row.job, row.outcome), (Some(handle.id()), None));
    assert_eq!(handle.status(), JobStatus::Running);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 0);
    at_rest(&pool);
}

/// Stop costs no job: the worker ends the one that it has, and then goes.
fn stop_lets_the_job_end_and_takes_the_worker_after_it<S: Subject>() {
    for by_job in [true, false] {
        let pool = fixed::<S>("stop", 1);
        let gate = Gate::new();
        let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
        let worker = worker_of(&pool, &handle);
        let select = if by_job { Select::job(handle.id()) } else { Select::worker(worker) };
        let ladder = Ladder::new().then(Rung::Stop, PATIENT);
        let mut reply = spawn(pool.terminate(select, ladder, LIMIT));
        assert_pending!(reply.poll());
        crate::rig::after_control(&pool);
        assert_eq!(handle.status(), JobStatus::Running, "it may end");
        gate.open();
        assert_eq!(soon(handle).unwrap(), 0, "with its output");
        let report = soon(reply).expect("it answers");
        let row = &report.targets[0];
        assert_eq!((row.fate, row.rung, row.outcome), (Fate::Stopped, Some(Rung::Stop), Some(Ended::Completed)));
        assert_eq!(soon(put::<S>(&pool, Task::value(2))).unwrap(), 2);
        at_rest(&pool);
        assert_eq!(pool.inventory_now().workers[0].worker.generation, worker.generation + 1);
    }
}

fn stop_takes_an_idle_worker_at_once<S: Subject>() {
    let pool = fixed::<S>("stop-idle", 1);
    until("it is up", || pool.saturation().idle == 1);
    let worker = pool.inventory_now().workers[0].worker;
    let row = one(&pool, Select::worker(worker), Ladder::new().then(Rung::Stop, PATIENT));
    assert_eq!((row.fate, row.rung), (Fate::Stopped, Some(Rung::Stop)));
    assert_eq!(soon(put::<S>(&pool, Task::value(2))).unwrap(), 2);
    at_rest(&pool);
}

/// Who listens is not killed; the report tells the two apart.
fn a_graceful_ladder_goes_up_to_kill_only_if_it_must<S: Subject>() {
    let pool = fixed::<S>("graceful", 2);
    let gate = Gate::new();
    let polite = put::<S>(&pool, Task::polite(&gate));
    let deaf = put::<S>(&pool, Task::deaf(&gate));
    until("both run", || gate.entered() == 2);
    let row = one(&pool, Select::job(polite.id()), Ladder::graceful(PATIENT));
    assert_eq!((row.fate, row.rung), (Fate::Finished, Some(Rung::Cancel)));
    let ladder = Ladder::new().then(Rung::Cancel, SHORT).then(Rung::Stop, SHORT).then(Rung::Kill, PATIENT);
    let row = one(&pool, Select::job(deaf.id()), ladder);
    let fate = if pool.capabilities().kill == KillReach::None { Fate::Abandoned } else { Fate::Killed };
    assert_eq!((row.fate, row.rung), (fate, Some(Rung::Kill)));
    assert!(row.took >= SHORT * 2, "each grace was given: {:?}", row.took);
    assert_eq!(soon(polite).unwrap(), ASKED);
    assert!(soon(deaf).is_err());
    gate.open();
    until("nobody is abandoned", || pool.saturation().abandoned == 0);
    at_rest(&pool);
}

/// Invariant 1: what the job returns after its outcome was written changes nothing.
fn a_killed_job_has_one_outcome_whatever_it_returns_later<S: Subject>() {
    let pool = fixed::<S>("late", 1);
    let gate = Gate::new();
    let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let row = one(&pool, Select::job(handle.id()), Ladder::new().then(Rung::Kill, PATIENT));
    let abandoned = pool.capabilities().kill == KillReach::None;
    let outcome = if abandoned { Ended::Abandoned } else { Ended::Killed };
    assert_eq!((row.job, row.outcome), (Some(handle.id()), Some(outcome)));
    match soon(handle) {
        Err(JobError::Abandoned(_)) => assert!(abandoned),
        Err(JobError::Killed(_)) => assert!(!abandoned),
        other => panic!("{other:?}"),
    }
    let seen = pool.saturation().abandoned;
    assert_eq!(seen, usize::from(abandoned), "counted until its code returns");
    gate.open();
    until("it has returned", || pool.saturation().abandoned == 0);
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.killed + ledger.abandoned, ledger.completed), (1, 0), "{ledger}");
    assert_eq!(ledger.abandoned, u64::from(abandoned));
}

/// An async worker too can be out of reach: one whose job blocks the thread is given up when the grace is over.
fn a_job_that_never_yields_is_abandoned_and_counted_until_it_returns<S: Subject>() {
    let pool = fixed::<S>("never-yields", 1);
    let gate = Gate::new();
    let handle = put::<S>(&pool, Task::blocking(&gate));
    until("it runs", || gate.entered() == 1);
    let worker = worker_of(&pool, &handle);
    let row = one(&pool, Select::worker(worker), Ladder::new().then(Rung::Kill, SHORT));
    assert_eq!((row.fate, row.rung), (Fate::Abandoned, Some(Rung::Kill)));
    let error = soon(handle).expect_err("nobody waits for it");
    assert!(matches!(&error, JobError::Abandoned(_)) && error.to_string().contains("abandoned"), "{error}");
    assert_eq!(soon(put::<S>(&pool, Task::value(4))).unwrap(), 4, "its seat has another worker");
    let inventory = pool.inventory_now();
    let row = inventory.workers.last().expect("abandoned ones come last");
    assert_eq!((row.worker, row.state), (worker, WorkerState::Abandoned));
    assert!(row.job.is_some(), "inventory shows what it is stuck in");
    assert_eq!((inventory.saturation.abandoned, inventory.saturation.workers), (1, 1));
    gate.open();
    until("it has returned", || pool.saturation().abandoned == 0);
    at_rest(&pool);
    assert_eq!(pool.inventory_now().workers.len(), 1);
}

fn a_ladder_without_a_rung_does_nothing<S: Subject>() {
    let pool = fixed::<S>("no-rung", 1);
    let gate = Gate::new();
    let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let row = one(&pool, Select::job(handle.id()), Ladder::new());
    assert_eq!((row.fate, row.rung), (Fate::StillRunning, None));
    gate.open();
    assert_eq!(soon(handle).unwrap(), 0);
    at_rest(&pool);
}

/// `DESIGN.md`, section 1: from `Condemned` no way leads back to a job.
fn a_condemned_worker_takes_no_other_job<S: Subject>() {
    let pool = fixed::<S>("condemned", 1);
    let gate = Gate::new();
    let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let worker = worker_of(&pool, &handle);
    let queued: Vec<_> = (0..3).map(|_| put::<S>(&pool, who_runs())).collect();
    let mut reply = spawn(pool.terminate(Select::job(handle.id()), Ladder::new().then(Rung::Stop, PATIENT), LIMIT));
    assert_pending!(reply.poll());
    crate::rig::after_control(&pool);
    assert_eq!(pool.inventory_now().workers[0].state, WorkerState::Condemned);
    gate.open();
    soon(handle).unwrap();
    for job in queued {
        assert_eq!(soon(job).unwrap(), u64::from(worker.generation) + 1, "run by the next incarnation");
    }
    assert_eq!(soon(reply).expect("it answers").targets[0].fate, Fate::Stopped);
    at_rest(&pool);
}

/// Answers with the generation of its worker.
fn who_runs() -> Task {
    Task::call(|| u64::from(millpond::JobContext::current().expect("a job has a context").worker_id().generation))
}
