//! A pool of Lua states beside what it is made of: a thread with a state behind a channel.

use std::hint::black_box;
use std::time::Duration;

use ::millpond::InterpreterPool;
use ::millpond::interpreter::{Lua, LuaCall, mlua};

use crate::channel;
use crate::harness::{Side, load};
use crate::millpond::one_guest;

const SCRIPT: &str = "function add_one(n) return n + 1 end";

/// Calls with a reply, one at a time.
pub(crate) fn calls() -> impl Side {
    Pooled(one_guest(Lua::new(SCRIPT)))
}

struct Pooled(InterpreterPool<Lua>);

impl Side for Pooled {
    fn run(&mut self, jobs: u64) -> Duration {
        let call = |number| LuaCall::<u64, u64>::new("add_one", number);
        load::outstanding(
            1,
            jobs,
            |number| self.0.submit_blocking(call(number)).expect("a pool that takes jobs"),
            |job| _ = black_box(job.join().expect("jobs do not fail")),
        )
    }
}

/// The same, to a thread with a state of its own, which nothing watches.
pub(crate) fn channel() -> impl Side {
    channel::calls(|| {
        let lua = mlua::Lua::new();
        lua.load(SCRIPT).exec().expect("it is sound");
        let add_one = lua.globals().get::<mlua::Function>("add_one").expect("the script has it");
        move |number| add_one.call::<u64>(number).expect("it does not fail")
    })
}
