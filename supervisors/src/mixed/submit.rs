//! How a job gets in: a place first, then a member, or the line of those that wait for one.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use millpond::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

use super::MixedPool;
use super::book::{About, Arrival, Promise, Slot};
use super::error::{Attempt, MixedEnd, MixedRejectReason, MixedRejected, Traces};
use super::guard::{block_on, guarded, would_block};
use super::handle::MixedHandle;
use super::place::{Errand, Placed};
use super::pool::{Job, Shared};

/// What a job carries beside itself.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) label: Option<Arc<str>>,
    pub(super) queue_limit: Option<Duration>,
    pub(super) run_limit: Option<Duration>,
    pub(super) deadline: Timestamp,
    pub(super) site: &'static Location<'static>,
}

/// Whether a job may be given to another member after an attempt that failed, and how it is copied for that.
pub(super) enum Again<J> {
    Never,
    IfNotBegun(fn(&J) -> J),
    Repeatable(fn(&J) -> J),
}

impl<J> Again<J> {
    pub(super) const fn copy(&self) -> Option<fn(&J) -> J> {
        match self {
            Self::Never => None,
            Self::IfNotBegun(copy) | Self::Repeatable(copy) => Some(*copy),
        }
    }
}

/// A mixed pool with options for a job that is submitted through it; see [`MixedPool::job`].
#[must_use = "it submits nothing by itself"]
pub struct MixedSubmitter<'a, J: Send + 'static, T: Send + 'static> {
    pool: &'a MixedPool<J, T>,
    label: Option<Arc<str>>,
    queue_limit: Option<Duration>,
    run_limit: Option<Duration>,
    deadline: Timestamp,
    again: Again<J>,
}

impl<'a, J: Send + 'static, T: Send + 'static> MixedSubmitter<'a, J, T> {
    pub(super) const fn new(pool: &'a MixedPool<J, T>) -> Self {
        let (label, queue_limit, run_limit) = (None, None, None);
        Self { pool, label, queue_limit, run_limit, deadline: Timestamp::NEVER, again: Again::Never }
    }

    /// What the job is called, here and in its members' inventories, errors and selectors: at most 256 bytes, not unique.
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = Some(Arc::from(label.as_ref()));
        self
    }

    /// How long the job may wait for a worker once admitted: here and in the queues of its members together. It counts anew after an attempt that had begun.
    pub fn queue_limit(mut self, limit: Duration) -> Self {
        self.queue_limit = Some(limit);
        self
    }

    /// How long the job may run, in each attempt.
    pub fn run_limit(mut self, limit: Duration) -> Self {
        self.run_limit = Some(limit);
        self
    }

    /// The deadline, this long from now: over all other limits and all attempts.
    pub fn deadline_in(mut self, span: Duration) -> Self {
        self.deadline = self.pool.shared().clock.now().after(span);
        self
    }

    /// The same as a moment on the mixed pool's clock.
    pub fn deadline_at(mut self, moment: Timestamp) -> Self {
        self.deadline = moment;
        self
    }

    /// The job may be given to another member if an attempt failed before anything of it ran. A copy of it is kept for that.
    pub fn again_if_not_begun(mut self) -> Self
    where
        J: Clone,
    {
        self.again = Again::IfNotBegun(J::clone);
        self
    }

    /// The job may be run more than once: it may also be given to another member after an attempt that had begun, if that is certain to run no
    /// more: it panicked, trapped, or its worker was lost. After a kill, a cancel, a run limit or a deadline it is not: somebody wanted it ended, or it may still
    /// run. A copy of it is kept for that.
    pub fn repeatable(mut self) -> Self
    where
        J: Clone,
    {
        self.again = Again::Repeatable(J::clone);
        self
    }

    /// See [`MixedPool::submit`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit(self, job: J) -> impl Future<Output = Result<MixedHandle<T>, MixedRejected<J>>> + Send + use<J, T> {
        let (shared, terms, again) = self.parts(Location::caller());
        async move {
            let mut arrival = shared.book.arrive();
            let place = match shared.place_at_once() {
                Err(MixedRejectReason::Full { .. }) if shared.admission_limit.is_some() => {
                    arrival.stands_in_line(true);
                    let place = shared.wait_for_place(&terms).await;
                    arrival.stands_in_line(false);
                    place
                }
                place => place,
            };
            shared.enter(job, terms, again, arrival, place)
        }
    }

    /// See [`MixedPool::try_submit`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit(self, job: J) -> Result<MixedHandle<T>, MixedRejected<J>> {
        let (shared, terms, again) = self.parts(Location::caller());
        let arrival = shared.book.arrive();
        let place = shared.place_at_once();
        shared.enter(job, terms, again, arrival, place)
    }

    /// See [`MixedPool::submit_blocking`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking(self, job: J) -> Result<MixedHandle<T>, MixedRejected<J>> {
        if !would_block() {
            return block_on(self.submit(job));
        }
        let (shared, pool) = (self.pool.shared(), self.pool.name());
        let waits = shared.admission_limit.is_some();
        self.try_submit(job).map_err(|rejected| match rejected.reason() {
            MixedRejectReason::Full { .. } if waits => {
                MixedRejected::new(rejected.into_job(), MixedRejectReason::WouldBlock { pool: Arc::from(pool) })
            }
            _ => rejected,
        })
    }

    fn parts(self, site: &'static Location<'static>) -> (Arc<Shared<J, T>>, Arc<Terms>, Again<J>) {
        let Self { pool, label, queue_limit, run_limit, deadline, again } = self;
        (pool.shared().clone(), Arc::new(Terms { label, queue_limit, run_limit, deadline, site }), again)
    }
}

