//! Workers whose processes, or guests, have grown too large. They are asked on a side thread: `/proc` is read by no hot path, and not by control.

use std::time::Duration;

use super::message::Command;
use super::side;
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::id::WorkerId;
use crate::policy::RecycleReason;
use crate::sync::Timestamp;

/// From one look at all workers' memory to the next, on the pool's clock.
const LOOK: Duration = Duration::from_secs(1);

/// Where the looks at the workers' memory are.
#[derive(Clone, Copy)]
pub(super) enum Weighing {
    /// Until the next one. Exit: `Out`.
    Rests(Timestamp),
    /// A side thread looks. One look is out at a time. Exit: `Rests`, when it is through.
    Out,
}

impl Default for Weighing {
    fn default() -> Self {
        Self::Rests(Timestamp::from_nanos(0))
    }
}

impl<B: Backend> Supervision<B> {
    /// Has the workers' memory looked at, if it is time to. Says when to look again.
    pub(super) fn look_at_memory(&mut self, now: Timestamp) -> Timestamp {
        let Some(most) = self.plane().config.recycle.above_memory else { return Timestamp::NEVER };
        match self.recycling.weighing {
            Weighing::Rests(until) if now < until => return until,
            Weighing::Rests(_) => {}
            Weighing::Out => return Timestamp::NEVER,
        }
        self.recycling.weighing = Weighing::Out;
        let (cells, myself) = (self.plane().fresh(), self.myself.clone());
        side::look(move || {
            let memory = cells.iter().filter_map(|cell| Some((cell.id, cell.memory_in_use()?)));
            let grown = memory.filter(|(_, bytes)| *bytes > most).collect();
            // A pool that has ended meanwhile recycles nobody.
            let _ = myself.cast(Command::Weighed(grown).into());
        });
        Timestamp::NEVER
    }

    /// These have more memory in use than they may.
    pub(super) fn on_weighed(&mut self, grown: Vec<(WorkerId, u64)>) {
        self.recycling.weighing = Weighing::Rests(self.now().after(LOOK));
        for (worker, bytes) in grown {
            if let Some(cell) = self.plane().cell(worker) {
                self.have_recycled(cell, RecycleReason::Memory(bytes));
            }
        }
    }
}
