//! Works in a synchronous program, on a current-thread runtime, and on a multi-thread one.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use millpond::{
    ActorPool, BuildError, JobContext, JoinError, Ladder, Lane, Limits, PoolExecutor, RejectReason, Select,
    StartContext, StartError, TaskPool, ThreadPool, TimeLimit, Worker,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const LIMIT: TimeLimit = TimeLimit::secs(30);

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

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn threads(name: &str) -> ThreadPool {
    ThreadPool::builder(name).limits(Limits::fixed(2)).build().expect("it is built")
}

/// The whole life of a pool of threads, from a program without a runtime.
#[test]
fn a_synchronous_program_needs_no_runtime_for_threads() -> Outcome {
    let pool = threads("sync-threads");
    let handles: Vec<_> = (0..20_u64).map(|n| pool.submit_blocking(move || n)).collect::<Result<_, _>>()?;
    let sum: u64 = handles.into_iter().map(|handle| handle.join()).sum::<Result<_, _>>()?;
    assert_eq!(sum, 190);
    assert_eq!(pool.blocking().inventory(LIMIT)?.workers.len(), 2);
    pool.blocking().resize(Limits::fixed(1), LIMIT)?;
    pool.blocking().terminate(Select::all(), Ladder::kill(), LIMIT)?;
    assert_eq!(pool.submit_blocking(|| 6)?.join()?, 6);
    assert_eq!(pool.blocking().shutdown(LIMIT)?.not_started, 0);
    Ok(())
}

/// A synchronous program that has a runtime for its async workers submits, joins and controls from plain threads.
#[test]
fn a_synchronous_program_uses_async_workers_of_a_runtime_that_it_keeps() -> Outcome {
    let runtime = multi_thread();
    let tasks = TaskPool::builder("sync-tasks").limits(Limits::fixed(2)).runtime(runtime.handle().clone()).build()?;
    assert_eq!(tasks.submit_blocking(async { tokio::task::yield_now().await })?.join()?, ());
    let actors =
        ActorPool::builder("sync-actors", Adder).limits(Limits::fixed(1)).runtime(runtime.handle().clone()).build()?;
    assert_eq!((actors.submit_blocking(2)?.join()?, actors.submit_blocking(3)?.join()?), (2, 5));
    assert_eq!(actors.blocking().inventory(LIMIT)?.workers.len(), 1);
    tasks.blocking().shutdown(LIMIT)?;
    actors.blocking().shutdown(LIMIT)?;
    Ok(())
}

#[test]
fn async_workers_without_a_runtime_are_refused_by_name() {
    let error = TaskPool::builder("sync-no-runtime").build().expect_err("there is no runtime here");
    assert!(matches!(&error, BuildError::NoRuntime(pool) if &**pool == "sync-no-runtime"), "{error}");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
    let error = ActorPool::builder("sync-no-runtime", Adder).build().expect_err("there is no runtime here");
    assert!(matches!(error, BuildError::NoRuntime(_)), "{error}");
}

/// All three kinds on the runtime that `build` is called on.
async fn all_kinds(tag: &str) -> Outcome {
    let threads = threads(&format!("{tag}-threads"));
    let tasks = TaskPool::builder(format!("{tag}-tasks")).limits(Limits::fixed(2)).build()?;
    let actors = ActorPool::builder(format!("{tag}-actors"), Adder).limits(Limits::fixed(1)).build()?;
    for n in 0..50_u64 {
        let (a, b) = (threads.submit(move || n).await?, tasks.submit(async move { n }).await?);
        assert_eq!((a.await?, b.await?, actors.submit(1).await?.await?), (n, n, n + 1));
    }
    for pool in [&threads as &dyn PoolExecutor, &tasks, &actors] {
        assert_eq!(pool.inventory(LIMIT).await?.saturation.active, 0);
        pool.quiesce(LIMIT).await?;
        pool.resume(LIMIT).await?;
        pool.resize(Limits::fixed(3), LIMIT).await?;
        let ledger = pool.snapshot().ledger;
        assert_eq!((ledger.completed, ledger.pending), (50, 0));
        pool.shutdown(LIMIT).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "current_thread")]
