//! What a worker does, and since when: the part of its cell that is under a lock.

use super::Counts;
use super::hand::{Hand, Held, Shown};
use crate::id::ClaimNo;
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

/// Moves a worker from one state to the next, with what it holds then. The only place where [`Counts`] change.
#[inline]
pub(crate) fn transition(counts: &Counts, cell: &mut CellState, to: WorkerState, hand: Hand, now: Timestamp) {
    let held = cell.held.as_ref().map(|held| held.lane);
    let holds = match &hand {
        Hand::Empty => None,
        Hand::Takes(shown) => Some(shown.lane),
        Hand::Keeps => held,
    };
    counts.pass((cell.state, held), (to, holds));
    if cell.state != to || matches!(hand, Hand::Takes(_)) {
        cell.since = now;
    }
    cell.state = to;
    match hand {
        Hand::Empty => cell.held = None,
        Hand::Takes(shown) => cell.held = Some(shown),
        Hand::Keeps => {}
    }
}
