//! The turnover: a worker gives back the seat of one job and takes the next, in one hold of the ready lock.

use super::{After, Inbox, Plane, Ready, Seldom, Shard};
use crate::gate::Gate;
use crate::id::LaneId;
use crate::job::{Envelope, Share};
use crate::policy::Exit;
use crate::slot::{Cell, CellState, Taken, take_up, transition};
use crate::snapshot::{Ended, WorkerState};
use crate::sync::{Arc, LatchGuard, Ordering, Timestamp, prefetch};
use std::time::Duration;

/// So many entries of a line are looked at in one hold of the lock, if they are dead or expired. A worker that finds no other idles, and one
/// is called at once, since the line is not empty.
const MOST_LOOKS: usize = 256;

/// Whoever takes a job has the one that so many stand before brought near: its submitter wrote it, mostly on another core, so the first look at it
/// waits for that core, with the lock held. At 1, 3 and 7 it was worth the same: without a reply, 150 ns a job instead of 227.
const AHEAD: usize = 3;

/// What a worker does next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Runs the job that it was given, which is claimed and seated.
    Run,
    /// Waits for a notice: it is among the idle.
    Wait,
    /// Ends: it holds no seat any more.
    Leave,
}

/// What a turnover came to.
pub(super) struct Turned<J: ?Sized + Envelope> {
    pub(super) turn: Turn,
    /// It called another worker.
    pub(super) called: bool,
    /// It left jobs in the queue.
    pub(super) more: bool,
    /// What wakes others' tasks, or ends others' jobs: for after this job's outcome is published.
    pub(super) rare: Seldom<J>,
}

/// A job that its worker has just run to its end.
pub(super) struct Spent {
    pub(super) lane: LaneId,
    pub(super) since: Timestamp,
    /// How it ended, if its outcome is this worker's to publish, and so to count.
    pub(super) ended: Option<Ended>,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Gives back what `cell` holds, if anything, and finds its next job, which is put into `taken`: where it stays, since each move of it would be made
    /// with a lock held. `now` ends the one and begins the other.
    pub(super) fn turnover(
        &self,
        cell: &Arc<Cell>,
        now: Timestamp,
        spent: Option<Spent>,
        taken: &mut Option<Taken<J>>,
    ) -> Turned<J> {
        if self.is_calm()
            && let Some(turned) = self.turn_calmly(cell, now, spent.as_ref(), taken)
        {
            return turned;
        }
        let mut after = After::default();
        let mut ready = self.ready.lock();
        if let Some(spent) = spent {
            self.note_spent(self.shard(cell.id.slot as usize), cell, &spent, now, &mut after.rare);
        }
        let mut state = cell.lock();
        let turn = if !state.seated() {
            // One that was abandoned has shown what it had until now.
            state.held = None;
            Turn::Leave
        } else if state.departs() || self.has_to_go(&mut ready, cell, &mut state, now) {
            state.leave.get_or_insert(Exit::Retired);
            let mut inbox = self.inbox.lock();
            transition(&self.counts, &mut state, WorkerState::Leaving, now);
            after.leaves = true;
            drop(state);
            self.stop_searching(&mut inbox, cell);
            self.rouse(&mut ready, &mut inbox, &mut after);
            self.note_quiet(&inbox, &mut after);
            Turn::Leave
        } else {
            self.serve(&mut ready, state, cell, now, taken, &mut after)
        };
        let more = ready.lanes.iter().any(|line| !line.is_empty());
        drop(ready);
        let called = after.wake.is_some();
        let rare = after.rare.take();
        self.after(after);
        Turned { turn, called, more, rare }
    }

