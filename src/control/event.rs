//! What happens to a pool, as a bounded stream: who reads too slowly is told how much was missed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::config::{Limits, Retuned};
use crate::error::{DeadLetter, Deadlock, Delivery, NotYet};
use crate::hook::{HookChange, HookFault, Question, Verdict};
use crate::id::{By, ClaimNo, JobId, WorkerId};
use crate::job::guarded_waker;
use crate::policy::{Exit, RecycleReason, Restart};
use crate::snapshot::{Delay, Health, Quarantined, Rung, TerminationReport, Veto};
use crate::sync::{Arc, Mutex, block_on, block_on_within};

/// How many events a reader may lag behind.
const BACKLOG: usize = 1024;

/// Something that happened to a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A worker is ready, this long after its start began.
    WorkerReady {
        /// Which.
        worker: WorkerId,
        /// From its start to its readiness.
        start_delay: Duration,
    },
    /// A worker is gone.
    WorkerGone {
        /// Which.
        worker: WorkerId,
        /// Why.
        exit: Exit,
    },
    /// A worker was told to die and cannot be made to.
    WorkerAbandoned {
        /// Which.
        worker: WorkerId,
    },
    /// A worker is due to be replaced although nothing is wrong with it; it works on until its turn comes, and
    /// [`WorkerGone`](Self::WorkerGone) says that it has.
    RecycleDue {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: RecycleReason,
    },
    /// What becomes of a slot whose worker ended by a fault.
    RestartDecided {
        /// The incarnation that ended.
        worker: WorkerId,
        /// The decision.
        restart: Restart,
    },
    /// A slot that was [cooled down](Restart::CoolDown) is back: the worker that was tried in it has been up for long enough.
    ProbeSucceeded {
        /// The worker.
        worker: WorkerId,
        /// How often the slot was cooled down.
        cool_downs: u32,
        /// From the fault that it was first cooled down for until this worker was ready.
        out_for: Duration,
    },
    /// Another restart policy is in force, because somebody said so.
    RestartPolicySet {
        /// Who.
        by: By,
    },
    /// A policy panicked, hung or answered nonsense, and was replaced: a restart policy by the default, which decides anew about slots that are
    /// empty by what it said before; an autoscaler by none, which
    /// [`Resized`](Self::Resized) follows if the limit that was set is another than the one that it chose.
    PolicyReplaced {
        /// What it did.
        reason: String,
    },
    /// New limits are in force, or an autoscaler is to stay within others.
    Resized {
        /// Before.
        from: Limits,
        /// Now.
        to: Limits,
        /// The limits that were set before; without an autoscaler, which stays within them, they are those in force.
        bounds_from: Limits,
        /// Those that are set now.
        bounds: Limits,
        /// Who asked for them.
        by: By,
    },
    /// What is in force was changed by a retune. The events of its parts, [`Resized`](Self::Resized) and
    /// [`RestartPolicySet`](Self::RestartPolicySet), come before this.
    Retuned(Arc<Retuned>),
    /// The autoscaler has changed the limit in force.
    Scaled {
        /// Workers that the pool could have before.
        from: usize,
        /// Workers that it can have now.
        to: usize,
    },
    /// A running job passed its limit; the ladder starts on its worker.
    Overrun {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
    },
    /// A job waited for what only its own worker, or others that wait for it, could bring about: its wait was ended. Told by each pool
    /// that has a job among them.
    Deadlock(Arc<Deadlock>),
    /// A running job is overdue: it makes no progress. This is the warning; the ladder follows after a grace, as the pool's
    /// [`Watchdog`](crate::Watchdog) says.
    Overdue {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// Since it began, or last beat.
        silent_for: Duration,
    },
    /// The ladder of an overdue job takes a rung.
    OverdueRung {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// Which rung.
        rung: Rung,
        /// Since it began, or last beat.
        silent_for: Duration,
    },
    /// An overdue job makes progress again, or is not overdue any more by what a retune has put in force, and is let off.
    LetOff {
        /// The worker.
        worker: WorkerId,
        /// Which of its claims.
        claim: ClaimNo,
        /// The job.
        job: JobId,
        /// How long it had been silent when it beat.
        silent_for: Duration,
    },
    /// A worker was lost under a job that may be [delivered again](crate::JobOptions::redeliver), and will be, once it has rested.
    Redelivered {
        /// The job.
        job: JobId,
        /// What its submitter called it.
        label: Option<Arc<str>>,
        /// The delivery that was lost.
        lost: Arc<Delivery>,
        /// How long it rests.
        rests_for: Duration,
    },
    /// A job took its worker with it as often as it is to be delivered, or once and more, and its label is in quarantine: it has ended, with what became of
    /// each delivery. Of jobs that a quarantine ends before their first delivery nothing is told but [`Quarantined`](Self::Quarantined).
    DeadLettered(Arc<DeadLetter>),
    /// Workers kept being lost under jobs of a label, which are kept out for a while; see [`PoolBuilder::quarantine`](crate::PoolBuilder::quarantine).
    Quarantined(Arc<Quarantined>),
    /// That is over for this label.
    Released {
        /// The label.
        label: Arc<str>,
    },
    /// A ladder is over, whether or not hooks were asked about it: an operator's, with all its targets, or that of an overdue job, which
    /// that has ended.
    Terminated {
        /// What became of each target, and by which rung.
        report: Arc<TerminationReport>,
        /// Who asked for it.
        by: By,
    },
    /// The gate moved: open, quiesced, draining or closed. Closed is told once, whatever ended the pool: a shutdown, an abort, an
    /// escalation, the end of its workers' runtime, a stop or kill of its actor, or a panic in it. Who missed it, or subscribed later, sees
    /// the [end](EventStream::next) of the stream, which comes in any case.
    Gate {
        /// Open, quiesced, draining or closed.
        state: &'static str,
        /// Who asked for it; [`By::Pool`] if nobody did, as when the last handle was dropped.
        by: By,
    },
    /// The pool's health changed: how bad it is, or why.
    Health(Health),
    /// A hook denied something.
    Vetoed {
        /// What.
        question: Question,
        /// Who, and why.
        veto: Veto,
        /// Who had wanted it.
        by: By,
    },
    /// Hooks allow something, but not yet: it is done when the delay is over, unless it has become pointless by then. Told once, and again if it
    /// becomes another delay since a hook that asked for one has gone.
    Delayed {
        /// What.
        question: Question,
        /// Who has put it off, and until when.
        delay: Delay,
        /// Who wants it.
        by: By,
    },
    /// A hook gave no answer, or none that makes sense, and its default counted.
    HookFault {
        /// The hook.
        hook: Arc<str>,
        /// What it was asked about, by its [word](crate::Question::word).
        question: &'static str,
        /// What it did.
        fault: HookFault,
        /// Its default.
        verdict: Verdict,
    },
    /// A hook was added, replaced or removed.
    Hook {
        /// Its name.
        name: Arc<str>,
        /// What became of it.
        change: HookChange,
        /// Who asked for that.
        by: By,
    },
    /// This reader was too slow: as many events before the next one are gone.
    Missed(u64),
}

