//! Workers in Python, `worker.py` beside this file, which needs nothing but the standard library. `docs/protocol.md` is what they speak.
//!
//! ```text
//! cargo run --release --features process --example polyglot_worker
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::process::Command;

use millpond::{Limits, PoolExecutor, ProgramPool};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("there is no python3 here");
        return Ok(());
    }
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/polyglot_worker/worker.py");
    let pool = ProgramPool::builder("python", "python3").arg(worker).limits(Limits::fixed(2)).build()?;

    let shouted = pool.submit_blocking(b"upper and so say all of us".to_vec())?.join()??;
    println!("{}", String::from_utf8_lossy(&shouted));
    assert_eq!(shouted, b"AND SO SAY ALL OF US");

    // What it cannot do is an answer; what kills it is an error of that one job.
    let refused = pool.submit_blocking(b"fly to the moon".to_vec())?.join()?.expect_err("who can?");
    println!("{refused}");
    let lost = pool.submit_blocking(b"die".to_vec())?.join().expect_err("it was killed");
    println!("{lost}");

    let waiting = pool.submit_blocking(b"wait".to_vec())?;
    waiting.cancel();
    match waiting.join() {
        Ok(answer) => println!("{}", String::from_utf8_lossy(&answer?)),
        // It had not begun.
        Err(error) => println!("{error}"),
    }
    println!("{}", pool.inventory_now());
    assert!(pool.snapshot().ledger.balances());
    Ok(())
}
