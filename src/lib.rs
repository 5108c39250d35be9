//! Worker pools that can be seen into: how full, who, since when, from which line; make it bigger; kill that one.
//!
//! A pool is a *supervisor actor* of `ractor`, each worker a *supervised actor*. Jobs do not pass through the supervisor's
//! mailbox: they live on a **data plane** of gate, lanes and slots in shared memory, on which submitters and workers hold leases.
//! The supervisor owns that plane, and its mailbox carries control alone, so control stays fast however many jobs wait.
//!
//! ```
//! use millpond::{JobOptions, Lane, Limits, PoolExecutor, ThreadPool};
//!
//! let pool = ThreadPool::builder("io")
//!     .limits(Limits::fixed(6))
//!     .lane(Lane::new("dns").reserve(1))
//!     .build()?;
//! let dns = pool.with(JobOptions::new().lane("dns").label("localhost"));
//! let answer = dns.submit_blocking(|| "127.0.0.1")?.join()?;
//! println!("{answer}\n{}", pool.inventory_now());
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! The words used here, the states and the arguments for them are in `DESIGN.md`.

#![cfg_attr(millpond_loom, allow(dead_code, unused_imports))]

#[cfg(all(feature = "process", not(unix)))]
compile_error!("millpond's feature `process` needs Unix: it is built on process groups, signals and Unix sockets");

mod autoscale;
mod config;
mod error;
mod gate;
mod hook;
mod id;
mod job;
mod lane;
mod plane;
mod policy;
mod slot;
mod snapshot;
mod sync;

#[cfg(not(millpond_loom))]
mod backend;
#[cfg(not(millpond_loom))]
mod builder;
#[cfg(not(millpond_loom))]
mod control;
#[cfg(not(millpond_loom))]
mod executor;
#[cfg(not(millpond_loom))]
mod pool;
#[cfg(all(feature = "testing", not(millpond_loom)))]
pub mod testing;

/// Child processes: what a program with a [`ProcessPool`] calls and says. Feature `process`; Unix, tested on Linux alone.
///
/// ```no_run
/// fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     millpond::process::init(); // In a child this runs jobs, and does not return.
///
///     let pool = millpond::ProcessPool::builder("thumbs").build()?;
///     let handle = pool.submit_blocking(|(width, height): (u32, u32)| width * height, (640, 480))?;
///     assert_eq!(handle.join()?, 307_200);
///     Ok(())
/// }
/// ```
#[cfg(all(feature = "process", not(millpond_loom)))]
pub mod process {
    pub use crate::backend::process::{
        Answer, Call, ChildOptions, Entry, Output, ProcessJob, Processes, Programs, RemoteCall, RequestFailed, init,
    };
}

/// For the fuzzer alone.
#[cfg(all(fuzzing, feature = "process"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::backend::process::fuzz::{frames, session};
}

/// Interpreters: what a program with an [`InterpreterPool`] calls, and what another interpreter implements to have pools. Feature `guest`; with
/// `interpreter`, WebAssembly, with `wasi`, commands of WASI preview 1, and with `lua`, Lua.
#[cfg(all(feature = "guest", not(millpond_loom)))]
pub mod interpreter {
    #[cfg(feature = "lua")]
    pub use crate::backend::interpreter::lua::{Lua, LuaCall, LuaHost, LuaInstance};
    #[cfg(feature = "wasi")]
    pub use crate::backend::interpreter::wasi::{Wasi, WasiCommand, WasiInstance, WasiOutput};
    #[cfg(feature = "interpreter")]
    pub use crate::backend::interpreter::wasm::{Guest, Wasm, WasmBytes, WasmCall, WasmInstance};
    pub use crate::backend::interpreter::{Brake, Crossing, Engine, InterpreterJob, Interpreters, Script, Scripted};
    #[cfg(feature = "lua")]
    pub use mlua;
    #[cfg(feature = "interpreter")]
    pub use wasmtime;
}

#[cfg(feature = "guest")]
pub use error::{GuestFailed, GuestFault};
#[cfg(all(feature = "guest", not(millpond_loom)))]
pub use pool::InterpreterPool;

#[cfg(feature = "process")]
pub use error::{Death, DeathCause, TransferFailed, TransferFault};
#[cfg(all(feature = "process", not(millpond_loom)))]
pub use pool::{ProcessPool, ProgramPool};

// ---- use it ------------------------------------------------------------------------------------------------------------
#[cfg(not(millpond_loom))]
pub use {
    backend::Worker,
    builder::PoolBuilder,
    control::{HookSpec, Ladder, NewRestartPolicy, PoolMessage, PoolSupervisor, Retune, Select, Targets, Watchdog},
    executor::{Blocking, Caller, DynExecutor, DynSubmitter, Executor, PoolExecutor, TimeLimit},
    pool::{ActorPool, ByName, Pool, Submitter, TaskPool, ThreadPool},
};
pub use {
    config::{ConfigError, InForce, Lane, LaneChange, Limits, Quarantine, Recycle, Retuned, WhenFull},
    error::{
        AttachError, BuildError, CancelledJob, Cause, CloseReason, ControlError, DeadLetter, Deadlock, Delivery,
        JobError, JoinError, KilledJob, LimitKind, NestedWait, NotStarted, NotYet, PanicReport, Payload, RejectReason,
        Rejected, StartError, StartFailed, TimedOut, WaitsFor,
    },
    id::{By, ClaimNo, JobId, WorkerId},
    job::{JobContext, JobHandle, JobOptions, JobStatus},
    policy::Redelivery,
    sync::{Clock, Timestamp},
};

// ---- extend it ---------------------------------------------------------------------------------------------------------
#[cfg(not(millpond_loom))]
pub use backend::{
    ActorJob, Actors, Backend, Call, CallWith, Capabilities, Hosts, Interceptor, KillOutcome, KillReach, StartContext,
    Started, TaskJob, Tasks, ThreadJob, Threads, WithState, WorkerControl,
};
#[cfg(not(millpond_loom))]
pub use control::{HookMessage, Receipt};
pub use {
    autoscale::Autoscaler,
    hook::{Answer, Doomed, Hook, HookChange, HookContext, HookFault, HookOptions, Notice, Question, Verdict},
    job::{ClaimKey, Envelope, Header, JobCell, Ran, Share},
    plane::{Claim, WorkerContext},
    policy::{Exit, PoolHistory, RecycleReason, Restart, RestartPolicy, SlotHistory, jitter},
};

// ---- watch it ----------------------------------------------------------------------------------------------------------
pub use snapshot::{
    Cooling, Delay, DelayedStarts, Ended, Facts, Fate, Health, Histogram, Inventory, JobRow, LaneSnapshot, Ledger,
    Lineage, Longest, LongestAbandoned, Quarantined, Rung, Saturation, Scene, Shortage, Snapshot, Target, TargetReport,
    TerminationReport, Veto, VetoedStarts, WorkerRow, WorkerState,
};
#[cfg(not(millpond_loom))]
pub use {
    control::{EventStream, HookRow, Orphan, PoolEvent, ResizeReport, RetuneReport, Settled, ShutdownReport, orphans},
    pool::pools,
};

/// The README's programs, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
