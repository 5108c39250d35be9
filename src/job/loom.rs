//! The races of one job: who owns its payload, who writes its outcome, who is told, who drops what is left, and who frees it.

/// The count of shares once more, so that loom permutes it.
#[path = "shares.rs"]
mod shares;

use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::AtomicUsize as Count;
use std::task::{Context, Waker};
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::atomic as atomics;
use loom::thread;

use super::cell::Inner;
use super::outcome::Owner;
use super::{ClaimKey, Envelope, JobCell, JobHandle, Recalls, Registered, Share, Submission};
use crate::error::{CancelledJob, Deadlock, JobError};
use crate::id::LaneId;
use crate::sync::{Arc, Ordering};

/// Permutes `model`; `LOOM_MAX_PREEMPTIONS` sets how far instead.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

/// Counts its drops, outside of the model.
#[derive(Debug)]
struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A job that everybody of a model knows, and what was counted of it.
#[derive(Clone)]
struct Job {
    cell: Share<JobCell<Counted, Counted>>,
    payloads_dropped: Arc<Count>,
    outputs_made: Arc<Count>,
    outputs_dropped: Arc<Count>,
    ends: Arc<Ends>,
    /// Where its handle finds `ends`, in the place of a pool.
    registered: Arc<Registered>,
}

/// What ends the job from outside.
struct Ends {
    cell: Share<JobCell<Counted, Counted>>,
    /// Outcomes won.
    won: Arc<Count>,
}

impl Ends {
    fn win(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    /// What a tick, a cancel or a shutdown does: an outcome for a job that is still `owner`'s.
    fn end(&self, owner: Owner) {
        let label = None;
        let (job, submitted_from) = (self.cell.header().id(), Location::caller());
        let cancelled = CancelledJob {
            pool: "loom".into(),
            job,
            label,
            submitted_from,
            by: "loom",
            after: Duration::ZERO,
            lost_deliveries: 0,
        };
        let error = JobError::Cancelled(Box::new(cancelled));
        let Some(mut settlement) = self.cell.settle_error(error, Some(owner)) else { return };
        self.win();
        let key = settlement.take_key();
        self.cell.publish(settlement);
        if let Some(key) = key {
            self.cell.discard(key);
        }
    }
}

impl Recalls for Ends {
    fn name(&self) -> Arc<str> {
        Arc::from("model")
    }

    fn lane_name(&self, _lane: LaneId) -> Arc<str> {
        Arc::from("default")
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn could_start(&self, _lane: LaneId, _held: &[usize], _abandoned: usize) -> bool {
        true
    }

    fn report(&self, _deadlock: &Arc<Deadlock>) {}

    fn recall(&self, _job: &Share<dyn Envelope>) {
        self.end(Owner::Queue);
    }

    fn would_block(&self) -> bool {
        false
    }
}

impl Job {
    fn new() -> Self {
        let payloads_dropped = Arc::new(Count::new(0));
        let submission = Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None };
        let cell = Share::alone(Counted(payloads_dropped.clone()), submission);
        let [outputs_made, outputs_dropped, won] = std::array::from_fn(|_| Arc::new(Count::new(0)));
        let ends = Arc::new(Ends { cell: cell.clone(), won });
        let pool: Arc<dyn Recalls> = ends.clone();
        let registered = Arc::new(Registered::new(Arc::downgrade(&pool)));
        Self { cell, payloads_dropped, outputs_made, outputs_dropped, ends, registered }
    }

    /// The job's one handle.
    fn handle(&self) -> JobHandle<Counted> {
        JobHandle::new(self.cell.clone(), self.registered.number())
    }

    /// What a worker does with a job that it has claimed.
    fn run(&self) {
        let mut key = ClaimKey::of(&self.cell);
        let ran = self.cell.run(&mut key, |payload| {
            drop(payload);
            self.outputs_made.fetch_add(1, Ordering::Relaxed);
            Counted(self.outputs_dropped.clone())
        });
        if let Some(settlement) = ran.settled {
            self.ends.win();
            self.cell.publish(settlement);
        }
    }

    fn claim_and_run(&self) {
        if self.cell.header().claim() {
            self.run();
        }
    }

    /// Whatever happened: one outcome, and each value that was made was dropped once.
    fn assert_over(self) {
        assert!(self.cell.header().is_done(), "no outcome");
        assert_eq!(self.ends.won.load(Ordering::Relaxed), 1, "outcomes");
        let made = self.outputs_made.load(Ordering::Relaxed);
        let Self { cell, payloads_dropped, outputs_dropped, ends, .. } = self;
        // Whose drop they are is settled: none is left to whoever happens to let go of the cell last.
        assert_eq!(payloads_dropped.load(Ordering::Relaxed), 1, "payload drops");
        assert_eq!(outputs_dropped.load(Ordering::Relaxed), made, "output drops");
        drop((cell, ends));
        assert_eq!(payloads_dropped.load(Ordering::Relaxed), 1, "payload drops with the cell");
        assert_eq!(outputs_dropped.load(Ordering::Relaxed), made, "output drops with the cell");
    }
}

fn on_thread(job: &Job, f: impl FnOnce(Job) + 'static) -> thread::JoinHandle<()> {
    let job = job.clone();
    thread::spawn(move || f(job))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("the thread of a model ends");
    }
}

