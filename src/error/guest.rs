//! What can go wrong with a job inside an interpreter.

use std::fmt;
use std::panic::Location;

use crate::id::{JobId, WorkerId};
use crate::snapshot::{Ended, Named};
use crate::sync::Arc;

/// A job that its interpreter did not bring to its end. The pool, and every other instance, goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GuestFailed {
    /// The pool.
    pub pool: Arc<str>,
    /// The worker whose instance it was.
    pub worker: WorkerId,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// True if code of the guest's has run for it.
    pub began: bool,
    /// What went wrong.
    pub fault: GuestFault,
}

impl GuestFailed {
    /// The ledger's term for it.
    pub(crate) fn ended(&self) -> Ended {
        if self.began { Ended::Panicked } else { Ended::NotStarted }
    }
}

impl fmt::Display for GuestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, worker, job, label, submitted_from, began, fault } = self;
        let never = if *began { "" } else { "it never began: " };
        write!(f, "pool `{pool}`: {} on worker {worker}: {never}{fault}", Named(*job, label, submitted_from))
    }
}

/// What an interpreter says of a call that did not come to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GuestFault {
    /// It was refused more memory than its instance may have, and could not go on without.
    OutOfMemory {
        /// What an instance may have, in bytes.
        limit: usize,
    },
    /// It was refused more elements of a table than its instance may have, and could not go on without.
    OutOfTable {
        /// How many elements a table may have.
        limit: usize,
    },
    /// It has no room for the input that it is to be given, without having been refused any memory.
    NoRoom {
        /// How long the input is.
        bytes: u32,
    },
    /// There were as many instances as there can be at a time, and it was to have one more.
    OutOfInstances {
        /// How many there can be.
        limit: usize,
    },
    /// It has used up what a job may.
    OutOfFuel {
        /// What a job may use, in the interpreter's own units.
        fuel: u64,
    },
    /// It wrote more than it may, and was ended there.
    OutOfOutput {
        /// Where it wrote, such as `stdout`.
        stream: &'static str,
        /// How much a job may write there, in bytes.
        limit: usize,
    },
    /// It ended by an error of its own: a trap, an exception that nobody caught.
    Trapped {
        /// What the interpreter calls it.
        message: String,
        /// Where in the guest's code, if the interpreter says.
        backtrace: Option<String>,
    },
    /// The guest has nothing of that name and type.
    Unfit(String),
    /// An instance could not be made for it.
    NoInstance(String),
    /// Its worker was taken under it. For an [`Engine`](crate::interpreter::Engine) to answer when the [`Brake`](crate::interpreter::Brake) is
    /// pulled: the job's outcome says who did that, and not this.
    Interrupted,
}

impl GuestFault {
    /// True if it leaves an instance behind that stopped anywhere, with whatever was half done there.
    pub fn spoils_instance(&self) -> bool {
        !matches!(self, Self::Unfit(_) | Self::NoInstance(_) | Self::OutOfInstances { .. })
    }
}

impl fmt::Display for GuestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { limit } => {
                write!(f, "it ran out of memory: an instance may have {limit} bytes, and it asked for more")
            }
            Self::OutOfTable { limit } => {
                write!(f, "it ran out of table: a table may have {limit} elements, and it asked for more")
            }
            Self::OutOfInstances { limit } => write!(
                f,
                "no instance could be made for it: there are {limit} already, as many as the engine's limit of instances allows at a time"
            ),
            Self::NoRoom { bytes } => {
                write!(f, "it has no room for its input of {bytes} bytes: it answered so, and was refused no memory")
            }
            Self::OutOfOutput { stream, limit } => {
                write!(f, "it ran out of output: a job may write {limit} bytes to its {stream}, and it wrote more")
            }
            Self::OutOfFuel { fuel } => write!(f, "it ran out of fuel: a job may use {fuel}"),
            Self::Trapped { message, backtrace: None } => write!(f, "it trapped: {message}"),
            Self::Trapped { message, backtrace: Some(backtrace) } => write!(f, "it trapped: {message}\n{backtrace}"),
            Self::Unfit(why) => f.write_str(why),
            Self::NoInstance(why) => write!(f, "no instance could be made for it: {why}"),
            Self::Interrupted => f.write_str("it was interrupted, as its worker was taken"),
        }
    }
}

impl std::error::Error for GuestFault {}
