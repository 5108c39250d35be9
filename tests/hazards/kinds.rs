//! The kinds of pool under one face: a [`Work`] is what a closure, a future or a message of each kind does.

use std::pin::Pin;
use std::sync::Arc;

#[cfg(any(feature = "interpreter", feature = "lua"))]
use millpond::InterpreterPool;
#[cfg(feature = "lua")]
use millpond::interpreter::Lua;
#[cfg(feature = "wasi")]
use millpond::interpreter::Wasi;
#[cfg(feature = "interpreter")]
use millpond::interpreter::Wasm;
#[cfg(any(feature = "interpreter", feature = "lua"))]
use millpond::interpreter::{Engine, Interpreters, Script};
use millpond::{
    ActorPool, Actors, Executor, Hosts, JobContext, JobError, JobHandle, JobOptions, Limits, Pool, PoolBuilder,
    StartContext, StartError, TaskPool, Tasks, ThreadPool, Threads, Worker,
};

pub use crate::ground::Ground;
use crate::latch::Latch;
#[cfg(any(feature = "interpreter", feature = "lua"))]
use crate::polled::{self, Polled};
pub use crate::work::{Output, Work};

/// How a worker's start goes.
pub type Start = Arc<dyn Fn() -> Option<Latch> + Send + Sync>;

/// A kind of pool.
pub trait Kind: Sized + 'static {
    type Backend: Hosts<Self::Job, Output = Output>;
    type Job: Send + 'static;
    /// True if a kill reaches a job that waits as its kind does.
    const KILLABLE: bool;
    /// True if a kill reaches any job, whatever it does: none is abandoned.
    const KILLED_ANYWHERE: bool = false;
    /// True if to start a worker takes as long as many jobs do, and the longer, the more memory this process has: random bodies do with fewer.
    const STARTS_ARE_DEAR: bool = false;
    /// True if its jobs run on the application's runtime.
    const ON_RUNTIME: bool = true;

    fn builder(name: &str, ground: &Ground) -> PoolBuilder<Self::Backend>;
    fn job(work: Work) -> Self::Job;

    /// A pool of `workers`, with all else by default.
    fn pool(name: &str, ground: &Ground, workers: usize) -> Pool<Self::Backend> {
        Self::builder(name, ground).limits(Limits::fixed(workers)).build().expect("the configuration is sound")
    }
}

/// Submits where there has to be a place.
#[track_caller]
pub fn put<K: Kind>(pool: &Pool<K::Backend>, work: Work) -> JobHandle<Output> {
    pool.try_submit(K::job(work)).expect("there is a place")
}

/// The same with a label.
#[track_caller]
pub fn put_labelled<K: Kind>(pool: &Pool<K::Backend>, label: &str, work: Work) -> JobHandle<Output> {
    pool.with(JobOptions::new().label(label)).try_submit(K::job(work)).expect("there is a place")
}

/// The value of a job that has to succeed.
#[track_caller]
pub fn value(handle: JobHandle<Output>) -> u64 {
    handle.join().expect("the job succeeds").value
}

/// A job that has to succeed, whatever it gives.
#[track_caller]
pub fn completes(handle: JobHandle<Output>) {
    drop(handle.join().expect("the job succeeds"));
}

