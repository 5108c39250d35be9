//! Resize: limits in force at once, debt paid by whoever next asks for work.

use ractor::RpcReplyPort;
use tokio::sync::oneshot;

use super::event::PoolEvent;
use super::report::ResizeReport;
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::config::Limits;
use crate::error::ControlError;
use crate::id::WorkerId;
use crate::job::look_again;
use crate::policy::Exit;

/// A resize whose debt is not paid yet.
pub(super) struct Settling {
    left: Vec<WorkerId>,
    reply: oneshot::Sender<Vec<WorkerId>>,
}

impl<B: Backend> Supervision<B> {
    pub(super) fn resize(&mut self, limits: Limits, reply: RpcReplyPort<Result<ResizeReport, ControlError>>) {
        if let Some(ending) = &self.ending {
            let (pool, reason) = (self.plane().config.name.clone(), ending.reason());
            drop(reply.send(Err(ControlError::TooLate { pool, operation: "resize", reason })));
            return;
        }
        let from = self.plane().limits();
        let debt = match self.plane().resize(limits) {
            Ok(debt) => debt,
            Err(conflict) => return drop(reply.send(Err(conflict.into()))),
        };
        self.rebound(limits);
        look_again();
        self.finish_settling();
        let (settled, receiver) = oneshot::channel();
        self.settling = Some(Settling { left: Vec::new(), reply: settled });
        self.update_cooling();
        self.staff();
        self.tell(PoolEvent::Resized { from, to: limits });
        drop(reply.send(Ok(ResizeReport { from, to: limits, debt, settled: receiver })));
    }

    /// A worker left: if a shrink waits for it, it is named there.
    pub(super) fn note_left(&mut self, worker: WorkerId, exit: &Exit) {
        if let (Some(settling), Exit::Retired | Exit::Stopped(_)) = (&mut self.settling, exit) {
            settling.left.push(worker);
        }
    }

    pub(super) fn settle_resize(&mut self) {
        // Paid, and those who paid are gone: everybody who is employed holds a seat.
        let seated = self.plane().counts.live() + self.plane().counts.abandoned();
        if self.settling.is_some() && self.plane().debt() == 0 && self.employed.len() <= seated {
            self.finish_settling();
        }
    }

    fn finish_settling(&mut self) {
        if let Some(Settling { left, reply }) = self.settling.take() {
            // Nobody waits for it: fine.
            let _ = reply.send(left);
        }
    }
}
