//! What pools that are gone have left behind: workers that could not be made to end.

use std::time::Duration;

use crate::id::{JobId, WorkerId};
use crate::slot::Cell;
use crate::snapshot::{Facts, WorkerState};
use crate::sync::{Arc, Clock, Mutex, Timestamp};

/// A worker that outlives its pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Orphan {
    /// The pool that it was of.
    pub pool: Arc<str>,
    /// The worker.
    pub worker: WorkerId,
    /// The job that it will not let go of, if it has one.
    pub job: Option<JobId>,
    /// What its submitter called that.
    pub label: Option<Arc<str>>,
    /// How long the pool has been gone.
    pub orphaned_for: Duration,
    /// Its thread or actor.
    pub facts: Facts,
}

struct Ward {
    pool: Arc<str>,
    cell: Arc<Cell>,
    job: Option<HeldJob>,
    since: Timestamp,
    clock: Clock,
}

/// The job in an orphan's hands: its number, and what its submitter called it.
pub(super) type HeldJob = (JobId, Option<Arc<str>>);

static WARDS: Mutex<Vec<Ward>> = parking_lot::const_mutex(Vec::new());

/// Takes over what a pool that ends leaves behind.
pub(super) fn adopt(pool: &Arc<str>, clock: &Clock, cells: Vec<(Arc<Cell>, Option<HeldJob>)>) {
    let since = clock.now();
    let mut wards = WARDS.lock();
    let gone = take_gone(&mut wards);
    for (cell, job) in cells {
        if !wards.iter().any(|ward| Arc::ptr_eq(&ward.cell, &cell)) {
            wards.push(Ward { pool: pool.clone(), cell, job, since, clock: clock.clone() });
        }
    }
    drop(wards);
    drop(gone);
}

/// Those that have ended, for the caller to drop with nothing held: with them goes what their executor gave them.
#[must_use = "dropped under the lock, they could run an executor's code there"]
fn take_gone(wards: &mut Vec<Ward>) -> Vec<Ward> {
    wards.extract_if(.., |ward| ward.cell.lock().state == WorkerState::Gone).collect()
}

/// A worker that was told to leave when its pool ended, and does, is no orphan; one that takes longer than this is.
const LEAVING: Duration = Duration::from_secs(1);

impl Ward {
    fn is_leaving(&self) -> bool {
        let state = self.cell.lock();
        state.state == WorkerState::Leaving && self.clock.now().since(state.since) < LEAVING
    }
}

/// Workers of pools that are gone which have not ended: threads in a job that cannot be interrupted, tasks that do not yield.
/// Each is listed until its code returns.
pub fn orphans() -> Vec<Orphan> {
    let mut wards = WARDS.lock();
    let gone = take_gone(&mut wards);
    let listed = wards
        .iter()
        .filter(|ward| !ward.is_leaving())
        .map(|ward| Orphan {
            pool: ward.pool.clone(),
            worker: ward.cell.id,
            job: ward.job.as_ref().map(|(job, _)| *job),
            label: ward.job.as_ref().and_then(|(_, label)| label.clone()),
            orphaned_for: ward.clock.now().since(ward.since),
            facts: ward.cell.facts(),
        })
        .collect();
    drop(wards);
    drop(gone);
    listed
}
