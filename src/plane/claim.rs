//! A job in a worker's hands.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tracing::Span;

#[cfg(any(feature = "process", millpond_loom))]
use super::lend::Lends;
use super::turnover::Spent;
use super::{Plane, Signal, WorkerContext};
use crate::error::{JobError, Payload};
#[cfg(feature = "guest")]
use crate::id::ClaimNo;
#[cfg(feature = "process")]
use crate::job::forget_submitter;
use crate::job::{
    ClaimKey, Envelope, JobCell, JobContext, Owed, Owner, Ran, Runs, Suspended, inside, span_of, tell_end,
};
use crate::policy::Exit;
use crate::slot::{Cell, Taken};
use crate::sync::Arc;
#[cfg(feature = "process")]
use crate::sync::Timestamp;

/// A job in a worker's hands. Dropped before it was run to its end, it ends the job as killed.
///
/// The job stays in its worker's context, which this borrows, and is moved no more often than that.
pub struct Claim<'a, J: ?Sized + Envelope>(pub(super) &'a mut WorkerContext<J>);

/// See [`span_of`].
#[inline]
fn job_span<J: ?Sized + Envelope>(plane: &Plane<J>, cell: &Cell, taken: &Taken<J>) -> Option<Span> {
    let header = taken.job().header();
    span_of(header, cell.id, || (&*plane.config.name, &*plane.lane(header.lane()).spec.name))
}

/// A job that runs.
struct Running<'a, J: ?Sized + Envelope> {
    taken: &'a Taken<J>,
    cell: &'a Arc<Cell>,
}

impl<J: ?Sized + Envelope> Runs for Running<'_, J> {
    fn context(&self) -> JobContext {
        JobContext::new(self.taken.job().clone().erase(), self.cell.clone(), self.taken.claim)
    }
}

/// Runs `f` as the job's own code: in its span, with its context current.
#[inline]
fn as_job<J: ?Sized + Envelope, R>(plane: &Plane<J>, cell: &Arc<Cell>, taken: &Taken<J>, f: impl FnOnce() -> R) -> R {
    as_job_in(job_span(plane, cell, taken), cell, taken, f)
}

/// The same in a span that is there already.
#[inline]
fn as_job_in<J: ?Sized + Envelope, R>(
    span: Option<Span>,
    cell: &Arc<Cell>,
    taken: &Taken<J>,
    f: impl FnOnce() -> R,
) -> R {
    let in_span = span.as_ref().map(Span::enter);
    let ran = inside(&Running { taken, cell }, f);
    if in_span.is_some() {
        tell_end(in_span);
        tell_end(span);
    }
    ran
}

/// What an async job has from one poll to the next, beside itself.
#[derive(Default)]
pub(crate) struct Polling {
    suspended: Suspended,
    /// `None` before the first poll; then the job's span, if it has one.
    span: Option<Option<Span>>,
}

impl<P: Send + 'static, T: Send + 'static> Claim<'_, JobCell<P, T>> {
    /// Takes the payload out, for a backend whose queue holds one type of job; see [`JobCell::take`].
    pub fn take(&mut self) -> Option<P> {
        let WorkerContext { taken, key, .. } = &mut *self.0;
        taken.as_ref()?.job().take(key.as_mut()?)
    }
}

impl<'a, J: ?Sized + Envelope> Claim<'a, J> {
    fn taken(&self) -> &Taken<J> {
        self.0.taken.as_ref().expect("a claim is made of a job that was taken, and takes it along when it goes")
    }

    /// The job.
    pub fn job(&self) -> &J {
        self.taken().job()
    }

    /// The job's view of itself, to hand to it.
    pub fn context(&self) -> JobContext {
        self.0.context(self.taken())
    }

