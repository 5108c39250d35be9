//! The contracts, as code that has to compile: a kind of pool of one's own, pools behind trait objects, a refused job
//! through `?`, generic code, blocking control. Each also runs, so that what compiles is known to work.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

#[path = "conformance/third_party.rs"]
mod third_party;
#[path = "compile/wrapped.rs"]
mod wrapped;

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use millpond::{
    ActorPool, AttachError, DynExecutor, DynSubmitter, Executor, Facts, Interceptor, JobContext, JobError, JobHandle,
    JobOptions, JoinError, KillOutcome, Ladder, Ledger, Limits, Pool, PoolBuilder, PoolEvent, PoolExecutor,
    PoolMessage, PoolSupervisor, RejectReason, Rejected, Rung, Saturation, Select, StartContext, StartError, Submitter,
    TaskPool, Tasks, ThreadPool, Threads, TimeLimit, Worker,
};
use ractor::ActorRef;

use third_party::{Desks, Errand};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const LIMIT: TimeLimit = TimeLimit::secs(30);

fn threads(name: &str) -> ThreadPool {
    ThreadPool::builder(name).limits(Limits::fixed(1)).build().expect("it is built")
}

#[test]
fn a_third_party_backend_gets_the_whole_pool() -> Outcome {
    let pool: Pool<Desks> = PoolBuilder::new("compile-desks", Desks).limits(Limits::fixed(2)).build()?;
    let handle: JobHandle<u64> = pool.with(JobOptions::new().label("stamp")).submit_blocking(errand(4))?;
    assert_eq!(handle.join()?, 4);
    assert_eq!(pool.blocking().resize(Limits::fixed(3), LIMIT)?.to, Limits::fixed(3));
    assert_eq!(pool.capabilities().kind, "desk pool");
    assert_eq!(pool.blocking().shutdown(LIMIT)?.not_started, 0);
    Ok(())
}

/// Types that may grow are still made by whoever needs one: limits, a ladder, what a kill came to.
#[test]
fn types_that_may_grow_can_be_made() {
    let mut limits = Limits::new(1, 4).idle_timeout(None);
    limits.max += 1;
    assert_eq!((limits.min, limits.max), (1, 5));
    let ladder = [Rung::Cancel, Rung::Stop, Rung::Kill].into_iter();
    let ladder = ladder.fold(Ladder::new(), |ladder, rung| ladder.then(rung, LIMIT.0));
    assert_ne!(ladder, Ladder::new());
    assert_ne!(KillOutcome::Signalled, KillOutcome::Abandoned);
    let mut facts = Facts::default();
    facts.thread = Some(Arc::from("desk"));
    assert!(Saturation::default().active == 0 && Ledger::default().balances() && facts.actor.is_none());
}

fn errand(value: u64) -> Errand {
    Box::new(move || value)
}

/// `Arc<dyn PoolExecutor>` goes into a registry or a dashboard, pools of every kind side by side.
#[tokio::test]
async fn pools_of_every_kind_stand_behind_one_trait_object() -> Outcome {
    let pools: Vec<Arc<dyn PoolExecutor>> = vec![
        Arc::new(threads("compile-dyn-threads")),
        Arc::new(TaskPool::builder("compile-dyn-tasks").limits(Limits::fixed(1)).build()?),
        Arc::new(ActorPool::builder("compile-dyn-actors", Adder).limits(Limits::fixed(1)).build()?),
        Arc::new(PoolBuilder::new("compile-dyn-desks", Desks).limits(Limits::fixed(1)).build()?),
    ];
    for pool in &pools {
        let pool: &dyn PoolExecutor = &**pool;
        assert_eq!(pool.saturation().limit, 1);
        assert_eq!(&*pool.inventory(LIMIT).await?.pool, pool.name());
        pool.quiesce(LIMIT).await?;
        pool.resume(LIMIT).await?;
        assert!(pool.terminate(Select::label("none"), Ladder::default(), LIMIT).await?.targets.is_empty());
        let _actor: ActorRef<PoolMessage> = pool.actor();
        pool.shutdown(LIMIT).await?;
    }
    Ok(())
}

struct Adder;

impl Worker for Adder {
    type Job = u64;
    type Output = u64;
    type State = u64;

    async fn start(&self, _cx: &StartContext) -> Result<u64, StartError> {
        Ok(0)
    }

