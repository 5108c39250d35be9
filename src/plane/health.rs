//! Which seats are missing, why, and since when.

use super::Plane;
use crate::job::Envelope;
use crate::snapshot::{Health, Shortage};
use crate::sync::{Arc, Ordering, Timestamp};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Degraded,
    Unavailable,
}

/// What control knows of seats that are missing. Only control writes it.
#[derive(Debug, Default)]
pub(super) struct Ailment {
    /// Since when some have been missing; `None`: none was when control last looked.
    missing: Option<Timestamp>,
    /// Since when all have been.
    all: Option<Timestamp>,
    /// How many slots have no worker for which reason.
    why: Shortage,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Seats that no worker can be started for, when so many workers hold one: `max - S` of DESIGN.md, section 2, less those about which a
    /// restart policy has just been asked.
    pub(super) fn missing(&self, live: usize) -> usize {
        let empty = self.empty.load(Ordering::Acquire) + self.beyond_cap();
        self.max().saturating_sub(live).min(empty)
    }

    /// Whether the pool can do its work. Takes no lock while nothing is missing.
    pub(crate) fn health(&self, now: Timestamp) -> Health {
        self.closed().unwrap_or_else(|| self.staffed(now))
    }

    /// A pool whose gate takes no more jobs, and since when.
    fn closed(&self) -> Option<Health> {
        if !self.refuses.load(Ordering::Acquire) {
            return None;
        }
        let (reason, since) = {
            let inbox = self.inbox.lock();
            (inbox.gate.refusal()?, inbox.gate_since)
        };
        let why = Shortage { closed: Some(Arc::from(reason.to_string())), ..Shortage::default() };
        Some(Health::Unavailable { since, why })
    }

    /// Whether it has the workers that it is to have.
    fn staffed(&self, now: Timestamp) -> Health {
        match self.level() {
            None => Health::Healthy,
            Some((level, missing)) => {
                let ailment = self.ailment.lock();
                let (mut why, missing_since, all_since) = (ailment.why.clone(), ailment.missing, ailment.all);
                drop(ailment);
                why.abandoned = self.beyond_cap();
                why.last_fault = self.last_fault.lock().clone();
                match level {
                    // If control has not come round to it, it is new.
                    Level::Degraded => Health::Degraded { missing, since: missing_since.unwrap_or(now), why },
                    Level::Unavailable => Health::Unavailable { since: all_since.unwrap_or(now), why },
                }
            }
        }
    }

    /// Whether it has the workers that it is to have, for control, which remembers since when. For control alone. What the gate does is told as such.
    pub(crate) fn note_health(&self, now: Timestamp) -> Health {
        let level = self.level().map(|(level, _)| level);
        {
            let mut ailment = self.ailment.lock();
            ailment.missing = level.and(ailment.missing.or(Some(now)));
            let all = level.filter(|level| *level == Level::Unavailable);
            ailment.all = all.and(ailment.all.or(Some(now)));
        }
        self.staffed(now)
    }

    /// How many slots have no worker for which reason. What is lost to abandoned workers, and the last fault, is known here.
    pub(crate) fn note_shortage(&self, why: Shortage) {
        self.ailment.lock().why = why;
    }

    fn level(&self) -> Option<(Level, usize)> {
        if self.missing(self.counts.live()) == 0 {
            return None;
        }
        // Without the lock, a worker that goes from one state to another may be seen in neither.
        let _ready = self.ready.lock();
        let _inbox = self.inbox.lock();
        match self.missing(self.counts.live()) {
            0 => None,
            missing if missing == self.max() => Some((Level::Unavailable, missing)),
            missing => Some((Level::Degraded, missing)),
        }
    }
}
