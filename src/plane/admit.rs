//! Jobs come in: at once, or after a wait at the gate.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{After, Inbox, Plane};
use crate::error::RejectReason;
use crate::gate::{Gate, Verdict, Waiter};
use crate::id::{JobId, LaneId};
use crate::job::{Envelope, Share, Target, note};
use crate::lane;
use crate::sync::{Arc, Ordering, Tally, Timestamp};

/// A job that did not get in, and why.
pub(crate) struct Refused<J: ?Sized + Envelope> {
    pub(crate) job: Share<J>,
    pub(crate) why: Refusal,
}

/// Why, before a scene is made for it.
pub(crate) enum Refusal {
    /// No place; those who can, wait.
    Full,
    Because(RejectReason),
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Admits `job` now, or hands it back. Never overtakes those who wait.
    pub(crate) fn try_admit(&self, job: Share<J>) -> Result<(), (Share<J>, RejectReason)> {
        let now = self.clock.now();
        self.admit(job, now).map_err(|Refused { job, why }| {
            self.count_rejected();
            let reason = match why {
                Refusal::Because(reason) => reason,
                Refusal::Full => self.full(job.header().lane(), now),
            };
            (job, reason)
        })
    }

    /// Counts a job that was refused, at the gate or before it came there.
    pub(crate) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::SeqCst);
        self.bell.ring(&*self.port);
    }

    fn admit(&self, job: Share<J>, now: Timestamp) -> Result<(), Refused<J>> {
        let lane = job.header().lane();
        if job.header().deadline() <= now {
            return Err(Refused { job, why: Refusal::Because(self.already_expired("deadline")) });
        }
        let mut after = After::default();
        {
            let mut inbox = self.inbox.lock();
            if let Some(why) = self.refusal(&inbox) {
                return Err(Refused { job, why });
            }
            if self.has_room(&mut inbox, lane) {
                self.push(&mut inbox, job, now, &mut after);
            } else {
                drop(inbox);
                self.admit_exactly(job, now, &mut after)?;
            }
        }
        self.after(after);
        Ok(())
    }

    /// True if there is room in the lane's queue for sure. Under the inbox lock alone the number of queued jobs can read too
    /// high, never too low: then both locks are taken, and the answer is exact.
    fn has_room(&self, inbox: &mut Inbox<J>, lane: LaneId) -> bool {
        let line = &mut inbox.lanes[lane.index()];
        let (capacity, granted) = (self.lane(lane).spec.capacity() as u64, line.granted as u64);
        let room = |gone: u64| self.pushed(lane.index()).saturating_sub(gone) + granted < capacity;
        if !line.waiters.is_empty() {
            return false;
        }
        if room(line.gone_seen) {
            return true;
        }
        line.gone_seen = self.gone(lane.index());
        room(line.gone_seen)
    }

    /// The same with both locks held, so that every number is exact.
    fn admit_exactly(&self, job: Share<J>, now: Timestamp, after: &mut After<J>) -> Result<(), Refused<J>> {
        let lane = job.header().lane();
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        if let Some(why) = self.refusal(&inbox) {
            return Err(Refused { job, why });
        }
        // Those before it come first; there may be room for them and for it.
        self.grant(&mut ready, &mut inbox, after);
        let room = lane::room(&self.lane_seats(Some(&inbox), None), lane.index(), self.seats());
        if room == 0 || !inbox.lanes[lane.index()].waiters.is_empty() {
            drop(inbox);
            drop(ready);
            self.after(std::mem::take(after));
            return Err(Refused { job, why: Refusal::Full });
        }
        self.push(&mut inbox, job, now, after);
        Ok(())
    }

    /// Why nothing is admitted now, if so.
    #[inline]
    fn refusal(&self, inbox: &Inbox<J>) -> Option<Refusal> {
        // Nearly always open, and nobody was abandoned.
        if inbox.gate == Gate::Open && self.counts.abandoned() == 0 { None } else { self.refusal_exactly(inbox) }
    }

    #[cold]
    fn refusal_exactly(&self, inbox: &Inbox<J>) -> Option<Refusal> {
        if let Some(reason) = inbox.gate.refusal() {
            let pool = self.config.name.clone();
            return Some(Refusal::Because(RejectReason::Closed { pool, reason }));
        }
        // Nothing that was admitted now could run before somebody who cannot be made to return returns.
        let lost = self.is_lost_to_abandoned();
        lost.then_some(Refusal::Full)
    }

    fn already_expired(&self, what: &'static str) -> RejectReason {
        RejectReason::AlreadyExpired { pool: self.config.name.clone(), what }
    }

    /// The job is in. Under the inbox lock.
    fn push(&self, inbox: &mut Inbox<J>, job: Share<J>, now: Timestamp, after: &mut After<J>) {
        let header = job.header();
        let lane = header.lane();
        let state = self.lane(lane);
        inbox.next_id += 1;
        header.admit(JobId(inbox.next_id), now);
        let expires = header.expires_at(state.spec.queue_limit());
        if expires != Timestamp::NEVER {
            after.forget(self.due.queued(expires, job.clone().erase(), &*self.port));
        }
        inbox.lanes[lane.index()].jobs.push(job);
        self.inbox.passed(lane.index());
        self.due.watch_queue(now, &self.clock, &*self.port);
        // Whoever searches looks after it, and calls the next. A seat that is released later is released by a worker that
        // comes by the inbox before it idles, so reading the seats here, under this lock alone, misses none.
        if inbox.gate.dispatches() && (!self.has_reserves() || self.startable(lane, None) > 0) {
            if inbox.idle.is_empty() {
                self.demand(inbox, after);
            } else if inbox.searching == 0 {
                self.rouse_one(inbox, after);
            }
        }
    }

    /// Puts a submitter at the end of its lane's line; `counts`: it is not yet among those that wait.
    fn wait(&self, waiter: &Arc<Waiter>, counts: bool) -> Result<(), RejectReason> {
        let mut after = After::default();
        let refused = {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            if counts {
                self.lane(waiter.lane).waiting.fetch_add(1, Ordering::AcqRel);
            }
            let refused = self.refusal(&inbox);
            if refused.is_none() {
                inbox.lanes[waiter.lane.index()].waiters.push(waiter.clone());
                ready.waiters = true;
                self.disturb();
                // A place may have come free since the submitter was turned away.
                self.grant(&mut ready, &mut inbox, &mut after);
            }
            refused
        };
        match refused {
            Some(Refusal::Because(reason)) => return Err(reason),
            Some(Refusal::Full) => return Err(self.full(waiter.lane, self.clock.now())),
            None => {}
        }
        self.due.waiting(waiter, &*self.port);
        self.after(after);
        self.bell.ring(&*self.port);
        Ok(())
    }

    /// A promised place becomes a place; in the same breath the job ceases to wait and is accepted.
    fn receive(&self, job: Share<J>) -> Admitted<J> {
        let now = self.clock.now();
        let lane = job.header().lane();
        let mut after = After::default();
        {
            let mut inbox = self.inbox.lock();
            inbox.lanes[lane.index()].granted -= 1;
            if let Some(reason) = inbox.gate.refusal() {
                let pool = self.config.name.clone();
                return Err((job, RejectReason::Closed { pool, reason }));
            }
            self.lane(lane).waiting.fetch_sub(1, Ordering::AcqRel);
            self.push(&mut inbox, job, now, &mut after);
        }
        self.after(after);
        Ok(())
    }

    /// A wait ended without a place: the job goes on to another term of the ledger, which is read under the same lock.
    fn wait_ended(&self, lane: LaneId, term: &Tally) {
        {
            let _inbox = self.inbox.lock();
            term.fetch_add(1, Ordering::SeqCst);
            self.lane(lane).waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.bell.ring(&*self.port);
    }

    /// Why those who wait are sent away: the gate takes no more jobs, or none that was admitted now could ever run.
    fn why_closed(&self, lane: LaneId) -> RejectReason {
        match self.gate().refusal() {
            Some(reason) => RejectReason::Closed { pool: self.config.name.clone(), reason },
            None => self.full(lane, self.clock.now()),
        }
    }
}

