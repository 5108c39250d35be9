//! What the log says of a start that failed: the cause, and not just that there was one. A program of its own, since a log is the process's.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use millpond::{Limits, StartContext, StartError, ThreadPool};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Passes on what warnings say.
struct Warnings(SyncSender<String>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        // Those that come after the one that is looked for find nobody.
        let _ = self.0.try_send(message.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[test]
fn a_failed_start_is_logged_with_its_cause() {
    let (sender, warnings) = sync_channel(16);
    tracing::subscriber::set_global_default(Warnings(sender)).expect("it is the first");
    let refuse = |_: &StartContext| -> Result<(), StartError> {
        Err(StartError::failed(std::io::Error::other("connection refused")))
    };
    let pool = ThreadPool::builder("logged").limits(Limits::fixed(1)).initializer(refuse).build().expect("it is built");
    let logged = warnings.recv_timeout(Duration::from_secs(30)).expect("it is logged");
    assert!(logged.ends_with("the worker's start failed: connection refused"), "{logged}");
    drop(pool);
}
