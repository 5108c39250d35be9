//! How a job that was admitted can fail.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{CloseReason, DeadLetter, Deadlock, StartError};
use crate::id::{JobId, WorkerId};
use crate::snapshot::{Ended, Named, Scene, Seconds};
use crate::sync::Arc;

/// Which time limit passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// Until a worker takes the job.
    Queue,
    /// While the job runs.
    Run,
    /// The absolute one, over all others.
    Deadline,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue limit",
            Self::Run => "run limit",
            Self::Deadline => "deadline",
        })
    }
}

/// How an admitted job failed; two words, so that a job's outcome stays small. What a job itself returns, an error of its own included, is its output and not this.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// It panicked.
    #[error("{0}")]
    Panicked(Box<PanicReport>),
    /// It was cancelled before a worker took it, or took it again.
    #[error("{0}")]
    Cancelled(Box<CancelledJob>),
    /// One of its time limits passed. In the queue: it never ran. While running: its worker goes down the ladder.
    #[error("{0}")]
    TimedOut(Box<TimedOut>),
    /// The pool ended before the job began, or began again.
    #[error("{0}")]
    NotStarted(Box<NotStarted>),
    /// The job was handed over to a worker that was being started, and the start failed.
    #[error(transparent)]
    StartFailed(Box<StartFailed>),
    /// Its worker was killed under it.
    #[error("{0}")]
    Killed(Box<KilledJob>),
    /// Its worker was told to die and cannot be made to: the job may still be running, and its result will be dropped.
    #[error("{0}; it cannot be interrupted, so it may still run: its worker is abandoned")]
    Abandoned(Box<KilledJob>),
    /// Its worker vanished without a word. As a rule the job had begun. If it had not, as child processes ended before they had been sent all of it, that has
    /// happened three times.
    #[error("{0}")]
    Lost(Box<KilledJob>),
    /// It took its worker with it as often as it was delivered, and is not delivered again; see [`JobOptions::redeliver`](crate::JobOptions::redeliver). Or its
    /// label is in [quarantine](crate::PoolBuilder::quarantine).
    #[error("{0}")]
    DeadLettered(Arc<DeadLetter>),
    /// Its arguments could not be sent to a child process, or its result could not be had from there.
    #[cfg(feature = "process")]
    #[error("{0}")]
    Transfer(Box<super::TransferFailed>),
    /// Its interpreter did not bring it to its end.
    #[cfg(feature = "guest")]
    #[error("{0}")]
    Guest(Box<super::GuestFailed>),
    /// Not the job failed, but the wait for it, inside another job: it would never have ended. The job is where it was, and so is a handle
    /// that was awaited by reference, which may wait again.
    #[error("{0}")]
    Deadlock(Arc<Deadlock>),
}

impl JobError {
    /// The ledger's term for this; `None` if the job has not ended, but only the wait for it.
    pub fn ended(&self) -> Option<Ended> {
        Some(match self {
            Self::Deadlock(_) => return None,
            Self::Panicked(_) => Ended::Panicked,
            Self::Cancelled(_) => Ended::Cancelled,
            Self::TimedOut(_) => Ended::Expired,
            Self::NotStarted(_) | Self::StartFailed(_) => Ended::NotStarted,
            Self::Killed(_) => Ended::Killed,
            Self::Abandoned(_) => Ended::Abandoned,
            Self::Lost(_) => Ended::Lost,
            Self::DeadLettered(_) => Ended::DeadLettered,
            #[cfg(feature = "process")]
            Self::Transfer(failed) => failed.ended(),
            #[cfg(feature = "guest")]
            Self::Guest(failed) => failed.ended(),
        })
    }
}

/// A job that was cancelled before a worker began it, or began it again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CancelledJob {
    /// The pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// Who cancelled it: its handle, an operator.
    pub by: &'static str,
    /// How long after its admission.
    pub after: Duration,
    /// How many of its deliveries were lost before that; it was to be delivered again.
    pub lost_deliveries: u16,
}

impl fmt::Display for CancelledJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, job, label, submitted_from, by, after, lost_deliveries } = self;
        let (job, after) = (Named(*job, label, submitted_from), Seconds(*after));
        let began = Again(*lost_deliveries);
        write!(f, "pool `{pool}`: {job} was cancelled by {by} before it began{began}, {after} after its admission")
    }
}

