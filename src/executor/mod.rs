//! What every pool can be asked.

mod blocking;
mod caller;
mod dynamic;

pub use blocking::Blocking;
pub use caller::Caller;
pub use dynamic::{DynExecutor, DynSubmitter};

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use crate::backend::Capabilities;
use crate::config::Limits;
use crate::control::{
    EventStream, HookRow, HookSpec, Ladder, NewRestartPolicy, PoolMessage, ResizeReport, Retune, RetuneReport, Select,
    ShutdownReport, Targets,
};
use crate::error::{ControlError, Rejected};
use crate::hook::HookChange;
use crate::id::WorkerId;
use crate::job::{JobHandle, guarded_waker};
use crate::plane::Alarm;
use crate::snapshot::{Health, Inventory, Saturation, Snapshot, TerminationReport};
use crate::sync::Arc;

/// Accepts jobs of type `J`: what `concurrent.futures.Executor` is to Python.
///
/// For code that is generic over pools. With a pool in hand, its own `submit` infers more.
pub trait Executor<J>: Send + Sync {
    /// What a job gives.
    type Output: Send + 'static;

    /// Admits `job` now. Never blocks, and never overtakes those who wait.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    fn try_submit(&self, job: J) -> Result<JobHandle<Self::Output>, Rejected<J>>;

    /// Waits at the gate, at most for the lane's admission limit.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason. Inside a job, among them that the wait would never end:
    /// [`RejectReason::Deadlock`](crate::RejectReason::Deadlock).
    ///
    /// # Wakers
    ///
    /// The task's waker is called with no lock held, by whoever has made room, or ends the wait: another submitter, a worker, or millpond's control thread. It has to return at once, as
    /// those of runtimes do: one that blocks there holds up control of all pools of the process. One that panics is reported, and harms nobody.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    fn submit(&self, job: J) -> impl Future<Output = Result<JobHandle<Self::Output>, Rejected<J>>> + Send
    where
        Self: Sized;

    /// The same for synchronous callers.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason; that can be that waiting here would block the only thread of a runtime.
    fn submit_blocking(&self, job: J) -> Result<JobHandle<Self::Output>, Rejected<J>>;
}

/// How long to wait for a control reply. The default is five seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeLimit(pub Duration);

impl TimeLimit {
    /// This many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// This many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl Default for TimeLimit {
    fn default() -> Self {
        Self::secs(5)
    }
}

impl From<Duration> for TimeLimit {
    fn from(limit: Duration) -> Self {
        Self(limit)
    }
}

/// A control limit that runs, on the pool's own clock. Opaque.
#[doc(hidden)]
#[derive(Debug)]
pub struct Limit(pub(crate) Arc<Alarm>);

/// Any pool, whatever runs its jobs. `Arc<dyn PoolExecutor>` goes into a registry or a dashboard.
///
/// Control operations go to the pool's actor by message, and answer within their limit however busy the workers are. They
/// are cancel safe: a dropped future leaves the reply unread; what was asked for may still happen.
///
/// Implemented by millpond's pools; implement [`Backend`](crate::Backend) for a pool of another kind.
#[async_trait]
pub trait PoolExecutor: Send + Sync {
    /// The pool's name, in ractor's registry too.
    fn name(&self) -> &str;

    /// How far this kind of pool goes.
    fn capabilities(&self) -> Capabilities;

    /// How full it is: fixed counters, no lock, no allocation.
    fn saturation(&self) -> Saturation;

    /// Whether it can do its work: what [`snapshot`](Self::snapshot) says of that, without a look at each worker.
    fn health(&self) -> Health;

    /// The state of its gate, as a word: open, quiesced, draining or closed. What the snapshot says of that, without a look at each worker.
    fn gate(&self) -> &'static str;

    /// Lanes, ledger, ages and histograms, read in the caller.
    fn snapshot(&self) -> Snapshot;

    /// Every worker, read in the caller: answers whatever the load, and whatever became of the control thread.
    fn inventory_now(&self) -> Inventory;

    /// The pool's actor; one message type for every pool.
    fn actor(&self) -> ActorRef<PoolMessage>;

    /// What happens to the pool from now on, bounded: a slow reader is told how much it missed.
    fn events(&self) -> EventStream;

