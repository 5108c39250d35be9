//! Admission: the gate's state, and those who wait at it.
//!
//! A waiter's state is one compare-and-swap; DESIGN.md, section 1.

use std::task::{Context, Poll, Waker};

use crate::error::CloseReason;
use crate::id::LaneId;
use crate::job::{Stands, wake};
use crate::sync::{Arc, AtomicU8, Mutex, Ordering, Timestamp};

/// What the gate lets through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    /// Admits and dispatches. Exits: all others.
    Open,
    /// Admits and does not dispatch. Exits: all others.
    Quiesced,
    /// Refuses, and dispatches what was admitted. Exit: `Closed`.
    Draining,
    /// Terminal.
    Closed(CloseReason),
}

impl Gate {
    /// Why jobs are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<CloseReason> {
        match self {
            Self::Open | Self::Quiesced => None,
            Self::Draining => Some(CloseReason::Draining),
            Self::Closed(reason) => Some(reason.clone()),
        }
    }

    /// True if workers get jobs.
    pub(crate) fn dispatches(&self) -> bool {
        matches!(self, Self::Open | Self::Draining)
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Quiesced => "quiesced",
            Self::Draining => "draining",
            Self::Closed(_) => "closed",
        }
    }
}

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
const RECEIVED: u8 = 2;
const CANCELLED: u8 = 3;
const EXPIRED: u8 = 4;
const CLOSED: u8 = 5;
const REVOKED: u8 = 6;

/// What became of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// A place is reserved, and is the submitter's now.
    Received,
    /// The admission limit passed.
    Expired,
    /// The pool takes no more jobs.
    Closed,
    /// A place was granted and nobody came for it: to the end of the line.
    Revoked,
}

/// How a submitter went away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// It stood in the line.
    Waiting,
    /// It had been granted a place, which is to be given back.
    Granted,
    /// It had been told already; nothing is owed.
    Told,
}

/// A submitter that waits for a place. It keeps its job: a grant carries none.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
    pub(crate) lane: LaneId,
    /// Since when its submitter waits, in front of the gate.
    pub(crate) since: Timestamp,
    /// When its admission limit passes.
    pub(crate) until: Timestamp,
}

impl Waiter {
    pub(crate) fn new(lane: LaneId, since: Timestamp, until: Timestamp) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(WAITING), waker: Mutex::new(None), lane, since, until })
    }

    fn shift(&self, from: u8, to: u8) -> bool {
        // AcqRel: what was done for the waiter before is seen by whoever finds it done.
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Promises a place. The caller reserves it under the inbox lock in the same breath.
    pub(crate) fn grant(&self) -> bool {
        self.shift(WAITING, GRANTED)
    }

    /// Takes back a promise that nobody came for. The caller gives the place back.
    pub(crate) fn revoke(&self) -> bool {
        self.shift(GRANTED, REVOKED)
    }

    pub(crate) fn expire(&self) -> bool {
        self.shift(WAITING, EXPIRED)
    }

    /// Closes the wait; says whether a place was promised, which is given back.
    pub(crate) fn close(&self) -> Option<Left> {
        if self.shift(WAITING, CLOSED) {
            return Some(Left::Waiting);
        }
        self.shift(GRANTED, CLOSED).then_some(Left::Granted)
    }

    /// The submitter went away.
    pub(crate) fn cancel(&self) -> Left {
        // Its waker goes with it, and not later, when the line is swept under a lock: its drop is the executor's code.
        let waker = self.waker.lock().take();
        drop(waker);
        if self.shift(WAITING, CANCELLED) {
            return Left::Waiting;
        }
        // From WAITING it can only have gone on; GRANTED is the one state that owes a place.
        if self.shift(GRANTED, CANCELLED) { Left::Granted } else { Left::Told }
    }

    /// True while it stands in the line.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// True while a place is promised and not received.
    pub(crate) fn is_granted(&self) -> bool {
        self.state.load(Ordering::Acquire) == GRANTED
    }

    /// Wakes the submitter, after unlock.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    /// Ready once the wait has an end.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Verdict> {
        if let Some(verdict) = self.verdict() {
            return Poll::Ready(verdict);
        }
        let previous = {
            let mut waker = self.waker.lock();
            match &*waker {
                Some(known) if known.will_wake(cx.waker()) => None,
                _ => waker.replace(cx.waker().clone()),
            }
        };
        drop(previous);
        // Whoever ended the wait before the lock found no waker: its change is seen here, by the lock's ordering.
        let Some(verdict) = self.verdict() else { return Poll::Pending };
        // Nobody wakes it any more, and the timer may hold on to this for long: the waker goes here, with nothing held.
        let waker = self.waker.lock().take();
        drop(waker);
        Poll::Ready(verdict)
    }

    fn verdict(&self) -> Option<Verdict> {
        if self.shift(GRANTED, RECEIVED) {
            return Some(Verdict::Received);
        }
        match self.state.load(Ordering::Acquire) {
            EXPIRED => Some(Verdict::Expired),
            CLOSED => Some(Verdict::Closed),
            REVOKED => Some(Verdict::Revoked),
            _ => None,
        }
    }
}

impl Stands for Waiter {
    fn stands(&self) -> bool {
        self.is_waiting()
    }
}