/// What became of a job at the gate: in, or handed back with the reason.
type Admitted<J> = Result<(), (Share<J>, RejectReason)>;

/// How a job comes in.
pub(crate) enum Entry<'a, J: ?Sized + Envelope> {
    /// In at once, or refused.
    Done(Admitted<J>),
    /// It has to wait at the gate.
    Waits(Admission<'a, J>),
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Admits `job` now, or has it wait if it has to and may.
    pub(crate) fn enter(&self, job: Share<J>) -> Entry<'_, J> {
        let now = self.clock.now();
        let Refused { job, why } = match self.admit(job, now) {
            Ok(()) => return Entry::Done(Ok(())),
            Err(refused) => refused,
        };
        let lane = job.header().lane();
        let reason = match why {
            Refusal::Because(reason) => reason,
            Refusal::Full if self.must_not_wait(lane) => self.full(lane, now),
            Refusal::Full => {
                let until = self.admission_deadline(lane, now, job.header().deadline());
                return Entry::Waits(Admission::new(self, job, Waiter::new(lane, now, until)));
            }
        };
        self.count_rejected();
        Entry::Done(Err((job, reason)))
    }

    fn must_not_wait(&self, lane: LaneId) -> bool {
        self.lane(lane).spec.rejects() || self.is_lost_to_abandoned()
    }
}

