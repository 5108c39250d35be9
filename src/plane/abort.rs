//! The end of the plane, and of jobs that never begin.

use super::{Plane, Unstarted};
use crate::error::{CloseReason, JobError, KilledJob, NotStarted, StartError, StartFailed};
use crate::gate::Gate;
use crate::id::{ClaimNo, LaneId};
use crate::job::{Envelope, Share};
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::WorkerState;
use crate::sync::Arc;

/// So many queued jobs are ended in one pass, or workers looked at.
const PASS: usize = 256;

/// A worker that has not ended when its pool was aborted, with the job that it had in hand.
pub(crate) struct Left {
    pub(crate) cell: Arc<Cell>,
    pub(crate) job: Option<Share<dyn Envelope>>,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Takes up to a pass's worth of jobs out of their lines, dead ones among them.
    fn take_some(&self) -> Vec<Share<J>> {
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        let mut jobs = Vec::new();
        self.move_in(&mut ready, &mut inbox);
        while jobs.len() < PASS
            && let Some(job) = self.wake_first(&mut ready)
        {
            jobs.push(job);
        }
        for line in &mut ready.lanes {
            while jobs.len() < PASS
                && let Some(job) = line.pop()
            {
                jobs.push(job);
            }
        }
        jobs
    }

    /// From now on, jobs that never begin are kept for [`take_unstarted`](Self::take_unstarted).
    pub(crate) fn keep_unstarted(&self) {
        self.unstarted.lock().get_or_insert_default();
    }

    /// Nobody will come for what was kept, or for more of it.
    pub(crate) fn give_up_unstarted(&self) -> Unstarted<J> {
        self.unstarted.lock().take().unwrap_or_default()
    }

    /// What was kept, with the right to the payloads; more may be kept yet.
    pub(crate) fn take_unstarted(&self) -> Unstarted<J> {
        self.unstarted.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Ends queued jobs as not started, as many as are one pass's worth for the control thread. False once nothing is queued.
    pub(crate) fn fail_some(&self, reason: &CloseReason) -> bool {
        let jobs = self.take_some();
        if jobs.is_empty() {
            return false;
        }
        let ended = self.end_taken(jobs, |job| self.not_started(job, reason));
        self.keep_or_discard(ended);
        true
    }

    /// Jobs that never began, which have their outcomes: kept for whoever wants them back, if anybody does.
    pub(super) fn keep_or_discard(&self, ended: Unstarted<J>) {
        match &mut *self.unstarted.lock() {
            Some(unstarted) => unstarted.extend(ended),
            None => ended.into_iter().for_each(|(job, key)| self.discard(job.erase(), Some(key))),
        }
    }

    /// Jobs of lanes without a queue that were handed to a worker whose start failed share its fate.
    pub(crate) fn fail_handed_over(&self, error: &Arc<StartError>) {
        let mut failed = Vec::new();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            self.move_in(&mut ready, &mut inbox);
            for (index, lane) in self.lanes.iter().enumerate() {
                let Ok(id) = u16::try_from(index).map(LaneId) else { continue };
                if lane.spec.capacity() > 0 {
                    continue;
                }
                let line = &mut ready.lanes[index];
                while line.front().is_some_and(|job| !job.header().is_queued()) {
                    failed.extend(line.pop());
                }
                // Behind one that was let into a queue, which has been taken away since, all wait as in one.
                // So they do behind one that was handed over to a worker before, which was lost under it.
                let was_handed_over = |job: &Share<J>| {
                    lane.spec.was_handed_over(job.header().id()) && job.header().lost_deliveries() == 0
                };
                if !line.front().is_some_and(was_handed_over) {
                    continue;
                }
                let mut excess = self.queued_awake(index).saturating_sub(self.startable(id, None));
                while excess > 0
                    && let Some(job) = ready.lanes[index].pop()
                {
                    excess -= usize::from(job.header().is_queued());
                    failed.push(job);
                }
            }
        }
        let error_of = |job: &Share<dyn Envelope>| self.start_failed(job, error);
        for (job, key) in self.end_taken(failed, error_of) {
            self.discard(job.erase(), Some(key));
        }
    }

