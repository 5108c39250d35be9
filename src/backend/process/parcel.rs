//! A job as the thread that looks after a child sees it.

use super::freight::Freight;
use super::wire::{Panicked, Why};
use crate::error::{JobError, TransferFailed, TransferFault};
use crate::job::{ClaimKey, Envelope, Owner, Ran, Settlement};
use crate::sync::Arc;

/// A job that can be sent to a process.
pub trait ProcessJob: Envelope {
    #[doc(hidden)]
    fn parcel(&self) -> Parcel<'_>;
}

/// What only millpond does with such a job.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "a view of a trait object, never shown")]
pub struct Parcel<'a>(pub(super) &'a dyn Carried);

/// What came of a look at a payload.
#[derive(Debug)]
pub(super) enum Load {
    Loaded,
    /// It has its outcome by now, and must not begin.
    Over,
    Unfit(TransferFault),
}

/// What a worker answered.
#[derive(Debug)]
pub(super) enum Reply<'a> {
    Result(&'a [u8]),
    Failure(Why, String),
    Panic(Panicked),
}

/// The type-erased half.
pub(super) trait Carried {
    /// Puts the payload's bytes in. The payload stays, so that it can be sent again.
    fn load(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> Load;
    /// Puts in what its submitter can make the job of again, and nothing that is for the worker alone. False: it cannot be had.
    fn save(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> bool;
    /// Writes the outcome that a worker's answer makes.
    fn conclude(&self, key: &mut ClaimKey, pool: &str, reply: Reply<'_>) -> Ran;
    /// Writes the outcome of one that cannot be carried.
    fn fail(&self, key: &mut ClaimKey, pool: &str, fault: TransferFault) -> Ran;
}

/// Writes that as the outcome, if the job has none yet.
pub(super) fn transfer_failed(job: &impl Envelope, pool: &str, fault: TransferFault) -> Option<Settlement> {
    let header = job.header();
    let failed = TransferFailed {
        pool: Arc::from(pool),
        job: header.id(),
        label: header.label().cloned(),
        submitted_from: header.submitted_from(),
        fault,
    };
    job.sealed().0.settle_error(JobError::Transfer(Box::new(failed)), Some(Owner::Worker))
}
