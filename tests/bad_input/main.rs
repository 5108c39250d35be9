//! Bad input gets a clear typed error, and nothing is lost: for each item the variant, the text, and that the pool goes on.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

mod config;
mod hooks;
mod hosts;
mod jobs;

use std::time::{Duration, Instant};

use millpond::{Limits, PoolBuilder, PoolExecutor, ThreadPool, Threads, TimeLimit};

const LIMIT: TimeLimit = TimeLimit::secs(30);

fn builder(name: &str) -> PoolBuilder<Threads> {
    ThreadPool::builder(name).limits(Limits::fixed(1))
}

fn pool(name: &str) -> ThreadPool {
    builder(name).build().expect("it is built")
}

/// Nothing is lost: the pool still takes and runs jobs, and the ledger balances.
fn goes_on(pool: &ThreadPool) {
    assert_eq!(pool.submit_blocking(|| 7).expect("it takes jobs").join().expect("it runs them"), 7);
    assert!(pool.snapshot().ledger.balances());
}

/// Looks again and again until `so`.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "waits for a condition")]
fn until(mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited for ever");
        std::thread::sleep(Duration::from_micros(500));
    }
}
