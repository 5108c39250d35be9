//! An alarm while a pool is saturated, with hysteresis of its own.

mod edges;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millpond::{Hook, HookContext, HookOptions, HookSpec, Notice, Saturation, Timestamp};
use parking_lot::Mutex;
use ractor::concurrency;

use edges::{Edge, Edges, Rule};

/// An alarm was raised or cleared.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Alert {
    /// The pool.
    pub pool: Arc<str>,
    /// True if it is raised; false if it is cleared.
    pub raised: bool,
    /// Since when the pool is, or was, saturated, on its clock.
    pub since: Timestamp,
    /// When this happened, on the pool's clock.
    pub at: Timestamp,
    /// How full the pool was when it last became saturated, or was relieved.
    pub saturation: Saturation,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is, lasts) = (if self.raised { "is" } else { "is no longer" }, self.at.since(self.since));
        write!(f, "pool `{}` {is} saturated, after {lasts:.1?}: {}", self.pool, self.saturation)
    }
}

/// Tells somebody when a pool is saturated for long, and when it is so no more: raised and cleared by turns, raised first.
///
/// A pool is *saturated* while all its seats are taken and work waits or is turned away, for a tenth of a second at least, and *relieved* once
/// that is over for a second. On top of that:
///
/// | | the alarm | default |
/// |---|---|---|
/// | [`raise_after`](Self::raise_after) | is raised once the pool has been saturated for so long | at once |
/// | [`clear_after`](Self::clear_after) | is cleared once it has been relieved for so long; one that is saturated before keeps its alarm | at once |
/// | [`quiet`](Self::quiet) | is not raised again until so long after it was raised last; a pool that is saturated still is raised then | a minute |
///
/// When its pool ends, an alarm that stands is cleared. Whoever is told is called on the hook's thread, where it keeps up nobody but this
/// hook; there the alarm also waits, in real time, for what it is not told in time. For a channel, send:
///
/// ```
/// # use millpond::{Limits, ThreadPool};
/// use millpond_supervisors::hook::Alarm;
/// use std::sync::mpsc::sync_channel;
///
/// let (alerts, told) = sync_channel(64);
/// // Who does not take 64 of them gets no more.
/// let alarm = Alarm::new(move |alert| drop(alerts.try_send(alert)));
/// let pool = ThreadPool::builder("parsers").limits(Limits::fixed(2)).hook_spec(alarm.spec("alarm")).build()?;
/// assert!(told.try_recv().is_err(), "nothing is the matter");
/// # Ok::<(), millpond::BuildError>(())
/// ```
pub struct Alarm {
    rule: Rule,
    tell: Arc<dyn Fn(Alert) + Send + Sync>,
}

impl Alarm {
    /// One that calls `tell`.
    pub fn new(tell: impl Fn(Alert) + Send + Sync + 'static) -> Self {
        let rule = Rule { raise_after: Duration::ZERO, clear_after: Duration::ZERO, quiet: Duration::from_secs(60) };
        Self { rule, tell: Arc::new(tell) }
    }

    /// Is raised once the pool has been saturated for so long.
    #[must_use]
    pub fn raise_after(mut self, span: Duration) -> Self {
        self.rule.raise_after = span;
        self
    }

    /// Is cleared once the pool has been relieved for so long.
    #[must_use]
    pub fn clear_after(mut self, span: Duration) -> Self {
        self.rule.clear_after = span;
        self
    }

    /// The shortest time from one raise to the next.
    #[must_use]
    pub fn quiet(mut self, span: Duration) -> Self {
        self.rule.quiet = span;
        self
    }

    /// To be registered with one pool under this name; told only, so that nothing waits for it.
    pub fn spec(self, name: impl AsRef<str>) -> HookSpec {
        let Self { rule, tell } = self;
        let seen = Mutex::new(Seen { edges: Edges::new(rule), saturation: Saturation::default() });
        HookSpec::new(name, Watch(Arc::new(Watched { seen, tell }))).options(HookOptions::told_only())
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// An alarm at one pool.
struct Watch(Arc<Watched>);

struct Watched {
    seen: Mutex<Seen>,
    tell: Arc<dyn Fn(Alert) + Send + Sync>,
}

struct Seen {
    edges: Edges,
    saturation: Saturation,
}

impl Watched {
    /// Changes what was seen, and tells what follows. Says when to look again.
    fn step(&self, pool: &Arc<str>, now: Timestamp, change: impl FnOnce(&mut Seen) -> Option<Edge>) -> Timestamp {
        let (edge, due, saturation) = {
            let mut seen = self.seen.lock();
            let edge = change(&mut seen).or_else(|| seen.edges.look(now));
            (edge, seen.edges.due(), seen.saturation)
        };
        if let Some(edge) = edge {
            let (Edge::Raised(since) | Edge::Cleared(since)) = edge;
            let raised = matches!(edge, Edge::Raised(_));
            (self.tell)(Alert { pool: pool.clone(), raised, since, at: now, saturation });
        }
        due
    }
}

impl Hook for Watch {
    async fn told(&self, cx: &HookContext, notice: &Notice) {
        let now = cx.at;
        let due = match notice {
            Notice::Saturated { saturation, since } => self.0.step(&cx.pool, now, |seen| {
                seen.saturation = *saturation;
                seen.edges.saturated(*since);
                None
            }),
            Notice::Relieved { saturation, .. } => self.0.step(&cx.pool, now, |seen| {
                seen.saturation = *saturation;
                seen.edges.relieved(now);
                None
            }),
            Notice::Gate("closed") => self.0.step(&cx.pool, now, |seen| seen.edges.ended()),
            _ => return,
        };
        if due < Timestamp::NEVER {
            look_later(self.0.clone(), cx.pool.clone(), due.since(now), due);
        }
    }
}

/// On the hook's own runtime, which ends with it. One that comes too late finds nothing due.
#[expect(clippy::disallowed_methods, reason = "a hook that is hosted has a thread and a runtime of its own")]
fn look_later(watched: Arc<Watched>, pool: Arc<str>, span: Duration, due: Timestamp) {
    drop(concurrency::spawn(async move {
        concurrency::sleep(span).await;
        watched.step(&pool, due, |_| None);
    }));
}
