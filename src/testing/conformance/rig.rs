//! What every body has: a pool of the subject, its jobs, and ways to wait that neither hope nor hang.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::tether::Hold;
use super::{Output, Subject};
use crate::backend::{Capabilities, KillReach};
use crate::builder::PoolBuilder;
use crate::config::{Lane, Limits};
use crate::control::{EventStream, Ladder, PoolEvent, Select};
use crate::error::{JobError, Rejected};
use crate::executor::{PoolExecutor, TimeLimit};
use crate::id::WorkerId;
use crate::job::{JobHandle, JobOptions, JobStatus};
use crate::pool::Pool;
use crate::snapshot::{Fate, Rung, TargetReport, TerminationReport, WorkerState};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Clock, Ordering, block_on_within};
use crate::testing::SettableClock;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLI: Duration = Duration::from_millis(1);
/// So short that whoever does not listen overstays it.
pub(super) const SHORT: Duration = Duration::from_millis(5);

/// What a job of the subject gives.
pub(super) type Handle<S> = JobHandle<Output<S>>;

/// A subject under test.
pub(super) struct Rig<'s, S: Subject>(pub(super) &'s S);

impl<S: Subject> Clone for Rig<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Subject> Copy for Rig<'_, S> {}

/// A pool of the subject.
pub(super) struct Pond<'s, S: Subject> {
    pool: Pool<S::Backend>,
    rig: Rig<'s, S>,
}

impl<S: Subject> Deref for Pond<'_, S> {
    type Target = Pool<S::Backend>;

    fn deref(&self) -> &Self::Target {
        &self.pool
    }
}

impl<'s, S: Subject> Rig<'s, S> {
    /// A name that no other pool of this process has.
    pub(super) fn named(self, what: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        format!("{what}-{}-{}", self.capabilities().kind.replace(' ', "-"), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// What the backend says of itself before it has a pool.
    pub(super) fn capabilities(self) -> Capabilities {
        use crate::backend::Backend;
        self.0.builder("conformance").backend().capabilities()
    }

    /// A pool, named after what it is for. Its workers may take as long to leave as the suite is patient.
    pub(super) fn build(
        self,
        what: &str,
        shape: impl FnOnce(PoolBuilder<S::Backend>) -> PoolBuilder<S::Backend>,
    ) -> Pond<'s, S> {
        // Whatever room and manners the subject's own lane has: bodies queue what they like.
        let builder = self.0.builder(&self.named(what)).default_lane(Lane::new("default")).kill_grace(self.patience());
        let pool = shape(builder).build().unwrap_or_else(|error| panic!("the pool is not built: {error}"));
        Pond { pool, rig: self }
    }

    /// A pool of so many workers.
    pub(super) fn fixed(self, what: &str, workers: usize) -> Pond<'s, S> {
        self.build(what, |builder| builder.limits(Limits::fixed(workers)))
    }

    /// The same on a clock that the body moves, with a second's grace for a kill. All workers are up.
    pub(super) fn clocked(self, what: &str, workers: usize, lane: Lane) -> (Pond<'s, S>, SettableClock) {
        self.clocked_with(what, workers, |builder| builder.default_lane(lane))
    }

    pub(super) fn clocked_with(
        self,
        what: &str,
        workers: usize,
        shape: impl FnOnce(PoolBuilder<S::Backend>) -> PoolBuilder<S::Backend>,
    ) -> (Pond<'s, S>, SettableClock) {
        let clock = SettableClock::new();
        let pond = self.build(what, |builder| {
            shape(builder.limits(Limits::fixed(workers)).kill_grace(SECOND).clock(clock.clock()))
        });
        // A worker that comes up while the clock is moved may have read it before.
        self.until("all are up", || pond.saturation().idle == workers);
        (pond, clock)
    }

    /// As long as anything here may take.
    pub(super) fn patience(self) -> Duration {
        self.0.patience()
    }

    /// The same for control replies.
    pub(super) fn limit(self) -> TimeLimit {
        TimeLimit(self.patience())
    }

