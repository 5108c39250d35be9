//! A worker's events of `tracing`, sent home.

use std::fmt::Write;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::post::Post;
use crate::backend::process::wire::Log;
use crate::sync::{Arc, AtomicU64, Ordering};

/// Sends each event that the parent's own subscriber wants. Spans are not sent.
struct Home {
    post: Arc<Post>,
    level: Level,
    spans: AtomicU64,
}

/// From now on events go home, unless the parent wants none.
pub(super) fn install(post: &Arc<Post>) {
    let level = match post.level() {
        0 => return,
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let home = Home { post: post.clone(), level, spans: AtomicU64::new(1) };
    // One that is there already is the user's, and stays.
    let _ = tracing::subscriber::set_global_default(home);
}

fn number_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for Home {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let log = Log {
            level: number_of(*metadata.level()),
            target: metadata.target().to_owned(),
            text: text.message + &text.fields,
        };
        let (number, limit) = (self.post.job_number(), self.post.terms().limit);
        // A parent that is gone is seen by who reads.
        let _ = self.post.say(|out| log.put(out, number, limit));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// An event in a line: its message, and then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Into a string nothing fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
