//! The autoscaler's loop: asked once in each period, on a side thread, and what it wants is applied within the bounds, if the hooks allow it.

use std::time::Duration;

use super::event::PoolEvent;
use super::hook::ask::Ruling;
use super::message::Command;
use super::restart::POLICY_LIMIT;
use super::side::{self, Aside};
use super::supervisor::Supervision;
use crate::autoscale::Autoscaler;
use crate::backend::Backend;
use crate::config::{ConfigError, Limits, PoolConfig, least_max};
use crate::gate::Gate;
use crate::hook::Question;
use crate::id::By;
use crate::job::catch;
use crate::sync::{Arc, Timestamp};

/// More often than this, asking would be most of what control does.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// An autoscaler as a pool is given it.
pub(crate) struct Scaler {
    policy: Aside<dyn Autoscaler>,
    pub(super) period: Duration,
}

impl Scaler {
    pub(crate) fn new(policy: impl Autoscaler, period: Duration) -> Self {
        Self { policy: Aside::new(Arc::new(policy)), period }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self.period {
            period if period < SHORTEST_PERIOD => Err(ConfigError::PeriodTooShort { period, least: SHORTEST_PERIOD }),
            _ => Ok(()),
        }
    }
}

/// An autoscaler at work.
pub(super) struct Scaling {
    policy: Aside<dyn Autoscaler>,
    pub(super) period: Duration,
    bounds: Limits,
    /// Tells the answers to two questions apart, whoever gives them: one that was overtaken by a resize counts no more.
    round: u64,
    state: State,
    /// What it wanted last, if hooks have a say in it.
    wish: Option<Wish>,
}

#[derive(Clone, Copy)]
enum State {
    /// Is asked then. Exit: `Asked`.
    Rests(Timestamp),
    /// Was asked then, and is late at `until`: `NEVER` before a side thread has come to the question, as what others take is not its
    /// fault. Exits: `Rests`, or the end of it.
    Asked { since: Timestamp, until: Timestamp },
}

/// Limits that an autoscaler wanted in place of others, about which hooks are asked or were. It ends when it is in force or denied, or when
/// something newer takes its place.
struct Wish {
    from: Limits,
    to: Limits,
    /// The round in which it was wanted.
    round: u64,
    /// The question, until hooks have allowed it.
    question: Option<u64>,
    /// If hooks allow it later than that, it is done if it is wanted still; `NEVER` while they are being asked.
    current_until: Timestamp,
}

impl Wish {
    /// How far this change leads if it may go no further than hooks were asked about; `None`: it does not lead there.
    fn leads(&self, from: Limits, to: Limits) -> Option<Limits> {
        let grows = self.to.max > self.from.max;
        let max = if grows { to.max.min(self.to.max) } else { to.max.max(self.to.max) };
        let moves = if grows { max > from.max } else { max < from.max };
        moves.then_some(Limits { max, ..to })
    }
}

impl Scaling {
    /// A pool that is sized by load begins small.
    pub(super) fn begin(scaler: Scaler, config: &mut PoolConfig) -> Self {
        let Scaler { policy, period } = scaler;
        let bounds = config.limits;
        config.limits.max = least_max(&bounds, &config.lanes);
        // Due at once.
        let state = State::Rests(Timestamp::default());
        Self { policy, period, bounds, round: 0, state, wish: None }
    }
}

impl<B: Backend> Supervision<B> {
    /// New limits were set by hand: they are the bounds from now on, and what was wanted before them is forgotten.
    pub(super) fn rebound(&mut self, limits: Limits) {
        let now = self.now();
        self.withdraw_wish();
        if let Some(scaling) = &mut self.scaling {
            (scaling.bounds, scaling.round) = (limits, scaling.round + 1);
            scaling.state = State::Rests(now.after(scaling.period));
        }
    }

    /// Another autoscaler is at work from now on, or none. It is asked when its period is over.
    pub(super) fn set_autoscaler(&mut self, scaler: Option<Scaler>, bounds: Limits) {
        let state = State::Rests(scaler.as_ref().map_or(Timestamp::NEVER, |scaler| self.now().after(scaler.period)));
        self.drop_scaling();
        let round = self.scale_rounds;
        self.scaling =
            scaler.map(|Scaler { policy, period }| Scaling { policy, period, bounds, round, state, wish: None });
    }

