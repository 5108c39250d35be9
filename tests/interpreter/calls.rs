//! Calls, with numbers and with bytes, and what one job leaves for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::interpreter::wasmtime::{Caller, Linker};
use millpond::interpreter::{Crossing, Guest, Script, Wasm, WasmBytes, WasmCall, WasmInstance};
use millpond::{GuestFault, JobContext, JobError, JobOptions, KillReach, Ladder, PoolExecutor, Select};

use crate::rig::{LIMIT, Outcome, ask, builder, failure, fault, pool, put, until, until_busy};

const NUMBERS: &str = r#"(module
    (global $count (mut i32) (i32.const 0))
    (func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
    (func (export "swap") (param f32 f64) (result f64 f32) (local.get 1) (local.get 0))
    (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count))
    (func (export "trap") (result i32) unreachable))"#;

/// Gives its input back with each byte one higher, in the same room.
const BYTES: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param $length i32) (result i32)
        (if (i32.gt_u (local.get $length) (i32.const 65536))
            (then (drop (memory.grow (i32.div_u (local.get $length) (i32.const 65536))))))
        (i32.const 0))
    (func (export "raise") (param $at i32) (param $length i32) (result i64)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $length)))
        (block $done (loop $next
            (br_if $done (i32.eq (local.get $at) (local.get $end)))
            (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (i64.extend_i32_u (local.get $length)))
    (func (export "nowhere") (param i32 i32) (result i64) (i64.const -1)))"#;

#[test]
fn numbers_go_in_and_come_out() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    assert_eq!(put(&pool, WasmCall::<_, i64>::new("add", (-2, 44_i64))).join()?, 42);
    assert_eq!(put(&pool, WasmCall::<_, (f64, f32)>::new("swap", (0.5_f32, 2.5_f64))).join()?, (2.5, 0.5));
    Ok(())
}

#[test]
fn bytes_go_in_and_come_out() -> Outcome {
    let pool = pool(Wasm::new(BYTES));
    assert_eq!(put(&pool, WasmBytes::new("raise", "HAL")).join()?, b"IBM");
    assert_eq!(put(&pool, WasmBytes::new("raise", "")).join()?, b"");
    let large = vec![6; 1_000_000];
    assert_eq!(put(&pool, WasmBytes::new("raise", large)).join()?, vec![7; 1_000_000]);
    Ok(())
}

#[test]
fn an_answer_that_lies_nowhere_is_the_guests_fault() -> Outcome {
    let pool = pool(Wasm::new(BYTES));
    let fault = fault(put(&pool, WasmBytes::new("nowhere", "x")));
    assert!(
        matches!(&fault, GuestFault::Trapped { message, .. } if message.contains("not within its memory")),
        "{fault}"
    );
    assert_eq!(put(&pool, WasmBytes::new("raise", "HAL")).join()?, b"IBM");
    Ok(())
}

#[test]
fn an_instance_is_kept_from_job_to_job() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    for count in 1..=3 {
        assert_eq!(ask(&pool, "count").join()?, count);
    }
    Ok(())
}

#[test]
fn an_instance_that_trapped_is_replaced() -> Outcome {
    for (restarts, restarting) in [(0, false), (1, true)] {
        let builder = builder(Wasm::new(NUMBERS));
        let pool = if restarting { builder.restart_after_trap() } else { builder }.build()?;
        assert_eq!(ask(&pool, "count").join()?, 1);
        assert!(matches!(fault(ask(&pool, "trap")), GuestFault::Trapped { .. }));
        assert_eq!(ask(&pool, "count").join()?, 1, "what the other had counted is gone with it");
        assert_eq!(pool.inventory_now().workers[0].restarts, restarts);
    }
    Ok(())
}

