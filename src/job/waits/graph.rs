//! Who waits for what: one graph for all pools of the process, since a cycle may go through several of them.
//!
//! Its lock is taken before any pool's. Nothing is woken, dropped or told while it is held.

#[cfg(all(test, not(millpond_loom)))]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use parking_lot::Mutex;

use super::stuck::Stuck;
use super::{Target, What};
use crate::error::{Deadlock, NestedWait, WaitsFor};
use crate::id::{ClaimNo, JobId, LaneId};
use crate::job::{Envelope, InHand, JobContext, PoolNo, Recalls, Share, wake};
use crate::sync::{Arc, Ordering};

/// A wait is to end: for this target of it.
pub(super) struct Verdict {
    pub(super) key: usize,
    /// Kept, so that nothing else has this key.
    _targets: Vec<Target>,
    pub(super) deadlock: Arc<Deadlock>,
}

/// A job that stands still.
pub(super) struct Wait {
    pool: Arc<dyn Recalls>,
    pub(super) number: PoolNo,
    job: Share<dyn Envelope>,
    worker: Arc<dyn InHand>,
    claim: ClaimNo,
    /// Any of them lets it go on, for all that is known.
    pub(super) targets: Vec<Target>,
    waker: Waker,
    verdict: Option<Verdict>,
}

impl Wait {
    pub(super) fn lane(&self) -> LaneId {
        self.job.header().lane()
    }

    /// True while it waits on, and holds a seat that nobody is about to take from it.
    pub(super) fn holds_its_worker(&self) -> bool {
        self.verdict.is_none() && self.worker.is_busy_with(self.claim)
    }

    /// True while it waits on, and keeps a worker from returning that was told to end.
    pub(super) fn keeps_from_returning(&self) -> bool {
        self.verdict.is_none() && self.worker.is_abandoned_with(self.claim)
    }
}

#[derive(Default)]
pub(super) struct Graph {
    next: u64,
    pub(super) waits: BTreeMap<u64, Wait>,
    by_job: BTreeMap<(PoolNo, JobId), u64>,
    /// How many of a pool's jobs wait.
    by_pool: BTreeMap<PoolNo, usize>,
}

// Not loom's lock: nothing of a model comes here.
static GRAPH: Mutex<Graph> =
    Mutex::new(Graph { next: 0, waits: BTreeMap::new(), by_job: BTreeMap::new(), by_pool: BTreeMap::new() });

/// How many wait, for those who need not look if nobody does.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A wait in the graph; it leaves with this.
pub(super) struct Ticket(u64);

impl Ticket {
    /// A job waits from now on, for any of `targets`; whoever ends the wait wakes `waker`.
    pub(super) fn begin(me: JobContext, targets: Vec<Target>, waker: &Waker) -> Self {
        let (job, worker, claim) = me.into_parts();
        let number = worker.pool();
        let pool = number.find();
        let mut graph = GRAPH.lock();
        let id = graph.next;
        graph.next += 1;
        // A pool whose worker runs a job is there.
        if let Some(pool) = pool {
            let wait = Wait { pool, number, job, worker, claim, targets, waker: waker.clone(), verdict: None };
            graph.insert(id, wait);
        }
        let ended = if graph.moves_for_sure(id) { Vec::new() } else { graph.end_deadlocks() };
        drop(graph);
        tell(ended);
        Self(id)
    }

    /// The job goes on; says if its wait was ended.
    pub(super) fn end(self) -> Option<Verdict> {
        // In a statement of its own: what it holds is dropped with nothing held. The drop of this finds nothing to remove.
        let wait = GRAPH.lock().remove(self.0);
        let Wait { targets, verdict, .. } = wait?;
        verdict.map(|verdict| Verdict { _targets: targets, ..verdict })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let wait = GRAPH.lock().remove(self.0);
        drop(wait);
    }
}

impl Graph {
    fn insert(&mut self, id: u64, wait: Wait) {
        self.by_job.insert((wait.number, wait.job.header().id()), id);
        *self.by_pool.entry(wait.number).or_default() += 1;
        self.waits.insert(id, wait);
        // Release: see `look_again`.
        WAITING.store(self.waits.len(), Ordering::Release);
    }

