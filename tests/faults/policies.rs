//! Restart policies that misbehave.

use std::sync::Arc;
use std::time::Duration;

use millpond::{Exit, Restart, RestartPolicy, SlotHistory, Timestamp};

use crate::plan::Rule;
use crate::site::{Latch, Shared};

const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Decides by one rule.
pub struct Moody {
    rule: Rule,
    latch: Latch,
    shared: Arc<Shared>,
}

impl Moody {
    pub fn new(rule: Rule, shared: &Arc<Shared>) -> Self {
        Self { rule, latch: shared.latch(), shared: shared.clone() }
    }
}

impl RestartPolicy for Moody {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        match self.rule {
            Rule::Sound => {}
            Rule::AtOnce => return Restart::After(Duration::ZERO),
            Rule::CoolsDown => return Restart::CoolDown(Duration::from_millis(5)),
            Rule::GivesUp => return Restart::Never,
            Rule::Panics => panic!("as it was told"),
            Rule::Hangs => self.latch.block(),
            Rule::Nonsense => return Restart::After(A_CENTURY),
            Rule::CallsBack => self.shared.look(),
        }
        Restart::After(Duration::from_millis(1))
    }
}
