//! Who said no, and why; who said not yet, and until when.

use std::fmt;
use std::time::Duration;

use super::inventory::Seconds;
use super::scene::Slots;
use crate::sync::{Arc, Timestamp};

/// A hook's denial.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Veto {
    /// The hook, by the name that it was given with.
    pub by: Arc<str>,
    /// What it said.
    pub reason: Arc<str>,
}

impl Veto {
    pub(crate) fn new(by: Arc<str>, reason: Arc<str>) -> Self {
        Self { by, reason }
    }
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vetoed by hook `{}`: {}", self.by, self.reason)
    }
}

/// Slots that have no worker, for a moment, because a hook denied its start.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VetoedStarts {
    /// How many.
    pub slots: usize,
    /// The latest denial.
    pub veto: Veto,
}

impl fmt::Display for VetoedStarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} without a worker, its start {}", Slots(self.slots), self.veto)
    }
}

/// What a hook has put off: the longest delay counts, if several want one.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Delay {
    /// The hook, by the name that it was given with.
    pub by: Arc<str>,
    /// For how long, from the moment when all hooks had answered.
    pub delay: Duration,
    /// When it is over, on the pool's clock.
    pub until: Timestamp,
}

impl Delay {
    pub(crate) fn new(by: Arc<str>, delay: Duration, until: Timestamp) -> Self {
        Self { by, delay, until }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put off by hook `{}` for {}", self.by, Seconds(self.delay))
    }
}

/// Slots that have no worker yet because a hook has put its start off.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DelayedStarts {
    /// How many.
    pub slots: usize,
    /// The delay of theirs that is over last.
    pub delay: Delay,
}

impl fmt::Display for DelayedStarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} without a worker, its start {}", Slots(self.slots), self.delay)
    }
}
