//! What a running job knows of itself: as an argument, or by [`JobContext::current`].

use std::cell::Cell;
use std::ptr::NonNull;

use tokio_util::sync::CancellationToken;

use super::{Envelope, PoolNo, Share};
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::snapshot::Lineage;
use crate::sync::Arc;

/// The worker's side of a job in its hands: what it is, and where beats go.
pub(crate) trait InHand: Send + Sync {
    fn worker(&self) -> WorkerId;
    fn pool(&self) -> PoolNo;
    /// `None` if the pool is gone.
    fn pool_name(&self) -> Option<Arc<str>> {
        Some(self.pool().find()?.name())
    }
    /// True if this claim is in hand, and is to stay there until it ends by itself.
    fn is_busy_with(&self, claim: ClaimNo) -> bool;
    /// True if this claim is in hand still, although its worker was told to end: it cannot be made to, and its job has its outcome.
    fn is_abandoned_with(&self, claim: ClaimNo) -> bool;
    fn beat(&self, claim: ClaimNo);
}

/// A running job's view of itself.
#[derive(Clone)]
pub struct JobContext {
    job: Share<dyn Envelope>,
    worker: Arc<dyn InHand>,
    claim: ClaimNo,
}

impl JobContext {
    pub(crate) fn new(job: Share<dyn Envelope>, worker: Arc<dyn InHand>, claim: ClaimNo) -> Self {
        Self { job, worker, claim }
    }

    pub(super) fn into_parts(self) -> (Share<dyn Envelope>, Arc<dyn InHand>, ClaimNo) {
        (self.job, self.worker, self.claim)
    }

    /// The context of the job that runs on this thread or task, if one does.
    pub fn current() -> Option<Self> {
        let runs = CURRENT.with(|here| here.get())?;
        // SAFETY: `inside`, which put it there, is still under way on this thread, and borrows what it points to.
        Some(unsafe { runs.as_ref() }.context())
    }

    /// The job's number in its pool.
    pub fn job_id(&self) -> JobId {
        self.job.header().id()
    }

    /// The worker that runs it.
    pub fn worker_id(&self) -> WorkerId {
        self.worker.worker()
    }

    /// Which of the job's deliveries this is: 1, unless it may be [delivered again](crate::JobOptions::redeliver) and workers were lost under it.
    pub fn delivery(&self) -> u16 {
        self.job.header().lost_deliveries().saturating_add(1)
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

/// The one that runs a job on this thread, as long as it does.
pub(crate) trait Runs {
    /// The job's view of itself.
    fn context(&self) -> JobContext;
}

type Current = Cell<Option<NonNull<dyn Runs>>>;

// Set by `inside` alone, for the time of a call that outlives what it points to.
#[cfg(not(millpond_loom))]
thread_local! {
    static CURRENT: Current = const { Cell::new(None) };
}

// All threads of a model run on one of the system's.
#[cfg(millpond_loom)]
loom::thread_local! {
    static CURRENT: Current = Cell::new(None);
}

/// Calls `f` with the job that `runs` runs as this thread's current one. A job that does not ask for its context pays for two stores.
#[inline]
pub(crate) fn inside<R>(runs: &dyn Runs, f: impl FnOnce() -> R) -> R {
    /// Puts back what was there, also in a panic.
    struct Outer(Option<NonNull<dyn Runs>>);

    impl Drop for Outer {
        fn drop(&mut self) {
            CURRENT.with(|here| here.set(self.0));
        }
    }

    // SAFETY: only the lifetime changes. The pointer lies in this thread's `CURRENT` alone, and is out of it before this function returns, however
    // that comes about: `runs` is borrowed for longer.
    let runs = unsafe { std::mem::transmute::<NonNull<dyn Runs + '_>, NonNull<dyn Runs>>(NonNull::from(runs)) };
    let _outer = Outer(CURRENT.with(|here| here.replace(Some(runs))));
    f()
}

/// True if a job is running here: one look, for those who then ask for its context.
#[inline]
pub(super) fn is_inside() -> bool {
    CURRENT.with(|here| here.get().is_some())
}

/// The pool and the worker whose job runs here, if one does.
pub(super) fn place_here() -> Option<(Arc<str>, WorkerId)> {
    let here = JobContext::current()?;
    Some((here.worker.pool_name()?, here.worker.worker()))
}

/// What a job remembers of the job that submits it here, if one does.
pub(super) fn lineage_here() -> Option<Lineage> {
    let parent = if is_inside() { JobContext::current()? } else { return None };
    let header = parent.job.header();
    Some(Lineage {
        // A pool whose worker runs a job is there.
        pool: parent.worker.pool_name()?,
        parent: header.id(),
        label: header.label().cloned(),
        submitted_from: header.submitted_from(),
        depth: parent.lineage().map_or(0, |lineage| lineage.depth).saturating_add(1),
    })
}
