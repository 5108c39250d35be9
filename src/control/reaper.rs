//! What pools that are gone have left behind: workers that could not be made to end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    /// The order in which they came.
    number: u64,
    pool: Arc<str>,
    cell: Arc<Cell>,
    job: Option<HeldJob>,
    since: Timestamp,
    clock: Clock,
}

/// The job in an orphan's hands: its number, and what its submitter called it.
pub(super) type HeldJob = (JobId, Option<Arc<str>>);

#[derive(Default)]
struct Wards {
    /// By the address of their cell, which stays while it is here.
    all: BTreeMap<usize, Ward>,
    added: u64,
    /// Those that have ended are looked for when so many are there: twice as many as the last look left.
    sweep_at: usize,
}

const SWEEP_FROM: usize = 64;

static WARDS: Mutex<Wards> = parking_lot::const_mutex(Wards { all: BTreeMap::new(), added: 0, sweep_at: SWEEP_FROM });

/// Takes over what a pool that ends leaves behind. A worker that is here already stays what it is.
pub(super) fn adopt(pool: &Arc<str>, clock: &Clock, cells: Vec<(Arc<Cell>, Option<HeldJob>)>) {
    let since = clock.now();
    let mut wards = WARDS.lock();
    let mut again = Vec::new();
    for (cell, job) in cells {
        wards.added += 1;
        let number = wards.added;
        match wards.all.entry(Arc::as_ptr(&cell).addr()) {
            Entry::Vacant(entry) => {
                entry.insert(Ward { number, pool: pool.clone(), cell, job, since, clock: clock.clone() });
            }
            Entry::Occupied(_) => again.push(cell),
        }
    }
    let gone = if wards.all.len() >= wards.sweep_at { take_gone(&mut wards) } else { Vec::new() };
    drop(wards);
    drop((gone, again));
}

/// Those that have ended, for the caller to drop with nothing held: with them goes what their executor gave them.
#[must_use = "dropped under the lock, they could run an executor's code there"]
fn take_gone(wards: &mut Wards) -> Vec<Ward> {
    let ended = |ward: &Ward| ward.cell.lock().state == WorkerState::Gone;
    let gone: Vec<usize> = wards.all.iter().filter(|(_, ward)| ended(ward)).map(|(place, _)| *place).collect();
    let gone = gone.into_iter().filter_map(|place| wards.all.remove(&place)).collect();
    wards.sweep_at = (wards.all.len() * 2).max(SWEEP_FROM);
    gone
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
    let mut listed: Vec<&Ward> = wards.all.values().filter(|ward| !ward.is_leaving()).collect();
    listed.sort_unstable_by_key(|ward| ward.number);
    let listed = listed
        .into_iter()
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
