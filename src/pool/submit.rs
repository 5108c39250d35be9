//! How a job gets in: checked against its pool, wrapped into its cell, admitted.

use std::borrow::Borrow;
use std::future::Future;
use std::panic::Location;

use async_trait::async_trait;

use super::Pool;
use crate::backend::{Backend, Hosts, Threads};
use crate::config::MAX_NAME;
use crate::error::{RejectReason, Rejected};
use crate::executor::{DynExecutor, Executor};
use crate::id::LaneId;
use crate::job::{
    Deadline, JobCell, JobHandle, JobOptions, Origin, PLAIN, Redeliveries, Share, Submission, Terms, watched,
};
use crate::plane::Entry;
use crate::sync::{Timestamp, block_on};

impl<B: Backend> Pool<B> {
    /// The same pool, with options for the jobs that are submitted through this.
    ///
    /// ```
    /// # use millpond::*; use std::time::Duration;
    /// # let pool = ThreadPool::builder("with").limits(Limits::fixed(1)).build()?;
    /// let options = JobOptions::new().label("resize").deadline_in(Duration::from_secs(1));
    /// let four = pool.with(options).submit_blocking(|| 2 + 2)?.join()?;
    /// # assert_eq!(four, 4);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn with(&self, options: JobOptions) -> Submitter<'_, B> {
        Submitter { pool: self, options }
    }

    /// Checks options against this pool.
    fn terms(&self, options: &JobOptions) -> Result<(LaneId, Option<Box<Terms>>), RejectReason> {
        let origin = Origin::here();
        if options.is_plain() {
            let terms = origin.map(|origin| Box::new(Terms::of_origin(Some(origin))));
            return Ok((LaneId::DEFAULT, terms));
        }
        let plane = &self.shared.plane;
        let pool = || plane.config.name.clone();
        let lane = match &options.lane {
            None => LaneId::DEFAULT,
            Some(name) => plane.lane_named(name).ok_or_else(|| {
                let known: Vec<_> = plane.lanes.iter().map(|lane| format!("`{}`", lane.spec.name)).collect();
                RejectReason::UnknownLane { pool: pool(), lane: name.clone(), known: known.join(", ") }
            })?,
        };
        let JobOptions { label, queue_limit, run_limit, overdue_after, deadline, redelivery, .. } = options;
        if let Some(bytes) = label.as_ref().map(|label| label.len()).filter(|&bytes| bytes > MAX_NAME) {
            return Err(RejectReason::LabelTooLong { pool: pool(), bytes });
        }
        if let Some(why) = label.as_ref().and_then(|label| plane.kept_out(label)) {
            return Err(RejectReason::Quarantined(why));
        }
        for (limit, what) in [(queue_limit, "queue limit"), (run_limit, "run limit"), (overdue_after, "overdue limit")]
        {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(RejectReason::AlreadyExpired { pool: pool(), what });
            }
        }
        let terms = (!options.has_no_terms() || origin.is_some()).then(|| {
            let deadline = match deadline {
                None => Timestamp::NEVER,
                Some(Deadline::At(moment)) => *moment,
                Some(Deadline::In(span)) => plane.clock.now().after(*span),
            };
            let (queue_limit, run_limit, overdue_after) = (*queue_limit, *run_limit, *overdue_after);
            let redeliveries = redelivery.map(|terms| Box::new(Redeliveries::new(terms)));
            let label = label.clone();
            Box::new(Terms { label, queue_limit, run_limit, overdue_after, deadline, redeliveries, origin })
        });
        Ok((lane, terms))
    }

    pub(super) fn try_submit_at<J>(
        &self,
        job: J,
        options: &JobOptions,
        site: &'static Location<'static>,
    ) -> Result<JobHandle<B::Output>, Rejected<J>>
    where
        B: Hosts<J>,
    {
        let cell = unsent::<B, J>(job, options, site);
        let (lane, terms) = match self.terms(options) {
            Ok(terms) => terms,
            Err(reason) => return Err(self.turned_away(cell, reason)),
        };
        let (cell, queued) = cell.submitted(lane, terms);
        match self.shared.plane.try_admit(B::erase(queued)) {
            Ok(()) => Ok(self.handle(cell)),
            Err((queued, reason)) => Err(taken_back::<B, J>(cell, queued, reason)),
        }
    }

    pub(super) fn submit_at<'a, J, O>(
        &'a self,
        job: J,
        options: O,
        site: &'static Location<'static>,
    ) -> impl Future<Output = Result<JobHandle<B::Output>, Rejected<J>>> + Send + use<'a, B, J, O>
    where
        B: Hosts<J>,
        O: Borrow<JobOptions> + Send + 'a,
    {
        // Here, and not when it is polled: so the job is not moved along with the future.
        let cell = unsent::<B, J>(job, options.borrow(), site);
        async move {
            let (lane, terms) = match self.terms(options.borrow()) {
                Ok(terms) => terms,
                Err(reason) => return Err(self.turned_away(cell, reason)),
            };
            let (cell, queued) = cell.submitted(lane, terms);
            let entry = match self.shared.plane.enter(B::erase(queued)) {
                Entry::Waits(admission) => admission.await,
                Entry::Done(done) => done,
            };
            match entry {
                Ok(()) => Ok(self.handle(cell)),
                Err((queued, reason)) => Err(taken_back::<B, J>(cell, queued, reason)),
            }
        }
    }

    /// A job that did not come to the gate.
    fn turned_away<J>(&self, cell: Unsent<B, J>, reason: RejectReason) -> Rejected<J>
    where
        B: Hosts<J>,
    {
        self.shared.plane.count_rejected();
        out_of_its_cell::<B, J>(cell, reason)
    }

    pub(super) fn submit_blocking_at<J>(
        &self,
        job: J,
        options: &JobOptions,
        site: &'static Location<'static>,
    ) -> Result<JobHandle<B::Output>, Rejected<J>>
    where
        B: Hosts<J>,
    {
        if !self.shared.backend.would_block() {
            return block_on(watched(self.submit_at(job, options, site)));
        }
        // Here nobody may wait; but a place that is free needs no wait.
        let rejected = match self.try_submit_at(job, options, site) {
            Err(rejected) if matches!(rejected.reason(), RejectReason::Full { .. }) => rejected,
            done => return done,
        };
        let pool = self.shared.plane.config.name.clone();
        Err(Rejected::new(rejected.into_job(), RejectReason::WouldBlock { pool }))
    }

    fn handle<P, T>(&self, cell: Share<JobCell<P, T>>) -> JobHandle<T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        JobHandle::new(cell, self.shared.plane.number())
    }
}

