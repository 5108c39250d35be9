//! The kinds of pool that the suite runs against.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use millpond::{
    ActorPool, Actors, Backend, Hosts, Interceptor, JobContext, PoolBuilder, StartContext, StartError, TaskPool, Tasks,
    ThreadPool, Threads, Worker,
};
use tokio::runtime::{Builder, Runtime};

#[cfg(feature = "process")]
pub(crate) use crate::errands::OnProcesses;
#[cfg(feature = "interpreter")]
pub(crate) use crate::guests::OnGuests;
#[cfg(feature = "lua")]
pub(crate) use crate::guests::OnLua;
use crate::task::Task;
use crate::third_party::{Desks, Errand};

/// A kind of pool, and how a [`Task`] becomes a job of it.
pub(crate) trait Subject: 'static {
    const KIND: &'static str;
    type Backend: Backend + Hosts<Self::Job, Output = u64>;
    type Job: Send + 'static;

    fn builder(name: &str) -> PoolBuilder<Self::Backend>;
    fn job(task: Task) -> Self::Job;
    /// Runs a job that was refused, on the caller's own thread.
    fn run_here(job: Self::Job) -> u64;
}

/// A subject whose builder takes interceptors.
pub(crate) trait Intercepted: Subject {
    fn interceptor(builder: PoolBuilder<Self::Backend>, by: impl Interceptor) -> PoolBuilder<Self::Backend>;
}

/// Hosts the async workers. It has many threads, since some jobs block one on purpose.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(16).enable_all().build().expect("the suite needs a runtime")
    })
}

pub(crate) struct OnThreads;

impl Subject for OnThreads {
    const KIND: &'static str = "threads";
    type Backend = Threads;
    type Job = Errand;

    fn builder(name: &str) -> PoolBuilder<Threads> {
        ThreadPool::builder(name)
    }

    fn job(task: Task) -> Errand {
        Box::new(|| task.run())
    }

    fn run_here(job: Errand) -> u64 {
        job()
    }
}

impl Intercepted for OnThreads {
    fn interceptor(builder: PoolBuilder<Threads>, by: impl Interceptor) -> PoolBuilder<Threads> {
        builder.interceptor(by)
    }
}

pub(crate) struct OnTasks;

impl Subject for OnTasks {
    const KIND: &'static str = "tasks";
    type Backend = Tasks;
    type Job = Pin<Box<dyn Future<Output = u64> + Send>>;

    fn builder(name: &str) -> PoolBuilder<Tasks> {
        TaskPool::builder(name).runtime(runtime().handle().clone())
    }

    fn job(task: Task) -> Self::Job {
        Box::pin(task.run_async())
    }

    fn run_here(job: Self::Job) -> u64 {
        runtime().block_on(job)
    }
}

impl Intercepted for OnTasks {
    fn interceptor(builder: PoolBuilder<Tasks>, by: impl Interceptor) -> PoolBuilder<Tasks> {
        builder.interceptor(by)
    }
}

/// Does whatever task it is sent; its state is how many it has been sent.
pub(crate) struct Doer;

impl Worker for Doer {
    type Job = Task;
    type Output = u64;
    type State = u64;

    async fn start(&self, _cx: &StartContext) -> Result<u64, StartError> {
        Ok(0)
    }

    async fn handle(&self, job: Task, state: &mut u64, cx: &JobContext) -> u64 {
        *state += 1;
        let current = JobContext::current().expect("a job has a context");
        assert_eq!((current.job_id(), current.worker_id()), (cx.job_id(), cx.worker_id()));
        job.run_async().await
    }
}

pub(crate) struct OnActors;

impl Subject for OnActors {
    const KIND: &'static str = "actors";
    type Backend = Actors<Doer>;
    type Job = Task;

    fn builder(name: &str) -> PoolBuilder<Actors<Doer>> {
        ActorPool::builder(name, Doer).runtime(runtime().handle().clone())
    }

    fn job(task: Task) -> Task {
        task
    }

    fn run_here(job: Task) -> u64 {
        job.run()
    }
}

impl Intercepted for OnActors {
    fn interceptor(builder: PoolBuilder<Actors<Doer>>, by: impl Interceptor) -> PoolBuilder<Actors<Doer>> {
        builder.interceptor(by)
    }
}

/// A kind of pool that is not millpond's.
pub(crate) struct OnDesks;

impl Subject for OnDesks {
    const KIND: &'static str = "desks";
    type Backend = Desks;
    type Job = Errand;

    fn builder(name: &str) -> PoolBuilder<Desks> {
        PoolBuilder::new(name, Desks)
    }

    fn job(task: Task) -> Errand {
        Box::new(|| task.run())
    }

    fn run_here(job: Errand) -> u64 {
        job()
    }
}
