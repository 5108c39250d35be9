//! What becomes of a slot whose worker ended by a fault.

mod backoff;
mod breaker;
mod never;
mod one_for_one;

pub use backoff::Backoff;
pub use breaker::Breaker;
pub use never::Never;
pub use one_for_one::OneForOne;

/// Simulated time for the tests of all of them.
#[cfg(test)]
mod simulated {
    use std::time::Duration;

    use millpond::{Exit, PoolHistory, Restart, RestartPolicy, SlotHistory, Timestamp, WorkerId};

    /// Slots of one pool, and the clock that their policy is told.
    pub(crate) struct Pool<P> {
        pub(crate) policy: P,
        pub(crate) now: Timestamp,
        slots: Vec<SlotHistory>,
        history: PoolHistory,
    }

    impl<P: RestartPolicy> Pool<P> {
        pub(crate) fn new(policy: P, slots: u32) -> Self {
            let now = Timestamp::from_nanos(1);
            let worker = |slot| WorkerId { slot, generation: 1 };
            let mut history = PoolHistory::default();
            history.slots = slots as usize;
            let slots = (0..slots).map(|slot| SlotHistory::new(worker(slot), now)).collect();
            Self { policy, now, slots, history }
        }

        pub(crate) fn pass(&mut self, span: Duration) {
            self.now = self.now.after(span);
        }

        /// The slot's worker comes up now.
        pub(crate) fn ready(&mut self, slot: usize) {
            self.slots[slot].ready_at = Some(self.now);
        }

        /// The slot's worker fails now.
        pub(crate) fn fault(&mut self, slot: usize) -> Restart {
            let slot = &mut self.slots[slot];
            self.history.fault(self.now);
            slot.pool = self.history.clone();
            slot.fault(self.now, self.policy.healthy_after());
            let decision = self.policy.decide(self.now, slot, &Exit::Panicked);
            slot.decided(&decision);
            slot.worker.generation += 1;
            slot.ready_at = None;
            decision
        }
    }
}
