//! The worker's side: it pulls, so only a ready worker gets a job.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tracing::Span;

use super::company::Company;
use super::turnover::{Spent, Turn, Turned};
use super::{Plane, Rare};
use crate::error::{JobError, KilledJob, StartError};
use crate::id::{ClaimNo, WorkerId};
use crate::job::{
    ClaimKey, Envelope, InHand, JobCell, JobContext, Owner, Ran, Settlement, Suspended, enter, settle_in, span_of,
};
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::Facts;
use crate::sync::{Arc, Timestamp};
#[cfg(not(millpond_loom))]
use crate::sync::{Ordering, thread_waker};

/// How often a worker looks before it parks, if it is the one that spins.
#[cfg(not(millpond_loom))]
const SPINS: u32 = 700;

/// An incarnation's lease on its pool. Its drop, however it comes about, is the exit of the worker: it gives back the
/// seat, puts back a job that was not begun, and reports.
pub struct WorkerContext<J: ?Sized + Envelope> {
    plane: Arc<Plane<J>>,
    cell: Arc<Cell>,
    /// The job that is claimed: the next one, taken when the last one ended, or the one of the [`Claim`] that is out.
    taken: Option<Taken<J>>,
    /// The right to its payload, while a [`Claim`] is out.
    key: Option<ClaimKey>,
    place: Place,
    /// The last turnover called another worker.
    called: bool,
    company: Company,
    exit: Option<Exit>,
    /// The cell, as jobs see it; lent to the thread while one of them is polled.
    current: Option<Arc<dyn InHand>>,
}

/// A job that is claimed and seated.
pub(crate) struct Taken<J: ?Sized> {
    pub(crate) job: Arc<J>,
    pub(crate) claim: ClaimNo,
    pub(crate) since: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Asks for work next.
    Between,
    /// Among the idle, to be woken.
    Idle,
    /// Has no seat and gets no more work.
    Left,
}

impl<J: ?Sized + Envelope> WorkerContext<J> {
    pub(crate) fn new(plane: Arc<Plane<J>>, cell: Arc<Cell>) -> Self {
        let current = Some(cell.clone() as Arc<dyn InHand>);
        Self {
            plane,
            cell,
            taken: None,
            key: None,
            place: Place::Between,
            called: false,
            company: Company::default(),
            exit: None,
            current,
        }
    }

    /// Which incarnation this is.
    pub fn worker(&self) -> WorkerId {
        self.cell.id
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.plane.config.name
    }

    /// Tells inventory what only this kind of worker has. The first call counts.
    pub fn set_facts(&self, facts: Facts) {
        self.cell.set_facts(facts);
    }

    /// How long it may take to come up.
    #[cfg(feature = "process")]
    pub(crate) fn start_limit(&self) -> std::time::Duration {
        self.plane.config.start_limit
    }

    /// The cell, for facts that are known only once this has been given away.
    pub(crate) fn facts_cell(&self) -> Arc<Cell> {
        self.cell.clone()
    }

    /// The worker did not come up: say why, then drop the context.
    pub fn failed(&mut self, error: StartError) {
        self.cell.fail(error);
    }

    /// The worker's state is suspect: it takes no more jobs and its slot is restarted once this is dropped.
    pub fn condemn(&mut self) {
        self.leave(Exit::Panicked);
    }

    /// The worker is done, in good order: it takes no more jobs, and once this is dropped its slot is free for another. Not a fault, so that
    /// no policy is asked.
    pub fn finish(&mut self) {
        self.leave(Exit::Finished);
    }

    /// The worker is to end for this reason: it takes no more jobs.
    pub(crate) fn leave(&mut self, exit: Exit) {
        self.exit = Some(exit.clone());
        self.cell.lock().leave.get_or_insert(exit);
        // The state is to be dropped before this is, and that may take its time: no job waits for it here, taken or called for.
        self.give_back();
        self.plane.release(&self.cell);
        self.place = Place::Left;
    }

    /// Lets go of a job that was taken and not begun.
    fn give_back(&mut self) {
        if let Some(taken) = self.taken.take()
            && !self.plane.put_back(&self.cell, &taken.job, taken.claim)
        {
            // The payload is this worker's still, since it claimed it.
            let key = taken.job.sealed().0.key();
            self.end_killed(&taken, key);
        }
    }

