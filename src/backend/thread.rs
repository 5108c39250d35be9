//! Jobs are closures; a worker is an OS thread, with a state of its own if there is an initializer.

use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;
use std::thread::Builder;

use ractor::ActorCell;

use super::{
    Backend, Capabilities, Hosts, Interceptor, Interceptors, KillOutcome, KillReach, Refusals, StartContext, Started,
    WorkerControl,
};
use crate::config::{ConfigError, MAX_STACK};
use crate::error::{BuildError, StartError};
use crate::job::{ClaimKey, Envelope, JobCell, Ran, Share, catch};
use crate::plane::WorkerContext;
use crate::snapshot::Facts;
use crate::sync::Arc;

type State = Box<dyn Any>;
type Initializer = dyn Fn(&StartContext) -> Result<State, StartError> + Send + Sync;

/// A job as a thread sees it.
pub trait ThreadJob: Envelope {
    /// Runs the job to its end, with the thread's state.
    fn call(&self, key: &mut ClaimKey, state: &mut dyn Any) -> Ran;
}

/// A closure that needs nothing of its thread.
#[derive(Debug)]
pub struct Call<F>(F);

impl<F, T> ThreadJob for JobCell<Call<F>, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn call(&self, key: &mut ClaimKey, _state: &mut dyn Any) -> Ran {
        self.run(key, |Call(f)| f())
    }
}

/// A closure that takes its thread's state. [`Pool::submit_with`](crate::Pool::submit_with) makes it; make it yourself for a backend of
/// yours that wraps [`Threads`].
#[derive(Debug)]
pub struct WithState<F, S> {
    f: F,
    state: PhantomData<fn(S)>,
}

impl<F, S> WithState<F, S> {
    /// A job that runs `f` with the state of its thread.
    pub fn new<T>(f: F) -> Self
    where
        F: FnOnce(&mut S) -> T,
    {
        Self { f, state: PhantomData }
    }

    /// The closure.
    pub fn into_inner(self) -> F {
        self.f
    }
}

/// The same in its cell.
#[derive(Debug)]
pub struct CallWith<F, S>(WithState<F, S>);

impl<F, S, T> ThreadJob for JobCell<CallWith<F, S>, T>
where
    F: FnOnce(&mut S) -> T + Send + 'static,
    S: 'static,
    T: Send + 'static,
{
    fn call(&self, key: &mut ClaimKey, state: &mut dyn Any) -> Ran {
        match state.downcast_mut::<S>() {
            Some(state) => self.run(key, |CallWith(with)| (with.f)(state)),
            // Submission checks the type, so only an initializer that was swapped for another type gets here.
            None => self.run(key, |_| panic!("the thread's state is not a {}", type_name::<S>())),
        }
    }
}

/// Hosts closures on OS threads.
///
/// A thread cannot be killed: one that does not end when it is asked to is abandoned, replaced, and counted until it returns.
#[derive(Clone)]
pub struct Threads {
    initializer: Option<Arc<Initializer>>,
    state: (TypeId, &'static str),
    stack_size: Option<usize>,
    keep_after_panic: bool,
    interceptors: Interceptors,
    pub(crate) refusals: Refusals,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            initializer: None,
            state: (TypeId::of::<()>(), type_name::<()>()),
            stack_size: None,
            keep_after_panic: true,
            interceptors: Interceptors::default(),
            refusals: Refusals::default(),
        }
    }
}

impl Threads {
    /// Threads without an initializer, with the stack size of `std::thread`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes each thread's state, on that thread; see [`Pool::submit_with`](crate::Pool::submit_with). A failure or panic is a restart
    /// decision.
    #[must_use]
    pub fn initializer<S, I>(mut self, initializer: I) -> Self
    where
        S: 'static,
        I: Fn(&StartContext) -> Result<S, StartError> + Send + Sync + 'static,
    {
        self.initializer = Some(Arc::new(move |cx| Ok(Box::new(initializer(cx)?))));
        self.state = (TypeId::of::<S>(), type_name::<S>());
        self
    }

