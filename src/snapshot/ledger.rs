//! The ledger: every job ever offered is in exactly one of its terms.

use std::fmt;

/// How a job ended: the terms of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// It returned.
    Completed,
    /// It panicked.
    Panicked,
    /// It was cancelled before a worker took it, or took it again. (One that is asked while it runs ends itself, and has completed.)
    Cancelled,
    /// One of its time limits passed.
    Expired,
    /// The pool ended, or its start failed, before it began, or began again.
    NotStarted,
    /// Its worker was killed.
    Killed,
    /// Its worker was told to die and cannot be made to.
    Abandoned,
    /// Its worker vanished without a word.
    Lost,
    /// It took its worker with it as often as it was delivered, or its label is in quarantine.
    DeadLettered,
}

impl Ended {
    pub(crate) const COUNT: usize = 9;

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn from_index(index: u32) -> Option<Self> {
        use Ended::{Abandoned, Cancelled, Completed, DeadLettered, Expired, Killed, Lost, NotStarted, Panicked};
        let all = [Completed, Panicked, Cancelled, Expired, NotStarted, Killed, Abandoned, Lost, DeadLettered];
        all.get(index as usize).copied()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::NotStarted => "not started",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
            Self::Lost => "lost",
            Self::DeadLettered => "dead-lettered",
        })
    }
}

/// What became of every job ever offered to a pool.
///
/// `offered = accepted + rejected + withdrawn + waiting`, and `accepted` is the sum of all ends and `pending`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Ledger {
    /// Jobs that came to the gate.
    pub offered: u64,
    /// Jobs that were admitted.
    pub accepted: u64,
    /// Jobs that were handed back.
    pub rejected: u64,
    /// Jobs whose submitter went away at the gate.
    pub withdrawn: u64,
    /// Jobs whose submitter waits at the gate.
    pub waiting: u64,
    /// Jobs that returned.
    pub completed: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that a time limit ended.
    pub expired: u64,
    /// Jobs that never began because the pool, or their worker's start, ended first.
    pub not_started: u64,
    /// Jobs whose worker was killed.
    pub killed: u64,
    /// Jobs whose worker cannot be made to die.
    pub abandoned: u64,
    /// Jobs whose worker vanished.
    pub lost: u64,
    /// Jobs that took a worker with them as often as they were delivered, or whose label is in quarantine.
    pub dead_lettered: u64,
    /// Jobs admitted without an outcome yet; at rest this is queued + running = 0.
    pub pending: u64,
}

impl Ledger {
    /// Jobs with an outcome.
    pub fn ended(&self) -> u64 {
        self.completed
            + self.panicked
            + self.cancelled
            + self.expired
            + self.not_started
            + self.killed
            + self.abandoned
            + self.lost
            + self.dead_lettered
    }

    /// True if every term adds up.
    pub fn balances(&self) -> bool {
        self.offered == self.accepted + self.rejected + self.withdrawn + self.waiting
            && self.accepted == self.ended() + self.pending
    }

    /// Sums ends that were read *before* `accepted` was, so that none is ahead of it.
    pub(crate) fn close(ends: [u64; Ended::COUNT], accepted: u64, rejected: u64, withdrawn: u64, waiting: u64) -> Self {
        let [completed, panicked, cancelled, expired, not_started, killed, abandoned, lost, dead_lettered] = ends;
        let ended: u64 = ends.iter().sum();
        Self {
            offered: accepted + rejected + withdrawn + waiting,
            accepted,
            rejected,
            withdrawn,
            waiting,
            completed,
            panicked,
            cancelled,
            expired,
            not_started,
            killed,
            abandoned,
            lost,
            dead_lettered,
            pending: accepted.saturating_sub(ended),
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offered: {} accepted", self.offered, self.accepted)?;
        for (count, word) in [
            (self.rejected, "rejected"),
            (self.withdrawn, "withdrawn"),
            (self.waiting, "waiting"),
            (self.completed, "completed"),
            (self.panicked, "panicked"),
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
            (self.not_started, "not started"),
            (self.killed, "killed"),
            (self.abandoned, "abandoned"),
            (self.lost, "lost"),
            (self.dead_lettered, "dead-lettered"),
            (self.pending, "pending"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}
