//! Jobs whose code runs, and how many of them may.

use std::collections::HashMap;

use millpond::{Inventory, WorkerId, WorkerState};
use parking_lot::Mutex;

use crate::plan::RESERVE;

/// The lane that has a reserve.
pub const RESERVED: &str = "reserved";

/// A job whose code runs.
#[derive(Clone, Copy)]
pub struct Body {
    pub worker: Option<WorkerId>,
    pub lane: &'static str,
    /// A child runs it, of whose end this process hears a moment late.
    pub is_remote: bool,
}

#[derive(Default)]
struct Bodies {
    by_no: HashMap<u64, Body>,
    most: usize,
}

/// See above.
#[derive(Default)]
pub struct Inside(Mutex<Bodies>);

impl Inside {
    /// A job of `lane` begins. `Some`: too many run, although by the limits there may be `max` of them, and as many more as abandoned workers
    /// have: invariants 2 and 6. Nobody leaves while that is being looked at, so an abandoned worker whose job runs is still listed as one; a child that is
    /// listed no more has been reaped, and runs nothing.
    pub fn enter(
        &self,
        no: u64,
        body: Body,
        max: usize,
        inventory: impl FnOnce() -> Option<Inventory>,
    ) -> Option<String> {
        let mut bodies = self.0.lock();
        bodies.by_no.insert(no, body);
        bodies.most = bodies.most.max(bodies.by_no.len());
        let fits = |all: usize, others: usize| all <= max && others <= max.saturating_sub(RESERVE);
        let count = |bodies: &Bodies, seated: &dyn Fn(&Body) -> bool| {
            let seated = || bodies.by_no.values().filter(|body| seated(body));
            (seated().count(), seated().filter(|body| body.lane != RESERVED).count())
        };
        let (all, others) = count(&bodies, &|_| true);
        if fits(all, others) {
            return None;
        }
        let inventory = inventory()?;
        let seated = |body: &Body| match inventory.workers.iter().find(|row| Some(row.worker) == body.worker) {
            Some(row) => row.state != WorkerState::Abandoned,
            None => !body.is_remote,
        };
        let (all, others) = count(&bodies, &seated);
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
        self.0.lock().by_no.values().filter_map(|body| body.worker).collect()
    }

    /// Forgets the most but for those who run now.
    pub fn forget_most(&self) {
        let mut bodies = self.0.lock();
        bodies.most = bodies.by_no.len();
    }
}