#[test]
fn a_fresh_instance_knows_of_no_other_job() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS).fresh_per_job());
    for _ in 0..3 {
        assert_eq!(ask(&pool, "count").join()?, 1);
        assert!(matches!(fault(ask(&pool, "trap")), GuestFault::Trapped { .. }));
    }
    assert_eq!(pool.inventory_now().workers[0].restarts, 0, "nothing is left that would have to be replaced");
    Ok(())
}

#[test]
fn a_trap_says_which_job_and_where() {
    let pool = pool(Wasm::new(NUMBERS));
    let handle = pool.with(JobOptions::new().label("risky")).try_submit(WasmCall::<_, i32>::new("trap", ()));
    let text = failure(handle.expect("there is a place")).to_string();
    for part in ["risky", "calls.rs", "0.1", "unreachable", "wasm backtrace"] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[test]
fn an_export_that_is_not_there_or_of_another_type_costs_nobody_an_instance() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    assert_eq!(ask(&pool, "count").join()?, 1);
    for handle in [ask(&pool, "none"), ask(&pool, "add")] {
        let fault = fault(handle);
        assert!(matches!(fault, GuestFault::Unfit(_)), "{fault}");
    }
    let fault = fault(put(&pool, WasmBytes::new("add", "x")));
    assert!(matches!(&fault, GuestFault::Unfit(why) if why.contains("memory")), "{fault}");
    assert_eq!(ask(&pool, "count").join()?, 2);
    assert_eq!(pool.snapshot().ledger.not_started, 3);
    Ok(())
}

#[test]
fn a_guest_calls_into_this_process_and_nowhere_else() -> Outcome {
    let module = r#"(module
        (import "host" "tell" (func $tell (param i32)))
        (func (export "run") (result i32) (call $tell (i32.const 7)) (i32.const 1)))"#;
    let error = builder(Wasm::new(module)).build().expect_err("nobody provides what it imports").to_string();
    assert!(error.contains("host") && error.contains("tell"), "{error}");

    let told = Arc::new(AtomicU64::new(0));
    let tell = told.clone();
    let wasm = Wasm::new(module).host(move |linker: &mut Linker<Guest>| {
        let tell = tell.clone();
        linker.func_wrap("host", "tell", move |caller: Caller<'_, Guest>, what: u32| {
            let job = JobContext::current().expect("a job calls");
            assert_eq!(job.worker_id(), caller.data().started().worker());
            assert!(Crossing::here().is_some(), "this is its worker's thread");
            tell.store(u64::from(what) * 1_000 + job.job_id().get(), Ordering::Relaxed);
        })?;
        Ok(())
    });
    let pool = pool(wasm);
    let handle = ask(&pool, "run");
    let expected = 7_000 + handle.id().get();
    assert_eq!(handle.join()?, 1);
    assert_eq!(told.load(Ordering::Relaxed), expected);
    Ok(())
}

#[test]
fn a_guest_sees_that_it_is_to_stop() -> Outcome {
    let module = r#"(module
        (import "millpond" "cancelled" (func $cancelled (result i32)))
        (import "millpond" "beat" (func $beat))
        (func (export "run") (result i32)
            (loop $again (call $beat) (br_if $again (i32.eqz (call $cancelled))))
            (i32.const 5)))"#;
    let pool = pool(Wasm::new(module));
    let handle = ask(&pool, "run");
    until_busy(&pool, 1);
    handle.cancel();
    assert_eq!(handle.join()?, 5);
    Ok(())
}

/// What a user's own script may do: several calls in one job, and what it brings along.
struct Twice(i32);

impl Script<Wasm> for Twice {
    type Output = (i32, i32);

    fn run(self, instance: &mut WasmInstance) -> Result<(i32, i32), GuestFault> {
        instance.store_mut().data_mut().set(self.0);
        let first = instance.call::<(), i32>("count", ())?;
        let brought = instance.store_mut().data_mut().take::<i32>().unwrap_or_default();
        Ok((first + brought, instance.call::<(), i32>("count", ())?))
    }
}

