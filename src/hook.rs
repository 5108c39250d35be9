//! The contract of hooks: what a pool asks before it acts, and what it tells afterwards. How they are hosted: `control/hook/`.

mod change;
mod question;

pub use change::{HookChange, HookFault};
pub use question::{Answer, Doomed, Question};

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::config::{Limits, Retuned};
use crate::error::{DeadLetter, Deadlock, Delivery};
use crate::id::{By, ClaimNo, JobId, WorkerId};
use crate::policy::{Exit, RecycleReason, Restart};
use crate::snapshot::{Delay, Health, Quarantined, Rung, Saturation, TerminationReport, Veto};
use crate::sync::{Arc, Timestamp};

/// The longest [`Verdict::Delay`] that makes sense.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// How long a hook has for an answer unless its [`HookOptions`] say otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(1);

/// A hook's answer. Of several hooks the strictest counts: one that denies, else the longest delay.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Do it.
    Allow,
    /// Do not, for this reason, which whoever asked for it is shown.
    Deny(Arc<str>),
    /// Do it after this long, at most a day, without asking again: unless it has become pointless by then.
    Delay(Duration),
}

impl Verdict {
    /// A denial.
    pub fn deny(reason: impl AsRef<str>) -> Self {
        Self::Deny(Arc::from(reason.as_ref()))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny(reason) => write!(f, "deny: {reason}"),
            Self::Delay(span) => write!(f, "delay by {span:?}"),
        }
    }
}

