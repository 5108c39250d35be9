//! What can go wrong between a job and a process that is to run it.

use std::fmt;
use std::panic::Location;

use crate::id::JobId;
use crate::snapshot::{Ended, Named};
use crate::sync::Arc;

/// A job that could not be sent to a child process, or its result not be had from there. Its worker goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransferFailed {
    /// The pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// What went wrong.
    pub fault: TransferFault,
}

impl TransferFailed {
    /// Whether it never began, or its result is lost.
    pub(crate) fn ended(&self) -> Ended {
        match self.fault {
            TransferFault::NotInExecutable
            | TransferFault::Arguments(_)
            | TransferFault::ArgumentsTooLarge { .. }
            | TransferFault::ArgumentsUnknown(_) => Ended::NotStarted,
            TransferFault::Result(_) | TransferFault::ResultTooLarge { .. } | TransferFault::ResultUnknown(_) => {
                Ended::Lost
            }
        }
    }
}

impl fmt::Display for TransferFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, job, label, submitted_from, fault } = self;
        write!(f, "pool `{pool}`: {}: {fault}", Named(*job, label, submitted_from))
    }
}

/// What went wrong on the way to a child process, or back.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransferFault {
    /// The function is a shared library's, so that nobody knows where it lies in the child. The job never began.
    NotInExecutable,
    /// Its arguments cannot be serialised. The job never began.
    Arguments(String),
    /// Its arguments are larger than a frame may be. The job never began.
    ArgumentsTooLarge {
        /// How large they are.
        bytes: usize,
        /// How large a frame's body may be.
        limit: u32,
    },
    /// The child did not understand the arguments. The job never began.
    ArgumentsUnknown(String),
    /// The job has run, and its result cannot be serialised.
    Result(String),
    /// The job has run, and its result is larger than a frame may be.
    ResultTooLarge {
        /// What the child says of it.
        said: String,
    },
    /// The job has run, and this process does not understand its result.
    ResultUnknown(String),
}

impl fmt::Display for TransferFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInExecutable => f.write_str("it never began: its function is not in this executable"),
            Self::Arguments(error) => write!(f, "it never began: its arguments cannot be serialised: {error}"),
            Self::ArgumentsTooLarge { bytes, limit } => {
                write!(f, "it never began: its arguments take {bytes} bytes, where {limit} are allowed")
            }
            Self::ArgumentsUnknown(error) => write!(f, "it never began: the child does not understand it: {error}"),
            Self::Result(error) => write!(f, "its result cannot be serialised: {error}"),
            Self::ResultTooLarge { said } => write!(f, "its result is too large: {said}"),
            Self::ResultUnknown(error) => write!(f, "its result is not understood: {error}"),
        }
    }
}
