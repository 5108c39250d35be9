//! Lua, by mlua: scripts are compiled once, and each worker, or each job, has a state of its own in which they were run.

mod call;
mod hook;
mod host;
mod instance;
mod watch;

pub use call::LuaCall;
pub use host::LuaHost;
pub use instance::LuaInstance;

use mlua::chunk::ChunkMode;

use super::{Crossing, Engine};
use crate::backend::StartContext;
use crate::error::GuestFault;
use watch::Watch;

/// What an instance may have if nobody says.
const MEMORY: usize = 64 << 20;
/// Lua nests its own C functions no deeper than 200, each with functions of this process's between.
const STACK: usize = 4 << 20;

type HostFunctions = dyn Fn(&LuaHost<'_>) -> mlua::Result<()> + Send + Sync;

/// Scripts of Lua 5.4, and what their instances may do and have.
///
/// They can do nothing but compute: they have Lua's basic functions and the libraries `coroutine`, `math`, `string`, `table` and `utf8`, and what [`host`](Self::host) adds. There is no
/// `print`, `warn`, `dofile`, `loadfile`, `collectgarbage`, `string.dump` or `require`; `load` takes text alone; a metatable with `__gc` cannot be set; and a coroutine that failed closes nothing.
/// Each instance has at most 64 MiB of memory, unless it is given more or less here. Of this process, the table `millpond` has the functions `beat()`, which says that the job makes
/// progress, and `cancelled()`, which is true once it is asked to stop.
///
/// A kill reaches a script within a thousand of its instructions, whatever it catches or closes. It does not reach into a function of Lua's own that is written in C, and there are some that can be
/// asked to take very long within any limit of memory: `string.rep("", 1 << 60)`, `table.move` over as many elements, a pattern with many `.-` in it. Its worker is abandoned then, as in a
/// call of this process's, and a thread goes on working at it; an end of the pool says `Killed` of it, since nothing that anybody could see comes of it, and lists the worker among [`orphans`](crate::orphans). For scripts whose
/// authors may be enemies, take such functions away in [`host`](Self::host), or run them in child processes.
pub struct Lua {
    scripts: Vec<Source>,
    host: Vec<Box<HostFunctions>>,
    memory: usize,
    fuel: Option<u64>,
    fresh: bool,
    compiled: Vec<Compiled>,
}

struct Source {
    name: String,
    text: Vec<u8>,
}

struct Compiled {
    name: String,
    bytes: Vec<u8>,
}

impl Lua {
    /// A script, as text, called `script` in what is said of it. It is compiled when the pool is built, and run once in each instance: what it defines is there for the jobs.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        let (memory, fuel, fresh) = (MEMORY, None, false);
        let none = Self { scripts: Vec::new(), host: Vec::new(), memory, fuel, fresh, compiled: Vec::new() };
        none.script("script", text)
    }

    /// Adds a script of that name, which is run after those before it.
    #[must_use]
    pub fn script(mut self, name: impl AsRef<str>, text: impl Into<Vec<u8>>) -> Self {
        // Lua shows such a name as it is.
        self.scripts.push(Source { name: format!("={}", name.as_ref()), text: text.into() });
        self
    }

    /// Gives each job an instance of its own, which is dropped after it, instead of one to each worker: a job finds nothing of the one before.
    #[must_use]
    pub fn fresh_per_job(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// How much memory an instance may have, in bytes. One that asks for more gets an error, which its script may catch; a job that fails by it ends with
    /// [`GuestFault::OutOfMemory`].
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// What a job may use, in instructions of Lua's, which are looked at a thousand at a time; a coroutine costs a thousand to make. A call of one of Lua's own functions is one, however long it
    /// takes. Running the scripts in a new instance may use as much again, of its own: each job has all of this, whatever ran before it. Zero builds no pool.
    #[must_use]
    pub fn fuel(mut self, instructions: u64) -> Self {
        self.fuel = Some(instructions);
        self
    }

    /// Adds what scripts may use of this process: [functions](LuaHost::function), and values. `define` is called for each instance before its scripts are run, on its worker's thread; and once
    /// as the pool is built, on the thread that builds it, where it should not wait for anything: what fails there builds no pool. The functions it only makes: they are called on
    /// workers' threads, unless `define` itself calls one.
    #[must_use]
    pub fn host(mut self, define: impl Fn(&LuaHost<'_>) -> mlua::Result<()> + Send + Sync + 'static) -> Self {
        self.host.push(Box::new(define));
        self
    }

    fn compile(&self) -> mlua::Result<Vec<Compiled>> {
        let lua = instance::bare(&self.host, self.memory, &Watch::new(None, None))?;
        let compiled = self.scripts.iter().map(|Source { name, text }| {
            let chunk = lua.load(&**text).set_name(name).set_mode(ChunkMode::Text);
            Ok(Compiled { name: name.clone(), bytes: chunk.into_function()?.dump(false) })
        });
        compiled.collect()
    }
}

impl Engine for Lua {
    type Instance = LuaInstance;

    fn kind(&self) -> &'static str {
        "lua pool"
    }

    fn prepare(&mut self) -> Result<(), String> {
        if self.memory == 0 {
            return Err("an instance without any memory can do nothing".to_owned());
        }
        if self.fuel == Some(0) {
            return Err("a job without any fuel can do nothing".to_owned());
        }
        self.compiled = self.compile().map_err(|error| error.to_string())?;
        // They are not needed again.
        self.scripts = Vec::new();
        Ok(())
    }

    fn instance(&self, crossing: &Crossing, _cx: &StartContext) -> Result<LuaInstance, GuestFault> {
        LuaInstance::new(&self.compiled, &self.host, self.memory, self.fuel, crossing)
    }

    fn stack_size(&self) -> Option<usize> {
        Some(STACK)
    }

    fn begin(&self, instance: &mut LuaInstance) {
        if self.fuel.is_some() {
            instance.begin();
        }
    }

    fn is_fresh_per_job(&self) -> bool {
        self.fresh
    }

    fn is_memory_limited(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Lua {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { memory, fuel, fresh, .. } = self;
        f.debug_struct("Lua")
            .field("memory", memory)
            .field("fuel", fuel)
            .field("fresh_per_job", fresh)
            .finish_non_exhaustive()
    }
}
