//! One state of Lua, with its scripts.

use std::panic::resume_unwind;

use mlua::chunk::ChunkMode;
use mlua::{FromLuaMulti, IntoLuaMulti, LuaOptions, MultiValue, StdLib, Value};

use super::hook;
use super::host::LuaHost;
use super::watch::{Stop, Watch};
use super::{Compiled, HostFunctions};
use crate::backend::interpreter::Crossing;
use crate::error::GuestFault;
use crate::job::JobContext;
use crate::sync::Arc;

const PRELUDE: &str = include_str!("prelude.lua");

/// What Lua says where there is none left.
const NO_MEMORY: &str = "not enough memory";
/// Between what is said of an error and where it was raised.
const TRACE: &str = "\nstack traceback:\n";

/// A script's words go into errors and the log: so many bytes of them.
const MOST_WORDS: usize = 4 << 10;

/// A state that knows of no script, in which nothing reaches out of it but what `host` gives.
pub(super) fn bare(host: &[Box<HostFunctions>], memory: usize, watch: &Arc<Watch>) -> mlua::Result<mlua::Lua> {
    let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH;
    let lua = mlua::Lua::new_with(libraries, LuaOptions::new())?;
    lua.set_memory_limit(memory)?;
    hook::install(&lua, watch)?;
    let [look, made, must_stop] = hook::functions(&lua)?;
    let prelude = lua.load(PRELUDE).set_name("=millpond").set_mode(ChunkMode::Text);
    let wrap = prelude.call::<mlua::Function>((look, made, must_stop))?;

    let own = lua.create_table()?;
    own.set(
        "beat",
        lua.create_function(|_, ()| {
            if let Some(job) = JobContext::current() {
                job.beat();
            }
            Ok(())
        })?,
    )?;
    let cancelled = || JobContext::current().is_some_and(|job| job.is_cancelled());
    own.set("cancelled", lua.create_function(move |_, ()| Ok(cancelled()))?)?;
    lua.globals().set("millpond", own)?;
    for define in host {
        define(&LuaHost { lua: &lua, watch, wrap: &wrap })?;
    }
    Ok(lua)
}

/// One state in which the scripts were run: what a [`Script`](crate::interpreter::Script) of yours runs in.
pub struct LuaInstance {
    lua: mlua::Lua,
    watch: Arc<Watch>,
    crossing: Crossing,
    memory: usize,
}

impl LuaInstance {
    pub(super) fn new(
        scripts: &[Compiled],
        host: &[Box<HostFunctions>],
        memory: usize,
        fuel: Option<u64>,
        crossing: &Crossing,
    ) -> Result<Self, GuestFault> {
        let watch = Watch::new(Some(crossing.brake().clone()), fuel);
        let lua = bare(host, memory, &watch).and_then(|lua| watch.begin(&lua).map(|()| lua));
        let lua = lua.map_err(|error| no_instance(fault_of(&error, memory)))?;
        let mut made = Self { lua, watch, crossing: crossing.clone(), memory };
        for Compiled { name, bytes } in scripts {
            let run = |lua: &mlua::Lua| lua.load(&**bytes).set_name(name).set_mode(ChunkMode::Binary).exec();
            made.guest(run).map_err(no_instance)?;
        }
        made.tell();
        Ok(made)
    }

    /// A job gets its fuel.
    pub(super) fn begin(&self) {
        // It sets a hook, for which nothing of the state's memory is needed.
        if let Err(error) = self.watch.begin(&self.lua) {
            tracing::error!("a Lua state could not be looked at anew: {error}");
        }
    }

    /// Says in the inventory how much memory it has.
    fn tell(&self) {
        self.crossing.set_memory(self.lua.used_memory() as u64);
    }

    /// The state, for its values, and for what mlua can do with it beyond what is here. What runs code of the guest's goes through [`guest`](Self::guest).
    pub fn lua(&self) -> &mlua::Lua {
        &self.lua
    }

    /// Calls a global function.
    ///
    /// # Errors
    ///
    /// [`GuestFault::Unfit`] if there is none of that name, or the arguments are none for Lua; and how the call failed.
    pub fn call<A: IntoLuaMulti, R: FromLuaMulti>(&mut self, function: &str, arguments: A) -> Result<R, GuestFault> {
        let found = self.lua.globals().raw_get::<Value>(function).map_err(|error| self.fault(&error))?;
        let Value::Function(found) = found else {
            let kind = found.type_name();
            return Err(GuestFault::Unfit(format!("its script's global `{function}` is no function: it is {kind}")));
        };
        let arguments = arguments.into_lua_multi(&self.lua).map_err(|error| match self.fault(&error) {
            GuestFault::Trapped { message, .. } => {
                GuestFault::Unfit(format!("`{function}` cannot be given its arguments: {message}"))
            }
            other => other,
        })?;
        let answer = self.guest(|_| found.call::<MultiValue>(arguments))?;
        R::from_lua_multi(answer, &self.lua).map_err(|error| match self.fault(&error) {
            // The guest's own fault, after its code has run.
            GuestFault::Trapped { message, .. } => GuestFault::Trapped {
                message: format!("`{function}` answered with what is not asked for: {message}"),
                backtrace: None,
            },
            other => other,
        })
    }

