//! Commands of WASI preview 1, by wasmtime-wasi: programs with arguments, standard streams and an exit code, each in an instance of its own.

mod command;
mod grants;
mod output;
mod time;
mod wait;

pub use command::{WasiCommand, WasiOutput};

use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};
use wasmtime::{ExternType, Linker, Module};
use wasmtime_wasi::{FsPerms, I32Exit, p1};

use super::wasm::{Compiled, Guest, Wasm};
use super::{Crossing, Engine};
use crate::backend::StartContext;
use crate::error::GuestFault;
use crate::sync::{Arc, OnceLock};
use command::State;
use grants::Grants;
use wait::Sleepers;

/// The name under which preview 1 is imported.
const PREVIEW_1: &str = "wasi_snapshot_preview1";
/// Preview 1's word for what is not to be had.
const NOT_SUPPORTED: i32 = 58;

/// A command module of WASI preview 1, and what its runs may do and have.
///
/// Each [`WasiCommand`] runs it once, in an instance of its own. Nothing is there but what is granted here: no environment, no files, no random numbers but
/// the same ones each time, and a clock that stands at zero, and that a sleep puts forward without taking any time. There is no network, whatever is granted.
///
/// A directory is real, with the times of its files: a command that has one sees when they were changed, whether or not it has clocks; and one that may write there can tell the time, and measure how it
/// passes, by a file that it writes.
///
/// What it writes to its standard streams is kept for its outcome, at most 1 MiB of each. What else it may have is that of a [`Wasm`]'s instance.
///
/// ```
/// use millpond::interpreter::{Wasi, WasiCommand};
/// use millpond::{InterpreterPool, Limits};
///
/// let three = r#"(module
///     (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
///     (memory (export "memory") 1)
///     (func (export "_start") (call $exit (i32.const 3))))"#;
/// let pool = InterpreterPool::builder("commands", Wasi::new(three)).limits(Limits::fixed(1)).build()?;
/// let output = pool.submit_blocking(WasiCommand::new())?.join()?;
/// assert_eq!(output.exit_code, 3);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct Wasi {
    wasm: Wasm,
    grants: Arc<Grants>,
    sleepers: Arc<Sleepers>,
}

impl Wasi {
    /// A command module, in WebAssembly's binary or text format: one that exports `_start: [] -> []` and its memory as `memory`. It is compiled, and found
    /// fit or not, when the pool is built.
    pub fn new(module: impl Into<Vec<u8>>) -> Self {
        Self { wasm: Wasm::new(module).fresh_per_job().host(define), grants: Arc::default(), sleepers: Arc::default() }
    }

    /// As [`Wasm::memory_limit`], for each run.
    #[must_use]
    pub fn memory_limit(self, bytes: usize) -> Self {
        Self { wasm: self.wasm.memory_limit(bytes), ..self }
    }

    /// As [`Wasm::table_limit`], for each run.
    #[must_use]
    pub fn table_limit(self, elements: usize) -> Self {
        Self { wasm: self.wasm.table_limit(elements), ..self }
    }

    /// As [`Wasm::stack_limit`].
    #[must_use]
    pub fn stack_limit(self, bytes: usize) -> Self {
        Self { wasm: self.wasm.stack_limit(bytes), ..self }
    }

    /// As [`Wasm::instance_limit`]: each run has an instance of its own.
    #[must_use]
    pub fn instance_limit(self, instances: usize) -> Self {
        Self { wasm: self.wasm.instance_limit(instances), ..self }
    }

    /// As [`Wasm::fuel`], for each run. What this process does for a command uses none.
    #[must_use]
    pub fn fuel(self, units: u64) -> Self {
        Self { wasm: self.wasm.fuel(units), ..self }
    }

    /// How much a run may write to its standard output, and as much to its standard error, in bytes. One that writes more is ended there, with
    /// [`GuestFault::OutOfOutput`].
    #[must_use]
    pub fn output_limit(self, bytes: usize) -> Self {
        self.granting(|grants| grants.output = bytes)
    }

