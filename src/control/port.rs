//! The plane's way to its supervisor.

use ractor::ActorRef;

use super::message::{Command, PoolMessage};
use super::{side, timer};
use crate::job::outside_spans;
use crate::plane::{ControlPort, Garbage, Signal};
use crate::sync::{Arc, Mutex, Timestamp};

enum To {
    /// The actor is not up yet; what was signalled waits, at most one of each kind and one per worker.
    Nobody(Vec<Signal>),
    Actor(ActorRef<PoolMessage>),
}

/// Where a plane's signals go. Given to the plane first, and to the actor when that is there.
#[derive(Clone)]
pub(super) struct Port {
    to: Arc<Mutex<To>>,
    would_block: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Port {
    pub(super) fn new(would_block: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { to: Arc::new(Mutex::new(To::Nobody(Vec::new()))), would_block: Arc::new(would_block) }
    }

    /// From now on, signals go to `actor`; it gets those that waited.
    pub(super) fn connect(&self, actor: &ActorRef<PoolMessage>) {
        let mut to = self.to.lock();
        if let To::Nobody(waiting) = std::mem::replace(&mut *to, To::Actor(actor.clone())) {
            for signal in waiting {
                send(actor, signal);
            }
        }
    }
}

fn send(actor: &ActorRef<PoolMessage>, signal: Signal) {
    // An actor that is gone needs no signals: its end has closed the plane.
    let _ = outside_spans(|| actor.cast(Command::Signal(signal).into()));
}

impl ControlPort for Port {
    fn signal(&self, signal: Signal) {
        match &mut *self.to.lock() {
            To::Nobody(waiting) => waiting.push(signal),
            To::Actor(actor) => send(actor, signal),
        }
    }

    fn discard(&self, garbage: Garbage) {
        side::discard(garbage);
    }

    fn in_passes(&self, pass: Box<dyn FnMut() -> bool + Send>) {
        timer::in_passes(pass, || ());
    }

    fn alarm(&self, at: Timestamp) {
        timer::alarm(at);
    }

    fn would_block(&self) -> bool {
        (self.would_block)()
    }
}
