//! What pools have left behind: workers that could not be made to end, and hooks that block their threads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::id::{JobId, WorkerId};
use crate::slot::Cell;
use crate::snapshot::{Facts, WorkerState};
use crate::sync::{Arc, AtomicBool, Clock, Mutex, Ordering, Timestamp};

/// The name of every hosted hook's thread.
pub(super) const HOOK_THREAD: &str = "millpond-hook";

/// A worker that outlives its pool, or a hook that outlives its place in one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Orphan {
    /// The pool that it was of.
    pub pool: Arc<str>,
    /// The worker; `None` for a hook.
    pub worker: Option<WorkerId>,
    /// The name of the hook; `None` for a worker.
    pub hook: Option<Arc<str>>,
    /// The job that it will not let go of, if it has one.
    pub job: Option<JobId>,
    /// What its submitter called that.
    pub label: Option<Arc<str>>,
    /// How long the pool has been gone, or the hook let go of.
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

/// A hosted hook that was removed, or whose pool has ended, and whose thread has not.
struct LeftHook {
    pool: Arc<str>,
    hook: Arc<str>,
    ended: Arc<AtomicBool>,
    since: Timestamp,
}

/// On a clock of their own: what a hook takes to end is of no pool's time.
struct LeftHooks {
    hooks: Vec<LeftHook>,
    clock: Clock,
}

static LEFT_HOOKS: Mutex<Option<LeftHooks>> = parking_lot::const_mutex(None);

/// A hosted hook is let go of; `ended` is set when its thread ends.
pub(super) fn adopt_hook(pool: &Arc<str>, hook: &Arc<str>, ended: &Arc<AtomicBool>) {
    let mut left = LEFT_HOOKS.lock();
    let left = left.get_or_insert_with(|| LeftHooks { hooks: Vec::new(), clock: Clock::real() });
    left.hooks.retain(|hook| !hook.has_ended());
    let since = left.clock.now();
    left.hooks.push(LeftHook { pool: pool.clone(), hook: hook.clone(), ended: ended.clone(), since });
}

impl LeftHook {
    fn has_ended(&self) -> bool {
        // Pairs with the Release of the thread that ends.
        self.ended.load(Ordering::Acquire)
    }
}

/// Those that have had the grace in which they are to end.
fn left_hooks() -> Vec<Orphan> {
    let mut left = LEFT_HOOKS.lock();
    let Some(LeftHooks { hooks, clock }) = &mut *left else { return Vec::new() };
    hooks.retain(|hook| !hook.has_ended());
    let now = clock.now();
    let late = hooks.iter().filter(|hook| now.since(hook.since) >= LEAVING);
    late.map(|hook| Orphan {
        pool: hook.pool.clone(),
        worker: None,
        hook: Some(hook.hook.clone()),
        job: None,
        label: None,
        orphaned_for: now.since(hook.since),
        facts: Facts { thread: Some(Arc::from(HOOK_THREAD)), ..Facts::default() },
    })
    .collect()
}

/// Workers of pools that are gone which have not ended: threads in a job that cannot be interrupted, tasks that do not yield. And hosted
/// hooks that were removed, or whose pools are gone, a second ago or longer, and which block their threads still. Each is listed until its
/// code returns.
pub fn orphans() -> Vec<Orphan> {
    let mut kept = WARDS.lock();
    let gone = take_gone(&mut kept);
    let mut wards: Vec<&Ward> = kept.all.values().filter(|ward| !ward.is_leaving()).collect();
    wards.sort_unstable_by_key(|ward| ward.number);
    let mut listed: Vec<_> = wards
        .into_iter()
        .map(|ward| Orphan {
            pool: ward.pool.clone(),
            worker: Some(ward.cell.id),
            hook: None,
            job: ward.job.as_ref().map(|(job, _)| *job),
            label: ward.job.as_ref().and_then(|(_, label)| label.clone()),
            orphaned_for: ward.clock.now().since(ward.since),
            facts: ward.cell.facts(),
        })
        .collect();
    drop(kept);
    drop(gone);
    listed.extend(left_hooks());
    listed
}
