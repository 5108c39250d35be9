//! Threads, tasks, instances and child processes behind one admission, on the machine's clock.

use std::sync::Arc;

use millpond::interpreter::{Wasm, WasmCall};
use millpond::process::{Entry, RemoteCall};
use millpond::{InterpreterPool, JobError, Limits, ProcessPool, TaskPool, ThreadPool};
use millpond_supervisors::mixed::{LeastLoaded, Member, MixedPool};

use crate::rig::{LIMIT, beside, named, soon};

/// Squares, but for odd numbers above a thousand, at which it traps.
const MODULE: &str = r#"(module (func (export "square") (param $n i64) (result i64)
    (if (i32.and (i64.gt_u (local.get $n) (i64.const 1000)) (i32.wrap_i64 (i64.and (local.get $n) (i64.const 1))))
        (then unreachable))
    (i64.mul (local.get $n) (local.get $n))))"#;

fn square(n: u64) -> u64 {
    n * n
}

fn instances() -> Member<u64, u64> {
    let pool = InterpreterPool::builder(named("instances"), Wasm::new(MODULE)).limits(Limits::fixed(1)).build();
    let call = |n: &u64| WasmCall::<u64, u64>::new("square", *n);
    Member::adapted(Arc::new(pool.expect("it is built")), call, |square: u64| square).named("instances")
}

fn processes() -> Member<u64, u64> {
    let pool = ProcessPool::builder(named("processes")).entry(Entry::test()).limits(Limits::fixed(1)).build();
    let call = |n: &u64| RemoteCall::new(square, *n);
    Member::adapted(Arc::new(pool.expect("it is built")), call, |square: u64| square).named("processes")
}

fn threads() -> Member<u64, u64> {
    let pool = ThreadPool::builder(named("threads")).limits(Limits::fixed(1)).build().expect("it is built");
    let call = |n: &u64| {
        let n = *n;
        move || square(n)
    };
    Member::adapted(Arc::new(pool), call, |square: u64| square).named("threads")
}

/// On the runtime that it is called in.
fn tasks() -> Member<u64, u64> {
    let pool = TaskPool::builder(named("tasks")).limits(Limits::fixed(1)).build().expect("it is built");
    Member::adapted(Arc::new(pool), |n: &u64| std::future::ready(square(*n)), |square: u64| square).named("tasks")
}

#[test]
fn four_kinds_share_the_work() {
    soon(beside(async {
        let builder = MixedPool::builder(named("four")).route(LeastLoaded).places(40);
        let pool = builder.member(threads()).member(tasks()).member(instances()).member(processes()).build();
        let pool = pool.expect("it is built");
        let mut handles = Vec::new();
        for n in 0..400 {
            handles.push((n, pool.submit(n).await.expect("there is a place")));
        }
        for (n, handle) in handles {
            assert_eq!(handle.await.unwrap(), n * n);
        }
        let ledger = pool.ledger();
        assert!(ledger.balances() && ledger.completed == 400, "{ledger}");
        let done = |name: &str| pool.member(name).expect("it is there").snapshot().ledger.completed;
        let done = ["threads", "tasks", "instances", "processes"].map(done);
        assert_eq!(done.iter().sum::<u64>(), 400, "{done:?}");
        assert!(done.iter().all(|jobs| *jobs > 0), "{done:?}");
        assert_eq!(pool.inventory_now().workers.len(), 4);
        let report = pool.shutdown(LIMIT).await;
        assert!(report.members.iter().all(|member| member.reply.is_ok()), "{report:?}");
    }))
    .expect("it does not panic");
}

/// Without a runtime: what the interpreter traps over is given to a process.
#[test]
fn a_process_takes_what_traps() {
    let pool = MixedPool::builder(named("traps")).member(instances()).member(processes()).build().expect("it is built");
    for (n, with) in [(1_000, "instances"), (1_001, "processes"), (1_002, "instances")] {
        let mut handle = pool.job().repeatable().submit_blocking(n).expect("there is a place");
        assert_eq!(soon(&mut handle).unwrap(), n * n);
        assert_eq!(handle.member().as_deref(), Some(with));
    }
    let once = pool.submit_blocking(1_003).expect("there is a place");
    let error = soon(once).expect_err("it traps, and is not to be run again");
    assert!(matches!(error.last(), Some(JobError::Guest(_))), "{error}");
    assert_eq!((pool.ledger().completed, pool.ledger().panicked), (3, 1));
}

fn fragile(n: u64) -> u64 {
    if n == 13 { std::process::abort() } else { square(n) }
}

/// A child that dies is certain to run no more, and nobody wanted that.
#[test]
fn a_thread_takes_what_has_killed_its_child() {
    let fragiles = ProcessPool::builder(named("fragile")).entry(Entry::test()).limits(Limits::fixed(1)).build();
    let call = |n: &u64| RemoteCall::new(fragile, *n);
    let fragiles = Member::adapted(Arc::new(fragiles.expect("it is built")), call, |square: u64| square);
    let pool = MixedPool::builder(named("dies")).member(fragiles).member(threads()).build().expect("it is built");
    let mut handle = pool.job().repeatable().submit_blocking(13).expect("there is a place");
    assert_eq!(soon(&mut handle).unwrap(), 169);
    assert_eq!(handle.member().as_deref(), Some("threads"));
    let error = soon(pool.submit_blocking(13).expect("there is a place")).expect_err("its child dies");
    assert!(matches!(error.last(), Some(JobError::Lost(_))), "{error}");
}