impl<J: Send + 'static, T: Send + 'static> std::fmt::Debug for MixedSubmitter<'_, J, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { label, queue_limit, run_limit, deadline, .. } = self;
        let mut shown = f.debug_struct("MixedSubmitter");
        shown.field("label", label).field("queue_limit", queue_limit).field("run_limit", run_limit);
        shown.field("deadline", deadline).finish_non_exhaustive()
    }
}

type Place = Result<OwnedSemaphorePermit, MixedRejectReason>;

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    fn place_at_once(&self) -> Place {
        self.places.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::Closed => self.closed(),
            TryAcquireError::NoPermits => {
                MixedRejectReason::Full { pool: self.name.clone(), places: self.most, saturation: self.saturation() }
            }
        })
    }

    fn closed(&self) -> MixedRejectReason {
        MixedRejectReason::Closed { pool: self.name.clone() }
    }

    /// Waits in line, at most for the admission limit, or until the job's deadline.
    async fn wait_for_place(&self, terms: &Terms) -> Place {
        let began = self.clock.now();
        let until = self.admission_limit.map_or(Timestamp::NEVER, |limit| began.after(limit)).min(terms.deadline);
        let alarm = self.alarm(until);
        let mut place = pin!(self.places.clone().acquire_owned());
        poll_fn(|cx| {
            // Woken by whoever gives a place back, whom it must not harm.
            let waker = guarded(cx.waker());
            let cx = &mut Context::from_waker(&waker);
            match place.as_mut().poll(cx) {
                Poll::Ready(place) => Poll::Ready(place.map_err(|_| self.closed())),
                Poll::Pending if alarm.poll(cx) => Poll::Ready(Err(MixedRejectReason::AdmissionTimedOut {
                    pool: self.name.clone(),
                    limit: until.since(began),
                    saturation: self.saturation(),
                })),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// A job with a place goes to a member at once if nobody waits for one before it; or waits itself.
    fn enter(
        &self,
        job: J,
        terms: Arc<Terms>,
        again: Again<J>,
        arrival: Arrival,
        place: Place,
    ) -> Result<MixedHandle<T>, MixedRejected<J>> {
        let refused = |job, arrival: Arrival, reason| {
            arrival.reject();
            Err(MixedRejected::new(job, reason))
        };
        let place = match place {
            Ok(place) => place,
            Err(reason) => return refused(job, arrival, reason),
        };
        let (number, goes_on) = {
            let mut state = self.state.lock();
            state.last += 1;
            (state.last, state.goes_on())
        };
        let mut errand = Errand::new(job, terms, again, self.clock.now());
        let placed = match (goes_on, errand.passed(self.clock.now())) {
            (None, _) => Placed::GivesUp(Vec::new()),
            (_, Some(limit)) => Placed::Expired(limit),
            (Some(true), None) => self.place(&mut errand),
            (Some(false), None) => Placed::Waits,
        };
        let reason = match &placed {
            Placed::GivesUp(_) if goes_on.is_none() => Some(self.closed()),
            Placed::GivesUp(refusals) => {
                Some(MixedRejectReason::NoMember { pool: self.name.clone(), refusals: refusals.clone() })
            }
            Placed::Expired(limit) => {
                Some(MixedRejectReason::AlreadyExpired { pool: self.name.clone(), limit: *limit })
            }
            Placed::With(..) | Placed::Waits | Placed::Broke(..) => None,
        };
        if let Some(reason) = reason
            && let Some(job) = errand.job.take()
        {
            drop(place);
            return refused(job, arrival, reason);
        }
        let about = About { pool: self.name.clone(), job: number, terms: errand.terms.clone() };
        let slot = Slot::new(about);
        let handle = MixedHandle::new(slot.clone(), self.book.mailbox.clone());
        arrival.accept();
        let promise = Promise::new(self.book.clone(), slot, place);
        let job = Job { promise, errand };
        match placed {
            Placed::With(member, run) => self.begin(job, member, run),
            Placed::Broke(member, message) => {
                let name = self.members[member].name.clone();
                self.fail(job, MixedEnd::Failed, Some(Attempt::adapter(member, name, message, Traces::Final)));
            }
            _ => self.let_wait(job),
        }
        Ok(handle)
    }
}
