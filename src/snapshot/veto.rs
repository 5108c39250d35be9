//! Who said no, and why.

use std::fmt;

use crate::sync::Arc;

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
        let slots = if self.slots == 1 { "slot" } else { "slots" };
        write!(f, "{} {slots} without a worker, its start {}", self.slots, self.veto)
    }
}
