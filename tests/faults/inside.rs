//! Jobs whose code runs, and how many of them may.

use std::collections::HashMap;

use millpond::{Inventory, WorkerId, WorkerState};
use parking_lot::Mutex;

use crate::plan::RESERVE;

/// The lane that has a reserve.
pub const RESERVED: &str = "reserved";

#[derive(Default)]
struct Bodies {
    by_no: HashMap<u64, (Option<WorkerId>, &'static str)>,
    most: usize,
}

/// See above.
#[derive(Default)]
pub struct Inside(Mutex<Bodies>);

impl Inside {
    /// A job of `lane` begins. `Some`: too many run, although by the limits there may be `max` of them, and as many more as abandoned workers
    /// have: invariants 2 and 6. Nobody leaves while that is being looked at, so an abandoned worker whose job runs is still listed as one.
    pub fn enter(
        &self,
        no: u64,
        worker: Option<WorkerId>,
        lane: &'static str,
        max: usize,
        inventory: impl FnOnce() -> Option<Inventory>,
    ) -> Option<String> {
        let mut bodies = self.0.lock();
        bodies.by_no.insert(no, (worker, lane));
        bodies.most = bodies.most.max(bodies.by_no.len());
        let fits = |all: usize, others: usize| all <= max && others <= max.saturating_sub(RESERVE);
        let count = |bodies: &Bodies, seated: &dyn Fn(Option<WorkerId>) -> bool| {
            let seated = || bodies.by_no.values().filter(|(worker, _)| seated(*worker));
            (seated().count(), seated().filter(|(_, lane)| *lane != RESERVED).count())
        };
        let (all, others) = count(&bodies, &|_| true);
        if fits(all, others) {
            return None;
        }
        let inventory = inventory()?;
        let abandoned = |worker: Option<WorkerId>| {
            let mut rows = inventory.workers.iter();
            worker.is_some_and(|id| rows.any(|row| row.worker == id && row.state == WorkerState::Abandoned))
        };
        let (all, others) = count(&bodies, &|worker| !abandoned(worker));
        (!fits(all, others)).then(|| {
            format!("{all} jobs run, {others} of them beside the reserve, limit {max}, reserve {RESERVE}\n{inventory}")
        })
    }

    pub fn leave(&self, no: u64) {
        self.0.lock().by_no.remove(&no);
    }

    /// How many run, and the most that ever did at once.
    pub fn count(&self) -> (usize, usize) {
        let bodies = self.0.lock();
        (bodies.by_no.len(), bodies.most)
    }

    /// Whose they are.
    pub fn workers(&self) -> Vec<WorkerId> {
        self.0.lock().by_no.values().filter_map(|(worker, _)| *worker).collect()
    }

    /// Forgets the most but for those who run now.
    pub fn forget_most(&self) {
        let mut bodies = self.0.lock();
        bodies.most = bodies.by_no.len();
    }
}
