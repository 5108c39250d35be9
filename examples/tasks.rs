//! Futures on a bounded pool: what `tokio::spawn` has no word for. How many run, how many wait, and what becomes of each.
//!
//! `cargo run --example tasks`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use millpond::{
    JobContext, JobError, JobOptions, JobStatus, Lane, Limits, PoolExecutor, RejectReason, TaskPool, TimeLimit,
};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // At most two run, at most three wait; whoever comes then gets its future back.
    let queue = Lane::new("default").capacity(3).reject_when_full();
    let pool = TaskPool::builder("tasks").limits(Limits::fixed(2)).default_lane(queue).build()?;

    // A job is a future; the first `await` is the gate, the second the outcome.
    let answer = pool.submit(async { 6 * 7 }).await?.await?;
    assert_eq!(answer, 42);

    full(&pool).await?;
    time_limits(&pool).await?;
    cancellation(&pool).await?;

    let report = pool.shutdown(TimeLimit::secs(30)).await?;
    assert_eq!(report.abandoned, 0);
    println!("in all: {}", pool.snapshot().ledger);
    Ok(())
}

/// Two run and three wait: the sixth comes back, and the error says who holds the workers.
async fn full(pool: &TaskPool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (open, door) = watch::channel(false);
    let mut admitted = Vec::new();
    for n in 0..5u32 {
        let mut door = door.clone();
        let job = async move { door.wait_for(|open| *open).await.map(|_| n) };
        admitted.push(pool.with(JobOptions::new().label("slow_task")).submit(job).await?);
    }
    // None of them ends before the door opens, so sooner or later two have begun.
    while pool.saturation().active < 2 {
        tokio::task::yield_now().await;
    }
    let refused = pool.try_submit(async { "the sixth" }).expect_err("there are five places");
    println!("refused: {refused}");
    assert!(matches!(refused.reason(), RejectReason::Full { .. }));

    // Nothing is lost: the job is in the error. Here the submitter runs it itself.
    assert_eq!(refused.into_job().await, "the sixth");

    open.send(true)?;
    let mut sum = 0;
    for handle in admitted {
        sum += handle.await??;
    }
    assert_eq!(sum, 10);
    Ok(())
}

/// Each limit is its own, and each is named in its error.
async fn time_limits(pool: &TaskPool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let overrun = pool.with(JobOptions::new().run_limit(Duration::from_millis(50)));
    let error = overrun.submit(pending::<()>()).await?.await.expect_err("it would never end");
    println!("overrun: {error}");
    assert!(matches!(error, JobError::TimedOut(_)));

    let (open, door) = watch::channel(false);
    let behind = |mut door: watch::Receiver<bool>| async move { door.wait_for(|open| *open).await.is_ok() };
    let busy = [pool.submit(behind(door.clone())).await?, pool.submit(behind(door)).await?];
    let hurried = pool.with(JobOptions::new().label("hurried").queue_limit(Duration::from_millis(50)));
    let error = hurried.submit(async {}).await?.await.expect_err("both workers are taken");
    println!("queued for too long: {error}");
    assert!(matches!(error, JobError::TimedOut(_)));
    open.send(true)?;
    for handle in busy {
        assert!(handle.await?);
    }
    Ok(())
}

/// A job in the queue is taken out; one that runs is asked.
async fn cancellation(pool: &TaskPool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let polite = || async {
        let context = JobContext::current().expect("a job is running");
        context.cancellation().cancelled().await;
        "tidied up"
    };
    let running = [pool.submit(polite()).await?, pool.submit(polite()).await?];
    let queued = pool.submit(async {}).await?;
    while running.iter().any(|handle| handle.status() == JobStatus::Queued) {
        tokio::task::yield_now().await;
    }

    queued.cancel();
    assert!(matches!(queued.await, Err(JobError::Cancelled(_))));
    for handle in running {
        handle.cancel();
        assert_eq!(handle.await?, "tidied up");
    }
    Ok(())
}
