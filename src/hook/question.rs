//! What hooks are asked, and what they said.

use std::time::Duration;

use super::Verdict;
use crate::config::Limits;
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::policy::RecycleReason;
use crate::sync::Arc;

/// What a hook is asked. Who wants it is in the [context](super::HookContext::by). Never asked is what nobody can refuse: a crash and the restart that follows it, a kill, a shutdown.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Question {
    /// Is this worker to be started? Denied, its slot stays empty for a second, and the pool's health and errors say so.
    Start {
        /// Its number, if it is.
        worker: WorkerId,
    },
    /// Is `max` to be lowered? Workers above the new one leave, the idle ones at once and others after their job.
    Shrink {
        /// The limits in force.
        from: Limits,
        /// Those wanted.
        to: Limits,
    },
    /// Are other limits to be put in force, none of which lowers `max`? Whether by a resize, by an autoscaler or, with other things, by a
    /// retune, makes no difference, here and for [`Shrink`](Self::Shrink): what a retune changes beside them is not asked about.
    Resize {
        /// The limits in force.
        from: Limits,
        /// Those wanted.
        to: Limits,
    },
    /// Is this worker to leave, having idled for longer than the idle timeout? A job that takes it meanwhile ends the question. Allowed, it
    /// leaves, unless it may idle for longer by a timeout that was set meanwhile. Denied, it is not asked about again for as long as the idle timeout, by what
    /// that is then.
    IdleExit {
        /// The worker.
        worker: WorkerId,
        /// For how long it had idled when this was asked.
        idle_for: Duration,
    },
    /// Are these to go down a ladder that begins with asking? One that begins with a kill is not asked about.
    Terminate {
        /// Workers and jobs. A denial is of them all.
        targets: Arc<[Doomed]>,
    },
    /// Is this worker to be recycled? It takes jobs as ever meanwhile. Allowed, it is due, and goes when its turn comes, and nobody is asked
    /// about the one that takes its place. Denied, it works on, and is asked about again after a minute. If it was to be recycled because it
    /// idled, a job that it takes ends the question.
    Recycle {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: RecycleReason,
    },
    /// Is the ladder to begin on this overdue job? Progress, or the end of the job, ends the question. Denied, the job is let off until its
    /// next span without progress, when it is warned about again. A ladder that begins with a kill is not asked about.
    Overdue {
        /// The worker that has it.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// Since it began, or last beat, when this was asked.
        silent_for: Duration,
    },
}

impl Question {
    /// The one about a change of limits.
    pub(crate) fn of_limits(from: Limits, to: Limits) -> Self {
        if to.max < from.max { Self::Shrink { from, to } } else { Self::Resize { from, to } }
    }

    /// What it is about, in a word: start, shrink, resize, idle exit, terminate, recycle, overdue.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Shrink { .. } => "shrink",
            Self::Resize { .. } => "resize",
            Self::IdleExit { .. } => "idle exit",
            Self::Terminate { .. } => "terminate",
            Self::Recycle { .. } => "recycle",
            Self::Overdue { .. } => "overdue",
        }
    }

    /// The worker that it is about, if it is about one.
    pub fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::Start { worker }
            | Self::IdleExit { worker, .. }
            | Self::Recycle { worker, .. }
            | Self::Overdue { worker, .. } => Some(*worker),
            Self::Shrink { .. } | Self::Resize { .. } | Self::Terminate { .. } => None,
        }
    }
}

/// A target of a termination, as a hook sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Doomed {
    /// The worker; `None` for a job that is queued.
    pub worker: Option<WorkerId>,
    /// The job; `None` for a worker with whatever it has in hand.
    pub job: Option<JobId>,
}

impl Doomed {
    pub(crate) fn new(worker: Option<WorkerId>, job: Option<JobId>) -> Self {
        Self { worker, job }
    }
}

/// What a hook said to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The hook.
    pub hook: Arc<str>,
    /// Its verdict.
    pub verdict: Verdict,
    /// True if that is its default, since it gave no answer, or none that made sense.
    pub defaulted: bool,
}

impl Answer {
    pub(crate) fn new(hook: Arc<str>, verdict: Verdict, defaulted: bool) -> Self {
        Self { hook, verdict, defaulted }
    }
}
