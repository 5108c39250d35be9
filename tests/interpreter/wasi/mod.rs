//! Commands of WASI preview 1. `tool.wasm` is `tool.c`, compiled; modules in WebAssembly's text format ask what no C library would.

mod authority;
mod commands;
mod hostile;
mod runtimes;
mod waits;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::interpreter::{Interpreters, Wasi, WasiCommand, WasiOutput};
use millpond::{GuestFault, InterpreterPool, JobError, JobHandle, Limits, PoolBuilder};

use crate::rig::failure;

type WasiPool = InterpreterPool<Wasi>;

const TOOL: &[u8] = include_bytes!("tool.wasm");

/// Preview 1's error numbers.
const BADF: u32 = 8;
const NOTSUP: u32 = 58;

fn tool() -> Wasi {
    Wasi::new(TOOL)
}

fn builder(wasi: Wasi) -> PoolBuilder<Interpreters<Wasi>> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("commands-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    InterpreterPool::builder(name, wasi).limits(Limits::fixed(1))
}

/// A pool of one worker.
fn pool(wasi: Wasi) -> WasiPool {
    builder(wasi).build().expect("the module is sound")
}

/// A pool whose commands are granted nothing, of two workers. It is there once: to compile takes seconds where the compiler itself is not optimized.
fn bare() -> &'static WasiPool {
    static BARE: OnceLock<WasiPool> = OnceLock::new();
    BARE.get_or_init(|| builder(tool()).limits(Limits::fixed(2)).build().expect("the module is sound"))
}

fn put(pool: &WasiPool, command: WasiCommand) -> JobHandle<WasiOutput> {
    pool.try_submit(command).unwrap_or_else(|rejected| panic!("{}", rejected.reason()))
}

fn command<const N: usize>(arguments: [&str; N]) -> WasiCommand {
    WasiCommand::new().args(arguments)
}

fn run<const N: usize>(pool: &WasiPool, arguments: [&str; N]) -> WasiOutput {
    put(pool, command(arguments)).join().unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// What a run that ends well says.
fn said<const N: usize>(pool: &WasiPool, arguments: [&str; N]) -> String {
    let output = run(pool, arguments);
    assert_eq!(output.exit_code, 0, "{arguments:?}: {}", text(&output));
    text(&output)
}

fn text(output: &WasiOutput) -> String {
    String::from_utf8(output.stdout.clone()).expect("it writes text")
}

fn fault(handle: JobHandle<WasiOutput>) -> GuestFault {
    match failure(handle) {
        JobError::Guest(failed) => failed.fault,
        other => panic!("{other}"),
    }
}

/// A command whose exit code is what `body` leaves, with all of preview 1 that these tests call.
fn module(body: &str) -> Wasi {
    Wasi::new(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "/etc/passwd")
            (func (export "_start") (call $exit {body})))"#
    ))
}

/// The exit code of such a command.
fn exit_code(body: &str) -> u32 {
    put(&pool(module(body)), WasiCommand::new()).join().unwrap_or_else(|error| panic!("{error}")).exit_code
}
