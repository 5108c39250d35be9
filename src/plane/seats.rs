//! How many seats there are, who may take one, and who is woken for it.

use super::{After, Inbox, Plane, Ready};
use crate::gate::{Left, Waiter};
use crate::id::LaneId;
use crate::job::Envelope;
use crate::lane::{self, Line, Seats};
use crate::sync::{Arc, Ordering, Timestamp};
use std::time::Duration;

/// So many of those who are sent away are told in one pass.
const PASS: usize = 64;

/// How long a granted place waits for its submitter before it is taken back.
pub(super) const GRANT_PATIENCE: Duration = Duration::from_millis(200);

impl<J: ?Sized + Envelope> Plane<J> {
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Acquire)
    }

    /// How many abandoned workers are replaced before their seats are lost.
    pub(crate) fn abandoned_cap(&self) -> usize {
        self.config.abandoned_cap.unwrap_or_else(|| self.config.limits.max.max(self.max()))
    }

    /// Workers that could still be started.
    pub(crate) fn startable_workers(&self) -> usize {
        let free = self.max().saturating_sub(self.counts.live());
        // Mostly none is, and each submission to a pool that is at its limit asks.
        if free == 0 { 0 } else { free.saturating_sub(self.blocked()) }
    }

    /// True if a worker could be started in one of the slots that cannot have any now, if it could.
    pub(crate) fn has_room_but_for_one_slot(&self) -> bool {
        self.max() >= self.counts.live() + self.blocked().max(1)
    }

    /// Seats that cannot be filled: DESIGN.md, section 2. What is abandoned beyond the cap is counted in the same breath as it
    /// gives up its seat, so that nobody is promised that seat in between.
    pub(super) fn blocked(&self) -> usize {
        self.cooling.load(Ordering::Acquire) + self.beyond_cap()
    }

    /// Abandoned workers each of which takes a seat.
    pub(super) fn beyond_cap(&self) -> usize {
        self.counts.abandoned().saturating_sub(self.abandoned_cap())
    }

    /// Seats that exist: DESIGN.md, section 2.
    pub(crate) fn seats(&self) -> usize {
        self.max().min(self.counts.live() + self.startable_workers())
    }

    /// True if workers that cannot be made to die hold every seat, but for those that nobody is ever to have again. Not while a slot backs off:
    /// its seat comes back by itself.
    pub(crate) fn is_lost_to_abandoned(&self) -> bool {
        let beyond = self.beyond_cap();
        beyond > 0 && self.counts.live() == 0 && beyond + self.given_up.load(Ordering::Acquire) >= self.max()
    }

    /// Seats owed back after a shrink. Exact under the inbox lock: without it, a worker that goes from one state to another may be counted twice.
    pub(super) fn debt(&self) -> usize {
        self.counts.live().saturating_sub(self.max())
    }

    /// The same for whoever holds no lock, exact.
    pub(crate) fn exact_debt(&self) -> usize {
        let _inbox = self.inbox.lock();
        self.debt()
    }

    /// True if no seat is owed back, and of so many workers that have not ended none is on its way out.
    pub(crate) fn has_settled(&self, employed: usize) -> bool {
        // Under the lock, as above.
        let _inbox = self.inbox.lock();
        self.debt() == 0 && employed <= self.counts.live() + self.counts.abandoned()
    }

    /// Every lane's numbers; `released` is a seat that its worker is about to give back.
    pub(super) fn lane_seats(&self, inbox: Option<&Inbox<J>>, released: Option<LaneId>) -> Vec<Seats> {
        let numbers = |(index, lane): (usize, &crate::lane::LaneState)| Seats {
            busy: self.counts.busy_in(index) - usize::from(released.is_some_and(|lane| lane.index() == index)),
            reserve: lane.spec.reserve(),
            queued: self.queued(index),
            capacity: lane.spec.capacity(),
            granted: inbox.map_or(0, |inbox| inbox.lanes[index].granted),
        };
        self.lanes.iter().enumerate().map(numbers).collect()
    }

    /// How many more jobs of `lane` may start.
    pub(super) fn startable(&self, lane: LaneId, released: Option<LaneId>) -> usize {
        if self.lanes.len() == 1 {
            let busy = self.counts.busy_in(0) - usize::from(released.is_some());
            return self.seats().saturating_sub(busy);
        }
        lane::startable(&self.lane_seats(None, released), lane.index(), self.seats())
    }

    /// A lane with jobs that could start now. Looks at the lines, not at `queued`, which still counts a job that somebody is
    /// just withdrawing: for that one, workers would be woken again and again, and find nothing.
    fn lane_to_serve(&self, ready: &Ready<J>, inbox: &Inbox<J>) -> Option<LaneId> {
        let has_jobs =
            |lane: LaneId| !ready.lanes[lane.index()].is_empty() || !inbox.lanes[lane.index()].jobs.is_empty();
        (0..self.lanes.len())
            .filter_map(|index| u16::try_from(index).ok().map(LaneId))
            .find(|&lane| has_jobs(lane) && self.startable(lane, None) > 0)
    }

    /// Sees to it that jobs which could start are looked for: the one place that upholds the rule of `searching`.
    ///
    /// Called under both locks by whoever changed what could start, other than by pushing a job.
    pub(super) fn rouse(&self, ready: &mut Ready<J>, inbox: &mut Inbox<J>, after: &mut After<J>) {
        if ready.waiters {
            self.grant(ready, inbox, after);
        }
        if ready.waiters && self.is_lost_to_abandoned() {
            // As whoever comes now is told: nothing that was admitted could run before one of those returns.
            self.send_away(ready, inbox, after);
        }
        if ready.dispatches && inbox.searching == 0 && self.lane_to_serve(ready, inbox).is_some() {
            self.rouse_one(inbox, after);
        }
    }

    /// Wakes an idle worker to look for work, or asks for a new one.
    pub(super) fn rouse_one(&self, inbox: &mut Inbox<J>, after: &mut After<J>) {
        // The one that idles shortest: its caches are warm, and those that idle longest get to leave.
        match inbox.idle.pop() {
            Some(cell) => {
                inbox.searching += 1;
                cell.searching.store(true, Ordering::Relaxed);
                after.call(cell);
            }
            None => self.demand(inbox, after),
        }
    }

    /// Asks control for workers, once until it has looked.
    pub(super) fn demand(&self, inbox: &mut Inbox<J>, after: &mut After<J>) {
        after.demand |= self.demands(inbox);
    }

    /// The same: true if control is to be told when no lock is held.
    pub(super) fn demands(&self, inbox: &mut Inbox<J>) -> bool {
        let demands = !inbox.demanded && self.startable_workers() > 0;
        inbox.demanded |= demands;
        demands
    }

    /// Promises free places to those who wait, in their order. Under both locks.
    pub(super) fn grant(&self, ready: &mut Ready<J>, inbox: &mut Inbox<J>, after: &mut After<J>) {
        let mut left = false;
        for index in 0..self.lanes.len() {
            let mut room = lane::room(&self.lane_seats(Some(inbox), None), index, self.seats());
            let line = &mut inbox.lanes[index];
            while room > 0 {
                let Some(waiter) = line.waiters.pop() else { break };
                if waiter.grant() {
                    room -= 1;
                    line.granted += 1;
                    after.forget(self.due.grant(&waiter, self.clock.now().after(GRANT_PATIENCE), &*self.port));
                    after.rare().waiters.push(waiter);
                }
            }
            left |= !line.waiters.is_empty();
        }
        ready.waiters = left;
    }

    /// Ends the wait of all who stand at the gate: no place will come free. Under both locks.
    pub(super) fn send_away(&self, ready: &mut Ready<J>, inbox: &mut Inbox<J>, after: &mut After<J>) {
        for lane in &mut inbox.lanes {
            if !lane.waiters.is_empty() {
                after.rare().sent_away.push(std::mem::take(&mut lane.waiters));
            }
        }
        ready.waiters = false;
    }

    /// Tells those who were sent away, with no lock held. In no line any more, none of them can be granted a place meanwhile.
    pub(super) fn tell_sent_away(&self, mut lines: Vec<Line<Arc<Waiter>>>) {
        self.port.in_passes(Box::new(move || {
            let mut told = 0;
            while told < PASS
                && let Some(waiter) = lines.iter_mut().find_map(Line::pop)
            {
                told += 1;
                // One that has gone away by itself needs nothing.
                if waiter.close().is_some() {
                    waiter.wake();
                }
            }
            told == PASS
        }));
    }

    /// A submitter that stood in line, or held a promise, is done waiting without a place.
    pub(super) fn waiter_left(&self, waiter: &Arc<Waiter>, left: Left) {
        let mut after = After::default();
        match left {
            Left::Told => return,
            Left::Waiting => {
                let swept = self.inbox.lock().lanes[waiter.lane.index()].waiters.died(|waiter| waiter.is_waiting());
                drop(swept);
            }
            Left::Granted => {
                let mut ready = self.ready.lock();
                let mut inbox = self.inbox.lock();
                inbox.lanes[waiter.lane.index()].granted -= 1;
                self.grant(&mut ready, &mut inbox, &mut after);
            }
        }
        self.after(after);
    }

    /// Until when a promise made now is kept.
    pub(super) fn admission_deadline(&self, lane: LaneId, now: Timestamp, deadline: Timestamp) -> Timestamp {
        self.lane(lane).spec.admission_limit().map_or(Timestamp::NEVER, |limit| now.after(limit)).min(deadline)
    }
}
