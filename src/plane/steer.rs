//! What control does to the plane: starts, resizes, gates, condemns, abandons, aborts. All of it under both locks, none of it slow.

use super::{After, Found, Inbox, Plane, Ready};
use crate::config::{ConfigError, Lane, Limits, check_limits};
use crate::error::{CloseReason, JobError, KilledJob, StartError};
use crate::gate::Gate;
use crate::id::{ClaimNo, WorkerId};
use crate::job::{Envelope, Owed, Owner, Share};
use crate::policy::Exit;
use crate::slot::{Cell, transition};
use crate::snapshot::WorkerState;
use crate::sync::{Arc, Ordering, Timestamp};
use std::time::Duration;

/// So many workers are looked at in one hold of the locks.
const BITE: usize = 256;

/// A worker that was condemned, with the job it had.
pub(crate) struct Condemned {
    pub(crate) cell: Arc<Cell>,
    pub(crate) job: Option<(Share<dyn Envelope>, ClaimNo)>,
}

impl<J: ?Sized + Envelope> Plane<J> {
    pub(crate) fn cell(&self, worker: WorkerId) -> Option<Arc<Cell>> {
        self.cells.read().get(&worker).cloned()
    }

    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        self.cells.read().values().cloned().collect()
    }

    /// A new incarnation, `Starting` and seated.
    pub(crate) fn seat_worker(&self, id: WorkerId, restarts: u32) -> Arc<Cell> {
        let cell = Cell::new(id, restarts, self.number(), self.clock.clone());
        self.note_generation(id);
        // Before the locks: whoever looks at all cells may take long, and submitters are not to wait for that. Who finds this one finds it gone.
        self.cells.write().insert(id, cell.clone());
        let mut ready = self.ready.lock();
        let _inbox = self.inbox.lock();
        transition(&self.counts, &mut cell.lock(), WorkerState::Starting, cell.started_at);
        // It counts, and is not up: nobody goes for it yet.
        ready.lets_one_go = false;
        cell
    }

    fn note_generation(&self, id: WorkerId) {
        let (slot, mut latest) = (id.slot as usize, self.generations.lock());
        if latest.len() <= slot {
            latest.resize(slot + 1, 0);
        }
        latest[slot] = id.generation;
    }

    /// True if there is or ever was this incarnation.
    pub(crate) fn has_had(&self, worker: WorkerId) -> bool {
        self.generations
            .lock()
            .get(worker.slot as usize)
            .is_some_and(|latest| (1..=*latest).contains(&worker.generation))
    }

    /// How many workers should be started now: for jobs that could start, so that enough idle beside those, and up to `min`. Clears the demand.
    pub(crate) fn workers_wanted(&self) -> usize {
        let _ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        inbox.demanded = false;
        if inbox.gate.refusal().is_some_and(|reason| reason != CloseReason::Draining) {
            return 0;
        }
        let startable: usize = (0..self.lanes.len())
            .filter_map(|index| u16::try_from(index).ok().map(crate::id::LaneId))
            .map(|lane| self.queued_awake(lane.index()).min(self.startable(lane, None)))
            .sum();
        let free = self.counts.idle() + self.counts.starting();
        let wanted = if inbox.gate.dispatches() { startable + self.spares(&inbox) } else { 0 };
        let for_jobs = wanted.saturating_sub(free);
        let min = self.limits.lock().min;
        let for_min = min.saturating_sub(self.counts.live());
        for_jobs.max(for_min).min(self.startable_workers())
    }

    /// Puts limits and lanes in force. Growth cancels debt and lets waiters in at once; a shrink takes idle workers first.
    pub(crate) fn retune(&self, limits: Limits, lanes: &[Lane]) -> Result<usize, ConfigError> {
        check_limits(&limits, lanes)?;
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            self.set_lanes(&inbox, lanes);
            *self.limits.lock() = limits;
            inbox.min_idle = limits.min_idle;
            let before = self.max.swap(limits.max, Ordering::AcqRel);
            // As many as the limit is lowered by may be beyond it: no wait is to be ended for one that is. Control counts anew after this.
            let given_up = self.given_up.load(Ordering::Acquire);
            self.given_up.store(given_up.saturating_sub(before.saturating_sub(limits.max)), Ordering::Release);
            ready.in_debt = true;
            self.disturb();
            self.have_some_pay(&mut ready, &mut inbox, &mut after);
        }
        while self.debt() > 0 {
            let (mut ready, mut inbox) = (self.ready.lock(), self.inbox.lock());
            if !self.have_some_pay(&mut ready, &mut inbox, &mut after) {
                break;
            }
        }
        let debt = self.exact_debt();
        self.after(after);
        Ok(debt)
    }

    /// Idle workers beyond the limit leave, the longest idle first: as many as are one bite, so that nobody waits for the locks while a
    /// crowd goes. Whoever is woken for work in between pays as well. False if none was there.
    fn have_some_pay(&self, ready: &mut Ready<J>, inbox: &mut Inbox<J>, after: &mut After<J>) -> bool {
        let mut paid = 0;
        while paid < BITE && self.debt() > 0 {
            let Some(cell) = inbox.idle.pop_first() else { break };
            self.retire(&cell, Exit::Retired, after);
            paid += 1;
        }
        self.rouse(ready, inbox, after);
        paid > 0
    }

    /// An idle worker, already off the idle list, is told to leave; it gives its seat back now. Under both locks.
    pub(super) fn retire(&self, cell: &Arc<Cell>, exit: Exit, after: &mut After<J>) {
        let mut state = cell.lock();
        state.leave.get_or_insert(exit);
        transition(&self.counts, &mut state, WorkerState::Leaving, self.clock.now());
        drop(state);
        after.call(cell.clone());
    }

    /// Retires workers that have idled for too long, as long as that leaves `min` and the `kept`, and `min_idle` idle ones; says when to look again.
    pub(crate) fn retire_idle(&self, now: Timestamp, kept: usize) -> Timestamp {
        let mut after = After::default();
        let next = loop {
            if let Some(next) = self.retire_some_idle(now, kept, &mut after) {
                break next;
            }
        };
        self.after(after);
        next
    }

    /// The same, as many as are one bite. `None`: there may be more.
    fn retire_some_idle(&self, now: Timestamp, kept: usize, after: &mut After<J>) -> Option<Timestamp> {
        let _ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        let limits = *self.limits.lock();
        let Some(timeout) = limits.idle_timeout else { return Some(Timestamp::NEVER) };
        for _ in 0..BITE {
            let longest = inbox.idle.first().filter(|_| self.idle_to_spare(&inbox, &limits, kept) > 0);
            let Some(until) = longest.map(|cell| cell.lock().since.after(timeout)) else {
                return Some(Timestamp::NEVER);
            };
            if until > now {
                return Some(until);
            }
            if let Some(cell) = inbox.idle.pop_first() {
                self.retire(&cell, Exit::IdleTimeout, after);
            }
        }
        None
    }

    /// Slots that cannot be filled for now. How many slots count as missing: of these, those about which a policy has just been asked do not; beside
    /// these, those whose start a hook has put off do. How many stay empty for good: true if those are more than before.
    pub(crate) fn set_cooling(&self, slots: usize, missing: usize, given_up: usize) -> bool {
        let mut after = After::default();
        let is_worse = {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            self.empty.store(missing, Ordering::Release);
            let is_worse = self.given_up.swap(given_up, Ordering::AcqRel) < given_up;
            if self.cooling.swap(slots, Ordering::AcqRel) != slots {
                self.change_scene();
            }
            self.rouse(&mut ready, &mut inbox, &mut after);
            is_worse
        };
        self.after(after);
        is_worse
    }

    /// Notes what ended a worker, for errors to say why slots are empty.
    pub(crate) fn note_fault(&self, worker: WorkerId, exit: &Exit) {
        let fault = exit.to_string();
        if let Exit::FailedToStart(_) = exit {
            tracing::warn!(pool = &*self.config.name, %worker, "a worker did not come up: it {fault}");
        }
        *self.last_fault.lock() = Some((worker, Arc::from(fault)));
        self.change_scene();
    }

    /// Moves the gate, unless it is past that; `Err` with why.
    pub(crate) fn set_gate(&self, gate: Gate) -> Result<(), CloseReason> {
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            match (&inbox.gate, &gate) {
                (Gate::Closed(reason), _) => return Err(reason.clone()),
                (Gate::Draining, Gate::Open | Gate::Quiesced) => return Err(CloseReason::Draining),
                _ => {}
            }
            ready.dispatches = gate.dispatches();
            self.disturb();
            if inbox.gate != gate {
                inbox.gate_since = self.clock.now();
                self.change_scene();
            }
            inbox.gate = gate;
            self.rouse(&mut ready, &mut inbox, &mut after);
            if inbox.gate.refusal().is_some() {
                self.refuses.store(true, Ordering::Release);
                self.send_away(&mut ready, &mut inbox, &mut after);
            }
            self.note_quiet(&inbox, &mut after);
        }
        self.after(after);
        Ok(())
    }

    /// Tells a worker to leave after its job; an idle one leaves now.
    pub(crate) fn stop_worker(&self, cell: &Arc<Cell>, exit: Exit) {
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            let was_idle = {
                let mut state = cell.lock();
                state.leave.get_or_insert_with(|| exit.clone());
                state.state == WorkerState::Idle
            };
            if was_idle {
                inbox.idle.remove(cell);
                self.stop_searching(&mut inbox, cell);
                self.retire(cell, exit, &mut after);
                self.rouse(&mut ready, &mut inbox, &mut after);
            }
        }
        self.after(after);
        cell.tell_to_leave();
    }

    /// Stops every worker at once, if the gate is closed: nobody is handed a job between two holds of the locks. Says who was there.
    pub(crate) fn stop_all(&self) -> Vec<Arc<Cell>> {
        let mut after = After::default();
        let cells = self.cells();
        for bite in cells.chunks(BITE) {
            let _ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            for cell in bite {
                let mut state = cell.lock();
                state.leave.get_or_insert(Exit::Retired);
                if state.state == WorkerState::Idle {
                    transition(&self.counts, &mut state, WorkerState::Leaving, self.clock.now());
                    drop(state);
                    inbox.idle.remove(cell);
                    self.stop_searching(&mut inbox, cell);
                    after.call(cell.clone());
                }
            }
        }
        self.after(after);
        for cell in &cells {
            cell.tell_to_leave();
        }
        cells
    }

    /// Condemns a worker with whatever it holds, or only if it still holds the job of `claim`. `None`: that is over.
    pub(crate) fn condemn(&self, cell: &Arc<Cell>, claim: Option<ClaimNo>, exit: &Exit) -> Option<Condemned> {
        let exit = exit.clone();
        let job = match claim {
            Some(claim) => Some((cell.condemn(claim, exit)?, claim)),
            None => {
                // In one look: between two, the worker could go on to its next job and be missed.
                let job = cell.condemn_any(exit.clone())?;
                // One that it has not begun is not meant: it goes back into its lane when the worker ends.
                let job = job.filter(|(_, claim)| !cell.take_back(*claim));
                if job.is_none() {
                    self.stop_worker(cell, exit);
                }
                job
            }
        };
        Some(Condemned { cell: cell.clone(), job })
    }

    /// A worker that has not come up within `limit` takes no job any more: what it is killed for holds no job then. False: it has come up.
    pub(crate) fn give_up_start(&self, cell: &Cell, limit: Duration, exit: &Exit) -> bool {
        // Its first turnover looks whether it is to leave under the same lock: either it finds that, or this finds it ready.
        let mut state = cell.lock();
        let comes_up = state.state == WorkerState::Starting && cell.ready_at().is_none();
        if comes_up {
            state.leave.get_or_insert_with(|| exit.clone());
            cell.fail(StartError::TimedOut(limit));
        }
        comes_up
    }

    /// A worker that cannot be made to die, or does not leave, loses its seat, and its job gets its outcome now. True if the outcome was open.
    pub(crate) fn abandon(&self, cell: &Arc<Cell>, exit: &Exit) -> bool {
        let now = self.clock.now();
        let (settlement, lent) = {
            // Under this lock the worker does not go on to what it was lent: either that is in hand by now, or is taken along here.
            let mut ready = self.ready.lock();
            let mut state = cell.lock();
            if !state.seated() && state.state != WorkerState::Leaving {
                return false;
            }
            if state.state == WorkerState::Leaving {
                // Why it leaves stands: only that it takes too long is new.
                state.leave.get_or_insert_with(|| exit.clone());
            } else {
                state.leave = Some(exit.clone());
            }
            // Under the cell's lock the job cannot be put back, and so not run elsewhere by now.
            let settlement = state.held.as_ref().and_then(|held| {
                let killed = Box::new(self.killed_job(&held.job, cell, exit, now, held.since));
                // What was not begun, and will not be, runs no more.
                let error = if cell.is_seized() { JobError::Killed(killed) } else { JobError::Abandoned(killed) };
                Some((held.job.settle_error(error, Some(Owner::Worker))?, held.job.clone()))
            });
            drop(state);
            (settlement, self.take_lent(&mut ready, cell.id))
        };
        if let Some((settlement, _)) = &settlement {
            self.count(settlement.ended);
        }
        let (settlement, job) = settlement.unzip();
        let owed = job.as_ref().zip(settlement).map(|(job, settlement)| Owed::new(job.sealed().0, settlement));
        self.vacate(cell, WorkerState::Abandoned);
        if let Some(lent) = lent {
            self.end_lent(lent, cell, exit, now, JobError::Abandoned);
        }
        owed.map(drop).is_some()
    }

    /// The job in a condemned worker's hands gets its outcome now, although its worker has not ended yet.
    pub(crate) fn settle_killed(&self, condemned: &Condemned, exit: &Exit) -> bool {
        let Some((job, _)) = &condemned.job else { return false };
        let now = self.clock.now();
        let since = condemned.cell.lock().held.as_ref().map_or(now, |held| held.since);
        let error = JobError::Killed(Box::new(self.killed_job(job, &condemned.cell, exit, now, since)));
        self.settle_for(job, error)
    }

    pub(super) fn killed_job(
        &self,
        job: &Share<dyn Envelope>,
        cell: &Cell,
        exit: &Exit,
        now: Timestamp,
        since: Timestamp,
    ) -> KilledJob {
        KilledJob {
            pool: self.config.name.clone(),
            job: job.header().id(),
            label: job.header().label().cloned(),
            submitted_from: job.header().submitted_from(),
            worker: cell.id,
            by: exit.blame(),
            silent_for: exit.silent_for(),
            after: now.since(since),
            #[cfg(feature = "process")]
            death: exit.death(),
        }
    }

    /// Ends a queued job for an operator.
    pub(crate) fn cancel_queued(&self, job: crate::id::JobId) -> Found {
        loop {
            let found = {
                let ready = self.ready.lock();
                if let Some(lent) = self.find_lent(&ready, job) {
                    return Found::Lent(lent);
                }
                let inbox = self.inbox.lock();
                // Numbers are given in the order in which jobs enter their lines.
                let number = |queued: &Share<J>| queued.header().id().get();
                let in_ready = ready.lanes.iter().find_map(|line| line.find(job.get(), number));
                let in_line =
                    in_ready.or_else(|| inbox.lanes.iter().find_map(|lane| lane.jobs.find(job.get(), number)));
                in_line.or_else(|| ready.resting.get(&job)).cloned()
            };
            let Some(found) = found else { return Found::Gone };
            if self.cancel(&found.clone().erase(), "an operator") {
                return Found::Withdrawn;
            }
            // It was lent since the look, and may be back by now: neither is the end of it.
            if !found.header().waits() {
                return Found::Gone;
            }
        }
    }

    /// True if there has been a job of this number.
    pub(crate) fn was_admitted(&self, job: crate::id::JobId) -> bool {
        (1..=self.inbox.lock().next_id).contains(&job.get())
    }

    /// Who has this job in hand.
    pub(crate) fn holder_of(&self, job: crate::id::JobId) -> Option<(WorkerId, ClaimNo)> {
        self.cells.read().values().find_map(|cell| {
            let state = cell.lock();
            let held = state.held.as_ref().filter(|held| held.job.header().id() == job)?;
            Some((cell.id, held.claim))
        })
    }

    /// Asks every running job to stop; says which.
    pub(crate) fn cancel_running(&self) -> Vec<Share<dyn Envelope>> {
        let jobs: Vec<_> = self
            .cells
            .read()
            .values()
            .filter_map(|cell| cell.lock().held.as_ref().map(|held| held.job.clone()))
            .collect();
        for job in &jobs {
            job.header().cancel();
        }
        jobs
    }
}
