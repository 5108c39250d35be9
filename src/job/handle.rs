//! What a submitter keeps of its job.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(not(millpond_loom))]
use std::time::Duration;

use super::outcome::Unread;
#[cfg(not(millpond_loom))]
use super::watched;
use super::{Asked, JobCell, PoolNo, Settles, Share, Target, note};
use crate::error::JobError;
#[cfg(not(millpond_loom))]
use crate::error::JoinError;
use crate::id::JobId;
#[cfg(not(millpond_loom))]
use crate::sync::{block_on, block_on_within};

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum JobStatus {
    /// Waits for a worker, or rests before it is [delivered again](crate::JobOptions::redeliver).
    Queued,
    /// In a worker's hands.
    Running,
    /// Has an outcome.
    Done,
}

/// A job that was admitted: a future of its outcome.
///
/// Inside another job, waiting for it can be in vain: the job needs a worker, and those who hold the workers wait for jobs, too. Where
/// that is certain, the wait ends with [`JobError::Deadlock`]; the job stays queued, and by a handle that was awaited by reference one
/// can wait again. A job that waits for something else as well (a timer, another branch of a `select!`) is left alone, since that may
/// come; so is one that blocks its thread other than by [`join`](Self::join) and the like.
///
/// Dropping it detaches: the job goes on and its output is dropped on its worker. See [`cancel_on_drop`](Self::cancel_on_drop).
///
/// # Wakers
///
/// The waker of whoever awaits it is called by whoever ends the job: its worker, or millpond's control thread. So it has to return at once, as at the gate
/// ([`Executor::submit`](crate::Executor::submit)).
///
/// # Cancel safety
///
/// Polling through `&mut` and dropping the borrow loses nothing. The outcome is given once: polled again after that, the
/// handle panics, like any future.
#[must_use = "a handle that is dropped detaches its job; say so with `drop(handle)` or await it"]
pub struct JobHandle<T: 'static> {
    job: Share<dyn Settles<T>>,
    pool: PoolNo,
    cancel_on_drop: bool,
    taken: bool,
}

impl<T: 'static> JobHandle<T> {
    pub(crate) fn new<P: Send + 'static>(job: Share<JobCell<P, T>>, pool: PoolNo) -> Self
    where
        T: Send,
    {
        let job = job.unsize::<dyn Settles<T>>(|job| job);
        Self { job, pool, cancel_on_drop: false, taken: false }
    }

    /// The job's number in its pool.
    pub fn id(&self) -> JobId {
        self.job.header().id()
    }

    /// Where the job is.
    pub fn status(&self) -> JobStatus {
        let header = self.job.header();
        if header.is_done() {
            JobStatus::Done
        } else if header.waits() {
            JobStatus::Queued
        } else {
            JobStatus::Running
        }
    }

    /// How many workers were lost under the job so far. See [`JobOptions::redeliver`](crate::JobOptions::redeliver).
    pub fn lost_deliveries(&self) -> u16 {
        self.job.header().lost_deliveries()
    }

    /// Cancels: a job that no worker has yet ends as [`JobError::Cancelled`]; one that runs is asked to stop, by its
    /// [`JobContext`](crate::JobContext), and ends as it sees fit. To take its worker away from it, terminate the job.
    pub fn cancel(&self) {
        if self.job.header().cancel() == Asked::First
            && let Some(pool) = self.pool.find()
        {
            pool.recall(&self.job.clone().erase());
        }
    }

    /// Cancels the job if the handle is dropped before the outcome was taken.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }

    /// Waits for the outcome on this thread, for synchronous callers. It stays awake for some ten microseconds first, if the job is the only one of
    /// its pool.
    ///
    /// # Errors
    ///
    /// [`JoinError::WouldBlock`] on the only thread of a runtime, where it would hang or stall everything; the job goes on and
    /// detaches, also if it was to be [cancelled on drop](Self::cancel_on_drop). To keep the handle, use
    /// [`join_timeout`](Self::join_timeout). Otherwise the job's own failure.
    ///
    /// # Panics
    ///
    /// If the outcome was given before, to somebody who polled the handle by reference.
    #[cfg(not(millpond_loom))]
    pub fn join(mut self) -> Result<T, JoinError> {
        if let Err(error) = self.begin_wait() {
            self.cancel_on_drop = false;
            return Err(error);
        }
        Ok(block_on(watched(self))?)
    }

    /// Waits for the outcome on this thread for at most `limit` of real time. Until there is one, the handle stays as it is: wait
    /// again, cancel, or `await` it.
    ///
    /// # Errors
    ///
    /// [`JoinError::NotYet`] if there is no outcome by then, and [`JoinError::WouldBlock`] as for [`join`](Self::join). Otherwise the
    /// job's own failure.
    ///
    /// # Panics
    ///
    /// If the outcome was given before.
    #[cfg(not(millpond_loom))]
    pub fn join_timeout(&mut self, limit: Duration) -> Result<T, JoinError> {
        self.begin_wait()?;
        match block_on_within(watched(&mut *self), limit) {
            Some(outcome) => Ok(outcome?),
            None => Err(JoinError::NotYet { job: self.id(), limit, began: self.status() != JobStatus::Queued }),
        }
    }

    /// This thread may go to sleep until the job is done, which it may be by now.
    #[cfg(not(millpond_loom))]
    fn begin_wait(&self) -> Result<(), JoinError> {
        let header = self.job.header();
        // A pool that is gone has written every outcome.
        if !header.is_done()
            && let Some(pool) = self.pool.find()
        {
            if pool.would_block() {
                return Err(JoinError::WouldBlock);
            }
            pool.spin_for(header);
        }
        Ok(())
    }

    fn try_take(&mut self) -> Option<Result<T, JobError>> {
        assert!(!self.taken, "a job handle was polled after it gave its outcome");
        // A look without a call: the first poll mostly finds none.
        if !self.job.header().is_done() {
            return None;
        }
        // SAFETY: this is the job's one handle, and it has not detached: that is done by its drop alone.
        let outcome = unsafe { self.job.take() };
        self.taken = outcome.is_some();
        outcome
    }
}

impl<T: 'static> Future for JobHandle<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.try_take() {
            return Poll::Ready(outcome);
        }
        // SAFETY: this is the job's one handle, and it has not detached: that is done by its drop alone.
        if unsafe { self.job.header().await_outcome(cx.waker()) } {
            let waits = note(cx.waker(), || Target::job(self.pool, self.job.clone().erase()));
            return waits.map_or(Poll::Pending, |deadlock| Poll::Ready(Err(JobError::Deadlock(deadlock))));
        }
        self.try_take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: 'static> Drop for JobHandle<T> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        if self.cancel_on_drop {
            self.cancel();
        }
        // SAFETY: this is the job's one handle, and its last act.
        let unread = unsafe { self.job.header().detach() };
        if unread == Unread::Mine {
            // SAFETY: `detach` just said so.
            drop(unsafe { self.job.take() });
        }
    }
}

impl<T: 'static> std::fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle").field("id", &self.id()).field("status", &self.status()).finish_non_exhaustive()
    }
}
