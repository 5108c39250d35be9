//! The end of the plane, and of jobs that never begin.

use super::{Plane, Unstarted};
use crate::error::{CloseReason, JobError, NotStarted, StartError, StartFailed};
use crate::gate::Gate;
use crate::id::LaneId;
use crate::job::Envelope;
use crate::slot::Cell;
use crate::snapshot::WorkerState;
use crate::sync::Arc;

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

    /// However the pool dies, this closes the gate and writes every outcome, on the spot. What it returns still runs.
    pub(crate) fn abort(&self, reason: CloseReason, by: &Arc<str>, interruptible: bool) -> Vec<Arc<Cell>> {
        // Closed already is closed: what follows ends the rest.
        let _ = self.set_gate(Gate::Closed(reason.clone()));
        self.fail_queued(&reason);
        self.stop_all();
        let mut running = Vec::new();
        for cell in self.cells() {
            let claim = cell.lock().held.as_ref().map(|held| held.claim);
            if let Some(condemned) = claim.and_then(|claim| self.condemn(&cell, Some(claim), by))
                && let Some((job, _)) = &condemned.job
            {
                job.header().cancel();
                if interruptible {
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
                running.push(cell);
            }
        }
        // Jobs that a dying worker put back after the queue was emptied.
        self.fail_queued(&reason);
        running
    }
}

fn not_started(job: &Arc<dyn Envelope>, reason: &CloseReason) -> JobError {
    let header = job.header();
    let (job, submitted_from) = (header.id(), header.submitted_from());
    JobError::NotStarted(Box::new(NotStarted { job, submitted_from, reason: reason.clone() }))
}
