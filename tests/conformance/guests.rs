//! Tasks as jobs of interpreters.

use millpond::interpreter::Interpreters;
#[cfg(feature = "lua")]
use millpond::interpreter::Lua;
#[cfg(feature = "interpreter")]
use millpond::interpreter::Wasm;
use millpond::{Interceptor, InterpreterPool, PoolBuilder};

use crate::polled::{self, Polled};
use crate::subject::{Intercepted, Subject, runtime};
use crate::task::Task;

/// Makes a subject of an engine.
macro_rules! guests {
    ($subject:ident, $kind:literal, $engine:ty, $module:ident) => {
        pub(crate) struct $subject;

        impl Subject for $subject {
            const KIND: &'static str = $kind;
            type Backend = Interpreters<$engine>;
            type Job = Polled<u64>;

            fn builder(name: &str) -> PoolBuilder<Self::Backend> {
                InterpreterPool::builder(name, polled::$module::engine())
            }

            fn job(task: Task) -> Polled<u64> {
                Polled::new(task.run_async())
            }

            fn run_here(job: Polled<u64>) -> u64 {
                runtime().block_on(job.into_inner())
            }
        }

        impl Intercepted for $subject {
            fn interceptor(builder: PoolBuilder<Self::Backend>, by: impl Interceptor) -> PoolBuilder<Self::Backend> {
                builder.interceptor(by)
            }
        }
    };
}

#[cfg(feature = "interpreter")]
guests!(OnGuests, "guests", Wasm, wasm);
#[cfg(feature = "lua")]
guests!(OnLua, "lua", Lua, lua);
