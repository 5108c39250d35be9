//! Inventory: every worker with its state, its job, and since when.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::Saturation;
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::sync::{Arc, Timestamp};

/// What an incarnation is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WorkerState {
    /// Coming up. Exits: `Idle`, `Busy`, `Leaving`, `Abandoned`, `Gone`.
    Starting,
    /// Waits for a job. Exits: `Busy`, `Leaving`, `Gone`.
    Idle,
    /// Has a job in hand. Exits: `Idle`, `Busy` (the next claim), `Condemned`, `Leaving`, `Abandoned`, `Gone`.
    Busy,
    /// Has a job in hand and will not take another. Exits: `Leaving`, `Abandoned`, `Gone`.
    Condemned,
    /// Has given its seat back and is about to end. Exit: `Gone`.
    Leaving,
    /// Was told to die and cannot be made to; holds no seat. Exit: `Gone`, when its code returns.
    Abandoned,
    /// Has ended.
    Gone,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Condemned => "condemned",
            Self::Leaving => "leaving",
            Self::Abandoned => "abandoned",
            Self::Gone => "gone",
        })
    }
}

/// What only one kind of worker has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The name of the worker's OS thread.
    pub thread: Option<Arc<str>>,
    /// The id of the worker's actor, as ractor prints it.
    pub actor: Option<Arc<str>>,
}

/// The job in a worker's hands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobRow {
    /// Which job.
    pub id: JobId,
    /// Which claim of its worker.
    pub claim: ClaimNo,
    /// What the submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// The lane that it waited in.
    pub lane: Arc<str>,
    /// How long it waited for its worker.
    pub queue_wait: Duration,
    /// How long it has run.
    pub running_for: Duration,
    /// When it last said that it progresses.
    pub last_beat: Option<Timestamp>,
}

/// One worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerRow {
    /// Which incarnation.
    pub worker: WorkerId,
    /// What it is doing.
    pub state: WorkerState,
    /// Since when.
    pub since: Timestamp,
    /// The same, as a span up to when the inventory was taken.
    pub in_state_for: Duration,
    /// The job in its hands.
    pub job: Option<JobRow>,
    /// Jobs that it has ended.
    pub jobs_done: u64,
    /// How often its slot was restarted before it.
    pub restarts: u32,
    /// From its start to its readiness.
    pub start_delay: Option<Duration>,
    /// What only this kind of worker has.
    pub facts: Facts,
}

/// Every worker of a pool at one moment. Prints as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inventory {
    /// The pool's name.
    pub pool: Arc<str>,
    /// When this was read, on the pool's clock.
    pub taken_at: Timestamp,
    /// One row a worker, by slot; abandoned ones last.
    pub workers: Vec<WorkerRow>,
    /// The counters of nearly the same moment.
    pub saturation: Saturation,
}

impl Inventory {
    /// The worker whose job has run longest, abandoned ones apart: those hold no seat.
    pub fn longest_active(&self) -> Option<&WorkerRow> {
        self.workers
            .iter()
            .filter(|row| row.job.is_some() && row.state != WorkerState::Abandoned)
            .max_by_key(|row| row.job.as_ref().map(|job| job.running_for))
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pool `{}`: {}", self.pool, self.saturation)?;
        write!(f, "{:<8} {:<9} {:>9}  {:<8} {:<16} from", "worker", "state", "for", "job", "label")?;
        for row in &self.workers {
            let span = Seconds(row.in_state_for);
            write!(f, "\n{:<8} {:<9} {span:>9}  ", row.worker.to_string(), row.state)?;
            match &row.job {
                Some(job) => {
                    let label = job.label.as_deref().unwrap_or("-");
                    let from = job.submitted_from;
                    write!(f, "{:<8} {label:<16} {}:{}", job.id.to_string(), from.file(), from.line())?;
                }
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

/// A span as a person reads it: `41.2 s`, `350 ms`, `12 µs`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        f.pad(&if secs >= 1.0 {
            format!("{secs:.1} s")
        } else if secs >= 1e-3 {
            format!("{:.0} ms", secs * 1e3)
        } else {
            format!("{:.0} µs", secs * 1e6)
        })
    }
}
