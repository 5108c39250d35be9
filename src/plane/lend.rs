//! Jobs that are lent: handed to a worker that has another one in hand, so that it need not wait for its next one. A job that is lent counts as
//! queued. It is begun by its worker's turnover, goes back into its lane, or ends with its worker. States and the argument: DESIGN.md,
//! section 15.

use tracing::Span;

use super::lent::Lent;
use super::turnover::{Spent, Turned};
use super::{After, Plane, Ready};
use crate::error::{JobError, KilledJob};
use crate::id::{ClaimNo, WorkerId};
use crate::job::{ClaimKey, Envelope, InHand, JobContext, PoolNo, Runs, Share, inside, span_ahead, tell_end};
use crate::policy::Exit;
use crate::slot::{Cell, CellState, Taken};
use crate::sync::{Arc, Ordering, Timestamp};

/// So many dead entries of a line are passed in one hold of the lock.
const MOST_LOOKS: usize = 64;

/// A job that is lent, as the lender has it, and the right to its payload, which stays his whoever ends the loan. Dropped, it goes back to the front of its lane;
/// but once it was [handed over](Self::hand_over) it may have begun, and ends as lost.
pub(crate) struct Loan<J: ?Sized + Envelope> {
    plane: Arc<Plane<J>>,
    cell: Arc<Cell>,
    /// `None` once it has been begun, or is over.
    job: Option<Share<J>>,
    handed_over: bool,
    /// The job's span, once code of it has run, and somebody wants it. It goes to its claim.
    span: Option<Span>,
}

impl<J: ?Sized + Envelope> Loan<J> {
    /// Has `f` look at the job's payload as the job's own code: in its span, with its context current, and not in those of the job in hand. There is one loan of it, and
    /// so one right to look.
    pub(crate) fn as_job<R>(&mut self, f: impl FnOnce(&Share<J>, &mut ClaimKey) -> R) -> Option<R> {
        let Self { plane, cell, span, job, .. } = self;
        let job = job.as_ref()?;
        let header = job.header();
        if span.is_none() {
            *span = span_ahead(header, cell.id, || (&*plane.config.name, &*plane.lane(header.lane()).spec.name));
        }
        let in_span = span.as_ref().map(Span::enter);
        let looked = inside(&Ahead { job, cell }, || f(job, &mut ClaimKey::of(job)));
        if in_span.is_some() {
            tell_end(in_span);
        }
        Some(looked)
    }

    /// From now on it may begin.
    pub(crate) fn hand_over(&mut self) {
        self.handed_over = true;
    }

    /// It has not begun, and will not: back to the front of its lane.
    pub(crate) fn give_back(mut self) {
        if let Some(job) = self.job.take() {
            self.plane.return_loan(&self.cell, job);
        }
    }

    /// The job has begun, and its worker, which is gone, took it along: it ends as that did. Lost, unless that `was_killed`: what its worker was told about the job
    /// before says nothing of this one.
    pub(crate) fn end_with(mut self, exit: &Exit, was_killed: bool) {
        if let Some(job) = self.job.take() {
            self.plane.lose_loan(&self.cell, &job, exit, was_killed);
        }
    }
}

impl<J: ?Sized + Envelope> Drop for Loan<J> {
    fn drop(&mut self) {
        tell_end(self.span.take());
        let Some(job) = self.job.take() else { return };
        if self.handed_over {
            self.plane.lose_loan(&self.cell, &job, &Exit::Lost, false);
        } else {
            self.plane.return_loan(&self.cell, job);
        }
    }
}

/// A job that is lent, while code of it runs.
struct Ahead<'a, J: ?Sized + Envelope> {
    job: &'a Share<J>,
    cell: &'a Arc<Cell>,
}

impl<J: ?Sized + Envelope> Runs for Ahead<'_, J> {
    fn context(&self) -> JobContext {
        // It has no claim yet.
        JobContext::new(self.job.clone().erase(), Arc::new(NotInHand(self.cell.clone())), ClaimNo(0))
    }
}

/// A worker, for a job that it was lent: it is in nobody's hands.
struct NotInHand(Arc<Cell>);

impl InHand for NotInHand {
    fn worker(&self) -> WorkerId {
        self.0.id
    }

    fn pool(&self) -> PoolNo {
        InHand::pool(&*self.0)
    }

    fn is_busy_with(&self, _claim: ClaimNo) -> bool {
        false
    }

    fn is_abandoned_with(&self, _claim: ClaimNo) -> bool {
        false
    }

    /// Nobody waits for its progress; the worker's beats are those of the job in hand.
    fn beat(&self, _claim: ClaimNo) {}
}

/// A worker that may be lent the job after the one in hand.
pub(crate) struct Lends<'a, J: ?Sized + Envelope> {
    pub(super) plane: &'a Arc<Plane<J>>,
    pub(super) cell: &'a Arc<Cell>,
    pub(crate) loan: &'a mut Option<Loan<J>>,
}

