//! Any backend, whose starts fail when they are told to.

use std::collections::VecDeque;
use std::sync::Arc;

use millpond::{Backend, KillOutcome, StartError, Started, WorkerContext, WorkerControl};
use parking_lot::Mutex;
use ractor::ActorCell;

use crate::forwards::{forwards, hosts_the_same};
use crate::plan::Failure;
use crate::site::Latch;

/// What becomes of the starts to come.
#[derive(Clone, Default)]
pub struct Starts(Arc<Mutex<VecDeque<Failure>>>);

impl Starts {
    pub fn fail(&self, how: Failure, starts: usize) {
        self.0.lock().extend(std::iter::repeat_n(how, starts));
    }

    /// All go well from now on.
    pub fn mend(&self) {
        self.0.lock().clear();
    }

    fn next(&self) -> Option<Failure> {
        self.0.lock().pop_front()
    }
}

/// See [`Starts`].
pub struct Faulty<B> {
    pub inner: B,
    pub starts: Starts,
}

/// A worker that never comes up: it ends when it is killed.
struct Stillborn(Latch);

impl WorkerControl for Stillborn {
    fn kill(&self) -> KillOutcome {
        self.0.open();
        KillOutcome::Signalled
    }
}

impl<B: Backend> Backend for Faulty<B> {
    type Job = B::Job;

    fn start(&self, cx: WorkerContext<B::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
        match self.starts.next() {
            None => self.inner.start(cx, supervisor),
            Some(Failure::Refused) => Err(StartError::Refused(std::io::ErrorKind::WouldBlock.into())),
            Some(Failure::Dead) => {
                drop(cx);
                Ok(Started::kept(Stillborn(Latch::default())))
            }
            Some(Failure::Hangs) => {
                let killed = Latch::default();
                let wait = killed.clone();
                std::thread::spawn(move || {
                    wait.block();
                    drop(cx);
                });
                Ok(Started::kept(Stillborn(killed)))
            }
        }
    }

    forwards!(inner: capabilities, prepare, host_gone, would_block);
}

hosts_the_same!(Faulty);
