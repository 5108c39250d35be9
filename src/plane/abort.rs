//! The end of the plane, and of jobs that never begin.

use super::{Plane, Unstarted};
use crate::error::{CloseReason, JobError, NotStarted, StartError, StartFailed};
use crate::gate::Gate;
use crate::id::{ClaimNo, LaneId};
use crate::job::Envelope;
use crate::slot::Cell;
use crate::snapshot::WorkerState;
use crate::sync::Arc;

/// A worker that has not ended when its pool was aborted, with the job that it had in hand.
pub(crate) struct Left {
    pub(crate) cell: Arc<Cell>,
    pub(crate) job: Option<Arc<dyn Envelope>>,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Takes every queued job out, each still without an outcome.
    fn take_queued(&self) -> Vec<Arc<J>> {
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        let mut jobs = Vec::new();
        for (index, line) in ready.lanes.iter_mut().enumerate() {
            while let Some(job) = line.pop().or_else(|| inbox.lanes[index].jobs.pop()) {
                if job.header().is_queued() {
                    jobs.push(job);
                }
            }
        }
        for (lane, moved) in ready.moved.iter_mut().enumerate() {
            *moved = self.pushed(lane);
        }
        jobs
    }

    /// From now on, jobs that never begin are kept for [`take_unstarted`](Self::take_unstarted).
    pub(crate) fn keep_unstarted(&self) {
        self.unstarted.lock().get_or_insert_default();
    }

    /// What was kept, with the right to the payloads.
    pub(crate) fn take_unstarted(&self) -> Unstarted<J> {
        self.unstarted.lock().take().unwrap_or_default()
    }

    /// Ends every queued job as not started; says how many.
    pub(crate) fn fail_queued(&self, reason: &CloseReason) -> usize {
        let mut failed = 0;
        for job in self.take_queued() {
            let error = not_started(&job.clone().erase(), reason);
            let Some(key) = self.withdraw_payload(&job.clone().erase(), error) else { continue };
            failed += 1;
            match &mut *self.unstarted.lock() {
                Some(unstarted) => unstarted.push((job, key)),
                None => self.discard(job.erase(), Some(key)),
            }
        }
        failed
    }

    /// Jobs of lanes without a queue that were handed to a worker whose start failed share its fate.
    pub(crate) fn fail_handed_over(&self, error: &Arc<StartError>) {
        let mut failed: Vec<Arc<dyn Envelope>> = Vec::new();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            self.move_in(&mut ready, &mut inbox);
            for (index, lane) in self.lanes.iter().enumerate() {
                let Ok(id) = u16::try_from(index).map(LaneId) else { continue };
                if lane.spec.capacity > 0 {
                    continue;
                }
                let mut excess = self.queued(index).saturating_sub(self.startable(id, None));
                while excess > 0
                    && let Some(job) = ready.lanes[index].pop()
                {
                    excess -= usize::from(job.header().is_queued());
                    failed.push(job.erase());
                }
            }
        }
        for job in failed {
            let error = JobError::StartFailed(Box::new(StartFailed { job: job.header().id(), source: error.clone() }));
            self.withdraw(&job, error);
        }
    }

    /// However the pool dies, this closes the gate and writes every outcome, on the spot. `runs_no_more` says whether the code of a
    /// claim is certain to run no more, or sees to it: its job was killed then, and else abandoned. What this returns has not ended.
    pub(crate) fn abort(
        &self,
        reason: CloseReason,
        by: &Arc<str>,
        runs_no_more: &dyn Fn(&Cell, ClaimNo) -> bool,
    ) -> Vec<Left> {
        // Closed already is closed: what follows ends the rest.
        let _ = self.set_gate(Gate::Closed(reason.clone()));
        self.fail_queued(&reason);
        self.stop_all();
        let mut left = Vec::new();
        for cell in self.cells() {
            let held = cell.lock().held.clone();
            if let Some(condemned) = held.as_ref().and_then(|held| self.condemn(&cell, Some(held.claim), by))
                && let Some((job, claim)) = &condemned.job
            {
                job.header().cancel();
                if runs_no_more(&cell, *claim) {
                    self.settle_killed(&condemned, by);
                } else {
                    self.abandon(&cell, by);
                }
            }
            let state = cell.lock().state;
            if matches!(
                state,
                WorkerState::Condemned | WorkerState::Abandoned | WorkerState::Starting | WorkerState::Leaving
            ) {
                left.push(Left { cell, job: held.map(|held| held.job) });
            }
        }
        // Jobs that a dying worker put back after the queue was emptied.
        self.fail_queued(&reason);
        left
    }
}

fn not_started(job: &Arc<dyn Envelope>, reason: &CloseReason) -> JobError {
    let header = job.header();
    let (job, submitted_from) = (header.id(), header.submitted_from());
    JobError::NotStarted(Box::new(NotStarted { job, submitted_from, reason: reason.clone() }))
}