    /// The control operations for synchronous callers.
    fn blocking(&self) -> Blocking<'_> {
        Blocking(self.as_dyn())
    }

    /// The same pool, for a caller who says who it is: what is asked for through this is put down to `name` in events, in what hooks are
    /// asked and told, in the log, and in why a worker is gone. Nobody checks names. At most 256 bytes of one are kept; an empty one is none.
    ///
    /// ```
    /// use millpond::{Limits, PoolEvent, PoolExecutor, ThreadPool, TimeLimit};
    ///
    /// let pool = ThreadPool::builder("io").limits(Limits::fixed(1)).build()?;
    /// let mut events = pool.events();
    /// pool.by("night shift").blocking().resize(Limits::fixed(2), TimeLimit::secs(5))?;
    /// let resized = std::iter::from_fn(|| events.next_blocking()).find(|event| matches!(event, PoolEvent::Resized { .. }));
    /// assert!(matches!(resized, Some(PoolEvent::Resized { by, .. }) if by.name() == Some("night shift")));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    fn by(&self, name: &str) -> Caller<'_> {
        Caller::new(self.as_dyn(), name)
    }

    /// Ends the pool at once, in the caller: the gate closes, every job gets its outcome, and what still runs is killed, or
    /// abandoned and listed by [`orphans`](crate::orphans). Needs no answer from the pool's actor, so it works when nothing else does.
    ///
    /// It waits for nobody, so a job ends as killed only if it is certain to run no more: a future at an `await`, which is dropped there.
    /// One that is being polled at this moment ends as abandoned, and is listed until it returns or yields.
    fn abort(&self);

    #[doc(hidden)]
    fn limit(&self, limit: TimeLimit) -> Limit;

    /// The same, its kind forgotten.
    #[doc(hidden)]
    fn as_dyn(&self) -> &dyn PoolExecutor;

    /// Who asks, if they said so.
    #[doc(hidden)]
    fn caller(&self) -> Option<&str> {
        None
    }

    #[doc(hidden)]
    fn lanes(&self) -> Vec<Arc<str>>;

    /// True if there is or ever was this incarnation.
    #[doc(hidden)]
    fn has_had(&self, worker: WorkerId) -> bool;

    /// Resolves a selector into fenced targets, from an inventory taken now.
    ///
    /// # Errors
    ///
    /// If it names a lane that there is not, or a worker that there never was. A worker that is gone comes back as a target, and is
    /// reported as `Stale`; so does a job, which is reported as `Stale` or, once it has ended, `Finished`.
    fn select(&self, select: &Select) -> Result<Targets, ControlError> {
        let unknown = |what: String| ControlError::Unknown { pool: Arc::from(self.name()), what };
        if let Select::Lane(lane) = select
            && !self.lanes().contains(lane)
        {
            return Err(unknown(format!("lane `{lane}`")));
        }
        if let Select::Worker(worker) = select
            && !self.has_had(*worker)
        {
            return Err(unknown(format!("worker {worker}")));
        }
        Ok(select.resolve(&self.inventory_now()))
    }

    /// Every worker, by message: what the supervisor itself sees.
    ///
    /// # Errors
    ///
    /// If no reply comes within `limit`, or the pool is gone.
    async fn inventory(&self, limit: TimeLimit) -> Result<Inventory, ControlError> {
        ask(self, "inventory", limit, PoolMessage::Inventory).await
    }

    /// Puts `limits` in force: growth at once, a shrink as workers finish, without failing a job.
    ///
    /// # Errors
    ///
    /// If they contradict themselves or a reserve, a hook denies it, another resize or retune takes its place while hooks are asked, no reply comes
    /// within `limit`, or the pool is going or gone.
    async fn resize(&self, limits: Limits, limit: TimeLimit) -> Result<ResizeReport, ControlError> {
        ask(self, "resize", limit, |reply| PoolMessage::Resize(limits, reply)).await?
    }

    /// Changes what is in force while the pool runs: limits, lanes, restart policy, watchdog, autoscaler. All that `change` names is checked
    /// first, as when a pool is built, and then made in one step: no snapshot, and nobody who is given a place or a seat, sees a part of it.
    /// For whom each part holds, the methods of [`Retune`] and [`LaneChange`](crate::LaneChange) say.
    ///
    /// A resize or retune that comes while hooks are asked about this one takes its place, and so does this one's of another: what is in force
    /// afterwards is the later one whole, never a mix.
    ///
    /// # Errors
    ///
    /// If a part of it contradicts another or what stands ([`ControlError::Config`], with the conflict named), a hook denies its limits, another
    /// takes its place while hooks are asked, no reply comes within `limit`, or the pool drains or is gone. Nothing is changed then, but for a
    /// reply that is late.
    async fn retune(&self, change: Retune, limit: TimeLimit) -> Result<RetuneReport, ControlError> {
        ask(self, "retune", limit, |reply| PoolMessage::Retune(change, reply)).await?
    }

    /// Takes targets down the ladder; answers when each has a fate. Hooks may veto a ladder that does not begin with a kill.
    ///
    /// # Errors
    ///
    /// If the selector names what does not exist, no reply comes within `limit`, or the pool is gone.
    async fn terminate(
        &self,
        select: Select,
        how: Ladder,
        limit: TimeLimit,
    ) -> Result<TerminationReport, ControlError> {
        let targets = self.select(&select)?;
        ask(self, "terminate", limit, |reply| PoolMessage::Terminate(targets, how, reply)).await
    }

    /// Admits and does not dispatch, until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// If the pool drains or is gone, or no reply comes within `limit`.
    async fn quiesce(&self, limit: TimeLimit) -> Result<(), ControlError> {
        ask(self, "quiesce", limit, PoolMessage::Quiesce).await?
    }

    /// Dispatches again.
    ///
    /// # Errors
    ///
    /// If the pool drains or is gone, or no reply comes within `limit`.
    async fn resume(&self, limit: TimeLimit) -> Result<(), ControlError> {
        ask(self, "resume", limit, PoolMessage::Resume).await?
    }

    /// Refuses new jobs, and waits until the admitted ones have run. One way.
    ///
    /// # Errors
    ///
    /// If they have not within `limit` (the pool drains on), or the pool is gone, also because it was ended before they had.
    async fn drain(&self, limit: TimeLimit) -> Result<(), ControlError> {
        ask(self, "drain", limit, PoolMessage::Drain).await?
    }

    /// Puts another restart policy in force. It decides from now on: also about faults that the one before has been asked about and not
    /// answered, and about slots that are empty because of what that one said, also for good.
    ///
    /// A policy that misbehaves is replaced by the default, as one that the pool was built with.
    ///
    /// # Errors
    ///
    /// If the pool is being shut down or is gone, or no reply comes within `limit`.
    async fn set_restart_policy(&self, policy: NewRestartPolicy, limit: TimeLimit) -> Result<(), ControlError> {
        ask(self, "set the restart policy", limit, |reply| PoolMessage::SetRestartPolicy(policy, reply)).await?
    }

    /// Adds a hook, or puts it in the place of the one of its name. What that one was asked and has not answered is asked of this one, which
    /// has its own limit for it from then on, and what it has answered stands; if this one is [told only](crate::HookOptions::told_only), nobody has a say in it any more.
    ///
    /// # Errors
    ///
    /// If its options contradict themselves, there are too many, no reply comes within `limit`, or the pool is gone.
    async fn set_hook(&self, hook: HookSpec, limit: TimeLimit) -> Result<HookChange, ControlError> {
        ask(self, "set_hook", limit, |reply| PoolMessage::SetHook(hook, reply)).await?
    }

    /// Removes a hook, which has no say any more in what it was asked: a delay that it has asked for and that is not over ends.
    ///
    /// # Errors
    ///
    /// If there is none of that name, no reply comes within `limit`, or the pool is gone.
    async fn remove_hook(&self, name: &str, limit: TimeLimit) -> Result<(), ControlError> {
        let name = Arc::from(name);
        ask(self, "remove_hook", limit, |reply| PoolMessage::RemoveHook(name, reply)).await?
    }

    /// Every hook, and how it has done.
    ///
    /// # Errors
    ///
    /// If no reply comes within `limit`, or the pool is gone.
    async fn hooks(&self, limit: TimeLimit) -> Result<Vec<HookRow>, ControlError> {
        ask(self, "hooks", limit, PoolMessage::Hooks).await
    }

    /// Drains, asks running jobs to stop when three quarters of `limit` are over, and ends the pool by then: what still
    /// runs is killed, or abandoned and listed by [`orphans`](crate::orphans), as by [`abort`](Self::abort). When this answers, the
    /// pool's name is free for another.
    ///
    /// # Errors
    ///
    /// If the pool is gone already, or its actor does not answer within five seconds after `limit`, as any control reply has.
    async fn shutdown(&self, limit: TimeLimit) -> Result<ShutdownReport, ControlError> {
        let patience = TimeLimit(limit.0.saturating_add(TimeLimit::default().0));
        ask(self, "shutdown", patience, |reply| PoolMessage::Shutdown(limit.0, reply)).await
    }
}

