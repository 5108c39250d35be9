//! What a restart policy knows beside `now` and the exit.

use std::time::Duration;

use super::Restart;
use crate::id::WorkerId;
use crate::sync::Timestamp;

/// What a slot has been through, and the pool around it: all that a restart policy knows beside `now` and the exit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotHistory {
    /// The incarnation that ended.
    pub worker: WorkerId,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it became ready; `None` if it never was.
    pub ready_at: Option<Timestamp>,
    /// Moments of the slot's latest faults, this one last; at most [`SlotHistory::KEPT`].
    pub faults: Vec<Timestamp>,
    /// Faults since the slot was last healthy for as long as [`RestartPolicy::healthy_after`](super::RestartPolicy::healthy_after), this
    /// one included.
    pub streak: u32,
    /// How often it was cooled down since it was last healthy for as long. Above zero, the incarnation that ended was a probe.
    pub cool_downs: u32,
    /// The pool around it.
    pub pool: PoolHistory,
}

impl SlotHistory {
    /// How many moments of faults are kept.
    pub const KEPT: usize = 64;

    /// The history of a slot whose incarnation just ended. For tests of policies.
    pub fn new(worker: WorkerId, started_at: Timestamp) -> Self {
        let (faults, pool) = (Vec::new(), PoolHistory::default());
        Self { worker, started_at, ready_at: None, faults, streak: 0, cool_downs: 0, pool }
    }

    /// Records a fault at `now`; if the incarnation had been up for `healthy_after`, the slot is back: its streak begins anew.
    pub fn fault(&mut self, now: Timestamp, healthy_after: Duration) {
        let healthy = self.ready_at.is_some_and(|ready| now.since(ready) >= healthy_after);
        self.streak = if healthy { 1 } else { self.streak.saturating_add(1) };
        if healthy {
            self.cool_downs = 0;
        }
        keep(&mut self.faults, now, Self::KEPT);
    }

    /// Records what was decided.
    pub fn decided(&mut self, restart: &Restart) {
        if let Restart::CoolDown(_) = restart {
            self.cool_downs = self.cool_downs.saturating_add(1);
        }
    }

    /// A probe has been up for long enough: faults and cool-downs in a row begin anew.
    pub(crate) fn recovered(self) -> Self {
        Self { streak: 0, cool_downs: 0, ..self }
    }

    /// True if the incarnation that ended was tried after a cool-down, and was not up for long enough for the slot to be back.
    pub fn is_probe(&self) -> bool {
        self.cool_downs > 0
    }

    /// Faults within the last `window`.
    pub fn faults_within(&self, now: Timestamp, window: Duration) -> usize {
        within(&self.faults, now, window)
    }
}

/// What all slots of a pool together have been through, as of the fault in question.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolHistory {
    /// How many slots it may have: the `max` in force.
    pub slots: usize,
    /// How many others of them have no worker after a fault, for now or for good.
    pub empty: usize,
    /// Moments of the latest faults of all slots, the one in question last; at most [`PoolHistory::KEPT`].
    pub faults: Vec<Timestamp>,
}

impl PoolHistory {
    /// How many moments of faults are kept.
    pub const KEPT: usize = 1024;

    /// Records a fault of any slot at `now`.
    pub fn fault(&mut self, now: Timestamp) {
        keep(&mut self.faults, now, Self::KEPT);
    }

    /// Faults within the last `window`, over all slots.
    pub fn faults_within(&self, now: Timestamp, window: Duration) -> usize {
        within(&self.faults, now, window)
    }

    /// As it was so many faults ago.
    pub(crate) fn before(&self, faults: usize) -> Self {
        let kept = self.faults.len().saturating_sub(faults);
        Self { faults: self.faults[..kept].to_vec(), ..*self }
    }
}

fn keep(faults: &mut Vec<Timestamp>, now: Timestamp, most: usize) {
    if faults.len() == most {
        faults.remove(0);
    }
    faults.push(now);
}

fn within(faults: &[Timestamp], now: Timestamp, window: Duration) -> usize {
    faults.iter().filter(|&&at| now.since(at) <= window).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId { slot: 0, generation: 1 };

    #[test]
    fn a_slot_is_back_once_its_probe_has_been_up_for_long_enough() {
        let (second, mut now) = (Duration::from_secs(1), Timestamp::from_nanos(1));
        let mut slot = SlotHistory::new(WORKER, now);
        slot.fault(now, second);
        slot.decided(&Restart::CoolDown(second));
        assert!(slot.is_probe());
        slot.ready_at = Some(now);
        slot.fault(now, second);
        slot.decided(&Restart::CoolDown(second));
        assert_eq!((slot.streak, slot.cool_downs), (2, 2));
        slot.ready_at = Some(now);
        now = now.after(second);
        slot.fault(now, second);
        assert_eq!((slot.streak, slot.cool_downs, slot.is_probe()), (1, 0, false));
    }

    #[test]
    fn what_came_later_is_not_in_the_view_of_a_fault() {
        let mut pool = PoolHistory::default();
        for nanos in 0..PoolHistory::KEPT as u64 + 2 {
            pool.fault(Timestamp::from_nanos(nanos));
        }
        assert_eq!((pool.faults.len(), pool.faults[0]), (PoolHistory::KEPT, Timestamp::from_nanos(2)));
        assert_eq!(pool.before(2).faults.last(), Some(&Timestamp::from_nanos(PoolHistory::KEPT as u64 - 1)));
        assert!(pool.before(usize::MAX).faults.is_empty());
    }
}
