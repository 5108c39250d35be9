//! A computation across cores in child processes of this very program. One of them is killed half-way, and nothing else notices.
//!
//! ```text
//! cargo run --release --features process --example processes
//! ```

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example")]

use std::time::Duration;

use millpond::{
    JobError, JobOptions, JobStatus, JoinError, Ladder, Limits, PoolExecutor, ProcessPool, Select, TimeLimit,
};

/// How many primes there are from one number up to another. A plain function: its arguments and its result travel as bytes.
fn primes((from, to): (u32, u32)) -> u32 {
    let is_prime = |n: u32| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (from..to).filter(|n| is_prime(*n)).map(|_| 1).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // In a child, this runs its jobs and does not return.
    millpond::process::init();

    let pool = ProcessPool::builder("primes").limits(Limits::fixed(2)).build()?;
    let stuck = pool.with(JobOptions::new().label("stuck")).submit_call_blocking(
        |()| -> u32 {
            loop {
                std::hint::spin_loop()
            }
        },
        (),
    )?;
    // It begins at once: a worker is up, or comes up for it.
    while stuck.status() != JobStatus::Running {
        std::thread::sleep(Duration::from_millis(1));
    }
    let parts: Vec<_> =
        (0..20).map(|n| pool.submit_blocking(primes, (n * 10_000, (n + 1) * 10_000))).collect::<Result<_, _>>()?;
    println!("{}", pool.inventory_now());

    // No thread could be made to stop in the middle of such a loop. A process can.
    let report = pool.blocking().terminate(Select::label("stuck"), Ladder::kill(), TimeLimit::default())?;
    println!("{report:?}");
    match stuck.join() {
        Err(JoinError::Job(error @ JobError::Killed(_))) => println!("{error}"),
        other => panic!("it was to be killed: {other:?}"),
    }

    let mut sum = 0;
    for part in parts {
        sum += part.join()?;
    }
    println!("there are {sum} primes below 200,000");
    assert_eq!(sum, 17_984);
    assert!(pool.snapshot().ledger.balances());
    Ok(())
}