    /// The next job; `None`: the worker has to end, by dropping this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no job: one that was taken is kept for the next call.
    pub async fn next(&mut self) -> Option<Claim<'_, J>> {
        let mut counted = false;
        let has_job = poll_fn(|cx| {
            if self.place == Place::Idle {
                std::task::ready!(self.cell.parker.poll(cx));
                self.place = Place::Between;
                if self.company.is_expected() {
                    return yield_now(cx);
                }
            }
            let has_job = std::task::ready!(self.poll_take(cx));
            if has_job && !std::mem::replace(&mut counted, true) {
                // The worker that was called may lie where only this thread can get at it, and the job may block this thread:
                // it goes first, and this one stands where another thread can take it.
                let called = std::mem::take(&mut self.called);
                if self.company.others_go_first() || called {
                    return yield_now(cx);
                }
            }
            Poll::Ready(has_job)
        })
        .await;
        has_job.then(|| Claim::new(self))
    }

    /// The same for a worker that is a thread: parks it until there is a job.
    #[cfg(not(millpond_loom))]
    pub fn next_blocking(&mut self) -> Option<Claim<'_, J>> {
        if self.taken.is_some() {
            return Some(Claim::new(self));
        }
        let waker = thread_waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(has_job) = self.poll_take(&mut cx) {
                return has_job.then(|| Claim::new(self));
            }
            if !self.spin() {
                std::thread::park();
            }
        }
    }

    /// Ready with whether there is a job; false: the worker has to leave.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if self.taken.is_some() {
                return Poll::Ready(true);
            }
            match self.place {
                Place::Left => return Poll::Ready(false),
                Place::Idle => {
                    if self.cell.parker.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.place = Place::Between;
                }
                Place::Between => {
                    let now = self.plane.clock.now();
                    if self.cell.ready_at().is_none() {
                        self.plane.note_ready(&self.cell, now);
                    }
                    if let Some(rare) = self.turn(now, None) {
                        self.plane.after_all(*rare);
                    }
                }
            }
        }
    }

    /// Asks for work and keeps what it gets for the next call of [`next`](Self::next).
    #[cfg(any(feature = "testing", millpond_loom))]
    pub(crate) fn look(&mut self, cx: &mut Context<'_>) {
        // What it gets is kept in any case.
        let _ = self.poll_take(cx);
    }

    /// Finds the next job; what it gives is to be worked off by [`Plane::after_all`].
    fn turn(&mut self, now: Timestamp, spent: Option<Spent>) -> Option<Box<Rare<J>>> {
        let looks = spent.is_none();
        let Turned { turn, called, more, rare } = self.plane.turnover(&self.cell, now, spent);
        self.called = called;
        if looks {
            self.company.found(more);
        }
        match turn {
            Turn::Run(job, claim) => {
                self.plane.note_claimed(&self.cell, &job, claim, now);
                self.taken = Some(Taken { job, claim, since: now });
            }
            Turn::Wait => self.place = Place::Idle,
            Turn::Leave => self.place = Place::Left,
        }
        rare
    }

    /// At most one worker of a pool spins before it parks: a park and a wake cost more than the next job's wait. True if it paid.
    #[cfg(not(millpond_loom))]
    pub(crate) fn spin(&self) -> bool {
        let spinner = &self.plane.spinner;
        if spinner.swap(true, Ordering::AcqRel) {
            return false;
        }
        let noticed = (0..SPINS).any(|_| {
            std::hint::spin_loop();
            self.cell.parker.is_notified()
        });
        spinner.store(false, Ordering::Release);
        noticed
    }
}

/// See [`span_of`].
fn job_span<J: ?Sized + Envelope>(plane: &Plane<J>, cell: &Cell, taken: &Taken<J>) -> Option<Span> {
    let header = taken.job.header();
    span_of(header, cell.id, || (&*plane.config.name, &*plane.lane(header.lane()).spec.name))
}

/// Lets the other tasks of this thread go first.
fn yield_now(cx: &Context<'_>) -> Poll<bool> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<J: ?Sized + Envelope> Drop for WorkerContext<J> {
    fn drop(&mut self) {
        self.give_back();
        let exit = self.exit.take();
        self.plane.depart(&self.cell, exit);
    }
}

impl<J: ?Sized + Envelope> std::fmt::Debug for WorkerContext<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerContext").field("worker", &self.cell.id).finish_non_exhaustive()
    }
}

