//! What hosts the workers: initializers that fail, runtimes that are not there, and waits that would hang.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    ActorPool, BuildError, CloseReason, JobContext, JobError, JoinError, Lane, Limits, Pool, PoolEvent, PoolExecutor,
    RejectReason, StartContext, StartError, TaskPool, ThreadPool, Worker,
};
use tokio::runtime::Builder;

use crate::{LIMIT, until};

/// A restart decision, never the end of the pool: the job waits for a worker that comes up.
#[test]
fn a_panic_in_an_initializer() {
    let attempts = AtomicUsize::new(0);
    let initializer = move |_: &StartContext| {
        let attempt = attempts.fetch_add(1, Ordering::AcqRel);
        assert!(attempt != 0, "no connection");
        if attempt == 1 { Err(StartError::failed("still no connection")) } else { Ok(attempt) }
    };
    let pool = ThreadPool::builder("bad-initializer")
        .limits(Limits::new(0, 1))
        .initializer(initializer)
        .build()
        .expect("a start that fails is not the end of the pool");
    let mut events = pool.events();
    let handle = pool.submit_with_blocking(|attempt: &mut usize| *attempt).expect("a place");
    assert_eq!(handle.join().expect("the third worker came up"), 2);
    let mut failures = Vec::new();
    while let Some(event) = events.try_next() {
        if let PoolEvent::WorkerGone { exit, .. } = event {
            failures.push(exit.to_string());
        }
    }
    assert!(failures[0].contains("panicked: no connection"), "{failures:?}");
    assert!(failures[1].contains("failed to start"), "{failures:?}");
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_panic_in_an_initializer_is_the_outcome_of_a_job_that_was_handed_over() {
    let pool = ThreadPool::builder("bad-hand-over")
        .limits(Limits::new(0, 1))
        .default_lane(Lane::new("default").capacity(0))
        .initializer(|_: &StartContext| -> Result<(), StartError> { panic!("no connection") })
        .build()
        .expect("it is built");
    let error = pool.submit_blocking(|| 5).expect("a worker is being started").join().expect_err("it did not come up");
    let JoinError::Job(error @ JobError::StartFailed(_)) = &error else { panic!("{error}") };
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push(cause.to_string());
        source = cause.source();
    }
    assert_eq!(chain.len(), 2, "each says what the other does not: {chain:?}");
    assert!(chain[0].contains("its worker did not come up"), "{chain:?}");
    assert!(chain[1].contains("panicked: no connection"), "{chain:?}");
    assert!(pool.snapshot().ledger.balances());
}

struct Echo;

impl Worker for Echo {
    type Job = u64;
    type Output = u64;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, job: u64, _state: &mut (), _cx: &JobContext) -> u64 {
        job
    }
}

#[test]
fn async_workers_without_a_runtime() {
    let error = TaskPool::builder("no-runtime").limits(Limits::fixed(1)).build().expect_err("there is none here");
    assert!(matches!(&error, BuildError::NoRuntime(pool) if &**pool == "no-runtime"), "{error}");
    assert!(error.to_string().contains("build the pool inside one, or give the builder a handle"), "{error}");
    assert!(matches!(ActorPool::builder("no-runtime", Echo).build(), Err(BuildError::NoRuntime(_))));
    assert!(matches!(TaskPool::builder("no-runtime").into_supervisor(), Err(BuildError::NoRuntime(_))));
}

/// Terminal for its async workers, not a restart; and no handle is left waiting.
#[test]
fn a_runtime_that_is_gone() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let pool = ActorPool::builder("runtime-gone", Echo)
        .limits(Limits::fixed(1))
        .runtime(runtime.handle().clone())
        .build()
        .expect("it is built");
    assert_eq!(pool.submit_blocking(3).expect("a place").join().expect("it runs"), 3);
    pool.blocking().quiesce(LIMIT).expect("it answers");
    let queued = pool.submit_blocking(4).expect("a place");
    drop(runtime);
    let error = queued.join().expect_err("nobody will run it");
    assert!(
        matches!(&error, JoinError::Job(JobError::NotStarted(why)) if why.reason == CloseReason::RuntimeGone),
        "{error}"
    );
    assert!(error.to_string().contains("runtime of its workers is gone"), "{error}");
    let refused = pool.try_submit(5).expect_err("closed");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::RuntimeGone, .. }), "{refused}");
    assert_eq!(refused.into_job(), 5);
    until(|| pool.blocking().inventory(LIMIT).is_err());
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_runtime_that_was_gone_before_the_pool_was_built() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let handle = runtime.handle().clone();
    drop(runtime);
    let pool = match TaskPool::builder("runtime-gone-before").limits(Limits::fixed(1)).runtime(handle).build() {
        Ok(pool) => pool,
        Err(error) => panic!("a pool that is closed at once, not an error: {error}"),
    };
    until(|| pool.try_submit(async {}).is_err());
    let refused = pool.try_submit(async {}).expect_err("closed");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::RuntimeGone, .. }), "{refused}");
}

#[tokio::test(flavor = "current_thread")]
async fn join_where_it_would_hang() {
    let tasks = TaskPool::builder("join-hangs").limits(Limits::fixed(1)).build().expect("it is built");
    let handle = tasks.submit(async { 5 }).await.expect("a place");
    let error = handle.join().expect_err("its worker is on this very thread");
    assert!(matches!(error, JoinError::WouldBlock) && error.to_string().contains("`await` the handle"), "{error}");
    assert_eq!(tasks.submit(async { 6 }).await.expect("a place").await.expect("it runs"), 6);
    until_completed(&tasks, 2).await;
    // Whoever may not wait has not cancelled.
    let handle = tasks.submit(async { 7 }).await.expect("a place").cancel_on_drop();
    assert!(matches!(handle.join(), Err(JoinError::WouldBlock)));
    until_completed(&tasks, 3).await;
    let mut handle = tasks.submit(async { 8 }).await.expect("a place");
    assert!(matches!(handle.join_timeout(LIMIT.0), Err(JoinError::WouldBlock)));
    assert_eq!(handle.await.expect("it runs"), 8);
}

async fn until_completed<B: millpond::Backend>(pool: &Pool<B>, jobs: u64) {
    while pool.snapshot().ledger.completed < jobs {
        tokio::task::yield_now().await;
    }
}

/// A multi-thread runtime of one worker is the same trap.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn join_where_it_would_hang_on_a_multi_thread_runtime_of_one() {
    let tasks = TaskPool::builder("join-hangs-of-one").limits(Limits::fixed(1)).build().expect("it is built");
    let pool = tasks.clone();
    #[expect(clippy::disallowed_methods, reason = "a task on the one worker is what this is about")]
    let task = tokio::spawn(async move { pool.submit(async { 5 }).await.expect("a place").join() });
    let error = task.await.expect("it ends").expect_err("its worker needs this very thread");
    assert!(matches!(error, JoinError::WouldBlock), "{error}");
}
