//! What the plane tells control, without knowing who that is.

use crate::error::{DeadLetter, Deadlock, Delivery};
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::job::{ClaimKey, Envelope, Share};
use crate::policy::Exit;
use crate::snapshot::Quarantined;
use crate::sync::{Arc, Timestamp};
use std::time::Duration;

/// Control, seen from the plane. None of these may block or run user code: they are called by workers and submitters.
pub(crate) trait ControlPort: Send + Sync {
    /// Something happened that control decides about.
    fn signal(&self, signal: Signal);
    /// Drops a payload where it can block nobody.
    fn discard(&self, garbage: Garbage);
    /// Does work that may be much, a pass at a time until one says that nothing is left: in one go, but on the control thread.
    fn in_passes(&self, pass: Box<dyn FnMut() -> bool + Send>);
    /// The plane wants its next tick at `at` or before.
    fn alarm(&self, at: Timestamp);
    /// True if waiting for this pool on the calling thread would block the only thread of a runtime.
    fn would_block(&self) -> bool;
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Signal {
    /// Jobs could start if there were more workers, or too few of them idle.
    Demand,
    /// A worker asked for work for the first time.
    Ready(WorkerId),
    /// A worker has given its seat back, and is on its way out.
    Leaves,
    /// An incarnation is gone.
    Exited { worker: WorkerId, exit: Exit },
    /// A running job passed its limit; its outcome is written.
    Overrun(Overrun),
    /// A job's wait was ended: it and others waited for each other's workers, some of them this pool's.
    Deadlock(Arc<Deadlock>),
    /// A worker has run as many jobs as it is to run; it goes on.
    Worn(WorkerId),
    /// A running job has made no progress for too long.
    Overdue(Overdue),
    /// A worker was lost under a job that is to be delivered again.
    Redelivered { job: JobId, label: Option<Arc<str>>, lost: Arc<Delivery>, rests_for: Duration },
    /// One was lost under a job that is not, any more.
    DeadLettered(Arc<DeadLetter>),
    /// Workers kept being lost under jobs of a label: it is kept out.
    Quarantined(Arc<Quarantined>),
    /// A label is not kept out any more.
    Released(Arc<str>),
    /// The gate drains and nothing is left to run.
    Quiet,
    /// Something that control counts has happened, for the first time since it looked.
    Rung,
    /// A deadline of control's own has come.
    Tick,
}

/// A job that overran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overrun {
    pub(crate) worker: WorkerId,
    pub(crate) claim: ClaimNo,
}

/// A job that makes no progress, since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overdue {
    pub(crate) worker: WorkerId,
    pub(crate) claim: ClaimNo,
    pub(crate) since: Timestamp,
}

/// A payload that nobody will run; dropping it is user code.
pub(crate) struct Garbage {
    job: Share<dyn Envelope>,
    key: ClaimKey,
}

impl Garbage {
    pub(crate) fn new(job: Share<dyn Envelope>, key: ClaimKey) -> Self {
        Self { job, key }
    }

    /// Drops the payload, here and now; its panic is swallowed.
    pub(crate) fn dispose(self) {
        let Self { job, key } = self;
        job.sealed().0.discard(key);
    }
}
