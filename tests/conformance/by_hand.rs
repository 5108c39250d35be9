//! Workers that the test polls itself, one poll at a time and with whatever waker it likes: what is written against the public names of a
//! backend, and what its executor may do.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use millpond::{
    Backend, Capabilities, Claim, Executor, Fate, Hosts, JobCell, JobError, JobHandle, KillOutcome, KillReach, Ladder,
    Lane, Limits, Pool, PoolBuilder, PoolExecutor, Rung, Select, Share, StartError, Started, WorkerContext,
    WorkerControl, WorkerRow, WorkerState,
};
use parking_lot::Mutex;
use ractor::ActorCell;
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, after_control, soon, until};

type Job = JobCell<u64, u64>;
type Worker = WorkerContext<Job>;

/// Hosts numbers, which are their own outputs, on workers that lie about until somebody polls them.
#[derive(Clone, Default)]
struct Hands {
    workers: Arc<Mutex<Vec<Worker>>>,
    kills: Arc<AtomicUsize>,
}

/// A kill is noted: what follows from it is for the test to do.
struct Noted(Arc<AtomicUsize>);

impl WorkerControl for Noted {
    fn kill(&self) -> KillOutcome {
        self.0.fetch_add(1, Ordering::AcqRel);
        KillOutcome::Signalled
    }
}

impl Backend for Hands {
    type Job = Job;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("pool by hand", KillReach::AtYield)
    }

    fn start(&self, cx: Worker, _supervisor: &ActorCell) -> Result<Started, StartError> {
        self.workers.lock().push(cx);
        Ok(Started::kept(Noted(self.kills.clone())))
    }
}

impl Hosts<u64> for Hands {
    type Output = u64;
    type Payload = u64;

    fn wrap(job: u64) -> u64 {
        job
    }

    fn unwrap(payload: u64) -> u64 {
        payload
    }

    fn erase(cell: Share<Job>) -> Share<Job> {
        cell
    }
}

/// One poll of the worker's next job.
fn poll<'a>(worker: &'a mut Worker, waker: &Waker) -> Poll<Option<Claim<'a, Job>>> {
    pin!(worker.next()).poll(&mut Context::from_waker(waker))
}

fn run(claim: Claim<'_, Job>) {
    claim.run(|cell, key| cell.run(key, |job| job));
}

/// Has the worker run the job that is waiting for it.
fn run_next(worker: &mut Worker) {
    match poll(worker, Waker::noop()) {
        Poll::Ready(Some(claim)) => run(claim),
        other => panic!("there is a job for it: {other:?}"),
    }
}

/// Two workers, which idle.
struct Bench {
    pool: Pool<Hands>,
    hands: Hands,
    workers: Vec<Worker>,
}

impl Bench {
    fn new(what: &str, reserve: usize, wakers: [&Waker; 2]) -> Self {
        let hands = Hands::default();
        let builder = PoolBuilder::new(what, hands.clone()).lane(Lane::new("other").reserve(reserve));
        let pool = builder.limits(Limits::fixed(2)).build().expect("it is built");
        until("both are started", || hands.workers.lock().len() == 2);
        let mut workers = std::mem::take(&mut *hands.workers.lock());
        for (worker, waker) in workers.iter_mut().zip(wakers) {
            assert!(poll(worker, waker).is_pending());
        }
        Self { pool, hands, workers }
    }

    fn put(&self, job: u64) -> JobHandle<u64> {
        self.pool.try_submit(job).expect("there is a place")
    }

    fn row(&self, worker: usize) -> Option<WorkerRow> {
        let worker = self.workers[worker].worker();
        self.pool.inventory_now().workers.into_iter().find(|row| row.worker == worker)
    }

    /// Two jobs: which worker has taken the first one, called the other for the second, and stands before it begins.
    fn stand(&mut self) -> (usize, [JobHandle<u64>; 2]) {
        let handles = [self.put(1), self.put(2)];
        for worker in 0..2 {
            assert!(poll(&mut self.workers[worker], Waker::noop()).is_pending());
            if self.row(worker).is_some_and(|row| row.state == WorkerState::Busy) {
                return (worker, handles);
            }
        }
        panic!("one of them was called: {}", self.pool.inventory_now());
    }
}