/// Sends a message and waits for its reply, at most for `limit`, on whatever executor polls this.
async fn ask<P, T, M>(pool: &P, operation: &'static str, limit: TimeLimit, message: M) -> Result<T, ControlError>
where
    P: PoolExecutor + ?Sized,
    T: Send + 'static,
    M: FnOnce(RpcReplyPort<T>) -> PoolMessage + Send,
{
    let closed = || ControlError::Closed { pool: Arc::from(pool.name()), operation };
    let (sender, reply) = oneshot::channel();
    let message = message(sender.into());
    let message = match pool.caller() {
        Some(name) => message.by(name),
        None => message,
    };
    pool.actor().cast(message).map_err(|_| closed())?;
    let Limit(alarm) = pool.limit(limit);
    answer(reply, &alarm).await.map_err(|unanswered| match unanswered {
        Unanswered::Closed => closed(),
        Unanswered::TimedOut => ControlError::TimedOut { pool: Arc::from(pool.name()), operation, limit: limit.0 },
    })
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// Nobody is left to give it.
    Closed,
    TimedOut,
}

/// The answer, unless `alarm` rings before.
pub(crate) async fn answer<T>(reply: oneshot::Receiver<T>, alarm: &Alarm) -> Result<T, Unanswered> {
    let mut reply = pin!(reply);
    poll_fn(|cx| match reply.as_mut().poll(&mut Context::from_waker(&guarded_waker(cx.waker()))) {
        Poll::Ready(answer) => Poll::Ready(answer.map_err(|_| Unanswered::Closed)),
        Poll::Pending => alarm.poll(cx).map(|()| Err(Unanswered::TimedOut)),
    })
    .await
}
