//! A worker that is a process of its own, as its cell sees it.

use super::Cell;
use crate::snapshot::Facts;
#[cfg(feature = "process")]
use crate::sync::Arc;

/// A worker that is a process of its own. Only the looks at what it uses may wait, and they hold nothing that a kill needs.
pub(crate) trait InProcess: Send + Sync {
    /// Ends its code at any instruction.
    fn end_now(&self);
    /// Has it told that it is to leave after its job. It is told in any case when that is over.
    fn leave(&self);
    /// Adds what the system says of it now, and what it has said itself.
    fn look(&self, facts: &mut Facts);
    /// The memory that it has in use, in bytes, if the system says.
    #[cfg(feature = "process")]
    fn resident_memory(&self) -> Option<u64>;
}

impl Cell {
    /// The worker is a process. Called once, by the backend.
    #[cfg(feature = "process")]
    pub(crate) fn set_process(&self, process: Arc<dyn InProcess>) {
        let _ = self.process.set(process);
    }

    /// Ends the worker's code at once, wherever it is, if it is a process.
    pub(crate) fn end_now(&self) {
        if let Some(process) = self.process.get() {
            process.end_now();
        }
    }

    /// The memory that its process has in use, or its guest from job to job, in bytes. Not for the control thread.
    #[cfg(any(feature = "guest", feature = "process"))]
    pub(crate) fn memory_in_use(&self) -> Option<u64> {
        #[cfg(feature = "process")]
        if let Some(process) = self.process.get() {
            return process.resident_memory();
        }
        self.guest_keeps()
    }

    /// Has its process told now, while it has a job, that it is to leave after it.
    pub(crate) fn tell_to_leave(&self) {
        if let Some(process) = self.process.get() {
            process.leave();
        }
    }

    /// The number of its process, if it has one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.facts.get()?.pid
    }
}
