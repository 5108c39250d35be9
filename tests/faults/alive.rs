//! What a pool was given and has not let go of: at rest, and at the end, there must be none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is there.
#[derive(Clone, Default)]
pub struct Census(Arc<AtomicUsize>);

impl Census {
    pub fn one(&self) -> Alive {
        self.0.fetch_add(1, Ordering::AcqRel);
        Alive(self.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Counted until dropped.
pub struct Alive(Census);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Of everything that is the user's.
#[derive(Default)]
pub struct Censuses {
    pub jobs: Census,
    pub hooks: Census,
    pub policies: Census,
    pub scalers: Census,
}

impl Censuses {
    /// `None`: nothing is left but so many restart policies. Hooks are left out: one that hangs has a second to end after it was removed.
    pub fn beyond(&self, policies: usize) -> Option<String> {
        let left = [self.jobs.count(), self.policies.count(), self.scalers.count()];
        let none = left == [0, policies, 0];
        (!none).then(|| format!("jobs, restart policies, autoscalers not let go of: {left:?}"))
    }
}
