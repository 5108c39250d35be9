//! A share in a job: what an `Arc` is, with the count in the job itself.
//!
//! A job has two shares from the start, the handle's and the queue's, and whoever gives back the last one mostly sees that it is the last. With
//! std's `Arc` each of the two is counted up and down, and so is a weak one that no job has: three atomic steps more for each job, of about
//! twenty in all.
//!
//! # Safety argument
//!
//! - *What it points to.* Each share comes from [`Share::alone`] or [`Share::submitted`], and so points to a [`JobCell`] in a box of its own: as itself, or as a trait object
//!   that was made of it. [`Envelope`] is sealed, and a cell has no other envelope within: so who has an envelope's address has the cell's.
//! - *How long.* The cell is freed by whoever gives back the last share, and by nobody else. The count is what `Arc`'s is (`shares.rs`): up
//!   from a share that is there, needing no order; down with Release, and Acquire before the cell is freed. Whoever sees that its own share is the
//!   only one needs no step at all: nobody else is there to make another.
//! - *By which pointer.* A trait object is made of a reference, which gives no right to free. The address of the box was exposed when it was made, and
//!   [`free`] takes it up again.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use super::cell::{Envelope, JobCell};
use super::shares::Shares;
use super::{Header, Submission, Terms};
use crate::id::LaneId;

/// A share in a job, as an [`Arc`](std::sync::Arc) would be one.
pub struct Share<J: ?Sized + Envelope>(Place<J>);

/// Where the job lies.
struct Place<J: ?Sized>(NonNull<J>);

impl<J: ?Sized> Clone for Place<J> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<J: ?Sized> Copy for Place<J> {}

// SAFETY: it is the place of an envelope, which is `Sync`, and `Send`, so that whoever frees it may be on any thread. Without a bound that says so: an async
// worker, which holds one, could not be shown to be `Send` with one.
unsafe impl<J: ?Sized> Send for Place<J> {}
// SAFETY: as above.
unsafe impl<J: ?Sized> Sync for Place<J> {}

/// Frees the cell at this address, and drops what is in it.
///
/// # Safety
///
/// For the last share in a job of this kind, once.
unsafe fn free<P, T>(address: usize) {
    let cell = std::ptr::with_exposed_provenance_mut::<JobCell<P, T>>(address);
    // SAFETY: the address was exposed when the box was made, and the caller's share was the last.
    drop(unsafe { Box::from_raw(cell) });
}

/// [`free`] for one kind of job.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a function, never shown")]
pub struct Free(unsafe fn(usize));

impl Free {
    pub(super) fn of<P, T>() -> Self {
        Self(free::<P, T>)
    }
}

impl<P: Send + 'static, T: Send + 'static> Share<JobCell<P, T>> {
    /// The only share in a job.
    #[inline]
    pub(crate) fn alone(payload: P, submission: Submission) -> Self {
        // Made where it is to lie: it is moved no more.
        let cell = Box::into_raw(Box::write(Box::new_uninit(), JobCell::new(payload, submission)));
        let _ = cell.expose_provenance();
        // SAFETY: a box is never null.
        Self(Place(unsafe { NonNull::new_unchecked(cell) }))
    }

    /// The two shares in a job that is submitted, on these terms.
    ///
    /// # Panics
    ///
    /// If this is not the only share.
    #[inline]
    pub(crate) fn submitted(mut self, lane: LaneId, terms: Option<Box<Terms>>) -> (Self, Self) {
        assert!(self.is_last(), "a job that is not submitted yet is in one hand");
        // SAFETY: there is no other share, and this one is held exclusively.
        let header = unsafe { self.0.0.as_mut() }.header_mut();
        header.enter(lane, terms);
        header.shares = Shares::new(2);
        let other = Self(self.0);
        (self, other)
    }

    /// Takes a job apart again of which this is the only share.
    pub(crate) fn into_payload(self) -> Option<P> {
        if !self.is_last() {
            return None;
        }
        let Place(cell) = ManuallyDrop::new(self).0;
        // SAFETY: it was the last share, and is not given back.
        let mut cell = unsafe { Box::from_raw(cell.as_ptr()) };
        cell.take_unshared()
    }