impl<P: Send + 'static, T: Send + 'static> Claim<'_, JobCell<P, T>> {
    /// Takes the payload out, for a backend whose queue holds one type of job; see [`JobCell::take`].
    pub fn take(&mut self) -> Option<P> {
        let WorkerContext { taken, key, .. } = &mut *self.0;
        taken.as_ref()?.job.take(key.as_mut()?)
    }
}

/// A job in a worker's hands. Dropped before it was run to its end, it ends the job as killed.
///
/// The job stays in its worker's context, which this borrows, and is moved no more often than that.
pub struct Claim<'a, J: ?Sized + Envelope>(&'a mut WorkerContext<J>);

/// What an async job has from one poll to the next, beside itself.
#[derive(Default)]
pub(crate) struct Polling {
    suspended: Suspended,
    /// `None` before the first poll; then the job's span, if it has one.
    span: Option<Option<Span>>,
}

impl<'a, J: ?Sized + Envelope> Claim<'a, J> {
    /// For a worker that has taken a job.
    fn new(worker: &'a mut WorkerContext<J>) -> Self {
        // The word went from queued to claimed under the ready lock for this worker: here its one key is made.
        worker.key = worker.taken.as_ref().map(|taken| taken.job.sealed().0.key());
        Self(worker)
    }

    fn taken(&self) -> &Taken<J> {
        self.0.taken.as_ref().expect("a claim is made of a job that was taken, and takes it along when it goes")
    }

    /// The job.
    pub fn job(&self) -> &J {
        &self.taken().job
    }

    /// The job's view of itself, to hand to it.
    pub fn context(&self) -> JobContext {
        let taken = self.taken();
        JobContext::new(taken.job.clone().erase(), self.0.cell.clone(), taken.claim)
    }

