//! Rights to a job that go from hand to hand: to its payload, to its outcome. The argument is at the top of `cell.rs`.

use super::cell::Inner;
use super::{Envelope, Share};
use crate::snapshot::Ended;

/// The right to one job's payload. Held by the worker that claimed it, from when it begins the job.
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

/// An outcome that is won, and counted, and not published yet. It is published when this goes, however it goes: between the two run wakers and
/// subscribers of others', and whoever waits for the outcome is not to wait for ever because one of them panics.
#[must_use = "dropped at once, it publishes before what is to come first"]
pub(crate) struct Owed<'a> {
    job: &'a dyn Inner,
    /// `None` once it is published.
    settlement: Option<Settlement>,
}

impl<'a> Owed<'a> {
    /// What [`settle_error`](Inner::settle_error) or a [`Ran`] of this job gave.
    #[inline]
    pub(crate) fn new(job: &'a dyn Inner, settlement: Settlement) -> Self {
        Self { job, settlement: Some(settlement) }
    }

    /// Publishes it, and gives the key to the payload, if nobody else owns that.
    pub(crate) fn publish(mut self) -> Option<ClaimKey> {
        self.settlement.as_mut().and_then(Settlement::take_key)
    }
}

impl Drop for Owed<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            self.job.publish(settlement);
        }
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

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, Location, catch_unwind};

    use super::*;
    use crate::error::{JobError, KilledJob};
    use crate::id::{LaneId, WorkerId};
    use crate::job::{Envelope, JobCell, Submission};

    fn killed(job: &JobCell<u64, u64>) -> JobError {
        let killed = KilledJob {
            pool: "test".into(),
            job: job.header().id(),
            label: None,
            submitted_from: Location::caller(),
            worker: WorkerId { slot: 0, generation: 1 },
            by: "a test".into(),
            silent_for: None,
            after: std::time::Duration::ZERO,
            #[cfg(feature = "process")]
            death: None,
        };
        JobError::Killed(Box::new(killed))
    }

    #[test]
    fn an_outcome_that_is_owed_is_published_whatever_panics() {
        let submission = || Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None };
        let jobs: Vec<_> = (0..3).map(|payload| JobCell::<u64, u64>::new(payload, submission())).collect();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let won = jobs.iter().map(|job| (job, job.settle_error(killed(job), None).expect("it is open")));
            let owed: Vec<_> = won.map(|(job, settlement)| Owed::new(job, settlement)).collect();
            assert!(jobs.iter().all(|job| !job.header().is_done()), "not before its time");
            assert_eq!(owed.len(), 3);
            panic!("on purpose");
        }));
        assert!(caught.is_err());
        assert!(jobs.iter().all(|job| job.header().is_done()));
    }

    #[test]
    fn who_ends_a_queued_job_is_given_its_payload_once_the_outcome_is_there() {
        let submission = Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None };
        let job = JobCell::<u64, u64>::new(7, submission);
        let settlement = job.settle_error(killed(&job), None).expect("it is open");
        let mut key = Owed::new(&job, settlement).publish().expect("nobody else owns it");
        assert!(job.header().is_done());
        assert_eq!(job.reclaim(&mut key), Some(7));
    }
}