    /// What it says to a question that is out is never taken for the answer of one that comes after it.
    fn drop_scaling(&mut self) {
        self.withdraw_wish();
        if let Some(scaling) = self.scaling.take() {
            self.scale_rounds = scaling.round + 1;
        }
    }

    /// Hooks need not say any more what they think of what it wanted, and what they have said counts no more.
    fn withdraw_wish(&mut self) {
        let wish = self.scaling.as_mut().and_then(|scaling| scaling.wish.take());
        if let Some(question) = wish.and_then(|wish| wish.question) {
            self.withdraw_question(question);
        }
    }

    /// Hooks have not said yet what they think of what it wants. One that puts it off has.
    fn is_wish_open(&self) -> bool {
        let wish = self.scaling.as_ref().and_then(|scaling| scaling.wish.as_ref());
        wish.and_then(|wish| wish.question).is_some_and(|question| !self.is_delayed(question))
    }

    /// The limits that were set, when these are in force.
    pub(super) fn bounds(&self, limits: Limits) -> Limits {
        self.scaling.as_ref().map_or(limits, |scaling| scaling.bounds)
    }

    /// Asks when it is time, and lets go of one that takes too long. Says when to look again.
    pub(super) fn scale(&mut self, now: Timestamp) -> Timestamp {
        // A pool that ends is resized no more; one that dispatches nothing shows nothing of its load.
        let dispatches = matches!(self.plane().gate(), Gate::Open | Gate::Draining);
        let is_wish_open = self.is_wish_open();
        let Some(scaling) = self.scaling.as_mut().filter(|_| self.ending.is_none()) else { return Timestamp::NEVER };
        match scaling.state {
            State::Rests(until) if now < until => until,
            State::Rests(_) if !dispatches => {
                let next = now.after(scaling.period);
                scaling.state = State::Rests(next);
                next
            }
            // The ruling is looked at before this.
            State::Rests(_) if is_wish_open => Timestamp::NEVER,
            State::Rests(_) => {
                self.ask_autoscaler(now);
                Timestamp::NEVER
            }
            State::Asked { until, .. } if now >= until => {
                self.drop_autoscaler(&format!("it did not answer within {POLICY_LIMIT:?}"));
                Timestamp::NEVER
            }
            State::Asked { until, .. } => until,
        }
    }

    fn ask_autoscaler(&mut self, now: Timestamp) {
        let snapshot = self.plane().snapshot();
        let (myself, clock) = (self.myself.clone(), self.plane().clock.clone());
        let Some(scaling) = &mut self.scaling else { return };
        scaling.round += 1;
        scaling.state = State::Asked { since: now, until: Timestamp::NEVER };
        let (policy, bounds, round) = (scaling.policy.clone(), scaling.bounds, scaling.round);
        side::ask_policy(move || {
            // A pool that has ended meanwhile needs no answer: here and below.
            let _ = myself.cast(Command::ScaleAsked { round, since: clock.now() }.into());
            let wanted = catch(|| policy.scale(&snapshot, bounds)).map_err(|caught| caught.message);
            // A share that may be the last goes with its thread, before control learns of the answer.
            drop(policy);
            let _ = myself.cast(Command::Scaled { round, wanted }.into());
        });
    }

    /// A side thread has come to the question.
    pub(super) fn on_scale_asked(&mut self, round: u64, begun: Timestamp) {
        if let Some(scaling) = self.scaling.as_mut().filter(|scaling| scaling.round == round)
            && let State::Asked { until, .. } = &mut scaling.state
        {
            *until = begun.after(POLICY_LIMIT);
        }
    }

    pub(super) fn on_scaled(&mut self, round: u64, wanted: Result<usize, String>) {
        let now = self.now();
        let Some(scaling) = self.scaling.as_mut().filter(|scaling| scaling.round == round) else { return };
        let State::Asked { since, .. } = scaling.state else { return };
        // From question to question, so that what an answer takes does not stretch the period.
        let next = since.after(scaling.period);
        scaling.state = State::Rests(next.max(now));
        match wanted {
            Ok(0) => self.drop_autoscaler("it wanted zero workers"),
            Ok(wanted) if self.ending.is_none() => self.apply_scale(wanted, next),
            Ok(_) => {}
            Err(message) => self.drop_autoscaler(&format!("it panicked: {message}")),
        }
    }

