//! How a job of a mixed pool is refused, and how it fails.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use millpond::{Ended, JobError, LimitKind, RejectReason, Saturation};
use parking_lot::Mutex;

/// A member that did not take a job. The job is where it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Which member, in the order in which they were given.
    pub member: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Why.
    pub reason: RefusalReason,
}

impl Refusal {
    /// For tests of routes.
    pub fn new(member: usize, name: &str, reason: RefusalReason) -> Self {
        Self { member, name: Arc::from(name), reason }
    }

    /// True if the member may take the job later.
    pub fn may_pass(&self) -> bool {
        let RefusalReason::Pool(reason) = &self.reason else { return false };
        matches!(
            reason,
            RejectReason::Full { .. } | RejectReason::SaturatedByAbandoned { .. } | RejectReason::Quarantined(_)
        )
    }
}

/// Why a member did not take a job.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Its pool refused it.
    #[error("{0}")]
    Pool(RejectReason),
    /// What makes the member's job of it panicked.
    #[error("the job could not be made into one of this member's: {0}")]
    Adapter(String),
}

/// A run of a job in one member that did not bring it to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which member, in the order in which they were given.
    pub member: usize,
    /// Its name.
    pub name: Arc<str>,
    /// How it failed.
    pub error: AttemptError,
    pub(super) traces: Traces,
}

/// How an attempt failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// As the member's pool says.
    #[error("{0}")]
    Job(JobError),
    /// The job, on its way into the member or its output on the way out, ran into a panic.
    #[error("the job was lost between this pool and its member: {0}")]
    Adapter(String),
}

/// What an attempt that failed has left: whether the job may be given to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Traces {
    /// None: it has not begun.
    None,
    /// It has begun, or may have, and runs no more.
    Over,
    /// It may still run, or was ended by somebody who wanted it ended.
    Final,
}

impl Traces {
    /// Of a job whose member has delivered it more than once if `lost`: that it begins no more does not say that it never did.
    fn of(error: &JobError, lost: bool) -> Self {
        let none = if lost { Self::Over } else { Self::None };
        match error {
            JobError::TimedOut(passed) if passed.worker.is_none() && passed.limit == LimitKind::Queue => none,
            error => match error.ended() {
                Some(Ended::NotStarted) => none,
                Some(Ended::Panicked | Ended::Lost | Ended::DeadLettered) => Self::Over,
                _ => Self::Final,
            },
        }
    }
}

impl Attempt {
    pub(super) fn job(member: usize, name: Arc<str>, error: JobError, lost: bool) -> Self {
        let traces = Traces::of(&error, lost);
        Self { member, name, error: AttemptError::Job(error), traces }
    }

    pub(super) const fn adapter(member: usize, name: Arc<str>, message: String, traces: Traces) -> Self {
        Self { member, name, error: AttemptError::Adapter(message), traces }
    }

    /// For tests of routes.
    pub fn new(member: usize, name: &str, error: AttemptError) -> Self {
        match error {
            AttemptError::Job(error) => Self::job(member, Arc::from(name), error, false),
            AttemptError::Adapter(message) => Self::adapter(member, Arc::from(name), message, Traces::Final),
        }
    }

    /// True if it is certain that nothing of the job has run there.
    pub fn never_began(&self) -> bool {
        self.traces == Traces::None
    }

    fn ended(&self) -> Ended {
        match &self.error {
            AttemptError::Job(error) => error.ended().unwrap_or(Ended::Lost),
            AttemptError::Adapter(_) => Ended::Panicked,
        }
    }
}

/// How an admitted job failed. What the job itself returns, an error of its own included, is its output and not this.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MixedError {
    /// The mixed pool.
    pub pool: Arc<str>,
    /// The job's number in it.
    pub job: u64,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// How it ended.
    pub end: MixedEnd,
    /// What was tried, in that order.
    pub attempts: Vec<Attempt>,
}

/// How a job failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MixedEnd {
    /// Its last attempt did, and it is not to be, or cannot be, tried elsewhere.
    Failed,
    /// No member takes it.
    NoMember(Vec<Refusal>),
    /// It was cancelled while no member had it.
    Cancelled,
    /// A limit passed while no member had it.
    TimedOut {
        /// Which.
        limit: LimitKind,
        /// How long it had waited by then.
        after: Duration,
    },
    /// The mixed pool ended while no member had it.
    NotStarted,
    /// The mixed pool has lost it: its own fault.
    Lost,
}

impl MixedError {
    /// The ledger's term for this.
    pub fn ended(&self) -> Ended {
        match &self.end {
            MixedEnd::Failed => self.attempts.last().map_or(Ended::Lost, Attempt::ended),
            MixedEnd::NoMember(_) | MixedEnd::NotStarted => Ended::NotStarted,
            MixedEnd::Cancelled => Ended::Cancelled,
            MixedEnd::TimedOut { .. } => Ended::Expired,
            MixedEnd::Lost => Ended::Lost,
        }
    }

