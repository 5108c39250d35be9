//! What a job has that may be delivered more than once. Part of what few jobs have.

use crate::error::Delivery;
use crate::id::JobId;
use crate::policy::Redelivery;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Timestamp};
use std::time::Duration;

/// It waits for a worker since it was admitted.
const ADMISSION: u64 = 0;
/// It waits for no worker: it rests, or its worker has been lost under it just now.
const RESTS: u64 = u64::MAX;

/// How often it may be delivered, and what became of its deliveries so far.
#[derive(Debug)]
pub(crate) struct Redeliveries {
    terms: Redelivery,
    lost: AtomicU32,
    /// Since when it waits for a worker: [`ADMISSION`], [`RESTS`], or a moment.
    waits_since: AtomicU64,
    history: Mutex<Vec<Arc<Delivery>>>,
}

impl Redeliveries {
    pub(crate) fn new(terms: Redelivery) -> Self {
        Self { terms, lost: AtomicU32::new(0), waits_since: AtomicU64::new(ADMISSION), history: Mutex::new(Vec::new()) }
    }

    /// Those of a job that is delivered here after so many were lost elsewhere.
    #[cfg(feature = "process")]
    pub(crate) fn after(lost: u16) -> Self {
        let deliveries = Self::new(Redelivery::new(0));
        deliveries.lost.store(lost.into(), Ordering::Relaxed);
        deliveries
    }

    /// How many were lost so far.
    pub(crate) fn lost(&self) -> u16 {
        // Acquire pairs with `note`: whoever sees the number may be asked for the next one.
        u16::try_from(self.lost.load(Ordering::Acquire)).unwrap_or(u16::MAX)
    }

    /// How long the job is to rest once so many were lost; `None`: it is not delivered again.
    pub(crate) fn rest(&self, job: JobId, lost: u16) -> Option<Duration> {
        self.terms.rest(job, lost)
    }

    /// One more was lost, and the job rests. By the worker that has the job, before it gives it back.
    pub(crate) fn note(&self, delivery: Arc<Delivery>) {
        // Relaxed: the step that puts the job back publishes it.
        self.waits_since.store(RESTS, Ordering::Relaxed);
        let lost = u32::from(delivery.number);
        self.history.lock().push(delivery);
        self.lost.store(lost, Ordering::Release);
    }

    /// All of them, with the last one.
    pub(crate) fn all_with(&self, last: Arc<Delivery>) -> Vec<Arc<Delivery>> {
        self.note(last);
        self.all()
    }

    /// All that were lost so far.
    pub(crate) fn all(&self) -> Vec<Arc<Delivery>> {
        self.history.lock().clone()
    }

    /// The job waits for a worker again, from now on.
    pub(crate) fn waits_from(&self, now: Timestamp) {
        self.waits_since.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Since when it has waited for a worker, if it was admitted at `admission`; never, while it rests.
    pub(crate) fn waits_since(&self, admission: Timestamp) -> Timestamp {
        match self.waits_since.load(Ordering::Relaxed) {
            ADMISSION => admission,
            since => Timestamp::from_nanos(since),
        }
    }
}
