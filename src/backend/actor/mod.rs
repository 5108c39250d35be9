//! Jobs are futures, or messages to a worker with a state of its own; a worker is a ractor actor on the caller's runtime.

mod tasks;
mod workers;

pub use tasks::{TaskJob, Tasks};
pub use workers::{ActorJob, Actors, Worker};

use std::future::Future;
use std::pin::Pin;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::host::Hosted;
use super::{KillOutcome, WorkerControl, host};
use crate::error::{BuildError, StartError};
use crate::job::outside_spans;
use crate::slot::Cell;
use crate::snapshot::Facts;
use crate::sync::{Arc, Mutex};

type Routine = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The one message of a worker actor: its whole life, which holds the worker's context. It lives in the handler's future
/// and never in State: ractor drops that future first when it kills, and keeps State for long.
struct Live(Routine);

#[cfg(feature = "cluster")]
impl ractor::Message for Live {}

struct WorkerActor;

#[ractor::actor(message = Live, state = (), arguments = ())]
impl WorkerActor {
    async fn pre_start(&self, _myself: ActorRef<Live>, _args: ()) -> Result<(), ActorProcessingErr> {
        // Nothing: a child in pre_start is not linked yet.
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Live>, life: Live, _state: &mut ()) -> Result<(), ActorProcessingErr> {
        life.0.await;
        myself.stop(None);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Live>,
        _event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // A job may link actors of its own under us; their ends are not the worker's.
        Ok(())
    }
}

impl WorkerControl for ActorRef<Live> {
    fn kill(&self) -> KillOutcome {
        self.get_cell().kill();
        KillOutcome::Signalled
    }
}

/// The caller's runtime, and a way to learn that it is gone.
#[derive(Clone, Default)]
struct Host {
    runtime: Option<Handle>,
    sentinel: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
}

impl Host {
    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| BuildError::NoRuntime(Arc::from(pool)))?,
        };
        let (mut alive, gone) = oneshot::channel::<()>();
        // Ends when the pool does, or is dropped with the runtime: both close the channel, and who is left sees it.
        #[expect(clippy::disallowed_methods, reason = "the home of tokio::spawn: the runtime was given for this")]
        runtime.spawn(async move { alive.closed().await });
        *self.sentinel.lock() = Some(gone);
        self.runtime = Some(runtime);
        Ok(())
    }

    fn gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let gone = self.sentinel.lock().take()?;
        // The sender is never used: its end is the message.
        Some(Box::pin(async move { drop(gone.await) }))
    }

    fn start(&self, routine: Routine, supervisor: &ActorCell) -> Result<ActorRef<Live>, StartError> {
        let Some(runtime) = &self.runtime else { return Err(StartError::failed("the pool was not prepared")) };
        let _entered = runtime.enter();
        outside_spans(|| spawn(routine, supervisor))
    }

    fn hosted(&self, cell: &Arc<Cell>) -> Hosted {
        Hosted::new(self.runtime.clone(), cell.clone())
    }

    fn blocks(&self) -> bool {
        self.runtime.as_ref().map_or_else(host::on_current_thread_runtime, host::blocks)
    }
}

fn spawn(routine: Routine, supervisor: &ActorCell) -> Result<ActorRef<Live>, StartError> {
    let (actor, _started) = ActorRuntime::spawn_linked_instant(None, WorkerActor, (), supervisor.clone())
        .map_err(|error| StartError::failed(error.to_string()))?;
    // On a runtime that is gone the mailbox is closed: the routine is dropped with its context, which reports that.
    let _ = actor.cast(Live(routine));
    Ok(actor)
}

fn facts(actor: &ActorRef<Live>) -> Facts {
    Facts { actor: Some(Arc::from(actor.get_id().to_string())), ..Facts::default() }
}
