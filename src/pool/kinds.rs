//! What each kind of pool is asked by name: its own `submit` infers what the generic one cannot.

use std::borrow::Borrow;
use std::future::Future;
use std::panic::Location;

use super::{ActorPool, TaskPool, ThreadPool};
use crate::backend::{Actors, Tasks, Threads, WithState, Worker};
use crate::builder::PoolBuilder;
use crate::control::ShutdownReport;
use crate::error::{ControlError, RejectReason, Rejected};
use crate::executor::{PoolExecutor, TimeLimit};
use crate::job::{JobHandle, JobOptions, PLAIN};
use crate::sync::block_on;

impl ThreadPool {
    /// Starts building a pool of threads with this name.
    pub fn builder(name: impl AsRef<str>) -> PoolBuilder<Threads> {
        PoolBuilder::new(name.as_ref(), Threads::default())
    }

    /// Runs `job` on a thread, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit<F, T>(&self, job: F) -> impl Future<Output = Result<JobHandle<T>, Rejected<F>>> + Send + use<'_, F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` on a thread if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit<F, T>(&self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` on a thread, for synchronous callers; see [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking<F, T>(&self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit_blocking_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` with the state that its thread's initializer made.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason: among them that the threads' state is of another type.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit_with<F, S, T>(
        &self,
        job: F,
    ) -> impl Future<Output = Result<JobHandle<T>, Rejected<F>>> + Send + use<'_, F, S, T>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.submit_with_at(job, &PLAIN, Location::caller())
    }

    /// The same for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn submit_with_blocking<F, S, T>(&self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.submit_with_blocking_at(job, &PLAIN, Location::caller())
    }

    /// The same, only if there is a place now.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn try_submit_with<F, S, T>(&self, job: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        self.try_submit_with_at(job, &PLAIN, Location::caller())
    }

    pub(super) async fn submit_with_at<F, S, T>(
        &self,
        job: F,
        options: impl Borrow<JobOptions> + Send,
        site: &'static Location<'static>,
    ) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        let job = self.with_state(job)?;
        self.submit_at(job, options, site).await.map_err(without_state)
    }

    pub(super) fn submit_with_blocking_at<F, S, T>(
        &self,
        job: F,
        options: &JobOptions,
        site: &'static Location<'static>,
    ) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        let job = self.with_state(job)?;
        self.submit_blocking_at(job, options, site).map_err(without_state)
    }

    pub(super) fn try_submit_with_at<F, S, T>(
        &self,
        job: F,
        options: &JobOptions,
        site: &'static Location<'static>,
    ) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        S: 'static,
        T: Send + 'static,
    {
        let job = self.with_state(job)?;
        self.try_submit_at(job, options, site).map_err(without_state)
    }

    fn with_state<F, S, T>(&self, job: F) -> Result<WithState<F, S>, Rejected<F>>
    where
        F: FnOnce(&mut S) -> T,
        S: 'static,
    {
        match self.shared.backend.check_state::<S>() {
            Ok(()) => Ok(WithState::new(job)),
            Err(found) => {
                self.shared.plane.count_rejected();
                let (pool, wanted) = (self.shared.plane.config.name.clone(), std::any::type_name::<S>());
                Err(Rejected::new(job, RejectReason::WrongState { pool, wanted, found }))
            }
        }
    }
}

fn without_state<F, S>(rejected: Rejected<WithState<F, S>>) -> Rejected<F> {
    rejected.map(WithState::into_inner)
}

impl TaskPool {
    /// Starts building a pool of async workers with this name.
    pub fn builder(name: impl AsRef<str>) -> PoolBuilder<Tasks> {
        PoolBuilder::new(name.as_ref(), Tasks::default())
    }

    /// Runs `job` on a worker, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit<F>(
        &self,
        job: F,
    ) -> impl Future<Output = Result<JobHandle<F::Output>, Rejected<F>>> + Send + use<'_, F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` on a worker if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit<F>(&self, job: F) -> Result<JobHandle<F::Output>, Rejected<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.try_submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` on a worker, for synchronous callers; see [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking<F>(&self, job: F) -> Result<JobHandle<F::Output>, Rejected<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.submit_blocking_at(job, &PLAIN, Location::caller())
    }
}

impl<W: Worker> ActorPool<W> {
    /// Starts building a pool of worker actors with this name. One `worker` value serves all of them.
    pub fn builder(name: impl AsRef<str>, worker: W) -> PoolBuilder<Actors<W>> {
        PoolBuilder::new(name.as_ref(), Actors::new(worker))
    }

    /// Sends `job` to a worker, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit(
        &self,
        job: W::Job,
    ) -> impl Future<Output = Result<JobHandle<W::Output>, Rejected<W::Job>>> + Send + use<'_, W> {
        self.submit_at(job, &PLAIN, Location::caller())
    }

    /// Sends `job` to a worker if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit(&self, job: W::Job) -> Result<JobHandle<W::Output>, Rejected<W::Job>> {
        self.try_submit_at(job, &PLAIN, Location::caller())
    }

    /// [`shutdown`](PoolExecutor::shutdown) that hands back the jobs which never began, each lane's in their order.
    ///
    /// Their handles answer [`JobError::NotStarted`](crate::JobError::NotStarted) all the same. Where so many are queued that the report
    /// comes before their outcomes, this waits for these, too.
    ///
    /// # Errors
    ///
    /// As there. No job is lost: from the call on, those that never begin are kept for [`take_unstarted`](Self::take_unstarted). What
    /// a pool had dropped that was gone before the call, it cannot give back.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the shutdown takes its course whether or not the future is dropped, and the jobs are kept as for an error.
    pub async fn shutdown_returning(&self, limit: TimeLimit) -> Result<(ShutdownReport, Vec<W::Job>), ControlError> {
        self.shared.plane.keep_unstarted();
        let mut events = self.shared.events.subscribe();
        let report = self.shutdown(limit).await?;
        // They end after the last outcome, which may come after the report.
        while events.next().await.is_some() {}
        Ok((report, self.take_unstarted()))
    }

    /// The jobs that a [`shutdown_returning`](Self::shutdown_returning) which gave no answer, or was not waited for, would have handed
    /// back: those that are known by now not to begin, each once. None if there was no such call. They are kept until then, or until the
    /// last handle is dropped.
    pub fn take_unstarted(&self) -> Vec<W::Job> {
        self.shared.plane.take_unstarted().into_iter().filter_map(|(cell, mut key)| cell.reclaim(&mut key)).collect()
    }

    /// [`shutdown_returning`](Self::shutdown_returning) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn shutdown_returning_blocking(&self, limit: TimeLimit) -> Result<(ShutdownReport, Vec<W::Job>), ControlError> {
        block_on(self.shutdown_returning(limit))
    }

    /// Sends `job` to a worker, for synchronous callers; see [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking(&self, job: W::Job) -> Result<JobHandle<W::Output>, Rejected<W::Job>> {
        self.submit_blocking_at(job, &PLAIN, Location::caller())
    }
}
