//! Whether a worker is to be started. While that is asked, its slot is `Asked`, and counts as a seat that can be filled; so it does while hooks have put
//! it off, `Delayed`, but then the pool's health says that it is missing.

use std::time::Duration;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::control::slots::SlotState;
use crate::control::supervisor::Supervision;
use crate::error::StartError;
use crate::hook::Question;
use crate::id::{By, WorkerId};
use crate::snapshot::{Delay, DelayedStarts, Veto, VetoedStarts};
use crate::sync::{Arc, Timestamp};

/// How long a slot stays empty whose start was denied.
const VETO_PAUSE: Duration = Duration::from_secs(1);

impl<B: Backend> Supervision<B> {
    /// Starts a worker in this slot, which is vacant, if the hooks allow it; during a shutdown nobody is asked. What follows a crash, and what takes the
    /// place of a recycled worker, is not asked about either, and does not come here.
    pub(in crate::control) fn ask_start(&mut self, index: usize) {
        if self.ending.is_some() || !self.hooks.are_asked() {
            return self.start(index);
        }
        let worker = WorkerId {
            slot: u32::try_from(index).unwrap_or(u32::MAX),
            generation: self.slots[index].next_generation(),
        };
        self.slots.set(index, SlotState::Asked);
        self.plane().note_asked(self.slots.asked());
        self.ask_hooks(Question::Start { worker }, By::Pool, move |supervision, ruling| {
            supervision.on_start_ruled(index, ruling)
        });
    }

    fn on_start_ruled(&mut self, index: usize, ruling: Ruling) {
        match ruling {
            Ruling::Denied(veto) => self.veto_start(index, veto),
            Ruling::Allowed => {
                self.slots.set(index, SlotState::Vacant);
                match self.hooks.delays.remove(&index) {
                    Some(_) => self.update_cooling(),
                    None => self.plane().note_asked(self.slots.asked()),
                }
                // Wanted still, and in a slot that a shrink has left. Those that are asked about do not count: the first one that is
                // allowed is started.
                if self.may_start() && index < self.plane().max() && self.plane().workers_wanted() > 0 {
                    self.start(index);
                }
            }
        }
    }

    /// How many workers are wanted, without those that are asked about.
    pub(in crate::control) fn workers_wanted(&self) -> usize {
        self.plane().workers_wanted().saturating_sub(self.slots.asked())
    }

    /// Hooks allow a start, but not yet: it is as wanted as before, and its slot counts as missing until then.
    pub(super) fn delay_start(&mut self, index: usize, delay: Delay) {
        self.slots.set(index, SlotState::Delayed(delay.until));
        self.hooks.delays.insert(index, delay);
        self.update_cooling();
    }

    /// Has the plane know which starts are put off, for errors and snapshots to say.
    pub(in crate::control) fn note_delayed(&self) {
        let (slots, last) = self.slots.delayed();
        let delay = last.and_then(|slot| self.hooks.delays.get(&slot).cloned());
        self.plane().set_delayed(delay.map(|delay| DelayedStarts { slots, delay }));
    }

    fn veto_start(&mut self, index: usize, veto: Veto) {
        let until = self.now().after(VETO_PAUSE);
        self.slots.set(index, SlotState::Vetoed(until));
        let error = Arc::new(StartError::Vetoed(veto.clone()));
        self.hooks.last_veto = Some(veto);
        self.note_vetoed();
        self.update_cooling();
        // Its seat is out of the count by now, so what was handed over to it is one too many.
        self.plane().fail_handed_over(&error);
    }

    fn note_vetoed(&mut self) {
        let slots = self.slots.vetoed();
        let veto = self.hooks.last_veto.clone().filter(|_| slots > 0);
        self.plane().set_vetoed(veto.map(|veto| VetoedStarts { slots, veto }));
    }

    /// Slots whose pause is over are vacant again.
    pub(super) fn end_vetoes(&mut self, now: Timestamp) {
        if self.hooks.last_veto.is_none() || self.next_pause_over() > now {
            return;
        }
        while let Some(slot) = self.slots.pardoned(now) {
            self.slots.set(slot, SlotState::Vacant);
        }
        self.note_vetoed();
        if self.next_pause_over() == Timestamp::NEVER {
            self.hooks.last_veto = None;
        }
        self.update_cooling();
        self.staff();
    }

    /// A slot whose start was denied is vacant again: for a worker about which nobody is asked.
    pub(in crate::control) fn end_veto(&mut self, slot: usize) {
        self.slots.set(slot, SlotState::Vacant);
        self.note_vetoed();
        self.update_cooling();
    }

    /// When the next slot is to be tried again whose start was denied.
    pub(super) fn next_pause_over(&self) -> Timestamp {
        self.slots.next_pardoned()
    }
}
