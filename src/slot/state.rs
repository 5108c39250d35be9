//! What a worker does, and since when: the part of its cell that is under a lock.

use super::Counts;
use super::hand::{Held, Shown};
use crate::id::{ClaimNo, LaneId};
use crate::job::{Envelope, Share};
use crate::policy::{Exit, RecycleReason};
use crate::snapshot::WorkerState;
use crate::sync::Timestamp;

/// The part of a cell that changes. What each job changes comes first.
#[repr(C)]
pub(crate) struct CellState {
    pub(crate) since: Timestamp,
    pub(crate) held: Option<Shown>,
    /// Claims so far.
    claims: u64,
    pub(crate) state: WorkerState,
    /// To be recycled when its turn comes.
    pub(crate) due: Option<RecycleReason>,
    /// Told to leave after the job in hand, and what to call it.
    pub(crate) leave: Option<Exit>,
}

impl CellState {
    /// Before its first transition.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { state: WorkerState::Gone, since, held: None, claims: 0, leave: None, due: None }
    }

    /// The number of the next claim.
    pub(crate) fn next_claim(&mut self) -> ClaimNo {
        self.claims += 1;
        ClaimNo(self.claims)
    }

    /// How many claims it has had.
    pub(crate) fn claims(&self) -> u64 {
        self.claims
    }

    /// True if the incarnation holds a seat.
    pub(crate) fn seated(&self) -> bool {
        use WorkerState::{Busy, Condemned, Idle, Starting};
        matches!(self.state, Starting | Idle | Busy | Condemned)
    }

    /// The job that a kill would hit, while the worker has a seat.
    pub(super) fn condemnable(&self) -> Option<(Share<dyn Envelope>, ClaimNo)> {
        let held = self.held.as_ref().filter(|_| self.seated())?;
        Some((held.job.clone(), held.claim))
    }

    /// What is in hand, with a share in it.
    pub(crate) fn in_hand(&self) -> Option<Held> {
        self.held.as_deref().cloned()
    }

    /// True if it will take no more jobs.
    pub(crate) fn departs(&self) -> bool {
        self.leave.is_some() || !matches!(self.state, WorkerState::Starting | WorkerState::Idle | WorkerState::Busy)
    }
}

/// Moves a worker to another state, with nothing in its hands. In this file alone [`Counts`] change.
#[inline]
pub(crate) fn transition(counts: &Counts, cell: &mut CellState, to: WorkerState, now: Timestamp) {
    shift(counts, cell, to, None, now);
    cell.held = None;
}

/// Moves a worker to a job that it takes into its hands.
#[inline]
pub(crate) fn take_up(counts: &Counts, cell: &mut CellState, shown: Shown, now: Timestamp) {
    shift(counts, cell, WorkerState::Busy, Some(shown.lane), now);
    // Also from one job to the next.
    cell.since = now;
    cell.held = Some(shown);
}

/// Gives a worker up, which keeps what it has in its hands.
pub(crate) fn abandon(counts: &Counts, cell: &mut CellState, now: Timestamp) {
    let keeps = cell.held.as_ref().map(|held| held.lane);
    shift(counts, cell, WorkerState::Abandoned, keeps, now);
}

#[inline]
fn shift(counts: &Counts, cell: &mut CellState, to: WorkerState, holds: Option<LaneId>, now: Timestamp) {
    let held = cell.held.as_ref().map(|held| held.lane);
    // From one job of a lane to the next nothing is counted, so that readers see no dip.
    if cell.state != to || held != holds {
        counts.pass((cell.state, held), (to, holds));
    }
    if cell.state != to {
        (cell.state, cell.since) = (to, now);
    }
}