    /// Runs the job on this thread with `f`, which calls a method of its [`JobCell`](crate::JobCell).
    ///
    /// True if it panicked.
    pub fn run(self, f: impl FnOnce(&J, &mut ClaimKey) -> Ran) -> bool {
        let WorkerContext { taken, key, plane, cell, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else { return false };
        let ran = as_job(plane, cell, taken, || f(taken.job(), key));
        self.finish(ran)
    }

    /// Runs the job on this task: `f` is polled, with the job's context current, until it is ready.
    ///
    /// True if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the job: its payload is dropped and its outcome is [`JobError::Killed`](crate::JobError::Killed).
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
        f: impl FnMut(&J, &mut ClaimKey, &mut Context<'_>) -> Poll<Ran>,
    ) -> Poll<Ran> {
        self.0.poll_begun(polling, cx, f)
    }

    /// Has `f`, which can have its worker [lent](Lends::lend) the next one, bring about the job's outcome, elsewhere than here; `None`: it could not, and has begun nothing that it does not answer for. True if
    /// the job panicked.
    ///
    /// # Errors
    ///
    /// The claim, if there is no outcome: [put it back](Self::put_back), or drop it, which ends the job as lost or killed.
    #[cfg(feature = "process")]
    pub(crate) fn attempt(
        self,
        f: impl FnOnce(&J, &mut ClaimKey, &mut Lends<'_, J>) -> Option<Ran>,
    ) -> Result<bool, Self> {
        let WorkerContext { taken, key, plane, cell, lent, span, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else { return Ok(false) };
        let span = match span.take() {
            Some(span) => {
                forget_submitter(taken.job().header());
                Some(span)
            }
            None => job_span(plane, cell, taken),
        };
        let ran = as_job_in(span, cell, taken, || f(taken.job(), key, &mut Lends { plane, cell, loan: lent }));
        match ran {
            Some(ran) => Ok(self.finish(ran)),
            None => Err(self),
        }
    }

    /// The same for a backend that runs it here, and may have it stopped: `None` if it was.
    ///
    /// # Errors
    ///
    /// The claim, if there is no outcome: to be dropped, which ends the job as killed.
    #[cfg(feature = "guest")]
    pub(crate) fn attempt_here(self, f: impl FnOnce(&J, &mut ClaimKey) -> Option<Ran>) -> Result<bool, Self> {
        let WorkerContext { taken, key, plane, cell, .. } = &mut *self.0;
        let (Some(taken), Some(key)) = (taken, key) else { return Ok(false) };
        let ran = as_job(plane, cell, taken, || f(taken.job(), key));
        match ran {
            Some(ran) => Ok(self.finish(ran)),
            None => Err(self),
        }
    }

    /// Which claim of its worker this is.
    #[cfg(feature = "guest")]
    pub(crate) fn number(&self) -> ClaimNo {
        self.taken().claim
    }

    /// When the job was claimed.
    #[cfg(feature = "process")]
    pub(crate) fn since(&self) -> Timestamp {
        self.taken().since
    }

    /// The job that its worker was lent.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn lends(&mut self) -> Lends<'_, J> {
        let WorkerContext { plane, cell, lent, .. } = &mut *self.0;
        Lends { plane, cell, loan: lent }
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

    /// The claim, to be begun, unless workers [kept being lost](crate::PoolBuilder::quarantine) under jobs of its label: then it has ended. For a backend
    /// that tells of [lost](Self::lost) workers, before it begins a job.
    pub fn unless_kept_out(self) -> Option<Self> {
        self.unless_kept_out_saving(|_, _| None)
    }

    /// The same; `save` gives the payload for the letter of one that has ended.
    pub(crate) fn unless_kept_out_saving(
        self,
        save: impl FnOnce(&J, &mut ClaimKey) -> Option<Payload>,
    ) -> Option<Self> {
        let WorkerContext { taken, key, plane, .. } = &mut *self.0;
        let (Some(taken), Some(mut key)) = (taken, key.take()) else { return None };
        let Some(letter) = plane.withheld(taken.job()) else {
            self.0.key = Some(key);
            return Some(self);
        };
        let (letter, told) = letter.with_payload(save(taken.job(), &mut key));
        let inner = taken.job().sealed().0;
        inner.discard(key);
        let settled = inner.settle_error(JobError::DeadLettered(letter), Some(Owner::Worker));
        // Of those that were never delivered there may be very many, and whoever listens was told why.
        if settled.is_some() && !told.deliveries.is_empty() {
            plane.port.signal(Signal::DeadLettered(told));
        }
        self.finish(Ran { panicked: false, settled });
        None
    }

    /// The worker has ended under the job, unasked, for this reason, and none of the job's code runs any more: for a backend that has seen that. A job that
    /// may be [delivered again](crate::JobOptions::redeliver) rests, and then goes to another worker, or is dead-lettered if that was its last
    /// delivery; any other is lost. Whoever wrote an outcome before, or took the worker, wins.
    pub fn lost(self, exit: &Exit) {
        self.0.lose(exit, |_, _| None);
    }

    /// The same; `save` gives the payload for the letter of one that had its last delivery.
    #[cfg(feature = "process")]
    pub(crate) fn lost_saving(self, exit: &Exit, save: impl FnOnce(&J, &mut ClaimKey) -> Option<Payload>) {
        self.0.lose(exit, save);
    }

    /// The worker has ended under the job, and more is not known: that it runs no more, say. It is lost, whether or not it may be delivered again.
    #[cfg(feature = "process")]
    pub(crate) fn lost_for_good(self, exit: &Exit) {
        self.0.lose_for_good(exit);
    }

    /// See [`WorkerContext::end_ran`].
    pub(crate) fn finish(self, ran: Ran) -> bool {
        self.0.end_ran(ran)
    }
}

impl<J: ?Sized + Envelope> WorkerContext<J> {
    /// One poll of the job that was begun, whose end is for [`end_ran`](Self::end_ran).
    pub(crate) fn poll_begun(
        &mut self,
        polling: &mut Polling,
        cx: &mut Context<'_>,
        mut f: impl FnMut(&J, &mut ClaimKey, &mut Context<'_>) -> Poll<Ran>,
    ) -> Poll<Ran> {
        let WorkerContext { taken, key, cell, plane, .. } = self;
        let (Some(taken), Some(key)) = (taken, key) else {
            return Poll::Ready(Ran::NOTHING);
        };
        if !cell.resume(taken.claim) {
            // The pool was aborted, and this job's outcome says that it runs no more: the kill that follows drops it.
            return Poll::Pending;
        }
        let Polling { suspended, span } = polling;
        let in_span = span.get_or_insert_with(|| job_span(plane, cell, taken)).as_ref().map(Span::enter);
        let running = Running { taken, cell };
        let polled = inside(&running, || suspended.poll(cx, || running.context(), |cx| f(taken.job(), key, cx)));
        if in_span.is_some() {
            tell_end(in_span);
            if polled.is_ready() {
                tell_end(span.take());
            }
        }
        if polled.is_pending() {
            cell.pause(taken.claim);
        }
        polled
    }

    /// What the job that was begun knows of itself.
    pub(crate) fn begun_context(&self) -> Option<JobContext> {
        Some(self.context(self.taken.as_ref()?))
    }

    fn context(&self, taken: &Taken<J>) -> JobContext {
        Running { taken, cell: &self.cell }.context()
    }

    /// The job that was begun has run. All bookkeeping, the next claim included, comes before the outcome is published. True if it panicked.
    pub(crate) fn end_ran(&mut self, ran: Ran) -> bool {
        let Ran { panicked, settled } = ran;
        self.key = None;
        let Some(taken) = self.taken.take() else { return panicked };
        // A backend that never ran the payload lost the job; if somebody wrote its outcome, this loses and does nothing.
        let settled = settled.or_else(|| self.settle_lost(&taken));
        let (lane, since) = (taken.lane, taken.since);
        let spent = Spent { lane, since, ended: settled.as_ref().map(|settled| settled.ended) };
        let owed = settled.map(|settled| Owed::new(taken.job().sealed().0, settled));
        let rare = self.turn(self.plane.clock.now(), Some(spent));
        drop(owed);
        // The turnover has put something else into the cell, or nothing.
        taken.let_go();
        if let Some(rare) = rare {
            self.plane.after_all(*rare);
        }
        panicked
    }

    /// Ends the job that was begun, if one was and has not ended, as killed.
    #[inline]
    pub(crate) fn kill_begun(&mut self) {
        if let Some(key) = self.key.take() {
            self.kill_with(key);
        }
    }

    #[cold]
    fn kill_with(&mut self, key: ClaimKey) {
        if let Some(taken) = self.taken.take() {
            self.end_killed(taken, key);
        }
    }
}

impl<J: ?Sized + Envelope> Drop for Claim<'_, J> {
    fn drop(&mut self) {
        self.0.kill_begun();
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
