//! What hooks are told and the log of millpond does not have.

use millpond::{Hook, HookContext, HookOptions, HookSpec, Notice};
use tracing::{debug, info, warn};

/// Writes to `tracing` what hooks alone are told of, with the pool and the facts in fields.
///
/// millpond itself writes each [`PoolEvent`](millpond::PoolEvent) to `tracing`: workers that come and go, restarts, limits, the gate, health,
/// vetoes, overdue jobs. This adds the rest, and repeats none of that:
///
/// | event | level |
/// |---|---|
/// | a pool is saturated, with its counters | `WARN` |
/// | it is relieved, after how long | `INFO` |
/// | jobs turned away, and limits that passed, since this was last said | `INFO`, at most ten times a second |
/// | what each hook answered to a question, and who wanted it | `DEBUG` |
/// | what became of each target of a termination, and of an overdue job that its ladder ended | `INFO` |
/// | this hook itself was too slow, and missed something | `WARN` |
///
/// ```
/// # use millpond::{Limits, ThreadPool};
/// use millpond_supervisors::hook::Tracing;
///
/// let pool = ThreadPool::builder("parsers").limits(Limits::fixed(2)).hook_spec(Tracing.spec("log")).build()?;
/// # Ok::<(), millpond::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tracing;

impl Tracing {
    /// To be registered under this name; told only, so that nothing waits for it.
    pub fn spec(self, name: impl AsRef<str>) -> HookSpec {
        HookSpec::new(name, self).options(HookOptions::told_only())
    }
}

impl Hook for Tracing {
    async fn told(&self, cx: &HookContext, notice: &Notice) {
        let (pool, by) = (&*cx.pool, &cx.by);
        match notice {
            Notice::Saturated { saturation, .. } => warn!(
                pool,
                limit = saturation.limit,
                active = saturation.active,
                queued = saturation.queued,
                waiting = saturation.waiting,
                abandoned = saturation.abandoned,
                missing = saturation.missing,
                "the pool is saturated"
            ),
            Notice::Relieved { after, .. } => info!(pool, ?after, "the pool is saturated no more"),
            Notice::Rejected { jobs } => info!(pool, jobs, "jobs were turned away"),
            Notice::Expired { jobs } => info!(pool, jobs, "limits of admitted jobs passed"),
            Notice::Allowed { question, answers } | Notice::Vetoed { question, answers, .. } => {
                let worker = question.worker().map(tracing::field::display);
                for answer in &**answers {
                    let (hook, verdict, defaulted) = (&*answer.hook, &answer.verdict, answer.defaulted);
                    debug!(pool, question = question.word(), worker, %by, hook, %verdict, defaulted, "a hook was asked");
                }
            }
            Notice::Terminated(report) => {
                for row in &report.targets {
                    info!(pool, %by, "{row}");
                }
            }
            Notice::Missed { notices, .. } => warn!(pool, notices, hook = &*cx.hook, "this log is not complete"),
            // All else is in the log already.
            _ => {}
        }
    }
}
