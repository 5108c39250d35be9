//! Modules that mean no good: each gets a typed error within its limits, and its siblings do not notice.

use std::time::Duration;

use millpond::interpreter::{Wasm, WasmCall};
use millpond::{BuildError, GuestFault, JobError, JobOptions, JobStatus, Limits, PoolEvent, PoolExecutor};

use crate::rig::{Outcome, ask, builder, failure, fault, pool, until, until_busy};

/// Everything that one plugin may do to another.
const HOSTILE: &str = r#"(module
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (func $deeper (export "recurse") (result i32) (i32.add (call $deeper) (i32.const 1)))
    (func (export "spin") (result i32) (loop $again (br $again)) (i32.const 0))
    (func (export "eat") (result i32)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable)
    (func (export "eat_politely") (result i32)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (memory.size))
    (func (export "bomb") (result i32)
        (loop $again
            (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable)
    (func (export "fine") (result i32) (i32.const 1)))"#;

/// Each on a worker of its own, beside one that is fine.
fn hostile() -> [Wasm; 2] {
    let wasm = || Wasm::new(HOSTILE).memory_limit(4 << 20);
    [wasm(), wasm().fresh_per_job()]
}

#[test]
fn recursion_without_end_is_a_trap() -> Outcome {
    for wasm in hostile() {
        let pool = pool(wasm);
        let fault = fault(ask(&pool, "recurse"));
        assert!(matches!(&fault, GuestFault::Trapped { message, .. } if message.contains("stack")), "{fault}");
        assert_eq!(ask(&pool, "fine").join()?, 1);
    }
    Ok(())
}

#[test]
fn memory_that_grows_without_end_is_refused() -> Outcome {
    for wasm in hostile() {
        let pool = pool(wasm);
        assert_eq!(fault(ask(&pool, "eat")), GuestFault::OutOfMemory { limit: 4 << 20 });
        assert_eq!(ask(&pool, "fine").join()?, 1);
        // Who takes no for an answer goes on.
        let pages = ask(&pool, "eat_politely").join()?;
        assert!((48..=64).contains(&pages), "{pages} pages of 64 in 4 MiB");
    }
    Ok(())
}

#[test]
fn a_table_that_grows_without_end_is_refused() -> Outcome {
    for wasm in hostile() {
        let pool = pool(wasm.table_limit(5_000));
        assert_eq!(fault(ask(&pool, "bomb")), GuestFault::OutOfTable { limit: 5_000 });
        assert_eq!(ask(&pool, "fine").join()?, 1);
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
    assert_eq!(ask(&pool, "eat").join().expect("it takes no for an answer"), 16, "pages of 64 KiB in 1 MiB");
    let elements = ask(&pool, "bomb").join().expect("it takes no for an answer");
    assert!((900..=1_000).contains(&elements), "{elements}");
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
fn a_start_function_that_never_ends_is_a_start_that_fails() {
    let module = r#"(module (func $start (loop $again (br $again))) (start $start)
        (func (export "fine") (result i32) (i32.const 1)))"#;
    let pool = builder(Wasm::new(module)).start_limit(Duration::from_millis(50)).build().expect("it compiles");
    let mut events = pool.events();
    let limit = loop {
        match events.next_blocking() {
            Some(PoolEvent::WorkerGone { exit, .. }) => break exit.to_string(),
            Some(_) => {}
            None => panic!("the pool ended"),
        }
    };
    assert!(limit.contains("start limit"), "{limit}");
}

#[test]
fn a_start_function_that_never_ends_is_a_job_that_times_out() {
    let module = r#"(module (func $start (loop $again (br $again))) (start $start)
        (func (export "fine") (result i32) (i32.const 1)))"#;
    let pool = pool(Wasm::new(module).fresh_per_job());
    let options = JobOptions::new().run_limit(Duration::from_millis(50));
    let handle = pool.with(options).try_submit(WasmCall::<_, i32>::new("fine", ())).expect("there is a place");
    let error = failure(handle);
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
}

#[test]
fn a_start_function_that_traps_says_so() {
    let module = r#"(module (func $start unreachable) (start $start))"#;
    let pool = pool(Wasm::new(module));
    until("the start fails", || format!("{:?}", pool.inventory_now().health).contains("unreachable"));
}

#[test]
fn siblings_do_not_notice() -> Outcome {
    for wasm in hostile() {
        let pool = builder(wasm).limits(Limits::fixed(4)).build()?;
        let spins = pool.with(JobOptions::new().label("spin")).try_submit(WasmCall::<_, i32>::new("spin", ()))?;
        until_busy(&pool, 1);
        for _ in 0..50 {
            let bad = ["recurse", "eat", "bomb", "none"].map(|export| ask(&pool, export));
            assert_eq!(ask(&pool, "fine").join()?, 1);
            bad.into_iter().for_each(|bad| drop(fault(bad)));
        }
        assert!(spins.status() == JobStatus::Running);
    }
    Ok(())
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
    for wasm in
        [wasm().memory_limit(0), wasm().stack_limit(0), wasm().stack_limit(1 << 30), wasm().memory_limit(usize::MAX)]
    {
        let error = builder(wasm).build().expect_err("nothing can run in it");
        assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
    }
}
