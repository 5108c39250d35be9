//! Jobs that are lent: handed to a worker that has another one in hand, so that it need not wait for its next one. A job that is lent counts as
//! queued, and nobody writes its outcome; it is begun by its worker's turnover, or goes back into its lane. States and the argument: DESIGN.md,
//! section 15.

use super::turnover::{Spent, Turn, Turned};
use super::{After, Plane, Ready, Seldom};
use crate::error::JobError;
use crate::gate::Gate;
use crate::job::{ClaimKey, Envelope, Share};
use crate::policy::Exit;
use crate::slot::{Cell, CellState};
use crate::snapshot::WorkerState;
use crate::sync::{Arc, Ordering, Timestamp};

/// So many dead entries of a line are passed in one hold of the lock.
const MOST_LOOKS: usize = 64;

/// A job that is lent. Dropped, it goes back to the front of its lane: for whoever knows that it has not begun, and will not.
pub(crate) struct Loan<J: ?Sized + Envelope> {
    plane: Arc<Plane<J>>,
    /// `None` once it has been begun.
    job: Option<Share<J>>,
}

impl<J: ?Sized + Envelope> Loan<J> {
    /// The job, and the right to look at its payload: the winner of the loan has it, and there is one loan.
    pub(crate) fn job(&mut self) -> Option<(&Share<J>, ClaimKey)> {
        self.job.as_ref().map(|job| (job, ClaimKey::of(job)))
    }

    /// The job has begun, and its worker, which is gone, took it along: it ends as that did.
    pub(crate) fn end_with(mut self, cell: &Cell, exit: &Exit) {
        let (plane, Some(job)) = (self.plane.clone(), self.job.take()) else { return };
        plane.begin_loan(&mut plane.ready.lock(), &job);
        let inner = job.sealed().0;
        inner.discard(ClaimKey::of(&job));
        let now = plane.clock.now();
        let erased = job.clone().erase();
        let ended = Box::new(plane.killed_job(&erased, cell, exit, now, now));
        plane.settle_for(&erased, if exit.is_loss() { JobError::Lost(ended) } else { JobError::Killed(ended) });
    }
}

impl<J: ?Sized + Envelope> Drop for Loan<J> {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.plane.return_loan(job);
        }
    }
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Lends the job that this worker, which has one in hand, would take next. `None`: there is none, or it would gain nothing, or have to be
    /// looked at again before it begins: one with a limit to its wait ends in the tick in which that passes.
    pub(super) fn lend(self: &Arc<Self>, cell: &Cell) -> Option<Loan<J>> {
        if !self.may_lend() {
            return None;
        }
        let mut dead = Vec::new();
        let lent = {
            let mut ready = self.ready.lock();
            if ready.lanes[0].is_empty() {
                self.move_in(&mut ready, &mut self.inbox.lock());
            }
            let stays = ready.dispatches && !ready.in_debt && !ready.lets_one_go && !is_leaving(&cell.lock());
            if stays { self.lend_first(&mut ready, &mut dead) } else { None }
        };
        // With nothing held: the last of a job may be the user's.
        drop(dead);
        lent.map(|job| Loan { plane: self.clone(), job: Some(job) })
    }

    /// A pool of one lane, whose seats all have jobs, and in which more wait: no worker comes for those sooner than this one does.
    fn may_lend(&self) -> bool {
        let counts = &self.counts;
        let all_busy = counts.idle() == 0 && counts.starting() == 0 && self.startable_workers() == 0;
        let plain = self.lanes.len() == 1 && !self.has_reserves() && self.lanes[0].spec.capacity() > 0;
        plain && all_busy && self.queued_awake(0) > 0 && !self.keeps_out.load(Ordering::Relaxed)
    }

    fn lend_first(&self, ready: &mut Ready<J>, dead: &mut Vec<Share<J>>) -> Option<Share<J>> {
        for _ in 0..MOST_LOOKS {
            let header = ready.lanes[0].front()?.header();
            if header.is_queued() && (header.is_cancelled() || self.expires_at(header) != Timestamp::NEVER) {
                return None;
            }
            let job = ready.lanes[0].pop()?;
            if job.header().lend() {
                ready.lent.push(job.header().id());
                self.lanes[0].begin_loan();
                return Some(job);
            }
            dead.push(job);
        }
        None
    }

    /// A turnover from one job to the one that was lent, whatever the worker was told meanwhile: its child may have begun that one. `None`: nothing was
    /// done, since a worker that was condemned or abandoned takes none.
    pub(super) fn turn_to_lent(
        &self,
        cell: &Arc<Cell>,
        now: Timestamp,
        spent: Option<&Spent>,
        lent: &mut Option<Loan<J>>,
    ) -> Option<Turned<J>> {
        let (mut after, mut rare): (After<J>, Seldom<J>) = (After::default(), None);
        let mut ready = self.ready.lock();
        let shard = self.shard(cell.id.slot as usize);
        let mut state = cell.lock();
        if state.state != WorkerState::Busy {
            return None;
        }
        let job = lent.take()?.job.take()?;
        if let Some(spent) = spent {
            self.note_spent(shard, cell, spent, now, &mut rare);
        }
        self.begin_loan(&mut ready, &job);
        let Turn::Run(taken) = self.seat(shard, &mut state, job, now) else { return None };
        drop(state);
        if ready.waiters {
            // A place came free.
            self.rouse(&mut ready, &mut self.inbox.lock(), &mut after);
        }
        drop(ready);
        let called = after.wake.is_some();
        self.after(after);
        Some(Turned { turn: Turn::Run(taken), called, more: false, rare })
    }

    /// A job that was lent is its worker's claim from now on. Under the ready lock.
    fn begin_loan(&self, ready: &mut Ready<J>, job: &Share<J>) {
        self.ready.passed(job.header().lane().index());
        self.end_loan(ready, job);
        let begun = job.header().begin_loan();
        debug_assert!(begun, "nobody ends a job that is lent");
    }

    fn end_loan(&self, ready: &mut Ready<J>, job: &Share<J>) {
        let header = job.header();
        ready.lent.retain(|lent| *lent != header.id());
        self.lane(header.lane()).end_loan();
    }

    /// A job that was lent and has not begun goes back to the front of its lane; in a pool that has ended it has not started.
    fn return_loan(&self, job: Share<J>) {
        let mut after = After::default();
        let closed = {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            self.end_loan(&mut ready, &job);
            job.header().return_loan();
            let closed = if let Gate::Closed(reason) = &inbox.gate { Some(reason.clone()) } else { None };
            if closed.is_none() {
                ready.lanes[job.header().lane().index()].push_front(job.clone());
                self.disturb();
            }
            self.rouse(&mut ready, &mut inbox, &mut after);
            closed
        };
        match closed {
            None => self.is_back(&job, None, after),
            Some(reason) => {
                self.after(after);
                let ended = self.end_taken(vec![job], |job| self.not_started(job, &reason));
                self.keep_or_discard(ended);
            }
        }
    }
}

/// True if it takes no more jobs after the one in hand, or is to be asked whether it does.
fn is_leaving(state: &CellState) -> bool {
    state.departs() || state.due.is_some()
}
