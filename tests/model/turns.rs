//! Who came up, who is due and who went, as the pool tells it: what must hold of each that is recycled, at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millpond::{Exit, Inventory, Limits, PoolEvent, RecycleReason, WorkerId};

use crate::reference::Setup;

pub(crate) struct Turns {
    after_jobs: Option<u64>,
    after_age: Option<Duration>,
    up: BTreeSet<WorkerId>,
    due: BTreeSet<WorkerId>,
    /// Of each slot, the latest that came up.
    generations: BTreeMap<u32, u32>,
    /// Workers that left since they had idled for too long, and those that were recycled.
    pub(crate) idled_out: usize,
    pub(crate) recycled: usize,
}

impl Turns {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            after_jobs: setup.after_jobs,
            after_age: setup.after_age.map(Duration::from_millis),
            up: BTreeSet::new(),
            due: BTreeSet::new(),
            generations: BTreeMap::new(),
            idled_out: 0,
            recycled: 0,
        }
    }

    /// Who was up before anything was told.
    pub(crate) fn begin(&mut self, inventory: &Inventory) {
        self.up.extend(inventory.workers.iter().map(|row| row.worker));
    }

    /// `limits`: those in force.
    pub(crate) fn note(&mut self, event: &PoolEvent, limits: Limits) {
        match event {
            PoolEvent::WorkerReady { worker, .. } => {
                let before = self.generations.insert(worker.slot, worker.generation);
                assert!(before < Some(worker.generation), "{worker} comes after {before:?}");
                self.up.insert(*worker);
            }
            PoolEvent::RecycleDue { worker, reason } => {
                assert!(self.is_reason(*reason), "{worker}: {reason}");
                assert!(self.due.insert(*worker), "{worker} was due before");
            }
            PoolEvent::WorkerGone { worker, exit } => {
                match exit {
                    Exit::IdleTimeout => self.idled_out += 1,
                    Exit::Recycled(reason) => self.recycle(*worker, *reason, limits),
                    _ => {}
                }
                self.up.remove(worker);
            }
            PoolEvent::WorkerAbandoned { worker } => drop(self.up.remove(worker)),
            _ => {}
        }
    }

    fn recycle(&mut self, worker: WorkerId, reason: RecycleReason, Limits { min, max, .. }: Limits) {
        self.recycled += 1;
        assert!(self.due.contains(&worker) && self.is_reason(reason), "{worker}: {reason}");
        let up = self.up.len();
        assert!(up > min || up >= max, "{worker} leaves {up} workers, itself among them, of {min} to {max}");
    }

    fn is_reason(&self, reason: RecycleReason) -> bool {
        match reason {
            RecycleReason::Jobs(jobs) => self.after_jobs.is_some_and(|most| jobs >= most),
            RecycleReason::Age(age) => self.after_age.is_some_and(|most| age >= most * 3 / 4),
            _ => false,
        }
    }
}
