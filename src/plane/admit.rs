//! Jobs come in: at once, or after a wait at the gate.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{After, Inbox, Plane};
use crate::config::WhenFull;
use crate::error::RejectReason;
use crate::gate::{Verdict, Waiter};
use crate::id::{JobId, LaneId};
use crate::job::Envelope;
use crate::lane;
use crate::sync::{Arc, Ordering, Timestamp};

/// A job that did not get in, and why.
pub(crate) struct Refused<J: ?Sized> {
    pub(crate) job: Arc<J>,
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
    pub(crate) fn try_admit(&self, job: Arc<J>) -> Result<(), (Arc<J>, RejectReason)> {
        let now = self.clock.now();
        self.admit(job, now).map_err(|Refused { job, why }| {
            self.rejected.fetch_add(1, Ordering::AcqRel);
            let reason = match why {
                Refusal::Because(reason) => reason,
                Refusal::Full => self.full(job.header().lane(), now),
            };
            (job, reason)
        })
    }

    /// Counts a job that was refused before it came to the gate.
    pub(crate) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::AcqRel);
    }

    fn admit(&self, job: Arc<J>, now: Timestamp) -> Result<(), Refused<J>> {
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
        let state = self.lane(lane);
        let (capacity, granted) = (state.spec.capacity as u64, line.granted as u64);
        let room = |gone: u64| state.pushed().saturating_sub(gone) + granted < capacity;
        if !line.waiters.is_empty() {
            return false;
        }
        if room(line.gone_seen) {
            return true;
        }
        line.gone_seen = state.gone();
        room(line.gone_seen)
    }

    /// The same with both locks held, so that every number is exact.
    fn admit_exactly(&self, job: Arc<J>, now: Timestamp, after: &mut After<J>) -> Result<(), Refused<J>> {
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

    fn refusal(&self, inbox: &Inbox<J>) -> Option<Refusal> {
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
    fn push(&self, inbox: &mut Inbox<J>, job: Arc<J>, now: Timestamp, after: &mut After<J>) {
        let header = job.header();
        let lane = header.lane();
        let state = self.lane(lane);
        inbox.next_id += 1;
        header.admit(JobId(inbox.next_id), now);
        let expires = header.expires_at(state.spec.queue_limit);
        if expires != Timestamp::NEVER {
            self.due.queued(expires, job.clone().erase(), &*self.port);
        }
        inbox.lanes[lane.index()].jobs.push(job);
        state.push();
        self.due.watch_queue(now, &self.clock, &*self.port);
        // Whoever searches looks after it, and calls the next. A seat that is released later is released by a worker that
        // comes by the inbox before it idles, so reading the seats here, under this lock alone, misses none.
        if inbox.gate.dispatches() && (!self.reserves || self.startable(lane, None) > 0) {
            if inbox.searching == 0 {
                self.rouse_one(inbox, after);
            } else if inbox.idle.is_empty() {
                self.demand(inbox, after);
            }
        }
    }

    /// Puts a submitter at the end of its lane's line.
    fn wait(&self, waiter: &Arc<Waiter>) -> Result<(), RejectReason> {
        let mut after = After::default();
        {
            let mut ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            if let Some(reason) = inbox.gate.refusal() {
                return Err(RejectReason::Closed { pool: self.config.name.clone(), reason });
            }
            inbox.lanes[waiter.lane.index()].waiters.push(waiter.clone());
            ready.waiters = true;
            // A place may have come free since the submitter was turned away.
            self.grant(&mut ready, &mut inbox, &mut after);
        }
        self.due.waiting(waiter, &*self.port);
        self.after(after);
        Ok(())
    }

    /// A promised place becomes a place.
    fn receive(&self, job: Arc<J>) -> Result<(), Refused<J>> {
        let now = self.clock.now();
        let mut after = After::default();
        {
            let mut inbox = self.inbox.lock();
            inbox.lanes[job.header().lane().index()].granted -= 1;
            if let Some(reason) = inbox.gate.refusal() {
                let pool = self.config.name.clone();
                return Err(Refused { job, why: Refusal::Because(RejectReason::Closed { pool, reason }) });
            }
            self.push(&mut inbox, job, now, &mut after);
        }
        self.after(after);
        Ok(())
    }
}

/// A submission that may have to wait at the gate.
///
/// Dropped before it is ready, it admits nothing and leaves nothing behind: see `gate.rs`.
pub(crate) struct Admission<'a, J: ?Sized + Envelope> {
    plane: &'a Plane<J>,
    job: Option<Arc<J>>,
    waiter: Option<Arc<Waiter>>,
    since: Option<Timestamp>,
}

