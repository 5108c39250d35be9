//! Modules that mean no good, in ways that are WebAssembly's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond::interpreter::{Wasm, WasmCall};
use millpond::{BuildError, GuestFault, JobError, Limits, PoolExecutor};

use crate::kinds::Kind;
use crate::rig::{LIMIT, Outcome, ask, builder, failure, fault, pool, put, until};

const BOMB: &str = r#"(module
    (table $table 1 funcref)
    (func (export "bomb") (result i32)
        (loop $again
            (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable)
    (func (export "fine") (result i32) (i32.const 1)))"#;

fn call(export: &str) -> WasmCall<(), i32> {
    WasmCall::new(export, ())
}

#[test]
fn a_table_that_grows_without_end_is_refused() -> Outcome {
    for wasm in [Wasm::new(BOMB), Wasm::new(BOMB).fresh_per_job()] {
        let pool = pool(wasm.table_limit(5_000));
        assert_eq!(fault(put(&pool, call("bomb"))), GuestFault::OutOfTable { limit: 5_000 });
        assert_eq!(put(&pool, call("fine")).join()?, 1);
    }
    Ok(())
}

#[test]
fn several_memories_and_tables_share_what_an_instance_may_have() {
    let module = r#"(module
        (memory $a 1) (memory $b 1) (table $s 1 funcref) (table $t 1 funcref)
        (func (export "eat") (result i32)
            (loop $again
                (br_if $again (i32.or
                    (i32.ne (memory.grow $a (i32.const 1)) (i32.const -1))
                    (i32.ne (memory.grow $b (i32.const 1)) (i32.const -1)))))
            (i32.add (memory.size $a) (memory.size $b)))
        (func (export "bomb") (result i32)
            (loop $again
                (br_if $again (i32.or
                    (i32.ne (table.grow $s (ref.null func) (i32.const 100)) (i32.const -1))
                    (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)))))
            (i32.add (table.size $s) (table.size $t))))"#;
    let pool = pool(Wasm::new(module).memory_limit(1 << 20).table_limit(1_000));
    assert_eq!(put(&pool, call("eat")).join().expect("it takes no for an answer"), 16, "pages of 64 KiB in 1 MiB");
    let elements = put(&pool, call("bomb")).join().expect("it takes no for an answer");
    assert!((900..=1_000).contains(&elements), "{elements}");
}

/// However many workers a pool has, or comes to have.
#[test]
fn an_instance_too_many_is_a_job_that_never_began() -> Outcome {
    let [inside, open] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (entered, door) = (inside.clone(), open.clone());
    let wasm = Wasm::calling(Arc::new(move || {
        entered.store(true, Ordering::Release);
        until("it is let go", || door.load(Ordering::Acquire));
        Ok(())
    }));
    let pool = pool(wasm.fresh_per_job().instance_limit(1));
    pool.blocking().resize(Limits::fixed(2), LIMIT)?;
    let first = ask(&pool, "call");
    until("it has its instance", || inside.load(Ordering::Acquire));
    for _ in 0..2 {
        let error = failure(ask(&pool, "fine"));
        let JobError::Guest(failed) = &error else { panic!("{error}") };
        assert_eq!((&failed.fault, failed.began), (&GuestFault::OutOfInstances { limit: 1 }, false));
        assert!(
            error.to_string().contains("never began") && error.to_string().contains("there are 1 already"),
            "{error}"
        );
    }
    open.store(true, Ordering::Release);
    assert_eq!(first.join()?, 1);
    assert_eq!(ask(&pool, "fine").join()?, 1);
    assert_eq!(pool.snapshot().ledger.not_started, 2);
    Ok(())
}

/// What does not come about takes nothing, and gives nothing back of what was there.
#[test]
fn a_growth_that_fails_changes_nothing_of_what_is_counted() -> Outcome {
    let module = r#"(module
        (memory $bounded 1 2) (memory $free 1)
        (table $bounded i64 1 20 funcref) (table $free i64 1 funcref)
        ;; Beyond what the module itself says, and beyond what can be counted.
        (func (export "fail") (result i32)
            (drop (table.grow $bounded (ref.null func) (i64.const 30)))
            (drop (table.grow $free (ref.null func) (i64.const 800)))
            (drop (table.grow $free (ref.null func) (i64.const -1)))
            (drop (memory.grow $bounded (i32.const 2)))
            (drop (memory.grow $free (i32.const 10)))
            (drop (memory.grow $free (i32.const -1)))
            (i32.const 1))
        (func (export "tables") (result i32)
            (loop $again (br_if $again (i64.ne (table.grow $free (ref.null func) (i64.const 1)) (i64.const -1))))
            (i32.wrap_i64 (i64.add (table.size $free) (table.size $bounded))))
        (func (export "memories") (result i32)
            (loop $again (br_if $again (i32.ne (memory.grow $free (i32.const 1)) (i32.const -1))))
            (i32.add (memory.size $free) (memory.size $bounded))))"#;
    let pool = pool(Wasm::new(module).memory_limit(1 << 20).table_limit(1_000));
    assert_eq!(put(&pool, call("fail")).join()?, 1);
    assert_eq!(put(&pool, call("tables")).join()?, 1_000, "neither more nor less");
    assert_eq!(put(&pool, call("memories")).join()?, 16, "pages of 64 KiB in 1 MiB, neither more nor less");
    Ok(())
}

#[test]
fn a_module_that_wants_more_than_it_may_have_builds_no_pool() {
    for module in ["(module (memory 100))", "(module (table 200000 funcref))"] {
        for wasm in [Wasm::new(module), Wasm::new(module).fresh_per_job()] {
            let error = builder(wasm.memory_limit(1 << 20)).build().expect_err("it can have no instance");
            assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
        }
    }
}

#[test]
fn what_is_no_module_builds_no_pool() {
    let whole = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x06\x01\x04\0\x41\x01\x0b".to_vec();
    assert!(builder(Wasm::new(whole.clone())).build().is_ok(), "the whole of it is one");
    let mut noise = 1_u64;
    for length in 1..whole.len() {
        let cut = builder(Wasm::new(&whole[..length])).build();
        // After the header, and after each section, it is a shorter module.
        if cut.is_ok() {
            assert!([8, 15].contains(&length), "{length} bytes of it");
        }
        let random: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 56) as u8
        })
        .take(length * 7)
        .collect();
        let error = builder(Wasm::new(random)).build().expect_err("it is none");
        assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
    }
}

#[test]
fn absurd_limits_build_no_pool() {
    let wasm = || Wasm::new("(module)");
    let fresh = |instances| wasm().fresh_per_job().instance_limit(instances);
    for wasm in [
        wasm().memory_limit(0),
        wasm().stack_limit(0),
        wasm().stack_limit(1 << 30),
        wasm().memory_limit(usize::MAX),
        fresh(0),
        fresh(usize::MAX),
        // More addresses than there are.
        fresh(100_000).memory_limit(4 << 30),
    ] {
        let error = builder(wasm).build().expect_err("nothing can run in it");
        assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
    }
    assert!(builder(fresh(3_000)).build().is_ok(), "more than there are if nobody says");
}
