//! What a job carries beside its payload, the same for every payload: its word, its shares, its terms, the line that submitted it.

use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cell::StagePlace;
use super::origin::Origin;
use super::outcome::{Unread, WakerPlace, Word};
use super::panics::catch;
use super::redeliveries::Redeliveries;
use super::shares::Shares;
use crate::id::{JobId, LaneId};
use crate::snapshot::{Ended, Lineage};
#[cfg(feature = "process")]
use crate::sync::AtomicU8;
use crate::sync::{Arc, Mutex, Ordering, Setting, Timestamp};

/// What few jobs have: limits, resolved, a label, an origin. Boxed for that reason.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) label: Option<Arc<str>>,
    pub(crate) queue_limit: Option<Duration>,
    pub(crate) run_limit: Option<Duration>,
    pub(crate) overdue_after: Option<Duration>,
    pub(crate) deadline: Timestamp,
    pub(crate) redeliveries: Option<Box<Redeliveries>>,
    pub(crate) origin: Option<Origin>,
}

impl Terms {
    /// No limits, and no label.
    pub(crate) fn of_origin(origin: Option<Origin>) -> Self {
        Self {
            label: None,
            queue_limit: None,
            run_limit: None,
            overdue_after: None,
            deadline: Timestamp::NEVER,
            redeliveries: None,
            origin,
        }
    }
}

/// A job's options, checked against its pool.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) lane: LaneId,
    pub(crate) site: &'static Location<'static>,
    pub(crate) terms: Option<Box<Terms>>,
}

/// The part of a job that is the same for every payload.
#[derive(Debug)]
pub struct Header {
    pub(super) word: Word,
    pub(super) shares: Shares,
    pub(super) stage: StagePlace,
    waker: WakerPlace,
    /// Allocated when asked for.
    token: Mutex<Option<CancellationToken>>,
    lane: LaneId,
    site: &'static Location<'static>,
    terms: Option<Box<Terms>>,
    id: Setting,
    accepted_at: Setting,
    /// How many workers ended unasked while the job was being sent to them.
    #[cfg(feature = "process")]
    torn: AtomicU8,
}

impl Header {
    pub(crate) fn new(submission: Submission) -> Self {
        let Submission { lane, site, terms } = submission;
        Self {
            word: Word::new(),
            shares: Shares::new(1),
            stage: StagePlace::new(),
            waker: WakerPlace::new(),
            token: Mutex::new(None),
            lane,
            site,
            terms,
            id: Setting::new(0),
            accepted_at: Setting::new(0),
            #[cfg(feature = "process")]
            torn: AtomicU8::new(0),
        }
    }

    /// Before anybody else has a share in the job.
    #[inline]
    pub(super) fn enter(&mut self, lane: LaneId, terms: Option<Box<Terms>>) {
        (self.lane, self.terms) = (lane, terms);
    }

    /// Stamped under the inbox lock, before anybody else can see the job in a queue.
    pub(crate) fn admit(&self, id: JobId, now: Timestamp) {
        // Relaxed: published by the lock under which the job enters the queue; the handle reads the id only after.
        self.id.store(id.0, Ordering::Relaxed);
        self.accepted_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn lane(&self) -> LaneId {
        self.lane
    }

    /// The job's number, from admission on.
    pub fn id(&self) -> JobId {
        JobId(self.id.load(Ordering::Relaxed))
    }

    /// The line that submitted it.
    pub fn submitted_from(&self) -> &'static Location<'static> {
        self.site
    }

    /// What its submitter called it.
    pub fn label(&self) -> Option<&Arc<str>> {
        self.terms.as_ref()?.label.as_ref()
    }

    /// The job that submitted it, if one did.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.origin()?.lineage()
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        self.terms.as_ref()?.origin.as_ref()
    }

