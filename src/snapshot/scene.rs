//! The scene of the moment at which a limit passed: what an error says about why the wait was long.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::inventory::Seconds;
use super::{Inventory, Saturation};
use crate::id::WorkerId;
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
    pub(crate) fn of(inventory: &Inventory) -> Self {
        let longest = inventory.longest_active().and_then(|row| {
            let job = row.job.as_ref()?;
            Some(Longest {
                worker: row.worker,
                label: job.label.clone(),
                submitted_from: job.submitted_from,
                running_for: job.running_for,
            })
        });
        Self { pool: inventory.pool.clone(), at: inventory.taken_at, saturation: inventory.saturation, longest }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.saturation)?;
        let Some(longest) = &self.longest else { return Ok(()) };
        write!(f, "; longest: worker {}", longest.worker)?;
        if let Some(label) = &longest.label {
            write!(f, " `{label}`")?;
        }
        let from = longest.submitted_from;
        write!(f, " from {}:{}, active {}", from.file(), from.line(), Seconds(longest.running_for))
    }
}
