//! What goes back into its lane: a job that was not begun by a worker that ends, and one that may be delivered more than once, whose worker was
//! lost under it. States and the argument: DESIGN.md, section 15.

use super::{After, Plane, Ready, Signal};
use crate::error::{DeadLetter, Delivery};
use crate::id::{ClaimNo, JobId};
use crate::job::{Envelope, Redeliveries, Share};
use crate::policy::Exit;
use crate::slot::{Cell, CellState, Taken, transition};
use crate::snapshot::{Quarantined, WorkerState};
use crate::sync::{Arc, Timestamp};

/// What becomes of a job whose worker was lost under it.
pub(super) enum Loss {
    /// It rests, and is delivered again.
    Rests,
    /// It had all deliveries that it gets. Its outcome is to be written.
    Spent(Arc<DeadLetter>),
    /// It ends as its worker did.
    Ends,
}

/// A delivery that was lost, and until when the job rests.
struct Rest<'a> {
    deliveries: &'a Redeliveries,
    lost: Arc<Delivery>,
    until: Timestamp,
    exit: Exit,
}

/// Somebody took the worker with the job in its hands: what died by itself just then is not told from that. To be told to leave after a job before this one,
/// whatever for, says nothing of this one.
pub(super) fn was_taken(state: &CellState) -> bool {
    matches!(state.state, WorkerState::Condemned | WorkerState::Abandoned)
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// A worker that ends had taken a job and not begun it: back to the front of its lane. False: it has its outcome by now, or
    /// is to go with its worker.
    pub(super) fn put_back(&self, cell: &Cell, job: &Share<J>, claim: ClaimNo) -> bool {
        self.give_back(cell, job, claim, None)
    }

    /// A worker has ended unasked, and its code is certain to run no more: what becomes of the job that it had begun. Whoever writes an outcome before
    /// that, or takes the worker, wins.
    pub(super) fn lose(&self, cell: &Cell, taken: &Taken<J>, exit: &Exit) -> Loss {
        let (job, now) = (taken.job(), self.clock.now());
        let header = job.header();
        // Who was asked to stop is not wanted any more.
        let Some(deliveries) = header.redeliveries().filter(|_| !header.is_cancelled()) else { return Loss::Ends };
        let lost = Arc::new(self.lost_delivery(cell, taken, deliveries.lost().saturating_add(1), exit, now));
        let exit = Exit::TakenAlong { job: header.id(), exit: Arc::new(exit.clone()) };
        let Some(rests_for) = deliveries.rest(header.id(), lost.number) else {
            let mut state = cell.lock();
            if was_taken(&state) {
                return Loss::Ends;
            }
            state.leave.get_or_insert(exit);
            drop(state);
            return Loss::Spent(self.dead_letter(job, deliveries.all_with(lost), None));
        };
        let until = now.after(rests_for);
        if !self.give_back(cell, job, taken.claim, Some(Rest { deliveries, lost: lost.clone(), until, exit })) {
            return Loss::Ends;
        }
        let (job, label) = (header.id(), header.label().cloned());
        self.port.signal(Signal::Redelivered { job, label, lost, rests_for });
        Loss::Rests
    }

    /// What a job that was claimed ends as if its label is kept out.
    pub(super) fn withheld(&self, job: &Share<J>) -> Option<Arc<DeadLetter>> {
        let header = job.header();
        let quarantine = self.kept_out(header.label()?)?;
        let deliveries = header.redeliveries().map(Redeliveries::all).unwrap_or_default();
        Some(self.dead_letter(job, deliveries, Some(quarantine)))
    }

    fn lost_delivery(&self, cell: &Cell, taken: &Taken<J>, number: u16, exit: &Exit, now: Timestamp) -> Delivery {
        Delivery {
            number,
            worker: cell.id,
            pid: cell.pid(),
            began_at: taken.since,
            ended_at: now,
            by: exit.blame(),
            #[cfg(feature = "process")]
            death: exit.death(),
        }
    }

    fn dead_letter(
        &self,
        job: &Share<J>,
        deliveries: Vec<Arc<Delivery>>,
        quarantine: Option<Arc<Quarantined>>,
    ) -> Arc<DeadLetter> {
        let header = job.header();
        Arc::new(DeadLetter {
            pool: self.config.name.clone(),
            lane: self.lane(header.lane()).spec.name.clone(),
            job: header.id(),
            label: header.label().cloned(),
            submitted_from: header.submitted_from(),
            accepted_at: header.accepted_at(),
            deliveries,
            quarantine,
            payload: None,
            payload_bytes: None,
        })
    }

    /// A job goes from its worker, which ends, back to the front of its lane, or to its rest. False: as for [`put_back`](Self::put_back).
    fn give_back(&self, cell: &Cell, job: &Share<J>, claim: ClaimNo, rest: Option<Rest<'_>>) -> bool {
        let mut after = After::default();
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        let mut state = cell.lock();
        let held = state.held.as_ref().is_some_and(|held| held.claim == claim);
        // Condemned, it was hit by a kill together with its worker, unless it was taken back before that.
        let hit = match &rest {
            None => state.state == WorkerState::Condemned && !cell.is_taken_back(),
            Some(_) => was_taken(&state),
        };
        if !held || hit {
            return false;
        }
        if let Some(Rest { deliveries, lost, .. }) = &rest {
            // Before it can be claimed, or expire, once more.
            deliveries.note(lost.clone());
        }
        if !job.header().put_back() {
            return false;
        }
        let lane = job.header().lane();
        let until = rest.map(|rest| {
            state.leave.get_or_insert(rest.exit);
            rest.until
        });
        transition(&self.counts, &mut state, WorkerState::Leaving, self.clock.now());
        after.leaves = true;
        drop(state);
        self.ready.came_back(lane.index());
        if until.is_some() {
            self.lane(lane).begin_rest();
            ready.resting.insert(job.header().id(), job.clone());
        } else {
            ready.lanes[lane.index()].push_front(job.clone());
            self.disturb();
        }
        // What submitters saw leave is back.
        inbox.lanes[lane.index()].gone_seen = 0;
        self.rouse(&mut ready, &mut inbox, &mut after);
        drop((inbox, ready));
        self.is_back(job, until, after);
        true
    }

    /// A job is queued again. With nothing held.
    pub(super) fn is_back(&self, job: &Share<J>, until: Option<Timestamp>, after: After<J>) {
        // Asked while the worker had it, it would have been told when it ran: now it need not run, and ends before anybody is called to look
        // for it.
        let erased = job.clone().erase();
        let cancelled = job.header().is_cancelled();
        let ended = cancelled.then(|| self.end_queued(&erased, self.cancelled(&erased, "request"))).flatten();
        self.after(after);
        match ended {
            Some(owed) => self.tell_ended(&erased, owed),
            None => {
                self.limit_again(job);
                if let Some(until) = until {
                    self.due.rests(until, erased.clone(), &*self.port);
                    // A clock that was moved before that has ticked without it, and may not be moved again.
                    let now = self.clock.now();
                    if until <= now {
                        self.end_rest(&erased, now);
                    }
                }
            }
        }
    }

    /// The entry of a job's queue limit may be gone by now: it did not matter while a worker had the job.
    fn limit_again(&self, job: &Share<J>) {
        let expires = self.expires_at(job.header());
        if expires <= self.clock.now() {
            self.expire_where_it_is(job);
        } else if expires != Timestamp::NEVER {
            drop(self.due.queued(expires, job.clone().erase(), &*self.port));
        }
    }

    /// It stands in its line, or rests.
    fn expire_where_it_is(&self, job: &Share<J>) {
        let erased = job.clone().erase();
        let error = self.timed_out_in_queue(&erased, self.clock.now());
        self.withdraw(&erased, error);
    }

    /// A job has rested: back to the front of its lane, since it was admitted before all that stand there. One that has ended meanwhile is let go of.
    pub(super) fn end_rest(&self, job: &Share<dyn Envelope>, now: Timestamp) {
        let mut after = After::default();
        let back = {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            // Whoever takes it out of its rest sees to it.
            let Some(rested) = self.wake_early(&mut ready, job.header().id()) else { return };
            let header = rested.header();
            let back = header.is_queued().then(|| rested.clone());
            if let Some(deliveries) = header.redeliveries().filter(|_| back.is_some()) {
                deliveries.waits_from(now);
                ready.lanes[header.lane().index()].push_front(rested);
                self.disturb();
                self.due.watch_queue(now, &self.clock, &*self.port);
            } else {
                after.rare().swept.push(rested);
            }
            self.rouse(&mut ready, &mut inbox, &mut after);
            back
        };
        self.after(after);
        if let Some(job) = back {
            self.limit_again(&job);
        }
    }

    /// Takes a job out of its rest, if it rests. Under the ready lock; the caller sees to it that somebody looks for what can start.
    pub(super) fn wake_early(&self, ready: &mut Ready<J>, job: JobId) -> Option<Share<J>> {
        let rested = ready.resting.remove(&job)?;
        self.lane(rested.header().lane()).end_rest();
        Some(rested)
    }

    /// The same with whichever is the first.
    pub(super) fn wake_first(&self, ready: &mut Ready<J>) -> Option<Share<J>> {
        let first = *ready.resting.first_key_value()?.0;
        self.wake_early(ready, first)
    }
}
