//! Restart policies that misbehave.

use std::sync::Arc;
use std::time::Duration;

use millpond::{Exit, Restart, RestartPolicy, SlotHistory, Timestamp};

use crate::alive::Alive;
use crate::plan::Rule;
use crate::site::{Latch, Shared};

/// What one that panics says.
const AS_TOLD: &str = "a restart policy, as it was told";
const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Decides by one rule.
pub struct Moody {
    rule: Rule,
    latch: Latch,
    shared: Arc<Shared>,
    _alive: Alive,
}

impl Moody {
    pub fn new(rule: Rule, shared: &Arc<Shared>) -> Self {
        Self { rule, latch: shared.latch(), shared: shared.clone(), _alive: shared.alive.policies.one() }
    }
}

impl RestartPolicy for Moody {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.shared.tally.note(format!("restart policy asked: {:?}", self.rule));
        match self.rule {
            Rule::Sound => {}
            Rule::AtOnce => return Restart::After(Duration::ZERO),
            Rule::CoolsDown => return Restart::CoolDown(Duration::from_millis(5)),
            Rule::GivesUp => return Restart::Never,
            Rule::Panics => panic!("{AS_TOLD}"),
            Rule::Hangs => self.latch.block(),
            Rule::Nonsense => return Restart::After(A_CENTURY),
            Rule::CallsBack => self.shared.look(),
        }
        Restart::After(Duration::from_millis(1))
    }
}