    /// Runs the job on this thread with `f`, which calls a method of its [`JobCell`](crate::JobCell).
    ///
    /// True if it panicked.
    pub fn run(self, f: impl FnOnce(&J, &mut ClaimKey) -> Ran) -> bool {
        let WorkerContext { taken, key, current, plane, cell, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else { return false };
        if let Some(worker) = current {
            settle_in(worker);
        }
        let ran = match job_span(plane, cell, taken) {
            None => f(&taken.job, key),
            Some(span) => span.in_scope(|| f(&taken.job, key)),
        };
        self.finish(ran)
    }

    /// Runs the job on this task: `f` is polled, with the job's context current, until it is ready.
    ///
    /// True if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the job: its payload is dropped and its outcome is [`JobError::Killed`].
    pub async fn poll_run(mut self, mut f: impl FnMut(&J, &mut ClaimKey, &mut Context<'_>) -> Poll<Ran>) -> bool {
        let mut polling = Polling::default();
        let ran = poll_fn(|cx| self.poll_once(&mut polling, cx, &mut f)).await;
        self.finish(ran)
    }

    /// One poll of [`poll_run`](Self::poll_run), whose end is for [`finish`](Self::finish).
    pub(crate) fn poll_once(
        &mut self,
        polling: &mut Polling,
        cx: &mut Context<'_>,
        mut f: impl FnMut(&J, &mut ClaimKey, &mut Context<'_>) -> Poll<Ran>,
    ) -> Poll<Ran> {
        let WorkerContext { taken, key, current, cell, plane, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else {
            return Poll::Ready(Ran::NOTHING);
        };
        if !cell.resume(taken.claim) {
            // The pool was aborted, and this job's outcome says that it runs no more: the kill that follows drops it.
            return Poll::Pending;
        }
        let Polling { suspended, span } = polling;
        let entered = enter(current.take());
        let me = || JobContext::new(taken.job.clone().erase(), cell.clone(), taken.claim);
        let span = span.get_or_insert_with(|| job_span(plane, cell, taken)).as_ref();
        let in_span = span.map(Span::enter);
        let polled = suspended.poll(cx, me, |cx| f(&taken.job, key, cx));
        drop(in_span);
        *current = entered.leave();
        if polled.is_pending() {
            cell.pause(taken.claim);
        }
        polled
    }

    /// Has `f` bring about the job's outcome, elsewhere than here; `None`: it could not, and has begun nothing that it does not answer for. True if
    /// the job panicked.
    ///
    /// # Errors
    ///
    /// The claim, if there is no outcome: [put it back](Self::put_back), or drop it, which ends the job as lost or killed.
    #[cfg(feature = "process")]
    pub(crate) fn attempt(self, f: impl FnOnce(&J, &mut ClaimKey) -> Option<Ran>) -> Result<bool, Self> {
        let WorkerContext { taken, key, current, plane, cell, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else { return Ok(false) };
        if let Some(worker) = current {
            settle_in(worker);
        }
        let ran = match job_span(plane, cell, taken) {
            None => f(&taken.job, key),
            Some(span) => span.in_scope(|| f(&taken.job, key)),
        };
        match ran {
            Some(ran) => Ok(self.finish(ran)),
            None => Err(self),
        }
    }

    /// Its worker's cell.
    #[cfg(feature = "process")]
    pub(crate) fn worker_cell(&self) -> Arc<Cell> {
        self.0.cell.clone()
    }

    /// The job has not begun, and its worker is to end: once that leaves, another one gets the job.
    #[cfg(feature = "process")]
    pub(crate) fn put_back(self) {
        self.0.key = None;
    }

    /// All bookkeeping, the next claim included, comes before the outcome is published.
    pub(crate) fn finish(self, ran: Ran) -> bool {
        let Ran { panicked, settled } = ran;
        let worker = &mut *self.0;
        worker.key = None;
        let Some(taken) = worker.taken.take() else { return panicked };
        // A backend that never ran the payload lost the job; if somebody wrote its outcome, this loses and does nothing.
        let settled = settled.or_else(|| worker.settle_lost(&taken));
        let (lane, since) = (taken.job.header().lane(), taken.since);
        let spent = Spent { lane, since, ended: settled.as_ref().map(|settled| settled.ended) };
        let rare = worker.turn(worker.plane.clock.now(), Some(spent));
        if let Some(settlement) = settled {
            taken.job.sealed().0.publish(settlement);
        }
        if let Some(rare) = rare {
            worker.plane.after_all(*rare);
        }
        panicked
    }
}

impl<J: ?Sized + Envelope> WorkerContext<J> {
    fn settle_lost(&self, taken: &Taken<J>) -> Option<Settlement> {
        let error = JobError::Lost(Box::new(self.loss(taken, "its backend lost it")));
        taken.job.sealed().0.settle_error(error, Some(Owner::Worker))
    }

    fn settle_killed(&self, taken: &Taken<J>) -> Option<Settlement> {
        let loss = Box::new(self.loss(taken, "its actor was killed, or its runtime shut down"));
        #[cfg(feature = "process")]
        let died = loss.death.is_some();
        #[cfg(not(feature = "process"))]
        let died = false;
        let error = if died { JobError::Lost(loss) } else { JobError::Killed(loss) };
        taken.job.sealed().0.settle_error(error, Some(Owner::Worker))
    }

    /// Ends a claim that was not run to its end, and gives the seat back.
    fn end_killed(&self, taken: &Taken<J>, key: ClaimKey) {
        let inner = taken.job.sealed().0;
        // The future goes first, as with a task that is aborted; its outcome follows.
        inner.discard(key);
        let settled = self.settle_killed(taken);
        let Self { plane, cell, .. } = self;
        plane.note_ended(cell, taken, settled.as_ref());
        plane.release(cell);
        if let Some(settlement) = settled {
            inner.publish(settlement);
        }
    }

    fn loss(&self, taken: &Taken<J>, unasked: &str) -> KilledJob {
        let header = taken.job.header();
        let leave = self.cell.lock().leave.clone();
        let by = leave.as_ref().map_or_else(|| Arc::from(unasked), Exit::blame);
        KilledJob {
            pool: self.plane.config.name.clone(),
            job: header.id(),
            label: header.label().cloned(),
            submitted_from: header.submitted_from(),
            worker: self.cell.id,
            by,
            silent_for: leave.as_ref().and_then(Exit::silent_for),
            after: self.plane.clock.now().since(taken.since),
            #[cfg(feature = "process")]
            death: leave.as_ref().and_then(Exit::death),
        }
    }
}

impl<J: ?Sized + Envelope> Drop for Claim<'_, J> {
    fn drop(&mut self) {
        if let Some(key) = self.0.key.take()
            && let Some(taken) = self.0.taken.take()
        {
            self.0.end_killed(&taken, key);
        }
    }
}

impl<J: ?Sized + Envelope> std::fmt::Debug for Claim<'_, J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("worker", &self.0.cell.id)
            .field("claim", &self.taken().claim)
            .finish_non_exhaustive()
    }
}
