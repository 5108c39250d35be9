//! Tasks as jobs of WebAssembly instances.

use millpond::interpreter::{Interpreters, Wasm};
use millpond::{Interceptor, InterpreterPool, PoolBuilder};

use crate::polled::{self, Polled};
use crate::subject::{Intercepted, Subject, runtime};
use crate::task::Task;

pub(crate) struct OnGuests;

impl Subject for OnGuests {
    const KIND: &'static str = "guests";
    type Backend = Interpreters<Wasm>;
    type Job = Polled<u64>;

    fn builder(name: &str) -> PoolBuilder<Interpreters<Wasm>> {
        InterpreterPool::builder(name, polled::engine())
    }

    fn job(task: Task) -> Polled<u64> {
        Polled::new(task.run_async())
    }

    fn run_here(job: Polled<u64>) -> u64 {
        runtime().block_on(job.into_inner())
    }
}

impl Intercepted for OnGuests {
    fn interceptor(builder: PoolBuilder<Interpreters<Wasm>>, by: impl Interceptor) -> PoolBuilder<Interpreters<Wasm>> {
        builder.interceptor(by)
    }
}
