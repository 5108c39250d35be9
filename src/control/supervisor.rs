//! The pool's actor: it owns the gate, the limit, the slots and the restarts, and awaits nobody.

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::autoscale::{Scaler, Scaling};
use super::event::{Events, PoolEvent};
use super::hook::{HookSpec, Hooks};
use super::message::{Command, PoolMessage};
use super::port::Port;
use super::recycle::Recycling;
use super::resize::Settling;
use super::restart::Questions;
use super::roll::Roll;
use super::shutdown::{AbortGuard, Answer, Ending};
use super::side::{self, Aside};
use super::slots::Slots;
use super::terminate::Climbs;
use super::timer::{self, Pass, Timed};
use super::trace::trace;
use super::watchdog::{Vigil, Watchdog};
use crate::backend::Backend;
use crate::config::PoolConfig;
use crate::error::{CloseReason, ControlError};
use crate::id::By;
use crate::job::Envelope;
use crate::plane::{Plane, Signal};
use crate::policy::{RestartPolicy, SlotBackoff};
use crate::snapshot::Health;
use crate::sync::{Arc, Mutex, OnceLock, Ticks, Timestamp};

/// What a pool's handles and its actor share.
pub(crate) struct Shared<B: Backend> {
    pub(crate) plane: Arc<Plane<B::Job>>,
    pub(crate) backend: B,
    pub(crate) events: Events,
    pub(crate) actor: OnceLock<ActorRef<PoolMessage>>,
    pub(super) port: Port,
}

impl<B: Backend> Drop for Shared<B> {
    /// Jobs that were kept and never taken: whoever lets go of the plane, the timer for one, is not to run their drops.
    fn drop(&mut self) {
        let unstarted = self.plane.give_up_unstarted();
        if !unstarted.is_empty() {
            side::let_go(unstarted);
        }
    }
}

impl<J: ?Sized + Envelope> Timed for Plane<J> {
    fn next_tick(&self) -> Timestamp {
        Plane::next_tick(self)
    }
}

/// The actor of a pool, whatever its backend. Spawned by the builder, or by hand:
///
/// ```no_run
/// # use millpond::*; use ractor::{Actor, ActorCell};
/// # async fn spawn(parent: ActorCell) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let supervisor = ThreadPool::builder("io").limits(Limits::fixed(4)).into_supervisor()?;
/// let (actor, _join) = Actor::spawn_linked(Some("io".to_owned()), supervisor, (), parent).await?;
/// let pool = ThreadPool::from_actor(actor).await?;
/// # Ok(()) }
/// ```
///
/// Spawned by hand it runs on the caller's runtime and shares its fate: while every thread of that runtime is blocked, control
/// does not answer, and when the runtime goes, so does the pool. [`PoolBuilder::spawn_linked`](crate::PoolBuilder::spawn_linked) links it
/// under the same parent and runs it on millpond's control thread.
pub struct PoolSupervisor<B: Backend> {
    pub(crate) shared: Aside<Shared<B>>,
    /// Until it starts, unless it is the default: another may take its place then.
    policy: Mutex<Option<Aside<dyn RestartPolicy>>>,
    /// Until it is at work.
    scaling: Mutex<Option<Scaling>>,
    /// Those that it is built with, until it comes up.
    hooks: Mutex<Vec<HookSpec>>,
    pub(crate) watchdog: Watchdog,
    /// In the actor's value, as all that follows, and not in its State, which outlives the actor in its parent's mailbox: there,
    /// whoever waits for a reply would wait until the parent gets to it. Taken out by the handler while it runs: nobody else looks.
    supervision: Mutex<Option<Supervision<B>>>,
    /// After that, which has something to tell when it is dropped: this one ends the events.
    _guard: AbortGuard<B>,
    watch: Mutex<Option<Watch>>,
}

