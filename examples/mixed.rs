//! Primes are counted in an interpreter where that will do. A count that needs more memory than an instance may have falls back to a child process,
//! which may have more. There is one pool for whoever submits, and one table for whoever looks.
//!
//! ```text
//! cargo run --release --features process,interpreter --example mixed
//! ```

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example")]

use std::sync::Arc;
use std::time::Duration;

use millpond::interpreter::{Wasm, WasmCall};
use millpond::process::RemoteCall;
use millpond::{InterpreterPool, JobError, Lane, Limits, ProcessPool, TimeLimit};
use millpond_supervisors::mixed::{Member, MixedError, MixedPool, MixedStatus};

/// How many primes there are below a number, by a sieve of one byte each. Here by hand, as a compiler would give it to us.
const SIEVE: &str = r#"(module
    (memory 1)
    (func (export "primes") (param $n i32) (result i32)
        (local $i i32) (local $j i32) (local $count i32)
        ;; A byte for each number: without so much memory it cannot go on.
        (if (i32.eq (memory.grow (i32.div_u (local.get $n) (i32.const 65536))) (i32.const -1)) (then unreachable))
        (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
        (local.set $i (i32.const 2))
        (loop $next
            (if (i32.lt_u (local.get $i) (local.get $n))
                (then
                    (if (i32.eqz (i32.load8_u (local.get $i)))
                        (then
                            (local.set $count (i32.add (local.get $count) (i32.const 1)))
                            (local.set $j (i32.shl (local.get $i) (i32.const 1)))
                            (loop $strike
                                (if (i32.lt_u (local.get $j) (local.get $n))
                                    (then
                                        (i32.store8 (local.get $j) (i32.const 1))
                                        (local.set $j (i32.add (local.get $j) (local.get $i)))
                                        (br $strike))))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next))))
        (local.get $count)))"#;

/// The same in Rust, for a child process.
fn primes(below: u32) -> u32 {
    let below = below as usize;
    let mut struck = vec![false; below];
    let mut count = 0;
    for n in 2..below {
        if !struck[n] {
            count += 1;
            (2 * n..below).step_by(n).for_each(|multiple| struck[multiple] = true);
        }
    }
    count
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // In a child, this runs its jobs and does not return.
    millpond::process::init();

    // Without queues of their own: what no member has a worker for waits in the mixed pool, for whichever is free first.
    let no_queue = || Lane::new("default").capacity(0);
    let sieve = Wasm::new(SIEVE).fresh_per_job().memory_limit(1 << 20);
    let instances =
        InterpreterPool::builder("sieve-instances", sieve).limits(Limits::fixed(2)).default_lane(no_queue()).build()?;
    let processes =
        ProcessPool::builder("sieve-processes").limits(Limits::new(0, 2)).default_lane(no_queue()).build()?;

    // A job is a number. Each kind of pool makes its own job of it.
    let call = |below: &u32| WasmCall::<u32, u32>::new("primes", *below);
    let request = |below: &u32| RemoteCall::new(primes, *below);
    let pool = MixedPool::builder("sieve")
        .member(Member::adapted(Arc::new(instances), call, |count: u32| count).named("instances"))
        .member(Member::adapted(Arc::new(processes), request, |count: u32| count).named("processes"))
        .places(100)
        .build()?;

    // The second one does not fit into an instance. It may be run again, so it goes on to a process.
    for (below, expected, member) in [(100_000, 9_592, "instances"), (2_000_000, 148_933, "processes")] {
        let handle = pool.job().label("sieve").deadline_in(Duration::from_secs(60)).repeatable();
        let handle = handle.submit_blocking(below)?;
        while handle.status() != MixedStatus::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
        let by = handle.member().expect("somebody has had it");
        let count = handle.join()?;
        println!("there are {count} primes below {below}, say the {by}");
        assert_eq!((count, &*by), (expected, member));
    }

    // One that may be run once only ends as it failed.
    let error: Box<MixedError> = match pool.submit_blocking(2_000_000)?.join() {
        Err(millpond_supervisors::mixed::MixedJoinError::Job(error)) => error,
        other => panic!("it was to run out of memory: {other:?}"),
    };
    println!("{error}\n");
    assert!(matches!(error.last(), Some(JobError::Guest(_))));

    // Many at once: the two instances have some, the two processes some, and the others wait for whoever is free.
    let many = (0..20).map(|n| pool.job().label("many").submit_blocking(500_000 + n)).collect::<Result<Vec<_>, _>>()?;
    println!("{}\n", pool.inventory_now());
    for handle in many {
        assert!(handle.join()? > 41_000);
    }

    let report = pool.shutdown_blocking(TimeLimit::secs(10));
    println!("{}", report.ledger);
    assert!(report.ledger.balances() && report.ledger.completed == 22);
    Ok(())
}
