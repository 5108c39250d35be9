//! A watchdog that goes by progress: a long job that beats is left alone, a silent one is warned about, asked, and its worker is taken.
//! And workers that are replaced after so many jobs, although nothing is wrong with them.
//!
//! `cargo run --example watchdog`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

use millpond::{
    Exit, JobContext, JobOptions, Ladder, Lane, Limits, PoolEvent, PoolExecutor, Recycle, RecycleReason, Rung,
    ThreadPool, Watchdog,
};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    progress_counts()?;
    recycled()
}

fn progress_counts() -> Outcome {
    // Silent for two seconds, a job is overdue. Half a second after the warning it is asked to stop, after as long its worker is taken.
    let (overdue, grace) = (Duration::from_secs(2), Duration::from_millis(500));
    let pool = ThreadPool::builder("import")
        .limits(Limits::fixed(2))
        .default_lane(Lane::new("default").overdue_after(overdue))
        .watchdog(Watchdog::new(grace, Ladder::new().then(Rung::Cancel, grace).then(Rung::Kill, grace)))
        .build()?;
    let mut events = pool.events();

    // It takes as long as it takes, and says that it gets on.
    let (finish, finished) = channel::<()>();
    let long = pool.with(JobOptions::new().label("long")).submit_blocking(move || {
        let me = JobContext::current().expect("inside a job");
        let mut rows = 0u64;
        while finished.recv_timeout(Duration::from_millis(10)).is_err() {
            rows += 1;
            me.beat();
        }
        rows
    })?;
    // It waits for an answer that does not come.
    let (answer, never) = channel::<()>();
    let stuck = pool.with(JobOptions::new().label("stuck")).submit_blocking(move || never.recv().is_ok())?;

    // What happens to it, as it happens.
    let mut rungs = Vec::new();
    while rungs.last() != Some(&Rung::Kill) {
        match events.next_blocking().expect("the pool lives") {
            // Should this machine hold the other one up for so long, that one is let off.
            PoolEvent::Overdue { job, silent_for, .. } if job == stuck.id() => {
                println!("job {job} is overdue: silent for {silent_for:?}\n{}", pool.inventory_now());
            }
            PoolEvent::OverdueRung { job, rung, silent_for, .. } if job == stuck.id() => {
                println!("job {job}: {rung}, silent for {silent_for:?}");
                rungs.push(rung);
            }
            _ => {}
        }
    }
    assert_eq!(rungs, [Rung::Cancel, Rung::Kill]);
    let error = stuck.join().expect_err("its worker was taken from it");
    println!("{error}");
    assert!(error.to_string().contains("stuck: no progress for"));

    // The other one ran for longer than it may be silent, and was not touched.
    finish.send(())?;
    println!("{} rows", long.join()?);
    answer.send(())?;
    Ok(())
}

/// Whatever leaks in a worker's state is gone with it. With room for another, that one is up before the old one goes.
fn recycled() -> Outcome {
    let recycle = Recycle::new().after_jobs(100).after_age(Duration::from_secs(3600));
    let pool = ThreadPool::builder("leaky").limits(Limits::new(1, 2)).recycle(recycle).build()?;
    let mut events = pool.events();
    let mut jobs = 0;
    let exit = loop {
        pool.submit_blocking(|| ())?.join()?;
        jobs += 1;
        match events.try_next() {
            // It works on until the one that is to take its place is up.
            Some(PoolEvent::RecycleDue { worker, reason }) => println!("worker {worker} is due {reason}"),
            Some(PoolEvent::WorkerGone { worker, exit }) => {
                println!("worker {worker} is gone: {exit}; {jobs} jobs so far, and none was lost");
                break exit;
            }
            _ => {}
        }
    };
    assert!(matches!(exit, Exit::Recycled(RecycleReason::Jobs(100..))));
    Ok(())
}