/// Who waits for the end of the workers' runtime; not for longer than the pool is there.
struct Watch(tokio::task::AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<B: Backend> PoolSupervisor<B> {
    pub(crate) fn new(
        mut config: PoolConfig,
        backend: B,
        policy: Option<Arc<dyn RestartPolicy>>,
        scaler: Option<Scaler>,
        hooks: Vec<HookSpec>,
    ) -> Self {
        side::shelter_causes();
        let scaling = Mutex::new(scaler.map(|scaler| Scaling::begin(scaler, &mut config)));
        let shared = Arc::new_cyclic(|weak: &std::sync::Weak<Shared<B>>| {
            let weak = weak.clone();
            let port = Port::new(move || weak.upgrade().is_some_and(|shared| shared.backend.would_block()));
            let plane = Plane::new(config, Box::new(port.clone()));
            Shared { plane, backend, events: Events::default(), actor: OnceLock::new(), port }
        });
        let _guard = AbortGuard(Aside::new(shared.clone()));
        let policy = Mutex::new(policy.map(Aside::new));
        Self {
            shared: Aside::new(shared),
            policy,
            scaling,
            hooks: Mutex::new(hooks),
            watchdog: Watchdog::default(),
            supervision: Mutex::new(None),
            _guard,
            watch: Mutex::new(None),
        }
    }
}

/// What the supervisor remembers between messages.
pub(super) struct Supervision<B: Backend> {
    pub(super) shared: Aside<Shared<B>>,
    pub(super) myself: ActorRef<PoolMessage>,
    pub(super) policy: Aside<dyn RestartPolicy>,
    pub(super) slots: Slots,
    pub(super) questions: Questions,
    pub(super) employed: Roll,
    pub(super) recycling: Recycling,
    pub(super) vigil: Vigil,
    pub(super) climbs: Climbs,
    /// When a worker that leaves may have taken too long.
    pub(super) leaving_until: Timestamp,
    pub(super) scaling: Option<Scaling>,
    /// How many questions autoscalers that are gone have been asked, or more.
    pub(super) scale_rounds: u64,
    pub(super) settling: Option<Settling>,
    pub(super) drains: Vec<RpcReplyPort<Result<(), ControlError>>>,
    pub(super) ending: Option<Ending>,
    /// Given when the actor has stopped, or with this when it is dropped.
    pub(super) answer: Option<Answer>,
    pub(super) escalated: Option<Arc<str>>,
    /// The pool ends with its workers' runtime, and each of them was told of.
    pub(super) host_gone: bool,
    /// That the gate is closed has been told.
    pub(super) told_closed: bool,
    pub(super) hooks: Hooks<B>,
    reminded: Timestamp,
    health: Health,
    /// Something did not fit into its pass, and goes on by a message that is on its way.
    pub(super) goes_on: bool,
    /// That was found in this message.
    steps_back: bool,
}

#[ractor::actor(message = PoolMessage, state = (), arguments = ())]
impl<B: Backend> PoolSupervisor<B> {
    async fn pre_start(&self, myself: ActorRef<PoolMessage>, _args: ()) -> Result<(), ActorProcessingErr> {
        // A pool's actor is spawned once: the first reference stands.
        let _ = self.shared.actor.set(myself.clone());
        self.shared.port.connect(&myself);
        let plane = &self.shared.plane;
        let ticks: Arc<dyn Ticks> = plane.clone();
        plane.clock.follow(&ticks);
        if !plane.clock.is_settable() {
            let timed: Arc<dyn Timed> = plane.clone();
            timer::register(Arc::downgrade(&timed));
        }
        if let Some(gone) = self.shared.backend.host_gone() {
            let myself = myself.clone();
            // On the control thread: when the host is gone, so may be the runtime that this runs on.
            #[expect(clippy::disallowed_methods, reason = "a home of spawning: the control plane")]
            let watch = timer::control_runtime()?.spawn(async move {
                gone.await;
                let _ = myself.cast(Command::HostGone.into());
            });
            *self.watch.lock() = Some(Watch(watch.abort_handle()));
        }
        let _ = myself.cast(Command::Begin.into());
        let policy = self.policy.lock().take().unwrap_or_else(|| Aside::new(Arc::new(SlotBackoff::default())));
        let hooks = Hooks::new(std::mem::take(&mut *self.hooks.lock()), &myself);
        let mut supervision = Supervision::new(self.shared.clone(), myself, policy, hooks);
        supervision.scaling = self.scaling.lock().take();
        supervision.mind_pressure();
        supervision.vigil.watchdog = Some(self.watchdog.clone());
        *self.supervision.lock() = Some(supervision);
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let escalated = self.supervise(|supervision| {
            supervision.on(By::Operator(None), message);
            supervision.escalated.take()
        });
        match escalated.flatten() {
            Some(reason) => {
                self.shared.abort(CloseReason::Escalated(reason.clone()), &reason, || ());
                self.supervise(|supervision| supervision.tell_closed(By::Pool));
                Err(format!("pool `{}` was given up: {reason}", self.shared.plane.config.name).into())
            }
            None => {
                self.let_others_go_first().await;
                Ok(())
            }
        }
    }

    async fn post_stop(&self, _myself: ActorRef<PoolMessage>, _state: &mut ()) -> Result<(), ActorProcessingErr> {
        // Whoever waited for the actor's end finds the gate closed: a stop gets here first, a kill only to the guard.
        self.shared.abort(CloseReason::ActorGone, &Arc::from("the pool's actor was stopped"), || ());
        self.supervise(|supervision| supervision.tell_closed(By::Pool));
        // The name is free by now: ractor takes it back before this is called.
        drop(self.supervise(|supervision| supervision.answer.take()));
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<PoolMessage>,
        event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(who, ..) | SupervisionEvent::ActorFailed(who, _) = event {
            self.supervise(|supervision| {
                supervision.on_actor_end(who.get_id());
                supervision.look_at_all();
                supervision.settle();
            });
            self.let_others_go_first().await;
        }
        Ok(())
    }
}

impl<B: Backend> PoolSupervisor<B> {
    /// Has the supervision do something, out of its place meanwhile: no lock is held, and a panic takes its replies with it.
    fn supervise<R>(&self, act: impl FnOnce(&mut Supervision<B>) -> R) -> Option<R> {
        let mut supervision = self.supervision.lock().take()?;
        let acted = act(&mut supervision);
        *self.supervision.lock() = Some(supervision);
        Some(acted)
    }

    /// All pools share the control thread: one whose pass was cut short steps back until all others have had their turn. Messages need
    /// no such step: a mailbox gives out 128 in a row, and then lets others go first.
    async fn let_others_go_first(&self) {
        let steps_back = self.supervision.lock().as_mut().is_some_and(|it| std::mem::take(&mut it.steps_back));
        if steps_back {
            tokio::task::yield_now().await;
        }
    }
}

impl<B: Backend> Supervision<B> {
    fn new(
        shared: Arc<Shared<B>>,
        myself: ActorRef<PoolMessage>,
        policy: Aside<dyn RestartPolicy>,
        hooks: Hooks<B>,
    ) -> Self {
        Self {
            shared: Aside::new(shared),
            myself,
            policy,
            slots: Slots::default(),
            questions: Questions::default(),
            employed: Roll::default(),
            recycling: Recycling::default(),
            vigil: Vigil::default(),
            climbs: Climbs::default(),
            leaving_until: Timestamp::NEVER,
            scaling: None,
            scale_rounds: 0,
            settling: None,
            drains: Vec::new(),
            ending: None,
            answer: None,
            escalated: None,
            host_gone: false,
            told_closed: false,
            hooks,
            reminded: Timestamp::NEVER,
            health: Health::Healthy,
            goes_on: false,
            steps_back: false,
        }
    }

    /// A pass begins: what may be much is done for so long, and the rest [later](Self::go_on_later).
    pub(super) fn pass(&self) -> Pass {
        Pass::begin(&self.shared.plane.clock)
    }

    /// The rest is done behind the messages that are there by now.
    pub(super) fn go_on_later(&mut self) {
        if !std::mem::replace(&mut self.goes_on, true) {
            self.steps_back = true;
            let _ = self.myself.cast(Command::GoOn.into());
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.plane.clock.now()
    }

    pub(super) fn plane(&self) -> &Plane<B::Job> {
        &self.shared.plane
    }

    /// After every message: whatever waited for something looks whether it has come, and says when to look again.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        // First, as what follows a question is looked at below.
        self.mind_hooks(now);
        self.check_starts(now);
        let mut next = self.look_at_warned(now);
        next = next.min(self.climb(now));
        next = next.min(self.give_up_on_leaving(now));
        next = next.min(self.end_restarts(now));
        next = next.min(self.scale(now));
        next = next.min(self.retire_idle(now));
        // After all that has somebody come or leave, or frees a slot.
        next = next.min(self.recycle(now));
        self.settle_resize();
        self.settle_drains();
        next = next.min(self.wind_down(now));
        self.note_health();
        // Any of the above may have put a question, or started a worker.
        next = next.min(self.hooks_due()).min(self.employed.next_late());
        self.remind(next);
        // A clock that was moved before the reminder was set has ticked without it, and may not be moved again.
        if now < next && next <= self.now() {
            let _ = self.myself.cast(Command::Signal(Signal::Tick).into());
        }
    }

    /// A tick has come. One that was set before the earliest was leaves that one set, or each would set another for ever.
    pub(super) fn note_reminder(&mut self) {
        if self.reminded <= self.now() {
            self.reminded = Timestamp::NEVER;
        }
    }

    /// Has a tick at `at`, unless an earlier one is set.
    pub(super) fn remind(&mut self, at: Timestamp) {
        if at < self.reminded {
            self.reminded = at;
            self.plane().remind_control(at);
        }
    }

    pub(super) fn tell(&self, event: PoolEvent) {
        self.tell_hooks_of(&event);
        trace(&self.plane().config.name, &event);
        self.shared.events.tell(event);
    }

    fn note_health(&mut self) {
        let health = self.plane().note_health(self.now());
        if health.differs(&self.health) {
            self.health = health.clone();
            self.tell(PoolEvent::Health(health));
        }
    }
}

impl<B: Backend> std::fmt::Debug for PoolSupervisor<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolSupervisor").field("pool", &self.shared.plane.config.name).finish_non_exhaustive()
    }
}

impl<B: Backend> std::fmt::Debug for Supervision<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervision").field("pool", &self.shared.plane.config.name).finish_non_exhaustive()
    }
}
