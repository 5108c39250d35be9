//! What an operator does: look, watch, resize, pause, and take the one worker that is in the way.
//!
//! `cargo run --example resize_and_kill`
#![allow(clippy::print_stdout, reason = "a program's output")]
#![allow(clippy::disallowed_methods, reason = "its jobs take their time by sleeping")]

use std::error::Error;
use std::time::Duration;

use millpond::{
    Fate, JobError, JobHandle, JobOptions, JobStatus, Ladder, Limits, PoolEvent, PoolExecutor, Rung, Select, TaskPool,
    ThreadPool, TimeLimit,
};
use tokio::time::sleep;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let pool = TaskPool::builder("operated").limits(Limits::fixed(4)).build()?;
    let mut events = pool.events();

    resize(&pool).await?;
    pause(&pool).await?;
    kill(&pool).await?;
    pool.shutdown(TimeLimit::secs(5)).await?;

    // Everything that was done is in the stream; a reader that is too slow would be told how much it missed.
    let mut resizes = 0;
    while let Some(event) = events.next().await {
        resizes += u32::from(matches!(event, PoolEvent::Resized { .. }));
    }
    assert_eq!(resizes, 2);

    thread().await
}

/// Submits a job under a label, and waits until a worker has it.
async fn running(pool: &TaskPool, label: &str, span: Duration) -> Result<JobHandle<()>, Box<dyn Error + Send + Sync>> {
    let handle = pool.with(JobOptions::new().label(label)).submit(sleep(span)).await?;
    while handle.status() == JobStatus::Queued {
        tokio::task::yield_now().await;
    }
    Ok(handle)
}

/// A shrink stops nobody: it is a debt, paid by whoever ends a job. Growth is there at once.
async fn resize(pool: &TaskPool) -> Outcome {
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(running(pool, "batch", Duration::from_millis(400)).await?);
    }
    println!("{}", pool.inventory_now());
    let shrunk = pool.resize(Limits::fixed(1), TimeLimit::default()).await?;
    assert_eq!(shrunk.debt, 3);
    let left = shrunk.settled().await;
    println!("left to pay the debt: {left:?}");
    assert_eq!(left.len(), 3);
    for job in jobs {
        job.await?;
    }
    assert_eq!(pool.saturation().workers, 1);
    pool.resize(Limits::fixed(4), TimeLimit::default()).await?;
    Ok(())
}

/// Quiesced, a pool admits and does not dispatch.
async fn pause(pool: &TaskPool) -> Outcome {
    pool.quiesce(TimeLimit::default()).await?;
    let handle = pool.submit(async { "ran" }).await?;
    sleep(Duration::from_millis(50)).await;
    assert_eq!((pool.saturation().queued, handle.status()), (1, JobStatus::Queued));
    pool.resume(TimeLimit::default()).await?;
    assert_eq!(handle.await?, "ran");
    Ok(())
}

/// By label, and by age. The rest of the pool does not notice.
async fn kill(pool: &TaskPool) -> Outcome {
    let old = running(pool, "old", Duration::from_secs(60)).await?;
    sleep(Duration::from_millis(500)).await;
    let stuck = running(pool, "stuck", Duration::from_secs(60)).await?;
    let fine = running(pool, "fine", Duration::from_millis(300)).await?;

    // The ladder asks first; this job does not listen, so its worker is told to leave, and at last it is taken.
    let ladder = Ladder::graceful(Duration::from_millis(20));
    let report = pool.terminate(Select::label("stuck"), ladder, TimeLimit::default()).await?;
    assert_eq!((report.targets[0].fate, report.targets[0].rung), (Fate::Killed, Some(Rung::Kill)));
    assert!(matches!(stuck.await, Err(JobError::Killed(_))));

    let aged = Select::active_longer_than(Duration::from_millis(450));
    let report = pool.terminate(aged.clone(), Ladder::kill(), TimeLimit::default()).await?;
    println!("{:?}", report.targets);
    assert_eq!(report.targets.len(), 1);
    println!("{}", old.await.expect_err("its worker was killed"));

    fine.await?;
    Ok(())
}

/// A thread cannot be killed. It is abandoned, replaced, and counted for as long as its code runs.
async fn thread() -> Outcome {
    let pool = ThreadPool::builder("threads").limits(Limits::fixed(1)).build()?;
    let (word, never) = std::sync::mpsc::channel::<()>();
    let stuck = pool.with(JobOptions::new().label("stuck")).submit(move || never.recv()).await?;
    while stuck.status() == JobStatus::Queued {
        tokio::task::yield_now().await;
    }
    let report = pool.terminate(Select::label("stuck"), Ladder::kill(), TimeLimit::default()).await?;
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    println!("{}", stuck.await.expect_err("its worker is abandoned"));
    assert_eq!(pool.saturation().abandoned, 1);
    assert_eq!(pool.submit(|| "from its successor").await?.await?, "from its successor");
    drop(word);
    Ok(())
}
