//! The one message type of every pool.

use std::any::Any;
use std::time::Duration;

use ractor::RpcReplyPort;
use tokio::sync::oneshot;

use super::hook::{HookRow, HookSpec};
use super::report::{ResizeReport, RetuneReport, ShutdownReport};
use super::restart::Decision;
use super::retune::Retune;
use super::swap::NewRestartPolicy;
use super::target::{Ladder, Targets};
use crate::config::Limits;
use crate::error::ControlError;
use crate::hook::{HookChange, HookFault, Verdict};
use crate::plane::Signal;
use crate::snapshot::{Inventory, Snapshot, TerminationReport};
use crate::sync::{Arc, Timestamp};

/// What a pool's actor can be sent. Each reply should be awaited with a time limit; [`PoolExecutor`](crate::PoolExecutor) does.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolMessage {
    /// Every worker with its state, job, and since when.
    Inventory(RpcReplyPort<Inventory>),
    /// Lanes, ledger, histograms.
    Snapshot(RpcReplyPort<Snapshot>),
    /// Puts new limits in force.
    Resize(Limits, RpcReplyPort<Result<ResizeReport, ControlError>>),
    /// Changes what is in force: all of it in one step, or nothing.
    Retune(Retune, RpcReplyPort<Result<RetuneReport, ControlError>>),
    /// Admits and does not dispatch.
    Quiesce(RpcReplyPort<Result<(), ControlError>>),
    /// Dispatches again.
    Resume(RpcReplyPort<Result<(), ControlError>>),
    /// Refuses new jobs; answers when the admitted ones have run.
    Drain(RpcReplyPort<Result<(), ControlError>>),
    /// Terminates fenced targets; answers when each has a fate.
    Terminate(Targets, Ladder, RpcReplyPort<TerminationReport>),
    /// Puts another restart policy in force.
    SetRestartPolicy(NewRestartPolicy, RpcReplyPort<Result<(), ControlError>>),
    /// Drains, then ends the pool; answers after at most this long.
    Shutdown(Duration, RpcReplyPort<ShutdownReport>),
    /// Adds a hook, or puts it in the place of the one of its name.
    SetHook(HookSpec, RpcReplyPort<Result<HookChange, ControlError>>),
    /// Removes the hook of this name.
    RemoveHook(Arc<str>, RpcReplyPort<Result<(), ControlError>>),
    /// Every hook, and how it has done.
    Hooks(RpcReplyPort<Vec<HookRow>>),
    /// Any of these, and who sends it: see [`by`](Self::by).
    By(Arc<str>, Box<PoolMessage>),
    /// millpond's own.
    #[doc(hidden)]
    Internal(Internal),
}

impl PoolMessage {
    /// The same, with the name of who sends it, as by [`PoolExecutor::by`](crate::PoolExecutor::by). If it has one, that one stands.
    #[must_use]
    pub fn by(self, name: impl AsRef<str>) -> Self {
        Self::By(Arc::from(name.as_ref()), Box::new(self))
    }
}

#[cfg(feature = "cluster")]
impl ractor::Message for PoolMessage {}

/// What only millpond sends.
#[doc(hidden)]
#[derive(Debug)]
pub struct Internal(pub(crate) Command);

#[derive(Debug)]
pub(crate) enum Command {
    /// Start what `min` asks for.
    Begin,
    /// What did not fit into the last pass goes on.
    GoOn,
    /// The plane tells something.
    Signal(Signal),
    /// A side thread has begun to ask a policy the question of this number, and since when.
    Asked { question: u64, since: Timestamp },
    /// A policy has decided; `Err`: it misbehaved, with what it did.
    Decided { question: u64, decision: Result<Decision, String> },
    /// A side thread has begun to ask the autoscaler, and since when.
    ScaleAsked { round: u64, since: Timestamp },
    /// The autoscaler has answered; `Err`: it panicked, with its message.
    Scaled { round: u64, wanted: Result<usize, String> },
    /// A side thread has looked at the memory of workers: those that have too much, with how much.
    #[cfg(any(feature = "guest", feature = "process"))]
    Weighed(Vec<(crate::id::WorkerId, u64)>),
    /// A hook has answered; `None`: it let go of the question.
    Verdict { question: u64, hook: u64, verdict: Result<Verdict, HookFault> },
    /// A hook that missed notices has caught up.
    CaughtUp { hook: u64 },
    /// The runtime of the async workers is gone.
    HostGone,
    /// The last owning handle was dropped.
    Disowned,
    /// An actor is asked which pool it is.
    Attach(oneshot::Sender<Attached>),
}

impl From<Command> for PoolMessage {
    fn from(command: Command) -> Self {
        Self::Internal(Internal(command))
    }
}

/// Which pool an actor is.
pub(crate) struct Attached {
    pub(crate) pool: Arc<str>,
    pub(crate) kind: &'static str,
    /// An `Arc<Shared<B>>`.
    pub(crate) shared: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("pool", &self.pool).field("kind", &self.kind).finish_non_exhaustive()
    }
}
