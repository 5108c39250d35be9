//! A pool, for a caller who says who it is.

use ractor::ActorRef;

use super::{Blocking, Limit, PoolExecutor, TimeLimit};
use crate::backend::Capabilities;
use crate::control::{EventStream, PoolMessage};
use crate::id::WorkerId;
use crate::snapshot::{Health, Inventory, Saturation, Snapshot};
use crate::sync::Arc;

/// See [`PoolExecutor::by`].
#[derive(Clone)]
pub struct Caller<'a> {
    pool: &'a dyn PoolExecutor,
    name: Arc<str>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(pool: &'a dyn PoolExecutor, name: &str) -> Self {
        Self { pool, name: Arc::from(name) }
    }

    /// The control operations for synchronous callers, without a trait to import.
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking(self)
    }
}

impl PoolExecutor for Caller<'_> {
    fn name(&self) -> &str {
        self.pool.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.pool.capabilities()
    }

    fn saturation(&self) -> Saturation {
        self.pool.saturation()
    }

    fn health(&self) -> Health {
        self.pool.health()
    }

    fn gate(&self) -> &'static str {
        self.pool.gate()
    }

    fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    fn inventory_now(&self) -> Inventory {
        self.pool.inventory_now()
    }

    fn actor(&self) -> ActorRef<PoolMessage> {
        self.pool.actor()
    }

    fn events(&self) -> EventStream {
        self.pool.events()
    }

    fn limit(&self, limit: TimeLimit) -> Limit {
        self.pool.limit(limit)
    }

    fn abort(&self) {
        self.pool.abort();
    }

    fn as_dyn(&self) -> &dyn PoolExecutor {
        self
    }

    fn caller(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn lanes(&self) -> Vec<Arc<str>> {
        self.pool.lanes()
    }

    fn has_had(&self, worker: WorkerId) -> bool {
        self.pool.has_had(worker)
    }
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("pool", &self.pool.name()).field("name", &self.name).finish()
    }
}
