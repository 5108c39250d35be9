//! The actor that owns one worker which is not itself an actor, so that every worker is a supervised one.

use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr};

use super::supervisor::Supervision;
use crate::backend::{Backend, WorkerControl};
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::WorkerState;
use crate::sync::Arc;

/// Why a worker ends whose actor somebody killed.
const KILLED: &str = "its actor was killed";

/// A keeper takes no messages: it is stopped when its worker has ended, and takes the worker with it when it is killed.
pub(super) struct Nothing;

#[cfg(feature = "cluster")]
impl ractor::Message for Nothing {}

/// In the actor's value and not in its State, which outlives a kill.
struct Keeper {
    cell: Arc<Cell>,
    control: Arc<dyn WorkerControl>,
}

#[ractor::actor(message = Nothing, state = (), arguments = ())]
impl Keeper {
    async fn pre_start(&self, _myself: ActorRef<Nothing>, _args: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Why it ends is said before it does: the supervisor, who learns of this and goes on, may be later than the worker's death.
        {
            let mut worker = self.cell.lock();
            if worker.seated() {
                worker.leave.get_or_insert_with(|| Exit::Killed(Arc::from(KILLED)));
            }
        }
        // A worker that has ended takes no notice.
        let _ = self.control.kill();
    }
}

/// Starts a keeper under `supervisor`, on the runtime that the caller is on.
fn keep(keeper: Keeper, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
    let (keeper, _started) = ActorRuntime::spawn_linked_instant(None, keeper, (), supervisor)?;
    Ok(keeper.get_cell())
}

impl<B: Backend> Supervision<B> {
    /// A child ended: a worker's own actor, after its context has said so; or a keeper that somebody killed.
    pub(super) fn on_actor_end(&mut self, actor: ActorId) {
        if let Some(worker) = self.employed.of_actor(actor)
            && self.plane().cell(worker).is_some_and(|cell| cell.lock().state != WorkerState::Gone)
        {
            self.kill_worker(worker, &Arc::from(KILLED));
        }
    }

    /// Gives a worker that is no actor one.
    pub(super) fn keep(&self, cell: Arc<Cell>, control: Arc<dyn WorkerControl>) -> Option<ActorCell> {
        keep(Keeper { cell, control }, self.myself.get_cell())
            .map_err(|error| tracing::error!(pool = &*self.plane().config.name, "a worker has no keeper: {error}"))
            .ok()
    }
}
