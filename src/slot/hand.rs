//! What a worker has in its hands, and what its cell shows of it.

use std::mem::ManuallyDrop;
use std::ops::Deref;

use crate::id::{ClaimNo, LaneId};
use crate::job::{Envelope, Share};
use crate::sync::Timestamp;

/// What is in a worker's hands.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) job: Share<dyn Envelope>,
    pub(crate) lane: LaneId,
    pub(crate) claim: ClaimNo,
    /// When it was claimed: the end of the job before, or the moment after a wake.
    pub(crate) since: Timestamp,
}

/// The same as the worker's cell shows it: without a share in the job, since the worker has one for as long.
///
/// # Safety argument
///
/// What is shown is read under the cell's lock alone, and the share behind it is let go of in one place, [`Taken::let_go`], by a worker whose cell
/// shows it no more. Whatever else becomes of a [`Taken`], its share is never given back, so that nothing here can come to hang in the air.
pub(crate) struct Shown(ManuallyDrop<Held>);

impl Deref for Shown {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

/// A job that is claimed and seated, with its worker's share in it. Not given back by a mere drop: see [`Shown`].
pub(crate) struct Taken<J: ?Sized + Envelope> {
    job: ManuallyDrop<Share<J>>,
    pub(crate) lane: LaneId,
    pub(crate) claim: ClaimNo,
    /// When it was claimed.
    pub(crate) since: Timestamp,
}

impl<J: ?Sized + Envelope> Taken<J> {
    /// A job that its worker takes into its hands, and what the cell is to show of it.
    #[inline]
    pub(crate) fn new(job: Share<J>, lane: LaneId, claim: ClaimNo, since: Timestamp) -> (Self, Shown) {
        let job = ManuallyDrop::new(job);
        // SAFETY: the copy is never dropped, so that there is one share as before; and that one outlives it, by the argument at `Shown`.
        let copy = unsafe { std::ptr::read(&raw const *job) };
        let shown = Shown(ManuallyDrop::new(Held { job: copy.erase(), lane, claim, since }));
        (Self { job, lane, claim, since }, shown)
    }

    #[inline]
    pub(crate) fn job(&self) -> &Share<J> {
        &self.job
    }

    /// Gives the share back. For a worker whose cell shows this job no more.
    #[inline]
    pub(crate) fn let_go(self) {
        drop(ManuallyDrop::into_inner(self.job));
    }
}