/// What a hook is told, after it has happened. Who wanted it is in the [context](HookContext::by).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A worker is ready, this long after its start began.
    WorkerStarted {
        /// Which.
        worker: WorkerId,
        /// From its start to its readiness.
        start_delay: Duration,
    },
    /// A worker is gone.
    WorkerGone {
        /// Which.
        worker: WorkerId,
        /// Why.
        exit: Exit,
    },
    /// A worker was told to die and cannot be made to.
    WorkerAbandoned {
        /// Which.
        worker: WorkerId,
    },
    /// What becomes of a slot whose worker ended by a fault.
    RestartDecided {
        /// The incarnation that ended.
        worker: WorkerId,
        /// The decision.
        restart: Restart,
    },
    /// A slot that was [cooled down](Restart::CoolDown) is back: the worker that was tried in it has been up for long enough.
    ProbeSucceeded {
        /// The worker.
        worker: WorkerId,
        /// How often the slot was cooled down.
        cool_downs: u32,
        /// From the fault that it was first cooled down for until this worker was ready.
        out_for: Duration,
    },
    /// A restart policy was replaced by the default, or an autoscaler by none.
    PolicyReplaced {
        /// What it did.
        reason: String,
    },
    /// New limits are in force, or an autoscaler is to stay within others.
    Resized {
        /// Before.
        from: Limits,
        /// Now.
        to: Limits,
        /// The limits that were set before; without an autoscaler, which stays within them, they are those in force.
        bounds_from: Limits,
        /// Those that are set now.
        bounds: Limits,
    },
    /// What is in force was changed by a retune.
    Retuned(Arc<Retuned>),
    /// A worker is due to be replaced although nothing is wrong with it.
    RecycleDue {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: RecycleReason,
    },
    /// A running job is overdue: it makes no progress. The ladder follows after a grace.
    Overdue {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// Since it began, or last beat.
        silent_for: Duration,
    },
    /// The ladder of an overdue job takes a rung.
    OverdueRung {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// Which rung.
        rung: Rung,
        /// Since it began, or last beat.
        silent_for: Duration,
    },
    /// An overdue job makes progress again, or is not overdue any more by what a retune has put in force, and is let off.
    LetOff {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// How long it had been silent when it beat.
        silent_for: Duration,
    },
    /// The autoscaler has changed the limit in force, within the pool's limits.
    Scaled {
        /// Workers that the pool could have before.
        from: usize,
        /// Workers that it can have now.
        to: usize,
    },
    /// Another restart policy is in force.
    RestartPolicySet,
    /// A job waited for what only its own worker, or others that wait for it, could bring about: its wait was ended.
    Deadlock(Arc<Deadlock>),
    /// All seats have been taken, with more work waiting or turned away, for a tenth of a second. Told at that edge, and at once to a hook that
    /// is set while the pool is saturated: that one is told since when it has been.
    Saturated {
        /// How full it is.
        saturation: Saturation,
        /// Since when.
        since: Timestamp,
    },
    /// A pool that was saturated has not been for a second.
    Relieved {
        /// How full it is.
        saturation: Saturation,
        /// For how long it was saturated.
        after: Duration,
    },
    /// Jobs were turned away since this was last told, at most ten times a second.
    Rejected {
        /// How many.
        jobs: u64,
    },
    /// A time limit of admitted jobs passed, in the queue or while they ran, since this was last told, at most ten times a second.
    Expired {
        /// How many.
        jobs: u64,
    },
    /// A running job passed its limit; the ladder starts on its worker.
    Overrun {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
    },
    /// A worker was lost under a job that may be [delivered again](crate::JobOptions::redeliver), and will be, once it has rested.
    Redelivered {
        /// The job.
        job: JobId,
        /// What its submitter called it.
        label: Option<Arc<str>>,
        /// The delivery that was lost.
        lost: Arc<Delivery>,
        /// How long it rests.
        rests_for: Duration,
    },
    /// A job took its worker with it as often as it is to be delivered, or once and more, and its label is in quarantine: it has ended, with what became of
    /// each delivery. Of jobs that a quarantine ends before their first delivery nothing is told but [`Quarantined`](Self::Quarantined).
    DeadLettered(Arc<DeadLetter>),
    /// Workers kept being lost under jobs of a label, which are kept out for a while; see [`PoolBuilder::quarantine`](crate::PoolBuilder::quarantine).
    Quarantined(Arc<Quarantined>),
    /// That is over for this label.
    Released {
        /// The label.
        label: Arc<str>,
    },
    /// The gate moved: open, quiesced, draining or closed. Closed is told once, whatever ended the pool, and then the hook is let go of. One
    /// that has 64 notices to deal with by then is let go of without it.
    Gate(&'static str),
    /// The pool's health changed.
    Health(Health),
    /// Hooks were asked, and none denies it: it happens now, unless it has become pointless.
    Allowed {
        /// What they were asked.
        question: Question,
        /// What each of them said. Who is not here was not waited for, since the pool is being shut down or the hook was removed.
        answers: Arc<[Answer]>,
    },
    /// Hooks were asked, and one denied it: it does not happen.
    Vetoed {
        /// What they were asked.
        question: Question,
        /// Who, and why.
        veto: Veto,
        /// What each of them said. Who is not here was not waited for: one denial is enough.
        answers: Arc<[Answer]>,
    },
    /// Hooks were asked, and none denies it, but some want it later: it happens then, unless it has become pointless. [`Allowed`](Self::Allowed)
    /// follows at that moment.
    Delayed {
        /// What they were asked.
        question: Question,
        /// The longest delay: whose, and until when.
        delay: Delay,
    },
    /// A ladder is over, whether or not hooks were asked about it: an operator's, with all its targets, or that of an overdue job, which
    /// that has ended, and by which rung.
    Terminated(Arc<TerminationReport>),
    /// A hook was added, replaced or removed; the one that goes is told, too.
    Hook {
        /// Its name.
        name: Arc<str>,
        /// What became of it.
        change: HookChange,
    },
    /// A hook gave no answer, or none that makes sense, and its default counted.
    HookFault {
        /// The hook.
        hook: Arc<str>,
        /// What it was asked about, by its [word](Question::word).
        question: &'static str,
        /// What it did.
        fault: HookFault,
        /// Its default.
        verdict: Verdict,
    },
    /// This hook was too slow, or the system had no thread for it: so many notices before this one are gone. What is told at its edges alone is repeated here, so that who misses
    /// an edge knows on which side of it the pool is.
    Missed {
        /// How many.
        notices: u64,
        /// How full it is.
        saturation: Saturation,
        /// Since when it is [`Saturated`](Self::Saturated); `None`: it is not, or is [`Relieved`](Self::Relieved).
        saturated_since: Option<Timestamp>,
    },
}

/// Who asks or tells, and on whose behalf.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HookContext {
    /// The pool.
    pub pool: Arc<str>,
    /// The name that the hook was given to this pool with.
    pub hook: Arc<str>,
    /// When, on the pool's clock.
    pub at: Timestamp,
    /// Who wants what is asked about, or wanted what is told.
    pub by: By,
}

