//! The kinds of pool, and how an [`Errand`] becomes a job of each.

use std::pin::Pin;
use std::time::Duration;

use millpond::{Actors, Hosts, JobContext, StartContext, StartError, Tasks, Threads, Worker, WorkerId};
use tokio::runtime::Handle;

use crate::errand::Errand;

pub trait Kind: Sized + Send + Sync + 'static {
    const NAME: &'static str;
    type Backend: Hosts<Self::Job, Output = u64>;
    type Job: Send + 'static;
    /// True if a kill ends any job, whatever it does.
    const KILLED_ANYWHERE: bool = false;
    /// Short, so that workers come and go.
    const IDLE_TIMEOUT: Duration = Duration::from_millis(2);
    /// Jobs after which a worker is replaced.
    const RECYCLED_AFTER: u64 = 8;
    /// How long a start may take.
    const START_LIMIT: Duration = Duration::from_millis(200);

    fn backend(runtime: Handle) -> Self::Backend;
    fn job(errand: Errand) -> Self::Job;
}

pub struct OnThreads;
pub struct OnTasks;
pub struct OnActors;

impl Kind for OnThreads {
    const NAME: &'static str = "threads";
    type Backend = Threads;
    type Job = Box<dyn FnOnce() -> u64 + Send>;

    fn backend(_runtime: Handle) -> Threads {
        Threads::new().restart_after_panic()
    }

    fn job(errand: Errand) -> Self::Job {
        Box::new(move || errand.run())
    }
}

impl Kind for OnTasks {
    const NAME: &'static str = "tasks";
    type Backend = Tasks;
    type Job = Pin<Box<dyn Future<Output = u64> + Send>>;

    fn backend(runtime: Handle) -> Tasks {
        Tasks::new().runtime(runtime)
    }

    fn job(errand: Errand) -> Self::Job {
        Box::pin(errand.run_async())
    }
}

/// Its state knows whose it is, and whether a panic may have spoilt it.
pub struct Desk;

pub struct Papers {
    worker: WorkerId,
    in_order: bool,
}

impl Worker for Desk {
    type Job = Errand;
    type Output = u64;
    type State = Papers;

    async fn start(&self, cx: &StartContext) -> Result<Papers, StartError> {
        Ok(Papers { worker: cx.worker(), in_order: true })
    }

    async fn handle(&self, errand: Errand, papers: &mut Papers, cx: &JobContext) -> u64 {
        if !papers.in_order || papers.worker != cx.worker_id() {
            errand.complain("a job was given another worker's state, or one that a panic had spoilt");
        }
        papers.in_order = false;
        let output = errand.run_async().await;
        papers.in_order = true;
        output
    }
}

impl Kind for OnActors {
    const NAME: &'static str = "actors";
    type Backend = Actors<Desk>;
    type Job = Errand;

    fn backend(runtime: Handle) -> Actors<Desk> {
        Actors::new(Desk).runtime(runtime)
    }

    fn job(errand: Errand) -> Errand {
        errand
    }
}

/// Instances of an interpreter, that ask this process whether their job is done.
#[cfg(feature = "interpreter")]
pub struct OnGuests;

#[cfg(feature = "interpreter")]
impl Kind for OnGuests {
    const NAME: &'static str = "guests";
    type Backend = millpond::interpreter::Interpreters<millpond::interpreter::Wasm>;
    type Job = crate::polled::Polled<u64>;

    fn backend(_runtime: Handle) -> Self::Backend {
        millpond::interpreter::Interpreters::new(crate::polled::wasm::engine()).restart_after_trap()
    }

    fn job(errand: Errand) -> Self::Job {
        let mut errand = Box::pin(errand.blocking().run_async());
        // Who polls it is no runtime, and some errands have a timer.
        crate::polled::Polled::new(std::future::poll_fn(move |cx| {
            let _inside = timers().enter();
            errand.as_mut().poll(cx)
        }))
    }
}

/// Child processes. A start takes as long as a hundred jobs, so workers may idle for longer.
#[cfg(all(feature = "process", unix))]
pub struct OnProcesses;

#[cfg(all(feature = "process", unix))]
impl Kind for OnProcesses {
    const NAME: &'static str = "processes";
    type Backend = millpond::process::Processes;
    type Job = millpond::process::RemoteCall<crate::desk_errands::Slip, u64>;
    const KILLED_ANYWHERE: bool = true;
    const IDLE_TIMEOUT: Duration = Duration::from_millis(200);
    const START_LIMIT: Duration = Duration::from_secs(2);

    fn backend(_runtime: Handle) -> Self::Backend {
        millpond::process::Processes::new().entry(millpond::process::Entry::test()).restart_after_panic()
    }

    fn job(errand: Errand) -> Self::Job {
        crate::desk_errands::call(errand)
    }
}

/// A runtime for the timers of jobs that do not run on one.
#[cfg(feature = "interpreter")]
fn timers() -> &'static tokio::runtime::Runtime {
    static TIMERS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    TIMERS.get_or_init(|| build().expect("a runtime"))
}
