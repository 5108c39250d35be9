//! Progress: a worker whose job may become overdue has one entry in the calendar, however many jobs it runs meanwhile, and a beat
//! touches no timer. States and the argument: DESIGN.md, section 12.

use std::time::Duration;

use super::{Overdue, Plane, Signal};
use crate::job::Envelope;
use crate::slot::Cell;
use crate::sync::{Arc, Timestamp};

impl<J: ?Sized + Envelope> Plane<J> {
    /// How long a job may make no progress.
    pub(crate) fn overdue_after(&self, job: &dyn Envelope) -> Option<Duration> {
        let header = job.header();
        header.overdue_after(self.lane(header.lane()).spec.overdue_after())
    }

    /// Has the job in hand of this worker, whichever it is then, looked at by `at`.
    pub(crate) fn watch_progress(&self, cell: &Arc<Cell>, at: Timestamp) {
        if cell.watch_until(at) {
            self.due.silent(at, cell.clone(), &*self.port);
        }
    }

    /// An entry of the calendar has come due. A job that has made no progress for too long is control's from here on, until that has it
    /// [watched](Self::watch_progress) again.
    pub(super) fn look_at_progress(&self, cell: &Arc<Cell>, now: Timestamp) {
        if !cell.take_watch(now) {
            // Another entry, for an earlier moment, has taken its place.
            return;
        }
        let Some(held) = cell.lock().in_hand() else { return };
        // What has ended a job while it runs looks after its worker.
        if held.job.header().is_done() {
            return;
        }
        let Some(span) = self.overdue_after(&*held.job) else { return };
        let since = cell.progress(&held);
        let due = since.after(span);
        if due > now {
            return self.watch_progress(cell, due);
        }
        self.port.signal(Signal::Overdue(Overdue { worker: cell.id, claim: held.claim, since }));
    }
}
