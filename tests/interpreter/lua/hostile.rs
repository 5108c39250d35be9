//! Scripts that mean no good, in ways that are Lua's: whatever they catch, close or hand over, they end as they are told.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::interpreter::{Lua, LuaCall, mlua};
use millpond::{Fate, GuestFault, JobError, JobOptions, Ladder, Limits, PoolExecutor, Rung, Select, orphans};

use crate::rig::{LIMIT, Outcome, builder, failure, fault, is_killed, patient_kill, pool, put, until, until_busy};

/// Each would go on after an interruption that is an error like any other.
const STUBBORN: &[(&str, &str)] = &[
    ("catches", "while true do pcall(spin) end"),
    ("catches_in_c", "while true do pcall(pcall, pcall, spin) end"),
    ("catches_at_last", "return pcall(spin)"),
    ("handles", "xpcall(spin, function() spin() end)"),
    ("handles_in_c", "xpcall(function() table.sort({ 3, 2, 1 }, spin) end, function() spin() end)"),
    ("handles_its_handler", "xpcall(spin, function() xpcall(spin, spin) end)"),
    ("in_a_coroutine", "coroutine.wrap(spin)()"),
    ("resumes", "while true do coroutine.resume(coroutine.create(spin)) end"),
    ("resumes_deeply", "local function deep(n) while true do coroutine.resume(coroutine.create(deep), n) end end deep()"),
    ("nests", "local function nest() coroutine.wrap(nest)() end while true do pcall(nest) end"),
    ("made_before", "local made = {} for n = 1, 1000 do made[n] = coroutine.create(function() while true do coroutine.yield() end end) end
        while true do for n = 1, #made do coroutine.resume(made[n]) end end"),
    ("closes_here", "local a <close> = closes(spin) while true do end"),
    ("closes_here_in_a_coroutine", "coroutine.wrap(function() local a <close> = closes(spin) while true do end end)()"),
    ("closes", "local a <close> = closes(spin) spin()"),
    ("closes_much", "local function deep(n) local a <close> = closes(spin) if n > 0 then deep(n - 1) end spin() end deep(150)"),
    ("wraps_what_closes", "coroutine.wrap(function() local a <close> = closes(spin) spin() end)()"),
    ("wraps_what_closes_in_c", "coroutine.wrap(function() local a <close> = closes(spin) table.sort({ 3, 2, 1 }, spin) end)()"),
    ("closes_by_hand", "local co = coroutine.create(function() local a <close> = closes(spin) coroutine.yield() end)
        coroutine.resume(co) coroutine.close(co)"),
    ("closes_a_failed_one", "local co = coroutine.create(function() local a <close> = closes(spin) spin() end)
        coroutine.resume(co) coroutine.close(co)"),
    ("indexes", "local x = setmetatable({}, { __index = spin }).x"),
    ("compares", "table.sort({ 3, 2, 1 }, spin)"),
    ("replaces", "string.gsub('abc', '.', spin)"),
    ("tells", "error(setmetatable({}, { __tostring = spin }))"),
    ("loads", "while true do load(spin) end"),
    ("iterates", "for _ in spin do end"),
    ("clears", "local all = _G for name in pairs(all) do all[name] = nil end while true do end"),
    ("goes_to", "::again:: goto again"),
];

fn stubborn() -> Lua {
    let mut text = "function spin() while true do end end
        function fine() return 1 end
        function closes(f) return setmetatable({}, { __close = f }) end\n"
        .to_owned();
    for (name, body) in STUBBORN {
        text.push_str(&format!("function {name}() {body} end\n"));
    }
    Lua::new(text)
}

fn call(function: &str) -> LuaCall<(), i64> {
    LuaCall::new(function, ())
}

#[test]
fn whatever_it_catches_or_closes_a_kill_ends_it() -> Outcome {
    let pool = builder(stubborn()).build()?;
    for (name, _) in STUBBORN {
        // Not only as it begins.
        for turns in [0_u32, 3_000, 30_000] {
            let handle = put(&pool, call(name));
            until_busy(&pool, 1);
            (0..turns).for_each(|_| std::hint::spin_loop());
            let report = pool.blocking().terminate(Select::job(handle.id()), patient_kill(), LIMIT)?;
            assert_eq!(report.targets[0].fate, Fate::Killed, "{name}");
            let error = failure(handle);
            assert!(matches!(error, JobError::Killed(_)), "{name}: {error}");
        }
        assert_eq!(put(&pool, call("fine")).join()?, 1, "{name}");
    }
    Ok(())
}

#[test]
fn whatever_it_catches_or_closes_it_runs_out_of_fuel() -> Outcome {
    let pool = pool(stubborn().fuel(300_000));
    for (name, _) in STUBBORN {
        assert_eq!(fault(put(&pool, call(name))), GuestFault::OutOfFuel { fuel: 300_000 }, "{name}");
        assert_eq!(put(&pool, call("fine")).join()?, 1, "{name}");
    }
    Ok(())
}

#[test]
fn memory_is_refused_wherever_it_is_asked_for() -> Outcome {
    let script = r#"
        function one_string() return #("x"):rep(1 << 30) end
        function one_table() local t = {} for n = 1, 1 << 40 do t[n] = n end end
        function many_tables() local t = {} while true do t = { t } end end
        function coroutines() local t = {} while true do t[#t + 1] = coroutine.create(function() end) end end
        function doubles() local s = "x" while true do s = s .. s end end
        function concatenates() local t = {} for n = 1, 1 << 20 do t[n] = "0123456789" end return #table.concat(t) end
        function formats() return #string.format("%s%s", ("x"):rep(1 << 21), ("y"):rep(1 << 22)) end
        function closures() local t = {} while true do local n = #t t[n + 1] = function() return n end end end
        function replaces() return #("x"):rep(1 << 20):gsub("x", ("y"):rep(1 << 10)) end
        function catches() while true do pcall(doubles) end end
        function wraps() coroutine.wrap(many_tables)() end
        function hoards_errors()
            local all = {}
            for n = 1, 1000 do all[n] = select(2, pcall(fail, 65536)) end
            return #all
        end
        function fails_hosted() return host(doubles) end
        function fine() return 1 end"#;
    for lua in [Lua::new(script), Lua::new(script).fresh_per_job()] {
        let lua = lua.host(|host| {
            let fail = host.function(|_, bytes| Err::<(), _>(mlua::Error::runtime("x".repeat(bytes))))?;
            let call = host.function(|_, f: mlua::Function| f.call::<()>(()))?;
            host.lua().globals().set("fail", fail)?;
            host.lua().globals().set("host", call)
        });
        let pool = pool(lua.memory_limit(8 << 20));
        let functions = [
            "one_string",
            "one_table",
            "many_tables",
            "coroutines",
            "doubles",
            "concatenates",
            "formats",
            "closures",
            "replaces",
            "wraps",
            "hoards_errors",
            "fails_hosted",
        ];
        for function in functions {
            assert_eq!(fault(put(&pool, call(function))), GuestFault::OutOfMemory { limit: 8 << 20 }, "{function}");
            assert_eq!(put(&pool, call("fine")).join()?, 1);
        }
        // Who goes on after that is no worse than any loop.
        let options = JobOptions::new().run_limit(Duration::from_millis(20));
        let error = failure(pool.with(options).try_submit(call("catches"))?);
        assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    }
    Ok(())
}

/// Interrupted while there is no memory even for the error that says so.
#[test]
fn who_has_used_up_all_memory_is_killed_all_the_same() -> Outcome {
    let script = r#"
        local hoard
        local lasting = setmetatable({}, { __close = function() while true do end end })
        local function fill()
            local a <close> = lasting
            while true do hoard = { hoard } end
        end
        local function round()
            hoard = nil
            local co = coroutine.create(fill)
            coroutine.resume(co)
            coroutine.close(co)
            fill()
        end
        function full() while true do pcall(round) end end
        function fine() return 1 end"#;
    let pool = builder(Lua::new(script).memory_limit(1 << 20)).build()?;
    for _ in 0..20 {
        let handle = put(&pool, call("full"));
        until_busy(&pool, 1);
        (0..20_000).for_each(|_| std::hint::spin_loop());
        is_killed(&pool, handle)?;
    }
    assert_eq!(put(&pool, call("fine")).join()?, 1);
    Ok(())
}

#[test]
fn depth_without_end_is_a_trap() -> Outcome {
    let script = r#"
        function in_c() return select(2, pcall(string.gsub, "x", "x", in_c)) end
        function nested() string.gsub("x", "x", nested) end
        function called() return setmetatable({}, { __index = called }).x end
        function text() return load(("("):rep(100000) .. "1" .. (")"):rep(100000))() end
        function hosted() host(hosted) end
        function coroutines() coroutine.wrap(coroutines)() end
        function fine() return 1 end"#;
    let lua = Lua::new(script).host(|host| {
        let back = host.function(|_, f: mlua::Function| f.call::<()>(()))?;
        host.lua().globals().set("host", back)
    });
    let pool = pool(lua);
    for function in ["nested", "called", "text", "hosted", "coroutines"] {
        let fault = fault(put(&pool, call(function)));
        assert!(matches!(fault, GuestFault::Trapped { .. }), "{function}: {fault}");
        assert_eq!(put(&pool, call("fine")).join()?, 1);
    }
    Ok(())
}

#[test]
fn what_it_says_of_itself_is_cut_short() -> Outcome {
    let pool = pool(Lua::new("function shout() error(('é'):rep(1 << 20), 0) end"));
    let GuestFault::Trapped { message, backtrace } = fault(put(&pool, call("shout"))) else { panic!("it was to trap") };
    assert!(message.starts_with("éé") && message.len() <= 4_200, "{} bytes", message.len());
    assert!(backtrace.is_some_and(|trace| trace.len() <= 4_200));
    Ok(())
}

/// A function of Lua's own in C, which can be asked to take for ever; here only for a while.
const IN_C: &str = r#"
    function long() return #string.rep("", 400000000) end
    function fine() return 1 end"#;

/// Nobody tells when a job has come to its function in C: what is to happen to one that is in there is tried until it does.
fn in_time(attempt: impl Fn() -> Result<bool, Box<dyn Error + Send + Sync>>) -> Outcome {
    for _ in 0..100 {
        if attempt()? {
            return Ok(());
        }
    }
    panic!("it happened in none of a hundred attempts");
}

#[test]
fn a_function_of_luas_own_is_not_reached_by_a_kill() -> Outcome {
    in_time(|| {
        let pool = builder(Lua::new(IN_C)).kill_grace(Duration::from_millis(10)).build()?;
        let handle = put(&pool, call("long"));
        until_busy(&pool, 1);
        let ladder = Ladder::new().then(Rung::Kill, Duration::from_millis(10));
        let report = pool.blocking().terminate(Select::job(handle.id()), ladder, LIMIT)?;
        let error = failure(handle);
        if report.targets[0].fate == Fate::Killed && matches!(error, JobError::Killed(_)) {
            return Ok(false);
        }
        assert_eq!(report.targets[0].fate, Fate::Abandoned);
        assert!(matches!(error, JobError::Abandoned(_)), "{error}");
        assert_eq!(put(&pool, call("fine")).join()?, 1, "its slot has another");
        until("it has come to its end", || pool.saturation().abandoned == 0);
        Ok(true)
    })
}

#[test]
fn the_end_of_a_pool_lists_who_is_in_a_function_of_luas_own() -> Outcome {
    in_time(|| {
        let pool = builder(Lua::new(IN_C)).limits(Limits::fixed(1)).build()?;
        let handle = put(&pool, call("long"));
        let id = handle.id();
        until_busy(&pool, 1);
        let name = pool.name().to_owned();
        pool.abort();
        let error = failure(handle);
        assert!(matches!(error, JobError::Killed(_)), "nothing can be seen of it any more: {error}");
        let listed = || orphans().iter().any(|orphan| *orphan.pool == *name && orphan.job == Some(id));
        let was_listed = listed();
        until("it has come to its end", || !listed());
        Ok(was_listed)
    })
}

/// Whoever is in the host as it is killed gets no word in after it.
#[test]
fn what_was_abandoned_in_the_host_runs_no_more_of_its_script() -> Outcome {
    let [inside, open, after] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    let (entered, door, told) = (inside.clone(), open.clone(), after.clone());
    let lua = Lua::new("function run() pcall(block) pcall(tell) tell() end").host(move |host| {
        let (entered, door, told) = (entered.clone(), door.clone(), told.clone());
        let block = host.function(move |_, ()| {
            entered.store(true, Ordering::Release);
            until("it is let go", || door.load(Ordering::Acquire));
            Ok(())
        })?;
        let tell = host.function(move |_, ()| {
            told.store(true, Ordering::Release);
            Ok(())
        })?;
        host.lua().globals().set("block", block)?;
        host.lua().globals().set("tell", tell)
    });
    let pool = builder(lua).kill_grace(Duration::from_millis(10)).build()?;
    let handle = put(&pool, LuaCall::<(), ()>::new("run", ()));
    until("it is in the host", || inside.load(Ordering::Acquire));
    let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    assert!(matches!(failure(handle), JobError::Abandoned(_)));
    open.store(true, Ordering::Release);
    until("its thread has ended", || pool.saturation().abandoned == 0);
    assert!(!after.load(Ordering::Acquire), "its script went on");
    Ok(())
}

/// What the guest calls from there, and returns to, changes nothing of that.
#[test]
fn a_function_of_this_process_is_under_way_until_the_outermost_returns() -> Outcome {
    let [inside, open] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (entered, door) = (inside.clone(), open.clone());
    let lua = Lua::new("function run() outer(function() inner() end) end").host(move |host| {
        let (entered, door) = (entered.clone(), door.clone());
        let outer = host.function(move |_, f: mlua::Function| {
            f.call::<()>(())?;
            entered.store(true, Ordering::Release);
            until("it is let go", || door.load(Ordering::Acquire));
            Ok(())
        })?;
        host.lua().globals().set("outer", outer)?;
        host.lua().globals().set("inner", host.function(|_, ()| Ok(()))?)
    });
    let pool = pool(lua);
    let handle = put(&pool, LuaCall::<(), ()>::new("run", ()));
    until("the guest has come back", || inside.load(Ordering::Acquire));
    pool.abort();
    let error = failure(handle);
    open.store(true, Ordering::Release);
    assert!(matches!(error, JobError::Abandoned(_)), "this process's code runs on: {error}");
    Ok(())
}

/// Where there is no room left for a hook: as the count is over there, an error comes in its place, and not a look.
const AT_THE_END: &str = r#"
    local function nothing() end
    local function spin() while true do end end
    local wide = load("local function wide(n, f) local " .. ("_, "):rep(150) .. "_ if n == 0 then return (f()) end "
        .. "return (wide(n - 1, f)) end return wide")()
    local function narrow(n, f) if n == 0 then return (f()) end return (narrow(n - 1, f)) end
    local function most(fits)
        local n = 0
        for step = 13, 0, -1 do
            if pcall(fits, n + (1 << step), nothing) then n = n + (1 << step) end
        end
        return n
    end
    -- Where it still can catch errors, and so deep that nobody can look from there.
    local function near_the_end(f)
        local frames = most(wide)
        return wide(frames - 1, function()
            local left = most(narrow)
            return (f(left))
        end)
    end
    function why() return near_the_end(function(left) return (select(2, pcall(narrow, left, spin))) end) end
    function stays()
        near_the_end(function(left)
            arrived()
            while true do pcall(narrow, left, spin) end
        end)
    end
    function fine() return 1 end"#;

fn at_the_end(arrived: &Arc<AtomicBool>) -> Lua {
    let arrived = arrived.clone();
    Lua::new(AT_THE_END).memory_limit(256 << 20).host(move |host| {
        let arrived = arrived.clone();
        let arrived = host.function(move |_, ()| {
            arrived.store(true, Ordering::Release);
            Ok(())
        })?;
        host.lua().globals().set("arrived", arrived)
    })
}

#[test]
fn a_script_at_the_end_of_its_stack_is_stopped_as_it_catches_that() -> Outcome {
    let arrived = Arc::new(AtomicBool::new(false));
    let pool = builder(at_the_end(&arrived)).build()?;
    let why = put(&pool, LuaCall::<(), String>::new("why", ())).join()?;
    assert!(why.contains("stack overflow"), "the hook did not come: {why}");
    let handle = put(&pool, call("stays"));
    until("it is there", || arrived.load(Ordering::Acquire));
    is_killed(&pool, handle)?;
    assert_eq!(put(&pool, call("fine")).join()?, 1);
    Ok(())
}

#[test]
fn a_script_at_the_end_of_its_stack_pays_as_it_catches_that() -> Outcome {
    const FUEL: u64 = 2_000_000;
    let arrived = Arc::new(AtomicBool::new(false));
    let pool = pool(at_the_end(&arrived).fuel(FUEL));
    assert_eq!(fault(put(&pool, call("stays"))), GuestFault::OutOfFuel { fuel: FUEL });
    assert!(arrived.load(Ordering::Acquire), "it was used up on the way");
    Ok(())
}
