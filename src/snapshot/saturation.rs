//! How full a pool is: fixed counters in one cheap read, and the wider snapshot.

use std::fmt;
use std::time::Duration;

use super::{DelayedStarts, Health, Histogram, Ledger, Quarantined, VetoedStarts};
use crate::config::Limits;
use crate::sync::{Arc, Timestamp};

/// How full a pool is. Read without a lock, so the counters are of nearly, not exactly, one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Saturation {
    /// The `max` in force.
    pub limit: usize,
    /// Seats owed back after a shrink.
    pub debt: usize,
    /// Workers that hold a seat: starting, idle and active.
    pub workers: usize,
    /// Workers with a job in hand.
    pub active: usize,
    /// Workers that wait for a job.
    pub idle: usize,
    /// Workers that are coming up.
    pub starting: usize,
    /// Workers told to die that cannot be made to. They hold no seat.
    pub abandoned: usize,
    /// Seats that no worker can be started for now; the snapshot's [`Health`] says why.
    pub missing: usize,
    /// Jobs that wait for a worker, over all lanes.
    pub queued: usize,
    /// Jobs that may wait for a worker, over all lanes.
    pub queue_capacity: usize,
    /// Submitters that wait at the gate.
    pub waiting: usize,
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} busy, {} queued, {} waiting", self.active, self.limit, self.queued, self.waiting)?;
        let more = [
            (self.starting, "starting"),
            (self.debt, "owed"),
            (self.abandoned, "abandoned"),
            (self.missing, "missing"),
        ];
        for (count, word) in more {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}

/// One lane at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Jobs that wait for a worker, those that rest among them.
    pub queued: usize,
    /// Jobs that rest before they are [delivered again](crate::JobOptions::redeliver). Each keeps its place.
    pub resting: usize,
    /// The bound of the queue.
    pub capacity: usize,
    /// Jobs that run.
    pub active: usize,
    /// Seats that no other lane takes.
    pub reserve: usize,
    /// Submitters at the gate.
    pub waiting: usize,
    /// Since when the job that waits longest has: its admission, or the end of its last rest.
    pub head_since: Option<Timestamp>,
    /// Since when the submitter that is first in line at the gate has waited there. `None` while some wait: each has been promised a place.
    pub waiting_since: Option<Timestamp>,
    /// From admission to claim, or from the end of a rest.
    pub queue_wait: Histogram,
    /// From claim to end.
    pub run_time: Histogram,
}

impl LaneSnapshot {
    /// A lane in which nothing is, to fill in: for tests of what decides by snapshots.
    pub fn empty(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            queued: 0,
            resting: 0,
            capacity: 0,
            active: 0,
            reserve: 0,
            waiting: 0,
            head_since: None,
            waiting_since: None,
            queue_wait: Histogram::default(),
            run_time: Histogram::default(),
        }
    }
}

/// A pool at one moment, in full. Costs about as much as an inventory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The pool's name.
    pub pool: Arc<str>,
    /// When this was read, on the pool's clock.
    pub taken_at: Timestamp,
    /// The fixed counters.
    pub saturation: Saturation,
    /// The limits in force.
    pub limits: Limits,
    /// Whether the pool can do its work, and if not, why not and since when.
    pub health: Health,
    /// Slots without a worker because a hook denied its start, which count as missing meanwhile.
    pub vetoed_starts: Option<VetoedStarts>,
    /// Slots without a worker because a hook has put its start off, which count as missing meanwhile.
    pub delayed_starts: Option<DelayedStarts>,
    /// Labels whose jobs are kept out; see [`PoolBuilder::quarantine`](crate::PoolBuilder::quarantine).
    pub quarantined: Vec<Arc<Quarantined>>,
    /// The state of the gate, as a word: open, quiesced, draining or closed.
    pub gate: &'static str,
    /// Each lane, the unnamed one first.
    pub lanes: Vec<LaneSnapshot>,
    /// What became of every job ever offered.
    pub ledger: Ledger,
    /// Since when the job that has run longest has run.
    pub longest_active_since: Option<Timestamp>,
    /// From a worker's start to its readiness.
    pub start_delay: Histogram,
}

impl Snapshot {
    /// An open pool without lanes in which nothing is, to fill in: for tests of what decides by snapshots.
    pub fn empty(pool: &str, taken_at: Timestamp) -> Self {
        Self {
            pool: Arc::from(pool),
            taken_at,
            saturation: Saturation::default(),
            limits: Limits::fixed(1),
            health: Health::Healthy,
            vetoed_starts: None,
            delayed_starts: None,
            quarantined: Vec::new(),
            gate: "open",
            lanes: Vec::new(),
            ledger: Ledger::default(),
            longest_active_since: None,
            start_delay: Histogram::default(),
        }
    }

    /// How long the job that has run longest has run.
    pub fn longest_active(&self) -> Option<Duration> {
        self.longest_active_since.map(|since| self.taken_at.since(since))
    }
}
