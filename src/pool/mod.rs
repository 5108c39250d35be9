//! The pool: one mechanism, whatever the backend.

mod by_name;
#[cfg(feature = "guest")]
mod interpreter;
mod kinds;
#[cfg(feature = "process")]
mod process;
mod submit;

pub use by_name::ByName;
pub use submit::Submitter;

use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::backend::{Actors, Backend, Capabilities, Tasks, Threads};
use crate::control::{Attached, Command, EventStream, PoolMessage, Shared, alarm_after};
use crate::error::{AttachError, ControlError};
use crate::executor::{Blocking, Caller, Limit, PoolExecutor, TimeLimit, Unanswered, answer};
use crate::id::WorkerId;
use crate::snapshot::{Health, Inventory, Saturation, Snapshot};
use crate::sync::{Arc, Mutex, Weak, block_on};

/// A supervised pool of workers. `B` is all that varies.
///
/// Clones are handles of one pool. One that was made by [`build`](crate::PoolBuilder::build) belongs to its handles: when the last is
/// dropped it drains, bounded by its shutdown limit, and ends. One spawned under a parent belongs to the parent.
pub struct Pool<B: Backend> {
    shared: Arc<Shared<B>>,
    owner: Option<Arc<Owner>>,
}

/// Closures on OS threads.
pub type ThreadPool = Pool<Threads>;
/// Futures on the caller's runtime.
pub type TaskPool = Pool<Tasks>;
/// Messages to worker actors with a state of their own, on the caller's runtime.
pub type ActorPool<W> = Pool<Actors<W>>;

/// Calls of this executable's functions, in child processes.
#[cfg(feature = "process")]
pub type ProcessPool = Pool<crate::backend::process::Processes>;
/// Requests to programs that speak the frame protocol.
#[cfg(feature = "process")]
pub type ProgramPool = Pool<crate::backend::process::Programs>;

/// Calls into isolated instances of an interpreter, in this process.
#[cfg(feature = "guest")]
pub type InterpreterPool<E> = Pool<crate::backend::interpreter::Interpreters<E>>;

/// Dropped with the last owning handle.
struct Owner(ActorRef<PoolMessage>);

impl Drop for Owner {
    fn drop(&mut self) {
        // A pool that has ended already needs no word.
        let _ = self.0.cast(Command::Disowned.into());
    }
}

/// A pool, as the list of all pools knows it.
trait Listed: Send + Sync {
    /// The pool, from the moment on at which it has an actor, and until that ends.
    fn listed(self: Arc<Self>) -> Option<Arc<dyn PoolExecutor>>;
}

impl<B: Backend> Listed for Shared<B> {
    fn listed(self: Arc<Self>) -> Option<Arc<dyn PoolExecutor>> {
        let alive = self.actor.get()?.get_status() < ractor::ActorStatus::Stopping;
        alive.then_some(self as Arc<dyn PoolExecutor>)
    }
}

static POOLS: Mutex<Vec<Weak<dyn Listed>>> = parking_lot::const_mutex(Vec::new());

/// Every pool of this process, however its actor was spawned: the one that hurts is the one that nobody knew of. These handles
/// own nothing.
pub fn pools() -> Vec<Arc<dyn PoolExecutor>> {
    let pools: Vec<Arc<dyn Listed>> = POOLS.lock().iter().filter_map(Weak::upgrade).collect();
    // Out of the lock: the last share in a pool that has ended may be dropped here, and with it what its user gave it.
    pools.into_iter().filter_map(Listed::listed).collect()
}

/// Has [`pools`] show this one while its actor is there. Every pool passes here before it is spawned.
pub(crate) fn list<B: Backend>(shared: &Arc<Shared<B>>) {
    let listed: Arc<dyn Listed> = shared.clone();
    let mut pools = POOLS.lock();
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(Arc::downgrade(&listed));
}

