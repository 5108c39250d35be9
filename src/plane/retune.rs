//! What is in force, and how it changes while jobs pass: DESIGN.md, section 14.

use super::{Inbox, Plane};
use crate::config::{ConfigError, Lane, Limits};
use crate::id::JobId;
use crate::job::Envelope;
use crate::sync::Ordering;

impl<J: ?Sized + Envelope> Plane<J> {
    /// The limits and lanes in force, from one moment.
    pub(crate) fn in_force(&self) -> (Limits, Vec<Lane>) {
        let _ready = self.ready.lock();
        (self.limits(), self.lanes.iter().map(|lane| lane.spec.in_force()).collect())
    }

    /// Puts new limits in force, beside the lanes as they are.
    pub(crate) fn resize(&self, limits: Limits) -> Result<usize, ConfigError> {
        self.retune(limits, &self.in_force().1)
    }

    /// Under both locks, by whoever looks afterwards who can start and come in.
    pub(super) fn set_lanes(&self, inbox: &Inbox<J>, lanes: &[Lane]) {
        for (state, lane) in self.lanes.iter().zip(lanes) {
            state.spec.set(lane, JobId(inbox.next_id));
        }
        // Where there are reserves nobody is calm; the next turnover by both locks looks again.
        self.disturb();
        self.reserves.store(lanes.iter().any(|lane| lane.reserve > 0), Ordering::Relaxed);
    }

    /// Another span may make jobs overdue that run: each is looked at when it is due by what is in force now.
    ///
    /// A job that is claimed meanwhile is seen here, or was claimed after the change and is watched by its worker: both locks lie between.
    pub(crate) fn watch_all(&self) {
        for cell in self.cells() {
            let Some(held) = cell.lock().in_hand() else { continue };
            if let Some(span) = self.overdue_after(&*held.job) {
                self.watch_progress(&cell, cell.progress(&held).after(span));
            }
        }
    }
}