#[test]
fn a_script_makes_several_calls() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    assert_eq!(put(&pool, Twice(100)).join()?, (101, 2));
    Ok(())
}

/// Says that it was interrupted, which nobody did; or calls, and then asks for what is not there.
enum Odd {
    Interrupted,
    UnfitAfterACall,
}

impl Script<Wasm> for Odd {
    type Output = i32;

    fn run(self, instance: &mut WasmInstance) -> Result<i32, GuestFault> {
        match self {
            Self::Interrupted => Err(GuestFault::Interrupted),
            Self::UnfitAfterACall => {
                instance.call::<(), i32>("count", ())?;
                instance.call::<(), i32>("none", ())
            }
        }
    }
}

#[test]
fn a_script_that_says_that_it_was_interrupted_has_failed_and_its_worker_goes_on() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    assert_eq!(fault(put(&pool, Odd::Interrupted)), GuestFault::Interrupted);
    assert_eq!(ask(&pool, "count").join()?, 1);
    assert_eq!(pool.inventory_now().workers[0].restarts, 0);
    Ok(())
}

#[test]
fn what_is_not_there_after_a_call_is_no_job_that_never_began() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    let error = failure(put(&pool, Odd::UnfitAfterACall));
    assert!(matches!(&error, JobError::Guest(failed) if failed.began), "{error}");
    assert!(!error.to_string().contains("never began"), "{error}");
    assert_eq!(ask(&pool, "count").join()?, 1, "its instance had been used, and is gone");
    assert_eq!(pool.snapshot().ledger.panicked, 1);
    Ok(())
}

/// Keeps a value in its instance whose drop waits.
struct Lingers(Arc<AtomicU64>);

struct Slow(Arc<AtomicU64>);

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.store(1, Ordering::Release);
        until("it is let go", || self.0.load(Ordering::Acquire) == 2);
    }
}

impl Script<Wasm> for Lingers {
    type Output = ();

    fn run(self, instance: &mut WasmInstance) -> Result<(), GuestFault> {
        instance.store_mut().data_mut().set(Slow(self.0));
        Ok(())
    }
}

#[test]
fn an_instance_whose_drop_takes_for_ever_leaves_no_job_without_an_outcome() -> Outcome {
    let pool = builder(Wasm::new(NUMBERS).fresh_per_job()).kill_grace(Duration::from_millis(10)).build()?;
    let state = Arc::new(AtomicU64::new(0));
    let handle = put(&pool, Lingers(state.clone()));
    until("its instance is dropped", || state.load(Ordering::Acquire) == 1);
    pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    let error = failure(handle);
    assert!(matches!(error, JobError::Abandoned(_)), "{error}");
    state.store(2, Ordering::Release);
    Ok(())
}

#[test]
fn the_same_job_uses_the_same_fuel() -> Outcome {
    let module = r#"(module
        (func (export "loop") (param $n i32) (result i32)
            (loop $again
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n)))
            (local.get $n)))"#;
    let call = |turns: i32| WasmCall::<_, i32>::new("loop", turns);
    for wasm in [Wasm::new(module), Wasm::new(module).fresh_per_job()] {
        let pool = pool(wasm.fuel(10_000));
        let fits = (1..10_000).rev().step_by(100).find(|turns| put(&pool, call(*turns)).join().is_ok());
        let fits = fits.expect("some of them fit");
        // Each job has as much, whatever those before it used.
        for _ in 0..3 {
            assert_eq!(put(&pool, call(fits)).join()?, 0);
            assert_eq!(fault(put(&pool, call(fits + 100))), GuestFault::OutOfFuel { fuel: 10_000 });
        }
    }
    Ok(())
}

#[test]
fn it_says_how_far_its_kill_reaches() {
    let capabilities = pool(Wasm::new(NUMBERS)).capabilities();
    assert_eq!(capabilities.kill, KillReach::InGuest);
    assert!(capabilities.death_confirmed && capabilities.memory_limited);
}
