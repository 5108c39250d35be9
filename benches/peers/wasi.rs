//! A pool of WASI commands beside a bare run of the same module: wasmtime and wasmtime-wasi alone, on the calling thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ::millpond::InterpreterPool;
use ::millpond::interpreter::wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
};
use ::millpond::interpreter::{Wasi, WasiCommand};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

use crate::harness::{Side, load};
use crate::millpond::one_guest;

/// Writes what it reads.
const MODULE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 64))
        (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))))"#;

const INPUT: [u8; 64] = [7; 64];

/// Commands on their way at a time: the one worker has no pause, as the peer has none.
const OUTSTANDING: usize = 64;

/// One run after the other.
pub(crate) fn commands() -> impl Side {
    Pooled(one_guest(Wasi::new(MODULE)))
}

struct Pooled(InterpreterPool<Wasi>);

impl Side for Pooled {
    fn run(&mut self, jobs: u64) -> Duration {
        load::outstanding(
            OUTSTANDING,
            jobs,
            |_| self.0.submit_blocking(WasiCommand::new().stdin(INPUT)).expect("a pool that takes jobs"),
            |job| assert_eq!(job.join().expect("jobs do not fail").stdout, INPUT),
        )
    }
}

/// The same by hand: a context, an instance from the same allocator, a call.
pub(crate) fn bare() -> impl Side {
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config).expect("it is sound");
    let module = Module::new(&engine, MODULE).expect("it is a module");
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |context| context).expect("nobody else gives it that");
    let module = linker.instantiate_pre(&module).expect("it imports nothing else");
    Bare { engine, module }
}

struct Bare {
    engine: Engine,
    module: InstancePre<WasiP1Ctx>,
}

impl Side for Bare {
    fn run(&mut self, jobs: u64) -> Duration {
        let begun = Instant::now();
        (0..jobs).for_each(|_| assert_eq!(black_box(self.command()), INPUT));
        begun.elapsed()
    }
}

impl Bare {
    fn command(&self) -> Vec<u8> {
        let (stdout, stderr) = (MemoryOutputPipe::new(1 << 20), MemoryOutputPipe::new(1 << 20));
        let mut context = WasiCtxBuilder::new();
        context.allow_blocking_current_thread(true).arg("bare");
        context.stdin(MemoryInputPipe::new(INPUT.to_vec())).stdout(stdout.clone()).stderr(stderr);
        let mut store = Store::new(&self.engine, context.build_p1());
        let instance = self.module.instantiate(&mut store).expect("there is one");
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("it exports it");
        start.call(&mut store, ()).expect("it does not fail");
        drop(store);
        stdout.contents().to_vec()
    }
}
