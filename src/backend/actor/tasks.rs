//! Workers whose jobs are futures.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use ractor::ActorCell;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

use super::{Host, facts};
use crate::backend::host::Hosted;
use crate::backend::{Backend, Capabilities, Hosts, Interceptor, Interceptors, KillReach, Started};
use crate::error::{BuildError, StartError};
use crate::job::{ClaimKey, Envelope, JobCell, JobContext, Ran, Share, tell_end};
use crate::plane::{Asking, Polling, WorkerContext};

/// A future, as a worker sees it.
pub trait TaskJob: Envelope {
    /// Polls the job; ready once it has an outcome.
    fn poll_job(&self, key: &mut ClaimKey, cx: &mut Context<'_>) -> Poll<Ran>;
}

impl<F> TaskJob for JobCell<F, F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn poll_job(&self, key: &mut ClaimKey, cx: &mut Context<'_>) -> Poll<Ran> {
        self.poll(key, cx)
    }
}

/// Hosts futures on actors of the caller's runtime.
#[derive(Clone, Default)]
pub struct Tasks {
    host: Host,
    interceptors: Interceptors,
}

impl Tasks {
    /// Workers on the runtime that the pool is built on.
    pub fn new() -> Self {
        Self::default()
    }

    /// The runtime that the workers run on; default: the one that the pool is built on.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.host.runtime = Some(runtime);
        self
    }

    /// Adds an interceptor, called on the worker around each job.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(interceptor);
        self
    }
}

impl Backend for Tasks {
    type Job = dyn TaskJob;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("task pool", KillReach::AtYield)
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.host.prepare(pool)
    }

    fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.host.gone()
    }

    fn would_block(&self) -> bool {
        self.host.blocks()
    }

    fn start(&self, cx: WorkerContext<dyn TaskJob>, supervisor: &ActorCell) -> Result<Started, StartError> {
        let cell = cx.facts_cell();
        let routine = TaskRoutine::new(self.host.hosted(&cell), cx, self.interceptors.clone());
        let actor = self.host.start(Box::pin(routine), supervisor)?;
        cell.set_facts(facts(&actor));
        Ok(Started::actor(actor.clone(), actor.get_cell()))
    }
}

/// The whole life of a worker whose jobs are futures. By hand: as an async function, which has a state and flags for what is to be dropped at each
/// `await`, it took 50 instructions more for each job.
struct TaskRoutine {
    /// `None` from the drop on.
    hosted: Option<Hosted>,
    polling: Polling,
    /// Of the job in hand, if there are interceptors: what they are told, until they have been.
    context: Option<JobContext>,
    interceptors: Interceptors,
    stage: Stage,
    /// Dropped last: that is the worker's exit.
    worker: WorkerContext<dyn TaskJob>,
}

enum Stage {
    /// Asks for a job.
    Asks(Asking),
    /// Has begun one.
    Runs,
    /// Has ended one. A worker that always has work must still yield, or the runtime and a kill would wait for it.
    Rests,
}

impl TaskRoutine {
    fn new(hosted: Hosted, worker: WorkerContext<dyn TaskJob>, interceptors: Interceptors) -> Self {
        let (stage, polling) = (Stage::Asks(Asking::default()), Polling::default());
        Self { hosted: Some(hosted), polling, context: None, interceptors, stage, worker }
    }

    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<Ran> {
        let Self { worker, interceptors, context, polling, .. } = self;
        worker.poll_begun(polling, cx, |job, key, cx| {
            if context.is_some() {
                tell(interceptors, context, key);
            }
            job.poll_job(key, cx)
        })
    }
}

/// Tells the interceptors that the job begins, once.
#[inline(never)]
fn tell(interceptors: &Interceptors, context: &mut Option<JobContext>, key: &mut ClaimKey) {
    if let Some(context) = context.take() {
        interceptors.around(&context, key);
    }
}

impl Future for TaskRoutine {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Stage::Rests = this.stage {
                ready!(pin!(consume_budget()).poll(cx));
                this.stage = Stage::Asks(Asking::default());
            }
            if let Stage::Asks(asking) = &mut this.stage {
                if !ready!(this.worker.poll_next(asking, cx)) || !this.worker.begin() {
                    return Poll::Ready(());
                }
                if !this.interceptors.is_empty() {
                    this.context = this.worker.begun_context();
                }
                this.stage = Stage::Runs;
            }
            let ran = ready!(this.poll_job(cx));
            this.stage = Stage::Rests;
            this.worker.end_ran(ran);
            this.polling = Polling::default();
        }
    }
}

impl Drop for TaskRoutine {
    fn drop(&mut self) {
        // What the job left between two polls, then the job, then why the worker goes.
        tell_end(std::mem::take(&mut self.polling));
        self.worker.kill_begun();
        self.hosted = None;
    }
}

impl<F> Hosts<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;
    type Payload = F;

    fn wrap(job: F) -> F {
        job
    }

    fn unwrap(payload: F) -> F {
        payload
    }

    fn erase(cell: Share<JobCell<F, F::Output>>) -> Share<dyn TaskJob> {
        cell.unsize::<dyn TaskJob>(|cell| cell)
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}
