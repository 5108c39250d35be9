//! Lanes: each with its counters, its bound and its reserve; and which lane's turn it is.

mod discipline;
mod line;
mod spec;

pub(crate) use discipline::{Seats, room, startable};
pub(crate) use line::Line;
pub(crate) use spec::Spec;

use smallvec::SmallVec;

use crate::config::Lane;
use crate::sync::{Alone, Count, Mutex, MutexGuard, Ordering, Tally};

/// One lane, with what is counted of it apart from the jobs that pass the plane's locks; see [`Counted`].
#[derive(Debug)]
pub(crate) struct LaneState {
    pub(crate) spec: Spec,
    /// Jobs that left the queue without a worker. Written by whoever wins them.
    withdrawn: Tally,
    /// Jobs that rest. Written under the plane's ready lock, which loom permutes: it need not permute this as well.
    resting: Tally,
    /// Jobs that are lent, of those that are queued. Written under that lock, too.
    lent: Tally,
    /// Submitters that wait at the gate.
    pub(crate) waiting: Count,
}

impl LaneState {
    pub(crate) fn new(spec: Lane) -> Self {
        Self {
            spec: Spec::new(spec),
            withdrawn: Tally::new(0),
            resting: Tally::new(0),
            lent: Tally::new(0),
            waiting: Count::new(0),
        }
    }

    pub(crate) fn withdraw(&self) {
        self.withdrawn.fetch_add(1, Ordering::AcqRel);
    }

    /// So many jobs rest, of those that are queued.
    pub(crate) fn resting(&self) -> usize {
        usize::try_from(self.resting.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// A job rests from now on.
    pub(crate) fn begin_rest(&self) {
        self.resting.fetch_add(1, Ordering::AcqRel);
    }

    /// One does not any more.
    pub(crate) fn end_rest(&self) {
        self.resting.fetch_sub(1, Ordering::AcqRel);
    }

    /// So many jobs are lent, of those that are queued.
    pub(crate) fn lent(&self) -> usize {
        usize::try_from(self.lent.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// A job is lent from now on.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn begin_loan(&self) {
        self.lent.fetch_add(1, Ordering::AcqRel);
    }

    /// One is not any more.
    pub(crate) fn end_loan(&self) {
        self.lent.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn withdrawn(&self) -> u64 {
        self.withdrawn.load(Ordering::Acquire)
    }
}

/// A lock, and by lane how many jobs have passed it: written by whoever holds it, read by anyone.
///
/// The first lane's count lies beside the lock, on a cache line that whoever takes the lock has to have anyway.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Counted<T> {
    counts: SmallVec<[Tally; 1]>,
    writer: Alone,
    lock: Mutex<T>,
}

impl<T> Counted<T> {
    pub(crate) fn new(lanes: usize, value: T) -> Self {
        let counts = (0..lanes).map(|_| Tally::new(0)).collect();
        Self { lock: Mutex::new(value), writer: Alone::default(), counts }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.lock.lock()
    }

    /// True if nobody holds the lock.
    #[cfg(all(test, not(millpond_loom)))]
    pub(crate) fn is_free(&self) -> bool {
        self.lock.try_lock().is_some()
    }

    pub(crate) fn count(&self, lane: usize) -> u64 {
        self.counts[lane].load(Ordering::Acquire)
    }

    /// A job has passed. Under the lock.
    pub(crate) fn passed(&self, lane: usize) {
        // A plain store: the lock makes this the only writer. Release pairs with the load in `count`.
        self.writer.change();
        let count = &self.counts[lane];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// One that had passed is back. Under the lock.
    pub(crate) fn came_back(&self, lane: usize) {
        self.writer.change();
        let count = &self.counts[lane];
        // It may have passed elsewhere: then this goes below zero, and is made up for by the count of that place.
        count.store(count.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Release);
    }
}
