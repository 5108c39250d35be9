//! An audit trail: one line of JSON for all that hooks are told.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use millpond::{Hook, HookContext, HookOptions, HookSpec, Notice, Timestamp};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::record;

/// Writes a line of JSON, one object each, for each question that came to a ruling and for all else that hooks are told.
///
/// | field | in | |
/// |---|---|---|
/// | `pool`, `what` | every line | which pool, and what happened: `worker started`, `worker gone`, `allowed`, `vetoed`, `resized`, .. |
/// | `at_ns` | every line | when, on the pool's clock, in nanoseconds since its origin |
/// | `unix_ms` | every line | when it was written, by the machine's clock |
/// | `worker`, `job`, `claim` | where there is one | whom it is about |
/// | `question`, `asked_for` | `allowed`, `vetoed`, `delayed` | what hooks were asked, on whose behalf |
/// | `answers` | `allowed`, `vetoed` | what each answered |
/// | `vetoed_by`, `because` | `vetoed` | whose denial counted |
/// | `delayed_by`, `delay_ms`, `until_ns` | `delayed` | who has put it off for longest, and until when on the pool's clock |
/// | `from`, `to` | `resized`, `retuned`, `scaled` | limits in force before and now |
/// | `bounds_from`, `bounds` | `resized` | limits that were set before and now: where there is an autoscaler, what it stays within |
/// | `rung` | `worker gone`, by the watchdog | which rung of its ladder did it: `kill`, or `stop` |
/// | `by` | where somebody wanted it | an operator, by name if there is one, the restart policy, the autoscaler, the watchdog, a limit: [`By`](millpond::By) |
/// | `targets` | `terminated` | what became of each target of a ladder, by which rung, whether or not hooks were asked about it |
/// | `hook`, `change` | `hook` | a hook was added, replaced or removed; the trail's own, too |
/// | `hook`, `question`, `fault`, `verdict` | `hook fault` | which gave no answer that makes sense, what it did, and its default, which counted |
/// | `rung`, `silent_for_ms` | `overdue rung` | a rung of the ladder of an overdue job |
/// | `label` | `redelivered`, `dead-lettered`, `quarantined`, `released` | whose jobs it is about, if they have one |
/// | `deliveries` | `dead-lettered` | the workers that were lost under the job, when, and what ended each |
/// | `notices` | `missed` | so many lines are missing before this one, as the trail was too slow |
/// | `lines` | `lost` | so many lines could not be written before this one |
///
/// An *operator* is whoever sent a control message: by the name that it was [sent with](millpond::PoolExecutor::by), or just `operator`. Nobody
/// checks names.
///
/// Registered by [`spec`](Self::spec) it is told only, so that nothing waits for it. It writes on its hook's thread and flushes each line.
/// A line that cannot be written is counted, the first one is an error in `tracing`, and the trail goes on; when writing works again,
/// a line says how many are gone. Clones write to the same place, so that one trail serves several pools.
///
/// ```
/// # use millpond::{Limits, ThreadPool};
/// use millpond_supervisors::hook::AuditTrail;
///
/// let trail = AuditTrail::new(std::io::sink());
/// let pool = ThreadPool::builder("parsers").limits(Limits::fixed(2)).hook_spec(trail.spec("audit")).build()?;
/// assert_eq!(trail.lost(), 0);
/// # Ok::<(), millpond::BuildError>(())
/// ```
pub struct AuditTrail<W>(Arc<Mutex<Trail<W>>>);

struct Trail<W> {
    out: W,
    /// Lines that could not be written.
    lost: u64,
    /// Those of them that the trail does not tell of yet.
    untold: u64,
}

impl<W: Write + Send + 'static> AuditTrail<W> {
    /// A trail that is written to `out`, line by line.
    pub fn new(out: W) -> Self {
        Self(Arc::new(Mutex::new(Trail { out, lost: 0, untold: 0 })))
    }

    /// To be registered under this name, told only.
    pub fn spec(&self, name: impl AsRef<str>) -> HookSpec {
        HookSpec::new(name, self.clone()).options(HookOptions::told_only())
    }

    /// How many lines could not be written so far.
    pub fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    fn write(&self, cx: &HookContext, notice: &Notice) {
        let (what, fields) = record::of_notice(notice, &cx.by);
        let line = line(&cx.pool, cx.at, what, fields);
        let mut trail = self.0.lock();
        let first = trail.lost == 0;
        if let Err(error) = trail.append(&cx.pool, cx.at, line)
            && first
        {
            tracing::error!(pool = &*cx.pool, hook = &*cx.hook, "an audit trail cannot be written: {error}");
        }
    }
}

impl<W: Write> Trail<W> {
    fn append(&mut self, pool: &str, at: Timestamp, line: Vec<u8>) -> std::io::Result<()> {
        let mut lines = Vec::new();
        if self.untold > 0 {
            // The line that failed may have been written in part.
            lines.push(b'\n');
            let lost = Map::from_iter([("lines".to_owned(), Value::from(self.untold))]);
            lines.extend(self::line(pool, at, "lost", lost));
        }
        lines.extend(line);
        let written = self.out.write_all(&lines).and_then(|()| self.out.flush());
        match written {
            Ok(()) => self.untold = 0,
            Err(_) => (self.lost, self.untold) = (self.lost + 1, self.untold + 1),
        }
        written
    }
}

fn line(pool: &str, at: Timestamp, what: &str, mut fields: Map<String, Value>) -> Vec<u8> {
    fields.insert("pool".to_owned(), Value::from(pool));
    fields.insert("what".to_owned(), Value::from(what));
    fields.insert("at_ns".to_owned(), Value::from(at.as_nanos()));
    fields.insert("unix_ms".to_owned(), Value::from(unix_millis()));
    let mut line = Value::Object(fields).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[expect(
    clippy::disallowed_methods,
    reason = "a trail is read beside those of other programs; nothing here is decided by it"
)]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl<W: Write + Send + 'static> Hook for AuditTrail<W> {
    async fn told(&self, cx: &HookContext, notice: &Notice) {
        self.write(cx, notice);
    }
}

impl<W> Clone for AuditTrail<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W> fmt::Debug for AuditTrail<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trail = self.0.lock();
        f.debug_struct("AuditTrail").field("lost", &trail.lost).finish_non_exhaustive()
    }
}
