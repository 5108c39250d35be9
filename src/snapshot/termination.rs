//! Who was to be terminated, and what became of each.

use std::fmt;
use std::time::Duration;

use super::{Ended, Seconds, Veto};
use crate::id::{ClaimNo, JobId, WorkerId};

/// One fenced target: it never hits another incarnation, or the next job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Target {
    /// An incarnation, with whatever job it holds then.
    Worker(WorkerId),
    /// A job in a worker's hands, and the worker with it.
    Claim {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
    },
    /// A job that no worker has yet.
    Queued(JobId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(worker) => write!(f, "worker {worker}"),
            Self::Claim { worker, job, .. } => write!(f, "job {job} on worker {worker}"),
            Self::Queued(job) => write!(f, "job {job}"),
        }
    }
}

/// A rung of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Rung {
    /// Asks the job.
    Cancel,
    /// Tells the worker to leave after its job.
    Stop,
    /// Takes the worker now.
    Kill,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Kill => "kill",
        })
    }
}

/// What became of a target.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fate {
    /// The job was queued, and will not run.
    Withdrawn,
    /// The job ended by itself: before the message came, or when it was asked to.
    Finished,
    /// The worker left after its job.
    Stopped,
    /// The worker was taken, and is gone.
    Killed,
    /// The worker was told to die and cannot be made to; it is counted until it returns.
    Abandoned,
    /// No such worker or job: another incarnation has its place.
    Stale,
    /// A hook denied it, and nothing was done: who and why is in the [report](TerminationReport::veto).
    Vetoed,
    /// The ladder ended before the target did.
    StillRunning,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Withdrawn => "withdrawn from the queue",
            Self::Finished => "finished by itself",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned: it cannot be made to end",
            Self::Stale => "stale: no such worker or job any more",
            Self::Vetoed => "vetoed by a hook",
            Self::StillRunning => "still running: the ladder ended first",
        })
    }
}

/// What became of one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TargetReport {
    /// The target.
    pub target: Target,
    /// What became of it.
    pub fate: Fate,
    /// The rung that worked, if one was needed.
    pub rung: Option<Rung>,
    /// From the message's arrival to that.
    pub took: Duration,
    /// The job that the target was, or that its worker held.
    pub job: Option<JobId>,
    /// How that job ended, if it has.
    pub outcome: Option<Ended>,
}

impl fmt::Display for TargetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.fate)?;
        if let Some(rung) = self.rung {
            write!(f, " at {rung}")?;
        }
        write!(f, " after {}", Seconds(self.took))?;
        match (self.job, self.outcome) {
            (Some(job), Some(outcome)) => write!(f, "; job {job} {outcome}"),
            (Some(job), None) => write!(f, "; job {job} still runs"),
            _ => Ok(()),
        }
    }
}

/// What became of each target, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TerminationReport {
    /// One row a target.
    pub targets: Vec<TargetReport>,
    /// Who denied it, and why; all targets have the fate [`Vetoed`](Fate::Vetoed) then.
    pub veto: Option<Veto>,
}

impl fmt::Display for TerminationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.targets.iter().enumerate() {
            write!(f, "{}{target}", if index == 0 { "" } else { "\n" })?;
        }
        match &self.veto {
            Some(veto) => write!(f, "\n{veto}"),
            None => Ok(()),
        }
    }
}
