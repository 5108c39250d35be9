//! The longer a slot's streak of failures, the longer it waits.

use std::time::Duration;

use millpond::{Exit, Restart, RestartPolicy, SlotHistory, Timestamp, jitter};

/// Exponential back-off for each slot on its own, with jitter. Never gives the pool up.
///
/// The first failure of a streak is followed by a restart at once, the next ones by `base`, `base * factor`, and so on up to `cap`, each
/// times a number between 0.5 and 1.0, so that slots that failed together do not come back together. A worker that was up for
/// `healthy_after` has begun its slot's streak anew.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    factor: f64,
    free: u32,
    jittered: bool,
    healthy_after: Duration,
}

impl Backoff {
    /// From `base` up to `cap`, doubling. A delay of over a day is cut to one: a pool accepts no longer one.
    pub fn new(base: Duration, cap: Duration) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let cap = cap.min(DAY);
        Self { base: base.min(cap), cap, factor: 2.0, free: 1, jittered: true, healthy_after: Duration::from_secs(10) }
    }

    /// By how much each delay exceeds the one before; default 2. One that is not a number of at least 1 counts as 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// How many failures of a streak are followed by a restart at once; default 1, as one failure is no pattern.
    #[must_use]
    pub fn free_restarts(mut self, failures: u32) -> Self {
        self.free = failures;
        self
    }

    /// The full delay each time, without jitter.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jittered = false;
        self
    }

    /// How long a worker has to be up for its slot's streak to begin anew; default 10 s.
    #[must_use]
    pub fn healthy_after(mut self, span: Duration) -> Self {
        self.healthy_after = span;
        self
    }

    /// Before jitter.
    fn delay(&self, streak: u32) -> Duration {
        let Some(steps) = streak.checked_sub(self.free.saturating_add(1)) else { return Duration::ZERO };
        if self.base.is_zero() {
            return Duration::ZERO;
        }
        let grown = self.base.as_secs_f64() * self.factor.powf(f64::from(steps));
        // Not below the cap: infinite, or beyond what a span can hold.
        if grown < self.cap.as_secs_f64() { Duration::from_secs_f64(grown) } else { self.cap }
    }
}

impl Default for Backoff {
    /// From 50 ms up to 5 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }
}

impl RestartPolicy for Backoff {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        let delay = self.delay(slot.streak);
        let share = if self.jittered { jitter(slot.worker, slot.streak) } else { 1.0 };
        Restart::After(delay.mul_f64(share))
    }

    fn healthy_after(&self) -> Duration {
        self.healthy_after
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::restart::simulated::Pool;

    fn delay(restart: Restart) -> Duration {
        match restart {
            Restart::After(delay) => delay,
            other => panic!("a back-off only delays: {other:?}"),
        }
    }

    #[test]
    fn delays_double_up_to_the_cap_and_begin_anew_after_health() {
        let millis = Duration::from_millis;
        let mut pool = Pool::new(Backoff::new(millis(100), millis(350)).without_jitter(), 1);
        let delays: Vec<_> = (0..5).map(|_| delay(pool.fault(0))).collect();
        assert_eq!(delays, [millis(0), millis(100), millis(200), millis(350), millis(350)]);
        pool.ready(0);
        pool.pass(Duration::from_secs(10));
        assert_eq!(delay(pool.fault(0)), Duration::ZERO);
    }

    #[test]
    fn slots_that_fail_together_do_not_come_back_together() {
        let mut pool = Pool::new(Backoff::default().free_restarts(0), 100);
        let mut delays: Vec<_> = (0..100).map(|slot| delay(pool.fault(slot))).collect();
        delays.sort();
        delays.dedup();
        assert_eq!(delays.len(), 100);
    }

    proptest! {
        #[test]
        fn whatever_the_settings_delays_stay_within_bounds_and_do_not_shrink(
            (base, cap) in (0u64..u64::MAX, 0u64..u64::MAX),
            factor in prop::num::f64::ANY,
            (free, streak) in (0u32..10, 1u32..u32::MAX - 1),
        ) {
            let policy = Backoff::new(Duration::from_nanos(base), Duration::from_nanos(cap)).factor(factor).free_restarts(free);
            prop_assert!(policy.delay(streak) <= policy.cap);
            prop_assert!(policy.delay(streak) <= policy.delay(streak + 1));
            let mut slot = SlotHistory::new(millpond::WorkerId { slot: 1, generation: 1 }, Timestamp::from_nanos(1));
            slot.streak = streak;
            let jittered = delay(policy.decide(Timestamp::from_nanos(1), &slot, &Exit::Lost));
            prop_assert!(jittered <= policy.delay(streak));
            prop_assert!(jittered >= policy.delay(streak).mul_f64(0.5).saturating_sub(Duration::from_nanos(1)));
        }
    }
}
