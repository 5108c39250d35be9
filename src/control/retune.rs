//! What is in force is changed while the pool runs: all that was asked for, in one step, or nothing of it. States and the argument:
//! DESIGN.md, section 14.

use std::time::Duration;

use ractor::RpcReplyPort;

use super::autoscale::Scaler;
use super::event::PoolEvent;
use super::report::{ResizeReport, RetuneReport};
use super::supervisor::Supervision;
use super::swap::NewRestartPolicy;
use super::watchdog::Watchdog;
use crate::autoscale::Autoscaler;
use crate::backend::Backend;
use crate::config::{ConfigError, InForce, Lane, LaneChange, Limits, Retuned, change_lanes, check_limits, least_max};
use crate::error::ControlError;
use crate::id::By;
use crate::job::look_again;
use crate::sync::Arc;

/// Changes to a pool that runs, for [`PoolExecutor::retune`](crate::PoolExecutor::retune): all of them are made in one step, or none is.
/// What is not named stays what it is.
///
/// ```
/// use millpond::{Lane, LaneChange, Limits, PoolExecutor, Retune, ThreadPool, TimeLimit};
///
/// let pool = ThreadPool::builder("io").limits(Limits::fixed(4)).lane(Lane::new("dns").reserve(1)).build()?;
/// // Neither would do alone: four seats cannot hold a reserve of four, and six without one would not help look-ups.
/// let change = Retune::new().limits(Limits::fixed(6)).lane(LaneChange::new("dns").reserve(4));
/// let report = pool.by("night shift").blocking().retune(change, TimeLimit::secs(5))?;
/// assert_eq!(report.retuned.to.lanes[1].reserve, 4);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Default)]
#[must_use = "a change is made by giving it to a pool"]
pub struct Retune {
    pub(super) limits: Option<Limits>,
    lanes: Vec<LaneChange>,
    policy: Option<NewRestartPolicy>,
    watchdog: Option<Option<Watchdog>>,
    autoscaler: Option<Option<Scaler>>,
}

impl Retune {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Other limits, as by [`PoolExecutor::resize`](crate::PoolExecutor::resize): hooks are asked about them, and a veto is one of the whole
    /// retune.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Something different about one lane. Two for one lane are refused.
    pub fn lane(mut self, change: LaneChange) -> Self {
        self.lanes.push(change);
        self
    }

    /// Another restart policy, as by [`PoolExecutor::set_restart_policy`](crate::PoolExecutor::set_restart_policy).
    pub fn restart_policy(mut self, policy: NewRestartPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Another watchdog, also for jobs that run already, and for those that were warned about. A ladder that has begun is gone to its end.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(Some(watchdog));
        self
    }

    /// No watchdog: nothing follows when a job is overdue. Jobs that were warned about, or are on the ladder and not taken yet, are let off.
    pub fn no_watchdog(mut self) -> Self {
        self.watchdog = Some(None);
        self
    }

    /// Another autoscaler, or one where there was none. It is asked for the first time in one `period`, at least a millisecond; until then
    /// the limits stay what they are.
    pub fn autoscaler(mut self, policy: impl Autoscaler, period: Duration) -> Self {
        self.autoscaler = Some(Some(Scaler::new(policy, period)));
        self
    }

    /// No autoscaler. What the one that there was has chosen ends with it: the limits that were set last, which it was to stay within, are in
    /// force, unless others are named beside this. Hooks are not asked about them again.
    pub fn no_autoscaler(mut self) -> Self {
        self.autoscaler = Some(None);
        self
    }

    fn is_empty(&self) -> bool {
        let Self { limits, lanes, policy, watchdog, autoscaler } = self;
        limits.is_none() && lanes.is_empty() && policy.is_none() && watchdog.is_none() && autoscaler.is_none()
    }

    /// What can be said without knowing the pool.
    fn validate(&self) -> Result<(), ConfigError> {
        match &self.autoscaler {
            Some(Some(scaler)) => scaler.validate(),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Retune {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limits, lanes, policy, watchdog, autoscaler } = self;
        let scaled = autoscaler.as_ref().map(|scaler| scaler.as_ref().map(|scaler| scaler.period));
        f.debug_struct("Retune")
            .field("limits", limits)
            .field("lanes", lanes)
            .field("policy", policy)
            .field("watchdog", watchdog)
            .field("autoscaled_every", &scaled)
            .finish()
    }
}

/// Who waits for a change.
pub(super) struct Asker {
    pub(super) by: By,
    pub(super) reply: Reply,
}

/// By which operation it was asked for, and where the answer goes.
pub(super) enum Reply {
    Resize(RpcReplyPort<Result<ResizeReport, ControlError>>),
    Policy(RpcReplyPort<Result<(), ControlError>>),
    Retune(RpcReplyPort<Result<RetuneReport, ControlError>>),
}

impl Asker {
    pub(super) fn operation(&self) -> &'static str {
        match self.reply {
            Reply::Resize(_) => "resize",
            Reply::Policy(_) => "set the restart policy",
            Reply::Retune(_) => "retune",
        }
    }

