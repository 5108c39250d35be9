//! What follows other limits: they are in force at once, and debt is paid by whoever next asks for work.

use tokio::sync::oneshot;

use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::id::WorkerId;
use crate::policy::Exit;

/// A resize whose debt is not paid yet.
pub(super) struct Settling {
    left: Vec<WorkerId>,
    reply: oneshot::Sender<Vec<WorkerId>>,
}

impl<B: Backend> Supervision<B> {
    /// Whoever waited for an earlier resize waits no more. Without new limits, nobody has to leave, and there is nothing to wait for.
    pub(super) fn begin_settling(&mut self, sized: bool) -> oneshot::Receiver<Vec<WorkerId>> {
        let (settled, receiver) = oneshot::channel();
        if sized {
            self.finish_settling();
            self.settling = Some(Settling { left: Vec::new(), reply: settled });
        }
        receiver
    }

    /// A worker left: if a shrink waits for it, it is named there.
    pub(super) fn note_left(&mut self, worker: WorkerId, exit: &Exit) {
        if let (Some(settling), Exit::Retired | Exit::Stopped(_)) = (&mut self.settling, exit) {
            settling.left.push(worker);
        }
    }

    pub(super) fn settle_resize(&mut self) {
        // Paid, and those who paid are gone: everybody who is employed holds a seat.
        if self.settling.is_some() && self.plane().has_settled(self.employed.len()) {
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
