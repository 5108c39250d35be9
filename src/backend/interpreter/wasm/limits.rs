//! What an instance is refused.

use wasmtime::ResourceLimiter;

use crate::error::GuestFault;

/// Says no to what passes its limits, and knows that it did.
pub(super) struct Limits {
    memory: usize,
    table: usize,
    refused: Option<Refused>,
}

#[derive(Clone, Copy)]
enum Refused {
    Memory,
    Table,
}

impl Limits {
    pub(super) fn new(memory: usize, table: usize) -> Self {
        Self { memory, table, refused: None }
    }

    /// Another job: what was refused before is not why it fails.
    pub(super) fn forget(&mut self) {
        self.refused = None;
    }

    /// Why a job failed that was refused something.
    pub(super) fn blame(&self) -> Option<GuestFault> {
        Some(match self.refused? {
            Refused::Memory => GuestFault::OutOfMemory { limit: self.memory },
            Refused::Table => GuestFault::OutOfTable { limit: self.table },
        })
    }

    fn allow(&mut self, allowed: bool, what: Refused) -> bool {
        if !allowed {
            self.refused = Some(what);
        }
        allowed
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond what the module itself says there is none, whatever the limit; and that is the module's affair.
        Ok(self.allow(desired <= self.memory, Refused::Memory) && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.allow(desired <= self.table, Refused::Table) && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The system has none, or the region reserved for it is smaller.
        self.refused.get_or_insert(Refused::Memory);
        Ok(())
    }
}
