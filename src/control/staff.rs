//! Workers start and end; each slot has its own history. What follows a fault: `restart.rs`.

use std::time::Duration;

use ractor::{ActorCell, ActorId};

use super::event::PoolEvent;
use super::restart::Fault;
use super::supervisor::Supervision;
use super::trace::trace_start;
use crate::backend::{Backend, WorkerControl};
use crate::error::StartError;
use crate::id::WorkerId;
use crate::job::{catch, look_again};
use crate::plane::{Overrun, WorkerContext};
use crate::policy::{Exit, SlotHistory};
use crate::snapshot::{Shortage, WorkerState};
use crate::sync::{Arc, Timestamp};

/// A lasting position for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// How many incarnations it has had.
    generation: u32,
    pub(super) restarts: u32,
    /// Its next incarnation follows from what nobody can refuse, or has been allowed already: from a fault, or from a recycling that
    /// leaves the pool below `min`.
    pub(super) unasked: bool,
    /// When its latest incarnation was started.
    pub(super) started_at: Timestamp,
    pub(super) history: Option<SlotHistory>,
    /// Why the backend refused the latest incarnation, until its exit is told.
    refusal: Option<StartError>,
    /// Its latest fault was a start that failed.
    refused: bool,
    /// Its latest fault, about which was decided.
    pub(super) fault: Option<Fault>,
    pub(super) state: SlotState,
    /// Until when the question to its policy, of a moment ago, makes no difference to the pool's health.
    pub(super) ruling_by: Option<Timestamp>,
}

/// A question takes microseconds, as a rule. One that is out for longer than this makes its slot count as missing.
const RULING: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SlotState {
    /// Empty. Exits: `Asked`, `Filled`.
    #[default]
    Vacant,
    /// Hooks are asked whether it gets a worker. Exits: `Filled`, `Vacant`, `Vetoed`.
    Asked,
    /// Empty until then, since a hook denied the start. Exit: `Vacant`.
    Vetoed(Timestamp),
    /// Has a worker. Exits: `Vacant`, `Deciding`.
    Filled,
    /// Its worker ended by a fault, and the policy is being asked. Exits: `Vacant`, `Waiting`.
    Deciding,
    /// Backs off or cools down until then, or stays empty for good. Exits: `Vacant`; `Deciding`, when another policy is set.
    Waiting(Timestamp),
}

impl Slot {
    /// It has no worker after a fault, for now or for good.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.state, SlotState::Waiting(_) | SlotState::Deciding)
    }

    /// Its worker has ended by a fault at `now`.
    fn await_ruling(&mut self, now: Timestamp) {
        (self.state, self.ruling_by) = (SlotState::Deciding, Some(now.after(RULING)));
    }

    /// Of the incarnation that it gets next.
    pub(super) fn next_generation(&self) -> u32 {
        self.generation.wrapping_add(1)
    }
}

/// A worker as the supervisor knows it.
pub(super) struct Employed {
    pub(super) control: Arc<dyn WorkerControl>,
    /// The worker's own actor, or its keeper.
    actor: Option<ActorCell>,
    kept: bool,
    /// When its start is over its limit; `NEVER` once it is ready.
    start_by: Timestamp,
    /// It has said that it is.
    ready: bool,
    /// Its slot is not its own any more.
    abandoned: bool,
}

impl Employed {
    /// True until it has said that it is ready, or is given up.
    pub(super) fn is_coming_up(&self) -> bool {
        !self.ready && !self.abandoned
    }

    pub(super) fn is(&self, actor: ActorId) -> bool {
        self.actor.as_ref().is_some_and(|cell| cell.get_id() == actor)
    }
}

impl<B: Backend> Supervision<B> {
    pub(super) fn may_start(&self) -> bool {
        // A pool that was given up is aborted as soon as this message is over.
        self.escalated.is_none() && !self.ending.as_ref().is_some_and(|ending| ending.is_stopping())
    }

    /// Starts as many workers as are wanted, in slots that can have one.
    pub(super) fn staff(&mut self) {
        if !self.may_start() {
            return;
        }
        for _ in 0..self.workers_wanted() {
            // Slots above a lowered limit may be filled still, so that fewer than `max` are free.
            let Some(slot) = self.vacant_slot() else { return };
            self.ask_start(slot);
        }
    }

    /// A slot that can have a worker, if there is one.
    pub(super) fn vacant_slot(&mut self) -> Option<usize> {
        let max = self.plane().max();
        let vacant = self.slots.iter().take(max).position(|slot| slot.state == SlotState::Vacant);
        if vacant.is_none() && self.slots.len() < max {
            self.slots.push(Slot::default());
            return Some(self.slots.len() - 1);
        }
        vacant
    }

