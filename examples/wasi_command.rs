//! A command-line program as a job: what goes into its standard input comes out shouted. It is WebAssembly, for WASI preview 1, as C, Rust and Go compilers make
//! it, and it has no more of this system than it was granted, which is nothing: no file, no network, no environment, no clock.
//!
//! ```text
//! cargo run --release --features wasi --example wasi_command
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use millpond::interpreter::{Wasi, WasiCommand};
use millpond::{GuestFault, InterpreterPool, JobError, JoinError, Limits, PoolExecutor};

/// What a compiler would give us, here by hand. It ends with 1 if there was nothing to shout.
const SHOUT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (local $at i32) (local $byte i32) (local $quiet i32)
        (local.set $quiet (i32.const 1))
        (loop $more
            ;; 1,024 bytes at 64, and how many there were at 8.
            (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1024))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.eqz (i32.load (i32.const 8))) (then (call $exit (local.get $quiet))))
            (local.set $quiet (i32.const 0))
            (local.set $at (i32.const 0))
            (loop $next
                (local.set $byte (i32.load8_u offset=64 (local.get $at)))
                (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
                    (then (i32.store8 offset=64 (local.get $at) (i32.sub (local.get $byte) (i32.const 32)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.load (i32.const 8)))))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $more))))"#;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let shout = Wasi::new(SHOUT).memory_limit(1 << 20).output_limit(10_000);
    let pool = InterpreterPool::builder("shout", shout).limits(Limits::fixed(2)).build()?;

    let lines = ["still waters", "run deep"];
    let handles = lines.map(|line| pool.submit_blocking(WasiCommand::new().arg("--loud").stdin(line)));
    for handle in handles {
        let output = handle?.join()?;
        println!("{}, with exit code {}", String::from_utf8_lossy(&output.stdout), output.exit_code);
        assert_eq!(output.exit_code, 0);
    }

    // A program that says no has run all the same.
    let output = pool.submit_blocking(WasiCommand::new())?.join()?;
    println!("silence, with exit code {}", output.exit_code);
    assert_eq!(output.exit_code, 1);

    // What it may write has an end, and it does not survive that.
    let too_much = pool.submit_blocking(WasiCommand::new().stdin("ripple ".repeat(2_000)))?;
    let Err(JoinError::Job(error)) = too_much.join() else { panic!("it was to pass its limit") };
    println!("{error}");
    let JobError::Guest(failed) = error else { panic!("its guest was to fail") };
    assert_eq!(failed.fault, GuestFault::OutOfOutput { stream: "stdout", limit: 10_000 });
    assert_eq!(pool.snapshot().ledger.completed, 3);
    Ok(())
}