    /// However the pool dies, this closes the gate and tells all workers to leave; nothing is taken or put back any more. What is queued is
    /// left to [`fail_some`](Self::fail_some), and what runs to [`abort_some`](Self::abort_some), with those that this returns.
    pub(crate) fn close(&self, reason: CloseReason) -> Vec<Arc<Cell>> {
        // Closed already is closed: what follows ends the rest.
        let _ = self.set_gate(Gate::Closed(reason));
        self.stop_all()
    }

    /// Writes the outcomes of the jobs that run on the last of `cells`, which it takes out, as many as are one pass's worth for the control
    /// thread. `runs_no_more` says whether the code of a claim is certain to run no more, or sees to it: its job was killed then, and
    /// else abandoned. One that was not begun has not started. What this returns has not ended.
    pub(crate) fn abort_some(
        &self,
        cells: &mut Vec<Arc<Cell>>,
        reason: &CloseReason,
        by: &Arc<str>,
        runs_no_more: &dyn Fn(&Cell, ClaimNo) -> bool,
    ) -> Vec<Left> {
        let (mut left, exit) = (Vec::new(), Exit::Killed(by.clone()));
        for cell in cells.drain(cells.len().saturating_sub(PASS)..) {
            let (mut held, condemned, lent) = {
                // Under this lock no worker goes on to what it was lent: either that is in hand by now, or is taken along here.
                let mut ready = self.ready.lock();
                let held = cell.lock().in_hand();
                let condemned = held.as_ref().and_then(|held| self.condemn(&cell, Some(held.claim), &exit));
                (held, condemned, self.take_lent(&mut ready, cell.id))
            };
            if let Some(condemned) = condemned
                && let Some((job, claim)) = &condemned.job
            {
                if cell.take_back(*claim) {
                    // Its worker had not begun it, and will not.
                    self.settle_for(job, self.not_started(job, reason));
                    held = None;
                } else {
                    job.header().cancel();
                    if runs_no_more(&cell, *claim) {
                        self.settle_killed(&condemned, &exit);
                    } else {
                        self.abandon(&cell, &exit);
                    }
                }
            }
            if let Some(lent) = lent {
                // Of what is lent nothing runs here, and so nothing of its worker has to be in hand for it to be killed elsewhere.
                let claim = held.as_ref().map_or(ClaimNo(0), |held| held.claim);
                let error: fn(Box<KilledJob>) -> JobError =
                    if runs_no_more(&cell, claim) { JobError::Killed } else { JobError::Abandoned };
                lent.job.header().cancel();
                self.end_lent(lent, &cell, &exit, self.clock.now(), error);
            }
            let state = cell.lock().state;
            if matches!(
                state,
                WorkerState::Condemned | WorkerState::Abandoned | WorkerState::Starting | WorkerState::Leaving
            ) {
                left.push(Left { cell, job: held.map(|held| held.job) });
            }
        }
        left
    }

    pub(super) fn not_started(&self, job: &Share<dyn Envelope>, reason: &CloseReason) -> JobError {
        let (pool, header) = (self.config.name.clone(), job.header());
        let (job, label, submitted_from) = (header.id(), header.label().cloned(), header.submitted_from());
        let (reason, lost_deliveries) = (reason.clone(), header.lost_deliveries());
        JobError::NotStarted(Box::new(NotStarted { pool, job, label, submitted_from, reason, lost_deliveries }))
    }

    fn start_failed(&self, job: &Share<dyn Envelope>, error: &Arc<StartError>) -> JobError {
        let (pool, header) = (self.config.name.clone(), job.header());
        let (job, label, submitted_from) = (header.id(), header.label().cloned(), header.submitted_from());
        JobError::StartFailed(Box::new(StartFailed { pool, job, label, submitted_from, source: error.clone() }))
    }
}
