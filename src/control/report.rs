//! What control operations answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::watchdog::Watchdog;
use crate::config::{Limits, Retuned};
use crate::error::NotYet;
use crate::id::WorkerId;
use crate::job::guarded_waker;
use crate::snapshot::{Ledger, Seconds};
use crate::sync::{Arc, block_on_within};

/// What a resize did.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResizeReport {
    /// The limits that were in force.
    pub from: Limits,
    /// The limits in force now.
    pub to: Limits,
    /// Seats owed back: so many workers leave as soon as their jobs end.
    pub debt: usize,
    settled: oneshot::Receiver<Vec<WorkerId>>,
}

impl ResizeReport {
    /// Ends when the debt is paid, or other limits have taken the place of these, with the workers that left.
    pub fn settled(self) -> Settled {
        Settled(self.settled)
    }
}

/// What a retune did.
#[derive(Debug)]
#[non_exhaustive]
pub struct RetuneReport {
    /// What was in force, and what is now.
    pub retuned: Arc<Retuned>,
    /// The watchdog that was in force.
    pub watchdog_from: Option<Watchdog>,
    /// The watchdog in force now.
    pub watchdog: Option<Watchdog>,
    /// Seats owed back: so many workers leave as soon as their jobs end.
    pub debt: usize,
    pub(super) settled: oneshot::Receiver<Vec<WorkerId>>,
}

impl RetuneReport {
    /// See [`ResizeReport::settled`]. A retune that sets no limits has nobody leave: ends at once, with nobody.
    pub fn settled(self) -> Settled {
        Settled(self.settled)
    }
}

impl From<RetuneReport> for ResizeReport {
    fn from(report: RetuneReport) -> Self {
        let RetuneReport { retuned, debt, settled, .. } = report;
        Self { from: retuned.from.limits, to: retuned.to.limits, debt, settled }
    }
}

/// See [`ResizeReport::settled`]. Empty if the pool ended first.
///
/// # Cancel safety
///
/// Polling through `&mut` and dropping the borrow loses nothing. The answer is given once: polled again after that, it panics, like any
/// future.
#[derive(Debug)]
pub struct Settled(oneshot::Receiver<Vec<WorkerId>>);

impl Settled {
    /// The same for synchronous callers, who wait for at most `limit` of real time.
    ///
    /// # Errors
    ///
    /// If the debt is not paid by then. It will be: wait again.
    ///
    /// # Panics
    ///
    /// If the answer was given before.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Vec<WorkerId>, NotYet> {
        block_on_within(self, limit).ok_or(NotYet { limit })
    }
}

impl Future for Settled {
    type Output = Vec<WorkerId>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = guarded_waker(cx.waker());
        Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker)).map(Result::unwrap_or_default)
    }
}

/// What became of the jobs of a pool that was shut down: each that it held when the shutdown began, or admitted since, is in exactly
/// one of the counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Jobs that returned without having been asked to stop.
    pub completed: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that a time limit ended, in the queue or while they ran.
    pub expired: u64,
    /// Jobs that never began, or were to begin again. Where many are queued when the limit passes, the last of them have their outcome a moment after the report.
    pub not_started: u64,
    /// Jobs that were cancelled in the queue, or returned after the shutdown asked them to stop.
    pub cancelled: u64,
    /// Jobs whose worker was killed.
    pub killed: u64,
    /// Jobs whose worker cannot be made to die; see [`orphans`](crate::orphans). Also those whose outcome was not there yet, as that of
    /// a job whose output nobody wants is while the output is being dropped.
    pub abandoned: u64,
    /// Jobs whose worker vanished.
    pub lost: u64,
    /// Jobs that took a worker with them as often as they were delivered, or whose label is in quarantine.
    pub dead_lettered: u64,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// From what the ledger said `before`, and says `after`; of those that have no outcome so many are `queued`, and of those that completed
    /// since, so many were `asked` to stop.
    pub(super) fn between(before: &Ledger, after: &Ledger, queued: u64, asked: u64, took: Duration) -> Self {
        let completed = after.completed - before.completed;
        // Asked jobs are counted before the ledger is read, so that none of them is ahead of it.
        let (asked, queued) = (asked.min(completed), queued.min(after.pending));
        Self {
            completed: completed - asked,
            panicked: after.panicked - before.panicked,
            expired: after.expired - before.expired,
            not_started: after.not_started - before.not_started + queued,
            cancelled: after.cancelled - before.cancelled + asked,
            killed: after.killed - before.killed,
            abandoned: after.abandoned - before.abandoned + after.pending - queued,
            lost: after.lost - before.lost,
            dead_lettered: after.dead_lettered - before.dead_lettered,
            took,
        }
    }

    /// All of them.
    pub fn jobs(&self) -> u64 {
        let Self { completed, panicked, expired, not_started, cancelled, killed, abandoned, lost, .. } = self;
        completed + panicked + expired + not_started + cancelled + killed + abandoned + lost + self.dead_lettered
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shut down in {}: {} completed", Seconds(self.took), self.completed)?;
        for (count, word) in [
            (self.panicked, "panicked"),
            (self.expired, "expired"),
            (self.not_started, "not started"),
            (self.cancelled, "cancelled"),
            (self.killed, "killed"),
            (self.abandoned, "abandoned"),
            (self.lost, "lost"),
            (self.dead_lettered, "dead-lettered"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}