impl<J: ?Sized + Envelope> Lends<'_, J> {
    /// Has it lent the job that its worker would take next, if that gains anything.
    pub(crate) fn lend(&mut self) {
        *self.loan = self.plane.lend(self.cell);
    }
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Lends the job that this worker, which has one in hand, would take next. `None`: there is none, or it would gain nothing, or have to be
    /// looked at again before it begins: one with a limit to its wait ends in the tick in which that passes.
    pub(super) fn lend(self: &Arc<Self>, cell: &Arc<Cell>) -> Option<Loan<J>> {
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
            if stays { self.lend_first(&mut ready, cell, &mut dead) } else { None }
        };
        // With nothing held: the last of a job may be the user's.
        drop(dead);
        lent.map(|job| Loan { plane: self.clone(), cell: cell.clone(), job: Some(job), handed_over: false, span: None })
    }

    /// A pool of one lane, whose seats all have jobs, and in which more wait: no worker comes for those sooner than this one does.
    fn may_lend(&self) -> bool {
        let counts = &self.counts;
        let all_busy = counts.idle() == 0 && counts.starting() == 0 && self.startable_workers() == 0;
        let plain = self.lanes.len() == 1 && !self.has_reserves() && self.lanes[0].spec.capacity() > 0;
        plain && all_busy && self.queued_awake(0) > 0 && !self.keeps_out.load(Ordering::Relaxed)
    }

    fn lend_first(&self, ready: &mut Ready<J>, cell: &Cell, dead: &mut Vec<Share<J>>) -> Option<Share<J>> {
        for _ in 0..MOST_LOOKS {
            let header = ready.lanes[0].front()?.header();
            if header.is_queued() && (header.is_cancelled() || self.expires_at(header) != Timestamp::NEVER) {
                return None;
            }
            let job = ready.lanes[0].pop()?;
            if job.header().lend() {
                let before = ready.lent.insert(cell.id, Lent { job: job.clone(), awaited: false });
                debug_assert!(before.is_none(), "a worker is lent one job at most");
                self.lanes[0].begin_loan();
                return Some(job);
            }
            dead.push(job);
        }
        None
    }

    /// A turnover from one job to the one that was lent, whatever the worker was told meanwhile: its child may have begun that one. With the span that it has, if it
    /// has one. `None`: nothing was done, since it was taken from this worker, or this worker from it.
    pub(super) fn turn_to_lent(
        &self,
        cell: &Arc<Cell>,
        now: Timestamp,
        spent: Option<&Spent>,
        loan: &mut Option<Loan<J>>,
        taken: &mut Option<Taken<J>>,
    ) -> Option<(Turned<J>, Option<Span>)> {
        let mut after = After::default();
        let mut ready = self.ready.lock();
        let shard = self.shard(cell.id.slot as usize);
        let Lent { awaited, .. } = self.take_lent(&mut ready, cell.id)?;
        // The lender's share: the record's was another.
        let mut loan = loan.take()?;
        // Nothing of it is dropped under the lock but shares that others have, too.
        let (job, span) = (loan.job.take()?, loan.span.take());
        let mut state = cell.lock();
        if let Some(spent) = spent {
            self.note_spent(shard, cell, spent, now, &mut after.rare);
        }
        self.ready.passed(job.header().lane().index());
        let begun = job.header().begin_loan();
        debug_assert!(begun, "the record goes with the state");
        let turn = self.seat(shard, &mut state, job, now, taken);
        drop(state);
        if ready.waiters {
            // A place came free.
            self.rouse(&mut ready, &mut self.inbox.lock(), &mut after);
        }
        drop(ready);
        if awaited {
            after.rare().returned = true;
        }
        let (called, rare) = (after.wake.is_some(), after.rare.take());
        self.after(after);
        Some((Turned { turn, called, more: false, rare }, span))
    }

    /// A job that was lent and has not begun goes back to the front of its lane. An abort that is under way finds it there: it takes all loans before it ends what
    /// is queued.
    fn return_loan(&self, cell: &Cell, job: Share<J>) {
        let mut after = After::default();
        let awaited = {
            let mut ready = self.ready.lock();
            let Some(Lent { awaited, .. }) = self.take_lent(&mut ready, cell.id) else {
                drop(ready);
                // It has its outcome.
                return job.sealed().0.discard(ClaimKey::of(&job));
            };
            let mut inbox = self.inbox.lock();
            let returned = job.header().return_loan();
            debug_assert!(returned, "the record goes with the state");
            ready.lanes[job.header().lane().index()].push_front(job.clone());
            self.disturb();
            self.rouse(&mut ready, &mut inbox, &mut after);
            awaited
        };
        self.is_back(&job, None, after);
        self.tell_returned(awaited);
    }

    /// A job that was lent has begun, and its worker is gone. The payload goes first, as with a task that is aborted; if its drop does not end, whoever takes the
    /// worker ends the loan.
    fn lose_loan(&self, cell: &Cell, job: &Share<J>, exit: &Exit, was_killed: bool) {
        job.sealed().0.discard(ClaimKey::of(job));
        let lent = self.take_lent(&mut self.ready.lock(), cell.id);
        if let Some(lent) = lent {
            let leave = cell.lock().leave.clone().filter(|_| was_killed);
            let exit = leave.as_ref().unwrap_or(exit);
            let error: fn(Box<KilledJob>) -> JobError = if exit.is_loss() { JobError::Lost } else { JobError::Killed };
            self.end_lent(lent, cell, exit, self.clock.now(), error);
        }
    }
}

/// True if it takes no more jobs after the one in hand, or is to be asked whether it does.
fn is_leaving(state: &CellState) -> bool {
    state.departs() || state.due.is_some()
}
