//! What an operation can answer, with the scene that explains it. One type per operation.

mod cause;
mod control;
mod deadlock;
#[cfg(feature = "process")]
mod death;
mod delivery;
#[cfg(feature = "guest")]
mod guest;
mod job;
mod reject;
#[cfg(feature = "process")]
mod transfer;

pub use cause::Cause;
pub use control::{AttachError, BuildError, ControlError, StartError};
pub use deadlock::{Deadlock, NestedWait, WaitsFor};
#[cfg(feature = "process")]
pub use death::{Death, DeathCause};
pub use delivery::{DeadLetter, Delivery, Payload};
#[cfg(feature = "guest")]
pub use guest::{GuestFailed, GuestFault};
pub use job::{
    CancelledJob, JobError, JoinError, KilledJob, LimitKind, NotStarted, PanicReport, StartFailed, TimedOut,
};
pub use reject::{RejectReason, Rejected};
#[cfg(feature = "process")]
pub use transfer::{TransferFailed, TransferFault};

use std::fmt;
use std::time::Duration;

use crate::snapshot::Seconds;
use crate::sync::Arc;

/// What was waited for has not come within the time that the caller waits for it. It may come yet: wait again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("not within {}", Seconds(*limit))]
pub struct NotYet {
    /// How long the caller waited.
    pub limit: Duration,
}

/// Why a pool takes no more jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// It drains: admitted jobs still run.
    Draining,
    /// It was shut down.
    Shutdown,
    /// Its actor ended: stopped, killed or failed.
    ActorGone,
    /// The runtime that hosted its async workers is gone.
    RuntimeGone,
    /// A restart policy gave it up, with the reason.
    Escalated(Arc<str>),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("it drains"),
            Self::Shutdown => f.write_str("it was shut down"),
            Self::ActorGone => f.write_str("its actor ended"),
            Self::RuntimeGone => f.write_str("the runtime of its workers is gone"),
            Self::Escalated(reason) => write!(f, "its restart policy gave it up: {reason}"),
        }
    }
}

/// No error comes from more than this; one that says that it comes from itself would have no end.
const MOST_SOURCES: usize = 32;

/// An error and all that it came from, in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        for _ in 0..MOST_SOURCES {
            let Some(error) = source else { return Ok(()) };
            write!(f, ": {error}")?;
            source = error.source();
        }
        if source.is_some() { f.write_str(": …") } else { Ok(()) }
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("round and round")]
    struct Circle;

    /// Says that it comes from whatever it was given.
    #[derive(Debug)]
    struct Of(&'static dyn std::error::Error);

    impl fmt::Display for Of {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("of")
        }
    }

    impl std::error::Error for Of {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(self.0)
        }
    }

    #[derive(Debug)]
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }

    impl std::error::Error for Endless {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&Endless)
        }
    }

    #[test]
    fn a_chain_of_errors_is_told_to_its_end_if_it_has_one() {
        assert_eq!(Chain(&Of(&Circle)).to_string(), "of: round and round");
        let endless = Chain(&Endless).to_string();
        assert!(endless.starts_with("again: again") && endless.ends_with("again: …"), "{endless}");
    }
}
