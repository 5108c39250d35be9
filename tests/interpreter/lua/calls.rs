//! Calls with values of all kinds, what scripts find in their state, and what they do not.

use std::collections::BTreeMap;

use millpond::interpreter::mlua::{self, BString};
use millpond::interpreter::{Lua, LuaCall, LuaInstance, Script};
use millpond::{BuildError, GuestFault, JobError, PoolExecutor};

use crate::rig::{Outcome, builder, failure, fault, pool, put};

fn call<R>(function: &str) -> LuaCall<(), R> {
    LuaCall::new(function, ())
}

#[test]
fn values_go_in_and_come_out() -> Outcome {
    let pool = pool(Lua::new("function same(...) return ... end  function none() end"));
    let numbers = (-2_i64, 0.5_f64, u8::MAX);
    assert_eq!(put(&pool, LuaCall::<_, (i64, f64, u8)>::new("same", numbers)).join()?, numbers);
    let words = (true, "pond".to_owned(), None::<i32>, Some(4));
    let same = put(&pool, LuaCall::<_, (bool, String, Option<i32>, Option<i32>)>::new("same", words.clone()));
    assert_eq!(same.join()?, words);
    let bytes = BString::from(vec![0_u8, 255, b'\n']);
    assert_eq!(put(&pool, LuaCall::<_, BString>::new("same", bytes.clone())).join()?, bytes);
    let large = BString::from(vec![7_u8; 1_000_000]);
    assert_eq!(put(&pool, LuaCall::<_, BString>::new("same", large.clone())).join()?, large);
    let map = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]);
    assert_eq!(put(&pool, LuaCall::<_, BTreeMap<String, Vec<i32>>>::new("same", map.clone())).join()?, map);
    put(&pool, call::<()>("none")).join()?;
    Ok(())
}

#[test]
fn an_answer_of_another_type_is_the_guests_fault() -> Outcome {
    let pool = pool(Lua::new("function word() return 'pond' end"));
    let error = failure(put(&pool, call::<i64>("word")));
    let JobError::Guest(failed) = &error else { panic!("{error}") };
    assert!(failed.began);
    assert!(matches!(&failed.fault, GuestFault::Trapped { message, .. } if message.contains("word")), "{error}");
    assert_eq!(put(&pool, call::<String>("word")).join()?, "pond");
    Ok(())
}

#[test]
fn scripts_are_run_in_their_order_and_named_in_traces() -> Outcome {
    let lua = Lua::new("base = 1").script("rules", "top = base + 1\n\nfunction fail() error('no rule') end");
    let pool = pool(lua.script("last", "function top_of_all() return top end"));
    assert_eq!(put(&pool, call::<i64>("top_of_all")).join()?, 2);
    let GuestFault::Trapped { message, backtrace } = fault(put(&pool, call::<()>("fail"))) else { panic!() };
    assert_eq!(message, "rules:3: no rule");
    let backtrace = backtrace.expect("Lua says where");
    assert!(backtrace.contains("rules:3: in function 'fail'"), "{backtrace}");
    Ok(())
}

#[test]
fn what_is_no_text_of_a_script_builds_no_pool() {
    let whole = "local a = { 'x', [1 + 2] = function(b) return b end } function f() return a[1] .. [[y]] end";
    assert!(builder(Lua::new(whole)).build().is_ok(), "the whole of it is one");
    let mut sound = Vec::new();
    let mut noise = 1_u64;
    for length in 1..whole.len() {
        if builder(Lua::new(&whole.as_bytes()[..length])).build().is_ok() {
            sound.push(length);
        }
        let random: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 56) as u8
        })
        .take(length + 7)
        .collect();
        let error = builder(Lua::new(random)).build().expect_err("it is none");
        assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
    }
    // A declaration without its value, the whole of the first statement, and that with a blank.
    let expected = [whole.find(" =").expect("it is there"), whole.find(" function f").expect("it is there")];
    assert!(sound.iter().all(|length| *length <= expected[0] + 1 || *length >= expected[1]), "{sound:?}");

    let error = builder(Lua::new("x =\n = 1")).build().expect_err("it is none").to_string();
    assert!(error.contains("script:2"), "{error}");
    let unnamed = builder(Lua::new("").script("a\0b", "")).build();
    assert!(unnamed.is_err(), "Lua has no such name");
}

