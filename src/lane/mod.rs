//! Lanes: each with its counters, its bound and its reserve; and which lane's turn it is.

mod discipline;
mod line;

pub(crate) use discipline::{Seats, room, startable};
pub(crate) use line::Line;

use crate::config::Lane;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, Padded};

/// One lane's counters. `queued` is not among them: it is what the others leave.
#[derive(Debug)]
pub(crate) struct LaneState {
    pub(crate) spec: Lane,
    /// Jobs admitted. Written under the inbox lock, by submitters: on a line of its own.
    pushed: Padded<AtomicU64>,
    /// Jobs handed to workers, less those put back. Written under the ready lock, by workers: on a line of its own.
    taken: Padded<AtomicU64>,
    /// Jobs that left the queue without a worker. Written by whoever wins them.
    withdrawn: AtomicU64,
    /// Submitters that wait at the gate.
    pub(crate) waiting: AtomicUsize,
}

impl LaneState {
    pub(crate) fn new(spec: Lane) -> Self {
        Self {
            spec,
            pushed: Padded(AtomicU64::new(0)),
            taken: Padded(AtomicU64::new(0)),
            withdrawn: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Jobs that wait for a worker. Exact under both locks; without them it may be too high, never too low for long.
    pub(crate) fn queued(&self) -> usize {
        // Those that go down are read first, so that a job admitted and taken meanwhile does not make the difference negative.
        let gone = self.withdrawn.load(Ordering::Acquire) + self.taken.load(Ordering::Acquire);
        usize::try_from(self.pushed.load(Ordering::Acquire).saturating_sub(gone)).unwrap_or(usize::MAX)
    }

    /// Jobs that ever left the queue. Never goes down by more than was put back.
    pub(crate) fn gone(&self) -> u64 {
        self.withdrawn.load(Ordering::Acquire) + self.taken.load(Ordering::Acquire)
    }

    pub(crate) fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Acquire)
    }

    /// Under the inbox lock.
    pub(crate) fn push(&self) {
        // A plain store: the lock makes this the only writer. Release pairs with the loads in `queued`.
        self.pushed.store(self.pushed.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Under the ready lock.
    pub(crate) fn take(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Under the ready lock.
    pub(crate) fn put_back(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed).saturating_sub(1), Ordering::Release);
    }

    pub(crate) fn withdraw(&self) {
        self.withdrawn.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}