impl<'a, J: ?Sized + Envelope> Admission<'a, J> {
    pub(crate) fn new(plane: &'a Plane<J>, job: Arc<J>) -> Self {
        Self { plane, job: Some(job), waiter: None, since: None }
    }

    fn take_job(&mut self) -> Arc<J> {
        self.job.take().expect("a submission is not polled after it is ready")
    }

    fn end_wait(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.plane.lane(waiter.lane).waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn reject(&mut self, reason: RejectReason) -> Poll<Result<(), (Arc<J>, RejectReason)>> {
        self.plane.rejected.fetch_add(1, Ordering::AcqRel);
        self.end_wait();
        Poll::Ready(Err((self.take_job(), reason)))
    }

    /// The first poll: in at once, or into the line.
    fn begin(&mut self) -> Poll<Result<(), (Arc<J>, RejectReason)>> {
        let now = self.plane.clock.now();
        let job = self.take_job();
        let lane = job.header().lane();
        let refused = match self.plane.admit(job, now) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(refused) => refused,
        };
        let deadline = refused.job.header().deadline();
        self.job = Some(refused.job);
        match refused.why {
            Refusal::Because(reason) => self.reject(reason),
            Refusal::Full if self.must_not_wait(lane) => {
                let reason = self.plane.full(lane, now);
                self.reject(reason)
            }
            Refusal::Full => {
                self.since = Some(now);
                let until = self.plane.admission_deadline(lane, now, deadline);
                self.plane.lane(lane).waiting.fetch_add(1, Ordering::AcqRel);
                self.stand_in_line(lane, until)
            }
        }
    }

    fn must_not_wait(&self, lane: LaneId) -> bool {
        let plane = self.plane;
        plane.lane(lane).spec.when_full == WhenFull::Reject || plane.is_lost_to_abandoned()
    }

    fn stand_in_line(&mut self, lane: LaneId, until: Timestamp) -> Poll<Result<(), (Arc<J>, RejectReason)>> {
        let waiter = Waiter::new(lane, until);
        let stood = self.plane.wait(&waiter);
        self.waiter = Some(waiter);
        match stood {
            Ok(()) => Poll::Pending,
            Err(reason) => self.reject(reason),
        }
    }

    fn told(&mut self, verdict: Verdict) -> Poll<Result<(), (Arc<J>, RejectReason)>> {
        let plane = self.plane;
        let Some(waiter) = self.waiter.clone() else { return Poll::Pending };
        match verdict {
            Verdict::Received => {
                let job = self.take_job();
                match plane.receive(job) {
                    Ok(()) => {
                        self.end_wait();
                        Poll::Ready(Ok(()))
                    }
                    Err(Refused { job, why }) => {
                        self.job = Some(job);
                        let reason = match why {
                            Refusal::Because(reason) => reason,
                            Refusal::Full => plane.full(waiter.lane, plane.clock.now()),
                        };
                        self.reject(reason)
                    }
                }
            }
            Verdict::Expired => {
                let reason = self.timed_out(&waiter);
                self.reject(reason)
            }
            Verdict::Closed => {
                let reason = plane.close_reason();
                self.reject(RejectReason::Closed { pool: plane.config.name.clone(), reason })
            }
            // Nobody polled it while it held a place, so it goes to the end of the line, within the same limit.
            Verdict::Revoked if waiter.until <= plane.clock.now() => {
                let reason = self.timed_out(&waiter);
                self.reject(reason)
            }
            Verdict::Revoked => self.stand_in_line(waiter.lane, waiter.until),
        }
    }

    fn timed_out(&self, waiter: &Waiter) -> RejectReason {
        let now = self.plane.clock.now();
        RejectReason::AdmissionTimedOut {
            lane: self.plane.lane(waiter.lane).spec.name.clone(),
            limit: self.since.map_or_else(Default::default, |since| waiter.until.since(since)),
            scene: self.plane.scene(now),
        }
    }
}

impl<J: ?Sized + Envelope> Future for Admission<'_, J> {
    type Output = Result<(), (Arc<J>, RejectReason)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.waiter.clone() {
                None => {
                    if let Poll::Ready(done) = self.begin() {
                        return Poll::Ready(done);
                    }
                }
                Some(waiter) => match waiter.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(verdict) => {
                        if let Poll::Ready(done) = self.told(verdict) {
                            return Poll::Ready(done);
                        }
                    }
                },
            }
        }
    }
}

impl<J: ?Sized + Envelope> Drop for Admission<'_, J> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.clone() else { return };
        let left = waiter.cancel();
        self.plane.waiter_left(&waiter, left);
        self.plane.gone_at_gate.fetch_add(1, Ordering::AcqRel);
        self.end_wait();
    }
}
