//! What a job was given, and so how it may end.

use millpond::{JobError, LimitKind, RejectReason};

use crate::allowed::Cause;
use crate::errand::{AS_TOLD, Record};
use crate::site::Shared;

/// What a job was told when it was offered.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub lane: &'static str,
    pub queue_limit: bool,
    pub run_limit: bool,
    pub deadline: bool,
    pub overdue: bool,
    pub panics: bool,
    /// It is submitted from inside a job, which waits for it.
    pub nested: bool,
    /// Which fault it is, if it is one.
    pub fault: Option<&'static str>,
}

impl Terms {
    /// None, in this lane.
    pub const fn none(lane: &'static str) -> Self {
        Self {
            lane,
            queue_limit: false,
            run_limit: false,
            deadline: false,
            overdue: false,
            panics: false,
            nested: false,
            fault: None,
        }
    }

    /// Whether it may be refused for this reason.
    pub fn allow_refusal(&self, reason: &RejectReason, shared: &Shared) -> bool {
        use RejectReason::{AdmissionTimedOut, AlreadyExpired, Closed, Deadlock, Full, SaturatedByAbandoned};
        match reason {
            Full { .. } | AdmissionTimedOut { .. } | SaturatedByAbandoned { .. } => true,
            AlreadyExpired { .. } => self.deadline,
            Deadlock(_) => self.nested,
            Closed { .. } => shared.is_ending(),
            _ => false,
        }
    }

    fn allow_limit(&self, limit: LimitKind, shared: &Shared) -> bool {
        match limit {
            LimitKind::Queue => self.queue_limit,
            LimitKind::Run => self.run_limit || self.lane == "direct" && shared.allowed.has(Cause::LaneRunLimit),
            LimitKind::Deadline => self.deadline,
            _ => false,
        }
    }

    fn allow_overdue(&self, shared: &Shared) -> bool {
        self.overdue || self.lane == "default" && shared.allowed.has(Cause::LaneSpan)
    }
}

/// Whether a job may end so: it was given that limit, was cancelled, or was aimed at.
pub fn is_deserved(record: &Record, outcome: &Result<u64, JobError>, shared: &Shared) -> bool {
    let (terms, books) = (&record.terms, &shared.books);
    match outcome {
        Ok(_) => !terms.panics,
        Err(JobError::Panicked(report)) => terms.panics && report.message.contains(AS_TOLD),
        Err(JobError::Cancelled(cancelled)) => match cancelled.by {
            "its handle" => record.was_cancelled(),
            "an operator" => books.was_aimed_at(cancelled.job, None),
            // It was asked to stop while a worker had it that did not begin it.
            _ => {
                let aimed_at = books.was_aimed_at(cancelled.job, None) || shared.allowed.has(Cause::LadderAtWorkers);
                record.was_cancelled() || aimed_at || terms.allow_overdue(shared)
            }
        },
        // One that waited in a queue is not handed over.
        Err(JobError::StartFailed(_)) => terms.lane == "direct",
        Err(JobError::NotStarted(_)) => shared.is_ending(),
        Err(JobError::TimedOut(late)) => terms.allow_limit(late.limit, shared),
        Err(JobError::Killed(killed) | JobError::Abandoned(killed) | JobError::Lost(killed)) => {
            let by = &*killed.by;
            let stuck = killed.silent_for.is_some();
            let said_so = stuck == by.starts_with("stuck");
            said_so
                && match by {
                    "terminated by an operator" => books.was_aimed_at(killed.job, Some(killed.worker)),
                    _ if by.starts_with("its actor was killed") => shared.allowed.has(Cause::Crash),
                    _ if stuck => terms.allow_overdue(shared),
                    _ => shared.is_ending() && by.starts_with("the pool"),
                }
        }
        Err(_) => false,
    }
}
