//! What every body needs: a pool, a way to put jobs in, and a way to wait that neither hopes nor hangs.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond::{
    JobHandle, JobOptions, JobStatus, Limits, Pool, PoolBuilder, PoolExecutor, Rejected, TimeLimit, WorkerId,
    WorkerState,
};

use crate::subject::{Subject, runtime};
use crate::task::{Gate, Task};

pub(crate) type PoolOf<S> = Pool<<S as Subject>::Backend>;
type BuilderOf<S> = PoolBuilder<<S as Subject>::Backend>;

/// Longer than anything here takes, however loaded the machine: whoever waits this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for control replies.
pub(crate) const LIMIT: TimeLimit = TimeLimit(PATIENCE);

/// A name that no other pool of this process has.
pub(crate) fn named<S: Subject>(what: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}-{}", S::KIND, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A pool, named after what it is for.
pub(crate) fn build<S: Subject>(what: &str, shape: impl FnOnce(BuilderOf<S>) -> BuilderOf<S>) -> PoolOf<S> {
    shape(S::builder(&named::<S>(what))).build().expect("the pool is built")
}

/// A pool of so many workers.
pub(crate) fn fixed<S: Subject>(what: &str, workers: usize) -> PoolOf<S> {
    build::<S>(what, |builder| builder.limits(Limits::fixed(workers)))
}

/// Waits until `so`, by looking again and again; fails when that takes for ever.
#[track_caller]
pub(crate) fn until(what: &str, so: impl FnMut() -> bool) {
    wait(|| what.to_owned(), so);
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place of the suite that sleeps")]
fn wait(what: impl Fn() -> String, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited for ever until {}", what());
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The output of a future that is to end; fails when it takes for ever.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place of the suite that limits a wait")]
pub(crate) fn soon<F: Future>(future: F) -> F::Output {
    match runtime().block_on(async { tokio::time::timeout(PATIENCE, future).await }) {
        Ok(output) => output,
        Err(_) => panic!("waited for ever for a future"),
    }
}

/// Submits a task, without waiting at the gate.
#[track_caller]
pub(crate) fn offer<S: Subject>(pool: &PoolOf<S>, task: Task) -> Result<JobHandle<u64>, Rejected<S::Job>> {
    pool.with(JobOptions::new()).try_submit(S::job(task))
}

/// Submits a task for which there is a place.
#[track_caller]
pub(crate) fn put<S: Subject>(pool: &PoolOf<S>, task: Task) -> JobHandle<u64> {
    put_with::<S>(pool, JobOptions::new(), task)
}

/// The same with options.
#[track_caller]
pub(crate) fn put_with<S: Subject>(pool: &PoolOf<S>, options: JobOptions, task: Task) -> JobHandle<u64> {
    pool.with(options).try_submit(S::job(task)).expect("there is a place")
}

/// So many jobs that run until `gate` opens, all of them running.
#[track_caller]
pub(crate) fn hold<S: Subject>(pool: &PoolOf<S>, gate: &Gate, jobs: usize) -> Vec<JobHandle<u64>> {
    let entered = gate.entered();
    let handles = (0..jobs).map(|_| put::<S>(pool, Task::deaf(gate))).collect();
    until("the jobs run", || gate.entered() == entered + jobs);
    handles
}

/// The worker that runs this job.
#[track_caller]
pub(crate) fn worker_of(pool: &dyn PoolExecutor, handle: &JobHandle<u64>) -> WorkerId {
    let mut found = None;
    until("the job has a worker", || {
        let inventory = pool.inventory_now();
        found = inventory
            .workers
            .iter()
            .find(|row| row.job.as_ref().is_some_and(|job| job.id == handle.id()))
            .map(|row| row.worker);
        found.is_some()
    });
    found.expect("it was found")
}

/// Waits until a control message that was sent before has been worked off: the mailbox keeps its order.
#[track_caller]
pub(crate) fn after_control(pool: &dyn PoolExecutor) {
    soon(pool.inventory(LIMIT)).expect("the pool answers");
}

/// At rest every job has one outcome, the ledger balances, nothing is owed and nobody waits (invariants 1 and 2).
#[track_caller]
pub(crate) fn at_rest(pool: &dyn PoolExecutor) {
    let quiet = || {
        let seen = pool.saturation();
        let leaving = pool.inventory_now().workers.iter().any(|row| row.state == WorkerState::Leaving);
        seen.active + seen.queued + seen.waiting + seen.debt + seen.starting == 0 && !leaving
    };
    wait(|| format!("{} is at rest\n{}\n{:?}", pool.name(), pool.inventory_now(), pool.snapshot().health), quiet);
    let limits = pool.snapshot().limits;
    until("workers are within limits", || (limits.min..=limits.max).contains(&pool.saturation().workers));
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances(), "{ledger}");
    assert_eq!((ledger.pending, ledger.waiting), (0, 0), "{ledger}");
}

#[track_caller]
pub(crate) fn status_becomes(handle: &JobHandle<u64>, status: JobStatus) {
    until("the job gets that far", || handle.status() == status);
}
