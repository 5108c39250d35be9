//! What an operator does to the gate: pause, resume and drain; and its end with the runtime of its workers.

use ractor::RpcReplyPort;

use super::event::PoolEvent;
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::error::{CloseReason, ControlError};
use crate::gate::Gate;
use crate::id::By;
use crate::policy::Exit;
use crate::sync::Arc;

impl<B: Backend> Supervision<B> {
    pub(super) fn move_gate(&mut self, gate: Gate, operation: &'static str, by: By) -> Result<(), ControlError> {
        let state = gate.word();
        let pool = self.plane().config.name.clone();
        self.plane().set_gate(gate).map_err(|reason| ControlError::TooLate { pool, operation, reason })?;
        self.tell(PoolEvent::Gate { state, by });
        self.staff();
        Ok(())
    }

    pub(super) fn drain(&mut self, by: By, reply: RpcReplyPort<Result<(), ControlError>>) {
        match self.move_gate(Gate::Draining, "drain", by) {
            Ok(()) => self.drains.push(reply),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    pub(super) fn settle_drains(&mut self) {
        if self.drains.is_empty() {
            return;
        }
        match self.plane().has_drained() {
            Some(true) => self.drains.drain(..).for_each(|reply| drop(reply.send(Ok(())))),
            Some(false) => {}
            // Jobs were ended that had not run: nobody is left to answer, as whoever waits learns from the port's end.
            None => self.drains.clear(),
        }
    }

    /// Whoever finds that out first: the watch, or a worker that went with it. No worker is started from here on.
    pub(super) fn on_host_gone(&mut self) {
        if std::mem::replace(&mut self.host_gone, true) {
            return;
        }
        tracing::error!(pool = &*self.plane().config.name, "the runtime of the pool's workers is gone");
        let by = Arc::from("the runtime of its worker is gone");
        self.shared.abort(CloseReason::RuntimeGone, &by, || ());
        for worker in self.employed.workers() {
            self.tell(PoolEvent::WorkerGone { worker, exit: Exit::RuntimeGone });
        }
        self.tell_closed(By::Pool);
        self.myself.stop(Some("the runtime of its workers is gone".to_owned()));
    }
}
