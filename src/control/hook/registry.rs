//! Which hooks a pool has: added, replaced and removed by message.

use std::collections::HashMap;
use std::time::Duration;

use ractor::ActorRef;

use super::ask::Questions;
use super::credit::Line;
use super::exits::Spared;
use super::hosted::{Launch, Running};
use super::message::{HookMessage, HookSpec, Host, check_count};
use super::pressure::Pressure;
use super::recycles::Kept;
use super::requests::Wanted;
use crate::backend::{Backend, Refusals};
use crate::config::ConfigError;
use crate::control::event::PoolEvent;
use crate::control::message::PoolMessage;
use crate::control::side::Aside;
use crate::control::supervisor::Supervision;
use crate::error::ControlError;
use crate::hook::{HookChange, HookOptions};
use crate::id::By;
use crate::snapshot::{Delay, Veto};
use crate::sync::{Arc, Mutex, OnceLock, Timestamp};

/// The hooks of a pool, and all that is to be remembered about them.
pub(in crate::control) struct Hooks<B: Backend> {
    pub(super) registered: Vec<Registered>,
    last: u64,
    pub(super) questions: Questions<B>,
    pub(super) last_veto: Option<Veto>,
    /// Starts that are put off, by slot.
    pub(super) delays: HashMap<usize, Delay>,
    pub(super) spared: Spared,
    pub(super) kept: Kept,
    pub(super) wanted: Option<Wanted>,
    pub(super) pressure: Pressure,
}

impl<B: Backend> Default for Hooks<B> {
    fn default() -> Self {
        Self {
            registered: Vec::new(),
            last: 0,
            questions: Questions::default(),
            last_veto: None,
            delays: HashMap::new(),
            spared: Spared::default(),
            kept: Kept::default(),
            wanted: None,
            pressure: Pressure::default(),
        }
    }
}

/// How long a hook that was refused its thread does without, until it is asked for again: it may be one of many, with much to be told.
const PAUSE: Duration = Duration::from_millis(100);

/// The system gives a hook no thread.
#[derive(Clone, Copy)]
struct Refused {
    since: Timestamp,
    /// When it is asked again.
    until: Timestamp,
}

/// One hook.
pub(super) struct Registered {
    /// Tells it from another that had its name before.
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    host: Host,
    running: OnceLock<Running>,
    /// Read and written by the supervisor alone.
    refused: Mutex<Option<Refused>>,
    refusals: Refusals,
    pub(super) options: HookOptions,
    pub(super) line: Arc<Line>,
    pub(super) asked: u64,
    pub(super) denied: u64,
    pub(super) defaulted: u64,
}

impl Registered {
    /// Its actor, started with its thread if it has none; `None`: the system gives it no thread now.
    pub(super) fn actor(&self, pool: &Arc<str>, now: Timestamp) -> Option<&ActorRef<HookMessage>> {
        let hook = match &self.host {
            Host::Foreign(actor) => return Some(actor),
            Host::Side(hook) => hook,
        };
        if self.running.get().is_none() {
            self.launch(hook, pool, now);
        }
        self.running.get().map(|running| &running.actor)
    }

    /// Starts its thread, unless that was refused just now. The first refusal is told of, and the end of them.
    fn launch(&self, hook: &Aside<dyn Launch>, pool: &Arc<str>, now: Timestamp) {
        // One at a time comes here, so what is seen stays true though the lock is let go of.
        let refused = *self.refused.lock();
        if refused.is_some_and(|refused| now < refused.until) {
            return;
        }
        let refused = match (**hook).clone().launch(pool, &self.name, &self.refusals) {
            Ok(running) => {
                drop(self.running.set(running));
                self.note_thread(pool, refused, now);
                None
            }
            Err(error) => {
                self.note_refusal(pool, refused, &error);
                let since = refused.map_or(now, |refused| refused.since);
                Some(Refused { since, until: now.after(PAUSE) })
            }
        };
        *self.refused.lock() = refused;
    }

    fn note_thread(&self, pool: &str, before: Option<Refused>, now: Timestamp) {
        if let Some(Refused { since, .. }) = before {
            let ((_, missed), without) = (self.line.backlog(), now.since(since));
            tracing::info!(pool, hook = &*self.name, missed, "a hook has its thread, after {without:?} without");
        }
    }

    fn note_refusal(&self, pool: &str, before: Option<Refused>, error: &std::io::Error) {
        if before.is_none() {
            tracing::error!(
                pool,
                hook = &*self.name,
                "no thread for a hook: {error}; until it has one, its default counts and it misses what it would be told"
            );
        }
    }

