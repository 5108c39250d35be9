//! Claims that end otherwise than by their job's own end: killed, or lost with their worker.

use super::redeliver::{Loss, was_taken};
use super::{Signal, WorkerContext};
use crate::error::{JobError, KilledJob, Payload};
use crate::job::{ClaimKey, Envelope, Owed, Owner, Settlement};
use crate::policy::Exit;
use crate::slot::Taken;
use crate::sync::Arc;

impl<J: ?Sized + Envelope> WorkerContext<J> {
    pub(super) fn settle_lost(&self, taken: &Taken<J>) -> Option<Settlement> {
        let leave = self.cell.lock().leave.clone();
        let error = JobError::Lost(Box::new(self.loss(taken, leave.as_ref(), "its backend lost it")));
        taken.job().sealed().0.settle_error(error, Some(Owner::Worker))
    }

    fn killed(&self, taken: &Taken<J>) -> JobError {
        let leave = self.cell.lock().leave.clone();
        let loss = Box::new(self.loss(taken, leave.as_ref(), "its actor was killed, or its runtime shut down"));
        if leave.is_some_and(|leave| leave.is_loss()) { JobError::Lost(loss) } else { JobError::Killed(loss) }
    }

    /// The worker has ended unasked under the job of its claim. `save` gives the payload of one that is not delivered any more.
    pub(super) fn lose(&mut self, exit: &Exit, save: impl FnOnce(&J, &mut ClaimKey) -> Option<Payload>) {
        let (Some(taken), Some(mut key)) = (self.taken.take(), self.key.take()) else { return };
        // First: who learns of the outcome finds its label kept out, if it is from now on.
        self.plane.count_loss(taken.job().header());
        match self.plane.lose(&self.cell, &taken, exit) {
            // The payload stays where it is, for whoever claims the job next.
            Loss::Rests => taken.let_go(),
            Loss::Spent(letter) => {
                let (letter, told) = letter.with_payload(save(taken.job(), &mut key));
                let error = JobError::DeadLettered(letter);
                if self.end_with(taken, key, |_| error) {
                    self.plane.port.signal(Signal::DeadLettered(told));
                }
            }
            Loss::Ends => self.end_lost(taken, key, exit),
        }
    }

    /// The same for one that may run yet, or of whose end nothing is known: it is not delivered again, nor put down to its label.
    #[cfg(feature = "process")]
    pub(super) fn lose_for_good(&mut self, exit: &Exit) {
        if let (Some(taken), Some(key)) = (self.taken.take(), self.key.take()) {
            self.end_lost(taken, key, exit);
        }
    }

    /// Ends a claim whose worker has ended by itself, unless somebody took the worker for it just then.
    fn end_lost(&self, taken: Taken<J>, key: ClaimKey, exit: &Exit) {
        let asked = {
            let mut state = self.cell.lock();
            state.leave.get_or_insert_with(|| exit.clone());
            was_taken(&state)
        };
        if asked {
            return self.end_killed(taken, key);
        }
        self.end_with(taken, key, |taken| JobError::Lost(Box::new(self.loss(taken, Some(exit), ""))));
    }

    /// Ends a claim that was not run to its end, and gives the seat back.
    pub(super) fn end_killed(&self, taken: Taken<J>, key: ClaimKey) {
        self.end_with(taken, key, |taken| self.killed(taken));
    }

    /// The same, for this reason. True if the outcome was still open.
    fn end_with(&self, taken: Taken<J>, key: ClaimKey, why: impl FnOnce(&Taken<J>) -> JobError) -> bool {
        let inner = taken.job().sealed().0;
        // The future goes first, as with a task that is aborted; its outcome follows.
        inner.discard(key);
        let settled = inner.settle_error(why(&taken), Some(Owner::Worker));
        let ended = settled.as_ref().map(|settled| settled.ended);
        let owed = settled.map(|settled| Owed::new(inner, settled));
        let Self { plane, cell, .. } = self;
        plane.note_ended(cell, &taken, ended);
        plane.release(cell);
        let settled = owed.map(drop).is_some();
        // One that was abandoned has shown it until now.
        cell.lock().held = None;
        taken.let_go();
        settled
    }

    /// `exit`: what the worker's end is put down to, if that is known.
    fn loss(&self, taken: &Taken<J>, exit: Option<&Exit>, unasked: &str) -> KilledJob {
        let header = taken.job().header();
        let by = exit.map_or_else(|| Arc::from(unasked), Exit::blame);
        KilledJob {
            pool: self.plane.config.name.clone(),
            job: header.id(),
            label: header.label().cloned(),
            submitted_from: header.submitted_from(),
            worker: self.cell.id,
            by,
            silent_for: exit.and_then(Exit::silent_for),
            after: self.plane.clock.now().since(taken.since),
            #[cfg(feature = "process")]
            death: exit.and_then(Exit::death),
        }
    }
}
