//! Workers start and end; each slot has its own history. What follows a fault: `restart.rs`.

use std::time::Duration;

use super::event::PoolEvent;
use super::roll::Employed;
use super::slots::SlotState;
use super::supervisor::Supervision;
use super::trace::trace_start;
use crate::backend::Backend;
use crate::error::StartError;
use crate::id::WorkerId;
use crate::job::{catch, look_again};
use crate::plane::{Overrun, WorkerContext};
use crate::policy::{Exit, SlotHistory};
use crate::sync::{Arc, Timestamp};

impl<B: Backend> Supervision<B> {
    pub(super) fn may_start(&self) -> bool {
        // A pool that was given up is aborted as soon as this message is over.
        self.escalated.is_none() && !self.ending.as_ref().is_some_and(|ending| ending.is_stopping())
    }

    /// Starts as many workers as are wanted, in slots that can have one; as many as fit into a pass.
    pub(super) fn staff(&mut self) {
        // Those that did not fit into the last pass are counted again when it goes on.
        if !self.may_start() || self.goes_on {
            return;
        }
        let pass = self.pass();
        for _ in 0..self.workers_wanted() {
            // Slots above a lowered limit may be filled still, so that fewer than `max` are free.
            let Some(slot) = self.vacant_slot() else { return };
            self.ask_start(slot);
            if pass.is_over() {
                return self.go_on_later();
            }
        }
    }

    /// A slot that can have a worker, if there is one.
    pub(super) fn vacant_slot(&mut self) -> Option<usize> {
        self.slots.set_max(self.shared.plane.max());
        self.slots.vacant()
    }

