//! Recycling: who is due, and who may go. A worker that is due works on until it is let go: DESIGN.md, section 13.

use super::{After, Plane, Ready};
use crate::job::Envelope;
use crate::policy::{Exit, RecycleReason, jitter};
use crate::slot::{Cell, CellState};
use crate::snapshot::WorkerState;
use crate::sync::{Arc, Timestamp};

impl<J: ?Sized + Envelope> Plane<J> {
    /// Ready workers that are too old, or have idled for too long, and are not due yet; and when the next one that is there now will be.
    pub(crate) fn overaged(&self, now: Timestamp) -> (Vec<(Arc<Cell>, RecycleReason)>, Timestamp) {
        let (mut found, mut next) = (Vec::new(), Timestamp::NEVER);
        for cell in self.cells() {
            let state = cell.lock();
            if !is_free(&state) || state.due.is_some() {
                continue;
            }
            let (age, idle) = (self.age_limit(&cell), self.idle_limit(&state));
            drop(state);
            match self.reason(&cell, age, idle, now) {
                Some(reason) => found.push((cell, reason)),
                None => next = next.min(age).min(idle),
            }
        }
        (found, next)
    }

    /// Ready workers that are not to leave, nor due yet.
    #[cfg(any(feature = "guest", feature = "process"))]
    pub(crate) fn fresh(&self) -> Vec<Arc<Cell>> {
        let is_fresh = |cell: &Arc<Cell>| {
            let state = cell.lock();
            is_free(&state) && state.due.is_none()
        };
        self.cells().into_iter().filter(is_fresh).collect()
    }

    /// Why this worker is to be recycled, if it is by now and is not due yet. What it was asked about for stands if it is a process's memory, which is
    /// not read here.
    pub(crate) fn worn(&self, cell: &Cell, asked: Option<RecycleReason>, now: Timestamp) -> Option<RecycleReason> {
        let state = cell.lock();
        let is_due = state.due.is_some_and(|reason| !matches!(reason, RecycleReason::Idle(_)));
        let is_free = is_free(&state);
        let (age, idle) = (self.age_limit(cell), self.idle_limit(&state));
        drop(state);
        match self.config.recycle.after_jobs {
            _ if is_due || !is_free => None,
            Some(most) if cell.jobs_done() >= most => Some(RecycleReason::Jobs(most)),
            _ => {
                let grown =
                    asked.filter(|reason| matches!(reason, RecycleReason::Memory(_)) && self.may_be_too_large(cell));
                self.reason(cell, age, idle, now).or(grown)
            }
        }
    }

    fn reason(&self, cell: &Cell, age: Timestamp, idle: Timestamp, now: Timestamp) -> Option<RecycleReason> {
        if age <= now {
            return Some(RecycleReason::Age(now.since(cell.started_at)));
        }
        let span = self.config.recycle.after_idle.filter(|_| idle <= now)?;
        Some(RecycleReason::Idle(span.saturating_add(now.since(idle))))
    }

    /// Each at a moment of its own, but the same for the same worker.
    fn age_limit(&self, cell: &Cell) -> Timestamp {
        let Some(age) = self.config.recycle.after_age else { return Timestamp::NEVER };
        cell.started_at.after(age.div_f64(2.0).saturating_add(age.mul_f64(jitter(cell.id, 1) / 2.0)))
    }

    fn idle_limit(&self, state: &CellState) -> Timestamp {
        let span = self.config.recycle.after_idle.filter(|_| state.state == WorkerState::Idle);
        span.map_or(Timestamp::NEVER, |span| state.since.after(span))
    }

    /// From now on the worker is due. False if it leaves in any case.
    pub(crate) fn make_due(&self, cell: &Cell, reason: RecycleReason) -> bool {
        let mut state = cell.lock();
        let stays = state.seated() && state.leave.is_none();
        if stays {
            state.due = Some(reason);
        }
        stays
    }

    /// True if the worker is due still. One that was due because it idled is not once it has had a job; one whose guest had grown is not once a job has had that go.
    pub(crate) fn is_due(&self, cell: &Cell, now: Timestamp) -> bool {
        self.is_to_be_replaced(cell, now) && cell.lock().leave.is_none()
    }

    /// The same, or it was due when it was told to leave, and has its seat still.
    pub(crate) fn is_to_be_replaced(&self, cell: &Cell, now: Timestamp) -> bool {
        let mut state = cell.lock();
        let idles = self.idle_limit(&state) <= now;
        state.due.take_if(|reason| matches!(reason, RecycleReason::Idle(_)) && !idles);
        self.forget_what_is_gone(cell, &mut state);
        state.seated() && state.due.is_some()
    }

