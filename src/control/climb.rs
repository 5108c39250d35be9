//! One target on a ladder, and what is told of it in the end.

use std::time::Duration;

use super::watchdog::Silence;
use crate::id::ClaimNo;
use crate::job::{Envelope, Header, Share};
use crate::plane::Condemned;
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::{Ended, Fate, Rung, Target, TargetReport};
use crate::sync::{Arc, Timestamp};

/// Where the report of a target goes: which request, which row.
pub(super) type Row = (u64, usize);

/// One target on the ladder.
pub(super) struct Climb {
    pub(super) target: Target,
    /// `None`: nobody wants to know.
    pub(super) row: Option<Row>,
    pub(super) began: Timestamp,
    /// Its worker, looked up once, when its turn comes first: a cell outlives its incarnation. `Some(None)`: queued, or nobody by that number.
    pub(super) cell: Option<Option<Arc<Cell>>>,
    /// What its worker's end is put down to.
    pub(super) exit: Exit,
    /// For an overdue job: it is let off if it makes progress.
    pub(super) silence: Option<Silence>,
    pub(super) rungs: Arc<[(Rung, Duration)]>,
    /// The next rung.
    pub(super) next: usize,
    /// When the grace of the last one is over.
    pub(super) until: Timestamp,
    pub(super) condemned: Option<Condemned>,
    /// Since when it waits for what becomes of the job that its worker was lent.
    pub(super) spares_since: Option<Timestamp>,
    /// The job that is or was in the worker's hands, or was lent to it.
    pub(super) job: Option<Share<dyn Envelope>>,
    /// For a queued job: whether it was taken out.
    pub(super) withdrawn: Option<bool>,
    pub(super) fate: Option<(Fate, Option<Rung>, Duration)>,
}

impl Climb {
    pub(super) fn new(target: Target, rungs: Arc<[(Rung, Duration)]>, exit: Exit, began: Timestamp) -> Self {
        Self {
            target,
            row: None,
            began,
            cell: None,
            exit,
            silence: None,
            rungs,
            next: 0,
            until: began,
            condemned: None,
            spares_since: None,
            job: None,
            withdrawn: None,
            fate: None,
        }
    }

    pub(super) fn worker(&self) -> Option<&Arc<Cell>> {
        self.cell.as_ref()?.as_ref()
    }

    pub(super) fn last_rung(&self) -> Option<Rung> {
        self.next.checked_sub(1).map(|last| self.rungs[last].0)
    }

    pub(super) fn ended_by_itself(&self) -> bool {
        let ended = self.job.as_ref().and_then(|job| job.header().ended());
        matches!(ended, Some(Ended::Completed | Ended::Panicked))
    }

    /// The claim that its worker must hold; `None`: whichever it does.
    pub(super) fn claim(&self) -> Option<ClaimNo> {
        match self.target {
            Target::Claim { claim, .. } => Some(claim),
            Target::Worker(_) | Target::Queued(_) => None,
        }
    }

    /// The whole worker is meant, and after the job that it had when it was condemned it had the one that it was lent.
    pub(super) fn went_on(&self) -> bool {
        let condemned = self.condemned.as_ref().filter(|_| self.claim().is_none());
        let claim = condemned.and_then(|condemned| condemned.job.as_ref()).map(|(_, claim)| claim.0);
        claim.zip(self.worker()).is_some_and(|(claim, cell)| cell.lock().claims() > claim)
    }
}

pub(super) fn cancel(cell: &Cell, claim: Option<ClaimNo>) {
    let held = {
        let state = cell.lock();
        state.held.as_ref().filter(|held| claim.is_none_or(|claim| held.claim == claim)).map(|held| held.job.clone())
    };
    if let Some(job) = held {
        job.header().cancel();
    }
}

/// What became of a target, once that is known.
pub(super) fn report(climb: &Climb) -> Option<TargetReport> {
    let (fate, rung, took) = climb.fate?;
    let rung = rung.filter(|_| !matches!(fate, Fate::Stale));
    let header = climb.job.as_ref().map(|job| job.header());
    let named = match climb.target {
        Target::Claim { job, .. } | Target::Queued(job) => Some(job),
        Target::Worker(_) => None,
    };
    let job = named.or(header.map(Header::id));
    let outcome = header.and_then(Header::ended).or((fate == Fate::Withdrawn).then_some(Ended::Cancelled));
    Some(TargetReport { target: climb.target, fate, rung, took, job, outcome })
}
