//! What pools of interpreters supply: of any engine whose guests poll futures.

use std::task::Poll;

#[cfg(feature = "lua")]
use millpond::interpreter::Lua;
#[cfg(feature = "wasi")]
use millpond::interpreter::Wasi;
#[cfg(feature = "interpreter")]
use millpond::interpreter::Wasm;
use millpond::interpreter::{Engine, Interpreters, Script};
use millpond::testing::conformance::{AfterCrash, Subject, Tether};
use millpond::{GuestFault, InterpreterPool, JobContext, PoolBuilder};

use super::subjects::{ignores, ignores_async};
use crate::polled::{self, Polled};

/// What a guest may have here: less than it wants to grow to.
const MEMORY: usize = 1 << 20;

/// An instance for each worker.
#[cfg(feature = "interpreter")]
pub(super) const GUESTS: On<Wasm> = On(|| polled::wasm::engine().memory_limit(MEMORY));
/// One for each job.
#[cfg(feature = "interpreter")]
pub(super) const FRESH_GUESTS: On<Wasm> = On(|| polled::wasm::engine().memory_limit(MEMORY).fresh_per_job());
/// One for each command, of which a job here may run many.
#[cfg(feature = "wasi")]
pub(super) const COMMANDS: On<Wasi> = On(|| polled::wasi::engine().memory_limit(MEMORY));
/// A state for each worker.
#[cfg(feature = "lua")]
pub(super) const LUA: On<Lua> = On(|| polled::lua::engine().memory_limit(MEMORY));

/// Whose guests have functions of their own: `trap` and `grow`, which fail, and `spin`, which never ends.
pub(super) trait Acts: Engine {
    fn call(instance: &mut Self::Instance, function: &str) -> Result<(), GuestFault>;
}

#[cfg(feature = "interpreter")]
impl Acts for Wasm {
    fn call(instance: &mut Self::Instance, function: &str) -> Result<(), GuestFault> {
        instance.call(function, ())
    }
}

#[cfg(feature = "wasi")]
impl Acts for Wasi {
    fn call(instance: &mut Self::Instance, function: &str) -> Result<(), GuestFault> {
        polled::wasi::run(instance, function, 0)
    }
}

#[cfg(feature = "lua")]
impl Acts for Lua {
    fn call(instance: &mut Self::Instance, function: &str) -> Result<(), GuestFault> {
        instance.call(function, ())
    }
}

/// A future that is polled for the guest, or a function of its own.
pub(super) enum Act {
    Poll(Polled<u64>),
    Call(&'static str),
    Spin(Tether),
}

impl<E: Acts> Script<E> for Act
where
    Polled<u64>: Script<E, Output = u64>,
{
    type Output = u64;

    fn run(self, instance: &mut E::Instance) -> Result<u64, GuestFault> {
        match self {
            Self::Poll(polled) => polled.run(instance),
            Self::Call(function) => E::call(instance, function).map(|()| 0),
            // It is dropped when the guest has ended.
            Self::Spin(tether) if tether.is_cut() => Ok(0),
            Self::Spin(_tether) => E::call(instance, "spin").map(|()| 0),
        }
    }
}

/// A pool of this interpreter.
pub(super) struct On<E>(fn() -> E);

impl<E: Acts> Subject for On<E>
where
    Polled<u64>: Script<E, Output = u64>,
{
    type Backend = Interpreters<E>;
    type Job = Act;

    fn builder(&self, name: &str) -> PoolBuilder<Interpreters<E>> {
        InterpreterPool::builder(name, (self.0)())
    }

    fn returns(&self, number: u64) -> Act {
        Act::Poll(Polled::new(async move { number }))
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Act {
        // The guest asks again and again.
        Act::Poll(Polled::new(std::future::poll_fn(move |_| {
            let job = JobContext::current().expect("a job has a context");
            job.beat();
            if job.is_cancelled() || tether.is_cut() { Poll::Ready(0) } else { Poll::Pending }
        })))
    }

    fn ignores(&self, tether: Tether) -> Act {
        Act::Poll(Polled::new(ignores_async(tether)))
    }

    fn crashes(&self) -> Act {
        Act::Call("trap")
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::GoesOn
    }

    fn out_of_reach(&self, tether: Tether) -> Option<Act> {
        Some(Act::Poll(Polled::new(async move { ignores(&tether) })))
    }

    fn loops(&self, tether: Tether) -> Option<Act> {
        Some(Act::Spin(tether))
    }

    fn grows(&self) -> Option<Act> {
        Some(Act::Call("grow"))
    }
}