    /// Sets a variable of the environment, which is empty otherwise.
    #[must_use]
    pub fn grant_env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.granting(|grants| grants.environment.push((name.into(), value.into())))
    }

    /// Lets commands read what is in that directory of this system's, and below it, where they see it as `guest`. A path or symbolic link that leads out of it
    /// is refused. It is opened anew for each run. At most 128 files may be open in one. When its files were changed and read they see, too.
    ///
    /// What blocks there, such as a named pipe that nobody writes to, blocks the worker: a kill abandons it.
    #[must_use]
    pub fn grant_read_only(self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.granting(|grants| grants.directories.push((host.into(), guest.into(), FsPerms::ReadOnly)))
    }

    /// As [`grant_read_only`](Self::grant_read_only), and lets commands create, change and remove what is there. How much they write is not limited. They can tell the time by it, without
    /// [clocks](Self::grant_clocks): a file that is written has the system's time.
    #[must_use]
    pub fn grant_read_write(self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.granting(|grants| grants.directories.push((host.into(), guest.into(), FsPerms::ReadWrite)))
    }

    /// Lets commands see the time, and how it passes: the system's clock, and a monotonic one that begins at zero with each run. A sleep then takes its time, in which
    /// a kill ends it at once.
    #[must_use]
    pub fn grant_clocks(self) -> Self {
        self.granting(|grants| grants.clocks = true)
    }

    /// Gives commands random numbers that nobody can foretell, instead of the same ones to each run; 1 MiB of them at once, at most.
    #[must_use]
    pub fn grant_random(self) -> Self {
        self.granting(|grants| grants.random = true)
    }

    fn granting(mut self, grant: impl FnOnce(&mut Grants)) -> Self {
        grant(Arc::make_mut(&mut self.grants));
        self
    }
}

impl Engine for Wasi {
    type Instance = WasiInstance;

    fn kind(&self) -> &'static str {
        "wasi pool"
    }

    fn prepare(&mut self) -> Result<(), String> {
        self.wasm.prepare()?;
        let compiled = self.wasm.compiled().map_err(|fault| fault.to_string())?;
        check(compiled.module())?;
        self.grants.check()?;
        runtime().map_err(|error| format!("the system refuses what its input and output need: {error}"))?;
        Ok(())
    }

    fn instance(&self, crossing: &Crossing, cx: &StartContext) -> Result<WasiInstance, GuestFault> {
        Ok(WasiInstance {
            compiled: self.wasm.compiled()?.clone(),
            grants: self.grants.clone(),
            sleepers: self.sleepers.clone(),
            crossing: crossing.clone(),
            started: cx.clone(),
        })
    }

    fn stack_size(&self) -> Option<usize> {
        self.wasm.stack_size()
    }

    fn is_memory_limited(&self) -> bool {
        true
    }

    fn prod(&self) {
        self.wasm.prod();
        self.sleepers.wake();
    }
}

/// What a worker of such a pool has: each [`WasiCommand`] gets an instance of its module from it.
pub struct WasiInstance {
    compiled: Compiled,
    grants: Arc<Grants>,
    sleepers: Arc<Sleepers>,
    crossing: Crossing,
    started: StartContext,
}

/// What preview 1 says that a command is.
fn check(module: &Module) -> Result<(), String> {
    match module.get_export("_start") {
        Some(ExternType::Func(start)) if start.params().len() == 0 && start.results().len() == 0 => {}
        Some(_) => return Err("it is no command: its `_start` is no function without arguments and results".to_owned()),
        None => return Err("it is no command: it exports no function `_start`".to_owned()),
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(()),
        _ => Err("it is no command: it exports no memory called `memory`".to_owned()),
    }
}

/// wasmtime-wasi's preview 1, but for what may wait, or leave, or reach out.
fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    p1::add_to_linker_sync(linker, |guest| &mut State::of(guest).context)?;
    linker.allow_shadowing(true);
    linker.func_wrap(PREVIEW_1, "poll_oneoff", wait::poll_oneoff)?;
    // Any exit code: theirs ends at 125, and has what is beyond that be a trap.
    linker.func_wrap(PREVIEW_1, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) })?;
    // Theirs refuse, too, and log a warning each time: a guest is not to fill a log.
    linker.func_wrap(PREVIEW_1, "sock_accept", |_: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(PREVIEW_1, "sock_recv", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(PREVIEW_1, "sock_send", |_: i32, _: i32, _: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(PREVIEW_1, "sock_shutdown", |_: i32, _: i32| NOT_SUPPORTED)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The runtime that wasmtime-wasi blocks on. Of what it is asked for nothing waits, so that nobody needs to drive it; without one it would start its own, with
/// threads, on first use, and panic where the system refuses them.
fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if RUNTIME.get().is_none()
        && let Err(surplus) = RUNTIME.set(Builder::new_current_thread().build()?)
    {
        // Not dropped: this may be within another one, where that panics.
        surplus.shutdown_background();
    }
    Ok(RUNTIME.get().expect("it was set"))
}

impl std::fmt::Debug for Wasi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasi").field("wasm", &self.wasm).field("grants", &self.grants).finish()
    }
}

impl std::fmt::Debug for WasiInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiInstance").field("started", &self.started).finish_non_exhaustive()
    }
}
