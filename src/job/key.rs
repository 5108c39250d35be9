//! Rights to a job that go from hand to hand: to its payload, to its outcome. The argument is at the top of `cell.rs`.

use super::{Envelope, Share};
use crate::snapshot::Ended;

/// The right to one job's payload. Held by the worker that claimed it, inside a [`Claim`](crate::Claim).
pub struct ClaimKey {
    /// The cell's address: an identity, compared and never followed.
    pub(super) cell: usize,
    at_end: Option<AtEnd>,
}

impl ClaimKey {
    /// The one key of a job, for whoever has just come to own its payload.
    #[inline]
    pub(crate) fn of<J: ?Sized + Envelope>(job: &Share<J>) -> Self {
        Self::to(job.address())
    }

    fn to(cell: usize) -> Self {
        Self { cell, at_end: None }
    }
}

/// Told whether the payload panicked.
type AtEnd = Box<dyn FnOnce(bool) + Send>;

impl ClaimKey {
    /// Has `f` called once the payload has run and before its outcome is written, with whether it panicked: code of the user's, for
    /// which no outcome waits that is neither to come nor to be had.
    pub(crate) fn at_end(&mut self, f: impl FnOnce(bool) + Send + 'static) {
        self.at_end = Some(Box::new(f));
    }

    /// Calls what [`at_end`](Self::at_end) was given.
    pub(crate) fn ended(&mut self, panicked: bool) {
        if let Some(f) = self.at_end.take() {
            f(panicked);
        }
    }
}

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimKey").finish_non_exhaustive()
    }
}

/// The right, and the duty, to publish an outcome that was written.
#[derive(Debug)]
#[must_use = "an outcome that is not published leaves its handle waiting"]
pub(crate) struct Settlement {
    pub(super) cell: usize,
    pub(crate) ended: Ended,
    /// Nobody else owns the payload, and its key was not made yet. Two words in all: this goes from hand to hand with each job.
    pub(super) owns_payload: bool,
}

impl Settlement {
    /// The key to the payload, if nobody else owns it. Given once.
    pub(crate) fn take_key(&mut self) -> Option<ClaimKey> {
        std::mem::take(&mut self.owns_payload).then(|| ClaimKey::to(self.cell))
    }
}

/// How a claimed job ended, told by the backend that ran it to [`Claim::run`](crate::Claim::run).
#[derive(Debug)]
pub struct Ran {
    pub(crate) panicked: bool,
    /// `None`: somebody else had written the outcome before.
    pub(crate) settled: Option<Settlement>,
}

impl Ran {
    /// Nothing was run, and somebody else wrote the outcome.
    pub(crate) const NOTHING: Self = Self { panicked: false, settled: None };

    /// True if the payload panicked.
    pub fn panicked(&self) -> bool {
        self.panicked
    }
}
