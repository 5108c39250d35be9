//! Plugins that nobody trusts, in one pool: one loops for ever, one eats memory, one is fine. Each gets what it deserves, and none holds up another.
//!
//! ```text
//! cargo run --release --features interpreter --example interpreters
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use millpond::interpreter::{Wasm, WasmCall};
use millpond::{GuestFault, InterpreterPool, JobError, JobOptions, JoinError, Limits, PoolExecutor};

/// What a compiler would give us, here by hand.
const PLUGINS: &str = r#"(module
    (memory 1)
    (func (export "loops") (result i64) (loop $again (br $again)) (i64.const 0))
    (func (export "eats") (result i64)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable)
    (func (export "is_fine") (param $n i64) (result i64)
        (local $sum i64)
        (loop $next
            (local.set $sum (i64.add (local.get $sum) (local.get $n)))
            (local.set $n (i64.sub (local.get $n) (i64.const 1)))
            (br_if $next (i64.gt_s (local.get $n) (i64.const 0))))
        (local.get $sum)))"#;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let plugins = Wasm::new(PLUGINS).fresh_per_job().memory_limit(16 << 20);
    let pool = InterpreterPool::builder("plugins", plugins)
        .limits(Limits::fixed(3))
        .kill_grace(Duration::from_millis(50))
        .build()?;

    let options = || JobOptions::new().run_limit(Duration::from_millis(300));
    let loops = pool.with(options().label("loops")).submit_blocking(WasmCall::<(), i64>::new("loops", ()))?;
    let eats = pool.with(options().label("eats")).submit_blocking(WasmCall::<(), i64>::new("eats", ()))?;
    for n in [10_i64, 100, 1_000] {
        let sum =
            pool.with(options().label("is_fine")).submit_blocking(WasmCall::<_, i64>::new("is_fine", n))?.join()?;
        println!("the sum of 1 to {n} is {sum}");
    }
    println!("\n{}\n", pool.inventory_now());

    let Err(JoinError::Job(error)) = eats.join() else { panic!("it was to be refused its memory") };
    println!("{error}\n");
    let JobError::Guest(failed) = error else { panic!("its guest was to fail") };
    assert_eq!(failed.fault, GuestFault::OutOfMemory { limit: 16 << 20 });

    let Err(JoinError::Job(error)) = loops.join() else { panic!("it was to pass its limit") };
    println!("{error}");
    assert!(matches!(error, JobError::TimedOut(_)));
    Ok(())
}
