//! Whether a worker is to be recycled. It takes jobs as ever while that is asked; one whose recycling was denied is asked about again
//! after a pause.

use std::collections::HashMap;
use std::time::Duration;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::control::supervisor::Supervision;
use crate::hook::Question;
use crate::id::{By, WorkerId};
use crate::policy::RecycleReason;
use crate::slot::Cell;
use crate::sync::{Arc, Timestamp};

/// How long a worker works on whose recycling was denied, until that is asked again.
const PAUSE: Duration = Duration::from_secs(60);

/// Workers that are asked about, or may stay for a while.
pub(super) type Kept = HashMap<WorkerId, Keep>;

pub(super) struct Keep {
    cell: Arc<Cell>,
    /// Until when it may stay; `NEVER`: it is asked about.
    until: Timestamp,
}

/// What a worker was asked about for.
struct Case {
    cell: Arc<Cell>,
    reason: RecycleReason,
    /// How many jobs it had claimed by then.
    claims: u64,
}

impl Case {
    /// True if it was to go because it idled, and has worked since.
    fn is_void(&self) -> bool {
        matches!(self.reason, RecycleReason::Idle(_)) && self.cell.lock().claims() != self.claims
    }
}

impl<B: Backend> Supervision<B> {
    /// Has a worker recycled, if the hooks allow it. One that is asked about already, or was denied just now, is left alone.
    pub(in crate::control) fn ask_recycle(&mut self, cell: Arc<Cell>, reason: RecycleReason) {
        if self.hooks.kept.contains_key(&cell.id) {
            return;
        }
        let (worker, claims) = (cell.id, cell.lock().claims());
        self.hooks.kept.insert(worker, Keep { cell: cell.clone(), until: Timestamp::NEVER });
        let case = Case { cell, reason, claims };
        self.ask_hooks(Question::Recycle { worker, reason }, By::Recycling, move |supervision, ruling| {
            supervision.on_recycle_ruled(case, &ruling)
        });
    }

    fn on_recycle_ruled(&mut self, case: Case, ruling: &Ruling) {
        let now = self.now();
        let is_void = case.is_void();
        let Case { cell, reason, .. } = case;
        self.hooks.kept.remove(&cell.id);
        match (ruling, self.plane().worn(&cell, Some(reason), now)) {
            // It has left, or is to leave, or is fresh again.
            (_, None) => {}
            (_, Some(reason)) if is_void => self.ask_recycle(cell, reason),
            (Ruling::Allowed, Some(reason)) => self.make_due(cell, reason),
            (Ruling::Denied(_), Some(_)) => {
                self.hooks.kept.insert(cell.id, Keep { cell, until: now.after(PAUSE) });
            }
        }
    }

    /// Asks again about those whose pause is over. Who has grown is found again by the next look. Says when to look again.
    pub(in crate::control) fn ask_recycles_again(&mut self, now: Timestamp) -> Timestamp {
        if self.hooks.kept.is_empty() {
            return Timestamp::NEVER;
        }
        let over: Vec<_> = self.hooks.kept.extract_if(|_, keep| keep.until <= now).map(|(_, keep)| keep.cell).collect();
        for cell in over {
            if let Some(reason) = self.plane().worn(&cell, None, now) {
                self.ask_recycle(cell, reason);
            }
        }
        self.hooks.kept.values().map(|keep| keep.until).min().unwrap_or(Timestamp::NEVER)
    }
}