    pub(super) fn start(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.generation = slot.next_generation();
        slot.unasked = false;
        slot.state = SlotState::Filled;
        let worker = WorkerId { slot: u32::try_from(index).unwrap_or(u32::MAX), generation: slot.generation };
        let cell = self.shared.plane.seat_worker(worker, slot.restarts);
        slot.started_at = cell.started_at;
        trace_start(&self.shared.plane.config.name, worker, slot.restarts);
        let context = WorkerContext::new(self.shared.plane.clone(), cell.clone());
        let supervisor = self.myself.get_cell();
        // A backend is trusted to return at once, but not to be free of panics.
        let started = catch(|| self.shared.backend.start(context, &supervisor))
            .unwrap_or_else(|caught| Err(StartError::Panicked(caught.message)));
        match started {
            Ok(started) => {
                let kept = started.actor.is_none();
                let actor = started.actor.or_else(|| self.keep(started.control.clone()));
                let start_by = cell.started_at.after(self.plane().config.start_limit);
                let employed =
                    Employed { control: started.control, actor, kept, start_by, ready: false, abandoned: false };
                self.employed.insert(worker, employed);
            }
            // The context was dropped, and its exit is on the way without a reason: it is added there.
            Err(error) => {
                let now = self.now();
                let slot = &mut self.slots[index];
                slot.refusal = Some(error.sheltered());
                slot.refused = true;
                // From now on, not from the exit on: a demand that is handled before it must not start one worker too many.
                slot.await_ruling(now);
                self.update_cooling();
            }
        }
    }

    pub(super) fn on_ready(&mut self, worker: WorkerId) {
        if let Some(employed) = self.employed.get_mut(&worker) {
            (employed.start_by, employed.ready) = (Timestamp::NEVER, true);
        }
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(ready_at) = cell.ready_at() else { return };
        self.tell(PoolEvent::WorkerReady { worker, start_delay: ready_at.since(cell.started_at) });
        // One that was abandoned as it came up has lost its slot: its history is another's by now.
        if let Some(slot) = self.slots.get_mut(worker.slot as usize).filter(|slot| slot.generation == worker.generation)
        {
            let mut history = slot.history.take().unwrap_or_else(|| SlotHistory::new(worker, cell.started_at));
            (history.worker, history.started_at, history.ready_at) = (worker, cell.started_at, Some(ready_at));
            slot.history = Some(history);
        }
    }

    /// Workers whose start overran its limit are taken down as a job is.
    pub(super) fn check_starts(&mut self, now: Timestamp) {
        let late: Vec<_> = self
            .employed
            .iter()
            .filter(|(_, e)| e.start_by <= now && !e.abandoned)
            .map(|(worker, _)| *worker)
            .collect();
        for worker in late {
            let Some(cell) = self.plane().cell(worker) else { continue };
            if cell.lock().state == WorkerState::Starting {
                let limit = self.plane().config.start_limit;
                cell.fail(StartError::TimedOut(limit));
                self.kill_worker(worker, &Arc::from("it was not ready within its start limit"));
            }
            if let Some(employed) = self.employed.get_mut(&worker) {
                employed.start_by = Timestamp::NEVER;
            }
        }
    }

    /// When the next start is over its limit.
    pub(super) fn starts_due(&self) -> Timestamp {
        self.employed.values().filter(|e| !e.abandoned).map(|e| e.start_by).min().unwrap_or(Timestamp::NEVER)
    }

    /// An incarnation is gone. The one place where its slot learns of it, unless it had been abandoned before.
    pub(super) fn on_exit(&mut self, worker: WorkerId, exit: Exit) {
        if self.host_gone {
            return;
        }
        let exit = self.refusal_of(worker).unwrap_or(exit);
        let employed = self.employed.remove(&worker);
        if let Some(Employed { actor: Some(keeper), kept: true, .. }) = &employed {
            keeper.stop(None);
        }
        self.tell(PoolEvent::WorkerGone { worker, exit: exit.clone() });
        self.note_left(worker, &exit);
        if !employed.is_some_and(|employed| employed.abandoned) {
            self.vacate_slot(worker, exit);
        }
        // One that had been abandoned gives back what it took from the budget.
        self.update_cooling();
        self.staff();
        // A seat beyond the limit is gone with it.
        look_again();
    }

    fn refusal_of(&mut self, worker: WorkerId) -> Option<Exit> {
        let slot = self.slots.get_mut(worker.slot as usize).filter(|slot| slot.generation == worker.generation)?;
        Some(Exit::FailedToStart(Arc::new(slot.refusal.take()?)))
    }

