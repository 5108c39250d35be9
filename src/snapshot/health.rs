//! Whether a pool can do its work; if not, why not, and since when.

use std::fmt;

use super::inventory::Seconds;
use super::scene::Slots;
use crate::id::WorkerId;
use crate::sync::{Arc, Timestamp};

/// Whether a pool can do its work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Health {
    /// Every slot has a worker, or can have one.
    #[default]
    Healthy,
    /// Some slots cannot have a worker now; the others do their work.
    #[non_exhaustive]
    Degraded {
        /// How many seats are missing.
        missing: usize,
        /// Since when seats have been missing, however many.
        since: Timestamp,
        /// Why they are.
        why: Shortage,
    },
    /// No worker is up and none can be started now. It ends by itself as soon as one slot can have a worker again.
    ///
    /// Or the pool takes no more jobs, since it drains or has ended, whatever workers it has: then [`why`](Shortage::closed) says so, and it does
    /// not end. [`PoolEvent::Gate`](crate::PoolEvent::Gate) tells that, however the pool ended, and not
    /// [`PoolEvent::Health`](crate::PoolEvent::Health).
    #[non_exhaustive]
    Unavailable {
        /// Since when.
        since: Timestamp,
        /// Why.
        why: Shortage,
    },
}

impl Health {
    /// Nothing is missing.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }

    /// Some seats are missing, and not all.
    pub fn is_degraded(&self) -> bool {
        matches!(self, Self::Degraded { .. })
    }

    /// No worker is up and none can be started, or the pool takes no more jobs.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Why it is not healthy, if it is not.
    pub fn why(&self) -> Option<&Shortage> {
        match self {
            Self::Healthy => None,
            Self::Degraded { why, .. } | Self::Unavailable { why, .. } => Some(why),
        }
    }

    /// Since when it has not been healthy, if it is not: seats have been missing, or the gate has taken no more jobs.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Healthy => None,
            Self::Degraded { since, .. } | Self::Unavailable { since, .. } => Some(*since),
        }
    }

    /// True if this is news to whoever knows `other`: when the next start is tried is none.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let known = |health: &Self| {
            let mut health = health.clone();
            if let Self::Degraded { why, .. } | Self::Unavailable { why, .. } = &mut health {
                why.next_try = None;
            }
            health
        };
        known(self) != known(other)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, now: Option<Timestamp>) -> fmt::Result {
        match self {
            Self::Healthy => return f.write_str("healthy"),
            Self::Degraded { missing, .. } => {
                write!(f, "degraded, {missing} {} missing", if *missing == 1 { "seat" } else { "seats" })?
            }
            Self::Unavailable { .. } => f.write_str("unavailable")?,
        }
        if let (Some(now), Some(since)) = (now, self.since()) {
            write!(f, " for {}", Seconds(now.since(since)))?;
        }
        self.why().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

/// The same at a moment from which it can say for how long.
pub(crate) struct HealthAt<'a>(pub(crate) &'a Health, pub(crate) Timestamp);

impl fmt::Display for HealthAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, Some(self.1))
    }
}

/// Why seats are missing, or why the pool takes no more jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Shortage {
    /// Slots that back off or cool down after a fault of their worker, or whose policy has been asked for longer than 100 ms.
    pub cooling: usize,
    /// The same after a start that failed, for instance because the system refused a thread.
    pub refused: usize,
    /// Slots that stay empty for good, by their restart policy.
    pub given_up: usize,
    /// Slots whose start a hook denied a moment ago.
    pub vetoed: usize,
    /// Slots whose start a hook has put off. One about which hooks have not answered yet is none of them.
    pub delayed: usize,
    /// Abandoned workers beyond the cap: each takes a seat until it returns.
    pub abandoned: usize,
    /// The pool's last fault, as text, and whose it was.
    pub last_fault: Option<(WorkerId, Arc<str>)>,
    /// When the next of those slots is tried again.
    pub next_try: Option<Timestamp>,
    /// Why the pool takes no more jobs, as text; nothing else is said then.
    pub closed: Option<Arc<str>>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(reason) = &self.closed {
            parts.push(format!("the pool takes no more jobs: {reason}"));
        }
        for (slots, what) in [
            (self.cooling, "without a worker after faults"),
            (self.refused, "without a worker after failed starts"),
            (self.given_up, "given up for good"),
            (self.vetoed, "without a worker as a hook denied the start"),
            (self.delayed, "without a worker as a hook put the start off"),
        ] {
            if slots > 0 {
                parts.push(format!("{} {what}", Slots(slots)));
            }
        }
        if self.abandoned > 0 {
            parts.push(format!("{} abandoned beyond the cap", self.abandoned));
        }
        if let Some((worker, fault)) = &self.last_fault {
            parts.push(format!("the last fault: {worker} {fault}"));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_says_how_bad_for_how_long_and_why() {
        let since = Timestamp::from_nanos(1);
        let worker = WorkerId { slot: 3, generation: 7 };
        let why = Shortage {
            cooling: 1,
            refused: 2,
            abandoned: 4,
            last_fault: Some((worker, Arc::from("panicked"))),
            ..Shortage::default()
        };
        let health = Health::Unavailable { since, why };
        let text = HealthAt(&health, since.after(Duration::from_millis(3_200))).to_string();
        let expected = "unavailable for 3.2 s: 1 slot without a worker after faults, 2 slots without a worker after failed starts, \
                        4 abandoned beyond the cap, the last fault: 3.7 panicked";
        assert_eq!(text, expected);
        assert_eq!(Health::Healthy.to_string(), "healthy");
    }

    #[test]
    fn another_time_of_the_next_try_is_no_news() {
        let of = |cooling, next_try| Health::Degraded {
            missing: 1,
            since: Timestamp::from_nanos(1),
            why: Shortage { cooling, next_try, ..Shortage::default() },
        };
        assert!(!of(1, None).differs(&of(1, Some(Timestamp::from_nanos(9)))));
        assert!(of(1, None).differs(&of(2, None)));
    }
}