    fn remove(&mut self, id: u64) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        self.by_job.remove(&(wait.number, wait.job.header().id()));
        if let Some(count) = self.by_pool.get_mut(&wait.number) {
            *count -= 1;
            if *count == 0 {
                self.by_pool.remove(&wait.number);
            }
        }
        WAITING.store(self.waits.len(), Ordering::Release);
        Some(wait)
    }

    /// The wait of the job that runs as this target, if it waits in its turn.
    pub(super) fn wait_of(&self, target: &Target) -> Option<u64> {
        let What::Job(job) = &target.what else { return None };
        self.by_job.get(&(target.number, job.header().id())).copied()
    }

    /// A cheap look, enough for most: true if what a new wait is for runs, or could be run by a worker that does not wait. Then nothing
    /// that moved before stands still because of it.
    fn moves_for_sure(&self, id: u64) -> bool {
        let Some(wait) = self.waits.get(&id) else { return true };
        wait.targets.iter().any(|target| match target.needs() {
            Needs::Nothing => true,
            Needs::ItsOwnEnd => self.wait_of(target).is_none(),
            Needs::AWorker => {
                // Whoever waits in an abandoned worker blocks a seat at most, so it is counted as if it held one.
                let waiting = self.by_pool.get(&target.number).copied().unwrap_or(0);
                target.pool.is_plain() && target.pool.could_start(target.lane, &[waiting], 0)
            }
        })
    }

    /// Ends waits until none is left that could not end by itself.
    fn end_deadlocks(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some(knot) = Stuck::of(self).knot() {
            ended.push(self.end_first(&knot));
        }
        ended
    }

    fn end_first(&mut self, knot: &[u64]) -> Ended {
        let waits = knot.iter().map(|id| &self.waits[id]);
        let pools: BTreeMap<PoolNo, _> = waits.clone().map(|wait| (wait.number, wait.pool.clone())).collect();
        let named = waits.take(Deadlock::MOST_NAMED).map(nested_wait).collect();
        let deadlock = Arc::new(Deadlock { waits: named, more: knot.len().saturating_sub(Deadlock::MOST_NAMED) });
        let wait = self.waits.get_mut(&knot[0]).expect("it is in the knot");
        let key = wait.targets[0].key();
        wait.verdict = Some(Verdict { key, _targets: Vec::new(), deadlock: deadlock.clone() });
        Ended { waker: wait.waker.clone(), pools: pools.into_values().collect(), deadlock }
    }

    /// All that are so while they wait.
    pub(super) fn those(&self, are_so: impl Fn(&Wait) -> bool) -> BTreeSet<u64> {
        self.waits.iter().filter(|(_, wait)| are_so(wait)).map(|(id, _)| *id).collect()
    }
}

/// What has to happen for a target to be there.
pub(super) enum Needs {
    /// It is there, or on its way.
    Nothing,
    /// The job has a worker.
    ItsOwnEnd,
    /// A worker has to take the job, or one before it.
    AWorker,
}

impl Target {
    pub(super) fn needs(&self) -> Needs {
        match &self.what {
            What::Job(job) if job.header().waits() => Needs::AWorker,
            What::Job(job) if job.header().word.is_claimed() => Needs::ItsOwnEnd,
            What::Place(at) if at.stands() => Needs::AWorker,
            What::Job(_) | What::Place(_) => Needs::Nothing,
        }
    }
}

fn nested_wait(wait: &Wait) -> NestedWait {
    let header = wait.job.header();
    NestedWait {
        pool: wait.pool.name(),
        job: header.id(),
        label: header.label().cloned(),
        submitted_from: header.submitted_from(),
        worker: wait.worker.worker(),
        waits_for: wait.targets.iter().map(waits_for).collect(),
    }
}

fn waits_for(target: &Target) -> WaitsFor {
    let pool = target.pool.name();
    match &target.what {
        What::Place(_) => WaitsFor::Place { pool, lane: target.pool.lane_name(target.lane) },
        What::Job(job) => {
            let (job, runs) = (job.header(), matches!(target.needs(), Needs::ItsOwnEnd));
            let (label, submitted_from) = (job.label().cloned(), job.submitted_from());
            WaitsFor::Job { pool, job: job.id(), label, submitted_from, runs }
        }
    }
}

/// A wait that was ended, to be told once the lock is free.
struct Ended {
    waker: Waker,
    pools: Vec<Arc<dyn Recalls>>,
    deadlock: Arc<Deadlock>,
}

fn tell(ended: Vec<Ended>) {
    for Ended { waker, pools, deadlock } in ended {
        let first = &deadlock.waits[0];
        let (pool, job, worker) = (&*first.pool, first.job.get(), first.worker);
        tracing::warn!(pool, job, %worker, waits = deadlock.waits.len() + deadlock.more, "a wait was ended: {deadlock}");
        for pool in pools {
            pool.report(&deadlock);
        }
        wake(waker);
    }
}

/// A pool has fewer seats than before, or a job is back in its queue: waits that could end may not be able to any more. One look, while
/// no job waits for another.
pub(crate) fn look_again() {
    // Acquire pairs with the stores under the lock. A wait that began before the change is seen: its look at the pool came before the
    // change, under the pool's lock, and the store before that look.
    if WAITING.load(Ordering::Acquire) == 0 {
        return;
    }
    let ended = GRAPH.lock().end_deadlocks();
    tell(ended);
}
