//! Building a pool.

use std::time::Duration;

use ractor::{ActorCell, ActorRuntime, SpawnErr};
use tokio::runtime::Handle;

use crate::autoscale::Autoscaler;
use crate::backend::{Actors, Backend, Interceptor, StartContext, Tasks, Threads, Worker};
use crate::config::{ConfigError, KILL_GRACE, Lane, Limits, PoolConfig, Quarantine, Recycle};
use crate::control::{HookSpec, PoolSupervisor, Scaler, Watchdog, check_hooks, control_runtime};
use crate::error::{BuildError, StartError};
use crate::hook::Hook;
use crate::policy::RestartPolicy;
use crate::pool::{self, Pool};
use crate::sync::{Arc, Clock};

/// What a pool is to be. Nothing is started before [`build`](Self::build) or [`spawn_linked`](Self::spawn_linked), which check everything.
#[must_use = "a builder starts nothing until it is built"]
pub struct PoolBuilder<B: Backend> {
    config: PoolConfig,
    backend: B,
    policy: Option<Arc<dyn RestartPolicy>>,
    scaler: Option<Scaler>,
    hooks: Vec<HookSpec>,
    watchdog: Watchdog,
}

impl<B: Backend> PoolBuilder<B> {
    /// A pool with this name over a backend, for backends of your own.
    pub fn new(name: &str, backend: B) -> Self {
        let (config, watchdog) = (PoolConfig::new(name), Watchdog::default());
        Self { config, backend, policy: None, scaler: None, hooks: Vec::new(), watchdog }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    #[cfg(any(feature = "guest", feature = "process"))]
    pub(crate) fn map_backend(mut self, shape: impl FnOnce(B) -> B) -> Self {
        self.backend = shape(self.backend);
        self
    }

    /// How many workers; default: as many as the machine runs in parallel, all kept up.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Adds a lane.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.config.lanes.push(lane);
        self
    }

    /// Replaces the unnamed lane, whose name stays `default` unless this one has another.
    pub fn default_lane(mut self, lane: Lane) -> Self {
        self.config.lanes[0] = lane;
        self
    }

    /// How many abandoned workers are replaced before their seats are lost; default: `max`, as it was built with or as it is now, whichever
    /// is larger: a pool that is made larger may replace more of them, and one that is made smaller loses no seat by that.
    pub fn abandoned_cap(mut self, workers: usize) -> Self {
        self.config.abandoned_cap = Some(workers);
        self
    }

