//! A synchronous program with a pool of threads that it can see into. No runtime anywhere.
//!
//! `cargo run --example quickstart`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use millpond::{JobError, JobOptions, JoinError, Limits, PoolExecutor, ThreadPool, TimeLimit};

/// Where the slow jobs wait until they have been looked at.
static DOOR: OnceLock<()> = OnceLock::new();

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = ThreadPool::builder("quickstart").limits(Limits::new(1, 4)).build()?;

    // A job is a closure; its handle gives the result, or says why there is none.
    let sum = pool.submit_blocking(|| (1..=100u64).sum::<u64>())?.join()?;
    assert_eq!(sum, 5050);

    // Six slow jobs for at most four workers, with a label by which an operator finds them.
    let (begin, begun) = sync_channel(6);
    let mut handles = Vec::new();
    for n in 0..6u64 {
        let begin = begin.clone();
        let job = move || {
            begin.send(n).expect("six have room");
            DOOR.wait();
            n * n
        };
        handles.push(pool.with(JobOptions::new().label("square")).submit_blocking(job)?);
    }
    for _ in 0..4 {
        begun.recv()?;
    }

    // How full is it? Who does what, since when, from which line?
    let saturation = pool.saturation();
    assert_eq!((saturation.active, saturation.queued), (4, 2));
    println!("{}", pool.inventory_now());

    DOOR.set(()).expect("it is opened once");
    let mut squares = Vec::new();
    for handle in handles {
        squares.push(handle.join()?);
    }
    assert_eq!(squares, [0, 1, 4, 9, 16, 25]);

    // A panic is the job's own affair, and its error says where it happened.
    let failed = pool.submit_blocking(|| panic!("a bug"))?.join().map(|(): ()| "it returned");
    println!("as it should: {}", failed.as_ref().expect_err("it panicked"));
    assert!(matches!(failed, Err(JoinError::Job(JobError::Panicked(_)))));

    let report = pool.blocking().shutdown(TimeLimit::secs(30))?;
    println!("shut down in {:?}", report.took);
    Ok(())
}