#[test]
fn of_claim_cancel_and_expiry_one_wins() {
    check(|| {
        let job = Job::new();
        let handle = job.handle();
        let worker = on_thread(&job, |job| job.claim_and_run());
        let tick = on_thread(&job, |job| job.ends.end(Owner::Queue));
        handle.cancel();
        let outcome = block_on(handle);
        let completed = outcome.is_ok();
        drop(outcome);
        join([worker, tick]);
        assert_eq!(job.outputs_made.load(Ordering::Relaxed), usize::from(completed));
        job.assert_over();
    });
}

#[test]
fn an_outcome_is_never_missed() {
    check(|| {
        let job = Job::new();
        let handle = job.handle();
        let worker = on_thread(&job, |job| job.claim_and_run());
        assert!(block_on(handle).is_ok());
        join([worker]);
        job.assert_over();
    });
}

#[test]
fn an_outcome_is_never_missed_by_a_handle_that_changes_its_task() {
    check(|| {
        let job = Job::new();
        let mut handle = job.handle();
        let worker = on_thread(&job, |job| job.claim_and_run());
        // The waker of the first poll wakes nobody: the second one's must.
        let first = pin!(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        if first.is_pending() {
            assert!(block_on(handle).is_ok());
        }
        drop(first);
        join([worker]);
        job.assert_over();
    });
}

#[test]
fn an_output_that_nobody_reads_is_dropped_once() {
    check(|| {
        let job = Job::new();
        let handle = job.handle();
        let worker = on_thread(&job, |job| job.claim_and_run());
        drop(handle);
        join([worker]);
        job.assert_over();
    });
}

#[test]
fn a_handle_that_waited_and_goes_away_leaves_nothing() {
    check(|| {
        let job = Job::new();
        let mut handle = job.handle();
        let worker = on_thread(&job, |job| job.claim_and_run());
        drop(pin!(&mut handle).poll(&mut Context::from_waker(Waker::noop())));
        drop(handle);
        join([worker]);
        job.assert_over();
    });
}

#[test]
fn a_handle_that_cancels_as_it_goes_races_the_claim() {
    check(|| {
        let job = Job::new();
        let handle = job.handle().cancel_on_drop();
        let worker = on_thread(&job, |job| job.claim_and_run());
        drop(handle);
        join([worker]);
        job.assert_over();
    });
}

#[test]
fn a_result_that_comes_after_the_time_limit_is_dropped_by_its_worker() {
    check(|| {
        let job = Job::new();
        let handle = job.handle();
        assert!(job.cell.header().claim());
        let worker = on_thread(&job, |job| job.run());
        let tick = on_thread(&job, |job| job.ends.end(Owner::Worker));
        let completed = block_on(handle).is_ok();
        join([worker, tick]);
        // A limit that passed before the payload was begun keeps it from running at all.
        let made = job.outputs_made.load(Ordering::Relaxed);
        assert!(made == 1 || made == 0 && !completed, "{made} outputs");
        job.assert_over();
    });
}

#[test]
fn a_job_that_is_put_back_and_ended_runs_at_most_once() {
    check(|| {
        let job = Job::new();
        let handle = job.handle();
        assert!(job.cell.header().claim());
        let dying = on_thread(&job, |job| {
            if !job.cell.header().put_back() {
                // It has its outcome, and its payload is still this worker's.
                job.cell.discard(ClaimKey::of(&job.cell));
            }
        });
        let tick = on_thread(&job, |job| job.ends.end(Owner::Worker));
        let other = on_thread(&job, |job| job.claim_and_run());
        join([dying, tick, other]);
        // Nobody may have wanted it at the right moment: then it is still in the queue.
        job.claim_and_run();
        drop(block_on(handle));
        job.assert_over();
    });
}

#[test]
fn a_token_made_while_the_job_is_cancelled_is_cancelled() {
    check(|| {
        let job = Job::new();
        let canceller = on_thread(&job, |job| {
            job.cell.header().cancel();
        });
        let token = job.cell.header().token();
        join([canceller]);
        assert!(token.is_cancelled());
    });
}

/// A job of which loom sees the count, and whoever touches what is in it.
struct Shared {
    shares: shares::Shares,
    value: UnsafeCell<u64>,
    freed: Count,
}

impl Shared {
    fn with(shares: u32) -> Arc<Self> {
        Arc::new(Self { shares: shares::Shares::new(shares), value: UnsafeCell::new(0), freed: Count::new(0) })
    }

    /// What whoever has a share may do: loom reports it if that is after, or beside, the end.
    fn look(&self) {
        self.value.with(|_| ());
    }

    fn give_back(&self) {
        if self.shares.give_back() {
            self.value.with_mut(|_| ());
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn whoever_gives_back_the_last_share_frees_the_job_once_and_after_all_others() {
    check(|| {
        let job = Shared::with(2);
        let other = job.clone();
        let other = thread::spawn(move || {
            other.shares.add();
            other.look();
            other.give_back();
            other.look();
            other.give_back();
        });
        job.shares.add();
        let third = job.clone();
        let third = thread::spawn(move || {
            third.look();
            third.give_back();
        });
        job.look();
        job.give_back();
        join([other, third]);
        assert_eq!(job.freed.load(Ordering::Relaxed), 1, "times that it was freed");
    });
}