/// A submission that waits at the gate.
///
/// Dropped before it is ready, it admits nothing and leaves nothing behind: see `gate.rs`.
pub(crate) struct Admission<'a, J: ?Sized + Envelope> {
    plane: &'a Plane<J>,
    /// `None` once it is over.
    job: Option<Share<J>>,
    /// The present wait: one whose promise was taken back is followed by another.
    waiter: Arc<Waiter>,
    place: InLine,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InLine {
    /// Was never there: it counts as offered from its first poll on.
    Not,
    Stands,
    /// A promise was taken back: it still counts as waiting, and goes to the end of the line.
    Again,
}

impl<'a, J: ?Sized + Envelope> Admission<'a, J> {
    fn new(plane: &'a Plane<J>, job: Share<J>, waiter: Arc<Waiter>) -> Self {
        Self { plane, job: Some(job), waiter, place: InLine::Not }
    }

    /// Ready once it is in, or has a reason why not.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RejectReason>> {
        let plane = self.plane;
        loop {
            if self.place != InLine::Stands {
                let counts = self.place == InLine::Not;
                self.place = InLine::Stands;
                if let Err(reason) = plane.wait(&self.waiter, counts) {
                    return Poll::Ready(Err(reason));
                }
            }
            let Poll::Ready(verdict) = self.waiter.poll(cx) else {
                let place = || Target::place(plane.number(), self.waiter.lane, self.waiter.clone());
                let Some(deadlock) = note(cx.waker(), place) else { return Poll::Pending };
                plane.waiter_left(&self.waiter, self.waiter.cancel());
                return Poll::Ready(Err(RejectReason::Deadlock(deadlock)));
            };
            match verdict {
                Verdict::Received => {
                    let job = self.job.take().expect("a submission is not polled after it is ready");
                    let received = plane.receive(job).map_err(|(job, reason)| {
                        self.job = Some(job);
                        reason
                    });
                    return Poll::Ready(received);
                }
                Verdict::Expired => return Poll::Ready(Err(self.timed_out())),
                Verdict::Closed => return Poll::Ready(Err(plane.why_closed(self.waiter.lane))),
                // Nobody polled it while it held a place, so it goes to the end of the line, within the same limit.
                Verdict::Revoked if self.waiter.until <= plane.clock.now() => {
                    return Poll::Ready(Err(self.timed_out()));
                }
                Verdict::Revoked => {
                    self.waiter = Waiter::new(self.waiter.lane, self.waiter.since, self.waiter.until);
                    self.place = InLine::Again;
                }
            }
        }
    }

    fn timed_out(&self) -> RejectReason {
        let lane = self.plane.lane(self.waiter.lane).spec.name.clone();
        let scene = self.plane.scene(self.plane.clock.now());
        RejectReason::AdmissionTimedOut { lane, limit: self.waiter.until.since(self.waiter.since), scene }
    }
}

impl<J: ?Sized + Envelope> Future for Admission<'_, J> {
    type Output = Admitted<J>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let placed = std::task::ready!(self.poll_place(cx));
        Poll::Ready(placed.map_err(|reason| {
            let job = self.job.take().expect("a job that did not get in is still here");
            self.plane.wait_ended(self.waiter.lane, &self.plane.rejected);
            (job, reason)
        }))
    }
}

impl<J: ?Sized + Envelope> Drop for Admission<'_, J> {
    fn drop(&mut self) {
        if self.job.is_none() || self.place == InLine::Not {
            return;
        }
        let left = self.waiter.cancel();
        self.plane.waiter_left(&self.waiter, left);
        self.plane.wait_ended(self.waiter.lane, &self.plane.gone_at_gate);
    }
}