    /// The threads' stack size in bytes; one that is absurd is a build error.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Ends a thread whose job panicked, and restarts its slot, instead of keeping it.
    #[must_use]
    pub fn restart_after_panic(mut self) -> Self {
        self.keep_after_panic = false;
        self
    }

    /// Adds an interceptor, called on the thread around each job.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(interceptor);
        self
    }

    /// Whether the threads' state is an `S`, which a [`WithState`] job wants; one that finds another state panics.
    ///
    /// # Errors
    ///
    /// The name of the type that it is.
    pub fn check_state<S: 'static>(&self) -> Result<(), &'static str> {
        if self.state.0 == TypeId::of::<S>() { Ok(()) } else { Err(self.state.1) }
    }

    fn initialize(&self, cx: &StartContext) -> Result<State, StartError> {
        let Some(initializer) = &self.initializer else { return Ok(Box::new(())) };
        match catch(|| initializer(cx)) {
            Ok(state) => state,
            Err(caught) => Err(StartError::Panicked(caught.message)),
        }
    }

    fn work(&self, mut cx: WorkerContext<dyn ThreadJob>) {
        let mut state = match self.initialize(&StartContext::new(cx.pool(), cx.worker())) {
            Ok(state) => state,
            Err(error) => return cx.failed(error),
        };
        loop {
            let Some(claim) = cx.next_blocking() else { break };
            let panicked = if self.interceptors.is_empty() {
                claim.run(|job, key| job.call(key, &mut *state))
            } else {
                let context = claim.context();
                claim.run(|job, key| {
                    self.interceptors.around(&context, key);
                    job.call(key, &mut *state)
                })
            };
            if panicked && !self.keep_after_panic {
                cx.condemn();
                break;
            }
        }
        // The state is the user's: its drop may panic, and the context is to be dropped after it all the same.
        if let Err(caught) = catch(|| drop(state)) {
            tracing::error!(pool = cx.pool(), worker = %cx.worker(), "a thread's state panicked as it was dropped: {}", caught.message);
        }
    }
}

impl Backend for Threads {
    type Job = dyn ThreadJob;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("thread pool", KillReach::None)
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        match self.stack_size {
            Some(bytes) if bytes > MAX_STACK => Err(BuildError::config(pool, ConfigError::StackTooLarge { bytes })),
            _ => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the home of worker threads")]
    fn start(&self, cx: WorkerContext<dyn ThreadJob>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let name = format!("{}-{}", cx.pool(), cx.worker());
        cx.set_facts(Facts { thread: Some(Arc::from(name.as_str())), ..Facts::default() });
        let mut builder = Builder::new().name(name);
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let threads = self.clone();
        // A refused spawn drops the closure, and with it the context, which reports the exit.
        self.refusals.check().and_then(|()| builder.spawn(move || threads.work(cx))).map_err(StartError::Refused)?;
        Ok(Started::kept(Thread))
    }
}

/// A thread in the abstract: it cannot be killed.
struct Thread;

impl WorkerControl for Thread {
    fn kill(&self) -> KillOutcome {
        KillOutcome::Abandoned
    }
}

impl<F, T> Hosts<F> for Threads
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;
    type Payload = Call<F>;

    fn wrap(job: F) -> Call<F> {
        Call(job)
    }

    fn unwrap(Call(job): Call<F>) -> F {
        job
    }

    fn erase(cell: Share<JobCell<Call<F>, T>>) -> Share<dyn ThreadJob> {
        cell.unsize::<dyn ThreadJob>(|cell| cell)
    }
}

impl<F, S, T> Hosts<WithState<F, S>> for Threads
where
    F: FnOnce(&mut S) -> T + Send + 'static,
    S: 'static,
    T: Send + 'static,
{
    type Output = T;
    type Payload = CallWith<F, S>;

    fn wrap(job: WithState<F, S>) -> CallWith<F, S> {
        CallWith(job)
    }

    fn unwrap(CallWith(job): CallWith<F, S>) -> WithState<F, S> {
        job
    }

    fn erase(cell: Share<JobCell<CallWith<F, S>, T>>) -> Share<dyn ThreadJob> {
        cell.unsize::<dyn ThreadJob>(|cell| cell)
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads")
            .field("state", &self.state.1)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
