//! A subscriber that keeps what it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Fields by name, as text.
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) fields: Fields,
    /// The spans it was in, the innermost first.
    pub(crate) spans: Vec<(&'static str, Fields)>,
}

/// Whether spans of jobs are wanted.
pub(crate) static JOB_SPANS: AtomicBool = AtomicBool::new(true);
static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

struct Listener;

struct Fill<'a>(&'a mut Fields);

impl Visit for Fill<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _cx: Context<'_, S>) -> bool {
        metadata.target() != "millpond::job" || JOB_SPANS.load(Ordering::Acquire)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Fill(&mut fields));
        cx.span(id).expect("it is new").extensions_mut().insert(fields);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        panic_if_shaky(id, &cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        panic_if_shaky(&id, &cx);
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Fill(&mut fields));
        let spans = cx.event_scope(event).into_iter().flatten();
        let fields_of = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            (span.name(), span.extensions().get::<Fields>().cloned().unwrap_or_default())
        };
        let spans = spans.map(fields_of).collect();
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        HEARD.lock().push(Heard { level, target, fields, spans });
    }
}

/// Jobs of pools so named have a subscriber that panics whenever one of their spans is left, or closed.
pub(crate) const SHAKY: &str = "shaky";

/// How often it did.
pub(crate) static PANICS: AtomicUsize = AtomicUsize::new(0);

fn panic_if_shaky<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, cx: &Context<'_, S>) {
    let is_shaky = |fields: &Fields| fields.get("job").is_some() && fields["pool"].starts_with(SHAKY);
    if cx.span(id).is_some_and(|span| span.extensions().get().is_some_and(is_shaky)) {
        PANICS.fetch_add(1, Ordering::AcqRel);
        panic!("in a subscriber, as it was told");
    }
}

/// Listens from now on.
pub(crate) fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| set_global_default(Registry::default().with(Listener)).expect("it is the first"));
}

/// How many events with this value of a field there have been.
pub(crate) fn times_heard(field: &str, value: &str, also: impl Fn(&Heard) -> bool) -> usize {
    let has = |heard: &&Heard| heard.fields.get(field).is_some_and(|is| is == value) && also(heard);
    HEARD.lock().iter().filter(has).count()
}

/// All events until now with this value of a field.
#[cfg(all(feature = "process", unix))]
pub(crate) fn all_heard(field: &str, value: &str) -> Vec<Heard> {
    let has = |heard: &&Heard| heard.fields.get(field).is_some_and(|is| is == value);
    HEARD.lock().iter().filter(has).cloned().collect()
}

/// The first event with this value of a field, once there is one.
#[track_caller]
pub(crate) fn heard(field: &str, value: &str, also: impl Fn(&Heard) -> bool) -> Heard {
    soon(&format!("{field} = {value} is heard"), || {
        let has = |heard: &&Heard| heard.fields.get(field).is_some_and(|is| is == value) && also(heard);
        HEARD.lock().iter().find(has).cloned()
    })
}

/// What there is, once there is something.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "looks again and again, and pauses between two looks")]
pub(crate) fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "waited for ever until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