async fn all_kinds_work_on_a_current_thread_runtime() -> Outcome {
    all_kinds("current").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_work_on_a_multi_thread_runtime() -> Outcome {
    all_kinds("multi").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_kinds_work_on_a_multi_thread_runtime_of_one() -> Outcome {
    all_kinds("multi-one").await
}

/// Waiting at the gate on the only thread of a runtime: async, other tasks go on; synchronous, the job comes back.
#[tokio::test(flavor = "current_thread")]
async fn on_a_current_thread_runtime_one_waits_by_await_alone() -> Outcome {
    let lane = Lane::new("default").capacity(0);
    let pool = ThreadPool::builder("current-gate").limits(Limits::fixed(1)).default_lane(lane).build()?;
    let (release, held) = sync_channel::<()>(1);
    let first = pool.try_submit(move || held.recv().is_ok())?;
    let refused = pool.submit_blocking(|| 5).expect_err("to wait here would block the runtime");
    assert!(matches!(refused.reason(), RejectReason::WouldBlock { .. }), "{refused}");
    assert_eq!(refused.into_job()(), 5);
    let first = match first.join() {
        Err(error @ JoinError::WouldBlock) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(first.contains("await"), "{first}");
    let waits = pool.submit(|| 6);
    let (handle, ()) = tokio::join!(waits, async {
        tokio::task::yield_now().await;
        release.send(()).expect("the job listens");
    });
    assert_eq!(handle?.await?, 6);
    Ok(())
}

/// With a free place there is nothing to wait for, and with an outcome there is nothing to join.
#[tokio::test(flavor = "current_thread")]
async fn on_a_current_thread_runtime_what_needs_no_wait_is_done() -> Outcome {
    let pool = threads("current-no-wait");
    let mut handle = pool.submit_blocking(|| 5)?;
    while handle.status() != millpond::JobStatus::Done {
        tokio::task::yield_now().await;
    }
    assert_eq!((&mut handle).await?, 5);
    let done = pool.submit_blocking(|| 7)?;
    while done.status() != millpond::JobStatus::Done {
        tokio::task::yield_now().await;
    }
    assert_eq!(done.join()?, 7);
    Ok(())
}

/// On a multi-thread runtime a thread may wait: another one runs the job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_multi_thread_runtime_join_and_blocking_submission_work_in_place() -> Outcome {
    let threads = threads("multi-join");
    assert_eq!(threads.submit_blocking(|| 5)?.join()?, 5);
    let tasks = TaskPool::builder("multi-join-tasks").limits(Limits::fixed(1)).build()?;
    assert_eq!(tasks.submit_blocking(async { 6 })?.join()?, 6);
    Ok(())
}

/// A pool built on one runtime is used from another, from a plain thread, and from no runtime at all.
#[test]
fn a_pool_is_used_from_wherever_its_handle_goes() -> Outcome {
    let (home, elsewhere) = (multi_thread(), current_thread());
    let pool = home.block_on(async { TaskPool::builder("travels").limits(Limits::fixed(1)).build() })?;
    assert_eq!(elsewhere.block_on(async { pool.submit(async { 1 }).await.expect("a place").await })?, 1);
    let clone = pool.clone();
    std::thread::scope(|scope| {
        let plain = scope.spawn(move || clone.submit_blocking(async { 2 }).expect("a place").join());
        plain.join().expect("the thread ends").map(|value| assert_eq!(value, 2))
    })?;
    assert_eq!(elsewhere.block_on(pool.inventory(LIMIT))?.workers.len(), 1);
    pool.blocking().shutdown(LIMIT)?;
    Ok(())
}

/// `DESIGN.md`, section 3: neither control nor a limit needs the caller's runtime.
#[test]
fn control_answers_while_the_callers_runtime_is_blocked() -> Outcome {
    let runtime = current_thread();
    let (entered, in_job) = sync_channel::<()>(1);
    let (release, held) = sync_channel::<()>(1);
    let pool =
        TaskPool::builder("blocked-runtime").limits(Limits::fixed(1)).runtime(runtime.handle().clone()).build()?;
    let handle = pool.try_submit(async move {
        entered.send(()).expect("the test listens");
        held.recv().is_ok()
    })?;
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| runtime.block_on(handle));
        in_job.recv().expect("the job blocks its runtime");
        let seen = pool.blocking().inventory(LIMIT).expect("control is not on that runtime");
        assert_eq!(seen.saturation.active, 1);
        let limited = millpond::JobOptions::new().queue_limit(std::time::Duration::from_millis(5));
        let stuck = pool.with(limited).try_submit(async { false }).expect("a place in the queue");
        assert!(stuck.join().is_err(), "its queue limit passes, whatever its runtime does");
        release.send(()).expect("the job listens");
        assert!(driver.join().expect("the runtime goes on").expect("the job ends"));
    });
    Ok(())
}

/// tokio polls a woken task right after the one that woke it. A worker that always looked at once would find the job of that one caller, and be
/// woken again by the next.
#[test]
fn a_worker_that_many_tasks_of_one_thread_submit_to_finds_the_jobs_of_all() -> Outcome {
    const CALLERS: u64 = 16;
    const JOBS: usize = 200;
    let runtime = Builder::new_multi_thread().worker_threads(1).build()?;
    let limits = Limits::fixed(1);
    let pool = Arc::new(TaskPool::builder("company").limits(limits).runtime(runtime.handle().clone()).build()?);
    // Who did something: a job, or a caller that has its outcome.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (pool, seen) = (pool.clone(), seen.clone());
            runtime.spawn(async move {
                for _ in 0..JOBS {
                    let noted = seen.clone();
                    let job = pool.submit(async move { noted.lock().push("job") }).await.expect("a place");
                    job.await.expect("it runs");
                    seen.lock().push("caller");
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for caller in callers {
            caller.await.expect("it does not panic");
        }
    });
    let seen = seen.lock();
    let settled = &seen[seen.len() / 2..];
    let rounds = settled.windows(2).filter(|pair| pair == &["job", "caller"]).count();
    let jobs = settled.iter().filter(|it| **it == "job").count();
    assert!(rounds * 3 < jobs * 2, "{jobs} jobs took {rounds} rounds, for {CALLERS} callers");
    Ok(())
}
