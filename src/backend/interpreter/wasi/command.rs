//! One run of a command.

use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use super::output::Written;
use super::time::Time;
use super::wait::Sleepers;
use super::{Wasi, WasiInstance, runtime};
use crate::backend::interpreter::Script;
use crate::backend::interpreter::wasm::{Guest, Unmade, WasmInstance};
use crate::error::GuestFault;
use crate::sync::Arc;

/// How much of what a command has said on its standard error goes into the error when it traps.
const LAST_WORDS: usize = 512;

/// A run of a pool's command, with its arguments and its input.
///
/// The first argument that the program sees, its own name, is the pool's. What it is refused by the system it is told by preview 1's error numbers, and may go on.
#[derive(Clone, Default, Debug)]
pub struct WasiCommand {
    arguments: Vec<String>,
    input: Vec<u8>,
}

/// What came of a command that ended by itself, whatever its exit code.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct WasiOutput {
    /// What it gave to `proc_exit`; 0 if it returned.
    pub exit_code: u32,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl WasiCommand {
    /// Without arguments, and with an input that is at its end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument. It must not have a NUL in it: such a command never begins, and ends with [`GuestFault::Unfit`].
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments, as [`arg`](Self::arg) does.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// What it reads from its standard input. It is kept outside of the command's memory, and may be larger than that.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }
}

/// What a run has on this side, in its [`Guest`].
pub(super) struct State {
    pub(super) context: WasiP1Ctx,
    pub(super) time: Time,
    pub(super) sleepers: Arc<Sleepers>,
}

impl State {
    pub(super) fn of(guest: &mut Guest) -> &mut Self {
        guest.get_mut().expect("it is put there before any of the guest's code runs")
    }
}

impl Script<Wasi> for WasiCommand {
    type Output = WasiOutput;

    fn run(self, instance: &mut WasiInstance) -> Result<WasiOutput, GuestFault> {
        let Self { mut arguments, input } = self;
        if let Some(bad) = arguments.iter().position(|argument| argument.contains('\0')) {
            return Err(GuestFault::Unfit(format!("argument {} of the command has a NUL in it", bad + 1)));
        }
        let WasiInstance { compiled, grants, sleepers, crossing, started } = instance;
        arguments.insert(0, started.pool().to_owned());
        let (stdout, stderr) = (Written::new("stdout", grants.output), Written::new("stderr", grants.output));
        let time = if grants.clocks { Time::real() } else { Time::still() };
        let no_instance = |why| GuestFault::NoInstance(why);
        let context = grants.context(&arguments, input, (&stdout, &stderr), &time).map_err(no_instance)?;
        let _entered = runtime().map_err(|error| no_instance(error.to_string()))?.enter();
        let state = State { context, time, sleepers: sleepers.clone() };
        let ended = match compiled.instance(crossing, started, |guest| guest.set(state)) {
            Ok(mut made) => start(&mut made),
            Err(Unmade { error, fault }) => exit_code(&error).ok_or(fault).map_err(|fault| match fault {
                // There was nothing yet to be run.
                GuestFault::Trapped { message, .. } if !crossing.was_entered() => GuestFault::NoInstance(message),
                other => other,
            }),
        };
        crossing.forget_memory();
        match ended {
            Ok(exit_code) => Ok(WasiOutput { exit_code, stdout: stdout.take(), stderr: stderr.take() }),
            Err(fault) => Err(with_last_words(fault, &stderr.take())),
        }
    }
}

fn start(instance: &mut WasmInstance) -> Result<u32, GuestFault> {
    // What its start function has used was that one's own.
    instance.refuel();
    let made = instance.instance();
    let started = made.get_typed_func::<(), ()>(instance.store_mut(), "_start");
    match started.and_then(|function| function.call(instance.store_mut(), ())) {
        Ok(()) => Ok(0),
        Err(error) => exit_code(&error).ok_or_else(|| instance.fault(&error)),
    }
}

/// What it gave to `proc_exit`, if that is how it ended.
fn exit_code(error: &wasmtime::Error) -> Option<u32> {
    error.downcast_ref::<I32Exit>().map(|I32Exit(code)| code.cast_unsigned())
}

/// A program that panics says on its standard error why, and then traps.
fn with_last_words(fault: GuestFault, stderr: &[u8]) -> GuestFault {
    match fault {
        GuestFault::Trapped { message, backtrace } if !stderr.is_empty() => {
            let last = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(LAST_WORDS)..]);
            // Quoted: it is the guest's text, with whatever it may do to a terminal.
            GuestFault::Trapped { message: format!("{message}; its last words: {:?}", last.trim_end()), backtrace }
        }
        other => other,
    }
}
