//! Waits that would never end, because jobs wait for each other's workers.

use std::fmt;
use std::panic::Location;

use crate::id::{JobId, WorkerId};
use crate::snapshot::Named;
use crate::sync::Arc;

/// Jobs that wait for each other's workers: each holds a worker while it waits, and what it waits for needs one of theirs.
///
/// Found while all of them waited, through a [`JobHandle`](crate::JobHandle) or at a gate, and no worker of the pools that they wait for
/// could come free. One wait is ended with this, that of the job which was the last to wait, as a rule; the others wait on, for what may
/// have a worker once that job is over. What was waited for is untouched: a queued job stays queued.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// Those that wait, the one whose wait was ended first; at most [`Deadlock::MOST_NAMED`] of them.
    pub waits: Vec<NestedWait>,
    /// How many more there were.
    pub more: usize,
}

impl Deadlock {
    /// How many waits are named.
    pub const MOST_NAMED: usize = 16;
}

/// A job that waits, and holds its worker meanwhile.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NestedWait {
    /// Its pool.
    pub pool: Arc<str>,
    /// The job.
    pub job: JobId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// The worker that it holds.
    pub worker: WorkerId,
    /// What it waits for: all of that, or the first of it that comes.
    pub waits_for: Vec<WaitsFor>,
}

/// What a job waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The outcome of another job.
    Job {
        /// Its pool.
        pool: Arc<str>,
        /// The job.
        job: JobId,
        /// What its submitter called it.
        label: Option<Arc<str>>,
        /// The line that submitted it.
        submitted_from: &'static Location<'static>,
        /// True if it has a worker, and waits in its turn; false if no worker is left to take it.
        runs: bool,
    },
    /// A place at a gate.
    Place {
        /// The pool.
        pool: Arc<str>,
        /// The lane.
        lane: Arc<str>,
    },
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting would never end: ")?;
        write_list(f, &self.waits, "; ")?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, list: &[impl fmt::Display], between: &str) -> fmt::Result {
    for (nth, item) in list.iter().enumerate() {
        if nth > 0 {
            f.write_str(between)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for NestedWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, job, label, submitted_from, worker, waits_for } = self;
        write!(f, "{} of pool `{pool}`, on worker {worker}, waits for ", Named(*job, label, submitted_from))?;
        write_list(f, waits_for, " and ")
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job { pool, job, label, submitted_from, runs } => {
                write!(f, "{} of pool `{pool}`", Named(*job, label, submitted_from))?;
                f.write_str(if *runs { ", which waits too" } else { ", for which no worker is left" })
            }
            Self::Place { pool, lane } => write!(f, "a place in lane `{lane}` of pool `{pool}`"),
        }
    }
}

impl std::error::Error for Deadlock {}
