//! A worker's events of `tracing`, sent home with the names of the spans that they are in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::post::Post;
use crate::backend::process::wire::Log;
use crate::sync::{Arc, Mutex};

/// So many spans within each other are known by name; those within them are not.
const DEEPEST: usize = 32;

/// Sends each event that the parent's own subscriber wants. Of spans, their names go with the events in them.
struct Home {
    post: Arc<Post>,
    level: Level,
    spans: Mutex<Spans>,
}

/// The kinds of spans that there have been, by what made them. All of a kind have one number: of a span nothing is asked but its name.
#[derive(Default)]
struct Spans {
    names: Vec<&'static str>,
    numbers: HashMap<Identifier, u64>,
}

impl Spans {
    fn number(&mut self, kind: &'static Metadata<'static>) -> u64 {
        *self.numbers.entry(kind.callsite()).or_insert_with(|| {
            self.names.push(kind.name());
            self.names.len() as u64
        })
    }

    fn path(&self, numbers: &[u64]) -> String {
        let at = |number: &u64| usize::try_from(number - 1).ok();
        let names: Vec<&str> = numbers.iter().filter_map(|number| self.names.get(at(number)?).copied()).collect();
        names.join(":")
    }
}

/// The spans that a thread is in, the outermost first.
#[derive(Default)]
struct Within {
    numbers: Vec<u64>,
    /// How many it is in beyond those.
    deeper: usize,
}

impl Within {
    fn enter(&mut self, number: u64) {
        if self.numbers.len() < DEEPEST {
            self.numbers.push(number);
        } else {
            self.deeper += 1;
        }
    }

    /// As a rule it is the last one that was entered.
    fn exit(&mut self, number: u64) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some(at) = self.numbers.iter().rposition(|entered| *entered == number) {
            self.numbers.remove(at);
        }
    }
}

thread_local! {
    static WITHIN: RefCell<Within> = RefCell::default();
}

/// What is asked of the spans that this thread is in; nothing, once it ends.
fn within<T: Default>(ask: impl FnOnce(&mut Within) -> T) -> T {
    WITHIN.try_with(|within| ask(&mut within.borrow_mut())).unwrap_or_default()
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
    let home = Home { post: post.clone(), level, spans: Mutex::default() };
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
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.lock().number(span.metadata()))
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
            spans: self.spans_of(event),
            text: text.message + &text.fields,
        };
        let (number, limit) = (self.post.job_number(), self.post.terms().limit);
        // A parent that is gone is seen by who reads.
        let _ = self.post.say(|out| log.put(out, number, limit));
    }

    fn enter(&self, span: &Id) {
        within(|within| within.enter(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        within(|within| within.exit(span.into_u64()));
    }
}

impl Home {
    /// The names of the spans that it is in. Of a span that it names itself, only that one's is known.
    fn spans_of(&self, event: &Event<'_>) -> String {
        let numbers = match event.parent() {
            Some(parent) => vec![parent.into_u64()],
            None if event.is_root() => return String::new(),
            None => within(|within| within.numbers.clone()),
        };
        if numbers.is_empty() { String::new() } else { self.spans.lock().path(&numbers) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_spans_within_each_other_the_outermost_are_known() {
        let mut within = Within::default();
        for number in 1..=100 {
            within.enter(number);
        }
        let outermost: Vec<_> = (1..=DEEPEST as u64).collect();
        assert_eq!(within.numbers, outermost);
        for number in (DEEPEST as u64 + 1..=100).rev() {
            within.exit(number);
            assert_eq!(within.numbers, outermost);
        }
        // One that is left before those in it, and one that was never entered.
        within.exit(5);
        within.exit(999);
        assert_eq!(within.numbers.len(), DEEPEST - 1);
        within.enter(7);
        within.exit(7);
        assert!(within.numbers.contains(&7), "of two alike, the inner one was left");
    }
}
