//! What an operator does: look, watch, resize, pause, and take the one worker that is in the way.
//!
//! `cargo run --example resize_and_kill`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use millpond::{
    Fate, JobError, JobHandle, JobOptions, JobStatus, Ladder, Limits, PoolEvent, PoolExecutor, Rung, Select, TaskPool,
    ThreadPool, TimeLimit,
};
use tokio::sync::watch;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// For replies: control is asked with a limit, always. This one suits a machine that is busy with other things.
const LIMIT: TimeLimit = TimeLimit::secs(30);

#[tokio::main]
async fn main() -> Outcome {
    let pool = TaskPool::builder("operated").limits(Limits::fixed(4)).build()?;
    let mut events = pool.events();

    resize(&pool).await?;
    pause(&pool).await?;
    kill(&pool).await?;
    pool.shutdown(LIMIT).await?;

    // Everything that was done is in the stream; a reader that is too slow would be told how much it missed.
    let mut resizes = 0;
    while let Some(event) = events.next().await {
        resizes += u32::from(matches!(event, PoolEvent::Resized { .. }));
    }
    assert_eq!(resizes, 2);

    thread().await
}

/// Submits a job under a label, and waits until a worker has it.
async fn running<F>(pool: &TaskPool, label: &str, job: F) -> Result<JobHandle<F::Output>, Box<dyn Error + Send + Sync>>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let handle = pool.with(JobOptions::new().label(label)).submit(job).await?;
    while handle.status() == JobStatus::Queued {
        tokio::task::yield_now().await;
    }
    Ok(handle)
}

/// A job that ends once the door is open.
async fn behind(mut door: watch::Receiver<bool>) {
    door.wait_for(|open| *open).await.expect("whoever can open it does");
}

/// A shrink stops nobody: it is a debt, paid by whoever ends a job. Growth is there at once.
async fn resize(pool: &TaskPool) -> Outcome {
    let (open, door) = watch::channel(false);
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(running(pool, "batch", behind(door.clone())).await?);
    }
    println!("{}", pool.inventory_now());
    let shrunk = pool.resize(Limits::fixed(1), LIMIT).await?;
    assert_eq!(shrunk.debt, 3);
    assert_eq!(pool.saturation().active, 4);
    open.send(true)?;
    let left = shrunk.settled().await;
    println!("left to pay the debt: {left:?}");
    assert_eq!(left.len(), 3);
    for job in jobs {
        job.await?;
    }
    assert_eq!(pool.saturation().workers, 1);
    pool.resize(Limits::fixed(4), LIMIT).await?;
    Ok(())
}

/// Quiesced, a pool admits and does not dispatch.
async fn pause(pool: &TaskPool) -> Outcome {
    pool.quiesce(LIMIT).await?;
    let handle = pool.submit(async { "ran" }).await?;
    // No worker will take it, however long one waits.
    assert_eq!((pool.saturation().queued, handle.status()), (1, JobStatus::Queued));
    pool.resume(LIMIT).await?;
    assert_eq!(handle.await?, "ran");
    Ok(())
}

/// By label, and by age. Nobody else in the pool is touched.
async fn kill(pool: &TaskPool) -> Outcome {
    let (open, door) = watch::channel(false);
    let old = running(pool, "old", pending::<()>()).await?;
    let fine = running(pool, "fine", behind(door)).await?;
    let stuck = running(pool, "stuck", pending::<()>()).await?;

    // The ladder asks first; this job does not listen, so its worker is told to leave, and at last it is taken.
    let ladder = Ladder::graceful(Duration::from_millis(20));
    let report = pool.terminate(Select::label("stuck"), ladder, LIMIT).await?;
    assert_eq!((report.targets[0].fate, report.targets[0].rung), (Fate::Killed, Some(Rung::Kill)));
    assert!(matches!(stuck.await, Err(JobError::Killed(_))));

    // Whatever began before `fine` did. A selector and an inventory make targets, and these jobs alone can be hit.
    let inventory = pool.inventory(LIMIT).await?;
    let mut jobs = inventory.workers.iter().filter_map(|row| row.job.as_ref());
    let age = jobs.find(|job| job.id == fine.id()).expect("it runs").running_for;
    let aged = Select::Targets(Select::active_longer_than(age).resolve(&inventory));
    let report = pool.terminate(aged, Ladder::kill(), LIMIT).await?;
    println!("{:?}", report.targets);
    assert_eq!(report.targets.len(), 1);
    println!("{}", old.await.expect_err("its worker was killed"));

    open.send(true)?;
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
    let report = pool.terminate(Select::label("stuck"), Ladder::kill(), LIMIT).await?;
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    println!("{}", stuck.await.expect_err("its worker is abandoned"));
    assert_eq!(pool.saturation().abandoned, 1);
    assert_eq!(pool.submit(|| "from its successor").await?.await?, "from its successor");
    drop(word);
    Ok(())
}
