//! The job's one atomic word: who owns the payload, who writes the outcome, and who has to be told.
//!
//! States, transitions and the argument are in DESIGN.md, section 1; `loom.rs` beside this file checks the races.
//!
//! # Safety argument of the waker
//!
//! There is one handle. While `WAKER` is clear, the waker's place is the handle's; it sets the flag when a waker lies there, and
//! takes the place back by clearing it again. Whoever publishes finds the flag set or not in the same step that makes the word
//! `DONE`: set, the place is the publisher's from then on, unless `DETACHED` says that the handle has left and taken its waker along.
//! A handle whose step comes after `DONE` leaves the place alone. This is the protocol of tokio's `JoinHandle`.

use std::task::Waker;

use crate::snapshot::Ended;
use crate::sync::{AtomicU32, Ordering, UnsafeCell};

const PHASE: u32 = LOAN | OWNED;
/// The part of a phase that says whose the payload is.
const OWNED: u32 = 0b11;
const QUEUED: u32 = 0;
const CLAIMED: u32 = 1;
const SETTLING: u32 = 2;
const DONE: u32 = 3;

/// A waker lies in its place, for whoever publishes.
const WAKER: u32 = 1 << 2;
const DETACHED: u32 = 1 << 3;
const CANCEL: u32 = 1 << 4;
/// Beside `CLAIMED`: by a worker that has another job in hand. It has not begun, and nobody writes its outcome.
const LOAN: u32 = 1 << 5;
const LENT: u32 = CLAIMED | LOAN;
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

/// Who is left to drop an output that nobody will read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// Whoever asks: the handle and the outcome have met.
    Mine,
    /// The other side: it comes later, or has read it.
    Theirs,
}

/// The word.
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

/// Where the waker of whoever polls the handle lies. Beside the word and not in it, for the sake of the job's size.
#[derive(Debug)]
pub(crate) struct WakerPlace(UnsafeCell<Option<Waker>>);

// SAFETY: the place has one owner at a time (the module's argument), and a waker may be used on any thread.
unsafe impl Sync for WakerPlace {}

impl WakerPlace {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// # Safety
    ///
    /// For whoever the place belongs to; see the module's argument.
    unsafe fn swap(&self, waker: Option<Waker>) -> Option<Waker> {
        // SAFETY: the caller's: nobody else touches the place meanwhile.
        self.0.with_mut(|place| std::mem::replace(unsafe { &mut *place }, waker))
    }
}

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

    /// A worker that has another job in hand takes the job. The winner owns the payload.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn lend(&self) -> bool {
        self.shift(QUEUED, LENT)
    }

    /// The worker that has it begins the job, or the job is about to end as if it had.
    pub(crate) fn begin_loan(&self) -> bool {
        self.shift(LENT, CLAIMED)
    }

    /// The worker that has it has not begun the job, and gives it back.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn return_loan(&self) -> bool {
        self.shift(LENT, QUEUED)
    }

    /// Wins the right to write the outcome, if nobody has and the job is not lent.
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

    /// The outcome is written: `SETTLING` becomes `DONE`. Gives back who is to be woken, and whose the output is to drop.
    pub(crate) fn publish(&self, ended: Ended, place: &WakerPlace) -> (Option<Waker>, Unread) {
        let done = DONE | (ended as u32 + 1) << ENDED_SHIFT;
        // AcqRel: the outcome is seen by whoever sees DONE; the handle's flags and the waker before them are seen here.
        let word = self.0.fetch_or(done, Ordering::AcqRel);
        if word & DETACHED != 0 {
            return (None, Unread::Mine);
        }
        // SAFETY: the flag was set when the word became DONE, so that the place is the publisher's.
        let waker = if word & WAKER != 0 { unsafe { place.swap(None) } } else { None };
        (waker, Unread::Theirs)
    }

    /// Has `waker` woken when the outcome is there. False if it is there already.
    ///
    /// # Safety
    ///
    /// For the job's one handle, which has not detached.
    pub(crate) unsafe fn await_outcome(&self, waker: &Waker, place: &WakerPlace) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        if word & WAKER != 0 && word & PHASE != DONE {
            // Polled before: the place is taken back first. AcqRel, here and below: as in `publish`, whose partner this is.
            word = self.0.fetch_and(!WAKER, Ordering::AcqRel);
        }
        if word & PHASE == DONE {
            return false;
        }
        // SAFETY: the flag is clear and the outcome was not there, so the place is the handle's; and this is the handle.
        let before = unsafe { place.swap(Some(waker.clone())) };
        // A waker's drop is the executor's code: it runs with nothing held.
        drop(before);
        if self.0.fetch_or(WAKER, Ordering::AcqRel) & PHASE != DONE {
            return true;
        }
        // Published between the look and the flag: the publisher did not see the waker.
        // SAFETY: so the place is still the handle's.
        drop(unsafe { place.swap(None) });
        false
    }

    /// The handle goes away.
    ///
    /// # Safety
    ///
    /// For the job's one handle, as its last act but for dropping an output that is [`Unread::Mine`].
    pub(crate) unsafe fn detach(&self, place: &WakerPlace) -> Unread {
        let word = self.0.fetch_or(DETACHED, Ordering::AcqRel);
        if word & PHASE == DONE {
            return Unread::Mine;
        }
        if word & WAKER != 0 {
            // Its drop is the executor's code: it runs here, and not when the job's memory is given back.
            // SAFETY: whoever publishes sees that the handle has left, and leaves the place alone.
            drop(unsafe { place.swap(None) });
        }
        Unread::Theirs
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & PHASE == DONE
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        Ended::from_index((self.0.load(Ordering::Acquire) >> ENDED_SHIFT).checked_sub(1)?)
    }

    /// True while a worker has the job, be it lent, and nobody has written its outcome.
    pub(crate) fn is_claimed(&self) -> bool {
        self.0.load(Ordering::Acquire) & OWNED == CLAIMED
    }

    /// True while the job waits for a worker that has nothing else in hand.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire) & PHASE, QUEUED | LENT)
    }

    /// True while the handle waits: its waker lies in its place.
    pub(crate) fn is_awaited(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & (WAKER | DETACHED) == WAKER && word & PHASE != DONE
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
