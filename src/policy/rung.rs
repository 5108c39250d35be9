//! The steps by which a job or a worker is ended.

use std::fmt;

/// A rung of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Rung {
    /// Asks the job.
    Cancel,
    /// Tells the worker to leave after its job.
    Stop,
    /// Takes the worker now.
    Kill,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Kill => "kill",
        })
    }
}
