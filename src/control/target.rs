//! Who is to be terminated, and how: selectors are resolved by the caller into fenced targets.

use std::fmt;
use std::time::Duration;

use crate::id::{JobId, WorkerId};
use crate::snapshot::{Inventory, Rung, Target, WorkerRow};
use crate::sync::Arc;

/// Fenced targets, for [`PoolMessage::Terminate`](crate::PoolMessage::Terminate).
pub type Targets = Vec<Target>;

type Predicate = dyn Fn(&WorkerRow) -> bool + Send + Sync;

/// Selects whom to terminate. Resolved in the caller, from an inventory: no predicate runs on the control thread.
#[derive(Clone)]
#[non_exhaustive]
pub enum Select {
    /// This incarnation.
    Worker(WorkerId),
    /// This job, running or queued.
    Job(JobId),
    /// Running jobs with this label.
    Label(Arc<str>),
    /// Running jobs of this lane.
    Lane(Arc<str>),
    /// Jobs that have run for longer than this.
    ActiveLongerThan(Duration),
    /// Every worker.
    All,
    /// Workers whose row fulfils this; a busy one is fenced by its job.
    Matching(Arc<Predicate>),
    /// These, resolved before.
    Targets(Targets),
}

impl Select {
    /// This incarnation, with whatever job it holds when the message comes.
    pub fn worker(worker: WorkerId) -> Self {
        Self::Worker(worker)
    }

    /// This job, running or queued.
    pub fn job(job: JobId) -> Self {
        Self::Job(job)
    }

    /// Running jobs with this label.
    pub fn label(label: impl AsRef<str>) -> Self {
        Self::Label(Arc::from(label.as_ref()))
    }

    /// Running jobs of this lane.
    pub fn lane(lane: impl AsRef<str>) -> Self {
        Self::Lane(Arc::from(lane.as_ref()))
    }

    /// Jobs that have run for longer than `span`.
    pub fn active_longer_than(span: Duration) -> Self {
        Self::ActiveLongerThan(span)
    }

    /// Every worker.
    pub fn all() -> Self {
        Self::All
    }

    /// Workers whose row fulfils `predicate`.
    pub fn matching(predicate: impl Fn(&WorkerRow) -> bool + Send + Sync + 'static) -> Self {
        Self::Matching(Arc::new(predicate))
    }

    /// The targets, by what `inventory` shows.
    pub fn resolve(&self, inventory: &Inventory) -> Targets {
        let rows = inventory.workers.iter();
        let claims =
            |wanted: &dyn Fn(&WorkerRow) -> bool| rows.clone().filter(|row| wanted(row)).filter_map(claim).collect();
        match self {
            Self::Targets(targets) => targets.clone(),
            Self::Worker(worker) => vec![Target::Worker(*worker)],
            Self::All => rows.map(|row| Target::Worker(row.worker)).collect(),
            Self::Job(id) => {
                let running = rows.clone().find(|row| row.job.as_ref().is_some_and(|job| job.id == *id));
                vec![running.and_then(claim).unwrap_or(Target::Queued(*id))]
            }
            Self::Label(label) => claims(&|row| job_is(row, |job| job.label.as_ref() == Some(label))),
            Self::Lane(lane) => claims(&|row| job_is(row, |job| job.lane == *lane)),
            Self::ActiveLongerThan(span) => claims(&|row| job_is(row, |job| job.running_for > *span)),
            Self::Matching(predicate) => {
                rows.filter(|row| predicate(row)).map(|row| claim(row).unwrap_or(Target::Worker(row.worker))).collect()
            }
        }
    }
}

fn job_is(row: &WorkerRow, wanted: impl Fn(&crate::snapshot::JobRow) -> bool) -> bool {
    row.job.as_ref().is_some_and(wanted)
}

fn claim(row: &WorkerRow) -> Option<Target> {
    let job = row.job.as_ref()?;
    Some(Target::Claim { worker: row.worker, claim: job.claim, job: job.id })
}

impl From<Targets> for Select {
    fn from(targets: Targets) -> Self {
        Self::Targets(targets)
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(worker) => write!(f, "worker {worker}"),
            Self::Job(job) => write!(f, "job {job}"),
            Self::Label(label) => write!(f, "label `{label}`"),
            Self::Lane(lane) => write!(f, "lane `{lane}`"),
            Self::ActiveLongerThan(span) => write!(f, "active longer than {span:?}"),
            Self::All => f.write_str("all"),
            Self::Matching(_) => f.write_str("a predicate"),
            Self::Targets(targets) => write!(f, "{targets:?}"),
        }
    }
}

/// Cancel, stop, kill, in order, with a grace after each.
///
/// No ladder is checked against what its pool's backend was told, be it one of a single call or a [`Watchdog`](crate::Watchdog)'s, at build or by
/// [`retune`](crate::PoolExecutor::retune): its graces are what whoever asks wants to wait, and a pool may be asked for less than an end takes. The last one goes on where the
/// backend's own waits begin: a child process has [`term_grace`](crate::process::ChildOptions::term_grace) from its SIGTERM, with the kill, to its SIGKILL. If the ladder's is over
/// before that, the worker is abandoned, and its slot used again, while it has up to the rest of that time to live. One that kills twice does not depend on it: a kill of
/// what was killed before is SIGKILL at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladder {
    pub(crate) rungs: Vec<(Rung, Duration)>,
}

impl Ladder {
    /// Without a rung: build your own with [`then`](Self::then).
    pub fn new() -> Self {
        Self { rungs: Vec::new() }
    }

    /// Asks the job, and waits for `grace`; goes no further.
    pub fn cooperative(grace: Duration) -> Self {
        Self::new().then(Rung::Cancel, grace)
    }

    /// Asks the job, after `grace` tells the worker to leave after its job, after another `grace` takes the worker.
    pub fn graceful(grace: Duration) -> Self {
        Self::new().then(Rung::Cancel, grace).then(Rung::Stop, grace).then(Rung::Kill, Duration::from_secs(1))
    }

    /// Takes the worker now. One that has not ended within a second is abandoned; a child process whose `term_grace` is longer needs a ladder that gives more, or kills twice.
    pub fn kill() -> Self {
        Self::new().then(Rung::Kill, Duration::from_secs(1))
    }

    /// True if it begins with a kill, or with nothing: nobody is asked about that.
    pub(super) fn is_forced(&self) -> bool {
        self.rungs.first().is_none_or(|(rung, _)| *rung == Rung::Kill)
    }

    /// Adds a rung, and how long it may take before the next one; after [`Rung::Kill`]: before the worker is abandoned.
    #[must_use]
    pub fn then(mut self, rung: Rung, grace: Duration) -> Self {
        self.rungs.push((rung, grace));
        self
    }
}

impl Default for Ladder {
    /// [`graceful`](Self::graceful) with one second.
    fn default() -> Self {
        Self::graceful(Duration::from_secs(1))
    }
}