    async fn handle(&self, job: u64, state: &mut u64, _cx: &JobContext) -> u64 {
        *state += job;
        *state
    }
}

/// `DynExecutor` is for those who submit and control through one trait object.
#[tokio::test]
async fn one_type_of_job_goes_to_any_pool_that_takes_it() -> Outcome {
    type Job = Box<dyn FnOnce() -> u64 + Send>;
    let pools: Vec<Arc<dyn DynExecutor<Job, u64>>> = vec![
        Arc::new(threads("compile-dynexec-threads")),
        Arc::new(PoolBuilder::new("compile-dynexec-desks", Desks).limits(Limits::fixed(1)).build()?),
    ];
    for pool in pools {
        assert_eq!(pool.submit(errand(8)).await?.await?, 8);
        assert_eq!(pool.try_submit(errand(9))?.await?, 9);
        let labelled: DynSubmitter<'_, Job, u64> = pool.with(JobOptions::new().label("ten"));
        assert_eq!(labelled.submit(errand(10)).await?.await?, 10);
        assert_eq!(pool.snapshot().ledger.completed, 3);
    }
    Ok(())
}

/// A trait object hides its caller's line from `#[track_caller]`; what an operator reads is that line all the same.
#[test]
fn the_line_that_submits_through_a_trait_object_is_the_callers() -> Outcome {
    type Job = Box<dyn FnOnce() -> u64 + Send>;
    let pool: Arc<dyn DynExecutor<Job, u64>> = Arc::new(threads("compile-dyn-site"));
    pool.blocking().quiesce(LIMIT)?;
    let panics = || -> Job { Box::new(|| panic!("as told")) };
    let label = || JobOptions::new().label("dyn");
    let lines = [line!() + 2, line!() + 3, line!() + 4, line!() + 5, line!() + 6, line!() + 7];
    let handles = [
        pool.try_submit(panics())?,
        pool.submit_blocking(panics())?,
        block_on(pool.submit(panics()))?,
        pool.with(label()).try_submit(panics())?,
        pool.with(label()).submit_blocking(panics())?,
        block_on(pool.with(label()).submit(panics()))?,
    ];
    let on_behalf = JobOptions::new().submitted_from(std::panic::Location::caller());
    let (named, line) = (pool.with(on_behalf).try_submit(panics())?, line!() - 1);
    pool.blocking().resume(LIMIT)?;
    for (handle, line) in handles.into_iter().zip(lines).chain([(named, line)]) {
        let error = handle.join().expect_err("it panics");
        let JoinError::Job(JobError::Panicked(report)) = &error else { panic!("{error}") };
        assert_eq!((report.submitted_from.file(), report.submitted_from.line()), (file!(), line), "{error}");
    }
    Ok(())
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("it is small").block_on(future)
}

/// Control in a program without a runtime, whatever the pool's type is behind the trait object.
#[test]
fn control_through_a_trait_object_has_a_blocking_form() -> Outcome {
    let pool: Arc<dyn PoolExecutor> = Arc::new(threads("compile-dyn-blocking"));
    assert_eq!(pool.blocking().resize(Limits::fixed(2), LIMIT)?.to, Limits::fixed(2));
    let listed = millpond::pools().into_iter().find(|other| other.name() == pool.name()).expect("it is listed");
    assert_eq!(&*listed.blocking().inventory(LIMIT)?.pool, "compile-dyn-blocking");
    assert_eq!(pool.blocking().shutdown(LIMIT)?.completed, 0);
    Ok(())
}

fn assert_sync<T: Sync + Send>(_: &T) {}

/// `Rejected<J>` is `Sync` for every `Send` job, and passes through `?`.
#[test]
fn a_refused_job_that_is_only_send_goes_through_the_question_mark() {
    fn submit_late(pool: &ThreadPool) -> Outcome {
        let only_send = Cell::new(3);
        let handle = pool.try_submit(move || only_send.take())?;
        drop(handle);
        Ok(())
    }
    let pool = threads("compile-question-mark");
    pool.blocking().shutdown(LIMIT).expect("it answers");
    let error = submit_late(&pool).expect_err("it is shut down");
    assert!(error.to_string().contains("compile-question-mark"), "{error}");
    let only_send = Cell::new(3);
    let refused = pool.try_submit(move || only_send.take()).expect_err("it is shut down");
    assert_sync(&refused);
    let (job, reason): (_, RejectReason) = refused.into_parts();
    assert!(matches!(reason, RejectReason::Closed { .. }));
    assert_eq!(job(), 3);
}

