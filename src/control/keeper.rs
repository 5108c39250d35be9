//! The actor that owns one worker which is not itself an actor, so that every worker is a supervised one.

use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr};

use super::supervisor::Supervision;
use crate::backend::{Backend, WorkerControl};
use crate::snapshot::WorkerState;
use crate::sync::Arc;

/// A keeper takes no messages: it is stopped when its worker has ended, and takes the worker with it when it is killed.
pub(super) struct Nothing;

#[cfg(feature = "cluster")]
impl ractor::Message for Nothing {}

/// In the actor's value and not in its State, which outlives a kill.
struct Keeper(Arc<dyn WorkerControl>);

#[ractor::actor(message = Nothing, state = (), arguments = ())]
impl Keeper {
    async fn pre_start(&self, _myself: ActorRef<Nothing>, _args: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A worker that has ended takes no notice.
        let _ = self.0.kill();
    }
}

/// Starts a keeper for `worker` under `supervisor`, on the runtime that the caller is on.
fn keep(worker: Arc<dyn WorkerControl>, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
    let (keeper, _started) = ActorRuntime::spawn_linked_instant(None, Keeper(worker), (), supervisor)?;
    Ok(keeper.get_cell())
}

impl<B: Backend> Supervision<B> {
    /// A child ended: a worker's own actor, after its context has said so; or a keeper that somebody killed.
    pub(super) fn on_actor_end(&mut self, actor: ActorId) {
        if let Some(worker) = self.employed.of_actor(actor)
            && self.plane().cell(worker).is_some_and(|cell| cell.lock().state != WorkerState::Gone)
        {
            self.kill_worker(worker, &Arc::from("its actor was killed"));
        }
    }

    /// Gives a worker that is no actor one.
    pub(super) fn keep(&self, control: Arc<dyn WorkerControl>) -> Option<ActorCell> {
        keep(control, self.myself.get_cell())
            .map_err(|error| tracing::error!(pool = &*self.plane().config.name, "a worker has no keeper: {error}"))
            .ok()
    }
}
