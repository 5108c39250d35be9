//! Recycling: workers are replaced although nothing is wrong with them, one at a time. States and the argument: DESIGN.md, section 13.

use std::time::Duration;

use super::event::PoolEvent;
use super::supervisor::Supervision;
#[cfg(any(feature = "guest", feature = "process"))]
use super::weigh::Weighing;
use crate::backend::Backend;
use crate::id::WorkerId;
use crate::policy::RecycleReason;
use crate::slot::Cell;
use crate::sync::{Arc, Timestamp};

/// Ages are looked at no more often than this.
const LOOK: Duration = Duration::from_millis(5);

/// Who is to be recycled.
#[derive(Default)]
pub(super) struct Recycling {
    /// One that is told to leave otherwise is among them until its seat is free: its place is another's.
    due: Vec<Arc<Cell>>,
    /// When to look for workers that are too old, or have idled for too long.
    look_at: Timestamp,
    #[cfg(any(feature = "guest", feature = "process"))]
    pub(super) weighing: Weighing,
}

impl<B: Backend> Supervision<B> {
    /// A worker has run as many jobs as it is to run.
    pub(super) fn on_worn(&mut self, worker: WorkerId) {
        if let (Some(cell), Some(jobs)) = (self.plane().cell(worker), self.plane().config.recycle.after_jobs) {
            self.have_recycled(cell, RecycleReason::Jobs(jobs));
        }
    }

    /// A worker is to be recycled: the one place where that is decided.
    pub(super) fn have_recycled(&mut self, cell: Arc<Cell>, reason: RecycleReason) {
        self.ask_recycle(cell, reason);
    }

    /// A worker is due from here on, and goes when its turn comes.
    pub(super) fn make_due(&mut self, cell: Arc<Cell>, reason: RecycleReason) {
        if self.plane().make_due(&cell, reason) {
            self.tell(PoolEvent::RecycleDue { worker: cell.id, reason });
            if !self.recycling.due.iter().any(|due| Arc::ptr_eq(due, &cell)) {
                self.recycling.due.push(cell);
            }
        }
    }

    /// Sees who is due, and lets one of them go if that leaves no worker too few. Says when to look again; all else that matters here
    /// comes by a message.
    pub(super) fn recycle(&mut self, now: Timestamp) -> Timestamp {
        if self.plane().config.recycle.is_never() || self.ending.is_some() || self.escalated.is_some() {
            return Timestamp::NEVER;
        }
        self.look_at_ages(now);
        let next = self.ask_recycles_again(now).min(self.recycling.look_at);
        #[cfg(any(feature = "guest", feature = "process"))]
        let next = next.min(self.look_at_memory(now));
        let plane = self.shared.plane.clone();
        self.recycling.due.retain(|cell| plane.is_to_be_replaced(cell, now));
        if !self.somebody_is_due(now) || self.is_short() {
            plane.keep_all();
            if plane.counts.leaving() > 0 {
                // One that does not get through its leaving is abandoned then, and of that nobody is told.
                return next.min(now.after(plane.config.kill_grace.max(LOOK)));
            }
        } else if plane.has_one_to_spare() {
            plane.let_one_go(&self.recycling.due, now);
        } else if self.somebody_is_due(now)
            && let Some(slot) = self.slot_for_spare()
        {
            // Due still: as there is none to spare, it has not gone just now, and stays until this one is up.
            self.start(slot);
        }
        next
    }

    /// True if a worker is to be replaced, and has its seat still.
    pub(super) fn keeps_a_spare(&self, now: Timestamp) -> bool {
        let goes_on = self.ending.is_none() && self.escalated.is_none();
        goes_on && self.recycling.due.iter().any(|cell| self.plane().is_to_be_replaced(cell, now))
    }

    fn somebody_is_due(&self, now: Timestamp) -> bool {
        self.recycling.due.iter().any(|cell| self.plane().is_due(cell, now))
    }

    /// Where the one that is to take another's place can come up. Nobody is asked about it, so it may be where a start was denied: once the other
    /// has gone, the pool has as many workers as before.
    fn slot_for_spare(&mut self) -> Option<usize> {
        let vacant = if self.plane().startable_workers() > 0 { self.vacant_slot() } else { None };
        if vacant.is_some() {
            return vacant;
        }
        let denied = self.slots.last_vetoed().filter(|_| self.plane().has_room_but_for_one_slot())?;
        self.end_veto(denied);
        Some(denied)
    }

    fn look_at_ages(&mut self, now: Timestamp) {
        let rule = self.plane().config.recycle;
        let Some(shortest) = rule.after_age.into_iter().chain(rule.after_idle).min() else {
            self.recycling.look_at = Timestamp::NEVER;
            return;
        };
        if now < self.recycling.look_at {
            return;
        }
        let (found, next) = self.plane().overaged(now);
        for (cell, reason) in found {
            self.have_recycled(cell, reason);
        }
        // Workers that come up or become idle meanwhile tell nobody: look often enough to be late by a quarter at most.
        self.recycling.look_at = next.min(now.after(shortest / 4)).max(now.after(LOOK));
    }

    /// True while a worker comes, goes, or is missed: then no other goes. A slot that stays empty for a while or for good is not waited for: if the pool
    /// needs it, it has fewer than `min`.
    fn is_short(&self) -> bool {
        let counts = &self.plane().counts;
        // Not by the count: one that says that it is ready is counted among those that start for a moment yet.
        let comes = self.employed.newcomers() > 0;
        let ruled_on = self.slots.are_ruled_on();
        comes || counts.leaving() > 0 || counts.live() < self.plane().limits().min || ruled_on
    }
}