    /// Runs code of the guest's in whatever way mlua knows. Whatever else `f` does is taken for the guest's code too: a kill reaches none of it, and the end of a
    /// pool says of it that it was killed.
    ///
    /// # Errors
    ///
    /// How it failed.
    ///
    /// # Panics
    ///
    /// If a function of this process's did, that the guest called.
    pub fn guest<R>(&mut self, f: impl FnOnce(&mlua::Lua) -> mlua::Result<R>) -> Result<R, GuestFault> {
        self.crossing.enter_guest()?;
        let done = {
            let _left = Left::enter(self);
            // Whoever has used up the job's fuel, and was forgiven that, has none for another call either.
            if self.watch.is_over() { None } else { Some(f(&self.lua)) }
        };
        self.tell();
        let stopped = self.watch.ended(&self.lua);
        let stopped = stopped.map(|why| match why {
            Stop::Fault(fault) => fault,
            Stop::Panicked(panic) => resume_unwind(panic),
        });
        // It was left already: here is asked how.
        self.crossing.leave_guest()?;
        match (stopped, done) {
            // What it caught of this, and answered then, is nobody's.
            (Some(fault), _) => Err(fault),
            (None, Some(done)) => done.map_err(|error| self.fault(&error)),
            (None, None) => Err(GuestFault::Interrupted),
        }
    }

    /// What an error of mlua's says of this instance's guest.
    pub fn fault(&self, error: &mlua::Error) -> GuestFault {
        self.watch.fault().unwrap_or_else(|| fault_of(error, self.memory))
    }
}

/// Leaves the guest, whatever it unwinds from.
struct Left<'a>(&'a LuaInstance);

impl<'a> Left<'a> {
    fn enter(instance: &'a LuaInstance) -> Self {
        instance.watch.enter();
        Self(instance)
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.watch.leave();
        // Asked again by whoever can answer for it.
        let _ = self.0.crossing.leave_guest();
    }
}

fn fault_of(error: &mlua::Error, memory: usize) -> GuestFault {
    if let Some(fault) = error.downcast_ref::<GuestFault>() {
        return fault.clone();
    }
    let (cause, outer) = cause(error);
    let (message, own) = parts(cause);
    // Raised again, as by a coroutine or a function of this process's, it is a string like any other.
    if matches!(cause, mlua::Error::MemoryError(_)) || message == NO_MEMORY {
        return GuestFault::OutOfMemory { limit: memory };
    }
    let trace = outer.map(|trace| trace.trim_start_matches(TRACE.trim_start()).to_owned()).or(own);
    GuestFault::Trapped { message: words(&message), backtrace: trace.as_deref().map(words) }
}

/// What an error says, without where.
pub(super) fn said(error: &mlua::Error) -> String {
    parts(cause(error).0).0
}

/// The error itself, and where the innermost function of mlua's was called that it came through.
fn cause(error: &mlua::Error) -> (&mlua::Error, Option<&str>) {
    let (mut cause, mut trace) = (error, None);
    while let mlua::Error::CallbackError { traceback, cause: inner } = cause {
        (cause, trace) = (inner, Some(traceback.as_str()));
    }
    (cause, trace)
}

/// What it says, and where it says that it was raised.
fn parts(error: &mlua::Error) -> (String, Option<String>) {
    let said = match error {
        mlua::Error::RuntimeError(said) | mlua::Error::MemoryError(said) => said.clone(),
        other => other.to_string(),
    };
    match said.split_once(TRACE) {
        Some((message, trace)) => (message.to_owned(), Some(trace.to_owned())),
        None => (said, None),
    }
}

/// The beginning of what it said, if that is long.
fn words(said: &str) -> String {
    let said = said.trim_end();
    let end = said.floor_char_boundary(MOST_WORDS);
    if end == said.len() { said.to_owned() } else { format!("{}…", &said[..end]) }
}

/// Scripts that fail as they are run leave no instance.
fn no_instance(fault: GuestFault) -> GuestFault {
    match fault {
        GuestFault::Trapped { message, .. } => GuestFault::NoInstance(message),
        other => other,
    }
}

impl std::fmt::Debug for LuaInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LuaInstance").field("lua", &self.lua).finish_non_exhaustive()
    }
}