/// The error of a job that has to fail.
#[track_caller]
pub fn failure(handle: JobHandle<Output>) -> JobError {
    match handle.join() {
        Err(millpond::JoinError::Job(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(output) => panic!("the job gave {}", output.value),
    }
}

pub struct OnThreads;
pub struct OnTasks;
pub struct OnActors;

impl Kind for OnThreads {
    type Backend = Threads;
    type Job = Box<dyn FnOnce() -> Output + Send>;
    const KILLABLE: bool = false;
    const ON_RUNTIME: bool = false;

    fn builder(name: &str, _ground: &Ground) -> PoolBuilder<Threads> {
        ThreadPool::builder(format!("{name}-threads"))
    }

    fn job(work: Work) -> Self::Job {
        Box::new(move || work.run())
    }
}

impl Kind for OnTasks {
    type Backend = Tasks;
    type Job = Pin<Box<dyn Future<Output = Output> + Send>>;
    const KILLABLE: bool = true;

    fn builder(name: &str, ground: &Ground) -> PoolBuilder<Tasks> {
        TaskPool::builder(format!("{name}-tasks")).runtime(ground.handle())
    }

    fn job(work: Work) -> Self::Job {
        Box::pin(work.run_async())
    }
}

/// A worker actor without a state, whose start may hang.
pub struct Hand {
    start: Option<Start>,
    block: bool,
}

impl Hand {
    /// One that is ready at once.
    pub fn ready() -> Self {
        Self { start: None, block: false }
    }
}

impl Worker for Hand {
    type Job = Work;
    type Output = Output;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        match self.start.as_ref().and_then(|start| start()) {
            None => {}
            Some(latch) if self.block => latch.block(),
            Some(latch) => latch.wait().await,
        }
        Ok(())
    }

    async fn handle(&self, work: Work, _state: &mut (), _cx: &JobContext) -> Output {
        work.run_async().await
    }
}

impl Kind for OnActors {
    type Backend = Actors<Hand>;
    type Job = Work;
    const KILLABLE: bool = true;

    fn builder(name: &str, ground: &Ground) -> PoolBuilder<Actors<Hand>> {
        ActorPool::builder(format!("{name}-actors"), Hand::ready()).runtime(ground.handle())
    }

    fn job(work: Work) -> Work {
        work
    }
}

/// Child processes, whose jobs have their work done here.
#[cfg(all(feature = "process", unix))]
pub struct OnProcesses;

#[cfg(all(feature = "process", unix))]
impl Kind for OnProcesses {
    type Backend = millpond::process::Processes;
    type Job = crate::errands::Call;
    const KILLABLE: bool = true;
    const KILLED_ANYWHERE: bool = true;
    const ON_RUNTIME: bool = false;

    fn builder(name: &str, _ground: &Ground) -> PoolBuilder<Self::Backend> {
        millpond::ProcessPool::builder(format!("{name}-processes")).entry(millpond::process::Entry::test())
    }

    fn job(work: Work) -> Self::Job {
        crate::errands::call(work)
    }
}

/// Interpreters, whose guests ask this process whether their work is done.
#[cfg(any(feature = "interpreter", feature = "lua"))]
pub trait Guests: 'static {
    const NAME: &'static str;
    type Engine: Engine;

    fn engine() -> Self::Engine;
}

#[cfg(any(feature = "interpreter", feature = "lua"))]
impl<G: Guests> Kind for G
where
    Polled<Output>: Script<G::Engine, Output = Output>,
{
    type Backend = Interpreters<G::Engine>;
    type Job = Polled<Output>;
    const KILLABLE: bool = true;
    const ON_RUNTIME: bool = false;

    fn builder(name: &str, _ground: &Ground) -> PoolBuilder<Self::Backend> {
        InterpreterPool::builder(format!("{name}-{}", G::NAME), G::engine())
    }

    fn job(work: Work) -> Self::Job {
        polled(work)
    }
}

/// Instances of WebAssembly.
#[cfg(feature = "interpreter")]
pub struct OnGuests;

#[cfg(feature = "interpreter")]
impl Guests for OnGuests {
    const NAME: &'static str = "guests";
    type Engine = Wasm;

    fn engine() -> Wasm {
        polled::wasm::engine()
    }
}

/// The same, one for each job.
#[cfg(feature = "interpreter")]
pub struct OnFreshGuests;

#[cfg(feature = "interpreter")]
impl Guests for OnFreshGuests {
    const NAME: &'static str = "fresh-guests";
    type Engine = Wasm;

    fn engine() -> Wasm {
        polled::wasm::engine().fresh_per_job()
    }
}

/// Commands of WASI.
#[cfg(feature = "wasi")]
pub struct OnCommands;

#[cfg(feature = "wasi")]
impl Guests for OnCommands {
    const NAME: &'static str = "commands";
    type Engine = Wasi;

    fn engine() -> Wasi {
        polled::wasi::engine()
    }
}

/// States of Lua.
#[cfg(feature = "lua")]
pub struct OnLua;

#[cfg(feature = "lua")]
impl Guests for OnLua {
    const NAME: &'static str = "lua";
    type Engine = Lua;

    fn engine() -> Lua {
        polled::lua::engine()
    }
}

#[cfg(any(feature = "interpreter", feature = "lua"))]
fn polled(work: Work) -> Polled<Output> {
    let mut work = Box::pin(work.then_blocking().run_async());
    // Who polls it is no runtime, and some work has a timer.
    Polled::new(std::future::poll_fn(move |cx| {
        let _inside = timers().enter();
        work.as_mut().poll(cx)
    }))
}

