//! What stops one instance, wherever its code is.

use super::ticker;
use crate::job::catch;
use crate::slot::Cell;
use crate::sync::{Arc, AtomicBool, Ordering};

/// Stops the code of one instance. An [`Engine`](super::Engine) has the instance look at it, at loops and calls of the guest's code; as that code calls into
/// this process and comes back, its [`Crossing`](super::Crossing) does.
///
/// Clones are the same brake, and may be looked at from any thread.
#[derive(Clone)]
pub struct Brake(Arc<Inner>);

struct Inner {
    cell: Arc<Cell>,
    pulled: AtomicBool,
    /// There is nothing left that could look at it.
    over: AtomicBool,
    prod: Box<dyn Fn() + Send + Sync>,
}

/// A brake that was pulled, until its worker has ended.
pub(super) struct Pulled(Arc<Inner>);

impl Brake {
    pub(super) fn new(cell: Arc<Cell>, prod: impl Fn() + Send + Sync + 'static) -> Self {
        let (pulled, over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { cell, pulled, over, prod: Box::new(prod) }))
    }

    /// True if the instance's code must not go on: whatever it is in ends with [`GuestFault::Interrupted`](crate::GuestFault::Interrupted).
    #[inline]
    pub fn is_pulled(&self) -> bool {
        self.0.pulled.load(Ordering::Acquire)
    }

    /// The same, or the job has its outcome, by somebody who relies on it that nothing of it runs any more.
    #[inline]
    pub(super) fn has_stopped(&self) -> bool {
        self.is_pulled() || self.0.cell.is_seized()
    }

    /// What the worker shows of its job.
    #[inline]
    pub(super) fn cell(&self) -> &Cell {
        &self.0.cell
    }

    /// From any thread. The instance stops at its next look, which it is made to take until its worker has ended.
    pub(super) fn pull(&self) {
        // Release pairs with the look: what it was pulled for is seen by whoever stops.
        if !self.0.pulled.swap(true, Ordering::AcqRel) {
            ticker::watch(Pulled(self.0.clone()));
            // An engine's code, on whatever thread this is.
            if let Err(caught) = catch(|| (self.0.prod)()) {
                tracing::error!(worker = %self.0.cell.id, "an interpreter panicked as it was prodded: {}", caught.message);
            }
        }
    }

    /// The worker's thread has no instance any more.
    pub(super) fn release(&self) {
        self.0.over.store(true, Ordering::Release);
    }
}

impl Pulled {
    /// Has it looked at again; false: nobody is there who could.
    pub(super) fn prod(&self) -> bool {
        let over = self.0.over.load(Ordering::Acquire);
        if !over {
            (self.0.prod)();
        }
        !over
    }
}

impl std::fmt::Debug for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brake").field("worker", &self.0.cell.id).field("is_pulled", &self.is_pulled()).finish()
    }
}
