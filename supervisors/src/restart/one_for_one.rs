//! Restart at once, and give the pool up when that happens too often: OTP's `one_for_one` with its restart intensity.

use std::time::Duration;

use millpond::{Exit, PoolHistory, Restart, RestartPolicy, SlotHistory, Timestamp};

/// A worker that fails is restarted at once, the others are left alone. More than `intensity` failures within `period`, over
/// **all** slots of the pool, and the pool is given up, so that its parent decides.
///
/// That is OTP's rule, and it has OTP's edge: a hundred workers that each fail once in the same moment take the pool. Where that
/// must not be, use [`Backoff`](crate::Backoff), [`Breaker`](crate::Breaker), or the default.
///
/// The pool's failures are handed to it, so it remembers nothing. Source of the rule: the Erlang/OTP design principles, "Maximum Restart
/// Intensity".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneForOne {
    intensity: usize,
    period: Duration,
}

impl OneForOne {
    /// Gives the pool up after more than `intensity` failures within `period`. With an intensity of zero the first failure does; above
    /// 1,023 it counts as 1,023, since a pool remembers no more failures than one beyond.
    pub fn new(intensity: usize, period: Duration) -> Self {
        Self { intensity: intensity.min(PoolHistory::KEPT - 1), period }
    }
}

impl Default for OneForOne {
    /// One failure in five seconds, as OTP has it.
    fn default() -> Self {
        Self::new(1, Duration::from_secs(5))
    }
}

impl RestartPolicy for OneForOne {
    fn decide(&self, now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart {
        let faults = slot.pool.faults_within(now, self.period);
        if faults <= self.intensity {
            return Restart::After(Duration::ZERO);
        }
        let (allowed, period) = (self.intensity, self.period);
        Restart::Escalate(format!(
            "{faults} workers failed within {period:?}, {allowed} may; the latest, {}, {exit}",
            slot.worker
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::restart::simulated::Pool;

    const PERIOD: Duration = Duration::from_secs(5);

    #[test]
    fn one_failure_too_many_gives_the_pool_up_and_says_who() {
        let mut pool = Pool::new(OneForOne::new(2, PERIOD), 3);
        assert_eq!(pool.fault(0), Restart::After(Duration::ZERO));
        assert_eq!(pool.fault(1), Restart::After(Duration::ZERO));
        let Restart::Escalate(reason) = pool.fault(2) else { panic!("the third failure is one too many") };
        assert_eq!(reason, "3 workers failed within 5s, 2 may; the latest, 2.1, panicked");
    }

    #[test]
    fn failures_that_are_older_than_the_period_do_not_count() {
        let mut pool = Pool::new(OneForOne::default(), 1);
        for _ in 0..100 {
            assert_eq!(pool.fault(0), Restart::After(Duration::ZERO));
            pool.pass(PERIOD + Duration::from_nanos(1));
        }
    }

    #[test]
    fn an_intensity_beyond_what_a_pool_remembers_still_gives_up() {
        let mut pool = Pool::new(OneForOne::new(usize::MAX, PERIOD), 1);
        for _ in 1..PoolHistory::KEPT {
            assert_eq!(pool.fault(0), Restart::After(Duration::ZERO));
        }
        assert!(matches!(pool.fault(0), Restart::Escalate(_)));
    }

    proptest! {
        /// The rule, said plainly: count what lies within the period.
        #[test]
        fn gives_up_exactly_when_the_period_holds_more_than_the_intensity(
            intensity in 0usize..8,
            steps in prop::collection::vec((0u64..4_000, 0usize..4), 1..200),
        ) {
            let mut pool = Pool::new(OneForOne::new(intensity, PERIOD), 4);
            let mut moments = Vec::new();
            for (millis, slot) in steps {
                pool.pass(Duration::from_millis(millis));
                moments.push(pool.now);
                let within = moments.iter().filter(|&&at| pool.now.since(at) <= PERIOD).count();
                let escalates = matches!(pool.fault(slot), Restart::Escalate(_));
                prop_assert_eq!(escalates, within > intensity);
            }
        }
    }
}
