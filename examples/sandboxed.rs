//! Limits for each worker: a job that eats memory, and one that eats processor time, die alone, and their errors say of what.
//!
//! ```text
//! cargo run --release --features process --example sandboxed
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{DeathCause, JobError, JoinError, Limits, ProcessPool};

/// As a parser might that believes what a header says.
fn read_all(bytes: u64) -> usize {
    let page = vec![1_u8; usize::try_from(bytes).unwrap_or(usize::MAX)];
    page.iter().filter(|byte| **byte == 1).count()
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    millpond::process::init();

    let child = ChildOptions::new()
        .memory(512 << 20)
        .cpu_time(Duration::from_secs(1))
        .open_files(64)
        .nice(5)
        .umask(0o077)
        .env_clear()
        .current_dir("/");
    let pool = ProcessPool::builder("sandbox").limits(Limits::fixed(2)).child(child).build()?;

    let modest = pool.submit_blocking(read_all, 1 << 20)?;
    let greedy = pool.submit_blocking(read_all, 4 << 30)?;
    let busy = pool.submit_blocking(
        |()| -> u32 {
            loop {
                std::hint::spin_loop()
            }
        },
        (),
    )?;

    for (handle, expected) in
        [(greedy.join().map(drop), DeathCause::OutOfMemory), (busy.join().map(drop), DeathCause::OutOfCpuTime)]
    {
        let Err(JoinError::Job(error)) = handle else { panic!("it was to die") };
        println!("{error}");
        let JobError::Lost(lost) = error else { panic!("its worker was to die under it") };
        assert_eq!(lost.death.as_ref().map(|death| &death.cause), Some(&expected));
    }
    assert_eq!(modest.join()?, 1 << 20);

    let (directory, variables) = pool
        .submit_blocking(
            |()| (std::env::current_dir().ok(), std::env::vars().map(|(name, _)| name).collect::<Vec<_>>()),
            (),
        )?
        .join()?;
    println!("a child begins in {directory:?} and sees {variables:?}");
    assert!(!variables.iter().any(|name| name == "HOME"));
    Ok(())
}
