//! What an error says about why the wait was long: the scene of the moment at which a limit passed, and the job's name.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::inventory::Seconds;
use super::{DelayedStarts, Inventory, Saturation, VetoedStarts};
use crate::id::{JobId, WorkerId};
use crate::sync::{Arc, Timestamp};

/// Who held the workers when a limit passed. One scene is shared by all errors of a tick.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Scene {
    /// The pool.
    pub pool: Arc<str>,
    /// When, on the pool's clock.
    pub at: Timestamp,
    /// How full it was.
    pub saturation: Saturation,
    /// Who had been active for longest.
    pub longest: Option<Longest>,
    /// Since when the gate had been quiesced: no worker was given a job.
    pub quiesced_since: Option<Timestamp>,
    /// Slots that had no worker, and were to stay so for a while, after a fault.
    pub cooling: Option<Cooling>,
    /// Slots that had no worker because a hook had denied its start.
    pub vetoed_starts: Option<VetoedStarts>,
    /// Slots that had no worker yet because a hook had put its start off.
    pub delayed_starts: Option<DelayedStarts>,
    /// Who had been abandoned for longest.
    pub abandoned: Option<LongestAbandoned>,
}

/// Slots that back off or cool down after a fault of their worker.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Cooling {
    /// How many.
    pub slots: usize,
    /// The pool's last fault, as text, and whose it was.
    pub last_fault: Option<(WorkerId, Arc<str>)>,
}

/// The worker that was told to die longest ago and still runs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LongestAbandoned {
    /// The worker.
    pub worker: WorkerId,
    /// What the submitter called the job that it does not let go of.
    pub label: Option<Arc<str>>,
    /// The line that submitted that; `None` if the worker hangs in its own start or end.
    pub submitted_from: Option<&'static Location<'static>>,
    /// How long ago it was abandoned.
    pub abandoned_for: Duration,
}

/// The job that had run longest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Longest {
    /// Its worker.
    pub worker: WorkerId,
    /// What its submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// How long it had run.
    pub running_for: Duration,
}

impl Scene {
    /// What the workers' rows show, between a gate and slots in this state.
    pub(crate) fn of(
        inventory: &Inventory,
        quiesced_since: Option<Timestamp>,
        cooling: Option<Cooling>,
        (vetoed_starts, delayed_starts): (Option<VetoedStarts>, Option<DelayedStarts>),
    ) -> Self {
        let longest = inventory.longest_active().and_then(|row| {
            let job = row.job.as_ref()?;
            Some(Longest {
                worker: row.worker,
                label: job.label.clone(),
                submitted_from: job.submitted_from,
                running_for: job.running_for,
            })
        });
        let abandoned = inventory.longest_abandoned().map(|row| LongestAbandoned {
            worker: row.worker,
            label: row.job.as_ref().and_then(|job| job.label.clone()),
            submitted_from: row.job.as_ref().map(|job| job.submitted_from),
            abandoned_for: row.in_state_for,
        });
        let Inventory { pool, taken_at, saturation, .. } = inventory;
        let (pool, at, saturation) = (pool.clone(), *taken_at, *saturation);
        Self { pool, at, saturation, longest, quiesced_since, cooling, vetoed_starts, delayed_starts, abandoned }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.saturation)?;
        if let Some(since) = self.quiesced_since {
            write!(f, "; quiesced for {}", Seconds(self.at.since(since)))?;
        }
        if let Some(cooling) = &self.cooling {
            write!(f, "; {cooling}")?;
        }
        if let Some(vetoed) = &self.vetoed_starts {
            write!(f, "; {vetoed}")?;
        }
        if let Some(delayed) = &self.delayed_starts {
            write!(f, "; {delayed}, {} of which are left", Seconds(delayed.delay.until.since(self.at)))?;
        }
        if let Some(longest) = &self.longest {
            write!(f, "; longest: {longest}")?;
        }
        match &self.abandoned {
            Some(abandoned) => write!(f, "; abandoned longest: {abandoned}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Cooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} without a worker after faults", Slots(self.slots))?;
        match &self.last_fault {
            Some((worker, fault)) => write!(f, ", the last: {worker} {fault}"),
            None => Ok(()),
        }
    }
}

pub(super) struct Slots(pub(super) usize);

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "slot" } else { "slots" })
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.worker)?;
        write_job(f, self.label.as_deref(), Some(self.submitted_from))?;
        write!(f, ", active {}", Seconds(self.running_for))
    }
}

impl fmt::Display for LongestAbandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.worker)?;
        write_job(f, self.label.as_deref(), self.submitted_from)?;
        write!(f, ", for {}", Seconds(self.abandoned_for))
    }
}

/// ` `label` from file:line`, as far as that is known.
fn write_job(f: &mut impl fmt::Write, label: Option<&str>, site: Option<&Location<'_>>) -> fmt::Result {
    if let Some(label) = label {
        write!(f, " `{label}`")?;
    }
    match site {
        Some(site) => write!(f, " from {}:{}", site.file(), site.line()),
        None => Ok(()),
    }
}

/// A job as errors name it: `job #3 `resize` from src/main.rs:7`.
pub(crate) struct Named<'a>(pub(crate) JobId, pub(crate) &'a Option<Arc<str>>, pub(crate) &'static Location<'static>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(job, label, site) = self;
        write!(f, "job {job}")?;
        write_job(f, label.as_deref(), Some(site))
    }
}
