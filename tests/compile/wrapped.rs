//! A backend that wraps another, from public names alone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    Actors, Backend, BuildError, Capabilities, Executor, Hosts, Interceptor, JobContext, JobOptions, KillOutcome,
    Ladder, Limits, PoolBuilder, PoolExecutor, Select, Share, StartError, Started, Tasks, Threads, WithState,
    WorkerContext, WorkerControl,
};
use ractor::ActorCell;

use crate::{Adder, LIMIT, Outcome};

/// Changes two things about another backend, its name and its kills, and leaves all else to it.
struct Renamed<B>(B, Arc<AtomicUsize>);

/// Counts the kills of a worker.
struct Watched(Arc<dyn WorkerControl>, Arc<AtomicUsize>);

impl WorkerControl for Watched {
    fn kill(&self) -> KillOutcome {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.kill()
    }
}

impl<B: Backend> Backend for Renamed<B> {
    type Job = B::Job;

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.kind = "renamed pool";
        capabilities
    }

    fn start(&self, cx: WorkerContext<B::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
        let (control, actor) = self.0.start(cx, supervisor)?.into_parts();
        let control = Watched(control, self.1.clone());
        Ok(match actor {
            Some(actor) => Started::actor(control, actor),
            None => Started::kept(control),
        })
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.0.prepare(pool)
    }

    fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.0.host_gone()
    }

    fn would_block(&self) -> bool {
        self.0.would_block()
    }
}

impl<J, B: Hosts<J>> Hosts<J> for Renamed<B> {
    type Output = B::Output;
    type Payload = B::Payload;

    fn wrap(job: J) -> B::Payload {
        B::wrap(job)
    }

    fn unwrap(payload: B::Payload) -> J {
        B::unwrap(payload)
    }

    fn erase(cell: millpond::Share<millpond::JobCell<B::Payload, B::Output>>) -> Share<B::Job> {
        B::erase(cell)
    }
}

#[test]
fn a_backend_wraps_another() -> Outcome {
    let (kills, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads = Threads::new()
        .initializer(|cx| Ok(format!("{}", cx.worker())))
        .interceptor(CountBegun(begun.clone()))
        .stack_size(1 << 20)
        .restart_after_panic();
    let wrapped = Renamed(threads, kills.clone());
    assert_eq!(wrapped.0.check_state::<u8>(), Err("alloc::string::String"));
    let pool = PoolBuilder::new("compile-wrapped", wrapped).limits(Limits::fixed(1)).build()?;
    assert_eq!(pool.capabilities().kind, "renamed pool");
    let submit = || pool.with(JobOptions::new().label("wrapped"));
    assert_eq!(submit().submit_blocking(|| 5)?.join()?, 5);
    let who = || WithState::new(|name: &mut String| name.clone());
    assert_eq!(submit().submit_blocking(who())?.join()?, "0.1");
    assert!(submit().submit_blocking(|| panic!("as told"))?.join().is_err());
    assert_eq!(submit().submit_blocking(who())?.join()?, "0.2", "a panic ends the thread, as it was told to");
    assert_eq!(begun.load(Ordering::Relaxed), 4);
    let report = pool.blocking().terminate(Select::all(), Ladder::kill(), LIMIT)?;
    assert_eq!((report.targets.len(), pool.blocking().resize(Limits::fixed(2), LIMIT)?.debt), (1, 0));
    assert!(kills.load(Ordering::Relaxed) > 0);
    Ok(())
}

/// Those that need a runtime get it, and the end of it is heard of.
#[test]
fn an_async_backend_is_wrapped_too() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let begun = Arc::new(AtomicUsize::new(0));
    let tasks = Tasks::new().runtime(runtime.handle().clone()).interceptor(CountBegun(begun.clone()));
    let pool = PoolBuilder::new("compile-wrapped-tasks", Renamed(tasks, Arc::default())).build()?;
    assert_eq!(pool.submit_blocking(async { 5 })?.join()?, 5);
    let actors = Actors::new(Adder).runtime(runtime.handle().clone()).interceptor(CountBegun(begun.clone()));
    let adders = PoolBuilder::new("compile-wrapped-actors", Renamed(actors, Arc::default())).build()?;
    assert_eq!((adders.submit_blocking(6)?.join()?, begun.load(Ordering::Relaxed)), (6, 2));
    let refused = PoolBuilder::new("compile-wrapped-nowhere", Renamed(Tasks::new(), Arc::default())).build();
    assert!(matches!(refused, Err(BuildError::NoRuntime(_))));
    Ok(())
}

/// How many jobs have begun.
struct CountBegun(Arc<AtomicUsize>);

impl Interceptor for CountBegun {
    fn before(&self, _job: &JobContext) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