    fn forget_what_is_gone(&self, cell: &Cell, state: &mut CellState) {
        state.due.take_if(|reason| matches!(reason, RecycleReason::Memory(_)) && !self.may_be_too_large(cell));
    }

    fn may_be_too_large(&self, cell: &Cell) -> bool {
        self.config.recycle.above_memory.is_some_and(|most| cell.may_keep_more_than(most))
    }

    /// True if one worker less is no worker too few: more than `min` are up, or there is no room for another one before one has gone, and there
    /// is once it has. Under both locks.
    fn can_spare_one(&self) -> bool {
        let (live, min) = (self.counts.live(), self.limits.lock().min);
        live > min || live == self.max() && self.blocked() == 0
    }

    /// The same, for control, which is told when it changes.
    pub(crate) fn has_one_to_spare(&self) -> bool {
        let _ready = self.ready.lock();
        let _inbox = self.inbox.lock();
        self.can_spare_one()
    }

    /// A worker that asks for work, and is due, goes if one may: it takes the turn along. Under both locks.
    pub(super) fn takes_its_turn(
        &self,
        ready: &mut Ready<J>,
        cell: &Cell,
        state: &mut CellState,
        now: Timestamp,
    ) -> bool {
        self.forget_what_is_gone(cell, state);
        let due = state.due.filter(|reason| !matches!(reason, RecycleReason::Idle(_)));
        let Some(reason) = due.filter(|_| self.can_spare_one()) else { return false };
        ready.lets_one_go = false;
        state.leave = Some(Exit::Recycled(as_of(now, reason, cell, state)));
        true
    }

    /// One of `due`, the workers that are due, may go: one that idles goes now, the longest idle first, else whichever next asks for work. Not
    /// while another one goes.
    pub(crate) fn let_one_go(&self, due: &[Arc<Cell>], now: Timestamp) {
        if !self.begin_letting_go() {
            return;
        }
        // From here on, whoever asks for work and is due goes by itself. So who idles and may go did so before, and is found here: with the
        // plane's locks free, since they may be many.
        let since = |cell: &Arc<Cell>| {
            let state = cell.lock();
            (state.state == WorkerState::Idle).then_some(state.since)
        };
        let mut idle: Vec<_> = due.iter().filter_map(|cell| Some((since(cell)?, cell))).collect();
        idle.sort_by_key(|(since, _)| *since);
        for (_, cell) in idle {
            if !self.lets_one_go_still(cell, now) {
                break;
            }
        }
    }

    /// Whoever next asks for work may go. False if another one is going.
    fn begin_letting_go(&self) -> bool {
        let mut ready = self.ready.lock();
        let _inbox = self.inbox.lock();
        if self.counts.leaving() > 0 {
            return false;
        }
        ready.lets_one_go = true;
        self.disturb();
        true
    }

    /// Lets this worker go if it idles still, in the place of whoever next asks for work. True if another one may go yet.
    fn lets_one_go_still(&self, cell: &Arc<Cell>, now: Timestamp) -> bool {
        let mut after = After::default();
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        if !ready.lets_one_go || !self.can_spare_one() {
            return false;
        }
        // One that was called for work is not in the list, and asks for it.
        if !self.is_due(cell, now) || !inbox.idle.remove(cell) {
            return true;
        }
        ready.lets_one_go = false;
        let exit = {
            let state = cell.lock();
            state.due.map_or(Exit::Retired, |reason| Exit::Recycled(as_of(now, reason, cell, &state)))
        };
        self.retire(cell, exit, &mut after);
        self.rouse(&mut ready, &mut inbox, &mut after);
        drop((inbox, ready));
        self.after(after);
        false
    }

    /// Nobody goes for now.
    pub(crate) fn keep_all(&self) {
        self.ready.lock().lets_one_go = false;
    }
}

fn is_free(state: &CellState) -> bool {
    matches!(state.state, WorkerState::Idle | WorkerState::Busy) && state.leave.is_none()
}

