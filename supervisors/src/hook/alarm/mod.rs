//! An alarm while a pool is saturated, with hysteresis of its own.

mod edges;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use millpond::{Hook, HookContext, HookOptions, HookSpec, Notice, Saturation, Timestamp};
use parking_lot::Mutex;
use ractor::concurrency;

use edges::{Edge, Edges, Rule};

/// Why an alarm was raised or cleared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AlertCause {
    /// Raised: the pool is saturated.
    Saturated,
    /// Cleared: it is relieved.
    Relieved,
    /// Cleared: it has ended, in whatever way.
    Ended,
    /// Cleared: the alarm was removed or replaced, or was too slow to be told of its pool's end. It does not know how full the pool is.
    LetGo,
}

/// An alarm was raised or cleared.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Alert {
    /// The pool.
    pub pool: Arc<str>,
    /// True if it is raised; false if it is cleared.
    pub raised: bool,
    /// Why.
    pub cause: AlertCause,
    /// Since when the pool is, or was, saturated, on its clock.
    pub since: Timestamp,
    /// When this happened, on the pool's clock. If the alarm was [let go of](AlertCause::LetGo): when it last learnt something.
    pub at: Timestamp,
    /// How full the pool was when it last became saturated, or was relieved, or this alarm had missed something.
    pub saturation: Saturation,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pool, lasts) = (&self.pool, self.at.since(self.since));
        match self.cause {
            AlertCause::Saturated => write!(f, "pool `{pool}` is saturated, after {lasts:.1?}: {}", self.saturation),
            AlertCause::Relieved => {
                write!(f, "pool `{pool}` is no longer saturated, after {lasts:.1?}: {}", self.saturation)
            }
            AlertCause::Ended => write!(f, "pool `{pool}` has ended, {lasts:.1?} after it became saturated"),
            AlertCause::LetGo => write!(
                f,
                "pool `{pool}` is watched no longer: when that was last known, it had become saturated {lasts:.1?} before"
            ),
        }
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
/// An alarm that stands is cleared when its pool ends, in whatever way, and when the alarm is removed; [`Alert::cause`] says which. One that was
/// too slow and [missed](Notice::Missed) something goes on from how its pool is by then: what was relieved and saturated again in between
/// is one stretch.
///
/// Whoever is told is called on the hook's thread, where it keeps up nobody but this hook, or, for the last time, on that for drops; there the alarm also
/// waits, in real time, for what it is not told in time. For a channel, send:
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
        let seen = Mutex::new(Seen { edges: Edges::new(rule), saturation: Saturation::default(), last: None });
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
    /// Of which pool something was learnt, and when, for the last time.
    last: Option<(Arc<str>, Timestamp)>,
}

impl Seen {
    /// What whoever is told is told of this edge.
    fn alert(&self, edge: Edge, cleared_by: AlertCause) -> Option<Alert> {
        let ((pool, at), saturation) = (self.last.clone()?, self.saturation);
        Some(match edge {
            Edge::Raised(since) => Alert { pool, raised: true, cause: AlertCause::Saturated, since, at, saturation },
            Edge::Cleared(since) => Alert { pool, raised: false, cause: cleared_by, since, at, saturation },
        })
    }
}

impl Watched {
    /// Changes what was seen, and tells what follows. Says when to look again.
    fn step(&self, pool: &Arc<str>, now: Timestamp, change: impl FnOnce(&mut Seen)) -> Timestamp {
        let (alert, due) = {
            let mut seen = self.seen.lock();
            seen.last = Some((pool.clone(), now));
            change(&mut seen);
            let edge = seen.edges.look(now);
            (edge.and_then(|edge| seen.alert(edge, AlertCause::Relieved)), seen.edges.due())
        };
        if let Some(alert) = alert {
            (self.tell)(alert);
        }
        due
    }

    /// The pool is gone, and its alarm with it.
    fn end(&self, pool: &Arc<str>, now: Timestamp) {
        let alert = {
            let mut seen = self.seen.lock();
            seen.last = Some((pool.clone(), now));
            seen.edges.ended().and_then(|edge| seen.alert(edge, AlertCause::Ended))
        };
        if let Some(alert) = alert {
            (self.tell)(alert);
        }
    }
}

/// The hook is let go of, on its thread or on that for drops, and was not told of the end of its pool. Whoever looks later has a share, so
/// that nobody is being told anything else by now.
impl Drop for Watched {
    fn drop(&mut self) {
        let seen = self.seen.get_mut();
        let Some(alert) = seen.edges.ended().and_then(|edge| seen.alert(edge, AlertCause::LetGo)) else { return };
        let pool = alert.pool.clone();
        // A panic in a drop could end the process.
        if catch_unwind(AssertUnwindSafe(|| (self.tell)(alert))).is_err() {
            tracing::error!(pool = &*pool, "whoever an alarm tells panicked when it was let go of");
        }
    }
}

impl Hook for Watch {
    async fn told(&self, cx: &HookContext, notice: &Notice) {
        let now = cx.at;
        let due = match notice {
            Notice::Saturated { saturation, since } => self.0.step(&cx.pool, now, |seen| {
                seen.saturation = *saturation;
                seen.edges.saturated(*since);
            }),
            Notice::Relieved { saturation, .. } => self.0.step(&cx.pool, now, |seen| {
                seen.saturation = *saturation;
                seen.edges.relieved(now);
            }),
            Notice::Missed { saturation, saturated_since, .. } => self.0.step(&cx.pool, now, |seen| {
                seen.saturation = *saturation;
                seen.edges.missed(*saturated_since, now);
            }),
            Notice::Gate("closed") => return self.0.end(&cx.pool, now),
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
        watched.step(&pool, due, |_| ());
    }));
}
