//! How a handle finds its pool: by number. A share in the pool would be counted up and down for each job, on a line that all
//! submitters pass around; a number costs nothing, and a pool that is gone has written every outcome.

use super::Share;
use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::Envelope;
#[cfg(not(millpond_loom))]
use super::Header;
use crate::error::Deadlock;
use crate::id::LaneId;
use crate::sync::{Arc, Weak};

/// The plane, seen from a handle.
pub(crate) trait Recalls: Send + Sync {
    fn name(&self) -> Arc<str>;

    fn lane_name(&self, lane: LaneId) -> Arc<str>;

    /// True if no lane has a right to seats of its own.
    fn is_plain(&self) -> bool;

    /// True if a job of `lane` could start some time, if so many workers of each lane never came free, and so many abandoned ones never
    /// returned, and all others did: by what there is, and what may be started. With the pool's lock, so that no worker on its way from one
    /// state to the next is counted twice.
    fn could_start(&self, lane: LaneId, held: &[usize], abandoned: usize) -> bool;

    /// Tells whoever watches the pool of a deadlock that it was part of.
    fn report(&self, deadlock: &Arc<Deadlock>);

    /// Ends `job` as cancelled if no worker has it yet.
    fn recall(&self, job: &Share<dyn Envelope>);

    /// True if waiting for this pool's jobs would block the only thread of the runtime that the caller runs on.
    fn would_block(&self) -> bool;

    /// Stays awake for a moment, until `job` is done, where it is the only one of its pool: that is cheaper than to sleep and be woken, if
    /// the job is short, and takes a core from nobody's job.
    #[cfg(not(millpond_loom))]
    fn spin_for(&self, _job: &Header) {}
}

/// A pool's number: lasting, and given once in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PoolNo(u64);

struct Register {
    next: u64,
    pools: BTreeMap<u64, Weak<dyn Recalls>>,
}

/// Not loom's lock: nothing of a model runs while it is held.
static REGISTER: RwLock<Register> = RwLock::new(Register { next: 0, pools: BTreeMap::new() });

impl PoolNo {
    /// No pool has this number.
    #[cfg(all(test, not(millpond_loom)))]
    pub(crate) const NOBODY: Self = Self(u64::MAX);

    /// The pool, while it is there.
    pub(crate) fn find(self) -> Option<Arc<dyn Recalls>> {
        REGISTER.read().pools.get(&self.0)?.upgrade()
    }
}

/// A pool's entry in the register, which leaves with the pool.
#[derive(Debug)]
pub(crate) struct Registered(PoolNo);

impl Registered {
    pub(crate) fn new(pool: Weak<dyn Recalls>) -> Self {
        let mut register = REGISTER.write();
        let number = register.next;
        register.next += 1;
        register.pools.insert(number, pool);
        Self(PoolNo(number))
    }

    pub(crate) fn number(&self) -> PoolNo {
        self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Out of the lock: it is the last weak reference that gives the pool's memory back.
        let entry = REGISTER.write().pools.remove(&self.0.0);
        drop(entry);
    }
}
