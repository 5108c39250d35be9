//! The roll: every worker that control knows, found by its number or its actor, and those that are coming up, by their limit.

use std::collections::{BTreeSet, HashMap};

use ractor::{ActorCell, ActorId};

use crate::backend::WorkerControl;
use crate::id::WorkerId;
use crate::sync::{Arc, Timestamp};

/// A worker as the supervisor knows it.
pub(super) struct Employed {
    pub(super) control: Arc<dyn WorkerControl>,
    /// The worker's own actor, or its keeper.
    actor: Option<ActorCell>,
    kept: bool,
    /// When its start is over its limit; `NEVER` once it is ready, was found late, or is abandoned.
    start_by: Timestamp,
    /// It has not said that it is ready, and is not given up.
    comes_up: bool,
    /// Its slot is not its own any more.
    abandoned: bool,
}

impl Employed {
    /// One that was started just now.
    pub(super) fn new(
        control: Arc<dyn WorkerControl>,
        actor: Option<ActorCell>,
        kept: bool,
        start_by: Timestamp,
    ) -> Self {
        Self { control, actor, kept, start_by, comes_up: true, abandoned: false }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// The actor that was given to a worker which is none itself.
    pub(super) fn keeper(&self) -> Option<&ActorCell> {
        self.actor.as_ref().filter(|_| self.kept)
    }
}

/// Our own map of children: asking ractor takes a process-wide lock.
#[derive(Default)]
pub(super) struct Roll {
    all: HashMap<WorkerId, Employed>,
    by_actor: HashMap<ActorId, WorkerId>,
    starts: BTreeSet<(Timestamp, WorkerId)>,
    coming_up: usize,
}

impl Roll {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Employed> {
        self.all.get(&worker)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.all.keys().copied()
    }

    /// Whose actor that is.
    pub(super) fn of_actor(&self, actor: ActorId) -> Option<WorkerId> {
        self.by_actor.get(&actor).copied()
    }

    pub(super) fn enter(&mut self, worker: WorkerId, employed: Employed) {
        if let Some(actor) = &employed.actor {
            self.by_actor.insert(actor.get_id(), worker);
        }
        if employed.start_by != Timestamp::NEVER {
            self.starts.insert((employed.start_by, worker));
        }
        self.coming_up += 1;
        self.all.insert(worker, employed);
    }

    pub(super) fn strike(&mut self, worker: WorkerId) -> Option<Employed> {
        self.is_up(worker);
        let employed = self.all.remove(&worker)?;
        if let Some(actor) = &employed.actor {
            self.by_actor.remove(&actor.get_id());
        }
        Some(employed)
    }

    /// A worker has said that it is ready, or is not waited for any more.
    pub(super) fn is_up(&mut self, worker: WorkerId) {
        self.is_not_late(worker);
        if let Some(employed) = self.all.get_mut(&worker) {
            self.coming_up -= usize::from(std::mem::take(&mut employed.comes_up));
        }
    }

    /// Nobody has to look any more whether its start takes too long.
    fn is_not_late(&mut self, worker: WorkerId) {
        if let Some(employed) = self.all.get_mut(&worker) {
            self.starts.remove(&(std::mem::replace(&mut employed.start_by, Timestamp::NEVER), worker));
        }
    }

    /// A worker is given up. False if it was before, or is nobody.
    pub(super) fn abandon(&mut self, worker: WorkerId) -> bool {
        self.is_up(worker);
        self.all.get_mut(&worker).is_some_and(|employed| !std::mem::replace(&mut employed.abandoned, true))
    }

    /// A worker whose start is over its limit, once.
    pub(super) fn late(&mut self, now: Timestamp) -> Option<WorkerId> {
        let (_, worker) = *self.starts.first().filter(|(until, _)| *until <= now)?;
        self.is_not_late(worker);
        Some(worker)
    }

    /// When the next start is over its limit.
    pub(super) fn next_late(&self) -> Timestamp {
        self.starts.first().map_or(Timestamp::NEVER, |(until, _)| *until)
    }

    /// Workers that have not said that they are ready.
    pub(super) fn newcomers(&self) -> usize {
        self.coming_up
    }
}
