//! Which seats are missing, why, and since when.

use super::Plane;
use crate::job::Envelope;
use crate::snapshot::{Health, Shortage};
use crate::sync::Timestamp;

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
    /// Seats that no worker can be started for, when so many workers hold one: `max - S` of DESIGN.md, section 2.
    pub(super) fn missing(&self, live: usize) -> usize {
        self.max().saturating_sub(live).min(self.blocked())
    }

    /// Whether the pool can do its work. Takes no lock while nothing is missing.
    pub(crate) fn health(&self, now: Timestamp) -> Health {
        match self.level() {
            None => Health::Healthy,
            Some((level, missing)) => {
                let ailment = self.ailment.lock();
                let (mut why, missing_since, all_since) = (ailment.why.clone(), ailment.missing, ailment.all);
                drop(ailment);
                why.abandoned = self.counts.abandoned().saturating_sub(self.abandoned_cap());
                why.last_fault = self.last_fault.lock().clone();
                match level {
                    // If control has not come round to it, it is new.
                    Level::Degraded => Health::Degraded { missing, since: missing_since.unwrap_or(now), why },
                    Level::Unavailable => Health::Unavailable { since: all_since.unwrap_or(now), why },
                }
            }
        }
    }

    /// The same for control, which remembers since when. For control alone.
    pub(crate) fn note_health(&self, now: Timestamp) -> Health {
        let level = self.level().map(|(level, _)| level);
        {
            let mut ailment = self.ailment.lock();
            ailment.missing = level.and(ailment.missing.or(Some(now)));
            let all = level.filter(|level| *level == Level::Unavailable);
            ailment.all = all.and(ailment.all.or(Some(now)));
        }
        self.health(now)
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
