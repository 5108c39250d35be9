//! What stops one instance, wherever its code is.

use super::ticker;
use crate::error::GuestFault;
use crate::id::ClaimNo;
use crate::job::catch;
use crate::slot::Cell;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// Stops the code of one instance. An [`Engine`](super::Engine) has the instance look at it: at loops and calls of the guest's code, and as that code
/// calls into this process and comes back.
///
/// Clones are the same brake.
#[derive(Clone)]
pub struct Brake(Arc<Inner>);

struct Inner {
    cell: Arc<Cell>,
    pulled: AtomicBool,
    /// There is nothing left that could look at it.
    over: AtomicBool,
    /// The claim whose job runs; 0 for none.
    claim: AtomicU64,
    /// Code of the guest's has run since that was taken, or since its instance was made.
    entered: AtomicBool,
    prod: Box<dyn Fn() + Send + Sync>,
}

/// A brake that was pulled, until its worker has ended.
pub(super) struct Pulled(Arc<Inner>);

impl Brake {
    pub(super) fn new(cell: Arc<Cell>, prod: impl Fn() + Send + Sync + 'static) -> Self {
        let no = || AtomicBool::new(false);
        let (pulled, over, entered, claim) = (no(), no(), no(), AtomicU64::new(0));
        Self(Arc::new(Inner { cell, pulled, over, claim, entered, prod: Box::new(prod) }))
    }

    /// True if the instance's code must not go on: whatever it is in ends with [`GuestFault::Interrupted`].
    #[inline]
    pub fn is_pulled(&self) -> bool {
        self.0.pulled.load(Ordering::Acquire)
    }

    /// The same, or the job has its outcome, by somebody who relies on it that nothing of it runs any more.
    #[inline]
    pub(super) fn has_stopped(&self) -> bool {
        self.is_pulled() || self.0.cell.is_seized()
    }

    /// Interpreted code runs from here on, on the worker's own thread: it can be stopped at any time.
    ///
    /// # Errors
    ///
    /// If it must not.
    #[inline]
    pub fn enter_guest(&self) -> Result<(), GuestFault> {
        // What was seized stays so, whoever asks again. Nobody seizes between this look and the next step: the number is not there.
        if self.has_stopped() {
            return Err(GuestFault::Interrupted);
        }
        self.0.entered.store(true, Ordering::Relaxed);
        if let Some(claim) = self.claim() {
            self.0.cell.pause(claim);
        }
        Ok(())
    }

    /// Interpreted code has called into this process, or is over: what runs from here on cannot be stopped.
    ///
    /// # Errors
    ///
    /// If the job has its outcome by now, by somebody who relies on it that nothing of it runs any more.
    #[inline]
    pub fn leave_guest(&self) -> Result<(), GuestFault> {
        match self.claim() {
            Some(claim) if !self.0.cell.resume(claim) => Err(GuestFault::Interrupted),
            _ => Ok(()),
        }
    }

    fn claim(&self) -> Option<ClaimNo> {
        // The worker's own thread alone writes and reads it.
        let claim = self.0.claim.load(Ordering::Relaxed);
        (claim != 0).then_some(ClaimNo(claim))
    }

    /// The worker takes a job into its hands, or has none any more.
    pub(super) fn set_claim(&self, claim: Option<ClaimNo>) {
        self.0.claim.store(claim.map_or(0, |claim| claim.0), Ordering::Relaxed);
        self.forget_entry();
    }

    /// What has run so far was not the job's own.
    pub(super) fn forget_entry(&self) {
        self.0.entered.store(false, Ordering::Relaxed);
    }

    /// True if code of the guest's has run for the job. Asked on the worker's own thread.
    pub(super) fn was_entered(&self) -> bool {
        self.0.entered.load(Ordering::Relaxed)
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
