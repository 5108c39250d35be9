//! What an instance is refused.

use wasmtime::ResourceLimiter;

use crate::backend::interpreter::Crossing;
use crate::error::GuestFault;

/// Says no to what passes its limits, and knows that it did. An instance may have several memories, and several tables: they count together.
pub(super) struct Limits {
    memory: Share,
    table: Share,
    refused: Option<Refused>,
}

/// What there may be of something, and what there is.
struct Share {
    limit: usize,
    used: usize,
    /// What the last growth was to add, in case that fails.
    added: usize,
}

impl Share {
    fn of(limit: usize) -> Self {
        Self { limit, used: 0, added: 0 }
    }

    /// True if it may grow so.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        self.added = desired.saturating_sub(current);
        let fits = self.used.checked_add(self.added).is_some_and(|used| used <= self.limit);
        if !fits {
            self.added = 0;
        }
        self.used += self.added;
        fits
    }

    /// It did not.
    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.added);
    }
}

#[derive(Clone, Copy)]
enum Refused {
    Memory,
    Table,
}

impl Limits {
    pub(super) fn new(memory: usize, table: usize) -> Self {
        Self { memory: Share::of(memory), table: Share::of(table), refused: None }
    }

    /// Says in the inventory how much memory there is.
    fn tell(&self) {
        Crossing::with_here(|crossing| crossing.set_memory(self.memory.used as u64));
    }

    /// Another job: what was refused before is not why it fails.
    pub(super) fn forget(&mut self) {
        self.refused = None;
    }

    /// Why a job failed that was refused something.
    pub(super) fn blame(&self) -> Option<GuestFault> {
        Some(match self.refused? {
            Refused::Memory => GuestFault::OutOfMemory { limit: self.memory.limit },
            Refused::Table => GuestFault::OutOfTable { limit: self.table.limit },
        })
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond what the module itself says there is none, whatever the limit; and that is the module's affair.
        let fits = self.memory.grow(current, desired);
        if !fits {
            self.refused = Some(Refused::Memory);
        }
        let possible = maximum.is_none_or(|maximum| desired <= maximum);
        if !possible {
            self.memory.take_back();
        }
        self.tell();
        Ok(fits && possible)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = self.table.grow(current, desired);
        if !fits {
            self.refused = Some(Refused::Table);
        }
        let possible = maximum.is_none_or(|maximum| desired <= maximum);
        if !possible {
            self.table.take_back();
        }
        Ok(fits && possible)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The system has none, or the region reserved for it is smaller.
        self.memory.take_back();
        self.tell();
        self.refused.get_or_insert(Refused::Memory);
        Ok(())
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Nothing is taken back: of a growth that cannot even be counted wasmtime tells this alone, and a growth before it would be forgotten.
        self.refused.get_or_insert(Refused::Table);
        Ok(())
    }
}
