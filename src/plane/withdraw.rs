//! What leaves: jobs from the queue without a worker, workers from their seats; and the bookkeeping of a job's life.

use super::{After, Plane, Signal, Unstarted};
use crate::error::{CancelledJob, JobError, LimitKind, StartError, TimedOut};
use crate::id::{ClaimNo, WorkerId};
use crate::job::{Envelope, Header, Owed, Owner, Share};
use crate::policy::Exit;
use crate::slot::{Cell, Taken, abandon, transition};
use crate::snapshot::{Ended, WorkerState};
use crate::sync::{Arc, Timestamp};

impl<J: ?Sized + Envelope> Plane<J> {
    /// A worker asks for work for the first time.
    pub(super) fn note_ready(&self, cell: &Cell, now: Timestamp) {
        cell.set_ready(now);
        self.start_delay.record(now.nanos_since(cell.started_at));
        self.port.signal(Signal::Ready(cell.id));
    }

    /// A worker has a job; its run limit counts from now, and so does its progress.
    pub(super) fn note_claimed(&self, cell: &Arc<Cell>, job: &Share<J>, claim: ClaimNo, now: Timestamp) {
        let header = job.header();
        let lane = &self.lane(header.lane()).spec;
        let (until, deadline) = header.run_until(now, lane.run_limit());
        if until != Timestamp::NEVER {
            let kind = if deadline { LimitKind::Deadline } else { LimitKind::Run };
            self.due.running(until, job.clone().erase(), cell.clone(), claim, kind, &*self.port);
        }
        if let Some(span) = header.overdue_after(lane.overdue_after()) {
            self.watch_progress(cell, now.after(span));
        }
    }

    /// A claim that was not run to its end is over. `ended` if its outcome is this worker's to publish, and so to count.
    pub(super) fn note_ended(&self, cell: &Cell, taken: &Taken<J>, ended: Option<Ended>) {
        cell.count_job();
        if let Some(ended) = ended {
            self.count(ended);
        }
        self.aside.run_time[taken.lane.index()].record(self.clock.now().nanos_since(taken.since));
    }

    /// From when on an admitted job must not begin.
    pub(super) fn expires_at(&self, header: &Header) -> Timestamp {
        header.expires_at(self.lane(header.lane()).spec.queue_limit_of(header.id()))
    }

    /// A worker's seat comes free without its having asked for work.
    pub(super) fn release(&self, cell: &Arc<Cell>) {
        self.vacate(cell, WorkerState::Leaving);
    }

