//! Why a job was not admitted.

use std::fmt;
use std::time::Duration;

use super::{CloseReason, Deadlock};
use crate::config::MAX_NAME;
use crate::snapshot::{Quarantined, Scene, Seconds};
use crate::sync::{Arc, Mutex};

/// Why a job was not admitted. Nothing of it ran, and nothing of it is kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The lane is full, or others wait for it already.
    #[error("pool `{}`, lane `{lane}`: full ({scene})", scene.pool)]
    Full {
        /// The lane.
        lane: Arc<str>,
        /// Who held the workers.
        scene: Arc<Scene>,
    },
    /// The lane stayed full for as long as its admission limit allows.
    #[error("pool `{}`, lane `{lane}`: no place within {} ({scene})", scene.pool, Seconds(*limit))]
    AdmissionTimedOut {
        /// The lane.
        lane: Arc<str>,
        /// The limit that passed: the lane's, or the time to the job's deadline.
        limit: Duration,
        /// Who held the workers.
        scene: Arc<Scene>,
    },
    /// No seat is left: workers that cannot be made to die hold them all.
    #[error("pool `{}`, lane `{lane}`: saturated by {} abandoned workers, more than its cap of {cap} ({scene})", scene.pool, scene.saturation.abandoned)]
    SaturatedByAbandoned {
        /// The lane.
        lane: Arc<str>,
        /// How many abandoned workers may be replaced.
        cap: usize,
        /// Who held the workers.
        scene: Arc<Scene>,
    },
    /// The pool takes no more jobs.
    #[error("pool `{pool}` takes no more jobs: {reason}")]
    Closed {
        /// The pool.
        pool: Arc<str>,
        /// Why.
        reason: CloseReason,
    },
    /// No lane has that name.
    #[error("pool `{pool}` has no lane `{lane}`; it has {known}")]
    UnknownLane {
        /// The pool.
        pool: Arc<str>,
        /// The name that was asked for.
        lane: Arc<str>,
        /// The names that there are.
        known: String,
    },
    /// The label is too long to be kept with the job.
    #[error("pool `{pool}`: a job's label has at most {MAX_NAME} bytes; this one has {bytes}")]
    LabelTooLong {
        /// The pool.
        pool: Arc<str>,
        /// Its length.
        bytes: usize,
    },
    /// Workers kept being lost under jobs of this label; see [`PoolBuilder::quarantine`](crate::PoolBuilder::quarantine).
    #[error("{0}")]
    Quarantined(Arc<Quarantined>),
    /// The deadline, or a limit of zero, had passed before the job came.
    #[error("pool `{pool}`: the job's {what} had passed before it came")]
    AlreadyExpired {
        /// The pool.
        pool: Arc<str>,
        /// Which limit.
        what: &'static str,
    },
    /// The pool's threads have no state of the type that the job wants.
    #[error("pool `{pool}`: the job wants a thread state of type {wanted}; the pool's threads have {found}")]
    WrongState {
        /// The pool.
        pool: Arc<str>,
        /// The type that the job takes.
        wanted: &'static str,
        /// The type that the initializer makes.
        found: &'static str,
    },
    /// Waiting here, inside a job, would never end: those who would have to make a place wait for this job's worker.
    #[error("{0}")]
    Deadlock(Arc<Deadlock>),
    /// Waiting here would block the only thread of a current-thread runtime.
    #[error("pool `{pool}`: waiting at the gate would block the only thread of this runtime; use `submit(..).await`")]
    WouldBlock {
        /// The pool.
        pool: Arc<str>,
    },
}

/// A job that was not admitted, with the reason. Passes through `?` into `Box<dyn Error + Send + Sync>`.
pub struct Rejected<J> {
    /// In a mutex, so that this is `Sync` for every `Send` job; nobody ever waits for it.
    job: Mutex<J>,
    reason: RejectReason,
}

impl<J> Rejected<J> {
    pub(crate) fn new(job: J, reason: RejectReason) -> Self {
        Self { job: Mutex::new(job), reason }
    }

    /// Why: the error without the job.
    pub fn reason(&self) -> &RejectReason {
        &self.reason
    }

    /// The error without the job, which is dropped.
    pub fn into_reason(self) -> RejectReason {
        self.reason
    }

    /// The job, to run elsewhere or later.
    #[cfg(not(millpond_loom))]
    pub fn into_job(self) -> J {
        self.job.into_inner()
    }

    /// Both.
    #[cfg(not(millpond_loom))]
    pub fn into_parts(self) -> (J, RejectReason) {
        (self.job.into_inner(), self.reason)
    }

    /// The same rejection of what the job was made from.
    #[cfg(not(millpond_loom))]
    pub(crate) fn map<K>(self, back: impl FnOnce(J) -> K) -> Rejected<K> {
        Rejected { job: Mutex::new(back(self.job.into_inner())), reason: self.reason }
    }
}

impl<J> fmt::Debug for Rejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<J> fmt::Display for Rejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<J> std::error::Error for Rejected<J> {}