    fn row(&self, unanswered: usize) -> HookRow {
        let (outstanding, missed) = self.line.backlog();
        HookRow {
            name: self.name.clone(),
            hosted: matches!(self.host, Host::Side(_)),
            options: self.options.clone(),
            asked: self.asked,
            denied: self.denied,
            defaulted: self.defaulted,
            unanswered,
            outstanding,
            missed,
        }
    }
}

/// A hook of a pool, and how it has done.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HookRow {
    /// Its name.
    pub name: Arc<str>,
    /// True if millpond hosts it; false for an actor of somebody else's.
    pub hosted: bool,
    /// Its limit, its default verdict, and whether it is asked at all.
    pub options: HookOptions,
    /// Questions put to it.
    pub asked: u64,
    /// Those that it denied.
    pub denied: u64,
    /// Those for which its default counted, since it gave no answer, or none that made sense.
    pub defaulted: u64,
    /// Questions for which its answer is waited for.
    pub unanswered: usize,
    /// Questions and notices that it has not dealt with.
    pub outstanding: usize,
    /// Notices that it missed.
    pub missed: u64,
}

impl<B: Backend> Hooks<B> {
    /// With those that the pool was built with.
    pub(in crate::control) fn new(specs: Vec<HookSpec>, supervisor: &ActorRef<PoolMessage>) -> Self {
        let mut hooks = Self::default();
        for spec in specs {
            hooks.add(spec, supervisor);
        }
        hooks
    }

    fn add(&mut self, spec: HookSpec, supervisor: &ActorRef<PoolMessage>) {
        let HookSpec { name, host, options, refusals } = spec;
        self.last += 1;
        self.registered.push(Registered {
            id: self.last,
            name,
            host,
            running: OnceLock::new(),
            refused: Mutex::new(None),
            refusals,
            options,
            line: Line::new(self.last, supervisor.clone()),
            asked: 0,
            denied: 0,
            defaulted: 0,
        });
    }

    /// The number of the one of this name: the first, where another is about to take its place.
    fn named(&self, name: &str) -> Option<u64> {
        self.registered.iter().find(|hook| *hook.name == *name).map(|hook| hook.id)
    }

    fn drop(&mut self, id: u64) {
        self.registered.retain(|hook| hook.id != id);
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Registered> {
        self.registered.iter_mut().find(|hook| hook.id == id)
    }

    /// True if there is one to be asked.
    pub(super) fn are_asked(&self) -> bool {
        self.registered.iter().any(|hook| hook.options.asked)
    }

    pub(in crate::control) fn rows(&self) -> Vec<HookRow> {
        self.registered.iter().map(|hook| hook.row(self.questions.unanswered_by(hook.id))).collect()
    }
}

impl<B: Backend> Supervision<B> {
    pub(in crate::control) fn set_hook(&mut self, spec: HookSpec, by: By) -> Result<HookChange, ControlError> {
        self.check_hook(&spec).map_err(|conflict| {
            let pool = self.plane().config.name.clone();
            ControlError::Config { pool, operation: "set a hook", conflict }
        })?;
        let name = spec.name.clone();
        let before = self.hooks.named(&name);
        self.hooks.add(spec, &self.myself);
        let change = if before.is_some() { HookChange::Replaced } else { HookChange::Added };
        // One that is to go is told that it goes: an audit trail ends with who has ended it.
        self.tell(PoolEvent::Hook { name, change, by });
        if let Some(before) = before {
            self.hooks.drop(before);
            self.hand_on(before, self.hooks.last);
        }
        self.tell_of_saturation(self.hooks.last);
        self.mind_pressure();
        Ok(change)
    }

    fn check_hook(&self, spec: &HookSpec) -> Result<(), ConfigError> {
        spec.check()?;
        let others = self.hooks.registered.iter().filter(|hook| hook.name != spec.name).count();
        check_count(others + 1)
    }

    pub(in crate::control) fn remove_hook(&mut self, name: &Arc<str>, by: By) -> Result<(), ControlError> {
        let Some(hook) = self.hooks.named(name) else {
            let pool = self.plane().config.name.clone();
            return Err(ControlError::Unknown { pool, what: format!("hook `{name}`") });
        };
        self.tell(PoolEvent::Hook { name: name.clone(), change: HookChange::Removed, by });
        self.hooks.drop(hook);
        self.excuse(hook);
        self.mind_pressure();
        Ok(())
    }
}
