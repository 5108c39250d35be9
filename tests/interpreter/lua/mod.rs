//! Lua: its plugin, and what it has alone.

mod calls;
mod host;
mod hostile;

use std::sync::Arc;

use millpond::GuestFault;
use millpond::interpreter::{Lua, LuaCall, LuaInstance, Script, mlua};

use crate::kinds::{Host, Kind, Never};

const PLUGIN: &str = r#"
number = 7
local counted = 0

function fine() return 1 end
function count() counted = counted + 1 return counted end
function trap() error("as it was told") end
function spin() while true do end end

local function deeper(n)
    if n == 0 then return 1 end
    return deeper(n - 1) + deeper(n - 1)
end

function branch() return deeper(60) end
function recurse() return recurse() + 1 end

local kept = {}
function grow(pieces)
    for _ = 1, pieces do kept[#kept + 1] = ("x"):rep(65536) end
    return 1
end

local function eat(pieces)
    while true do pieces[#pieces + 1] = ("x"):rep(65536) end
end

function eat_politely()
    local pieces = {}
    pcall(eat, pieces)
    return #pieces
end

_ENV.eat = function() eat {} end
function turns(n) for _ = 1, n do end return 0 end

function until_cancelled()
    repeat millpond.beat() until millpond.cancelled()
    return 5
end

function grow_and_wait()
    grow(32)
    return until_cancelled()
end
"#;

const CALLING: &str = r#"
function fine() return 1 end
function call() host() return 1 end
function call_and_spin() host() while true do end end
"#;

impl Kind for Lua {
    type Call = LuaCall<i64, i64>;

    fn plugin() -> Self {
        Self::new(PLUGIN)
    }

    fn calling(host: Arc<Host>) -> Self {
        Self::new(CALLING).host(move |state| {
            let host = host.clone();
            let called = state.function(move |_, ()| host().map_err(mlua::Error::external))?;
            state.lua().globals().set("host", called)
        })
    }

    fn starting(turns: i64) -> Self {
        Self::new(PLUGIN).script("start", format!("turns({turns})"))
    }

    fn never_made(how: Never) -> Self {
        Self::new(match how {
            Never::Ends => "function fine() return 1 end while true do end",
            Never::Succeeds => "function fine() return 1 end error('unreachable')",
        })
    }

    fn call(function: &'static str, number: i64) -> LuaCall<i64, i64> {
        LuaCall::new(function, number)
    }

    fn keep(value: Box<dyn Send>) -> impl Script<Self, Output = i64> {
        Keep(value)
    }

    fn count_and_miss() -> impl Script<Self, Output = i64> {
        CountAndMiss
    }

    fn despite(first: &'static str, last: Option<&'static str>) -> impl Script<Self, Output = i64> {
        Despite(first, last)
    }

    fn fresh(self) -> Self {
        self.fresh_per_job()
    }

    fn memory(self, bytes: usize) -> Self {
        self.memory_limit(bytes)
    }

    fn fuelled(self, units: u64) -> Self {
        self.fuel(units)
    }
}

struct Keep(Box<dyn Send>);

impl Script<Lua> for Keep {
    type Output = i64;

    fn run(self, instance: &mut LuaInstance) -> Result<i64, GuestFault> {
        instance.lua().set_app_data(self.0);
        Ok(1)
    }
}

struct CountAndMiss;

impl Script<Lua> for CountAndMiss {
    type Output = i64;

    fn run(self, instance: &mut LuaInstance) -> Result<i64, GuestFault> {
        instance.call::<_, i64>("count", ())?;
        instance.call("none", ())
    }
}

struct Despite(&'static str, Option<&'static str>);

impl Script<Lua> for Despite {
    type Output = i64;

    fn run(self, instance: &mut LuaInstance) -> Result<i64, GuestFault> {
        let Self(first, last) = self;
        let _whatever = instance.call::<_, i64>(first, 0);
        last.map_or(Ok(0), |last| instance.call(last, 0))
    }
}
