//! Jobs run in child processes: functions of this executable, or whatever a program that speaks the frame protocol makes of bytes.
//!
//! One thread of this process looks after each child: it starts it, takes claims, carries them there and back, and reaps it. Nothing of that
//! passes through control, which can only send signals.

mod ahead;
mod bell;
mod call;
mod carry;
mod death;
mod frame;
mod freight;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod grip;
mod identity;
mod inside;
mod killer;
mod link;
mod memory;
mod options;
mod output;
mod parcel;
mod request;
mod spawner;
mod sys;
mod usage;
mod wire;
mod worker;

pub use call::{Call, RemoteCall};
pub use inside::{Entry, init};
pub use options::{ChildOptions, Output};
pub use parcel::ProcessJob;
pub use request::{Answer, RequestFailed};

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::thread::Builder;

use ractor::ActorCell;

use self::bell::Bell;
use self::grip::{Grip, Held};
use self::identity::Executable;
use self::worker::Hand;
use super::{Backend, Capabilities, Interceptor, Interceptors, KillReach, Started};
use crate::error::{BuildError, StartError};
use crate::plane::WorkerContext;
use crate::sync::{Arc, Clock};

/// What every kind of child has.
#[derive(Clone, Default)]
struct Children {
    options: ChildOptions,
    restart_after_panic: bool,
    interceptors: Interceptors,
}

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Children").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Hosts calls of this executable's functions in child processes of the same executable.
///
/// A child can be killed at any instruction, and is: SIGTERM, then SIGKILL, to its whole process group; it is reaped before its slot is used
/// again.
///
/// Small jobs that follow each other within a millisecond go to a child in pairs, which saves the way there and back for one of the two. The second is queued until it
/// begins: it comes back if the first one takes longer than 2 ms, or its child dies before that, and is not hit with it. Both are serialised before either is sent. A pool with
/// several lanes, reserves, interceptors, limits on the wait for a worker, or [`restart_after_panic`](crate::PoolBuilder::restart_after_panic), hands over one at a time.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    entry: Entry,
    children: Children,
}

/// Hosts requests, which are bytes, in processes of a program that speaks the frame protocol of `docs/protocol.md`.
///
/// They can be killed as those of [`Processes`] can, with all of their process group.
///
/// On Linux a program gets SIGKILL when this process ends, however that comes about, unless its file is set-user-ID or has capabilities. If it was by SIGKILL or a crash, so that no
/// pool was ended, processes that the program has started may survive, as those of a [`Processes`] child do not: `docs/protocol.md` says what the program can do about it.
#[derive(Clone, Debug)]
pub struct Programs {
    program: OsString,
    arguments: Vec<OsString>,
    children: Children,
}

impl Processes {
    /// Children of this executable, whose `main` begins with [`init`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the children begin; default: `main`.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entry = entry;
        self
    }
}

impl Programs {
    /// Processes of this program, found as a shell would find it.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), arguments: Vec::new(), children: Children::default() }
    }

    /// Adds an argument of the program's.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }
}

/// What is set alike for both.
macro_rules! set_alike {
    ($($backend:ty),*) => {$(
        impl $backend {
            /// How its processes are started, and what they may use.
            #[must_use]
            pub fn child(mut self, options: ChildOptions) -> Self {
                self.children.options = options;
                self
            }

            /// Ends a process whose job panicked, and restarts its slot, instead of keeping it.
            #[must_use]
            pub fn restart_after_panic(mut self) -> Self {
                self.children.restart_after_panic = true;
                self
            }

            /// Adds an interceptor, called in this process around each job.
            #[must_use]
            pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
                self.children.interceptors.push(interceptor);
                self
            }
        }
    )*};
}

set_alike!(Processes, Programs);

impl Children {
    /// True if children may be handed a job while they have another one: nothing has to happen in between.
    fn take_jobs_early(&self) -> bool {
        !self.options.singly && !self.restart_after_panic && self.interceptors.is_empty()
    }

    fn prepare(&self, pool: &str) -> Result<(), BuildError> {
        let bad = |reason| BuildError::Children { pool: Arc::from(pool), reason };
        if inside::has_missed_init() {
            return Err(bad(
                "this process is itself to be a worker, and its `main` does not begin with `millpond::process::init()`"
                    .to_owned(),
            ));
        }
        self.options.check().map_err(bad)
    }

    /// Starts the thread that starts a child and looks after it.
    #[expect(clippy::disallowed_methods, reason = "the home of the threads that look after children")]
    fn start(
        &self,
        cx: WorkerContext<dyn ProcessJob>,
        command: Command,
        identity: Option<&'static Executable>,
    ) -> Result<Started, StartError> {
        let clock = Clock::real();
        killer::start(&clock).map_err(StartError::Refused)?;
        let bell = Bell::new().map_err(StartError::Refused)?;
        let grip = Grip::new(bell.clone(), clock.clone(), self.options.term_grace);
        cx.facts_cell().set_process(grip.clone());
        let hand = Hand { children: self.clone(), identity, grip: grip.clone(), bell, clock };
        let thread = Builder::new().name(format!("{}-{}", cx.pool(), cx.worker()));
        // A refused spawn drops the closure, and with it the context, which reports the exit.
        thread.spawn(move || hand.look_after(cx, command)).map_err(StartError::Refused)?;
        Ok(Started::kept(Held(grip)))
    }
}

fn capabilities(kind: &'static str, children: &Children) -> Capabilities {
    let mut capabilities = Capabilities::new(kind, KillReach::Anywhere);
    capabilities.memory_limited = true;
    capabilities.ends_within = children.options.ends_within();
    capabilities
}

impl Backend for Processes {
    type Job = dyn ProcessJob;

    fn capabilities(&self) -> Capabilities {
        capabilities("process pool", &self.children)
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.children.prepare(pool)?;
        let unknown = |reason: &str| BuildError::Children { pool: Arc::from(pool), reason: reason.to_owned() };
        Executable::own().map(drop).map_err(unknown)
    }

    fn start(&self, cx: WorkerContext<dyn ProcessJob>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let executable = Executable::own().map_err(StartError::failed)?;
        let mut command = Command::new(Executable::path().map_err(StartError::Refused)?);
        self.children.options.shape(&mut command);
        self.entry.shape(&mut command);
        self.children.start(cx, command, Some(executable))
    }
}

impl Backend for Programs {
    type Job = dyn ProcessJob;

    fn capabilities(&self) -> Capabilities {
        capabilities("program pool", &self.children)
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.children.prepare(pool)
    }

    fn start(&self, cx: WorkerContext<dyn ProcessJob>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        // In a worker of this executable that is set, and says what its programs are not.
        inside::unmark(&mut command);
        self.children.options.shape(&mut command);
        self.children.start(cx, command, None)
    }
}