    /// Moves `cell` to a state without a seat, and has the seat's next use looked after.
    pub(super) fn vacate(&self, cell: &Arc<Cell>, to: WorkerState) {
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            let mut state = cell.lock();
            if state.state == to || state.state == WorkerState::Gone {
                return;
            }
            if to == WorkerState::Leaving && state.state == WorkerState::Abandoned {
                // It has no seat to give back, and counts as abandoned until it is gone.
                return;
            }
            after.leaves = to == WorkerState::Leaving;
            let was_idle = state.state == WorkerState::Idle;
            // An abandoned worker still has its job, and inventory shows it.
            match to {
                WorkerState::Abandoned => abandon(&self.counts, &mut state, self.clock.now()),
                to => transition(&self.counts, &mut state, to, self.clock.now()),
            }
            drop(state);
            self.stop_searching(&mut inbox, cell);
            if was_idle {
                // It leaves no entry behind that could be woken in vain.
                inbox.idle.remove(cell);
                // Parked, it could end, and would never learn that it is to.
                after.call(cell.clone());
            }
            self.rouse(&mut ready, &mut inbox, &mut after);
            if to == WorkerState::Gone && std::mem::take(&mut after.demand) {
                // Control is about to be told of the exit, and starts workers then: knowing whether this one's slot may have one.
                inbox.demanded = false;
            }
            self.note_quiet(&inbox, &mut after);
            drop((inbox, ready));
        }
        self.after(after);
    }

    /// The incarnation ends, whatever way: the one place where that is reported.
    pub(super) fn depart(&self, cell: &Arc<Cell>, exit: Option<Exit>) {
        let leave = cell.lock().leave.clone();
        self.vacate(cell, WorkerState::Gone);
        let removed = self.cells.write().remove(&cell.id);
        drop(removed);
        let exit = match cell.take_failure() {
            Some(error) => Exit::FailedToStart(Arc::new(error)),
            None if exit.is_none() && leave.is_none() && cell.ready_at().is_none() => {
                Exit::FailedToStart(Arc::new(StartError::Gone))
            }
            None => exit.or(leave).unwrap_or(Exit::Lost),
        };
        self.port.signal(Signal::Exited { worker: cell.id, exit });
    }

    /// Ends a queued job as cancelled by this one, if no worker has it. True if it did.
    pub(super) fn cancel(&self, job: &Share<dyn Envelope>, by: &'static str) -> bool {
        self.withdraw(job, self.cancelled(job, by))
    }

    pub(super) fn cancelled(&self, job: &Share<dyn Envelope>, by: &'static str) -> JobError {
        let (pool, header) = (self.config.name.clone(), job.header());
        let after = self.clock.now().since(header.accepted_at());
        let (job_id, label, submitted_from) = (header.id(), header.label().cloned(), header.submitted_from());
        let lost_deliveries = header.lost_deliveries();
        let cancelled = CancelledJob { pool, job: job_id, label, submitted_from, by, after, lost_deliveries };
        JobError::Cancelled(Box::new(cancelled))
    }

    /// Ends a queued job with `error`, if no worker has it. True if it did.
    pub(super) fn withdraw(&self, job: &Share<dyn Envelope>, error: JobError) -> bool {
        let ended = self.end_queued(job, error);
        ended.map(|owed| self.tell_ended(job, owed)).is_some()
    }

    /// The same, but that nobody is told yet.
    pub(super) fn end_queued<'a>(&self, job: &'a Share<dyn Envelope>, error: JobError) -> Option<Owed<'a>> {
        let settlement = job.settle_error(error, Some(Owner::Queue))?;
        let lane = job.header().lane();
        self.lane(lane).withdraw();
        self.count(settlement.ended);
        let owed = Owed::new(job.sealed().0, settlement);
        self.places_freed(Some(job.header()));
        Some(owed)
    }

    pub(super) fn tell_ended(&self, job: &Share<dyn Envelope>, owed: Owed<'_>) {
        self.discard(job.clone(), owed.publish());
    }

    /// Jobs left the queue; or that one died in it, where it stood or rested.
    fn places_freed(&self, died: Option<&Header>) {
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            if let Some(rested) = died.and_then(|header| self.wake_early(&mut ready, header.id())) {
                // One fewer rests, so that more may start than was thought.
                self.rouse(&mut ready, &mut inbox, &mut after);
                after.rare().swept.push(rested);
            } else if let Some(lane) = died.map(|header| header.lane().index()) {
                let alive = |job: &Share<J>| job.header().is_queued();
                // Which of the two lines it stood in is not known; each is swept when half of it may be dead.
                let mut swept = ready.lanes[lane].died(alive);
                swept.extend(inbox.lanes[lane].jobs.died(alive));
                if !swept.is_empty() {
                    after.rare().swept.extend(swept);
                }
            }
            if ready.waiters {
                self.grant(&mut ready, &mut inbox, &mut after);
            }
            self.note_quiet(&inbox, &mut after);
        }
        self.after(after);
    }

    /// Ends jobs that are out of their lines already, each with its error, unless somebody was quicker. Gives back those that it ended,
    /// with the right to their payloads.
    pub(super) fn end_taken(
        &self,
        jobs: Vec<Share<J>>,
        error_of: impl Fn(&Share<dyn Envelope>) -> JobError,
    ) -> Unstarted<J> {
        let settle = |job: Share<J>| {
            let erased = job.clone().erase();
            let open = job.header().is_queued();
            let mut settlement = open.then(|| erased.settle_error(error_of(&erased), Some(Owner::Queue))).flatten()?;
            self.lane(job.header().lane()).withdraw();
            self.count(settlement.ended);
            let key = settlement.take_key().expect("the payload of a queued job belongs to whoever ends it");
            Some(((job, key), settlement))
        };
        let (ended, settlements): (Unstarted<J>, Vec<_>) = jobs.into_iter().filter_map(settle).unzip();
        let owed = ended.iter().zip(settlements).map(|((job, _), settlement)| Owed::new(job.sealed().0, settlement));
        let owed: Vec<_> = owed.collect();
        if !owed.is_empty() {
            self.places_freed(None);
        }
        // One after the other, in their order.
        drop(owed);
        ended
    }

    /// Jobs that a worker found expired when it came for them.
    pub(super) fn expire_found(&self, jobs: Vec<Share<J>>) {
        let now = self.clock.now();
        for (job, key) in self.end_taken(jobs, |job| self.timed_out_in_queue(job, now)) {
            self.discard(job.erase(), Some(key));
        }
    }

    pub(super) fn timed_out_in_queue(&self, job: &Share<dyn Envelope>, now: Timestamp) -> JobError {
        let header = job.header();
        let expires = self.expires_at(header);
        let (limit, since) = if expires == header.deadline() {
            (LimitKind::Deadline, header.accepted_at())
        } else {
            (LimitKind::Queue, header.waits_since())
        };
        let after = expires.since(since);
        self.timed_out(job, limit, after, None, now)
    }

    pub(super) fn timed_out(
        &self,
        job: &Share<dyn Envelope>,
        limit: LimitKind,
        after: std::time::Duration,
        worker: Option<WorkerId>,
        now: Timestamp,
    ) -> JobError {
        JobError::TimedOut(Box::new(TimedOut {
            pool: self.config.name.clone(),
            lane: self.lane(job.header().lane()).spec.name.clone(),
            job: job.header().id(),
            label: job.header().label().cloned(),
            submitted_from: job.header().submitted_from(),
            limit,
            after,
            worker,
            scene: self.scene(now),
        }))
    }

    /// Ends the job in hand of a worker that does not end it itself. True if the outcome was still open.
    pub(crate) fn settle_for(&self, job: &Share<dyn Envelope>, error: JobError) -> bool {
        let Some(settlement) = job.settle_error(error, Some(Owner::Worker)) else { return false };
        self.count(settlement.ended);
        drop(Owed::new(job.sealed().0, settlement));
        true
    }
}
