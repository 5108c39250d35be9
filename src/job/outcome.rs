//! The job's one atomic word: who owns the payload, who writes the outcome, and who has to be told.
//!
//! States, transitions and the argument are in DESIGN.md, section 1; `loom.rs` beside this file checks the races.

use crate::snapshot::Ended;
use crate::sync::{AtomicU32, Ordering};

const PHASE: u32 = 0b11;
const QUEUED: u32 = 0;
const CLAIMED: u32 = 1;
const SETTLING: u32 = 2;
const DONE: u32 = 3;

const WAKER: u32 = 1 << 2;
const DETACHED: u32 = 1 << 3;
const CANCEL: u32 = 1 << 4;
/// How it ended, plus one, from DONE on.
const ENDED_SHIFT: u32 = 8;

/// Whose the payload was when an outcome was won.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Nobody's: the winner of the outcome owns it now.
    Queue,
    /// A worker's, and it still is.
    Worker,
}

/// Whether somebody asked for something first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    First,
    Before,
}

/// What the publisher of an outcome owes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owed {
    /// Somebody polls: wake it.
    pub(crate) wake: bool,
    /// The handle is gone: the publisher drops the output.
    pub(crate) discard: bool,
}

/// What a handle leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leaves {
    pub(crate) outcome: bool,
    pub(crate) waker: bool,
}

/// The word.
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

impl Word {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(QUEUED))
    }

    fn shift(&self, from: u32, to: u32) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        while word & PHASE == from {
            // Acquire: the payload, or what an earlier owner left of it, is seen by the new owner. Release: the other way.
            match self.0.compare_exchange_weak(word, word & !PHASE | to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// A worker takes the job. The winner owns the payload.
    pub(crate) fn claim(&self) -> bool {
        self.shift(QUEUED, CLAIMED)
    }

    /// The worker that took the job has not begun it and gives it back. Fails if it has an outcome by now.
    pub(crate) fn put_back(&self) -> bool {
        self.shift(CLAIMED, QUEUED)
    }

    /// Wins the right to write the outcome, if nobody has.
    pub(crate) fn settle(&self) -> Option<Owner> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let owner = match word & PHASE {
                QUEUED => Owner::Queue,
                CLAIMED => Owner::Worker,
                _ => return None,
            };
            // AcqRel: as in `shift`.
            match self.0.compare_exchange_weak(word, word & !PHASE | SETTLING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(owner),
                Err(now) => word = now,
            }
        }
    }

    /// The same, only while no worker has the job.
    pub(crate) fn settle_queued(&self) -> bool {
        self.shift(QUEUED, SETTLING)
    }

    /// The same, only while a worker has the job.
    pub(crate) fn settle_claimed(&self) -> bool {
        self.shift(CLAIMED, SETTLING)
    }

    /// The outcome is written: `SETTLING` becomes `DONE`.
    pub(crate) fn publish(&self, ended: Ended) -> Owed {
        let done = DONE | (ended as u32 + 1) << ENDED_SHIFT;
        // AcqRel: the outcome is seen by whoever sees DONE; the handle's flags and the waker before them are seen here.
        let word = self.0.fetch_or(done, Ordering::AcqRel);
        Owed { wake: word & WAKER != 0 && word & DETACHED == 0, discard: word & DETACHED != 0 }
    }

    /// A waker was stored. False if the outcome is there already.
    pub(crate) fn await_outcome(&self) -> bool {
        self.0.fetch_or(WAKER, Ordering::AcqRel) & PHASE != DONE
    }

    /// The handle goes away. What it leaves is the caller's to drop.
    pub(crate) fn detach(&self) -> Leaves {
        let word = self.0.fetch_or(DETACHED, Ordering::AcqRel);
        Leaves { outcome: word & PHASE == DONE, waker: word & WAKER != 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & PHASE == DONE
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        Ended::from_index((self.0.load(Ordering::Acquire) >> ENDED_SHIFT).checked_sub(1)?)
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.0.load(Ordering::Acquire) & PHASE == QUEUED
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.0.load(Ordering::Acquire) & DETACHED != 0
    }

    /// Asks the job to stop.
    pub(crate) fn cancel(&self) -> Asked {
        if self.0.fetch_or(CANCEL, Ordering::AcqRel) & CANCEL == 0 { Asked::First } else { Asked::Before }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCEL != 0
    }
}