impl<B: Backend> Pool<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>, actor: &ActorRef<PoolMessage>, owned: bool) -> Self {
        // The actor itself sets it as well: the same reference.
        let _ = shared.actor.set(actor.clone());
        Self { shared, owner: owned.then(|| Arc::new(Owner(actor.clone()))) }
    }

    /// The pool that `actor` is, typed again. The handle owns nothing.
    ///
    /// # Errors
    ///
    /// If it is a pool of another kind, or does not answer within five seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn from_actor(actor: ActorRef<PoolMessage>) -> Result<Self, AttachError> {
        let name = actor.get_name().unwrap_or_else(|| format!("{:?}", actor.get_id()));
        if actor.get_cell().is_message_type_of::<PoolMessage>() == Some(false) {
            return Err(AttachError::NotAPool(name));
        }
        let pool: Arc<str> = Arc::from(name);
        let closed = || ControlError::Closed { pool: pool.clone(), operation: "attach" };
        let (reply, attached) = oneshot::channel();
        actor.cast(Command::Attach(reply).into()).map_err(|_| closed())?;
        let TimeLimit(limit) = TimeLimit::default();
        // Without the control thread there is no pool either.
        let alarm = alarm_after(limit).map_err(|_| closed())?;
        let Attached { pool, kind, shared } =
            answer(attached, &alarm).await.map_err(|unanswered| match unanswered {
                Unanswered::Closed => closed(),
                Unanswered::TimedOut => ControlError::TimedOut { pool: pool.clone(), operation: "attach", limit },
            })?;
        match shared.downcast::<Arc<Shared<B>>>() {
            Ok(shared) => Ok(Self { shared: *shared, owner: None }),
            Err(_) => Err(AttachError::OtherKind { pool, found: kind, wanted: std::any::type_name::<Self>() }),
        }
    }

    /// The pool that is registered under this name in ractor's registry.
    ///
    /// # Errors
    ///
    /// If there is none, or [`from_actor`](Self::from_actor) fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn from_registry(name: &str) -> Result<Self, AttachError> {
        let cell = ractor::registry::where_is(name).ok_or_else(|| AttachError::NotRegistered(name.to_owned()))?;
        Self::from_actor(cell.into()).await
    }

    /// [`from_actor`](Self::from_actor) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_actor_blocking(actor: ActorRef<PoolMessage>) -> Result<Self, AttachError> {
        block_on(Self::from_actor(actor))
    }

    /// [`from_registry`](Self::from_registry) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_registry_blocking(name: &str) -> Result<Self, AttachError> {
        block_on(Self::from_registry(name))
    }

    /// The backend, for what only this kind of pool can be asked.
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    /// The control operations for synchronous callers, without a trait to import.
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking(self)
    }

    /// See [`PoolExecutor::by`]: the same, without a trait to import.
    pub fn by(&self, name: &str) -> Caller<'_> {
        PoolExecutor::by(self, name)
    }
}

impl<B: Backend> PoolExecutor for Shared<B> {
    fn name(&self) -> &str {
        &self.plane.config.name
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn saturation(&self) -> Saturation {
        self.plane.saturation()
    }

    fn health(&self) -> Health {
        self.plane.health(self.plane.clock.now())
    }

    fn gate(&self) -> &'static str {
        self.plane.gate().word()
    }

    fn snapshot(&self) -> Snapshot {
        self.plane.snapshot()
    }

    fn inventory_now(&self) -> Inventory {
        self.plane.inventory(self.plane.clock.now())
    }

    fn actor(&self) -> ActorRef<PoolMessage> {
        self.actor.get().expect("handles are made from a pool's actor").clone()
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    fn limit(&self, limit: TimeLimit) -> Limit {
        Limit(self.plane.alarm_at(self.plane.clock.now().after(limit.0)))
    }

    fn abort(&self) {
        self.end_now();
    }

    fn as_dyn(&self) -> &dyn PoolExecutor {
        self
    }

    fn lanes(&self) -> Vec<Arc<str>> {
        self.plane.lanes.iter().map(|lane| lane.spec.name.clone()).collect()
    }

    fn has_had(&self, worker: WorkerId) -> bool {
        self.plane.has_had(worker)
    }
}

impl<B: Backend> PoolExecutor for Pool<B> {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    fn saturation(&self) -> Saturation {
        self.shared.saturation()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn gate(&self) -> &'static str {
        self.shared.gate()
    }

    fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    fn inventory_now(&self) -> Inventory {
        self.shared.inventory_now()
    }

    fn actor(&self) -> ActorRef<PoolMessage> {
        self.shared.actor()
    }

    fn events(&self) -> EventStream {
        self.shared.events()
    }

    fn limit(&self, limit: TimeLimit) -> Limit {
        self.shared.limit(limit)
    }

    fn abort(&self) {
        self.shared.abort();
    }

    fn as_dyn(&self) -> &dyn PoolExecutor {
        self
    }

    fn lanes(&self) -> Vec<Arc<str>> {
        self.shared.lanes()
    }

    fn has_had(&self, worker: WorkerId) -> bool {
        self.shared.has_had(worker)
    }
}

impl<B: Backend> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), owner: self.owner.clone() }
    }
}

impl<B: Backend> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name())
            .field("saturation", &self.shared.saturation())
            .finish_non_exhaustive()
    }
}
