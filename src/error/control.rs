//! How building a pool, starting a worker, or asking a pool's actor can fail.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::{Cause, Chain, CloseReason};
use crate::config::{ConfigError, MAX_NAME};
use crate::snapshot::{Seconds, Veto};
use crate::sync::Arc;

/// Why a worker did not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refused a thread, process or the like. An I/O error that carries an error of your own comes out as
    /// [`Failed`](Self::Failed).
    #[error("the system refused the worker{}", what_to_do(.0))]
    Refused(#[source] io::Error),
    /// The initializer, or the worker's own start, failed.
    #[error("the worker's start failed")]
    Failed(#[source] Cause),
    /// The initializer, or the worker's own start, panicked.
    #[error("the worker's start panicked: {0}")]
    Panicked(String),
    /// It took longer than the start limit.
    #[error("the worker was not ready within its start limit of {}", Seconds(*.0))]
    TimedOut(Duration),
    /// A hook denied the start.
    #[error("the worker's start was {0}")]
    Vetoed(Veto),
    /// The worker ended before it was ready.
    #[error("the worker ended before it was ready")]
    Gone,
}

/// Against a lack of what other threads and processes have.
fn what_to_do(refused: &io::Error) -> &'static str {
    match refused.kind() {
        ErrorKind::WouldBlock => " (let other threads or processes end, or raise the limit on them)",
        ErrorKind::OutOfMemory => " (let others have less memory, or raise the limit on it)",
        _ => "",
    }
}

impl StartError {
    /// A start that failed for a reason of its own, whose text is read here.
    pub fn failed(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(reason.into().into())
    }

    /// The same, with whatever of it is a user's in a [`Cause`]: an I/O error that carries another was not made by the system.
    pub(crate) fn sheltered(self) -> Self {
        self.shelter(Cause::from)
    }

    /// The same on the control thread, which reads nothing of a user's.
    pub(crate) fn sheltered_unread(self) -> Self {
        self.shelter(|error| {
            let kind = error.downcast_ref().map_or(ErrorKind::Other, io::Error::kind);
            Cause::unread(error, &format!("the system is said to have refused it: {kind}"))
        })
    }

    fn shelter(self, cause: impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Cause) -> Self {
        match self {
            Self::Refused(error) if error.get_ref().is_some() => Self::Failed(cause(error.into())),
            other => other,
        }
    }

    /// This, with what it came from, in one line: nothing of a user's is read.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Failed(cause) => format!("{self}: {}", cause.text()),
            other => Chain(other).to_string(),
        }
    }
}

/// Why a pool was not built. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration contradicts itself.
    #[error("pool `{pool}` was not built: {conflict}")]
    Config {
        /// The pool; the beginning of its name, if it is that which cannot be.
        pool: Arc<str>,
        /// What contradicts what, and what to do about it.
        conflict: ConfigError,
    },
    /// Async workers need a tokio runtime, and there is none here.
    #[error("pool `{0}`: async workers need a tokio runtime: build the pool inside one, or give the builder a handle")]
    NoRuntime(Arc<str>),
    /// Children cannot be started as they are to be.
    #[cfg(feature = "process")]
    #[error("pool `{pool}`: its child processes cannot be started: {reason}")]
    Children {
        /// The pool.
        pool: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// Its interpreter is not what it should be: a module that is none, an import that nobody provides.
    #[cfg(feature = "guest")]
    #[error("pool `{pool}`: its interpreter cannot be used: {reason}")]
    Interpreter {
        /// The pool.
        pool: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// Another actor has that name in ractor's registry.
    #[error(
        "pool `{0}`: another actor of this process has that name in ractor's registry; take another, or end that one first"
    )]
    NameTaken(Arc<str>),
    /// The control thread could not be started.
    #[error("millpond's control thread could not be started")]
    ControlThread(#[source] io::Error),
    /// The pool actor did not come up, for instance because its parent was stopping.
    #[error("pool `{pool}`: its actor did not come up: {reason}")]
    Actor {
        /// The pool.
        pool: Arc<str>,
        /// What ractor said.
        reason: String,
    },
}