/// What a reason has come to since it made its worker due.
fn as_of(now: Timestamp, reason: RecycleReason, cell: &Cell, state: &CellState) -> RecycleReason {
    match reason {
        RecycleReason::Jobs(_) => RecycleReason::Jobs(cell.jobs_done()),
        RecycleReason::Age(_) => RecycleReason::Age(now.since(cell.started_at)),
        RecycleReason::Idle(_) => RecycleReason::Idle(now.since(state.since)),
        RecycleReason::Memory(bytes) => RecycleReason::Memory(bytes),
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::panic::Location;
    use std::task::{Context, Waker};

    use super::super::tests::Demands;
    use super::super::{Plane, WorkerContext};
    #[cfg(feature = "guest")]
    use crate::config::Recycle;
    use crate::config::{Limits, PoolConfig};
    use crate::id::{LaneId, WorkerId};
    use crate::job::{JobCell, Share, Submission};
    use crate::policy::RecycleReason;
    use crate::sync::Arc;

    #[test]
    fn nobody_goes_whose_seat_nobody_else_could_have() {
        let config = PoolConfig { limits: Limits::fixed(1), ..PoolConfig::new("recycle") };
        let plane: Arc<Plane<JobCell<u64, u64>>> = Plane::new(config, Box::new(Demands::default()));
        let _up = plane.seat_worker(WorkerId { slot: 1, generation: 1 }, 0);
        // As after a shrink to one of two slots, which cools down while the worker is in the other one.
        plane.set_cooling(1, 1, 0);
        assert!(!plane.has_one_to_spare());
        plane.set_cooling(0, 0, 0);
        assert!(plane.has_one_to_spare());
    }

    /// A job may have grown its guest, and another one have had that trap, before the turn comes.
    #[cfg(feature = "guest")]
    #[test]
    fn who_was_due_for_what_its_guest_had_is_not_when_that_is_gone() {
        let recycle = Recycle::new().above_memory(9);
        let config = PoolConfig { limits: Limits::fixed(1), recycle, ..PoolConfig::new("recycle") };
        let plane: Arc<Plane<JobCell<u64, u64>>> = Plane::new(config, Box::new(Demands::default()));
        let cell = plane.seat_worker(WorkerId { slot: 0, generation: 1 }, 0);
        let mut worker = WorkerContext::new(plane.clone(), cell.clone());
        let mut poll = Context::from_waker(Waker::noop());
        let now = plane.clock.now();
        let has = |bytes| {
            cell.set_guest_memory(bytes);
            cell.keep_guest_memory();
        };
        let reason = RecycleReason::Memory(10);
        // It idles as control looks.
        assert!(worker.poll_take(&mut poll).is_pending());
        has(Some(10));
        assert!(plane.make_due(&cell, reason) && plane.is_due(&cell, now));
        has(None);
        assert!(!plane.is_due(&cell, now));
        assert_eq!(plane.worn(&cell, Some(reason), now), None, "a hook was asked meanwhile");
        // It has a job as it is given the turn.
        let submission = Submission { lane: LaneId(0), site: Location::caller(), terms: None };
        assert!(plane.try_admit(Share::alone(7, submission)).is_ok());
        let claim = worker.next_blocking().expect("it has a job");
        has(Some(10));
        assert!(plane.make_due(&cell, reason));
        plane.let_one_go(std::slice::from_ref(&cell), now);
        has(Some(9));
        claim.run(|job, key| job.run(key, |n| n + 1));
        assert!(worker.poll_take(&mut poll).is_pending());
        assert!(cell.lock().leave.is_none(), "it stays");
    }

    /// The turn came when there was one to spare, who has left meanwhile; the next one has a seat, and may never come up.
    #[test]
    fn nobody_goes_for_one_that_is_not_up_yet() {
        let config = PoolConfig { limits: Limits::new(1, 2), ..PoolConfig::new("recycle") };
        let plane: Arc<Plane<JobCell<u64, u64>>> = Plane::new(config, Box::new(Demands::default()));
        let cells = [0, 1].map(|slot| plane.seat_worker(WorkerId { slot, generation: 1 }, 0));
        let [mut due, mut other] = cells.clone().map(|cell| WorkerContext::new(plane.clone(), cell));
        let mut poll = Context::from_waker(Waker::noop());
        let submission = Submission { lane: LaneId(0), site: Location::caller(), terms: None };
        assert!(plane.try_admit(Share::alone(7, submission)).is_ok());
        assert!(due.poll_take(&mut poll).is_ready() && other.poll_take(&mut poll).is_pending());
        assert!(plane.make_due(&cells[0], RecycleReason::Jobs(1)));
        plane.let_one_go(&cells[..1], plane.clock.now());
        drop(other);
        let _comes = plane.seat_worker(WorkerId { slot: 1, generation: 2 }, 0);
        let claim = due.next_blocking().expect("it has a job");
        claim.run(|job, key| job.run(key, |n| n + 1));
        assert!(due.poll_take(&mut poll).is_pending(), "nobody else is up");
    }
}