/// A job in its cell, which nobody else has a share in.
type Unsent<B, J> = Share<JobCell<<B as Hosts<J>>::Payload, <B as Hosts<J>>::Output>>;

/// A job, before it comes to the gate.
fn unsent<B: Hosts<J>, J>(job: J, options: &JobOptions, site: &'static Location<'static>) -> Unsent<B, J> {
    let site = options.site.unwrap_or(site);
    Share::alone(B::wrap(job), Submission { lane: LaneId::DEFAULT, site, terms: None })
}

/// A job that was refused, with its own share in the queue.
fn taken_back<B: Hosts<J>, J>(cell: Unsent<B, J>, queued: Share<B::Job>, reason: RejectReason) -> Rejected<J> {
    drop(queued);
    out_of_its_cell::<B, J>(cell, reason)
}

fn out_of_its_cell<B: Hosts<J>, J>(cell: Unsent<B, J>, reason: RejectReason) -> Rejected<J> {
    let payload = cell.into_payload().expect("a job that was refused is in nobody else's hands");
    Rejected::new(B::unwrap(payload), reason)
}

/// A pool with options for the jobs that are submitted through it; see [`Pool::with`].
#[derive(Debug)]
pub struct Submitter<'a, B: Backend> {
    pool: &'a Pool<B>,
    options: JobOptions,
}

impl<'a, B: Backend> Submitter<'a, B> {
    /// See [`Executor::submit`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit<J>(
        self,
        job: J,
    ) -> impl Future<Output = Result<JobHandle<B::Output>, Rejected<J>>> + Send + use<'a, B, J>
    where
        B: Hosts<J>,
        J: Send,
    {
        self.pool.submit_at(job, self.options, Location::caller())
    }

    /// See [`Executor::try_submit`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit<J>(self, job: J) -> Result<JobHandle<B::Output>, Rejected<J>>
    where
        B: Hosts<J>,
    {
        self.pool.try_submit_at(job, &self.options, Location::caller())
    }

    /// See [`Executor::submit_blocking`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking<J>(self, job: J) -> Result<JobHandle<B::Output>, Rejected<J>>
    where
        B: Hosts<J>,
    {
        self.pool.submit_blocking_at(job, &self.options, Location::caller())
    }
}

impl<'a> Submitter<'a, Threads> {
    /// See [`Pool::submit_with`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit_with<F, S, T>(
        self,
        job: F,
    ) -> impl Future<Output = Result<JobHandle<T>, Rejected<F>>> + Send + use<'a, F, S, T>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.pool.submit_with_at(job, self.options, Location::caller())
    }

    /// See [`Pool::try_submit_with`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit_with<F, S, T>(self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.pool.try_submit_with_at(job, &self.options, Location::caller())
    }

    /// See [`Pool::submit_with_blocking`].
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_with_blocking<F, S, T>(self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.pool.submit_with_blocking_at(job, &self.options, Location::caller())
    }
}

impl<B, J> Executor<J> for Pool<B>
where
    B: Hosts<J>,
    J: Send,
{
    type Output = B::Output;

    #[track_caller]
    fn try_submit(&self, job: J) -> Result<JobHandle<B::Output>, Rejected<J>> {
        self.try_submit_at(job, &PLAIN, Location::caller())
    }

    #[track_caller]
    fn submit(&self, job: J) -> impl Future<Output = Result<JobHandle<B::Output>, Rejected<J>>> + Send {
        self.submit_at(job, &PLAIN, Location::caller())
    }

    #[track_caller]
    fn submit_blocking(&self, job: J) -> Result<JobHandle<B::Output>, Rejected<J>> {
        self.submit_blocking_at(job, &PLAIN, Location::caller())
    }
}

#[async_trait]
impl<B, J, T> DynExecutor<J, T> for Pool<B>
where
    B: Hosts<J, Output = T>,
    J: Send + 'static,
    T: Send + 'static,
{
    fn try_submit_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>> {
        self.try_submit_at(job, &options, Location::caller())
    }

    async fn submit_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>> {
        self.submit_at(job, options, Location::caller()).await
    }

    fn submit_blocking_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>> {
        self.submit_blocking_at(job, &options, Location::caller())
    }
}
