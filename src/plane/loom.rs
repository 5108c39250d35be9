//! The races of the data plane, each on a plane as small as will do. What is checked: nothing is lost (loom reports whoever
//! waits for ever), nothing is done twice, and at rest every count is what it should be.

mod gate;
mod lend;
mod queue;
mod recycle;
mod redeliver;
mod retune;
mod seats;
mod spares;
mod watch;

use std::panic::Location;
use std::task::{Context, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use parking_lot::Mutex as Outside;

use super::{ControlPort, Entry, Garbage, Plane, Signal, WorkerContext};
use crate::config::{Lane, Limits, PoolConfig};
use crate::error::{CloseReason, RejectReason};
use crate::gate::Gate;
use crate::id::{LaneId, WorkerId};
use crate::job::{Envelope, JobCell, JobHandle, Share, Submission, Terms};
use crate::sync::{Arc, Clock, Ordering, Ticks, Timestamp};

/// The one moment that a model's clock knows.
const NOW: Timestamp = Timestamp::from_nanos(1_000);
/// A time limit that passes at the first tick.
const SOON: Duration = Duration::from_nanos(1);

type Job = JobCell<u64, u64>;

/// Permutes `model`; `LOOM_MAX_PREEMPTIONS` sets how far instead.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Control, as a model hears it.
#[derive(Clone, Default)]
struct Control(Arc<Outside<Vec<Signal>>>);

impl Control {
    fn heard(&self, what: impl Fn(&Signal) -> bool) -> usize {
        self.0.lock().iter().filter(|signal| what(signal)).count()
    }
}

impl ControlPort for Control {
    fn signal(&self, signal: Signal) {
        self.0.lock().push(signal);
    }

    fn discard(&self, garbage: Garbage) {
        garbage.dispose();
    }

    fn in_passes(&self, mut pass: Box<dyn FnMut() -> bool + Send>) {
        while pass() {}
    }

    fn alarm(&self, _at: Timestamp) {}

    fn would_block(&self) -> bool {
        false
    }
}

/// Made once for all executions of a model: asking the system for its defaults is slow.
fn config(workers: usize, lanes: &[Lane]) -> PoolConfig {
    let config = PoolConfig {
        limits: Limits::fixed(workers),
        lanes: lanes.to_vec(),
        abandoned_cap: Some(workers),
        clock: Clock::fixed(NOW),
        ..PoolConfig::new("model")
    };
    assert_eq!(config.validate(), Ok(()));
    config
}

fn lane(capacity: usize) -> Lane {
    Lane::new("default").capacity(capacity)
}

/// A plane, and who speaks to it.
#[derive(Clone)]
struct Pond {
    plane: Arc<Plane<Job>>,
    control: Control,
}

impl Pond {
    fn new(config: &PoolConfig) -> Self {
        let control = Control::default();
        Self { plane: Plane::new(config.clone(), Box::new(control.clone())), control }
    }

    fn employ(&self, slot: u32) -> WorkerContext<Job> {
        let cell = self.plane.seat_worker(WorkerId { slot, generation: 1 }, 0);
        WorkerContext::new(self.plane.clone(), cell)
    }

    fn job(&self, lane: u16, terms: Option<Terms>) -> Share<Job> {
        let submission = Submission { lane: LaneId(lane), site: Location::caller(), terms: terms.map(Box::new) };
        Share::alone(7, submission)
    }

    fn handle(&self, job: &Share<Job>) -> JobHandle<u64> {
        JobHandle::new(job.clone(), self.plane.number())
    }

    fn try_submit(&self, lane: u16) -> Result<JobHandle<u64>, RejectReason> {
        let job = self.job(lane, None);
        match self.plane.try_admit(job.clone()) {
            Ok(()) => Ok(self.handle(&job)),
            Err((_, reason)) => Err(reason),
        }
    }

    /// A job that there is room for.
    fn submit(&self, lane: u16) -> JobHandle<u64> {
        self.try_submit(lane).expect("there is room")
    }

    /// A job whose submitter waits at the gate if it has to.
    fn submit_waiting(&self) -> Result<JobHandle<u64>, RejectReason> {
        let job = self.job(0, None);
        let entry = match self.plane.enter(job.clone()) {
            Entry::Done(done) => done,
            Entry::Waits(admission) => block_on(admission),
        };
        match entry {
            Ok(()) => Ok(self.handle(&job)),
            Err((_, reason)) => Err(reason),
        }
    }

    /// All that is due at any time is due now.
    fn tick(&self) {
        self.plane.tick(NOW.after(Duration::from_secs(3600)));
    }

    /// What is queued ends as not started.
    fn fail_queued(&self, reason: &CloseReason) {
        while self.plane.fail_some(reason) {}
    }

    fn spawn<T: 'static>(&self, f: impl FnOnce(Self) -> T + 'static) -> thread::JoinHandle<T> {
        let pond = self.clone();
        thread::spawn(move || f(pond))
    }

    /// A job that could start, a worker that could take it, and nobody who looks: that must not be, at any moment.
    fn assert_searched(&self) {
        let ready = self.plane.ready.lock();
        let inbox = self.plane.inbox.lock();
        let could_start = |index: u16| {
            let lane = LaneId(index);
            let mut jobs = ready.lanes[lane.index()].iter().chain(inbox.lanes[lane.index()].jobs.iter());
            jobs.any(|job| job.header().is_queued()) && self.plane.startable(lane, None) > 0
        };
        let work = inbox.gate.dispatches() && (0..self.plane.lanes.len() as u16).any(could_start);
        assert!(!work || inbox.idle.is_empty() || inbox.searching > 0, "jobs wait, workers idle, and nobody searches");
        let calm = ready.is_calm() && inbox.gate == Gate::Open;
        assert!(calm || !self.plane.is_calm(), "whoever goes by the inbox alone would miss something");
    }

    /// Nothing runs, nothing waits, and nothing is owed.
    fn assert_at_rest(&self) {
        let plane = &self.plane;
        let ready = plane.ready.lock();
        let inbox = plane.inbox.lock();
        assert!(!plane.is_calm() || ready.is_calm() && inbox.gate == Gate::Open, "calm");
        assert_eq!(inbox.searching, 0, "searching");
        assert_eq!(inbox.idle.iter().count(), plane.counts.idle(), "idle");
        assert_eq!(plane.counts.busy(), 0, "busy");
        assert_eq!(plane.counts.abandoned(), 0, "abandoned");
        for (index, (lane, line)) in plane.lanes.iter().zip(&inbox.lanes).enumerate() {
            assert_eq!(plane.queued(index), 0, "queued");
            assert_eq!(line.granted, 0, "granted");
            assert_eq!(lane.waiting.load(Ordering::Acquire), 0, "waiting");
        }
        drop((inbox, ready));
        let ledger = plane.ledger();
        assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    }
}

/// What a worker does until it is told to leave; says how many jobs it ran.
fn work(mut worker: WorkerContext<Job>) -> usize {
    let mut ran = 0;
    while work_once(&mut worker) {
        ran += 1;
    }
    ran
}

/// Runs the next job; false: the worker has to leave.
fn work_once(worker: &mut WorkerContext<Job>) -> bool {
    let Some(claim) = block_on(worker.next()) else { return false };
    claim.run(|job, key| job.run(key, |n| n + 1));
    true
}

/// Looks for work once: idles, or keeps what it gets for later.
fn look(worker: &mut WorkerContext<Job>) {
    worker.look(&mut Context::from_waker(Waker::noop()));
}

fn join<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().expect("the thread of a model ends")
}
