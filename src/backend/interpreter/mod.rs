//! Jobs are calls into an interpreter; a worker is a thread with an isolated instance of it, which can be stopped at any loop or call of
//! the interpreted code. Argument and states: DESIGN.md, section 16.

mod brake;
mod crossing;
mod job;
#[cfg(feature = "lua")]
pub(crate) mod lua;
mod ticker;
#[cfg(feature = "wasi")]
pub(crate) mod wasi;
#[cfg(feature = "interpreter")]
pub(crate) mod wasm;
mod worker;

pub use brake::Brake;
pub use crossing::Crossing;
pub use job::{InterpreterJob, Script, Scripted};

use std::thread::Builder;

use ractor::ActorCell;

use super::{
    Backend, Capabilities, Hosts, Interceptor, Interceptors, KillOutcome, KillReach, Refusals, StartContext, Started,
    WorkerControl,
};
use crate::error::{BuildError, GuestFault, StartError};
use crate::job::{JobCell, Share};
use crate::plane::WorkerContext;
use crate::snapshot::Facts;
use crate::sync::Arc;
use worker::Seat;

/// An interpreter: it makes instances that know nothing of each other, and can be stopped.
///
/// What an instance is asked to do is a [`Script`]; one engine has as many kinds of them as it likes.
pub trait Engine: Send + Sync + 'static {
    /// One isolated instance, with its state. It is made, used and dropped on one thread.
    type Instance: 'static;

    /// What a pool of these is called in errors.
    fn kind(&self) -> &'static str;

    /// Called once, as the pool is built, on the caller's thread: compiles, and finds what cannot work.
    ///
    /// # Errors
    ///
    /// Why there can be no instance.
    fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Makes an instance, on the worker's thread. What it runs of the guest's code, on the way and later, it runs under the crossing's brake, and says there when
    /// that is entered and left.
    ///
    /// # Errors
    ///
    /// Why there is none: a start that fails, or, if each job has an instance of its own, an outcome.
    fn instance(&self, crossing: &Crossing, cx: &StartContext) -> Result<Self::Instance, GuestFault>;

    /// How large the stacks of its workers' threads are to be, in bytes; `None`: as `std::thread` has them.
    fn stack_size(&self) -> Option<usize> {
        None
    }

    /// Called before each job, in the instance that it will run in, be that new or kept: gives it all that a job may use. What code of the guest's used as the instance was
    /// made was not the job's.
    fn begin(&self, _instance: &mut Self::Instance) {}

    /// True if each job has an instance of its own, made for it and dropped after it.
    fn is_fresh_per_job(&self) -> bool {
        false
    }

    /// True if an instance's memory is limited.
    fn is_memory_limited(&self) -> bool {
        false
    }

    /// Has all instances look at their [`Brake`]s soon. Called when one was pulled, and then again until its worker has ended, each millisecond at first and then
    /// more and more seldom; from any thread, so it must not wait. For an interpreter whose instances look now and then by themselves there is nothing to do.
    fn prod(&self) {}
}

/// Hosts instances of an interpreter, one on a thread.
pub struct Interpreters<E: Engine> {
    engine: Arc<E>,
    interceptors: Interceptors,
    restart_after_trap: bool,
    pub(crate) refusals: Refusals,
}

impl<E: Engine> Interpreters<E> {
    /// Instances of this interpreter.
    pub fn new(engine: E) -> Self {
        let (engine, interceptors) = (Arc::new(engine), Interceptors::default());
        Self { engine, interceptors, restart_after_trap: false, refusals: Refusals::default() }
    }

    /// Ends a worker whose job trapped or panicked, and restarts its slot as the [restart policy](crate::RestartPolicy) says, instead of giving the
    /// worker another instance before its next job.
    #[must_use]
    pub fn restart_after_trap(mut self) -> Self {
        self.restart_after_trap = true;
        self
    }

    /// Adds an interceptor, called on the worker's thread around each job.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(interceptor);
        self
    }
}

impl<E: Engine> Backend for Interpreters<E> {
    type Job = dyn InterpreterJob<E>;

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(self.engine.kind(), KillReach::InGuest);
        capabilities.memory_limited = self.engine.is_memory_limited();
        capabilities
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        let bad = |reason| BuildError::Interpreter { pool: Arc::from(pool), reason };
        // No worker was started yet, so nobody else has it.
        let engine = Arc::get_mut(&mut self.engine).ok_or_else(|| bad("its pool was built before".to_owned()))?;
        engine.prepare().map_err(bad)
    }

    #[expect(clippy::disallowed_methods, reason = "the home of interpreters' threads")]
    fn start(&self, cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        ticker::start(&self.refusals).map_err(StartError::Refused)?;
        let name = format!("{}-{}", cx.pool(), cx.worker());
        cx.set_facts(Facts { thread: Some(Arc::from(name.as_str())), ..Facts::default() });
        let engine = self.engine.clone();
        let brake = Brake::new(cx.facts_cell(), move || engine.prod());
        let seat = Seat {
            engine: self.engine.clone(),
            interceptors: self.interceptors.clone(),
            brake: brake.clone(),
            restart_after_trap: self.restart_after_trap,
        };
        let mut thread = Builder::new().name(name);
        if let Some(bytes) = self.engine.stack_size() {
            thread = thread.stack_size(bytes);
        }
        // A refused spawn drops the closure, and with it the context, which reports the exit.
        self.refusals.check().and_then(|()| thread.spawn(move || seat.work(cx))).map_err(StartError::Refused)?;
        Ok(Started::kept(brake))
    }
}

impl WorkerControl for Brake {
    fn kill(&self) -> KillOutcome {
        self.pull();
        KillOutcome::Signalled
    }
}

impl<E: Engine, S: Script<E>> Hosts<S> for Interpreters<E> {
    type Output = S::Output;
    type Payload = Scripted<S>;

    fn wrap(job: S) -> Scripted<S> {
        Scripted(job)
    }

    fn unwrap(Scripted(job): Scripted<S>) -> S {
        job
    }

    fn erase(cell: Share<JobCell<Scripted<S>, S::Output>>) -> Share<dyn InterpreterJob<E>> {
        cell.unsize::<dyn InterpreterJob<E>>(|cell| cell)
    }
}

impl<E: Engine> std::fmt::Debug for Interpreters<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreters").field("kind", &self.engine.kind()).finish_non_exhaustive()
    }
}