    /// When it was admitted.
    pub fn accepted_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.accepted_at.load(Ordering::Relaxed))
    }

    /// What became of its deliveries, if it may be delivered more than once.
    pub(crate) fn redeliveries(&self) -> Option<&Redeliveries> {
        self.terms.as_ref()?.redeliveries.as_deref()
    }

    /// How many of its deliveries were lost, with the workers that it was delivered to.
    pub fn lost_deliveries(&self) -> u16 {
        self.redeliveries().map_or(0, Redeliveries::lost)
    }

    /// A worker has ended unasked while the job was being sent to it. Gives how many have, until now.
    #[cfg(feature = "process")]
    pub(crate) fn tear(&self) -> u8 {
        // Relaxed: who has the job counts, and it goes from one to the next under a lock.
        self.torn.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Since when it has waited for a worker: its admission, or the end of its last rest. Never, while it rests.
    pub(crate) fn waits_since(&self) -> Timestamp {
        let admission = self.accepted_at();
        self.redeliveries().map_or(admission, |deliveries| deliveries.waits_since(admission))
    }

    /// From when on it must not begin, in a lane with this queue limit.
    pub(crate) fn expires_at(&self, lane_limit: Option<Duration>) -> Timestamp {
        let limit = self.terms.as_ref().and_then(|terms| terms.queue_limit).or(lane_limit);
        limit.map_or(Timestamp::NEVER, |limit| self.waits_since().after(limit)).min(self.deadline())
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        self.terms.as_ref().map_or(Timestamp::NEVER, |terms| terms.deadline)
    }

    /// True if more than three quarters of its time up to its deadline are over.
    pub(crate) fn is_pressed(&self, now: Timestamp) -> bool {
        let deadline = self.deadline();
        deadline != Timestamp::NEVER && deadline.nanos_since(now) < deadline.nanos_since(self.accepted_at()) / 4
    }

    /// Until when it may run, if it begins now; and whether that is the deadline rather than the run limit.
    pub(crate) fn run_until(&self, now: Timestamp, lane_limit: Option<Duration>) -> (Timestamp, bool) {
        let limit = self.terms.as_ref().and_then(|terms| terms.run_limit).or(lane_limit);
        let run = limit.map_or(Timestamp::NEVER, |limit| now.after(limit));
        let deadline = self.deadline();
        (run.min(deadline), deadline <= run)
    }

    /// How long it may make no progress, in a lane that allows so much.
    pub(crate) fn overdue_after(&self, lane_span: Option<Duration>) -> Option<Duration> {
        self.terms.as_ref().and_then(|terms| terms.overdue_after).or(lane_span)
    }

    pub(crate) fn claim(&self) -> bool {
        self.word.claim()
    }

    /// See [`Word::publish`].
    pub(super) fn publish(&self, ended: Ended) -> (Option<Waker>, Unread) {
        self.word.publish(ended, &self.waker)
    }

    /// See [`Word::await_outcome`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn await_outcome(&self, waker: &Waker) -> bool {
        // SAFETY: the caller's.
        unsafe { self.word.await_outcome(waker, &self.waker) }
    }

    /// See [`Word::detach`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn detach(&self) -> Unread {
        // SAFETY: the caller's.
        unsafe { self.word.detach(&self.waker) }
    }

    pub(crate) fn put_back(&self) -> bool {
        self.word.put_back()
    }

    /// See [`Word::lend`].
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn lend(&self) -> bool {
        self.word.lend()
    }

    /// See [`Word::begin_loan`].
    pub(crate) fn begin_loan(&self) -> bool {
        self.word.begin_loan()
    }

    /// See [`Word::return_loan`].
    #[cfg(any(feature = "process", millpond_loom))]
    pub(crate) fn return_loan(&self) -> bool {
        self.word.return_loan()
    }

    /// See [`Word::waits`].
    pub(crate) fn waits(&self) -> bool {
        self.word.waits()
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.word.is_queued()
    }

    /// How the job ended, once it has.
    pub fn ended(&self) -> Option<Ended> {
        self.word.ended()
    }

    /// See [`Word::is_awaited`].
    pub(super) fn is_awaited(&self) -> bool {
        self.word.is_awaited()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.word.is_done()
    }

    /// True once somebody asked the job to stop.
    pub fn is_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    /// Asks the job to stop: the flag, and the token if one was asked for.
    pub(crate) fn cancel(&self) -> super::Asked {
        let asked = self.word.cancel();
        let token = self.token.lock().clone();
        if let Some(token) = token {
            // It wakes whoever waits for it, which is their executor's code.
            let _ = catch(|| token.cancel());
        }
        asked
    }

    /// The job's cancellation token, made when first asked for.
    pub(crate) fn token(&self) -> CancellationToken {
        let token = self.token.lock().get_or_insert_with(CancellationToken::new).clone();
        // A cancel that came before the token was there found none: its flag, set before it took the lock, is seen here.
        if self.is_cancelled() {
            token.cancel();
        }
        token
    }
}
