//! A job that an async worker has claimed and not begun, since others go first: it is not hit when its worker is taken, but goes back to the
//! front of its lane, or has not started.

use std::time::Duration;

use millpond::{
    ActorPool, Fate, JobError, JobHandle, Ladder, Limits, PoolBuilder, PoolExecutor, Rung, Select, TaskPool,
    TerminationReport, TimeLimit, WorkerId, WorkerState, orphans,
};
use tokio::runtime::{Builder, Runtime};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, at_rest, named, put, soon, until};
use crate::subject::{Doer, OnActors, OnTasks, Subject};
use crate::task::{Gate, Task};

/// Two workers on one thread, which the second one's job holds; the first one has claimed a job and not begun it.
struct Stand<S: Subject> {
    pool: PoolOf<S>,
    gate: Gate,
    first: JobHandle<u64>,
    worker: WorkerId,
    second: JobHandle<u64>,
    _runtime: Runtime,
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Now and then the tick calls the second worker, too, as work waits while it idles: then the first one has nobody to call, lets nobody go
/// first, and has run its job. Another try, then.
fn stand<S: Subject>(builder: impl Fn(&Runtime) -> PoolBuilder<S::Backend>) -> Stand<S> {
    loop {
        if let Some(stand) = try_stand(&builder) {
            return stand;
        }
    }
}

fn try_stand<S: Subject>(builder: impl Fn(&Runtime) -> PoolBuilder<S::Backend>) -> Option<Stand<S>> {
    let runtime = runtime();
    let pool: PoolOf<S> = builder(&runtime).limits(Limits::fixed(2)).build().expect("it is built");
    until("both idle", || pool.saturation().idle == 2);
    let (gate, busy) = (Gate::new(), Gate::new());
    let hold = busy.other();
    drop(runtime.spawn(async move { hold.pass() }));
    until("the thread is busy", || busy.entered() == 1);
    let first = put::<S>(&pool, Task::value(7));
    let second = put::<S>(&pool, Task::blocking(&gate));
    // The worker that was called finds the first job, calls the other one for the second, and lets it go first.
    busy.open();
    until("the second one runs", || gate.entered() == 1);
    let inventory = pool.inventory_now();
    let row = inventory.workers.iter().find(|row| row.job.as_ref().is_some_and(|job| job.id == first.id()));
    let Some(worker) = row.map(|row| row.worker) else {
        gate.open();
        return None;
    };
    Some(Stand { pool, gate, first, worker, second, _runtime: runtime })
}

fn tasks(what: &str) -> Stand<OnTasks> {
    stand(|runtime| TaskPool::builder(named::<OnTasks>(what)).runtime(runtime.handle().clone()))
}

fn actors(what: &str) -> Stand<OnActors> {
    stand(|runtime| ActorPool::builder(named::<OnActors>(what), Doer).runtime(runtime.handle().clone()))
}

impl<S: Subject> Stand<S> {
    /// Asks for the kill, and waits for the answer while `meanwhile`.
    fn kill(&self, grace: Duration, meanwhile: impl FnOnce()) -> TerminationReport {
        let ladder = Ladder::new().then(Rung::Kill, grace);
        let mut reply = spawn(self.pool.terminate(Select::worker(self.worker), ladder, LIMIT));
        assert_pending!(reply.poll());
        meanwhile();
        soon(reply).expect("it answers")
    }

    fn state(&self) -> Option<WorkerState> {
        let inventory = self.pool.inventory_now();
        inventory.workers.iter().find(|row| row.worker == self.worker).map(|row| row.state)
    }
}

fn goes_back_to_its_lane<S: Subject>(stand: Stand<S>) {
    let report = stand.kill(Duration::from_secs(60), || {
        until("its worker is condemned", || stand.state() == Some(WorkerState::Condemned));
        stand.gate.open();
    });
    assert_eq!((report.targets[0].fate, report.targets[0].job), (Fate::Killed, None), "{report}");
    assert_eq!((soon(stand.first).expect("another worker has run it"), soon(stand.second).unwrap()), (7, 0));
    at_rest(&stand.pool);
    assert_eq!(stand.pool.snapshot().ledger.completed, 2);
}

#[test]
fn a_job_that_a_killed_worker_had_not_begun_is_run_by_another() {
    goes_back_to_its_lane(tasks("back"));
    goes_back_to_its_lane(actors("back"));
}

/// Its thread does not come back in time: nobody can put the job back meanwhile, but it is certain that it does not run.
fn is_killed_and_not_abandoned<S: Subject>(stand: Stand<S>) {
    let report = stand.kill(Duration::from_millis(5), || ());
    assert_eq!(report.targets[0].fate, Fate::Abandoned, "{report}");
    let error = soon(stand.first).expect_err("it is ended with its worker");
    assert!(matches!(error, JobError::Killed(_)), "{error}");
    stand.gate.open();
    assert_eq!(soon(stand.second).unwrap(), 0);
    until("nobody is abandoned", || stand.pool.saturation().abandoned == 0);
    at_rest(&stand.pool);
}

#[test]
fn a_job_that_an_abandoned_worker_had_not_begun_may_not_still_run() {
    is_killed_and_not_abandoned(tasks("late"));
    is_killed_and_not_abandoned(actors("late"));
}

fn has_not_started<S: Subject>(stand: Stand<S>) {
    stand.pool.abort();
    let error = soon(stand.first).expect_err("the pool is gone");
    assert!(matches!(error, JobError::NotStarted(_)), "{error}");
    assert!(matches!(soon(stand.second), Err(JobError::Abandoned(_))));
    let of_ours = || orphans().into_iter().filter(|orphan| *orphan.pool == *stand.pool.name()).collect::<Vec<_>>();
    let orphan = of_ours().into_iter().find(|orphan| orphan.worker == Some(stand.worker)).expect("it has not ended");
    assert_eq!(orphan.job, None);
    stand.gate.open();
    until("nobody is left", || of_ours().is_empty() && stand.pool.inventory_now().workers.is_empty());
    let ledger = stand.pool.snapshot().ledger;
    assert!(ledger.balances(), "{ledger}");
    assert_eq!((ledger.not_started, ledger.abandoned, ledger.pending), (1, 1, 0), "{ledger}");
}

#[test]
fn a_job_that_was_not_begun_when_its_pool_ends_has_not_started() {
    has_not_started(tasks("ends"));
    has_not_started(actors("ends"));
}

/// It is handed back like any other that never began, as soon as its worker lets go of it.
#[test]
fn a_job_that_was_not_begun_is_handed_back_by_a_shutdown_that_returns_jobs() {
    let stand = actors("returned");
    let (_, jobs) = soon(stand.pool.shutdown_returning(TimeLimit::millis(20))).expect("it answers");
    assert!(jobs.is_empty(), "its worker has it");
    assert!(matches!(soon(stand.first), Err(JobError::NotStarted(_))));
    stand.gate.open();
    let mut jobs = Vec::new();
    until("it is handed back", || {
        jobs.extend(stand.pool.take_unstarted());
        jobs.len() == 1
    });
    assert_eq!(jobs.pop().expect("there is one").run(), 7);
}
