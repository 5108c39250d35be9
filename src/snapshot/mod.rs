//! What can be seen of a pool: saturation, inventory, ledger, histograms, and the scene inside an error.

mod health;
mod histogram;
mod inventory;
mod ledger;
mod lineage;
mod quarantine;
mod saturation;
mod scene;
mod termination;
mod veto;

pub(crate) use health::HealthAt;
pub use health::{Health, Shortage};
pub(crate) use histogram::Buckets;
pub use histogram::Histogram;
pub(crate) use inventory::Seconds;
pub use inventory::{Facts, Inventory, JobRow, WorkerRow, WorkerState};
pub use ledger::{Ended, Ledger};
pub use lineage::Lineage;
pub use quarantine::Quarantined;
pub use saturation::{LaneSnapshot, Saturation, Snapshot};
pub(crate) use scene::Named;
pub use scene::{Cooling, Longest, LongestAbandoned, Scene};
pub use termination::{Fate, Rung, Target, TargetReport, TerminationReport};
pub use veto::{Delay, DelayedStarts, Veto, VetoedStarts};