    /// Whoever asked may have gone: that is their affair.
    pub(super) fn answer(self, answer: Result<RetuneReport, ControlError>) {
        match self.reply {
            Reply::Resize(reply) => drop(reply.send(answer.map(ResizeReport::from))),
            Reply::Policy(reply) => drop(reply.send(answer.map(drop))),
            Reply::Retune(reply) => drop(reply.send(answer)),
        }
    }
}

/// What is to be in force in the plane; all of it has been checked.
struct Plan {
    limits: Limits,
    /// What an autoscaler is to stay within.
    bounds: Limits,
    lanes: Vec<Lane>,
}

impl<B: Backend> Supervision<B> {
    /// Makes the change, and says what it came to.
    pub(super) fn retune(&mut self, change: Retune, asker: Asker) {
        let answer = self.put_in_force(change, &asker);
        asker.answer(answer);
    }

    /// Whether the change could be made now; changes nothing.
    pub(super) fn check(&self, change: &Retune, asker: &Asker) -> Result<(), ControlError> {
        self.plan(change, asker).map(drop)
    }

    fn plan(&self, change: &Retune, asker: &Asker) -> Result<Plan, ControlError> {
        let ending = self.ending.as_ref().map(|ending| ending.reason());
        // A pool that drains may still be given more workers, to be done sooner; nothing else that a retune sets would matter there.
        let gate = || matches!(asker.reply, Reply::Retune(_)).then(|| self.plane().gate().refusal()).flatten();
        if let Some(reason) = ending.or_else(gate) {
            let (pool, operation) = (self.plane().config.name.clone(), asker.operation());
            return Err(ControlError::TooLate { pool, operation, reason });
        }
        self.plan_of(change).map_err(|conflict| self.refused(asker, conflict))
    }

    fn refused(&self, asker: &Asker, conflict: ConfigError) -> ControlError {
        ControlError::Config { pool: self.plane().config.name.clone(), operation: asker.operation(), conflict }
    }

    fn plan_of(&self, change: &Retune) -> Result<Plan, ConfigError> {
        change.validate()?;
        let (limits, lanes) = self.plane().in_force();
        let lanes = change_lanes(lanes, &change.lanes)?;
        let bounds = change.limits.unwrap_or_else(|| self.bounds(limits));
        check_limits(&bounds, &lanes)?;
        let max = if change.limits.is_some() || matches!(change.autoscaler, Some(None)) {
            bounds.max
        } else {
            // What an autoscaler has chosen stays, if the reserves fit.
            limits.max.clamp(least_max(&bounds, &lanes), bounds.max)
        };
        Ok(Plan { limits: Limits { max, ..bounds }, bounds, lanes })
    }

    fn shown(&self) -> InForce {
        let (limits, lanes) = self.plane().in_force();
        let period = self.scaling.as_ref().map(|scaling| scaling.period);
        let watched = self.vigil.watchdog.is_some();
        InForce { watched, ..InForce::new(limits, self.bounds(limits), lanes, period) }
    }

    fn put_in_force(&mut self, change: Retune, asker: &Asker) -> Result<RetuneReport, ControlError> {
        let Plan { limits, bounds, lanes } = self.plan(&change, asker)?;
        let from = self.shown();
        let debt = self.plane().retune(limits, &lanes).map_err(|conflict| self.refused(asker, conflict))?;
        // Nothing can fail from here on.
        let is_empty = change.is_empty();
        let Retune { limits: sized, lanes: _, policy, watchdog, autoscaler } = change;
        let (policy_set, watchdog_set, autoscaler_set) = (policy.is_some(), watchdog.is_some(), autoscaler.is_some());
        match autoscaler {
            Some(autoscaler) => self.set_autoscaler(autoscaler, bounds),
            None if sized.is_some() => self.rebound(bounds),
            None => {}
        }
        let watchdog_from = self.vigil.watchdog.clone();
        if let Some(watchdog) = watchdog {
            self.vigil.watchdog = watchdog;
        }
        let to = self.shown();
        let respanned = from.lanes.iter().zip(&to.lanes).any(|(from, to)| from.overdue_after != to.overdue_after);
        if watchdog_set || respanned {
            self.plane().watch_all();
            self.look_at_all_warned();
        }
        look_again();
        let settled = self.begin_settling(sized.is_some());
        self.update_cooling();
        self.staff();
        let mut retuned = Retuned::new(asker.by.clone(), from, to);
        (retuned.restart_policy, retuned.watchdog, retuned.autoscaler) = (policy_set, watchdog_set, autoscaler_set);
        let retuned = Arc::new(retuned);
        let (from, to) = (retuned.from.limits, retuned.to.limits);
        if sized.is_some() || from != to {
            let (bounds_from, bounds) = (retuned.from.bounds, retuned.to.bounds);
            self.tell(PoolEvent::Resized { from, to, bounds_from, bounds, by: asker.by.clone() });
        }
        if let Some(policy) = policy {
            self.swap_policy(policy, asker.by.clone());
        }
        if matches!(asker.reply, Reply::Retune(_)) && !is_empty {
            self.tell(PoolEvent::Retuned(retuned.clone()));
        }
        let watchdog = self.vigil.watchdog.clone();
        Ok(RetuneReport { retuned, watchdog_from, watchdog, debt, settled })
    }
}
