//! Pools of WebAssembly instances beside what they are made of: a thread with an instance behind a channel, and wasmtime alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ::millpond::interpreter::wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store, TypedFunc,
};
use ::millpond::interpreter::{Wasm, WasmCall};
use ::millpond::{InterpreterPool, JobStatus, Ladder, Select, TimeLimit};

use crate::channel;
use crate::harness::figures::{micros, quantile};
use crate::harness::{Measured, Side, load};
use crate::millpond::one_guest;

const MODULE: &str = r#"(module
    (memory 1)
    (func (export "next") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
    (func (export "spin") (param i64) (result i64) (loop $again (br $again)) (i64.const 0)))"#;

/// Jobs on their way at a time, where the worker is to have no pause.
const OUTSTANDING: usize = 64;

fn call(number: u64) -> WasmCall<u64, u64> {
    WasmCall::new("next", number)
}

/// Calls with a reply, one at a time.
pub(crate) fn calls() -> impl Side {
    Pooled(one_guest(Wasm::new(MODULE)), 1)
}

struct Pooled(InterpreterPool<Wasm>, usize);

impl Side for Pooled {
    fn run(&mut self, jobs: u64) -> Duration {
        let Self(pool, most) = self;
        load::outstanding(
            *most,
            jobs,
            |number| pool.submit_blocking(call(number)).expect("a pool that takes jobs"),
            |job| _ = black_box(job.join().expect("jobs do not fail")),
        )
    }
}

/// The same, to a thread with an instance of its own.
pub(crate) fn channel() -> impl Side {
    channel::calls(|| {
        let mut bare = Bare::new(&Config::new());
        let (mut store, next) = bare.instance();
        move |number| next.call(&mut store, number).expect("it does not fail")
    })
}

/// A module of wasmtime's.
struct Bare {
    engine: Engine,
    module: InstancePre<()>,
}

impl Bare {
    fn new(config: &Config) -> Self {
        let engine = Engine::new(config).expect("it is sound");
        let module = Module::new(&engine, MODULE).expect("it is a module");
        let module = Linker::new(&engine).instantiate_pre(&module).expect("it imports nothing");
        Self { engine, module }
    }

    fn instance(&mut self) -> (Store<()>, TypedFunc<u64, u64>) {
        let mut store = Store::new(&self.engine, ());
        let instance = self.module.instantiate(&mut store).expect("there is one");
        let next = instance.get_typed_func(&mut store, "next").expect("it exports it");
        (store, next)
    }
}

/// What a fresh instance adds to each job, beside a bare one from the same allocator that is made and dropped.
pub(crate) fn fresh(turns: usize) -> Measured {
    const JOBS: u64 = 20_000;
    let mut kept = Pooled(one_guest(Wasm::new(MODULE)), OUTSTANDING);
    let mut fresh = Pooled(one_guest(Wasm::new(MODULE).fresh_per_job()), OUTSTANDING);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let mut bare = Bare::new(&config);
    let each = |took: Duration| took.as_secs_f64() * 1e9 / JOBS as f64;
    let turn = |_| {
        let kept = each(kept.run(JOBS));
        let fresh = each(fresh.run(JOBS));
        let begun = Instant::now();
        (0..JOBS).for_each(|_| drop(black_box(bare.instance())));
        (fresh - kept, each(begun.elapsed()))
    };
    Measured::lower_is_better("ns", (0..turns).map(turn).unzip())
}

/// The p99 of the time from the kill of a loop without end until its outcome is there.
pub(crate) fn killed(kills: usize) -> Measured {
    let pool = one_guest(Wasm::new(MODULE));
    let kill = |_| {
        let spins = pool.submit_blocking(WasmCall::<u64, u64>::new("spin", 0)).expect("a pool that takes jobs");
        load::wait_until("it runs", || spins.status() == JobStatus::Running);
        let target = Select::job(spins.id());
        let begun = Instant::now();
        pool.blocking().terminate(target, Ladder::kill(), TimeLimit::default()).expect("a pool that answers");
        spins.join().expect_err("it was killed");
        micros(begun.elapsed())
    };
    let times: Vec<f64> = (0..kills).map(kill).collect();
    Measured::alone("us", quantile(&times, 0.99))
}