    /// The same share, its job seen as what a backend's queue holds: `share.unsize::<dyn MyJob>(|cell| cell)`.
    ///
    /// # Panics
    ///
    /// If `as_dyn` answers with another job than the one that it was given.
    pub fn unsize<D: ?Sized + Envelope>(self, as_dyn: impl for<'a> FnOnce(&'a JobCell<P, T>) -> &'a D) -> Share<D> {
        let seen = NonNull::from(as_dyn(&self));
        assert!(std::ptr::addr_eq(seen.as_ptr(), self.0.0.as_ptr()), "a job cannot be seen as another one");
        // It goes on as the share that this gives.
        let _share = ManuallyDrop::new(self);
        Share(Place(seen))
    }
}

impl<J: ?Sized + Envelope> Share<J> {
    /// What is the same for every payload.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: it points to a cell (see above), which begins with its header and lives as long as this share.
        unsafe { self.0.0.cast::<Header>().as_ref() }
    }

    /// The same share, the job's kind forgotten.
    #[inline]
    pub(crate) fn erase(self) -> Share<dyn Envelope> {
        let share = ManuallyDrop::new(self);
        Share(Place(NonNull::from(share.as_envelope())))
    }

    pub(crate) fn address(&self) -> usize {
        self.0.0.addr().get()
    }

    fn is_last(&self) -> bool {
        self.header().shares.is_one()
    }
}

impl<J: ?Sized + Envelope> Clone for Share<J> {
    #[inline]
    fn clone(&self) -> Self {
        self.header().shares.add();
        Self(self.0)
    }
}

impl<J: ?Sized + Envelope> Deref for Share<J> {
    type Target = J;

    #[inline]
    fn deref(&self) -> &J {
        // SAFETY: the job lives as long as this share.
        unsafe { self.0.0.as_ref() }
    }
}

impl<J: ?Sized + Envelope> Drop for Share<J> {
    #[inline]
    fn drop(&mut self) {
        if !self.header().shares.give_back() {
            return;
        }
        let Free(free) = self.freed_by();
        // SAFETY: this was the last share, and the job says by what it is freed.
        unsafe { free(self.address()) };
    }
}

impl<J: ?Sized + Envelope> std::fmt::Debug for Share<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Share").field(&self.header().id()).finish()
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, Location, catch_unwind};
    use std::sync::Arc;

    use super::*;

    type Job = JobCell<Arc<()>, u64>;

    fn job(payload: &Arc<()>) -> Share<Job> {
        Share::alone(payload.clone(), Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None })
    }

    #[test]
    fn a_job_is_freed_with_its_last_share_whoever_gives_it_back_and_as_what() {
        let payload = Arc::new(());
        for round in 0..200 {
            let (handle, queued) = job(&payload).submitted(LaneId::DEFAULT, None);
            let shares: Vec<_> = (0..4).map(|_| handle.clone().erase()).collect();
            std::thread::scope(|scope| {
                for share in shares {
                    scope.spawn(move || drop(share.clone()));
                }
                scope.spawn(move || drop(queued));
                if round % 2 == 0 {
                    drop(handle);
                } else {
                    scope.spawn(move || drop(handle.erase()));
                }
            });
            assert_eq!(Arc::strong_count(&payload), 1, "in round {round}");
        }
    }

    #[test]
    fn only_a_job_in_one_hand_is_taken_apart() {
        let payload = Arc::new(());
        let (handle, queued) = job(&payload).submitted(LaneId::DEFAULT, None);
        assert!(queued.into_payload().is_none());
        assert_eq!(Arc::strong_count(&payload), 2, "the other share is there still");
        assert!(handle.into_payload().is_some());
        assert_eq!(Arc::strong_count(&payload), 1);
    }

    #[test]
    fn a_job_that_has_two_shares_is_not_submitted_again() {
        let payload = Arc::new(());
        let (handle, queued) = job(&payload).submitted(LaneId::DEFAULT, None);
        assert!(catch_unwind(AssertUnwindSafe(|| queued.submitted(LaneId::DEFAULT, None))).is_err());
        drop(handle);
        assert_eq!(Arc::strong_count(&payload), 1);
    }

    #[test]
    fn a_job_cannot_be_passed_off_as_another() {
        let payload = Arc::new(());
        let (one, other) = (job(&payload), job(&payload));
        let swapped = catch_unwind(AssertUnwindSafe(|| one.unsize::<dyn Envelope>(|_| leak(&other))));
        assert!(swapped.is_err());
        drop(other);
        assert_eq!(Arc::strong_count(&payload), 1, "each was freed once");
    }

    /// A reference that lives for as long as whoever asks wants.
    fn leak<'a>(share: &Share<Job>) -> &'a dyn Envelope {
        // SAFETY: the share outlives what this test does with it.
        unsafe { &*std::ptr::from_ref::<Job>(share) }
    }
}