/// A job that never began, or that was to begin again and did not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotStarted {
    /// The pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// Why the pool ended.
    pub reason: CloseReason,
    /// How many of its deliveries were lost before that; it was to be delivered again.
    pub lost_deliveries: u16,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, job, label, submitted_from, reason, lost_deliveries } = self;
        let (job, again) = (Named(*job, label, submitted_from), Again(*lost_deliveries));
        let began = if *lost_deliveries == 0 { "never began" } else { "did not begin" };
        write!(f, "pool `{pool}`: {job} {began}{again}: the pool takes no more jobs: {reason}")
    }
}

/// Said of a job that was to begin again.
struct Again(u16);

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" again (a worker was lost under it)"),
            lost => write!(f, " again ({lost} workers were lost under it)"),
        }
    }
}

/// A job that was handed over to a worker that did not come up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("pool `{pool}`: {} never began: its worker did not come up", Named(*job, label, submitted_from))]
pub struct StartFailed {
    /// The pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// Why the start failed.
    pub source: Arc<StartError>,
}

/// A job's panic.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PanicReport {
    /// The pool; `None` if a backend ran the job without its [`Claim`](crate::Claim).
    pub pool: Option<Arc<str>>,
    /// The worker that ran it; `None` likewise.
    pub worker: Option<WorkerId>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// What it panicked with, if that was text.
    pub message: String,
    /// Where it panicked, `file:line:column`; `None` if another panic hook has replaced millpond's.
    pub location: Option<String>,
    /// How it came there, if it panicked in a child process in whose environment `RUST_BACKTRACE` asks for that.
    pub backtrace: Option<String>,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pool) = &self.pool {
            write!(f, "pool `{pool}`: ")?;
        }
        write!(f, "{} panicked", Named(self.job, &self.label, self.submitted_from))?;
        if let Some(worker) = self.worker {
            write!(f, " on worker {worker}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A time limit that passed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimedOut {
    /// The pool.
    pub pool: Arc<str>,
    /// The lane.
    pub lane: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// Which limit.
    pub limit: LimitKind,
    /// How long the job had waited, or run, by then.
    pub after: Duration,
    /// The worker that ran it; `None` if it passed in the queue.
    pub worker: Option<WorkerId>,
    /// Who held the workers.
    pub scene: Arc<Scene>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool `{}`, lane `{}`: ", self.pool, self.lane)?;
        let (job, after) = (Named(self.job, &self.label, self.submitted_from), Seconds(self.after));
        let Self { limit, scene, .. } = self;
        match self.worker {
            Some(worker) => write!(f, "{job} passed its {limit} on worker {worker}, after {after} ({scene})"),
            None if *limit == LimitKind::Queue => write!(f, "no worker within {after} ({scene}) for {job}"),
            None => write!(f, "no worker before the {limit}, {after} after admission ({scene}) for {job}"),
        }
    }
}

/// A job that lost its worker.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KilledJob {
    /// The pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// The worker that had it.
    pub worker: WorkerId,
    /// Who or what ended the worker.
    pub by: Arc<str>,
    /// How long the job had made no progress, if the watchdog took its worker for that.
    pub silent_for: Option<Duration>,
    /// How long the job had run.
    pub after: Duration,
    /// How its process ended, if it had one that died unasked.
    #[cfg(feature = "process")]
    pub death: Option<Arc<super::Death>>,
}

impl fmt::Display for KilledJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, job, label, submitted_from, worker, by, after, .. } = self;
        let (job, after) = (Named(*job, label, submitted_from), Seconds(*after));
        write!(f, "pool `{pool}`: {job} lost worker {worker} after {after}: {by}")
    }
}

/// Why [`JobHandle::join`](crate::JobHandle::join) gives no output.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The job failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Waiting here would block the only thread of a current-thread runtime. The job goes on; `await` the handle instead.
    #[error("joining here would block the only thread of this runtime; `await` the handle instead")]
    WouldBlock,
    /// The job has no outcome within the time that its caller waits for it. The job goes on.
    #[error("job {job} has no outcome within {}: {}", Seconds(*limit), if *began { "it runs" } else { "it waits for a worker" })]
    NotYet {
        /// The job.
        job: JobId,
        /// How long its caller waited.
        limit: Duration,
        /// True if a worker has it.
        began: bool,
    },
}