/// Whether it drops its state first, or awaits its `stop`: the job is not to wait for that.
#[test]
fn a_worker_that_finds_its_job_taken_back_lets_go_of_it_at_once() {
    let mut bench = Bench::new("by-hand-taken-back", 0, [Waker::noop(); 2]);
    let (stands, handles) = bench.stand();
    let ladder = Ladder::new().then(Rung::Kill, Duration::from_secs(3600));
    let (pool, select) = (bench.pool.clone(), Select::worker(bench.workers[stands].worker()));
    let mut reply = spawn(pool.terminate(select, ladder, LIMIT));
    assert_pending!(reply.poll());
    until("it is killed", || bench.hands.kills.load(Ordering::Acquire) == 1);
    assert!(matches!(poll(&mut bench.workers[stands], Waker::noop()), Poll::Ready(None)), "it is to end");
    let row = bench.row(stands).expect("it has not ended");
    assert!(row.state == WorkerState::Leaving && row.job.is_none(), "{row:?}");
    assert!(matches!(poll(&mut bench.workers[stands], Waker::noop()), Poll::Ready(None)), "and gets no other");
    (0..2).for_each(|_| run_next(&mut bench.workers[1 - stands]));
    assert_eq!(handles.map(|handle| soon(handle).expect("the other one has run it")), [1, 2]);
    bench.workers.clear();
    assert_eq!(soon(reply).expect("it answers").targets[0].fate, Fate::Killed);
    assert_eq!(pool.snapshot().ledger.completed, 2);
}

#[test]
fn a_worker_whose_pool_ends_before_it_begins_its_job_shows_it_no_more() {
    let mut bench = Bench::new("by-hand-ends", 0, [Waker::noop(); 2]);
    let (stands, handles) = bench.stand();
    bench.pool.abort();
    for handle in handles {
        assert!(matches!(soon(handle), Err(JobError::NotStarted(_))));
    }
    assert!(matches!(poll(&mut bench.workers[stands], Waker::noop()), Poll::Ready(None)), "it is to end");
    let row = bench.row(stands).expect("it has not ended");
    assert!(row.state == WorkerState::Leaving && row.job.is_none(), "{row:?}");
    let ledger = bench.pool.snapshot().ledger;
    assert_eq!((ledger.not_started, ledger.pending), (2, 0), "{ledger}");
}

/// Counts, and panics.
#[derive(Default)]
struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
        panic!("in a worker's waker, as it was told");
    }
}

#[test]
fn a_workers_waker_that_panics_reaches_nobody_who_submits() {
    let panics = Arc::new(Panics::default());
    let mut bench = Bench::new("by-hand-submits", 0, [Waker::noop(), &Waker::from(panics.clone())]);
    let handle = bench.put(1);
    assert_eq!(panics.0.load(Ordering::Acquire), 1);
    run_next(&mut bench.workers[1]);
    assert_eq!(soon(handle).expect("it has run"), 1);
}

/// One worker's last turnover calls the other one, before its job's outcome is published: the first leaves, so that the reserve has a seat again.
#[test]
fn a_workers_waker_that_panics_takes_no_outcome_along() {
    let panics = Arc::new(Panics::default());
    let mut bench = Bench::new("by-hand-turnover", 1, [&Waker::from(panics.clone()), Waker::noop()]);
    let (pool, leaves) = (bench.pool.clone(), bench.workers[1].worker());
    let first = bench.put(1);
    let Poll::Ready(Some(claim)) = poll(&mut bench.workers[1], Waker::noop()) else { panic!("it was called") };
    let ladder = Ladder::new().then(Rung::Stop, Duration::from_secs(3600));
    let mut reply = spawn(pool.terminate(Select::worker(leaves), ladder, LIMIT));
    assert_pending!(reply.poll());
    after_control(&pool);
    let second = pool.try_submit(2).expect("there is a place");
    assert_eq!(panics.0.load(Ordering::Acquire), 0, "the other one's seat is kept");
    run(claim);
    assert_eq!(panics.0.load(Ordering::Acquire), 1, "now it is called");
    assert_eq!(soon(first).expect("it has run"), 1);
    run_next(&mut bench.workers[0]);
    assert_eq!(soon(second).expect("it has run"), 2);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.pending), (2, 0), "{ledger}");
}
