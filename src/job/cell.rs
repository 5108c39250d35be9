//! The one allocation of a job: header, payload, outcome.
//!
//! # Safety argument, in one place
//!
//! `payload` is touched by its owner alone: whoever holds the [`ClaimKey`] for this very cell. A key is made by the winner of
//! `QUEUED → CLAIMED` or `QUEUED → SETTLING`, cannot be cloned, and every access checks that it belongs to this cell and takes it by `&mut`.
//! A job that is put back gives its key up. `outcome` is written by the holder of the [`Settlement`], made by the winner of
//! `… → SETTLING`; it is read by the one handle after `DONE`, or, if that is gone, by the publisher. The word's AcqRel
//! transitions order these accesses. `loom.rs` checks them with loom's cells.

use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::context::place_here;
use super::header::{Header, Submission};
use super::key::{ClaimKey, Ran, Settlement};
use super::outcome::{Owner, Unread};
use super::panics::{Caught, catch, wake};
use super::share::Free;
use crate::error::{JobError, PanicReport};
use crate::snapshot::Ended;
use crate::sync::UnsafeCell;

/// A job as it waits in a queue, whatever its payload and output. Implemented by [`JobCell`] alone.
pub trait Envelope: Send + Sync + 'static {
    /// What is the same for every payload.
    fn header(&self) -> &Header;

    #[doc(hidden)]
    fn sealed(&self) -> Sealed<'_>;

    #[doc(hidden)]
    fn as_envelope(&self) -> &dyn Envelope;

    #[doc(hidden)]
    fn freed_by(&self) -> Free;
}

/// What only millpond does with a job; see [`Envelope::sealed`].
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "a view of a trait object, never shown")]
pub struct Sealed<'a>(pub(crate) &'a dyn Inner);

/// The type-erased half of a [`JobCell`].
pub(crate) trait Inner {
    fn settle_error(&self, error: JobError, only: Option<Owner>) -> Option<Settlement>;
    fn publish(&self, settlement: Settlement);
    fn discard(&self, key: ClaimKey);
}

impl dyn Envelope {
    /// Writes `error` as the outcome if there is none yet (and, with `only`, if the payload is whose that says).
    pub(crate) fn settle_error(&self, error: JobError, only: Option<Owner>) -> Option<Settlement> {
        self.sealed().0.settle_error(error, only)
    }
}

/// What of the payload is there. Touched with the payload, by the holder of the key alone; in the header, for the sake of the job's size.
#[derive(Debug)]
pub(super) struct StagePlace(UnsafeCell<Stage>);

// SAFETY: it has the owner that the payload has, one at a time, and says nothing that is bound to a thread.
unsafe impl Sync for StagePlace {}

impl StagePlace {
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(Stage::Fresh))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Never polled: may be moved out.
    Fresh,
    /// A future that was polled where it lies: never moved again.
    Pinned,
    Gone,
}

/// A job's header, payload and outcome in one allocation.
///
/// Small on purpose: up to 120 bytes an allocation can be freed on another thread than its own without a lock. The header comes first: by it a
/// [`Share`](super::Share) finds the count, whatever the kind.
#[repr(C)]
pub struct JobCell<P, T> {
    header: Header,
    payload: UnsafeCell<MaybeUninit<P>>,
    outcome: UnsafeCell<Option<Result<T, JobError>>>,
}

/// The holder's view of the payload.
struct Payload<'a, P> {
    stage: &'a mut Stage,
    place: &'a mut MaybeUninit<P>,
}

