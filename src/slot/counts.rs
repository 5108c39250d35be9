//! How many workers there are, by what they do.

use smallvec::SmallVec;

use crate::config::MAX_LANES;
use crate::id::LaneId;
use crate::snapshot::WorkerState;
use crate::sync::{Alone, Count, Ordering};

/// How many workers are in which state. Written under the inbox lock, read by anyone.
#[derive(Debug)]
pub(crate) struct Counts {
    starting: Count,
    idle: Count,
    abandoned: Count,
    leaving: Count,
    /// By lane; the first one's lies with the others.
    busy: SmallVec<[Count; 1]>,
    writer: Alone,
}

fn add(count: &Count, by: isize) {
    // A plain store: the inbox lock makes this the only writer. Release pairs with the readers' loads.
    count.store(count.load(Ordering::Relaxed).wrapping_add_signed(by), Ordering::Release);
}

impl Counts {
    pub(crate) fn new(lanes: usize) -> Self {
        assert!(lanes <= MAX_LANES, "validated with the configuration");
        Self {
            starting: Count::new(0),
            idle: Count::new(0),
            abandoned: Count::new(0),
            leaving: Count::new(0),
            busy: (0..lanes).map(|_| Count::new(0)).collect(),
            writer: Alone::default(),
        }
    }

    pub(crate) fn starting(&self) -> usize {
        self.starting.load(Ordering::Acquire)
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.load(Ordering::Acquire)
    }

    pub(crate) fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Workers that have given their seat back and have not ended.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn busy_in(&self, lane: usize) -> usize {
        self.busy[lane].load(Ordering::Acquire)
    }

    pub(crate) fn busy(&self) -> usize {
        // Not a sum over all: with one lane, as mostly, no loop is entered. Each submission to a pool at its limit comes here.
        self.busy.iter().skip(1).fold(self.busy_in(0), |sum, lane| sum + lane.load(Ordering::Acquire))
    }

    /// Workers that hold a seat.
    pub(crate) fn live(&self) -> usize {
        self.starting() + self.idle() + self.busy()
    }

    /// A worker goes from one state, and the lane of what it held then, to another.
    #[inline]
    pub(super) fn pass(&self, from: (WorkerState, Option<LaneId>), to: (WorkerState, Option<LaneId>)) {
        let (before, after) = (self.of(from.0, from.1), self.of(to.0, to.1));
        // A worker that was condemned may yet go on to the job that it was lent: readers see no dip.
        if matches!((before, after), (Some(a), Some(b)) if std::ptr::eq(a, b)) {
            return;
        }
        self.writer.change();
        if let Some(count) = after {
            add(count, 1);
        }
        if let Some(count) = before {
            add(count, -1);
        }
    }

    fn of(&self, state: WorkerState, lane: Option<LaneId>) -> Option<&Count> {
        match state {
            WorkerState::Starting => Some(&self.starting),
            WorkerState::Idle => Some(&self.idle),
            WorkerState::Abandoned => Some(&self.abandoned),
            WorkerState::Busy | WorkerState::Condemned => lane.map(|lane| &self.busy[lane.index()]),
            WorkerState::Leaving => Some(&self.leaving),
            WorkerState::Gone => None,
        }
    }
}
