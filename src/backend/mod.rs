//! What a new kind of pool implements: hosting workers. All else comes with [`Pool`](crate::Pool).

mod actor;
mod host;
#[cfg(feature = "guest")]
pub(crate) mod interpreter;
#[cfg(feature = "process")]
pub(crate) mod process;
mod refusals;
mod thread;

pub use actor::{ActorJob, Actors, TaskJob, Tasks, Worker};
pub(crate) use refusals::Refusals;
pub use thread::{Call, CallWith, ThreadJob, Threads, WithState};

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ractor::ActorCell;

use crate::error::{BuildError, StartError};
use crate::id::WorkerId;
use crate::job::{ClaimKey, Envelope, JobCell, JobContext, Share, catch};
use crate::plane::WorkerContext;
use crate::sync::Arc;

/// How far a kind of pool goes; declared, so that callers can tell, and checked by the conformance suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// What the pool is called in errors.
    pub kind: &'static str,
    /// How far `kill` reaches.
    pub kill: KillReach,
    /// True if a killed worker's end can be observed.
    pub death_confirmed: bool,
    /// True if a worker's memory can be limited.
    pub memory_limited: bool,
    /// How long a worker may take to end once it is told to leave or killed, by what the backend itself was told. A pool whose
    /// [`kill_grace`](crate::PoolBuilder::kill_grace) would be over before that is a build error. A [`Ladder`](crate::Ladder) may give less.
    pub ends_within: Duration,
}

impl Capabilities {
    /// What a backend of this kind can do, when its `kill` reaches this far. Nothing else is claimed.
    pub const fn new(kind: &'static str, kill: KillReach) -> Self {
        let death_confirmed = !matches!(kill, KillReach::None);
        Self { kind, kill, death_confirmed, memory_limited: false, ends_within: Duration::ZERO }
    }
}

/// How far `kill` reaches into a job that does not cooperate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KillReach {
    /// Not at all: the worker is abandoned.
    None,
    /// When the job next yields; one that does not is abandoned.
    AtYield,
    /// At any loop or call of the interpreted code, whether or not that cooperates. A call from there into this process is not reached: a
    /// job that stays in one is abandoned.
    InGuest,
    /// At any instruction.
    Anywhere,
}

/// What became of a kill.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KillOutcome {
    /// The worker will end; its context's drop says when.
    Signalled,
    /// The worker cannot be made to end.
    Abandoned,
}

/// Control's grip on one worker.
pub trait WorkerControl: Send + Sync + 'static {
    /// Takes the worker now. Must not wait. Called from the control thread, or wherever the worker's keeper is dropped.
    ///
    /// May be called again, and once more after the worker has ended, when its keeper ends with it: then there is nothing to do.
    fn kill(&self) -> KillOutcome;
}

/// A worker that was started: who can kill it, and the actor that it is, if it is one.
#[derive(Clone)]
pub struct Started {
    pub(crate) control: Arc<dyn WorkerControl>,
    pub(crate) actor: Option<ActorCell>,
}

impl Started {
    /// A worker that is no actor: the pool gives it a keeper, which is one.
    pub fn kept(control: impl WorkerControl) -> Self {
        Self { control: Arc::new(control), actor: None }
    }

    /// A worker that is itself an actor, linked to the supervisor that [`Backend::start`] was given.
    pub fn actor(control: impl WorkerControl, actor: ActorCell) -> Self {
        Self { control: Arc::new(control), actor: Some(actor) }
    }

    /// Who can kill the worker, and the actor that it is, for a backend that wraps another and wants a say in either.
    pub fn into_parts(self) -> (Arc<dyn WorkerControl>, Option<ActorCell>) {
        (self.control, self.actor)
    }
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// Hosts workers of one kind. Admission, limits, inventory, the ladder, restarts and shutdown come with `Pool<B>`.
///
/// # Wrapping another backend
///
/// To change one thing about a kind of pool, hold its backend (such as [`Threads::new`], with the methods that `PoolBuilder<Threads>` has)
/// in one of yours, and forward the rest: all five methods here, and the three functions of [`Hosts`], for every `J` that it hosts.
///
/// ```
/// # use std::{future::Future, pin::Pin, sync::Arc, sync::atomic::{AtomicUsize, Ordering}};
/// # use millpond::*; use ractor::ActorCell;
/// /// Any kind of pool, that counts the workers it starts.
/// struct Counted<B>(B, Arc<AtomicUsize>);
///
/// impl<B: Backend> Backend for Counted<B> {
///     type Job = B::Job;
///
///     fn start(&self, cx: WorkerContext<B::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
///         self.1.fetch_add(1, Ordering::Relaxed);
///         self.0.start(cx, supervisor)
///     }
///
///     fn capabilities(&self) -> Capabilities {
///         self.0.capabilities()
///     }
///     fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
///         self.0.prepare(pool)
///     }
///     fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
///         self.0.host_gone()
///     }
///     fn would_block(&self) -> bool {
///         self.0.would_block()
///     }
/// }
///
/// impl<J, B: Hosts<J>> Hosts<J> for Counted<B> {
///     type Output = B::Output;
///     type Payload = B::Payload;
///
///     fn wrap(job: J) -> B::Payload {
///         B::wrap(job)
///     }
///     fn unwrap(payload: B::Payload) -> J {
///         B::unwrap(payload)
///     }
///     fn erase(cell: Share<JobCell<B::Payload, B::Output>>) -> Share<B::Job> {
///         B::erase(cell)
///     }
/// }
///
/// let started = Arc::new(AtomicUsize::new(0));
/// let threads = Threads::new().initializer(|cx| Ok(cx.worker().to_string()));
/// let pool = PoolBuilder::new("counted", Counted(threads, started.clone())).limits(Limits::fixed(1)).build()?;
/// assert_eq!(pool.with(JobOptions::new()).submit_blocking(|| 6 * 7)?.join()?, 42);
/// let name = pool.with(JobOptions::new()).submit_blocking(WithState::new(|name: &mut String| name.clone()))?;
/// assert_eq!((name.join()?.as_str(), started.load(Ordering::Relaxed)), ("0.1", 1));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait Backend: Send + Sync + Sized + 'static {
    /// A job as it waits in the queue: a [`JobCell`], or a trait object over one.
    type Job: ?Sized + Envelope;