impl HookContext {
    pub(crate) fn new(pool: Arc<str>, hook: Arc<str>, at: Timestamp, by: By) -> Self {
        Self { pool, hook, at, by }
    }
}

/// How long a hook may take, and what counts if it takes longer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HookOptions {
    /// How long it has for each answer, on the pool's clock, the time included in which it is busy with something else; default 1 s.
    pub limit: Duration,
    /// The verdict that counts if there is none in time, or the hook panics, is gone, asks for a delay of over a day, or has 1,024 questions
    /// to deal with already, which of these [`HookFault`](crate::HookFault) says; default [`Verdict::Allow`].
    pub default: Verdict,
    /// False for one that is told and never asked; default true.
    pub asked: bool,
}

impl HookOptions {
    /// A second for each answer; without one, what was asked about happens.
    pub fn new() -> Self {
        Self { limit: DEFAULT_LIMIT, default: Verdict::Allow, asked: true }
    }

    /// Is told and never asked: nothing waits for it.
    pub fn told_only() -> Self {
        Self { asked: false, ..Self::new() }
    }

    /// Sets how long it has for each answer.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets what counts if it does not answer.
    #[must_use]
    pub fn default_verdict(mut self, verdict: Verdict) -> Self {
        self.default = verdict;
        self
    }
}

impl Default for HookOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Is asked before a pool acts, and told afterwards. Every method has a default, which allows.
///
/// A hook runs on a thread of its own, with a runtime of its own, one message after the other. It may take its time, block its thread,
/// panic, or call the pool: nobody waits for it for longer than its limit, and then its default verdict counts. It is not asked about
/// what nobody can refuse: a crash and the restart that follows, a kill, a shutdown. Nor is one asked that has not dealt with 1,024 questions
/// that it was asked before: its default counts at once, until it has dealt with some.
///
/// It finds its pool by the name in its context, say among [`pools`](crate::pools): one that keeps an owning handle keeps its pool from ending.
///
/// The futures may be dropped at any `await`, when the hook has been removed or its pool has ended and they take longer than a second.
pub trait Hook: Send + Sync + 'static {
    /// Is `worker` to be started? See [`Question::Start`].
    fn start(&self, _cx: &HookContext, _worker: WorkerId) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Is `max` to be lowered? By default the answer of [`resize`](Self::resize).
    fn shrink(&self, cx: &HookContext, from: Limits, to: Limits) -> impl Future<Output = Verdict> + Send {
        self.resize(cx, from, to)
    }

    /// Are these limits to be put in force?
    fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Is `worker` to leave after having idled for so long? See [`Question::IdleExit`].
    fn idle_exit(
        &self,
        _cx: &HookContext,
        _worker: WorkerId,
        _idle_for: Duration,
    ) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Are `targets` to go down the ladder? See [`Question::Terminate`].
    fn terminate(&self, _cx: &HookContext, _targets: &[Doomed]) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Is `worker` to be recycled? See [`Question::Recycle`].
    fn recycle(
        &self,
        _cx: &HookContext,
        _worker: WorkerId,
        _reason: RecycleReason,
    ) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Is the ladder to begin on this job, which makes no progress? See [`Question::Overdue`].
    fn overdue(
        &self,
        _cx: &HookContext,
        _worker: WorkerId,
        _job: JobId,
        _silent_for: Duration,
    ) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Allow }
    }

    /// Something has happened. At most 64 notices wait for a hook; those beyond are counted, and it is told how many it missed.
    fn told(&self, _cx: &HookContext, _notice: &Notice) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Puts a question to the method that is for it.
pub(crate) async fn put<H: Hook>(hook: &H, cx: &HookContext, question: &Question) -> Verdict {
    match question {
        Question::Start { worker } => hook.start(cx, *worker).await,
        Question::Shrink { from, to } => hook.shrink(cx, *from, *to).await,
        Question::Resize { from, to } => hook.resize(cx, *from, *to).await,
        Question::IdleExit { worker, idle_for } => hook.idle_exit(cx, *worker, *idle_for).await,
        Question::Terminate { targets } => hook.terminate(cx, targets).await,
        Question::Recycle { worker, reason } => hook.recycle(cx, *worker, *reason).await,
        Question::Overdue { worker, job, silent_for, .. } => hook.overdue(cx, *worker, *job, *silent_for).await,
    }
}