/// Inference: closures with and without a state, of any output, without a type written down.
#[tokio::test]
async fn submission_infers() -> Outcome {
    let pool = ThreadPool::builder("compile-infers")
        .limits(Limits::fixed(1))
        .initializer(|_| Ok(String::from("state")))
        .build()?;
    let word = "word".to_owned();
    assert_eq!(pool.submit(move || word.len()).await?.await?, 4);
    assert_eq!(pool.submit_with(|state: &mut String| state.len()).await?.await?, 5);
    assert_eq!(pool.with(JobOptions::new()).submit_with(|state: &mut String| state.clone()).await?.await?, "state");
    let nothing: () = pool.try_submit(|| ())?.await?;
    let failing: Result<u8, std::fmt::Error> = pool.submit(|| Err(std::fmt::Error)).await?.await?;
    assert_eq!((nothing, failing), ((), Err(std::fmt::Error)));
    let tasks = TaskPool::builder("compile-infers-tasks").limits(Limits::fixed(1)).build()?;
    assert_eq!(tasks.submit(async { "borrowed" }).await?.await?, "borrowed");
    let submitter: Submitter<'_, Tasks> = tasks.with(JobOptions::new());
    assert_eq!(submitter.submit(async { 1_u8 }).await?.await?, 1);
    Ok(())
}

/// Generic code over `Executor<J>`.
async fn run_on<J: Send, E: Executor<J>>(executor: &E, jobs: Vec<J>) -> Result<Vec<E::Output>, String> {
    let mut handles = Vec::new();
    for job in jobs {
        handles.push(executor.submit(job).await.map_err(|refused: Rejected<J>| refused.to_string())?);
    }
    let mut outputs = Vec::new();
    for handle in handles {
        outputs.push(handle.await.map_err(|error| error.to_string())?);
    }
    Ok(outputs)
}

#[tokio::test]
async fn code_is_generic_over_what_runs_its_jobs() -> Outcome {
    let pool = threads("compile-generic");
    let jobs: Vec<_> = (0..3_u64).map(|n| move || n * n).collect();
    assert_eq!(run_on(&pool, jobs).await?, [0, 1, 4]);
    let tasks = TaskPool::builder("compile-generic-tasks").limits(Limits::fixed(1)).build()?;
    assert_eq!(run_on(&tasks, vec![std::future::ready(7)]).await?, [7]);
    let actors = ActorPool::builder("compile-generic-actors", Adder).limits(Limits::fixed(1)).build()?;
    assert_eq!(run_on(&actors, vec![1, 2, 3]).await?, [1, 3, 6]);
    Ok(())
}

fn assert_send_future<F: Future + Send>(future: F) -> F {
    future
}

/// Submissions and handles may cross threads while they wait; the state of a submission is no part of its type.
#[tokio::test]
async fn what_waits_is_send() -> Outcome {
    let pool = threads("compile-send");
    let tasks = TaskPool::builder("compile-send-tasks").limits(Limits::fixed(1)).build()?;
    let actors = ActorPool::builder("compile-send-actors", Adder).limits(Limits::fixed(1)).build()?;
    let only_send = Cell::new(1);
    assert_send_future(assert_send_future(pool.submit(move || only_send.take())).await?).await?;
    assert_send_future(assert_send_future(tasks.submit(async { 1 })).await?).await?;
    assert_send_future(assert_send_future(actors.submit(1)).await?).await?;
    assert_send_future(Executor::<u64>::submit(&actors, 1)).await?.await?;
    assert_send_future(pool.inventory(LIMIT)).await?;
    assert_send_future(pool.shutdown(LIMIT)).await?;
    assert_sync(&pool);
    Ok(())
}

/// `from_actor` is async and fallible; an application that only holds the actor gets its typed handle back.
#[tokio::test]
async fn a_typed_handle_comes_from_an_actor_or_a_name() -> Outcome {
    let pool = threads("compile-from-actor");
    let actor: ActorRef<PoolMessage> = pool.actor();
    let again: ThreadPool = Pool::from_actor(actor).await?;
    assert_eq!(again.submit(|| 3).await?.await?, 3);
    let found: Result<Pool<Threads>, AttachError> = ThreadPool::from_registry("compile-from-actor").await;
    assert_eq!(found?.name(), "compile-from-actor");
    let supervisor: PoolSupervisor<Threads> =
        ThreadPool::builder("compile-supervisor").limits(Limits::fixed(1)).into_supervisor()?;
    drop(supervisor);
    Ok(())
}