impl<P> Payload<'_, P> {
    /// Moves it out, unless it is pinned or gone.
    fn take(self) -> Option<P> {
        if *self.stage != Stage::Fresh {
            return None;
        }
        *self.stage = Stage::Gone;
        // SAFETY: it was `Fresh`, so it is there, and it is not looked at again.
        Some(unsafe { self.place.assume_init_read() })
    }

    /// A look at it, unless it is pinned or gone.
    #[cfg(feature = "process")]
    fn peek(&self) -> Option<&P> {
        // SAFETY: it is `Fresh`, so it is there.
        (*self.stage == Stage::Fresh).then(|| unsafe { self.place.assume_init_ref() })
    }

    /// Where it lies, from now on pinned; unless it is gone.
    fn pin(&mut self) -> Option<Pin<&mut P>> {
        if *self.stage == Stage::Gone {
            return None;
        }
        *self.stage = Stage::Pinned;
        // SAFETY: it was not `Gone`, so it is there. It is not moved from here on: `take` refuses it, the cell is behind its shares
        // by the time there is a key, and `discard` drops it in place.
        Some(unsafe { Pin::new_unchecked(self.place.assume_init_mut()) })
    }

    /// Drops it where it lies.
    fn discard(self) {
        if *self.stage != Stage::Gone {
            // First, so that a `Drop` that panics is not run again.
            *self.stage = Stage::Gone;
            // SAFETY: it was not `Gone`, so it is there, and it is not looked at again.
            unsafe { self.place.assume_init_drop() };
        }
    }
}

impl<P, T> Drop for JobCell<P, T> {
    fn drop(&mut self) {
        // A payload is left only if its key was lost without a word, or the job never got in.
        self.payload_mut().discard();
    }
}

// SAFETY: see the module's argument: `payload` and `outcome` are each touched by one owner at a time, which may be on any thread.
unsafe impl<P: Send, T: Send> Sync for JobCell<P, T> {}
// SAFETY: nothing in it is bound to a thread if `P` and `T` are not.
unsafe impl<P: Send, T: Send> Send for JobCell<P, T> {}

