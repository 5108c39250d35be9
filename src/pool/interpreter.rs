//! What pools of interpreters are asked by name.

use std::future::Future;
use std::panic::Location;

use super::InterpreterPool;
use crate::backend::Interceptor;
use crate::backend::interpreter::{Engine, Interpreters, Script};
use crate::builder::PoolBuilder;
use crate::error::Rejected;
use crate::job::{JobHandle, PLAIN};

impl<E: Engine> InterpreterPool<E> {
    /// Starts building a pool of that interpreter's instances with this name.
    pub fn builder(name: impl AsRef<str>, engine: E) -> PoolBuilder<Interpreters<E>> {
        PoolBuilder::new(name.as_ref(), Interpreters::new(engine))
    }

    /// Runs `job` in an instance, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing.
    #[track_caller]
    pub fn submit<S: Script<E>>(
        &self,
        job: S,
    ) -> impl Future<Output = Result<JobHandle<S::Output>, Rejected<S>>> + Send + use<'_, E, S> {
        self.submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` in an instance if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit<S: Script<E>>(&self, job: S) -> Result<JobHandle<S::Output>, Rejected<S>> {
        self.try_submit_at(job, &PLAIN, Location::caller())
    }

    /// Runs `job` in an instance, for synchronous callers; see [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking<S: Script<E>>(&self, job: S) -> Result<JobHandle<S::Output>, Rejected<S>> {
        self.submit_blocking_at(job, &PLAIN, Location::caller())
    }
}

impl<E: Engine> PoolBuilder<Interpreters<E>> {
    /// Ends a worker whose job trapped or panicked, and restarts its slot as the [restart policy](Self::restart_policy) says, instead of giving the
    /// worker another instance before its next job: for a start that is worth being bounded.
    pub fn restart_after_trap(self) -> Self {
        self.map_backend(Interpreters::restart_after_trap)
    }

    /// Adds an interceptor, called on the worker's thread around each job.
    pub fn interceptor(self, interceptor: impl Interceptor) -> Self {
        self.map_backend(|backend| backend.interceptor(interceptor))
    }
}