    /// Has what it wants put in force, if the hooks allow it.
    fn apply_scale(&mut self, wanted: usize, next: Timestamp) {
        let change = self.scale_to(wanted);
        if let Some((from, to)) = change
            && let Some(wish) = self.scaling.as_ref().and_then(|scaling| scaling.wish.as_ref())
            && let Some(to) = wish.leads(from, to)
        {
            if wish.question.is_none() {
                self.withdraw_wish();
                self.put_scale_in_force(from, to);
            }
            // Else it waits for the end of its delay.
            return;
        }
        // It wants something else than it did, or nothing any more.
        self.withdraw_wish();
        if let Some((from, to)) = change {
            self.ask_scale(from, to, next);
        }
    }

    fn ask_scale(&mut self, from: Limits, to: Limits, next: Timestamp) {
        let Some(scaling) = &mut self.scaling else { return };
        let round = scaling.round;
        scaling.wish = Some(Wish { from, to, round, question: None, current_until: Timestamp::NEVER });
        let asked = self.ask_hooks(Question::of_limits(from, to), By::Autoscaler, move |supervision, ruling| {
            supervision.on_scale_ruled(round, &ruling);
        });
        // Unless it has been ruled upon at once.
        if let Some(wish) = self.scaling.as_mut().and_then(|scaling| scaling.wish.as_mut()) {
            (wish.question, wish.current_until) = (asked, next);
        }
    }

    /// What was in force, and what is to be, if so many workers are wanted; `None`: that is in force.
    fn scale_to(&self, wanted: usize) -> Option<(Limits, Limits)> {
        let bounds = self.scaling.as_ref()?.bounds;
        let (from, lanes) = self.plane().in_force();
        let max = wanted.clamp(least_max(&bounds, &lanes), bounds.max);
        (from.max != max).then_some((from, Limits { max, ..bounds }))
    }

    fn on_scale_ruled(&mut self, round: u64, ruling: &Ruling) {
        let now = self.now();
        // Otherwise a resize, another autoscaler, or a newer wish has come since.
        let wish = self.scaling.as_mut().and_then(|scaling| scaling.wish.as_mut());
        let Some(wish) = wish.filter(|wish| wish.round == round) else { return };
        wish.question = None;
        let (wanted, current_until) = (wish.to.max, wish.current_until);
        match ruling {
            Ruling::Denied(_) => self.withdraw_wish(),
            // A pool that ends is resized no more.
            Ruling::Allowed if self.ending.is_some() => self.withdraw_wish(),
            // The load may be another by now: the next answer, for which it is time, says whether that is wanted still.
            Ruling::Allowed if now >= current_until => {}
            Ruling::Allowed => self.apply_scale(wanted, current_until),
        }
    }

    fn put_scale_in_force(&mut self, from: Limits, to: Limits) {
        if self.put_limits_in_force(from, to) {
            self.tell(PoolEvent::Scaled { from: from.max, to: to.max });
        }
    }

    /// True if they are; else the reserves do not go with them, which control has looked at before.
    fn put_limits_in_force(&mut self, from: Limits, to: Limits) -> bool {
        if let Err(conflict) = self.plane().resize(to) {
            let (pool, from, to) = (&*self.plane().config.name, from.max, to.max);
            tracing::error!(pool, from, to, "the limit stays what it is: {conflict}");
            return false;
        }
        self.update_cooling();
        self.staff();
        true
    }

    /// Nothing takes its place: the limit is what was set for the pool, as in one without an autoscaler. Hooks are not asked: they were when that was
    /// set, and a policy's fault is nobody's choice.
    fn drop_autoscaler(&mut self, reason: &str) {
        let from = self.plane().limits();
        let to = self.bounds(from);
        self.drop_scaling();
        // A pool that ends is resized no more.
        let goes_back = self.ending.is_none() && to != from;
        let limit = format!(", and the limit goes back from {} to {} workers, as was set", from.max, to.max);
        let limit = if goes_back { &*limit } else { "" };
        self.tell(PoolEvent::PolicyReplaced { reason: format!("autoscaler: {reason}; it is let go{limit}") });
        if goes_back && self.put_limits_in_force(from, to) {
            self.tell(PoolEvent::Resized { from, to, bounds_from: to, bounds: to, by: By::Pool });
        }
    }
}
