//! A job: its one allocation, its outcome, its handle, and what it knows of itself.

mod cell;
mod context;
mod handle;
mod header;
mod key;
#[cfg(all(test, millpond_loom))]
mod loom;
mod options;
mod origin;
mod outcome;
mod panics;
mod recall;
mod redeliveries;
mod share;
mod shares;
mod span;
mod waits;

use std::sync::atomic as atomics;

pub use cell::{Envelope, JobCell};
pub use context::JobContext;
pub use handle::{JobHandle, JobStatus};
pub use header::Header;
pub use key::{ClaimKey, Ran};
pub use options::JobOptions;
pub use share::Share;

pub(crate) use cell::Settles;
pub(crate) use context::{InHand, Runs, inside};
pub(crate) use header::{Submission, Terms};
pub(crate) use key::{Owed, Settlement};
pub(crate) use options::{Deadline, PLAIN};
pub(crate) use origin::Origin;
pub(crate) use outcome::{Asked, Owner};
#[cfg(any(feature = "process", feature = "testing"))]
pub(crate) use panics::Caught;
#[cfg(feature = "process")]
pub(crate) use panics::want_backtraces;
pub(crate) use panics::{catch, guarded_waker, wake, wake_guarded};
pub(crate) use recall::{PoolNo, Recalls, Registered};
pub(crate) use redeliveries::Redeliveries;
#[cfg(any(feature = "process", millpond_loom))]
pub(crate) use span::{forget_submitter, span_ahead};
pub(crate) use span::{outside_spans, span_of, tell_end};
#[cfg(not(millpond_loom))]
pub(crate) use waits::watched;
pub(crate) use waits::{Stands, Suspended, Target, look_again, note};
