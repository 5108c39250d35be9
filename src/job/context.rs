//! What a running job knows of itself: as an argument, or by [`JobContext::current`].

use std::cell::RefCell;

use tokio_util::sync::CancellationToken;

use super::{Envelope, PoolNo};
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::snapshot::Lineage;
use crate::sync::Arc;

/// The worker's side of a job in its hands: what it is, and where beats go.
pub(crate) trait InHand: Send + Sync {
    fn worker(&self) -> WorkerId;
    fn pool(&self) -> PoolNo;
    /// The job in hand, and which claim that is.
    fn in_hand(&self) -> Option<(Arc<dyn Envelope>, ClaimNo)>;
    /// True if this claim is in hand, and is to stay there until it ends by itself.
    fn is_busy_with(&self, claim: ClaimNo) -> bool;
    /// True if this claim is in hand still, although its worker was told to end: it cannot be made to, and its job has its outcome.
    fn is_abandoned_with(&self, claim: ClaimNo) -> bool;
    fn beat(&self, claim: ClaimNo);
}

/// A running job's view of itself.
#[derive(Clone)]
pub struct JobContext {
    job: Arc<dyn Envelope>,
    worker: Arc<dyn InHand>,
    claim: ClaimNo,
}

impl JobContext {
    pub(crate) fn new(job: Arc<dyn Envelope>, worker: Arc<dyn InHand>, claim: ClaimNo) -> Self {
        Self { job, worker, claim }
    }

    pub(super) fn into_parts(self) -> (Arc<dyn Envelope>, Arc<dyn InHand>, ClaimNo) {
        (self.job, self.worker, self.claim)
    }

    /// The context of the job that runs on this thread or task, if one does.
    pub fn current() -> Option<Self> {
        let worker = CURRENT.try_with(|here| here.borrow().clone()).ok().flatten()?;
        let (job, claim) = worker.in_hand()?;
        Some(Self { job, worker, claim })
    }

    /// The job's number in its pool.
    pub fn job_id(&self) -> JobId {
        self.job.header().id()
    }

    /// The worker that runs it.
    pub fn worker_id(&self) -> WorkerId {
        self.worker.worker()
    }

    /// The job that submitted this one, if it was submitted from inside a job: its pool, its number, its label, and how deep they are nested.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.job.header().lineage()
    }

    /// What its submitter called it.
    pub fn label(&self) -> Option<Arc<str>> {
        self.job.header().label().cloned()
    }

    /// True once somebody asked the job to stop: its handle, the ladder, or a shutdown that runs out of time.
    pub fn is_cancelled(&self) -> bool {
        self.job.header().is_cancelled()
    }

    /// A token that is cancelled at that moment; made when first asked for.
    pub fn cancellation(&self) -> CancellationToken {
        self.job.header().token()
    }

    /// Says that the job progresses: inventory shows when it last did, and a job that does is not overdue. Cheap enough for a loop: it
    /// reads the clock and touches no timer.
    pub fn beat(&self) {
        self.worker.beat(self.claim);
    }
}

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobContext").field("job", &self.job_id()).field("worker", &self.worker_id()).finish()
    }
}

#[cfg(not(millpond_loom))]
thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn InHand>>> = const { RefCell::new(None) };
}

// All threads of a model run on one of the system's.
#[cfg(millpond_loom)]
loom::thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn InHand>>> = RefCell::new(None);
}

/// True if a job may be running here: one look, for those who then ask for its context.
pub(super) fn is_inside() -> bool {
    CURRENT.try_with(|here| here.borrow().is_some()).unwrap_or(false)
}

/// The pool and the worker whose job runs here, if one does.
pub(super) fn place_here() -> Option<(Arc<str>, WorkerId)> {
    let here = CURRENT.try_with(|here| here.borrow().as_ref().map(|worker| (worker.pool(), worker.worker())));
    let (pool, worker) = here.ok().flatten()?;
    Some((pool.find()?.name(), worker))
}

/// What a job remembers of the job that submits it here, if one does.
pub(super) fn lineage_here() -> Option<Lineage> {
    let parent = if is_inside() { JobContext::current()? } else { return None };
    let header = parent.job.header();
    Some(Lineage {
        // A pool whose worker runs a job is there.
        pool: parent.worker.pool().find()?.name(),
        parent: header.id(),
        label: header.label().cloned(),
        submitted_from: header.submitted_from(),
        depth: parent.lineage().map_or(0, |lineage| lineage.depth).saturating_add(1),
    })
}

/// Makes `worker` the one whose job runs on this thread, for as long as the thread lives or runs another's. A job that
/// does not ask for its context pays no more than this look.
pub(crate) fn settle_in(worker: &Arc<dyn InHand>) {
    // Fails only while the thread tears its locals down, when there is nobody left to ask.
    let _ = CURRENT.try_with(|here| {
        let known = here.borrow().as_ref().is_some_and(|here| Arc::ptr_eq(here, worker));
        if !known {
            drop(here.replace(Some(worker.clone())));
        }
    });
}

/// The same until the guard leaves, which puts back what was there.
pub(crate) fn enter(worker: Option<Arc<dyn InHand>>) -> Entered {
    Entered(CURRENT.try_with(|here| here.replace(worker)).ok())
}

/// See [`enter`].
pub(crate) struct Entered(Option<Option<Arc<dyn InHand>>>);

impl Entered {
    /// Leaves, and hands the worker back for the next time.
    pub(crate) fn leave(mut self) -> Option<Arc<dyn InHand>> {
        let outer = self.0.take()?;
        CURRENT.try_with(|here| here.replace(outer)).ok().flatten()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(outer) = self.0.take() {
            // As above.
            let ours = CURRENT.try_with(|here| here.replace(outer));
            drop(ours);
        }
    }
}
