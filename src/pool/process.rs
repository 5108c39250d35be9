//! What pools of processes are asked by name.

use std::ffi::OsStr;
use std::future::Future;
use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ProcessPool, ProgramPool, Submitter};
use crate::backend::Interceptor;
use crate::backend::process::{Answer, ChildOptions, Entry, Processes, Programs, RemoteCall};
use crate::builder::PoolBuilder;
use crate::error::Rejected;
use crate::job::{JobHandle, PLAIN};

impl ProcessPool {
    /// Starts building a pool of child processes with this name. The program's `main` has to begin with [`process::init`](crate::process::init).
    pub fn builder(name: impl AsRef<str>) -> PoolBuilder<Processes> {
        PoolBuilder::new(name.as_ref(), Processes::new())
    }

    /// Calls `function` with `arguments` in a child process, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// The function is a plain one, or a closure that captures nothing; several arguments are a tuple.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit<A, R>(
        &self,
        function: fn(A) -> R,
        arguments: A,
    ) -> impl Future<Output = Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>> + Send + use<'_, A, R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.submit_at(RemoteCall::new(function, arguments), &PLAIN, Location::caller())
    }

    /// Calls `function` with `arguments` in a child process if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit<A, R>(
        &self,
        function: fn(A) -> R,
        arguments: A,
    ) -> Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.try_submit_at(RemoteCall::new(function, arguments), &PLAIN, Location::caller())
    }

    /// Calls `function` with `arguments` in a child process, for synchronous callers; see
    /// [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_blocking<A, R>(
        &self,
        function: fn(A) -> R,
        arguments: A,
    ) -> Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.submit_blocking_at(RemoteCall::new(function, arguments), &PLAIN, Location::caller())
    }
}

impl<'a> Submitter<'a, Processes> {
    /// See [`ProcessPool::submit`](crate::Pool::submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_call<A, R>(
        self,
        function: fn(A) -> R,
        arguments: A,
    ) -> impl Future<Output = Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>> + Send + use<'a, A, R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.submit(RemoteCall::new(function, arguments))
    }

    /// See [`ProcessPool::try_submit`](crate::Pool::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit_call<A, R>(
        self,
        function: fn(A) -> R,
        arguments: A,
    ) -> Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.try_submit(RemoteCall::new(function, arguments))
    }

    /// See [`ProcessPool::submit_blocking`](crate::Pool::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn submit_call_blocking<A, R>(
        self,
        function: fn(A) -> R,
        arguments: A,
    ) -> Result<JobHandle<R>, Rejected<RemoteCall<A, R>>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.submit_blocking(RemoteCall::new(function, arguments))
    }
}

impl ProgramPool {
    /// Starts building a pool of processes of `program`, which speaks the frame protocol of `docs/protocol.md`.
    pub fn builder(name: impl AsRef<str>, program: impl AsRef<OsStr>) -> PoolBuilder<Programs> {
        PoolBuilder::new(name.as_ref(), Programs::new(program))
    }

    /// Sends `request` to a process, waiting at the gate if it has to; see [`Executor::submit`](crate::Executor::submit).
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason.
    #[track_caller]
    pub fn submit(
        &self,
        request: Vec<u8>,
    ) -> impl Future<Output = Result<JobHandle<Answer>, Rejected<Vec<u8>>>> + Send + use<'_> {
        self.submit_at(request, &PLAIN, Location::caller())
    }

    /// Sends `request` to a process if there is a place for it now; see [`Executor::try_submit`](crate::Executor::try_submit).
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason.
    #[track_caller]
    pub fn try_submit(&self, request: Vec<u8>) -> Result<JobHandle<Answer>, Rejected<Vec<u8>>> {
        self.try_submit_at(request, &PLAIN, Location::caller())
    }

    /// Sends `request` to a process, for synchronous callers; see [`Executor::submit_blocking`](crate::Executor::submit_blocking).
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason.
    #[track_caller]
    pub fn submit_blocking(&self, request: Vec<u8>) -> Result<JobHandle<Answer>, Rejected<Vec<u8>>> {
        self.submit_blocking_at(request, &PLAIN, Location::caller())
    }
}

impl PoolBuilder<Processes> {
    /// Where the children begin; default: in `main`, with [`process::init`](crate::process::init).
    pub fn entry(self, entry: Entry) -> Self {
        self.map_backend(|backend| backend.entry(entry))
    }

    /// How the children are started, and what they may use.
    pub fn child(self, options: ChildOptions) -> Self {
        self.map_backend(|backend| backend.child(options))
    }

    /// Ends a child whose job panicked, and restarts its slot, instead of keeping it.
    pub fn restart_after_panic(self) -> Self {
        self.map_backend(Processes::restart_after_panic)
    }

    /// Adds an interceptor, called in this process around each job.
    pub fn interceptor(self, interceptor: impl Interceptor) -> Self {
        self.map_backend(|backend| backend.interceptor(interceptor))
    }
}

impl PoolBuilder<Programs> {
    /// Adds an argument of the program's.
    pub fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.map_backend(|backend| backend.arg(argument))
    }

    /// How the processes are started, and what they may use.
    pub fn child(self, options: ChildOptions) -> Self {
        self.map_backend(|backend| backend.child(options))
    }

    /// Ends a process whose job panicked, and restarts its slot, instead of keeping it.
    pub fn restart_after_panic(self) -> Self {
        self.map_backend(Programs::restart_after_panic)
    }

    /// Adds an interceptor, called in this process around each job.
    pub fn interceptor(self, interceptor: impl Interceptor) -> Self {
        self.map_backend(|backend| backend.interceptor(interceptor))
    }
}