    /// A kill that is waited for, though not for as long as its answer.
    pub(super) fn kill(self) -> Ladder {
        Ladder::new().then(Rung::Kill, self.patience() / 2)
    }

    /// Tells to leave, and waits for that.
    pub(super) fn stop(self) -> Ladder {
        Ladder::new().then(Rung::Stop, self.patience() / 2)
    }

    /// What a kill does to a job that does not listen, by the capabilities.
    pub(super) fn fate_of_a_kill(self) -> Fate {
        if self.capabilities().kill == KillReach::None { Fate::Abandoned } else { Fate::Killed }
    }

    pub(super) fn value(self, number: u64) -> S::Job {
        self.0.returns(number)
    }

    /// Ignores being asked, until it is let go.
    pub(super) fn deaf(self, hold: &Hold) -> S::Job {
        self.0.ignores(hold.tether())
    }

    /// Beats, until it is asked or let go.
    pub(super) fn polite(self, hold: &Hold) -> S::Job {
        self.0.beats(hold.tether())
    }

    /// One that no kill reaches, if there is such a job.
    pub(super) fn stuck(self, hold: &Hold) -> Option<S::Job> {
        match self.capabilities().kill {
            KillReach::None => Some(self.deaf(hold)),
            _ => self.0.out_of_reach(hold.tether()),
        }
    }

