//! What can be seen of the plane, without asking any worker.

use super::Plane;
use crate::config::{Lane, Limits};
use crate::gate::Gate;
use crate::job::{Envelope, Share};
use crate::lane::Line;
use crate::slot::Cell;
use crate::snapshot::{
    Ended, Histogram, Inventory, JobRow, LaneSnapshot, Ledger, Saturation, Snapshot, WorkerRow, WorkerState,
};
use crate::sync::{Ordering, Timestamp};

/// So many dead entries of a line are passed in one hold of its lock,
const LOOKS: usize = 256;
/// and so often it is taken.
const HOLDS: usize = 64;

impl<J: ?Sized + Envelope> Plane<J> {
    /// Fixed counters: no lock, no allocation.
    pub(crate) fn saturation(&self) -> Saturation {
        let counts = &self.counts;
        let (starting, idle, active) = (counts.starting(), counts.idle(), counts.busy());
        let workers = starting + idle + active;
        let limit = self.max();
        let mut seen = Saturation {
            limit,
            debt: workers.saturating_sub(limit),
            workers,
            active,
            idle,
            starting,
            abandoned: counts.abandoned(),
            missing: self.missing(workers),
            ..Saturation::default()
        };
        for (index, lane) in self.lanes.iter().enumerate() {
            seen.queued += self.queued(index);
            seen.queue_capacity = seen.queue_capacity.saturating_add(lane.spec.capacity());
            seen.waiting += lane.waiting.load(Ordering::Acquire);
        }
        seen
    }

    /// Every worker, read from the cells.
    pub(crate) fn inventory(&self, now: Timestamp) -> Inventory {
        let mut workers: Vec<_> = self.cells().iter().filter_map(|cell| self.row(cell, now)).collect();
        workers.sort_by_key(|row| (row.state == WorkerState::Abandoned, row.worker));
        let (pool, saturation, health) = (self.config.name.clone(), self.saturation(), self.health(now));
        Inventory { pool, taken_at: now, workers, saturation, health }
    }

    fn row(&self, cell: &Cell, now: Timestamp) -> Option<WorkerRow> {
        let state = cell.lock();
        if state.state == WorkerState::Gone {
            return None;
        }
        let job = state.held.as_ref().map(|held| {
            let header = held.job.header();
            let silent_for = now.since(cell.progress(held));
            JobRow {
                id: header.id(),
                claim: held.claim,
                delivery: header.lost_deliveries().saturating_add(1),
                label: header.label().cloned(),
                submitted_from: header.submitted_from(),
                lineage: header.lineage().cloned(),
                lane: self.lane(held.lane).spec.name.clone(),
                queue_wait: held.since.since(header.waits_since()),
                running_for: now.since(held.since),
                last_beat: cell.last_beat(held.claim),
                silent_for,
                overdue: self.overdue_after(&*held.job).is_some_and(|span| silent_for >= span),
            }
        });
        let (is, since) = (state.state, state.since);
        // What the system knows of a child process is asked with nothing held: its worker may want the cell meanwhile.
        drop(state);
        Some(WorkerRow {
            worker: cell.id,
            state: is,
            since,
            in_state_for: now.since(since),
            job,
            jobs_done: cell.jobs_done(),
            restarts: cell.restarts,
            start_delay: cell.ready_at().map(|ready| ready.since(cell.started_at)),
            facts: cell.facts(),
        })
    }

    /// The ledger: ends are read before what was accepted, so that `pending` is what is left.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ends = [0; Ended::COUNT];
        for shard in self.all_shards() {
            for (sum, count) in ends.iter_mut().zip(&shard.ended) {
                *sum += count.load(Ordering::Acquire);
            }
        }
        // A job goes from one of these terms to another under this lock, so that none is seen twice, or not at all.
        let _inbox = self.inbox.lock();
        let withdrawn = self.gone_at_gate.load(Ordering::Acquire);
        let rejected = self.rejected.load(Ordering::Acquire);
        let accepted = (0..self.lanes.len()).map(|lane| self.pushed(lane)).sum();
        let waiting = self.lanes.iter().map(|lane| lane.waiting.load(Ordering::Acquire) as u64).sum();
        Ledger::close(ends, accepted, rejected, withdrawn, waiting)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let inventory = self.inventory(now);
        let (limits, lanes) = self.in_force();
        let gate = self.gate().word();
        let mut start_delay = Histogram::default();
        self.start_delay.add_to(&mut start_delay);
        Snapshot {
            pool: self.config.name.clone(),
            taken_at: now,
            saturation: inventory.saturation,
            limits,
            health: inventory.health.clone(),
            vetoed_starts: self.vetoed(),
            delayed_starts: self.delayed(),
            quarantined: self.all_kept_out(now),
            gate,
            lanes: lanes.iter().enumerate().map(|(index, lane)| self.lane_snapshot(index, lane)).collect(),
            ledger: self.ledger(),
            longest_active_since: inventory.longest_active().and_then(|row| row.job.as_ref().map(|_| row.since)),
            start_delay,
        }
    }

    fn lane_snapshot(&self, index: usize, spec: &Lane) -> LaneSnapshot {
        let lane = &self.lanes[index];
        let (mut queue_wait, mut run_time) = (Histogram::default(), Histogram::default());
        for shard in self.all_shards() {
            shard.queue_wait[index].add_to(&mut queue_wait);
            shard.run_time[index].add_to(&mut run_time);
        }
        LaneSnapshot {
            name: spec.name.clone(),
            queued: self.queued(index),
            resting: lane.resting(),
            capacity: spec.capacity,
            active: self.counts.busy_in(index),
            reserve: spec.reserve,
            waiting: lane.waiting.load(Ordering::Acquire),
            head_since: self.head_since(index),
            waiting_since: self.waiting_since(index),
            queue_wait,
            run_time,
        }
    }

    /// Since when the oldest has waited.
    fn head_since(&self, index: usize) -> Option<Timestamp> {
        let head = |line: &mut Line<Share<J>>| {
            let passed = line.pass_dead(LOOKS, |job| job.header().is_queued());
            (line.front().map(|job| (job.header().waits_since(), job.header().is_queued())), passed)
        };
        first_alive(|| {
            let (ready, passed) = head(&mut self.ready.lock().lanes[index]);
            // With no lock held, here and below: the last of a job may be the user's.
            drop(passed);
            let (first, passed) = match ready {
                None => head(&mut self.inbox.lock().lanes[index].jobs),
                first => (first, Vec::new()),
            };
            drop(passed);
            first
        })
    }

    /// Since when the first at the gate has waited.
    fn waiting_since(&self, index: usize) -> Option<Timestamp> {
        first_alive(|| {
            let (first, passed) = {
                let line = &mut self.inbox.lock().lanes[index].waiters;
                let passed = line.pass_dead(LOOKS, |waiter| waiter.is_waiting());
                (line.front().map(|waiter| (waiter.since, waiter.is_waiting())), passed)
            };
            drop(passed);
            first
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub(crate) fn gate(&self) -> Gate {
        self.inbox.lock().gate.clone()
    }
}

/// Since when the first of a line has waited that has not died in place. Each `look` takes out those before it, a few in each hold of the locks, and
/// says since when the one in front waits and whether it lives; where there are very many, this says since when it has waited at most.
fn first_alive(look: impl Fn() -> Option<(Timestamp, bool)>) -> Option<Timestamp> {
    let mut first = None;
    for _ in 0..HOLDS {
        first = look();
        if first.is_none_or(|(_, is_alive)| is_alive) {
            break;
        }
    }
    first.map(|(since, _)| since)
}
