//! A kill reaches guest code at any loop, and no call into this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::interpreter::wasmtime::{Linker, Result};
use millpond::interpreter::{Guest, Wasm, WasmCall};
use millpond::{Fate, JobError, JobOptions, JobStatus, Ladder, Limits, PoolExecutor, Select, WorkerState};

use crate::rig::{LIMIT, Outcome, ask, builder, failure, pool, until, until_busy};

const SPIN: &str = r#"(module
    (func (export "spin") (result i32) (loop $again (br $again)) (i32.const 0))
    (func $deeper (param $n i32) (result i32)
        (if (result i32) (local.get $n)
            (then (i32.add (call $deeper (i32.sub (local.get $n) (i32.const 1)))
                           (call $deeper (i32.sub (local.get $n) (i32.const 1)))))
            (else (i32.const 1))))
    (func (export "branch") (result i32) (call $deeper (i32.const 60)))
    (func (export "fine") (result i32) (i32.const 1)))"#;

#[test]
fn a_loop_without_end_is_killed() -> Outcome {
    for export in ["spin", "branch"] {
        let pool = pool(Wasm::new(SPIN));
        let handle = ask(&pool, export);
        until_busy(&pool, 1);
        let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
        assert_eq!(report.targets[0].fate, Fate::Killed);
        let error = failure(handle);
        assert!(matches!(error, JobError::Killed(_)), "{error}");
        assert_eq!(ask(&pool, "fine").join()?, 1);
    }
    Ok(())
}

/// Whatever the instance is about to do as the kill comes: it stops.
#[test]
fn no_kill_is_missed() -> Outcome {
    let pool = builder(Wasm::new(SPIN)).limits(Limits::fixed(2)).build()?;
    // Each kill has the other instance look at its brake, too.
    let other = ask(&pool, "spin");
    until_busy(&pool, 1);
    for _ in 0..200 {
        let handle = ask(&pool, "spin");
        until_busy(&pool, 2);
        let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
        assert_eq!(report.targets[0].fate, Fate::Killed);
        assert!(matches!(failure(handle), JobError::Killed(_)));
    }
    assert!(other.status() == JobStatus::Running);
    Ok(())
}

#[test]
fn a_run_limit_ends_a_loop() -> Outcome {
    for wasm in [Wasm::new(SPIN), Wasm::new(SPIN).fresh_per_job()] {
        let pool = builder(wasm).kill_grace(Duration::from_millis(10)).build()?;
        let options = JobOptions::new().run_limit(Duration::from_millis(20));
        let handle = pool.with(options).try_submit(WasmCall::<_, i32>::new("spin", ()))?;
        let error = failure(handle);
        assert!(matches!(error, JobError::TimedOut(_)), "{error}");
        assert_eq!(ask(&pool, "fine").join()?, 1, "another instance took its place");
    }
    Ok(())
}

#[test]
fn a_pool_that_is_aborted_stops_its_loops() {
    let pool = builder(Wasm::new(SPIN)).limits(Limits::fixed(2)).build().expect("the module is sound");
    let handles = [ask(&pool, "spin"), ask(&pool, "branch")];
    until_busy(&pool, 2);
    pool.abort();
    for handle in handles {
        let error = failure(handle);
        assert!(matches!(error, JobError::Killed(_)), "{error}");
    }
    until("its threads have ended", || pool.inventory_now().workers.is_empty());
}

#[test]
fn a_call_that_blocks_this_process_is_abandoned_and_counted() -> Outcome {
    let module = r#"(module
        (import "host" "block" (func $block))
        (func (export "run") (result i32) (call $block) (loop $again (br $again)) (i32.const 0))
        (func (export "fine") (result i32) (i32.const 1)))"#;
    let open = Arc::new(AtomicBool::new(false));
    let door = open.clone();
    let wasm = Wasm::new(module).host(move |linker: &mut Linker<Guest>| -> Result<()> {
        let door = door.clone();
        linker.func_wrap("host", "block", move || until("it is let go", || door.load(Ordering::Acquire)))?;
        Ok(())
    });
    let pool = builder(wasm).kill_grace(Duration::from_millis(10)).build()?;
    let handle = ask(&pool, "run");
    until_busy(&pool, 1);
    let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    let error = failure(handle);
    assert!(matches!(error, JobError::Abandoned(_)), "{error}");
    assert_eq!(pool.saturation().abandoned, 1);
    assert_eq!(ask(&pool, "fine").join()?, 1, "its slot has another");

    open.store(true, Ordering::Release);
    // As the call returns, and not in the loop that follows it.
    until("it is gone", || pool.inventory_now().workers.iter().all(|row| row.state != WorkerState::Abandoned));
    assert_eq!(pool.saturation().abandoned, 0);
    Ok(())
}