    /// Waits until `so`, by looking again and again; fails when that takes for ever.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the one place of the suite that sleeps, for what tells nobody")]
    pub(super) fn until(self, what: &str, mut so: impl FnMut() -> bool) {
        let clock = Clock::real();
        let until = clock.now().after(self.patience());
        while !so() {
            assert!(clock.now() < until, "waited for {:?} until {what}", self.patience());
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// The output of a future that is to end; fails when it takes for ever.
    #[track_caller]
    pub(super) fn soon<F: Future>(self, future: F) -> F::Output {
        block_on_within(future, self.patience())
            .unwrap_or_else(|| panic!("waited for {:?} for an answer or an outcome", self.patience()))
    }

    /// The number that a job gives.
    #[track_caller]
    pub(super) fn answer(self, handle: Handle<S>) -> u64 {
        match self.soon(handle) {
            Ok(output) => self.0.number(output),
            Err(error) => panic!("the job was to return: {error}"),
        }
    }

    /// Waits until a long job has returned.
    #[track_caller]
    pub(super) fn returns(self, handles: impl IntoIterator<Item = Handle<S>>) {
        for handle in handles {
            if let Err(error) = self.soon(handle) {
                panic!("the job was to return: {error}");
            }
        }
    }

    /// How a job failed.
    #[track_caller]
    pub(super) fn fails(self, handle: Handle<S>) -> JobError {
        match self.soon(handle) {
            Ok(_) => panic!("the job was to fail, and has returned"),
            Err(error) => error,
        }
    }

    /// The next event that is wanted.
    #[track_caller]
    pub(super) fn event<T>(self, events: &mut EventStream, mut wanted: impl FnMut(PoolEvent) -> Option<T>) -> T {
        loop {
            let Some(event) = self.soon(events.next()) else { panic!("the pool has ended") };
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }
}

impl<'s, S: Subject> Pond<'s, S> {
    pub(super) fn handle(&self) -> Pool<S::Backend> {
        self.pool.clone()
    }

    /// Submits a job, without waiting at the gate.
    #[track_caller]
    pub(super) fn offer(&self, job: S::Job) -> Result<Handle<S>, Rejected<S::Job>> {
        self.with(JobOptions::new()).try_submit(job)
    }

    /// Submits a job for which there is a place.
    #[track_caller]
    pub(super) fn put(&self, job: S::Job) -> Handle<S> {
        self.put_with(JobOptions::new(), job)
    }

    /// The same with options.
    #[track_caller]
    pub(super) fn put_with(&self, options: JobOptions, job: S::Job) -> Handle<S> {
        self.with(options).try_submit(job).unwrap_or_else(|refused| panic!("there was to be a place: {refused}"))
    }

    /// A job at the gate: its submission, under way.
    #[track_caller]
    pub(super) fn wait_at_gate(&self, job: S::Job) -> Begun<'_, Result<Handle<S>, Rejected<S::Job>>> {
        Begun::new(self.with(JobOptions::new()).submit(job))
    }

    /// So many jobs that ignore being asked, all of them running.
    #[track_caller]
    pub(super) fn hold(&self, hold: &Hold, jobs: usize) -> Vec<Handle<S>> {
        let begun = hold.begun();
        let handles = (0..jobs).map(|_| self.put(self.rig.deaf(hold))).collect();
        self.rig.until("the jobs run", || hold.begun() == begun + jobs);
        handles
    }

    /// One of them.
    #[track_caller]
    pub(super) fn hold_one(&self, hold: &Hold) -> Handle<S> {
        self.hold(hold, 1).pop().expect("one was asked for")
    }

    /// The worker that runs this job.
    #[track_caller]
    pub(super) fn worker_of(&self, handle: &Handle<S>) -> WorkerId {
        let mut found = None;
        self.rig.until("the job has a worker", || {
            let inventory = self.inventory_now();
            let runs = |row: &&crate::snapshot::WorkerRow| row.job.as_ref().is_some_and(|job| job.id == handle.id());
            found = inventory.workers.iter().find(runs).map(|row| row.worker);
            found.is_some()
        });
        found.expect("it was found")
    }

    pub(super) fn workers(&self) -> Vec<WorkerId> {
        self.inventory_now().workers.iter().map(|row| row.worker).collect()
    }

    #[track_caller]
    pub(super) fn terminate(&self, select: Select, ladder: Ladder) -> TerminationReport {
        let answer = self.rig.soon(PoolExecutor::terminate(&self.pool, select, ladder, self.rig.limit()));
        answer.unwrap_or_else(|error| panic!("it was to answer: {error}"))
    }

    /// Of one target.
    #[track_caller]
    pub(super) fn terminate_one(&self, select: Select, ladder: Ladder) -> TargetReport {
        let report = self.terminate(select, ladder);
        assert_eq!(report.targets.len(), 1, "{report:?}");
        report.targets[0]
    }

    /// Waits until a control message that was sent before has been worked off: the mailbox keeps its order.
    #[track_caller]
    pub(super) fn after_control(&self) {
        let answer = self.rig.soon(self.inventory(self.rig.limit()));
        assert!(answer.is_ok(), "control was to answer: {answer:?}");
    }

    /// At rest every job has one outcome, the ledger balances, nothing is owed, nobody waits, and the workers are within limits.
    #[track_caller]
    pub(super) fn at_rest(&self) {
        self.rig.until(&format!("`{}` is at rest", self.name()), || {
            let seen = self.saturation();
            let leaving = self.inventory_now().workers.iter().any(|row| row.state == WorkerState::Leaving);
            seen.active + seen.queued + seen.waiting + seen.debt + seen.starting == 0 && !leaving
        });
        let limits = self.snapshot().limits;
        self.rig.until("workers are within limits", || (limits.min..=limits.max).contains(&self.saturation().workers));
        let ledger = self.snapshot().ledger;
        assert!(ledger.balances(), "{ledger}");
        assert_eq!((ledger.pending, ledger.waiting), (0, 0), "{ledger}");
    }

    #[track_caller]
    pub(super) fn becomes(&self, handle: &Handle<S>, status: JobStatus) {
        self.rig.until("the job gets that far", || handle.status() == status);
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A future that was polled once, and is looked at again by hand.
pub(super) struct Begun<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    woken: Arc<Woken>,
}

impl<'a, T> Begun<'a, T> {
    /// Fails if it is ready at once.
    #[track_caller]
    pub(super) fn new(future: impl Future<Output = T> + 'a) -> Self {
        let mut begun = Self { future: Box::pin(future), woken: Arc::default() };
        begun.waits();
        begun
    }

    /// Fails if it is ready.
    #[track_caller]
    pub(super) fn waits(&mut self) {
        let waker = Waker::from(self.woken.clone());
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending), "it was to wait");
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Acquire)
    }
}

impl<T> Future for Begun<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.future.as_mut().poll(cx)
    }
}
