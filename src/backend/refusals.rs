//! Threads that the system refuses, which only tests can have it do.

use std::io;

#[cfg(feature = "testing")]
use crate::sync::{Arc, AtomicUsize, Ordering};

/// How many of the threads to come are refused; a clone counts down with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(#[cfg(feature = "testing")] pub(crate) Arc<AtomicUsize>);

impl Refusals {
    /// Fails as the system does when it has no more threads to give.
    pub(crate) fn check(&self) -> io::Result<()> {
        #[cfg(feature = "testing")]
        {
            let refuse = |left: usize| left.checked_sub(1);
            if self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, refuse).is_ok() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }
}