#[test]
fn bytecode_is_no_text() -> Outcome {
    let state = mlua::Lua::new();
    let code = state.load("return 1").into_function().expect("it is Lua").dump(false);
    let error = builder(Lua::new(code.clone())).build().expect_err("nobody has checked it").to_string();
    assert!(error.contains("binary"), "{error}");

    let pool = pool(Lua::new(
        "function try(code, mode)
            local made, why = load(code, 'code', mode)
            return made and made(), why
         end",
    ));
    let try_it = |code: &[u8], mode: Option<&'static str>| {
        put(&pool, LuaCall::<_, (Option<i64>, Option<String>)>::new("try", (BString::from(code), mode)))
    };
    for mode in [None, Some("b"), Some("bt")] {
        let (ran, why) = try_it(&code, mode).join()?;
        assert!(ran.is_none() && why.as_ref().is_some_and(|why| why.contains("binary")), "{why:?}");
    }
    assert_eq!(try_it(b"return 5", None).join()?, (Some(5), None));
    Ok(())
}

#[test]
fn nothing_reaches_out_of_a_state() -> Outcome {
    let pool = pool(Lua::new(
        "function named()
            local names = {}
            for name, value in pairs(_G) do
                if name ~= 'named' then names[#names + 1] = name end
                if type(value) == 'table' and value ~= _G then
                    for inner in pairs(value) do names[#names + 1] = name .. '.' .. inner end
                end
            end
            table.sort(names)
            return names
         end",
    ));
    let names = put(&pool, call::<Vec<String>>("named")).join()?;
    let basic = "_G _VERSION assert error getmetatable ipairs load next pairs pcall rawequal rawget rawlen rawset select \
                 setmetatable tonumber tostring type xpcall";
    let strings = "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper";
    for name in names {
        let known = match name.split_once('.') {
            None => basic.split_whitespace().any(|known| known == name) || libraries().contains(&&*name),
            Some(("string", name)) => strings.split_whitespace().any(|known| known == name),
            Some((library, _)) => libraries().contains(&library),
        };
        assert!(known, "a script has `{name}`");
    }
    Ok(())
}

fn libraries() -> [&'static str; 6] {
    ["coroutine", "math", "millpond", "string", "table", "utf8"]
}

/// What scripts may expect of their language is there, where the prelude is between.
#[test]
fn coroutines_and_protected_calls_are_lua() -> Outcome {
    let pool = pool(Lua::new(
        r#"
        function check()
            local steps = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
            assert(steps(1) == 2 and steps(5) == 10)
            local ok, why = pcall(steps)
            assert(not ok and why:find("dead coroutine"), why)
            local co = coroutine.create(function() error({ code = 7 }) end)
            local ok, why = coroutine.resume(co)
            assert(not ok and why.code == 7 and coroutine.status(co) == "dead")
            assert(coroutine.close(co))
            local closed = false
            local open = coroutine.create(function()
                local held <close> = setmetatable({}, { __close = function() closed = true end })
                coroutine.yield()
            end)
            coroutine.resume(open)
            assert(coroutine.close(open) and closed)
            local through = coroutine.wrap(function() return pcall(function() return coroutine.yield(1) end) end)
            assert(through() == 1)
            local ok, got = through(2)
            assert(ok and got == 2)
            local ok, handled = xpcall(error, function(why) return "handled " .. why end, "this", 0)
            assert(not ok and handled == "handled this")
            assert(select('#', xpcall(function(...) return ... end, error, 1, nil, nil)) == 4)
            local ok, why = pcall(setmetatable, {}, { __gc = function() end })
            assert(not ok and why:find("__gc"), why)
            assert(getmetatable(setmetatable({}, { __name = "plain" })).__name == "plain")
            assert(load("return ...", "given", "t", {})(3) == 3)
            return true
        end"#,
    ));
    assert!(put(&pool, call::<bool>("check")).join()?);
    Ok(())
}

/// What a user's own script may do: whatever mlua can.
struct Text(&'static str);

impl Script<Lua> for Text {
    type Output = i64;

    fn run(self, instance: &mut LuaInstance) -> Result<i64, GuestFault> {
        instance.guest(|lua| lua.load(self.0).eval())
    }
}

#[test]
fn a_script_runs_text_of_its_own() -> Outcome {
    let pool = pool(Lua::new("base = 40"));
    assert_eq!(put(&pool, Text("base + 2")).join()?, 42);
    let fault = fault(put(&pool, Text("base +")));
    assert!(matches!(fault, GuestFault::Trapped { .. }), "{fault}");
    Ok(())
}

#[test]
fn a_function_of_this_process_answers_or_fails_and_the_script_may_catch_that() -> Outcome {
    let lua = Lua::new(
        "function try(n)
            local ok, answer = pcall(host.half, n)
            assert(type(answer) == (ok and 'number' or 'string'))
            return ok, ok and tostring(answer) or answer
         end
         function fall(n) local half = host.half(n) return half end",
    );
    let pool = pool(lua.host(|host| {
        let half = host.function(|_, n: i64| match n % 2 {
            0 => Ok(n / 2),
            _ => Err(mlua::Error::runtime(format!("{n} has no half"))),
        })?;
        let table = host.lua().create_table()?;
        table.set("half", half)?;
        host.lua().globals().set("host", table)
    }));
    let try_it = |n: i64| put(&pool, LuaCall::<_, (bool, String)>::new("try", n));
    assert_eq!(try_it(4).join()?, (true, "2".to_owned()));
    let (ok, why) = try_it(5).join()?;
    assert_eq!((ok, why.as_str()), (false, "5 has no half"));
    let (ok, why) = put(&pool, LuaCall::<_, (bool, String)>::new("try", "pike")).join()?;
    assert!(!ok && why.starts_with("bad arguments: ") && why.contains("string"), "{why}");
    let GuestFault::Trapped { message, backtrace } = fault(put(&pool, LuaCall::<_, i64>::new("fall", 5))) else {
        panic!("it was to trap")
    };
    assert_eq!(message, "5 has no half");
    assert!(backtrace.is_some_and(|trace| trace.contains("in function 'fall'")));
    let refused = builder(Lua::new("").host(|_| Err(mlua::Error::runtime("not today")))).build();
    let error = refused.expect_err("it cannot be given what it is to have").to_string();
    assert!(error.contains("not today"), "{error}");
    Ok(())
}

/// Whatever its script catches.
#[test]
fn a_fault_that_this_process_finds_is_the_jobs() -> Outcome {
    let found = GuestFault::OutOfOutput { stream: "complaints", limit: 2 };
    let fails_with = found.clone();
    let lua =
        Lua::new("function run() pcall(pcall, judge) return 1 end function fine() return 1 end").host(move |host| {
            let fails_with = fails_with.clone();
            let judge = host.function(move |_, ()| Err::<(), _>(mlua::Error::external(fails_with.clone())))?;
            host.lua().globals().set("judge", judge)
        });
    let pool = pool(lua);
    assert_eq!(fault(put(&pool, call::<i64>("run"))), found);
    assert_eq!(put(&pool, call::<i64>("fine")).join()?, 1);
    Ok(())
}

#[test]
fn a_coroutine_costs_fuel_to_make() {
    let lua = Lua::new("function make(n) for _ = 1, n do coroutine.wrap(function() end)() end end");
    let pool = pool(lua.fuel(100_000));
    assert!(put(&pool, LuaCall::<_, ()>::new("make", 50)).join().is_ok());
    let fault = fault(put(&pool, LuaCall::<_, ()>::new("make", 100)));
    assert_eq!(fault, GuestFault::OutOfFuel { fuel: 100_000 });
    assert!(builder(Lua::new("").fuel(0)).build().is_err());
    assert_eq!(pool.inventory_now().workers[0].restarts, 0);
}