    /// How long a worker may take to come up; default 30 s. Zero is a build error.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.config.start_limit = limit;
        self
    }

    /// How long a job that overran its limit has to stop when asked, and then its worker to end; default 1 s each.
    ///
    /// A worker that was told to leave has as long for the drop of its state, or its `stop`. After that it goes on with it, counted as
    /// abandoned, and its slot gets another worker.
    ///
    /// In pools of processes it is a build error if this, or a second if that is longer, is less than the children's
    /// `leave_grace` and `term_grace` together (`ChildOptions`).
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.config.kill_grace = grace;
        self
    }

    /// How long the pool drains when its last handle is dropped; default 30 s. Zero: it ends then and there.
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.config.shutdown_limit = limit;
        self
    }

    /// Decides what becomes of slots whose workers fail; default: back-off and budget for each slot on its own.
    pub fn restart_policy(mut self, policy: impl RestartPolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Sizes the pool within its limits: asked once in each `period`, at least a millisecond; default: none, the limit in force is `max`.
    pub fn autoscaler(mut self, policy: impl Autoscaler, period: Duration) -> Self {
        self.scaler = Some(Scaler::new(policy, period));
        self
    }

    /// Adds a hook, which is asked before the pool acts, and told afterwards. It is hosted on a thread of its own, has a second for each
    /// answer, and allows what it does not answer; see [`hook_spec`](Self::hook_spec) for another limit or default.
    pub fn hook(self, name: impl AsRef<str>, hook: impl Hook) -> Self {
        self.hook_spec(HookSpec::new(name, hook))
    }

    /// Adds a hook with options of its own, or one that is an actor of yours.
    pub fn hook_spec(mut self, hook: HookSpec) -> Self {
        self.hooks.push(hook);
        self
    }

    /// When a worker is replaced although nothing is wrong with it; default: never.
    pub fn recycle(mut self, recycle: Recycle) -> Self {
        self.config.recycle = recycle;
        self
    }

    /// When jobs of a label are kept out, since workers keep being lost under them; `None`: never. Default: [`Quarantine::default`]. Counted are workers that
    /// ended unasked under a job, be it one that may be delivered again or not: in pools of processes, children that died. In pools of
    /// other kinds there are none.
    pub fn quarantine(mut self, quarantine: impl Into<Option<Quarantine>>) -> Self {
        self.config.quarantine = quarantine.into();
        self
    }

    /// What follows when a job is overdue; without [`Lane::overdue_after`] or [`JobOptions::overdue_after`](crate::JobOptions::overdue_after)
    /// none is.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = watchdog;
        self
    }

    /// Where the pool reads the time; default: the machine's monotonic clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// The pool's actor, not spawned yet: for `Actor::spawn_linked` in an actor system of yours. See [`PoolSupervisor`].
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn into_supervisor(mut self) -> Result<PoolSupervisor<B>, BuildError> {
        self.validate().map_err(|conflict| BuildError::config(&self.config.name, conflict))?;
        // The timer owns every limit of the pool, wherever its actor runs.
        control_runtime().map_err(BuildError::ControlThread)?;
        self.backend.prepare(&self.config.name)?;
        let mut supervisor = PoolSupervisor::new(self.config, self.backend, self.policy, self.scaler, self.hooks);
        supervisor.watchdog = self.watchdog;
        pool::list(&supervisor.shared);
        Ok(supervisor)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.config.validate()?;
        let capabilities = self.backend.capabilities();
        if self.config.recycle.above_memory.is_some() && !capabilities.memory_limited {
            return Err(ConfigError::NoMemoryOfItsOwn(capabilities.kind));
        }
        // A shorter one than the default was chosen to give workers up early.
        let (needed, grace) = (capabilities.ends_within, self.config.kill_grace.max(KILL_GRACE));
        if needed > grace {
            return Err(ConfigError::EndsTooLate { kind: capabilities.kind, needed, grace });
        }
        self.scaler.iter().try_for_each(Scaler::validate)?;
        check_hooks(&self.hooks)
    }

    /// Starts the pool on millpond's control thread. It belongs to the handles; see [`Pool`].
    ///
    /// # Errors
    ///
    /// If the configuration contradicts itself, the name is taken, or what the backend needs is not there.
    pub fn build(self) -> Result<Pool<B>, BuildError> {
        let supervisor = self.into_supervisor()?;
        let (shared, name) = (supervisor.shared.clone(), supervisor.shared.plane.config.name.clone());
        let _control = control_runtime().map_err(BuildError::ControlThread)?.enter();
        let (actor, _started) = ActorRuntime::spawn_instant(Some(name.to_string()), supervisor, ())
            .map_err(|error| spawn_error(&name, &error))?;
        Ok(Pool::new(shared, &actor, true))
    }

    /// Starts the pool on millpond's control thread, linked under `parent`, to whom it belongs: it ends with the parent, and a
    /// pool that fails is the parent's to decide about.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); also if the parent is stopping.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the pool comes up, or not, whether or not the future is dropped: it belongs to the parent. Find it by
    /// [`Pool::from_registry`].
    pub async fn spawn_linked(self, parent: ActorCell) -> Result<Pool<B>, BuildError> {
        let supervisor = self.into_supervisor()?;
        let (shared, name) = (supervisor.shared.clone(), supervisor.shared.plane.config.name.clone());
        let (actor, started) = {
            let _control = control_runtime().map_err(BuildError::ControlThread)?.enter();
            ActorRuntime::spawn_linked_instant(Some(name.to_string()), supervisor, (), parent)
                .map_err(|error| spawn_error(&name, &error))?
        };
        match started.await {
            Ok(Ok(_join)) => Ok(Pool::new(shared, &actor, false)),
            Ok(Err(error)) => Err(spawn_error(&name, &error)),
            Err(error) => Err(BuildError::Actor { pool: name, reason: error.to_string() }),
        }
    }
}

fn spawn_error(pool: &Arc<str>, error: &SpawnErr) -> BuildError {
    match error {
        SpawnErr::ActorAlreadyRegistered(_) => BuildError::NameTaken(pool.clone()),
        other => BuildError::Actor { pool: pool.clone(), reason: other.to_string() },
    }
}

impl PoolBuilder<Threads> {
    /// Makes each thread's state, on that thread; see [`Pool::submit_with`]. A failure or panic is a restart decision.
    pub fn initializer<S, I>(mut self, initializer: I) -> Self
    where
        S: 'static,
        I: Fn(&StartContext) -> Result<S, StartError> + Send + Sync + 'static,
    {
        self.backend = self.backend.initializer(initializer);
        self
    }

    /// The threads' stack size in bytes; default: that of `std::thread`. One that is absurd is a build error.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.backend = self.backend.stack_size(bytes);
        self
    }

    /// Ends a thread whose job panicked, and restarts its slot, instead of keeping it: for state that a panic may have spoilt.
    pub fn restart_after_panic(mut self) -> Self {
        self.backend = self.backend.restart_after_panic();
        self
    }

    /// Adds an interceptor, called on the thread around each job.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.backend = self.backend.interceptor(interceptor);
        self
    }
}

impl PoolBuilder<Tasks> {
    /// The runtime that the workers run on; default: the one that `build` is called on.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.backend = self.backend.runtime(runtime);
        self
    }

    /// Adds an interceptor, called on the worker around each job.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.backend = self.backend.interceptor(interceptor);
        self
    }
}

impl<W: Worker> PoolBuilder<Actors<W>> {
    /// The runtime that the workers run on; default: the one that `build` is called on.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.backend = self.backend.runtime(runtime);
        self
    }

    /// Adds an interceptor, called on the worker around each job.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.backend = self.backend.interceptor(interceptor);
        self
    }
}

impl<B: Backend> std::fmt::Debug for PoolBuilder<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