/// Every control call has a blocking form.
#[test]
fn control_has_a_blocking_form() -> Outcome {
    let pool = threads("compile-blocking");
    let control = pool.blocking();
    assert_eq!(&*control.inventory(LIMIT)?.pool, "compile-blocking");
    control.quiesce(LIMIT)?;
    control.resume(LIMIT)?;
    assert_eq!(control.resize(Limits::fixed(2), LIMIT)?.debt, 0);
    assert!(control.terminate(Select::label("none"), Ladder::kill(), LIMIT)?.targets.is_empty());
    control.drain(LIMIT)?;
    assert_eq!(control.shutdown(LIMIT)?.completed, 0);
    Ok(())
}

/// Whatever else is awaited has a form for synchronous callers too, each with a limit where nothing else bounds it.
#[test]
fn what_is_awaited_has_a_blocking_form() -> Outcome {
    let pool = ThreadPool::builder("compile-no-await").limits(Limits::fixed(2)).initializer(|_| Ok(40_u32)).build()?;
    let again = ThreadPool::from_registry_blocking("compile-no-await")?;
    assert_eq!(ThreadPool::from_actor_blocking(again.actor())?.name(), pool.name());
    let mut events = pool.events();
    let mut settled = pool.blocking().resize(Limits::fixed(1), LIMIT)?.settled();
    assert!(settled.wait_timeout(LIMIT.0)?.len() <= 1);
    let resized = loop {
        match events.next_timeout(LIMIT.0)? {
            Some(PoolEvent::Resized { to, .. }) => break to,
            Some(_) => {}
            None => return Err("the pool is there".into()),
        }
    };
    assert_eq!(resized, Limits::fixed(1));
    let label = || JobOptions::new().label("state");
    assert_eq!(pool.with(label()).try_submit_with(|state: &mut u32| *state + 1)?.join()?, 41);
    assert_eq!(pool.with(label()).submit_with_blocking(|state: &mut u32| *state + 2)?.join_timeout(LIMIT.0)?, 42);
    Ok(())
}

/// Never comes to an end with a job.
struct Thorough;

impl Worker for Thorough {
    type Job = u64;
    type Output = u64;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, _job: u64, (): &mut (), _cx: &JobContext) -> u64 {
        std::future::pending().await
    }
}

#[test]
fn a_shutdown_that_returns_jobs_has_a_blocking_form() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let builder = ActorPool::builder("compile-returning", Thorough).limits(Limits::fixed(1));
    let pool = builder.runtime(runtime.handle().clone()).build()?;
    let (held, queued) = (pool.submit_blocking(6)?, pool.submit_blocking(7)?);
    while pool.saturation().active == 0 {
        std::thread::yield_now();
    }
    let (report, jobs) = pool.shutdown_returning_blocking(TimeLimit::millis(200))?;
    assert_eq!((report.killed, report.not_started, jobs), (1, 1, vec![7]));
    assert!(held.join().is_err() && queued.join().is_err());
    Ok(())
}

/// An interceptor is any value; it may be given to several pools.
#[derive(Clone)]
struct Quiet;

impl Interceptor for Quiet {}

#[test]
fn an_interceptor_needs_no_method() -> Outcome {
    let pool = ThreadPool::builder("compile-interceptor")
        .limits(Limits::fixed(1))
        .interceptor(Quiet)
        .interceptor(Quiet)
        .build()?;
    assert_eq!(pool.submit_blocking(|| 1)?.join()?, 1);
    Ok(())
}

/// An interpreter's brake may be looked at from any thread; where its guest's code is, only the worker's own can say.
#[cfg(feature = "guest")]
#[test]
fn a_crossing_never_leaves_its_thread() {
    use millpond::interpreter::{Brake, Crossing};

    /// Has one method for each type, and two for those that are `Send`: then it is not known which is meant.
    trait Stays<A> {
        fn stays() {}
    }
    impl<T> Stays<()> for T {}
    struct Sent;
    impl<T: Send> Stays<Sent> for T {}

    fn is_shared<T: Send + Sync>() {}

    <Crossing as Stays<_>>::stays();
    is_shared::<Brake>();
    assert!(Crossing::here().is_none(), "this is no worker's thread");
}
