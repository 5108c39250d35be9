//! The line between the guest's code and this process's, as the one thread knows it that crosses it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Brake;
use crate::error::GuestFault;
use crate::id::ClaimNo;

thread_local! {
    /// That of the worker whose thread this is.
    static HERE: RefCell<Option<Crossing>> = const { RefCell::new(None) };
}

/// Says where the code of one instance is: its [`Engine`](super::Engine) tells it as the guest's code is entered and as it is left, since the end of the pool
/// relies on that: of a job that is in the guest it says that nothing of it runs any more.
///
/// It is the worker's thread's, and cannot leave it; clones are the same one. What may be looked at from anywhere is its [`brake`](Self::brake).
#[derive(Clone)]
pub struct Crossing(Rc<Inner>);

struct Inner {
    brake: Brake,
    /// The claim whose job runs.
    claim: Cell<Option<ClaimNo>>,
    /// Code of the guest's has run since that was taken, or since its instance was made.
    entered: Cell<bool>,
}

/// A worker's thread has a crossing for as long as this lives.
pub(super) struct Lived(Crossing);

impl Crossing {
    /// For a worker whose thread this is.
    pub(super) fn live(brake: Brake) -> Lived {
        let crossing = Self(Rc::new(Inner { brake, claim: Cell::new(None), entered: Cell::new(false) }));
        HERE.set(Some(crossing.clone()));
        Lived(crossing)
    }

    /// The one of the worker whose thread this is, for a function of this process's that the guest calls; `None` on any other thread.
    pub fn here() -> Option<Self> {
        HERE.with_borrow(Clone::clone)
    }

    /// A look at that one, which takes no share in it. `f` must run nobody else's code.
    #[cfg(any(feature = "interpreter", feature = "lua"))]
    #[inline]
    pub(super) fn with_here<R>(f: impl FnOnce(&Self) -> R) -> Option<R> {
        HERE.with_borrow(|here| here.as_ref().map(f))
    }

    /// What stops the instance.
    #[inline]
    pub fn brake(&self) -> &Brake {
        &self.0.brake
    }

    /// Interpreted code runs from here on: it can be stopped at any time.
    ///
    /// A function of this process's that does nothing but wait may say so for that time, too, and [leave](Self::leave_guest) after it. A kill wakes nobody there: wait in
    /// slices, and look at the brake between them.
    ///
    /// # Errors
    ///
    /// If it must not.
    #[inline]
    pub fn enter_guest(&self) -> Result<(), GuestFault> {
        // What was seized stays so, whoever asks again. Nobody seizes between this look and the next step: the number is not there.
        if self.0.brake.has_stopped() {
            return Err(GuestFault::Interrupted);
        }
        self.0.entered.set(true);
        if let Some(claim) = self.0.claim.get() {
            self.0.brake.cell().pause(claim);
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
        match self.0.claim.get() {
            Some(claim) if !self.0.brake.cell().resume(claim) => Err(GuestFault::Interrupted),
            _ => Ok(()),
        }
    }

    /// The guest has so many bytes of memory in use: what the inventory shows ([`Facts::guest_memory`](crate::Facts::guest_memory)), and what
    /// [`Recycle::above_memory`](crate::Recycle::above_memory) goes by, as a job has left it. It stands until this is said again, or the instance is gone.
    #[inline]
    pub fn set_memory(&self, bytes: u64) {
        self.0.brake.cell().set_guest_memory(Some(bytes));
    }

    /// There is no instance any more.
    pub(super) fn forget_memory(&self) {
        self.0.brake.cell().set_guest_memory(None);
    }

    /// What its instance has in use now is what it keeps until its next job.
    pub(super) fn keep_memory(&self) {
        self.0.brake.cell().keep_guest_memory();
    }

    /// The worker takes a job into its hands, or has none any more.
    pub(super) fn set_claim(&self, claim: Option<ClaimNo>) {
        self.0.claim.set(claim);
        self.forget_entry();
    }

    /// What has run so far was not the job's own.
    pub(super) fn forget_entry(&self) {
        self.0.entered.set(false);
    }

    /// True if code of the guest's has run for the job.
    pub(super) fn was_entered(&self) -> bool {
        self.0.entered.get()
    }
}

impl Lived {
    pub(super) fn crossing(&self) -> &Crossing {
        &self.0
    }
}

/// However the worker's thread ends, nothing is left that could look at its brake.
impl Drop for Lived {
    fn drop(&mut self) {
        drop(HERE.take());
        self.0.brake().release();
    }
}

impl std::fmt::Debug for Crossing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Crossing").field(self.brake()).finish()
    }
}
