//! Autoscalers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{Autoscaler, Limits, Snapshot};

use crate::alive::Alive;
use crate::plan::Scale;
use crate::site::{Latch, Shared};

/// What one that panics says.
const AS_TOLD: &str = "an autoscaler, as it was told";

/// Wants workers by one rule.
pub struct Sizer {
    rule: Scale,
    latch: Latch,
    asked: AtomicUsize,
    shared: Arc<Shared>,
    _alive: Alive,
}

impl Sizer {
    pub fn new(rule: Scale, shared: &Arc<Shared>) -> Self {
        let alive = shared.alive.scalers.one();
        Self { rule, latch: shared.latch(), asked: AtomicUsize::new(0), shared: shared.clone(), _alive: alive }
    }
}

impl Autoscaler for Sizer {
    fn scale(&self, _snapshot: &Snapshot, bounds: Limits) -> usize {
        self.shared.tally.note(format!("autoscaler asked: {:?}", self.rule));
        match self.rule {
            Scale::Wavers => bounds.min + self.asked.fetch_add(1, Ordering::Relaxed) % 3,
            Scale::WantsAll => usize::MAX,
            Scale::WantsNone => 0,
            Scale::Panics => panic!("{AS_TOLD}"),
            Scale::Hangs => {
                self.latch.block();
                bounds.min
            }
            Scale::CallsBack => {
                self.shared.look();
                bounds.max
            }
        }
    }
}