    /// How far this kind goes.
    fn capabilities(&self) -> Capabilities;

    /// Starts one worker and returns at once: it is called on the control thread.
    ///
    /// The worker pulls jobs from `cx`. Its first pull says that it is ready; [`WorkerContext::failed`] that it is not;
    /// the drop of `cx` that it has ended, however that came about.
    ///
    /// # Errors
    ///
    /// If the system refuses the worker. That is a restart decision, never the end of the pool.
    ///
    /// `cx` is to be dropped then, at once or soon: its slot counts as missing, and is tried again when that is so. A worker that keeps it and asks for work is given some, and is
    /// seen, counted and told to leave as any other. But there is nobody to kill it by: a kill abandons it when the grace is over.
    fn start(&self, cx: WorkerContext<Self::Job>, supervisor: &ActorCell) -> Result<Started, StartError>;

    /// Called once by `build`, on the caller's thread, to take what it needs from there.
    ///
    /// # Errors
    ///
    /// If what it needs is not there.
    fn prepare(&mut self, _pool: &str) -> Result<(), BuildError> {
        Ok(())
    }

    /// Ends when what hosts all workers is gone for good, such as the caller's runtime; `None`: never.
    fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// True if waiting for a job on the calling thread would keep the only thread of a runtime from running.
    fn would_block(&self) -> bool {
        host::on_current_thread_runtime()
    }
}

/// How a job of type `J` gets into this kind of pool, and its result out.
pub trait Hosts<J>: Backend {
    /// What the job gives.
    type Output: Send + 'static;
    /// The job as it lies in its cell.
    type Payload: Send + 'static;

    /// Makes the payload.
    fn wrap(job: J) -> Self::Payload;

    /// Takes the job out again, when it is refused.
    fn unwrap(payload: Self::Payload) -> J;

    /// The cell, as this kind's queue sees it.
    fn erase(cell: Share<JobCell<Self::Payload, Self::Output>>) -> Share<Self::Job>;
}

/// What a worker knows when it starts.
#[derive(Clone, Debug)]
pub struct StartContext {
    pool: Arc<str>,
    worker: WorkerId,
}

impl StartContext {
    pub(crate) fn new(pool: &str, worker: WorkerId) -> Self {
        Self { pool: Arc::from(pool), worker }
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The incarnation that starts.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}

/// Called on the worker around each job: for context, metrics, priorities of threads. A panic in it is logged and changes nothing.
pub trait Interceptor: Send + Sync + 'static {
    /// The job begins now.
    fn before(&self, _job: &JobContext) {}

    /// The job ended, and whether it panicked. Its outcome is not there yet, so that whoever waits for it sees what this did. Not called for a
    /// job whose worker was killed under it.
    fn after(&self, _job: &JobContext, _panicked: bool) {}
}

/// The interceptors of a pool, in the order in which they were added; `after` runs in reverse.
#[derive(Clone, Default)]
pub(crate) struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl Interceptors {
    pub(crate) fn push(&mut self, interceptor: impl Interceptor) {
        self.0.push(Arc::new(interceptor));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls them before the job now, and after it when it has run and before its outcome is written: an outcome that is there is
    /// to be had, however long an interceptor takes.
    fn around(&self, job: &JobContext, key: &mut ClaimKey) {
        self.before(job);
        let (interceptors, job) = (self.clone(), job.clone());
        key.at_end(move |panicked| interceptors.after(&job, panicked));
    }

    fn before(&self, job: &JobContext) {
        for interceptor in &self.0 {
            report(catch(|| interceptor.before(job)).err().map(|caught| caught.message), job);
        }
    }

    fn after(&self, job: &JobContext, panicked: bool) {
        for interceptor in self.0.iter().rev() {
            report(catch(|| interceptor.after(job, panicked)).err().map(|caught| caught.message), job);
        }
    }
}

fn report(panic: Option<String>, job: &JobContext) {
    if let Some(message) = panic {
        tracing::error!(job = %job.job_id(), worker = %job.worker_id(), "an interceptor panicked: {message}");
    }
}