    /// Counts a job that was run. Under the lock that `shard` goes with, so that plain stores are enough; before its outcome is published.
    #[inline]
    pub(super) fn note_spent(&self, shard: &Shard, cell: &Cell, spent: &Spent, now: Timestamp, rare: &mut Seldom<J>) {
        if self.config.recycle.after_jobs == Some(cell.count_job()) {
            rare.get_or_insert_default().worn = Some(cell.id);
        }
        shard.writer.change();
        if let Some(ended) = spent.ended {
            let count = &shard.ended[ended.index()];
            // Release pairs with the ledger's load.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
        shard.run_time[spent.lane.index()].record_alone(now.nanos_since(spent.since));
    }

    /// True if its seat is owed, which is paid by whoever next asks for work, or if it is to be recycled and its turn has come.
    fn has_to_go(&self, ready: &mut Ready<J>, cell: &Cell, state: &mut CellState, now: Timestamp) -> bool {
        if !ready.in_debt && !ready.lets_one_go {
            return false;
        }
        // Under this lock the counts are exact; and no seat is given up but under the ready lock as well.
        let _inbox = self.inbox.lock();
        ready.in_debt = ready.in_debt && self.debt() > 0;
        ready.in_debt || ready.lets_one_go && self.takes_its_turn(ready, cell, state, now)
    }

    fn serve(
        &self,
        ready: &mut Ready<J>,
        mut state: LatchGuard<'_, CellState>,
        cell: &Arc<Cell>,
        now: Timestamp,
        taken: &mut Option<Taken<J>>,
        after: &mut After<J>,
    ) -> Turn {
        let released = state.held.as_ref().map(|held| held.lane);
        let searches = cell.searching.load(Ordering::Relaxed);
        let mut inbox = None;
        let mut job = self.pick(ready, None, released, now, after);
        if job.is_none() && ready.dispatches {
            let mut locked = self.inbox.lock();
            let moved = self.move_in(ready, &mut locked);
            // A worker that goes from one job to the next keeps submitters out for no longer than that took.
            inbox = (!moved || released.is_none() || searches || ready.waiters).then_some(locked);
            if moved {
                job = self.pick(ready, inbox.as_deref_mut(), released, now, after);
            }
        }
        // The worker is to idle, a search ends, a place came free, or, with other counts, other jobs than before could start.
        let other_lane = job.as_ref().is_none_or(|job| released != Some(job.header().lane()));
        if other_lane || searches || ready.waiters {
            inbox.get_or_insert_with(|| self.inbox.lock());
        }
        let turn = match job {
            Some(job) => self.seat(self.shard(cell.id.slot as usize), &mut state, job, now, taken),
            None => {
                transition(&self.counts, &mut state, WorkerState::Idle, now);
                Turn::Wait
            }
        };
        let since = state.since;
        drop(state);
        if let Some(mut inbox) = inbox {
            if turn == Turn::Wait {
                // One that was called in vain has idled since before.
                inbox.idle.add(cell.clone(), since);
            }
            self.stop_searching(&mut inbox, cell);
            if released.is_none() && turn == Turn::Run {
                after.demand |= self.lacks_spares(&mut inbox);
            }
            self.rouse(ready, &mut inbox, after);
            self.note_quiet(&inbox, after);
            self.calm_down(ready, &inbox);
        }
        turn
    }

    /// Gives a job that was claimed to its worker. Under the lock that `shard` goes with.
    #[inline]
    pub(super) fn seat(
        &self,
        shard: &Shard,
        state: &mut CellState,
        job: Share<J>,
        now: Timestamp,
        taken: &mut Option<Taken<J>>,
    ) -> Turn {
        let header = job.header();
        let (lane, waited) = (header.lane(), now.nanos_since(header.waits_since()));
        shard.queue_wait[lane.index()].record_alone(waited);
        let (job, shown) = Taken::new(job, lane, state.next_claim(), now);
        debug_assert!(taken.is_none(), "a worker has one job at a time, and one that is written over would never end");
        *taken = Some(job);
        take_up(&self.counts, state, shown, now);
        Turn::Run
    }

    /// Takes the next job that may start, lanes in turn. What expired on the way is put aside. Whoever holds the inbox hands it in.
    fn pick(
        &self,
        ready: &mut Ready<J>,
        mut inbox: Option<&mut Inbox<J>>,
        released: Option<LaneId>,
        now: Timestamp,
        after: &mut After<J>,
    ) -> Option<Share<J>> {
        if !ready.dispatches {
            return None;
        }
        if self.lanes.len() == 1 {
            return self.pick_from(ready, LaneId::DEFAULT, released, now, after);
        }
        self.move_in_fresh(ready, inbox.as_deref_mut());
        let lanes = self.lanes.len();
        for step in 1..=lanes {
            let index = (ready.cursor + step) % lanes;
            let lane = LaneId(u16::try_from(index).ok()?);
            let mut job = self.pick_from(ready, lane, released, now, after);
            if job.is_none() && self.move_in_fresh(ready, inbox.as_deref_mut()) {
                // Nothing but dead ones stood there, and hid what had come after them.
                job = self.pick_from(ready, lane, released, now, after);
            }
            if job.is_some() {
                ready.cursor = index;
                return job;
            }
        }
        None
    }

    /// The next job of one lane, if one may start.
    fn pick_from(
        &self,
        ready: &mut Ready<J>,
        lane: LaneId,
        released: Option<LaneId>,
        now: Timestamp,
        after: &mut After<J>,
    ) -> Option<Share<J>> {
        let line = &mut ready.lanes[lane.index()];
        // A worker that asks holds a seat; only another lane's reserve can keep it from this lane's jobs.
        if line.is_empty() || self.has_reserves() && self.startable(lane, released) == 0 {
            return None;
        }
        let state = self.lane(lane);
        for _ in 0..MOST_LOOKS {
            // In turn, unless the oldest has little left of its deadline: then more work comes than fits, and to serve those
            // that will not make it would leave no time for those that can. The newest goes first while that lasts
            // ("adaptive LIFO": Maurer, "Fail at Scale", ACM Queue 13/8, 2015); the oldest leave when their time is over.
            // One that is dead does not count, it only stands there still.
            let is_pressed = |job: &Share<J>| job.header().is_pressed(now) && job.header().is_queued();
            let hurries = |job: &Share<J>| job.header().deadline() != Timestamp::NEVER;
            // One without a deadline can wait; and where each seat could take what is queued next, nothing has to be given up.
            let overtakes = || line.back().is_some_and(hurries) && self.queued(lane.index()) > self.max();
            let pressed = line.front().is_some_and(is_pressed) && overtakes();
            let Some(job) = (if pressed { line.pop_back() } else { line.pop() }) else { break };
            if let Some(coming) = line.ahead(AHEAD) {
                prefetch(coming.header());
            }
            let queue_limit = state.spec.queue_limit_of(job.header().id());
            let claimed = self.claim(job, queue_limit, now, &mut after.rare);
            if claimed.is_some() {
                self.ready.passed(lane.index());
                return claimed;
            }
        }
        None
    }

    /// Claims a job that was taken out of its line, unless its time is over, or it is dead: cancelled or expired where it stood, and counted by
    /// whoever did that.
    #[inline]
    pub(super) fn claim(
        &self,
        job: Share<J>,
        queue_limit: Option<Duration>,
        now: Timestamp,
        rare: &mut Seldom<J>,
    ) -> Option<Share<J>> {
        let header = job.header();
        if header.expires_at(queue_limit) <= now {
            rare.get_or_insert_default().expired.push(job);
            return None;
        }
        if !header.claim() {
            // This share may be the last: what comes with it, a span of the submitter's, is let go of with nothing held.
            rare.get_or_insert_default().swept.push(job);
            return None;
        }
        Some(job)
    }

    /// With several lanes, one lane's long ready queue must not hide what came for another: those are moved in early.
    /// True if anything came.
    fn move_in_fresh(&self, ready: &mut Ready<J>, inbox: Option<&mut Inbox<J>>) -> bool {
        let fresh = |lane: usize| ready.lanes[lane].is_empty() && self.pushed(lane) != ready.moved[lane];
        (0..self.lanes.len()).any(fresh)
            && match inbox {
                Some(held) => self.move_in(ready, held),
                None => self.move_in(ready, &mut self.inbox.lock()),
            }
    }

    /// Swaps in the inbox of every lane whose ready queue is empty. True if anything came.
    pub(super) fn move_in(&self, ready: &mut Ready<J>, inbox: &mut Inbox<J>) -> bool {
        let mut moved = false;
        for (index, line) in ready.lanes.iter_mut().enumerate() {
            let jobs = &mut inbox.lanes[index].jobs;
            if line.is_empty() {
                // All that was pushed is here now, or died in the inbox and was swept out of it.
                ready.moved[index] = self.pushed(index);
                if !jobs.is_empty() {
                    std::mem::swap(line, jobs);
                    moved = true;
                }
            }
        }
        if moved {
            self.disturb();
        }
        moved
    }

    /// The worker has looked, or is gone: its search is over.
    pub(super) fn stop_searching(&self, inbox: &mut Inbox<J>, cell: &Cell) {
        // Under the inbox lock, as all who write it: no swap is needed.
        if cell.searching.load(Ordering::Relaxed) {
            cell.searching.store(false, Ordering::Relaxed);
            cell.parker.answer();
            inbox.searching -= 1;
        }
    }

    /// A draining pool in which nothing is left to run says so.
    pub(super) fn note_quiet(&self, inbox: &Inbox<J>, after: &mut After<J>) {
        after.quiet |= inbox.gate == Gate::Draining && self.has_nothing_left();
    }

    /// Nothing runs and nothing waits for a worker.
    pub(crate) fn is_quiet(&self) -> bool {
        // Without them, a job on its way from the queue to its worker could be seen in neither.
        let _ready = self.ready.lock();
        let _inbox = self.inbox.lock();
        self.has_nothing_left()
    }

    /// Whether all that was admitted has run, once the gate drains; `None` if it was closed, which ends jobs that have not.
    pub(crate) fn has_drained(&self) -> Option<bool> {
        let _ready = self.ready.lock();
        let inbox = self.inbox.lock();
        // An abort closes the gate before it ends the first job.
        (inbox.gate == Gate::Draining).then(|| self.has_nothing_left())
    }

    /// The same, under both locks.
    fn has_nothing_left(&self) -> bool {
        self.counts.busy() == 0 && (0..self.lanes.len()).all(|lane| self.queued(lane) == 0)
    }
}
