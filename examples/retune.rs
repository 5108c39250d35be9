//! Look-ups starve behind reports, and the pool must not be restarted for that: a seat is set aside for them, and reports get a bound, in one
//! step, while both run. What would not do is refused with the numbers, and nothing of it is done.
//!
//! `cargo run --example retune`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use millpond::{
    ControlError, JobHandle, JobOptions, JobStatus, Lane, LaneChange, Limits, PoolExecutor, Retune, ThreadPool,
    TimeLimit, WhenFull,
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// For replies: control is asked with a limit, always. This one suits a machine that is busy with other things.
const LIMIT: TimeLimit = TimeLimit::secs(30);

/// A report that is done when its sender is dropped.
struct Report {
    job: JobHandle<()>,
    done: SyncSender<()>,
}

fn report(pool: &ThreadPool, begins: &SyncSender<()>) -> Outcome<Report> {
    let (done, until): (SyncSender<()>, Receiver<()>) = sync_channel(1);
    let begins = begins.clone();
    let work = move || {
        begins.send(()).expect("there is room for each");
        // It ends with an error, since nothing is sent: that is what it waits for.
        let _ = until.recv();
    };
    let job = pool.with(JobOptions::new().label("report")).try_submit(work)?;
    Ok(Report { job, done })
}

fn finish(report: Report) -> Outcome {
    drop(report.done);
    Ok(report.job.join()?)
}

fn main() -> Outcome {
    let pool = ThreadPool::builder("io").limits(Limits::fixed(2)).lane(Lane::new("dns")).build()?;
    let look_up = || pool.with(JobOptions::new().lane("dns").label("look_up")).try_submit(|| "127.0.0.1");

    // Two reports have both seats, a third one waits, and the look-up behind it.
    let (begins, begun) = sync_channel(4);
    let (first, second) = (report(&pool, &begins)?, report(&pool, &begins)?);
    begun.recv()?;
    begun.recv()?;
    let third = report(&pool, &begins)?;
    let answer = look_up()?;
    assert_eq!(answer.status(), JobStatus::Queued);

    // Both seats for look-ups would leave none for reports: refused, and the bound is not set either.
    let reports = LaneChange::new("default").capacity(1).when_full(WhenFull::Reject);
    let greedy = Retune::new().lane(LaneChange::new("dns").reserve(2)).lane(reports.clone());
    let refused = pool.blocking().retune(greedy, LIMIT).expect_err("reports could never run");
    assert!(matches!(refused, ControlError::Config { .. }));
    println!("refused: {refused}");

    // One will do. It interrupts nobody; it is kept as soon as a report ends.
    let change = Retune::new().lane(LaneChange::new("dns").reserve(1)).lane(reports);
    let done = pool.by("night shift").blocking().retune(change, LIMIT)?;
    println!("done by {}: {}", done.retuned.by, done.retuned);
    assert_eq!((pool.saturation().active, pool.saturation().queued), (2, 2));

    // Those who were let in stay in. Whoever comes now finds the lane full.
    let rejected = report(&pool, &begins).err().ok_or("there is no room for a fourth report")?;
    println!("rejected: {rejected}");

    // The seat that comes free goes to look-ups alone, though a report has waited for longer.
    finish(first)?;
    println!("localhost is {}", answer.join()?);
    assert_eq!(third.job.status(), JobStatus::Queued);
    println!("localhost is {}", look_up()?.join()?);

    finish(second)?;
    finish(third)?;
    pool.blocking().shutdown(LIMIT)?;
    Ok(())
}