/// A runtime for the timers of jobs that do not run on one.
#[cfg(any(feature = "interpreter", feature = "lua"))]
fn timers() -> &'static tokio::runtime::Runtime {
    static TIMERS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    TIMERS.get_or_init(|| build().expect("a runtime"))
}

/// A kind whose workers have a start that can hang.
pub trait Starts: Kind {
    /// The start waits for the latch that `start` gives, if it gives one; with `block` it blocks its thread meanwhile.
    fn starting(name: &str, ground: &Ground, block: bool, start: Start) -> PoolBuilder<Self::Backend>;
}

impl Starts for OnThreads {
    fn starting(name: &str, ground: &Ground, _block: bool, start: Start) -> PoolBuilder<Threads> {
        Self::builder(name, ground).initializer(move |_cx| {
            block_if_told(&start);
            Ok(())
        })
    }
}

fn block_if_told(start: &Start) {
    if let Some(latch) = start() {
        latch.block();
    }
}

/// The start function of the module calls this process.
#[cfg(feature = "interpreter")]
impl Starts for OnGuests {
    fn starting(name: &str, _ground: &Ground, _block: bool, start: Start) -> PoolBuilder<Self::Backend> {
        InterpreterPool::builder(format!("{name}-guests"), polled::wasm::starting(move || block_if_told(&start)))
    }
}

/// The script calls this process.
#[cfg(feature = "lua")]
impl Starts for OnLua {
    fn starting(name: &str, _ground: &Ground, _block: bool, start: Start) -> PoolBuilder<Self::Backend> {
        InterpreterPool::builder(format!("{name}-lua"), polled::lua::starting(move || block_if_told(&start)))
    }
}

impl Starts for OnActors {
    fn starting(name: &str, ground: &Ground, block: bool, start: Start) -> PoolBuilder<Actors<Hand>> {
        let hand = Hand { start: Some(start), block };
        ActorPool::builder(format!("{name}-actors"), hand).runtime(ground.handle())
    }
}

/// Runs each body on every kind of pool; those after `in_this_process:` not on child processes, and those after `where_handles_are:` with jobs of theirs whose
/// arguments take work to be written, as what the child runs has no handles.
macro_rules! on_every_kind {
    ($($body:ident),+ $(,)? $(; in_this_process: $($here:ident),+ $(,)?)?) => {
        $( on_every_kind!(@here $body); )+
        $($( on_every_kind!(@here $here); )+)?
        #[cfg(all(feature = "process", unix))]
        mod on_processes { $(
            #[test]
            fn $body() {
                super::$body::<crate::kinds::OnProcesses>();
            }
        )+ }
    };
    (in_this_process: $($here:ident),+ $(,)?) => { $( on_every_kind!(@here $here); )+ };
    (where_handles_are: $($body:ident),+ $(,)?) => {
        $( on_every_kind!(@here $body); )+
        #[cfg(all(feature = "process", unix))]
        mod on_processes { $(
            #[test]
            fn $body() {
                super::$body::<crate::pages::OnPages>();
            }
        )+ }
    };
    (@here $body:ident) => {
        mod $body {
            #[test]
            fn threads() {
                super::$body::<crate::kinds::OnThreads>();
            }
            #[test]
            fn tasks() {
                super::$body::<crate::kinds::OnTasks>();
            }
            #[test]
            fn actors() {
                super::$body::<crate::kinds::OnActors>();
            }
            #[cfg(feature = "interpreter")]
            #[test]
            fn guests() {
                super::$body::<crate::kinds::OnGuests>();
            }
            #[cfg(feature = "lua")]
            #[test]
            fn lua() {
                super::$body::<crate::kinds::OnLua>();
            }
        }
    };
}
pub(crate) use on_every_kind;

/// Runs each body on pools whose jobs have instances of their own: of hazards that what hosts the jobs has a part in.
macro_rules! on_fresh_instances {
    ($($body:ident),+ $(,)?) => {
        #[cfg(feature = "interpreter")]
        mod on_fresh_guests { $(
            #[test]
            fn $body() {
                super::$body::<crate::kinds::OnFreshGuests>();
            }
        )+ }
        #[cfg(feature = "wasi")]
        mod on_commands { $(
            #[test]
            fn $body() {
                super::$body::<crate::kinds::OnCommands>();
            }
        )+ }
    };
}
pub(crate) use on_fresh_instances;
