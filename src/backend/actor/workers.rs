//! Workers with a state of their own, whose jobs are messages.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::Poll;

use ractor::ActorCell;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

use super::{Host, facts};
use crate::backend::host::Hosted;
use crate::backend::{Backend, Capabilities, Hosts, Interceptor, Interceptors, KillReach, StartContext, Started};
use crate::error::{BuildError, StartError};
use crate::job::{JobCell, JobContext, Ran, Share, catch};
use crate::plane::{Claim, Polling, WorkerContext};
use crate::sync::Arc;

/// A worker actor with a state of its own, for [`ActorPool`](crate::ActorPool). One value of this type serves all workers of the pool.
pub trait Worker: Send + Sync + 'static {
    /// What it is sent.
    type Job: Send + 'static;
    /// What it answers.
    type Output: Send + 'static;
    /// What each incarnation keeps between jobs.
    type State: Send + 'static;

    /// Makes an incarnation's state. A failure is a restart decision, never the end of the pool.
    ///
    /// # Cancel safety
    ///
    /// Past the start limit, and when the pool ends, the future is dropped where it last yielded.
    fn start(&self, cx: &StartContext) -> impl Future<Output = Result<Self::State, StartError>> + Send;

    /// Does one job. After a panic the state is suspect: the incarnation ends and its slot is restarted.
    ///
    /// # Cancel safety
    ///
    /// A kill drops the future where it last yielded, and the state with it; the job's outcome is [`JobError::Killed`](crate::JobError::Killed).
    /// What the job had half done by then is for its own guards to undo.
    fn handle(
        &self,
        job: Self::Job,
        state: &mut Self::State,
        cx: &JobContext,
    ) -> impl Future<Output = Self::Output> + Send;

    /// The incarnation leaves, other than by a panic or a kill.
    ///
    /// # Cancel safety
    ///
    /// A kill, or the end of the pool's shutdown limit, drops the future where it last yielded, and the state with it.
    fn stop(&self, _state: Self::State) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A job of an [`ActorPool`](crate::ActorPool), as its queue sees it.
pub type ActorJob<W> = JobCell<<W as Worker>::Job, <W as Worker>::Output>;

/// Hosts worker actors with a state of their own on the caller's runtime.
pub struct Actors<W: Worker> {
    worker: Arc<W>,
    host: Host,
    interceptors: Interceptors,
    kind: PhantomData<fn(W)>,
}

impl<W: Worker> Actors<W> {
    /// Workers on the runtime that the pool is built on. One `worker` value serves all of them.
    pub fn new(worker: W) -> Self {
        let (host, interceptors) = Default::default();
        Self { worker: Arc::new(worker), host, interceptors, kind: PhantomData }
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

impl<W: Worker> Backend for Actors<W> {
    type Job = ActorJob<W>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("actor pool", KillReach::AtYield)
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

    fn start(&self, cx: WorkerContext<ActorJob<W>>, supervisor: &ActorCell) -> Result<Started, StartError> {
        let cell = cx.facts_cell();
        let hosted = self.host.hosted(&cell);
        let routine = run_actor(hosted, self.worker.clone(), cx, self.interceptors.clone());
        let actor = self.host.start(Box::pin(routine), supervisor)?;
        cell.set_facts(facts(&actor));
        Ok(Started::actor(actor.clone(), actor.get_cell()))
    }
}

async fn run_actor<W: Worker>(
    hosted: Hosted,
    worker: Arc<W>,
    mut cx: WorkerContext<ActorJob<W>>,
    interceptors: Interceptors,
) {
    // Dropped before the context is, as it is if this was never polled.
    let _hosted = hosted;
    let start = StartContext::new(cx.pool(), cx.worker());
    // Within a future of ours: a `start` that is no `async fn` may panic before it gives one.
    let mut state = match guarded(async { worker.start(&start).await }).await {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => return cx.failed(error),
        Err(message) => return cx.failed(StartError::Panicked(message)),
    };
    loop {
        let Some(claim) = cx.next().await else { break };
        if handle(&*worker, claim, &mut state, &interceptors).await {
            cx.condemn();
            let _ = catch(|| drop(state));
            return;
        }
        consume_budget().await;
    }
    if let Err(message) = guarded(async { worker.stop(state).await }).await {
        tracing::error!(pool = cx.pool(), worker = %cx.worker(), "a worker panicked as it stopped: {message}");
    }
}

async fn handle<W: Worker>(
    worker: &W,
    mut claim: Claim<'_, ActorJob<W>>,
    state: &mut W::State,
    interceptors: &Interceptors,
) -> bool {
    let context = claim.context();
    let Some(job) = claim.take() else { return claim.run(|_, _| Ran::NOTHING) };
    interceptors.before(&context);
    // In place, not boxed; emptied before the outcome is written, as a future's end comes before its result is known, and dropped
    // before the claim, whose drop writes one. Within a future of ours, as for `start`.
    let mut running = pin!(Some(async { worker.handle(job, state, &context).await }));
    let mut polling = Polling::default();
    let ran = poll_fn(|cx| {
        claim.poll_once(&mut polling, cx, |cell, _key, cx| {
            let Some(future) = running.as_mut().as_pin_mut() else {
                return Poll::Ready(cell.finish(Err(String::new())));
            };
            let polled = match catch(|| future.poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(caught) => Err(caught),
            };
            let dropped = catch(|| running.set(None));
            let result = polled.and_then(|output| dropped.map(|()| output));
            interceptors.after(&context, result.is_err());
            Poll::Ready(cell.finish_caught(result))
        })
    })
    .await;
    claim.finish(ran)
}

/// Runs a future of the user's; a panic comes back as what it said.
async fn guarded<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(caught) => Poll::Ready(Err(caught.message)),
    })
    .await
}

impl<W: Worker> Hosts<W::Job> for Actors<W> {
    type Output = W::Output;
    type Payload = W::Job;

    fn wrap(job: W::Job) -> W::Job {
        job
    }

    fn unwrap(payload: W::Job) -> W::Job {
        payload
    }

    fn erase(cell: Share<ActorJob<W>>) -> Share<ActorJob<W>> {
        cell
    }
}

impl<W: Worker> std::fmt::Debug for Actors<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actors").finish_non_exhaustive()
    }
}