    pub(super) fn start(&mut self, index: usize) {
        self.slots.set(index, SlotState::Filled);
        let slot = &mut self.slots[index];
        slot.generation = slot.next_generation();
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
                let actor = started.actor.or_else(|| self.keep(cell.clone(), started.control.clone()));
                let start_by = cell.started_at.after(self.plane().config.start_limit);
                self.employed.enter(worker, Employed::new(started.control, actor, kept, start_by));
            }
            // The context was dropped, and its exit is on the way without a reason: it is added there.
            Err(error) => {
                let now = self.now();
                let slot = &mut self.slots[index];
                slot.refusal = Some(error.sheltered_unread());
                slot.refused = true;
                // From now on, not from the exit on: a demand that is handled before it must not start one worker too many.
                self.slots.await_ruling(index, now);
                self.update_cooling();
            }
        }
    }

    pub(super) fn on_ready(&mut self, worker: WorkerId) {
        self.employed.is_up(worker);
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(ready_at) = cell.ready_at() else { return };
        self.tell(PoolEvent::WorkerReady { worker, start_delay: ready_at.since(cell.started_at) });
        // One that was abandoned as it came up has lost its slot: its history is another's by now.
        if let Some(slot) = self.slots.get_mut(worker.slot as usize).filter(|slot| slot.generation == worker.generation)
        {
            let mut history = slot.history.take().unwrap_or_else(|| SlotHistory::new(worker, cell.started_at));
            (history.worker, history.started_at, history.ready_at) = (worker, cell.started_at, Some(ready_at));
            slot.history = Some(history);
            if let Some(outage) = slot.outage {
                self.slots.await_probe(worker.slot as usize, ready_at.after(outage.healthy_after));
            }
        }
    }

    /// Workers whose start overran its limit are taken down as a job is, unless they come up just now.
    pub(super) fn check_starts(&mut self, now: Timestamp) {
        while let Some(worker) = self.employed.late(now) {
            let Some(cell) = self.plane().cell(worker) else { continue };
            let (by, limit) = (Arc::from("it was not ready within its start limit"), self.plane().config.start_limit);
            if self.plane().give_up_start(&cell, limit, &Exit::Killed(Arc::clone(&by))) {
                self.kill_worker(worker, &by);
            }
        }
    }

    /// An incarnation is gone. The one place where its slot learns of it, unless it had been abandoned before.
    pub(super) fn on_exit(&mut self, worker: WorkerId, exit: Exit) {
        if self.host_gone {
            return;
        }
        let exit = self.refusal_of(worker).unwrap_or(exit);
        let employed = self.employed.strike(worker);
        if let Some(keeper) = employed.as_ref().and_then(Employed::keeper) {
            keeper.stop(None);
        }
        self.tell(PoolEvent::WorkerGone { worker, exit: exit.clone() });
        self.note_left(worker, &exit);
        if !employed.is_some_and(|employed| employed.is_abandoned()) {
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
        if !self.employed.abandon(worker) {
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
        self.end_idle_question(worker);
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
        let index = worker.slot as usize;
        if self.slots.get(index).is_none_or(|slot| slot.generation != worker.generation) {
            return;
        }
        self.slots.set(index, SlotState::Vacant);
        if let Exit::RuntimeGone = exit {
            return self.on_host_gone();
        }
        if !exit.is_fault() {
            // What follows a crash is nobody's choice, be it the slot's fault or its job's.
            let crashed = matches!(exit, Exit::TakenAlong { .. });
            if crashed || matches!(exit, Exit::Recycled(_)) && is_short {
                self.start_successor(index);
            }
            return;
        }
        let slot = &mut self.slots[index];
        let mut history = slot.history.take().unwrap_or_else(|| SlotHistory::new(worker, slot.started_at));
        if history.worker != worker {
            // It never became ready.
            (history.worker, history.started_at, history.ready_at) = (worker, slot.started_at, None);
        }
        slot.history = Some(history);
        slot.refused = matches!(exit, Exit::FailedToStart(_));
        self.slots.await_ruling(index, now);
        self.ask(worker, exit, now);
    }

    /// Starts the one that takes the place of a worker that has left this slot, if it is wanted, and asks nobody: in the same slot, or in another one if that
    /// is beyond the limit by now. If it is not wanted now, whoever comes there later is nobody's successor.
    pub(super) fn start_successor(&mut self, index: usize) {
        let slot = if index < self.plane().max() { Some(index) } else { self.vacant_slot() };
        if let Some(slot) = slot.filter(|_| self.may_start() && self.plane().workers_wanted() > 0) {
            self.start(slot);
        }
    }

    /// Tells the plane how many seats cannot be filled, and why.
    pub(super) fn update_cooling(&mut self) {
        // After a resize, too: this follows each.
        self.slots.set_max(self.shared.plane.max());
        let (ruling, why) = self.slots.shortage();
        let (missing, given_up) = (why.cooling + why.refused + why.given_up + why.vetoed, why.given_up);
        // They can be started still, and are looked for by nobody else: all that a delay takes from the pool is its health.
        let without = missing + why.delayed;
        self.plane().note_shortage(why);
        self.note_delayed();
        self.plane().note_asked(self.slots.asked());
        if self.plane().set_cooling(missing + ruling, without, given_up) {
            // Seats are gone for good.
            look_again();
        }
    }

    /// Workers that idled for too long leave, but for those that `min` and `min_idle` keep. Says when to look again.
    pub(super) fn retire_idle(&mut self, now: Timestamp) -> Timestamp {
        let limits = self.plane().limits();
        let next = if self.asks_before_exits() {
            self.ask_idle_exits(now);
            self.end_idle_questions(now)
        } else {
            self.plane().retire_idle(now, self.kept_beyond_min(now))
        };
        match limits.idle_timeout {
            // Workers that become idle tell nobody: look often enough to be late by a quarter at most.
            Some(timeout) if self.plane().counts.live() > limits.min.max(limits.min_idle) => {
                next.min(now.after((timeout / 4).max(Duration::from_millis(5))))
            }
            _ => next,
        }
    }

    /// How many workers beyond `min` are not to leave for idling: those that start, as they may never come up, and one for whoever is to be
    /// recycled, in whose place another would be started at once.
    pub(super) fn kept_beyond_min(&self, now: Timestamp) -> usize {
        self.employed.newcomers() + usize::from(self.keeps_a_spare(now))
    }

    pub(super) fn on_overrun(&mut self, overrun: Overrun) {
        let Overrun { worker, claim } = overrun;
        self.tell(PoolEvent::Overrun { worker, claim });
        self.climb_for_overrun(worker, claim);
    }
}
