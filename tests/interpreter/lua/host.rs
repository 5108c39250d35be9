//! Functions of this process's: on whose thread they are called, and what is said of a job meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{ThreadId, current};

use millpond::interpreter::{Lua, LuaCall, LuaInstance, Script, mlua};
use millpond::{GuestFault, InterpreterPool, JobError, PoolExecutor};

use crate::rig::{Outcome, builder, failure, pool, put, until};

/// A script that calls this process as it is run, at each global that is not there, and when it is asked to.
const CALLER: &str = "function ask() host() return nothing_of_that_name end host() local none = neither_this";

/// One that blocks would block whoever builds the pool.
#[test]
fn they_are_called_on_no_thread_but_a_workers() -> Outcome {
    let (called, calls) = channel::<ThreadId>();
    let lua = |fresh: bool| {
        let called = called.clone();
        let lua = Lua::new(CALLER).host(move |host| {
            let called = called.clone();
            let tell = host.function(move |_, _: mlua::MultiValue| {
                called.send(current().id()).expect("the test listens");
                Ok(())
            })?;
            let globals = host.lua().globals();
            let missing = host.lua().create_table()?;
            missing.set("__index", tell.clone())?;
            globals.set("host", tell)?;
            globals.set_metatable(Some(missing))
        });
        if fresh { lua.fresh_per_job() } else { lua }
    };
    for fresh in [false, true] {
        let pool = pool(lua(fresh));
        put(&pool, LuaCall::<_, Option<i64>>::new("ask", ())).join()?;
        let threads: Vec<ThreadId> = calls.try_iter().collect();
        assert_eq!(threads.len(), 4, "as the script is run, and by the job");
        assert!(threads.iter().all(|thread| *thread != current().id()), "who builds the pool is not kept");
    }
    Ok(())
}

/// What a job's thread is held in.
#[derive(Clone, Default)]
struct Door {
    reached: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
}

impl Door {
    fn pass(&self) {
        self.reached.store(true, Ordering::Release);
        until("it is let go", || self.open.load(Ordering::Acquire));
    }
}

/// A state that is given a function, which whoever gives it calls, and is then held up.
fn held_up(door: &Door) -> Lua {
    let door = door.clone();
    Lua::new("function fine() return 1 end").host(move |host| {
        host.function(|_, ()| Ok(()))?.call::<()>(())?;
        door.pass();
        Ok(())
    })
}

/// The pool ends while a job's thread is in code of this process's: that goes on, and is not called killed.
fn is_abandoned<S: Script<Lua, Output = i64>>(pool: &InterpreterPool<Lua>, job: S, door: &Door) {
    let handle = put(pool, job);
    until("it is held up", || door.reached.load(Ordering::Acquire));
    pool.abort();
    let error = failure(handle);
    door.open.store(true, Ordering::Release);
    assert!(matches!(error, JobError::Abandoned(_)), "this process's code runs on: {error}");
    until("its thread has ended", || pool.inventory_now().workers.is_empty());
}

#[test]
fn who_gives_a_state_its_functions_is_not_the_guest_though_it_calls_them() -> Outcome {
    let (door, built) = (Door::default(), Door::default());
    built.open.store(true, Ordering::Release);
    let (first, later) = (built.clone(), door.clone());
    let lua = Lua::new("function fine() return 1 end").fresh_per_job().host(move |host| {
        host.function(|_, ()| Ok(()))?.call::<()>(())?;
        // The pool is built by the test's own thread.
        if first.reached.load(Ordering::Acquire) {
            later.pass()
        } else {
            first.pass()
        }
        Ok(())
    });
    is_abandoned(&pool(lua), LuaCall::new("fine", ()), &door);
    Ok(())
}

/// Builds another pool, on its worker's thread.
struct Builds(Door);

impl Script<Lua> for Builds {
    type Output = i64;

    fn run(self, _instance: &mut LuaInstance) -> Result<i64, GuestFault> {
        builder(held_up(&self.0)).build().map(|_| 1).map_err(|error| GuestFault::Unfit(error.to_string()))
    }
}

#[test]
fn a_job_that_builds_another_pool_is_not_in_its_guest() -> Outcome {
    let door = Door::default();
    is_abandoned(&pool(Lua::new("")), Builds(door.clone()), &door);
    Ok(())
}

/// A panic of theirs is the maker's, whom they were called by.
#[test]
fn a_panic_as_a_state_is_given_its_functions_is_a_job_that_did_not_begin() -> Outcome {
    let is_built = AtomicBool::new(false);
    let lua = Lua::new("function fine() return 1 end").fresh_per_job().host(move |host| {
        if is_built.swap(true, Ordering::AcqRel) {
            host.function(|_, ()| -> mlua::Result<()> { panic!("as it was told") })?.call::<()>(())?;
        }
        Ok(())
    });
    let error = failure(put(&pool(lua), LuaCall::<_, i64>::new("fine", ())));
    let JobError::Guest(failed) = &error else { panic!("{error}") };
    assert!(!failed.began);
    assert!(matches!(&failed.fault, GuestFault::NoInstance(why) if why.contains("as it was told")), "{error}");
    Ok(())
}