    /// What the pool of the last attempt says.
    pub fn last(&self) -> Option<&JobError> {
        match &self.attempts.last()?.error {
            AttemptError::Job(error) => Some(error),
            AttemptError::Adapter(_) => None,
        }
    }
}

struct All<'a>(&'a [Refusal]);

impl fmt::Display for All<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in self.0 {
            write!(f, "; `{}`: {}", refusal.name, refusal.reason)?;
        }
        Ok(())
    }
}

impl fmt::Display for MixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_deref().unwrap_or("-");
        write!(f, "mixed pool `{}`: job {} `{label}` from {} ", self.pool, self.job, self.submitted_from)?;
        match &self.end {
            MixedEnd::Failed => f.write_str("failed")?,
            MixedEnd::NoMember(refusals) => write!(f, "is taken by no member{}", All(refusals))?,
            MixedEnd::Cancelled => f.write_str("was cancelled while no member had it")?,
            MixedEnd::TimedOut { limit, after } => {
                write!(f, "passed its {limit} while no member had it, after {after:.1?}")?;
            }
            MixedEnd::NotStarted => f.write_str("was with no member when the pool ended")?,
            MixedEnd::Lost => f.write_str("was lost by the mixed pool itself")?,
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            write!(f, "; attempt {} in `{}`: {}", number + 1, attempt.name, attempt.error)?;
        }
        Ok(())
    }
}

impl std::error::Error for MixedError {}

/// Why [`MixedHandle::join`](super::MixedHandle::join) gives no output.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixedJoinError {
    /// The job failed.
    #[error(transparent)]
    Job(#[from] Box<MixedError>),
    /// Waiting here would block the only thread of a current-thread runtime. The job goes on; `await` the handle instead.
    #[error("joining here would block the only thread of this runtime; `await` the handle instead")]
    WouldBlock,
}

/// Why a job was not admitted. Nothing of it ran.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixedRejectReason {
    /// Every place is taken, or others wait for one already.
    #[error("mixed pool `{pool}`: full, {places} jobs have a place ({saturation})")]
    Full {
        /// The mixed pool.
        pool: Arc<str>,
        /// How many there are.
        places: usize,
        /// All members together.
        saturation: Saturation,
    },
    /// No place became free within the admission limit, or before the job's deadline.
    #[error("mixed pool `{pool}`: no place within {limit:.1?} ({saturation})")]
    AdmissionTimedOut {
        /// The mixed pool.
        pool: Arc<str>,
        /// How long it waited.
        limit: Duration,
        /// All members together.
        saturation: Saturation,
    },
    /// The mixed pool takes no more jobs.
    #[error("mixed pool `{pool}` takes no more jobs: it drains, or was shut down")]
    Closed {
        /// The mixed pool.
        pool: Arc<str>,
    },
    /// No member takes it, nor will one.
    #[error("mixed pool `{pool}`: no member takes the job{}", All(refusals))]
    NoMember {
        /// The mixed pool.
        pool: Arc<str>,
        /// What those said that were asked.
        refusals: Vec<Refusal>,
    },
    /// The deadline, or a queue or run limit of no time at all, had passed before the job came.
    #[error("mixed pool `{pool}`: the job's {limit} had passed before it came")]
    AlreadyExpired {
        /// The mixed pool.
        pool: Arc<str>,
        /// Which.
        limit: LimitKind,
    },
    /// Waiting here would block the only thread of a current-thread runtime.
    #[error(
        "mixed pool `{pool}`: waiting for a place would block the only thread of this runtime; use `submit(..).await`"
    )]
    WouldBlock {
        /// The mixed pool.
        pool: Arc<str>,
    },
}

/// A job that was not admitted, with the reason. Passes through `?` into `Box<dyn Error + Send + Sync>`.
pub struct MixedRejected<J> {
    /// In a mutex, so that this is `Sync` for every `Send` job; nobody ever waits for it.
    job: Mutex<J>,
    reason: Box<MixedRejectReason>,
}

impl<J> MixedRejected<J> {
    pub(super) fn new(job: J, reason: MixedRejectReason) -> Self {
        Self { job: Mutex::new(job), reason: Box::new(reason) }
    }

    /// Why: the error without the job.
    pub fn reason(&self) -> &MixedRejectReason {
        &self.reason
    }

    /// The job, to run elsewhere or later.
    pub fn into_job(self) -> J {
        self.job.into_inner()
    }

    /// Both.
    pub fn into_parts(self) -> (J, MixedRejectReason) {
        (self.job.into_inner(), *self.reason)
    }
}

impl<J> fmt::Debug for MixedRejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixedRejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<J> fmt::Display for MixedRejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<J> std::error::Error for MixedRejected<J> {}