    /// A worker cannot be made to end: its slot goes on without it.
    pub(super) fn on_abandoned(&mut self, worker: WorkerId) {
        let Some(employed) = self.employed.get_mut(&worker) else { return };
        if std::mem::replace(&mut employed.abandoned, true) {
            return;
        }
        self.tell(PoolEvent::WorkerAbandoned { worker });
        let exit = self.plane().cell(worker).and_then(|cell| match cell.take_failure() {
            Some(error) => Some(Exit::FailedToStart(Arc::new(error))),
            // Why it was to leave stands: one that panicked, and then hangs in the drop of its state, had a fault all the same.
            None => cell.lock().leave.clone(),
        });
        let exit = exit.unwrap_or_else(|| Exit::Killed(Arc::from("abandoned")));
        self.vacate_slot(worker, exit);
        self.staff();
        // Beyond the cap, a seat is gone with it.
        look_again();
    }

    /// The slot is free for another worker, or waits for what its policy says.
    fn vacate_slot(&mut self, worker: WorkerId, exit: Exit) {
        let failed = if let Exit::FailedToStart(error) = &exit { Some(error.clone()) } else { None };
        self.leave_slot(worker, exit);
        self.update_cooling();
        if let Some(error) = failed {
            // Its seat is out of the count by now, so what was handed over to it is one too many.
            self.plane().fail_handed_over(&error);
        }
    }

    fn leave_slot(&mut self, worker: WorkerId, exit: Exit) {
        let now = self.now();
        let is_short = self.plane().counts.live() < self.plane().limits().min;
        let Some(slot) = self.slots.get_mut(worker.slot as usize) else { return };
        if slot.generation != worker.generation {
            return;
        }
        slot.state = SlotState::Vacant;
        if let Exit::RuntimeGone = exit {
            return self.on_host_gone();
        }
        if !exit.is_fault() {
            slot.unasked = matches!(exit, Exit::Recycled(_)) && is_short;
            return;
        }
        let mut history = slot.history.take().unwrap_or_else(|| SlotHistory::new(worker, slot.started_at));
        if history.worker != worker {
            // It never became ready.
            (history.worker, history.started_at, history.ready_at) = (worker, slot.started_at, None);
        }
        slot.history = Some(history);
        slot.refused = matches!(exit, Exit::FailedToStart(_));
        slot.unasked = true;
        slot.await_ruling(now);
        self.ask(worker, exit, now);
    }

    /// Tells the plane how many seats cannot be filled, and why.
    pub(super) fn update_cooling(&self) {
        let (mut why, mut next_try, mut asked) = (Shortage::default(), Timestamp::NEVER, 0);
        for slot in self.slots.iter().take(self.plane().max()) {
            match slot.state {
                SlotState::Vacant | SlotState::Filled | SlotState::Asked => continue,
                SlotState::Deciding if slot.ruling_by.is_some() => asked += 1,
                SlotState::Vetoed(_) => why.vetoed += 1,
                SlotState::Waiting(Timestamp::NEVER) => why.given_up += 1,
                SlotState::Waiting(_) | SlotState::Deciding if slot.refused => why.refused += 1,
                SlotState::Waiting(_) | SlotState::Deciding => why.cooling += 1,
            }
            if let SlotState::Waiting(until) | SlotState::Vetoed(until) = slot.state {
                next_try = next_try.min(until);
            }
        }
        why.next_try = (next_try < Timestamp::NEVER).then_some(next_try);
        let missing = why.cooling + why.refused + why.given_up + why.vetoed;
        let given_up = why.given_up;
        self.plane().note_shortage(why);
        self.plane().set_cooling(missing + asked, missing, given_up);
    }

    /// Workers above `min` that idled for too long leave. Says when to look again.
    pub(super) fn retire_idle(&mut self, now: Timestamp) -> Timestamp {
        let limits = self.plane().limits();
        let next = if self.asks_before_exits() {
            self.ask_idle_exits(now);
            Timestamp::NEVER
        } else {
            self.plane().retire_idle(now)
        };
        match limits.idle_timeout {
            // Workers that become idle tell nobody: look often enough to be late by a quarter at most.
            Some(timeout) if self.plane().counts.live() > limits.min => {
                next.min(now.after((timeout / 4).max(Duration::from_millis(5))))
            }
            _ => Timestamp::NEVER,
        }
    }

    pub(super) fn on_overrun(&mut self, overrun: Overrun) {
        let Overrun { worker, claim } = overrun;
        self.tell(PoolEvent::Overrun { worker, claim });
        self.climb_for_overrun(worker, claim);
    }
}
