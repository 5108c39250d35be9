//! A pool of a group, and how to start it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use millpond::PoolMessage;
use ractor::{ActorCell, ActorRef};

/// What a start came to.
pub(super) type Started = Result<ActorRef<PoolMessage>, Box<dyn Error + Send + Sync>>;

type Start = dyn Fn(ActorCell) -> Pin<Box<dyn Future<Output = Started> + Send>> + Send + Sync;

/// A pool that came up. Unless its group takes it, it is stopped: its start was given up, or the group ended, be it with this in its mailbox.
#[derive(Debug)]
pub(super) struct Newcomer(Option<ActorRef<PoolMessage>>);

impl Newcomer {
    pub(super) const fn new(actor: ActorRef<PoolMessage>) -> Self {
        Self(Some(actor))
    }

    pub(super) fn taken(mut self) -> ActorRef<PoolMessage> {
        self.0.take().expect("it is taken once")
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(actor) = self.0.take() {
            actor.stop(Some("it came up when its group no longer waited for it".to_owned()));
        }
    }
}

pub(super) struct Member {
    pub(super) name: String,
    start: Box<Start>,
}

impl Member {
    pub(super) fn new<F, S>(name: &str, start: S) -> Self
    where
        S: Fn(ActorCell) -> F + Send + Sync + 'static,
        F: Future<Output = Started> + Send + 'static,
    {
        let start = Arc::new(start);
        // Called within the future: a panic there is a start that failed, and not the group's.
        let called = move |parent| -> Pin<Box<dyn Future<Output = Started> + Send>> {
            let start = start.clone();
            Box::pin(async move { start(parent).await })
        };
        Self { name: name.to_owned(), start: Box::new(called) }
    }

    pub(super) fn start(&self, parent: ActorCell) -> Pin<Box<dyn Future<Output = Started> + Send>> {
        (self.start)(parent)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}
