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
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, lane, job, label, submitted_from, accepted_at: _, deliveries, quarantine } = self;
        let (job, times) = (Named(*job, label, submitted_from), deliveries.len());
        write!(f, "pool `{pool}`, lane `{lane}`: {job} ")?;
        match quarantine {
            None => write!(f, "lost each worker that it was delivered to, and is not delivered again after {times}")?,
            Some(why) => write!(f, "is not delivered, after {times} before: {why}")?,
        }
        for delivery in deliveries {
            write!(f, "; {delivery}")?;
        }
        Ok(())
    }
}