impl PoolEvent {
    /// Who wanted it.
    pub(super) fn by(&self) -> By {
        match self {
            Self::Resized { by, .. }
            | Self::RestartPolicySet { by }
            | Self::Gate { by, .. }
            | Self::Vetoed { by, .. }
            | Self::Delayed { by, .. }
            | Self::Terminated { by, .. }
            | Self::Hook { by, .. } => by.clone(),
            Self::Retuned(retuned) => retuned.by.clone(),
            Self::Scaled { .. } => By::Autoscaler,
            Self::RestartDecided { .. } => By::RestartPolicy,
            Self::RecycleDue { .. } => By::Recycling,
            Self::Overdue { .. } | Self::OverdueRung { .. } | Self::LetOff { .. } => By::Watchdog,
            Self::Overrun { .. } => By::RunLimit,
            // Why a worker is gone its exit says.
            Self::WorkerReady { .. }
            | Self::WorkerGone { .. }
            | Self::WorkerAbandoned { .. }
            | Self::PolicyReplaced { .. }
            | Self::ProbeSucceeded { .. }
            | Self::Redelivered { .. }
            | Self::DeadLettered(_)
            | Self::Quarantined(_)
            | Self::Released { .. }
            | Self::Deadlock(_)
            | Self::Health(_)
            | Self::HookFault { .. }
            | Self::Missed(_) => By::Pool,
        }
    }
}

/// Where events come from; nowhere any more once the pool has ended, which ends every stream though handles live on.
#[derive(Debug)]
pub(crate) struct Events(Mutex<Option<broadcast::Sender<PoolEvent>>>);

impl Default for Events {
    fn default() -> Self {
        Self(Mutex::new(Some(broadcast::Sender::new(BACKLOG))))
    }
}

impl Events {
    pub(crate) fn tell(&self, event: PoolEvent) {
        // Cloned out of the lock: a send wakes readers, which is their executor's code.
        let Some(sender) = self.0.lock().clone() else { return };
        // Nobody listens: that is not an error.
        let _ = sender.send(event);
    }

    /// Nothing happens to the pool any more.
    pub(super) fn close(&self) {
        let sender = self.0.lock().take();
        drop(sender);
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        let sender = self.0.lock().clone();
        // Of a pool that has ended: a stream that ends at once.
        EventStream(sender.unwrap_or_else(|| broadcast::Sender::new(1)).subscribe())
    }
}

/// Events of one pool, from the moment of [`events`](crate::PoolExecutor::events) on.
#[derive(Debug)]
pub struct EventStream(broadcast::Receiver<PoolEvent>);

impl EventStream {
    /// The next event; `None` once the pool is gone and all was read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<PoolEvent> {
        let mut received = pin!(self.0.recv());
        // Control sends, and is not to run an executor's code unguarded.
        let received = poll_fn(|cx| received.as_mut().poll(&mut Context::from_waker(&guarded_waker(cx.waker()))));
        match received.await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(PoolEvent::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same for synchronous callers.
    pub fn next_blocking(&mut self) -> Option<PoolEvent> {
        block_on(self.next())
    }

    /// The same for at most `limit` of real time.
    ///
    /// # Errors
    ///
    /// If nothing has happened by then.
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<PoolEvent>, NotYet> {
        block_on_within(self.next(), limit).ok_or(NotYet { limit })
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<PoolEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(missed)) => Some(PoolEvent::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}
