//! Deliveries of a job that took its workers with it.

use std::fmt;
use std::panic::Location;

use crate::id::{JobId, WorkerId};
use crate::snapshot::{Named, Quarantined, Seconds};
use crate::sync::{Arc, Timestamp};

/// One delivery of a job: to a worker that was lost under it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Which of the job's deliveries, from 1.
    pub number: u16,
    /// The worker.
    pub worker: WorkerId,
    /// Its process, if it was one.
    pub pid: Option<u32>,
    /// When the worker took the job, on the pool's clock.
    pub began_at: Timestamp,
    /// When the worker's end was certain.
    pub ended_at: Timestamp,
    /// What ended it.
    pub by: Arc<str>,
    /// How its process ended, if it was one.
    #[cfg(feature = "process")]
    pub death: Option<Arc<super::Death>>,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, worker, by, .. } = self;
        write!(f, "delivery {number}: worker {worker} after {}: {by}", Seconds(self.ended_at.since(self.began_at)))
    }
}

/// A job that is not delivered any more: it took its worker with it as often as it was, or workers kept being lost under others of its label. With all of
/// its deliveries.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The pool.
    pub pool: Arc<str>,
    /// The lane.
    pub lane: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// When it was admitted.
    pub accepted_at: Timestamp,
    /// What became of each delivery, in their order.
    pub deliveries: Vec<Arc<Delivery>>,
    /// Why it has not had all of its deliveries, if it has not: its label is kept out.
    pub quarantine: Option<Arc<Quarantined>>,
    /// What the job was to be done with, to be sent again, or stored: in the error that its handle gives, and nowhere else. `None` in events and what hooks are
    /// told; for a backend that hands over no bytes; and where it was never delivered and cannot be, as it is too large or cannot be serialised.
    pub payload: Option<Payload>,
    /// How many bytes that is, also where it is not shown.
    pub payload_bytes: Option<usize>,
}

impl DeadLetter {
    /// The letter with the payload, for its submitter; and without, for whoever is told.
    pub(crate) fn with_payload(self: Arc<Self>, payload: Option<Payload>) -> (Arc<Self>, Arc<Self>) {
        let Some(payload) = payload else { return (self.clone(), self) };
        let told = Self { payload_bytes: Some(payload.bytes().len()), ..(*self).clone() };
        (Arc::new(Self { payload: Some(payload), ..told.clone() }), Arc::new(told))
    }
}

/// The payload of a job as it is sent to a process: no longer than a frame may be. Of a `ProcessPool`'s job it is the arguments, without the function; of a
/// `ProgramPool`'s the job itself.
///
/// Whoever stores arguments reads them with the same types: they are in the format `postcard`, which does not say what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    #[cfg(feature = "process")]
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::from(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The arguments of a call, if that is what it is, to be submitted again.
    ///
    /// # Errors
    ///
    /// [`TransferFault::ArgumentsUnknown`](crate::TransferFault::ArgumentsUnknown), if these bytes are no `A`. Bytes of other arguments may happen to be one:
    /// which job it was its label says.
    #[cfg(feature = "process")]
    pub fn arguments<A: serde::de::DeserializeOwned>(&self) -> Result<A, super::TransferFault> {
        postcard::from_bytes(&self.0).map_err(|error| super::TransferFault::ArgumentsUnknown(error.to_string()))
    }
}

impl fmt::Debug for Payload {
    /// How long it is; what is in it may be secret, or long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes().len())
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, lane, job, label, submitted_from, accepted_at: _, deliveries, quarantine, payload, .. } = self;
        let (job, times) = (Named(*job, label, submitted_from), deliveries.len());
        write!(f, "pool `{pool}`, lane `{lane}`: {job} ")?;
        match quarantine {
            None => write!(f, "lost each worker that it was delivered to, and is not delivered again after {times}")?,
            Some(why) => write!(f, "is not delivered, after {times} before: {why}")?,
        }
        for delivery in deliveries {
            write!(f, "; {delivery}")?;
        }
        if let Some(payload) = payload {
            write!(f, "; its payload, of {} bytes, is in this letter", payload.bytes().len())?;
        }
        Ok(())
    }
}