impl BuildError {
    /// A pool that is configured like this is not built.
    pub(crate) fn config(pool: &str, conflict: ConfigError) -> Self {
        let is_name = pool.len() <= MAX_NAME && !pool.contains('\0');
        // Not all of what may be a megabyte, nor what a terminal would not show.
        let shown = || pool.chars().filter(|char| !char.is_control()).take(32).chain(['…']).collect::<String>().into();
        Self::Config { pool: if is_name { Arc::from(pool) } else { shown() }, conflict }
    }
}

/// Why a control operation gave no answer, or refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No reply within the control limit. What was asked for may still happen.
    #[error("pool `{pool}`: no reply to {operation} within {}; it may still happen", Seconds(*limit))]
    TimedOut {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
        /// The control limit.
        limit: Duration,
    },
    /// The pool's actor is gone.
    #[error("pool `{pool}` is gone, so {operation} has nobody to answer it")]
    Closed {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
    },
    /// The change contradicts itself, or what is in force. Nothing was changed.
    #[error("pool `{pool}` cannot {operation}, and nothing was changed: {conflict}")]
    Config {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
        /// What contradicts what, and what to do about it.
        conflict: ConfigError,
    },
    /// The pool drains or has ended, and this cannot be done any more.
    #[error("pool `{pool}` cannot {operation}: {reason}")]
    TooLate {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
        /// Why.
        reason: CloseReason,
    },
    /// A hook denied it. Nothing was changed.
    #[error("pool `{pool}`: {operation} was vetoed by hook `{by}`: {reason}")]
    Vetoed {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
        /// The hook.
        by: Arc<str>,
        /// What it said.
        reason: Arc<str>,
    },
    /// While hooks were asked about it, or had it delayed, another resize or retune was asked for and has taken its place. Nothing was changed.
    #[error(
        "pool `{pool}`: {operation} was superseded by a later one while hooks were asked about it, and nothing of it was changed; \
         look at what is in force, and ask again for what is still wanted"
    )]
    Superseded {
        /// The pool.
        pool: Arc<str>,
        /// What was asked.
        operation: &'static str,
    },
    /// Nothing that was selected exists.
    #[error("pool `{pool}` has no {what}")]
    Unknown {
        /// The pool.
        pool: Arc<str>,
        /// What was asked for, such as "lane `dns`" or "worker 3.7".
        what: String,
    },
}

/// Why an actor did not turn out to be the pool that was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// No actor has that name.
    #[error("no actor is registered as `{0}`")]
    NotRegistered(String),
    /// The pool of that name has ended, and whoever supervises it has not started another yet.
    #[error("pool `{0}` has ended, and no other is registered under its name yet")]
    Between(String),
    /// The actor takes other messages than a pool's.
    #[error("the actor `{0}` is not a pool")]
    NotAPool(String),
    /// It is a pool of another kind.
    #[error("pool `{pool}` is a {found}, not a {wanted}")]
    OtherKind {
        /// The pool.
        pool: Arc<str>,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The actor is dead, or did not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error that nobody may read.
    #[derive(Debug)]
    struct Secret;

    impl std::fmt::Display for Secret {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("it was read")
        }
    }

    impl std::error::Error for Secret {}

    /// As a backend hands it to the control thread.
    #[test]
    fn a_refusal_with_an_error_of_a_users_is_told_without_being_read() {
        let refused = StartError::Refused(io::Error::new(io::ErrorKind::WouldBlock, Secret)).sheltered_unread();
        let told = "the worker's start failed: the system is said to have refused it: operation would block";
        assert_eq!(refused.told(), told);
        let refused = StartError::Refused(io::ErrorKind::WouldBlock.into()).sheltered_unread();
        let advice = "let other threads or processes end, or raise the limit on them";
        assert_eq!(refused.told(), format!("the system refused the worker ({advice}): operation would block"));
        let missing = StartError::Refused(io::ErrorKind::NotFound.into());
        assert_eq!(missing.told(), "the system refused the worker: entity not found", "no limit is in its way");
    }
}