impl<P, T> std::fmt::Debug for JobCell<P, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobCell").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<P, T> JobCell<P, T> {
    pub(crate) fn new(payload: P, submission: Submission) -> Self {
        Self {
            header: Header::new(submission),
            payload: UnsafeCell::new(MaybeUninit::new(payload)),
            outcome: UnsafeCell::new(None),
        }
    }

    pub(super) fn header_mut(&mut self) -> &mut Header {
        &mut self.header
    }

    /// Takes the payload out of a job that nobody else has a share in.
    pub(super) fn take_unshared(&mut self) -> Option<P> {
        self.payload_mut().take()
    }

    /// The payload, for the owner of the whole cell.
    fn payload_mut(&mut self) -> Payload<'_, P> {
        Payload { stage: self.header.stage.0.get_mut(), place: self.payload.get_mut() }
    }

    /// # Safety
    ///
    /// For the holder of the key, for the time of the call.
    unsafe fn payload<R>(&self, f: impl FnOnce(Payload<'_, P>) -> R) -> R {
        self.header.stage.0.with_mut(|stage| {
            // SAFETY: the caller's: nobody else touches either meanwhile.
            self.payload.with_mut(|place| f(Payload { stage: unsafe { &mut *stage }, place: unsafe { &mut *place } }))
        })
    }

    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The payload, for the holder of the key.
    fn with_payload<R>(&self, key: &mut ClaimKey, f: impl FnOnce(Payload<'_, P>) -> R) -> R {
        assert!(key.cell == self.identity(), "the key belongs to another job");
        // SAFETY: the one key of this cell is borrowed exclusively for the call.
        unsafe { self.payload(f) }
    }

    /// True if the job has an outcome and its payload was never begun: what passed while its worker was on the way to it, say its
    /// run limit in an interceptor. The payload is dropped.
    fn is_over_unbegun(&self, key: &mut ClaimKey) -> bool {
        let over = !self.header.word.is_claimed() && self.with_payload(key, |payload| *payload.stage == Stage::Fresh);
        if over {
            let _ = self.drop_payload(key);
        }
        over
    }

    /// Drops the payload where it lies; a panic of its `Drop` is the job's own business.
    fn drop_payload(&self, key: &mut ClaimKey) -> Result<(), Caught> {
        self.with_payload(key, |payload| catch(|| payload.discard()))
    }
}

impl<P: Send + 'static, T: Send + 'static> JobCell<P, T> {
    /// Runs the payload to its end with `f`, catches its panic and writes the outcome.
    ///
    /// # Panics
    ///
    /// If `key` belongs to another job.
    pub fn run(&self, key: &mut ClaimKey, f: impl FnOnce(P) -> T) -> Ran {
        let Some(payload) = self.take(key) else {
            key.ended(false);
            return Ran::NOTHING;
        };
        let result = catch(|| f(payload));
        key.ended(result.is_err());
        match result {
            Ok(output) => Ran { panicked: false, settled: self.settle_output(output) },
            Err(caught) => self.panicked(caught),
        }
    }

    /// Takes the payload out, for a backend that runs it piecemeal and says how it ended with [`finish`](Self::finish). `None` if it
    /// is gone, or the job has its outcome by now: then it must not begin.
    ///
    /// # Panics
    ///
    /// If `key` belongs to another job.
    pub fn take(&self, key: &mut ClaimKey) -> Option<P> {
        if self.is_over_unbegun(key) {
            return None;
        }
        self.reclaim(key)
    }

    /// Looks at the payload where it lies, for a backend that sends it elsewhere and may have to send it again. `None`: as for [`take`](Self::take).
    #[cfg(feature = "process")]
    pub(crate) fn look<R>(&self, key: &mut ClaimKey, f: impl FnOnce(&P) -> R) -> Option<R> {
        if self.is_over_unbegun(key) {
            return None;
        }
        self.with_payload(key, |payload| payload.peek().map(f))
    }

    /// Takes the payload out of a job that will not begin.
    pub(crate) fn reclaim(&self, key: &mut ClaimKey) -> Option<P> {
        self.with_payload(key, |payload| payload.take())
    }

    /// Writes the outcome of a payload that was [taken](Self::take): its output, or what its panic said.
    pub fn finish(&self, result: Result<T, String>) -> Ran {
        match result {
            Ok(output) => Ran { panicked: false, settled: self.settle_output(output) },
            Err(message) => self.panicked(Caught { message, location: None, backtrace: None }),
        }
    }

    pub(crate) fn finish_caught(&self, result: Result<T, Caught>) -> Ran {
        match result {
            Ok(output) => Ran { panicked: false, settled: self.settle_output(output) },
            Err(caught) => self.panicked(caught),
        }
    }

    fn panicked(&self, Caught { message, location, backtrace }: Caught) -> Ran {
        let header = &self.header;
        let (job, label, submitted_from) = (header.id(), header.label().cloned(), header.submitted_from());
        let (pool, worker) = place_here().unzip();
        let report = PanicReport { pool, worker, job, label, submitted_from, message, location, backtrace };
        let error = JobError::Panicked(Box::new(report));
        Ran { panicked: true, settled: self.settle_error(error, Some(Owner::Worker)) }
    }

    fn settle_output(&self, output: T) -> Option<Settlement> {
        if !self.header.word.settle_claimed() {
            // Somebody wrote the outcome while the job ran: the late output is dropped here, on the worker.
            let _ = catch(|| drop(output));
            return None;
        }
        if self.header.word.is_detached() {
            // Nobody will read it: drop it while the worker still counts as busy with this job.
            let _ = catch(|| drop(output));
        } else {
            // SAFETY: this caller won SETTLING just now, so it alone touches the outcome until it publishes.
            self.outcome.with_mut(|outcome| unsafe { *outcome = Some(Ok(output)) });
        }
        Some(Settlement { cell: self.identity(), ended: Ended::Completed, owns_payload: false })
    }
}

impl<F: Future + Send + 'static> JobCell<F, F::Output>
where
    F::Output: Send + 'static,
{
    /// Polls the payload, a future, where it lies; `Ready` once its outcome is written.
    ///
    /// # Panics
    ///
    /// If `key` belongs to another job.
    pub fn poll(&self, key: &mut ClaimKey, cx: &mut Context<'_>) -> Poll<Ran> {
        if self.is_over_unbegun(key) {
            key.ended(false);
            return Poll::Ready(Ran::NOTHING);
        }
        let polled = self.with_payload(key, |mut payload| {
            catch(|| {
                let polled = payload.pin().map(|future| future.poll(cx));
                if matches!(polled, Some(Poll::Ready(_))) {
                    // It ends before its outcome is known, as with `tokio::spawn`; a panic of its drop is the job's.
                    payload.discard();
                }
                polled
            })
        });
        let result = match polled {
            Ok(None) => return Poll::Ready(Ran::NOTHING),
            Ok(Some(Poll::Pending)) => return Poll::Pending,
            Ok(Some(Poll::Ready(output))) => Ok(output),
            Err(caught) => {
                // The panic is what the job is known for; another one from its drop adds nothing.
                let _ = self.drop_payload(key);
                Err(caught)
            }
        };
        key.ended(result.is_err());
        Poll::Ready(self.finish_caught(result))
    }
}

impl<P: Send + 'static, T: Send + 'static> Inner for JobCell<P, T> {
    fn settle_error(&self, error: JobError, only: Option<Owner>) -> Option<Settlement> {
        let word = &self.header.word;
        let ended = error.ended()?;
        let owner = match only {
            None => word.settle()?,
            Some(Owner::Queue) => word.settle_queued().then_some(Owner::Queue)?,
            Some(Owner::Worker) => word.settle_claimed().then_some(Owner::Worker)?,
        };
        // SAFETY: this caller won SETTLING just now, so it alone touches the outcome until it publishes.
        self.outcome.with_mut(|outcome| unsafe { *outcome = Some(Err(error)) });
        Some(Settlement { cell: self.identity(), ended, owns_payload: owner == Owner::Queue })
    }

    fn publish(&self, settlement: Settlement) {
        assert!(settlement.cell == self.identity(), "the settlement belongs to another job");
        let (waker, unread) = self.header.publish(settlement.ended);
        if let Some(waker) = waker {
            wake(waker);
        }
        if unread == Unread::Mine {
            // SAFETY: the word is DONE and the handle was gone before: the publisher alone is left to touch the outcome.
            let outcome = self.outcome.with_mut(|outcome| unsafe { (*outcome).take() });
            let _ = catch(|| drop(outcome));
        }
    }

    fn discard(&self, mut key: ClaimKey) {
        // A panic of the payload's Drop has nobody to go to: the outcome is written.
        let _ = self.drop_payload(&mut key);
    }
}

impl<P: Send + 'static, T: Send + 'static> Envelope for JobCell<P, T> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn sealed(&self) -> Sealed<'_> {
        Sealed(self)
    }

    fn as_envelope(&self) -> &dyn Envelope {
        self
    }

    fn freed_by(&self) -> Free {
        Free::of::<P, T>()
    }
}

/// The handle's view of a job. `take` is sound because there is one handle, and it alone calls it.
pub(crate) trait Settles<T>: Envelope {
    /// The outcome, if it is there.
    ///
    /// # Safety
    ///
    /// Only the job's one handle may call this, and not after it has detached, except once as its last act when
    /// [`Word::detach`](super::outcome::Word::detach) said that it is the handle's to drop.
    unsafe fn take(&self) -> Option<Result<T, JobError>>;
}

impl<P: Send + 'static, T: Send + 'static> Settles<T> for JobCell<P, T> {
    unsafe fn take(&self) -> Option<Result<T, JobError>> {
        if !self.header.word.is_done() {
            return None;
        }
        // SAFETY: DONE was seen, so the writer has finished; the caller is the only reader, by this function's contract.
        self.outcome.with_mut(|outcome| unsafe { (*outcome).take() })
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_small_job_is_freed_without_a_lock() {
        // What malloc hands out without touching an arena: see `JobCell`. A future of one word has another for where it stands.
        assert!(size_of::<JobCell<[u64; 2], u64>>() <= 120);
        assert!(size_of::<JobError>() <= 2 * size_of::<usize>());
    }
}
