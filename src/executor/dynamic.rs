//! Submission through a trait object.

use std::future::Future;
use std::panic::Location;

use async_trait::async_trait;

use super::PoolExecutor;
use crate::error::Rejected;
use crate::job::{JobHandle, JobOptions};

/// A pool that takes jobs of type `J` and gives `T`, of any kind: `Arc<dyn DynExecutor<J, T>>`.
///
/// Submit through the methods of the trait object, which are those of a pool: [`submit`](#method.submit),
/// [`try_submit`](#method.try_submit), [`submit_blocking`](#method.submit_blocking), [`with`](#method.with). A trait object does not
/// pass on which line calls it; they read that first, and hand it over with the options.
///
/// Name it without `+ Send + Sync`, which it is in any case: with them it is another type, that does not have these methods.
#[async_trait]
pub trait DynExecutor<J: Send + 'static, T: Send + 'static>: PoolExecutor {
    /// See [`Executor::try_submit`](crate::Executor::try_submit). The line that submits is the one that `options` name.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    fn try_submit_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>>;

    /// See [`Executor::submit`](crate::Executor::submit); boxed. The line that submits is the one that `options` name.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    async fn submit_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>>;

    /// See [`Executor::submit_blocking`](crate::Executor::submit_blocking). The line that submits is the one that `options` name.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    fn submit_blocking_dyn(&self, job: J, options: JobOptions) -> Result<JobHandle<T>, Rejected<J>>;
}

impl<'d, J: Send + 'static, T: Send + 'static> dyn DynExecutor<J, T> + 'd {
    /// The same pool, with options for the jobs that are submitted through this.
    pub fn with(&self, options: JobOptions) -> DynSubmitter<'_, J, T> {
        DynSubmitter { pool: self, options }
    }

    /// See [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit(&self, job: J) -> Result<JobHandle<T>, Rejected<J>> {
        self.with(JobOptions::new()).try_submit(job)
    }

    /// See [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit<'a>(
        &'a self,
        job: J,
    ) -> impl Future<Output = Result<JobHandle<T>, Rejected<J>>> + Send + use<'a, 'd, J, T> {
        self.submit_dyn(job, JobOptions::new().submitted_from(Location::caller()))
    }

    /// See [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking(&self, job: J) -> Result<JobHandle<T>, Rejected<J>> {
        self.with(JobOptions::new()).submit_blocking(job)
    }
}

/// A pool behind a trait object, with options for the jobs that are submitted through it.
pub struct DynSubmitter<'a, J, T> {
    pool: &'a (dyn DynExecutor<J, T> + 'a),
    options: JobOptions,
}

impl<'a, J: Send + 'static, T: Send + 'static> DynSubmitter<'a, J, T> {
    /// See [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit(self, job: J) -> Result<JobHandle<T>, Rejected<J>> {
        self.pool.try_submit_dyn(job, self.options.or_from(Location::caller()))
    }

    /// See [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit(self, job: J) -> impl Future<Output = Result<JobHandle<T>, Rejected<J>>> + Send + use<'a, J, T> {
        self.pool.submit_dyn(job, self.options.or_from(Location::caller()))
    }

    /// See [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking(self, job: J) -> Result<JobHandle<T>, Rejected<J>> {
        self.pool.submit_blocking_dyn(job, self.options.or_from(Location::caller()))
    }
}

impl<J: Send + 'static, T: Send + 'static> std::fmt::Debug for DynSubmitter<'_, J, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynSubmitter").field("pool", &self.pool.name()).field("options", &self.options).finish()
    }
}
