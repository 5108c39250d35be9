//! Calls with numbers and with bytes, and what they may import.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond::interpreter::wasmtime::{Caller, Linker};
use millpond::interpreter::{Guest, Script, Wasm, WasmBytes, WasmCall, WasmInstance};
use millpond::{GuestFault, JobContext, PoolExecutor};

use crate::rig::{Outcome, builder, fault, pool, put};

const NUMBERS: &str = r#"(module
    (global $count (mut i32) (i32.const 0))
    (func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
    (func (export "swap") (param f32 f64) (result f64 f32) (local.get 1) (local.get 0))
    (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count)))"#;

/// Gives its input back with each byte one higher, in the same room.
const BYTES: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param $length i32) (result i32)
        (if (i32.gt_u (local.get $length) (i32.const 65536))
            (then (drop (memory.grow (i32.div_u (local.get $length) (i32.const 65536))))))
        (i32.const 8))
    (func (export "raise") (param $at i32) (param $length i32) (result i64)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $length)))
        (block $done (loop $next
            (br_if $done (i32.eq (local.get $at) (local.get $end)))
            (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get $end) (local.get $length))) (i64.const 32)) (i64.extend_i32_u (local.get $length))))
    (func (export "grows") (param i32 i32) (result i64)
        (drop (memory.grow (i32.const 1000))) (i64.const 0x00ffffff_00000001))
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
fn memory_that_was_refused_is_why_bytes_find_no_room() -> Outcome {
    const LIMIT: usize = 65_536;
    for wasm in [Wasm::new(BYTES), Wasm::new(BYTES).fresh_per_job()] {
        let pool = pool(wasm.memory_limit(LIMIT));
        // It is refused room for its input, and gives what it has not; and then some for its output.
        for (export, length) in [("raise", 1_000_000), ("grows", 1)] {
            let fault = fault(put(&pool, WasmBytes::new(export, vec![6; length])));
            assert_eq!(fault, GuestFault::OutOfMemory { limit: LIMIT }, "{export}");
        }
        assert_eq!(put(&pool, WasmBytes::new("raise", "HAL")).join()?, b"IBM");
    }
    Ok(())
}

/// Its `alloc` is C's `malloc`, in an arena of 100 bytes; all that is at 0 is its own.
const ARENA: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "its own")
    (func (export "alloc") (param $length i32) (result i32)
        (if (i32.gt_u (local.get $length) (i32.const 100)) (then (drop (memory.grow (global.get $more))) (return (i32.const 0))))
        (select (i32.const 64) (i32.const 0) (local.get $length)))
    (global $more (mut i32) (i32.const 0))
    (func (export "wants") (param i32 i32) (result i64) (global.set $more (i32.const 1000)) (i64.const 0))
    (func (export "length") (param i32) (param $length i32) (result i64)
        (i32.store8 (i32.const 32) (local.get $length)) (i64.const 0x20_00000001))
    (func (export "own") (param i32 i32) (result i64) (i64.const 7)))"#;

#[test]
fn an_alloc_that_answers_zero_has_no_room_and_nothing_is_written_there() -> Outcome {
    let pool = pool(Wasm::new(ARENA));
    let fault_of = |length: usize| fault(put(&pool, WasmBytes::new("own", vec![b'x'; length])));
    assert_eq!(put(&pool, WasmBytes::new("own", vec![b'x'; 100])).join()?, b"its own");
    let fault = fault_of(101);
    assert!(matches!(fault, GuestFault::NoRoom { bytes: 101 }), "{fault}");
    assert!(fault.to_string().contains("101 bytes"), "{fault}");
    // For nothing there may be room nowhere.
    assert_eq!(put(&pool, WasmBytes::new("own", "")).join()?, b"its own");
    assert_eq!(put(&pool, WasmBytes::new("length", "")).join()?, [0]);
    Ok(())
}

#[test]
fn an_alloc_that_answers_zero_as_it_was_refused_memory_is_out_of_it() -> Outcome {
    let pool = pool(Wasm::new(ARENA).memory_limit(1 << 20));
    assert_eq!(put(&pool, WasmBytes::new("wants", "")).join()?, b"");
    assert_eq!(fault(put(&pool, WasmBytes::new("own", vec![1; 101]))), GuestFault::OutOfMemory { limit: 1 << 20 });
    Ok(())
}

#[test]
fn an_export_of_another_type_costs_nobody_an_instance() -> Outcome {
    let pool = pool(Wasm::new(NUMBERS));
    assert_eq!(put(&pool, WasmCall::<_, i32>::new("count", ())).join()?, 1);
    let wrong = fault(put(&pool, WasmCall::<_, i32>::new("add", ())));
    assert!(matches!(wrong, GuestFault::Unfit(_)), "{wrong}");
    let fault = fault(put(&pool, WasmBytes::new("add", "x")));
    assert!(matches!(&fault, GuestFault::Unfit(why) if why.contains("memory")), "{fault}");
    assert_eq!(put(&pool, WasmCall::<_, i32>::new("count", ())).join()?, 2);
    assert_eq!(pool.snapshot().ledger.not_started, 2);
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
            tell.store(u64::from(what) * 1_000 + job.job_id().get(), Ordering::Relaxed);
        })?;
        Ok(())
    });
    let pool = pool(wasm);
    let handle = put(&pool, WasmCall::<_, i32>::new("run", ()));
    let expected = 7_000 + handle.id().get();
    assert_eq!(handle.join()?, 1);
    assert_eq!(told.load(Ordering::Relaxed), expected);
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

#[test]
fn a_fault_that_this_process_finds_is_the_jobs() {
    let module = r#"(module
        (import "host" "judge" (func $judge))
        (func (export "run") (result i32) (call $judge) (i32.const 1)))"#;
    let found = GuestFault::OutOfOutput { stream: "complaints", limit: 2 };
    for (error, expected) in [(Some(found.clone()), Some(found)), (None, None)] {
        let wasm = Wasm::new(module).host(move |linker: &mut Linker<Guest>| {
            let error = error.clone();
            linker.func_wrap("host", "judge", move || -> millpond::interpreter::wasmtime::Result<()> {
                match &error {
                    Some(fault) => Err(fault.clone().into()),
                    None => Err(millpond::interpreter::wasmtime::Error::msg("it is noisy")),
                }
            })?;
            Ok(())
        });
        let fault = fault(put(&pool(wasm), WasmCall::<(), i32>::new("run", ())));
        match expected {
            Some(expected) => assert_eq!(fault, expected),
            None => {
                assert!(matches!(&fault, GuestFault::Trapped { message, .. } if message == "it is noisy"), "{fault}")
            }
        }
    }
}
