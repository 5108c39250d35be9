//! What a submitter keeps of its job.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millpond::JobId;

use super::book::{Outcome, Slot};
use super::error::{MixedError, MixedJoinError};
use super::guard::{Mailbox, Note, block_on, would_block};

/// Where a job of a mixed pool is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MixedStatus {
    /// With no member: it waits for one.
    Waiting,
    /// In a member's pool, queued or running.
    With {
        /// Which.
        member: Arc<str>,
        /// Its number there, for that pool's inventory and selectors.
        job: JobId,
    },
    /// Has an outcome.
    Done,
}

/// A job that was admitted: a future of its outcome, in whichever member it comes about.
///
/// Dropping it detaches: the job goes on, is given to another member if need be, and its output is dropped. See [`cancel_on_drop`](Self::cancel_on_drop).
///
/// A wait for it inside another job is not seen by millpond's search for jobs that wait for each other in vain: it ends by its limits.
///
/// # Cancel safety
///
/// Polling through `&mut` and dropping the borrow loses nothing. The outcome is given once: polled again after that, the
/// handle panics, like any future.
#[must_use = "a handle that is dropped detaches its job; say so with `drop(handle)` or await it"]
pub struct MixedHandle<T> {
    slot: Arc<Slot<T>>,
    mailbox: Arc<Mailbox>,
    cancel_on_drop: bool,
    taken: bool,
}

impl<T> MixedHandle<T> {
    pub(super) fn new(slot: Arc<Slot<T>>, mailbox: Arc<Mailbox>) -> Self {
        Self { slot, mailbox, cancel_on_drop: false, taken: false }
    }

    /// The job's number in the mixed pool, in the order of admission. Its members number it on their own.
    pub fn id(&self) -> u64 {
        self.slot.about.job
    }

    /// Where the job is.
    pub fn status(&self) -> MixedStatus {
        if self.slot.is_done() {
            return MixedStatus::Done;
        }
        self.slot.with().map_or(MixedStatus::Waiting, |(member, job)| MixedStatus::With { member, job })
    }

    /// The member that has the job, or had it when it ended.
    pub fn member(&self) -> Option<Arc<str>> {
        self.slot.with().map(|(member, _)| member)
    }

    /// Cancels: a job that no member has ends; one that a member has is cancelled there, as by the handle of that pool. It is not given to
    /// another member any more.
    pub fn cancel(&self) {
        self.slot.cancel();
        self.mailbox.post(Note::Cancel(self.id()));
    }

    /// Cancels the job if the handle is dropped before the outcome was taken.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }

    /// Waits for the outcome on this thread, for synchronous callers.
    ///
    /// # Errors
    ///
    /// [`MixedJoinError::WouldBlock`] on the only thread of a runtime, where it would stall everything; the job goes on and
    /// detaches. Otherwise the job's own failure.
    ///
    /// # Panics
    ///
    /// If the outcome was given before, to somebody who polled the handle by reference.
    pub fn join(mut self) -> Result<T, MixedJoinError> {
        if !self.slot.is_done() && would_block() {
            self.cancel_on_drop = false;
            return Err(MixedJoinError::WouldBlock);
        }
        Ok(block_on(self)?)
    }
}

impl<T> Future for MixedHandle<T> {
    type Output = Result<T, Box<MixedError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        assert!(!self.taken, "a job handle was polled after it gave its outcome");
        let outcome = self.slot.poll(cx);
        self.taken = outcome.is_some();
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for MixedHandle<T> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        if self.cancel_on_drop {
            self.cancel();
        }
        self.slot.detach();
    }
}

impl<T> std::fmt::Debug for MixedHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MixedHandle").field("id", &self.id()).field("status", &self.status()).finish_non_exhaustive()
    }
}
