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
        // Until nothing waits, so that what is signalled meanwhile does not overtake it.
        while let Some(waiting) = self.next_waiting(actor) {
            waiting.into_iter().for_each(|signal| send(actor, signal));
        }
    }

    /// What waits still; if nothing does, signals go to `actor` from now on.
    fn next_waiting(&self, actor: &ActorRef<PoolMessage>) -> Option<Vec<Signal>> {
        let mut to = self.to.lock();
        match &mut *to {
            To::Nobody(waiting) if !waiting.is_empty() => Some(std::mem::take(waiting)),
            _ => {
                *to = To::Actor(actor.clone());
                None
            }
        }
    }
}

/// Under no lock: what an actor that is gone does not take may hold an error of the user's.
fn send(actor: &ActorRef<PoolMessage>, signal: Signal) {
    // Its end has closed the plane, so it needs no signals.
    outside_spans(|| {
        if let Err(unsent) = actor.cast(Command::Signal(signal).into()) {
            side::let_go(unsent);
        }
    });
}

impl ControlPort for Port {
    fn signal(&self, signal: Signal) {
        let actor = match &mut *self.to.lock() {
            To::Nobody(waiting) => return waiting.push(signal),
            To::Actor(actor) => actor.clone(),
        };
        send(&actor, signal);
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
