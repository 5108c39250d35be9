//! A circuit breaker for each slot: after failures in a row it stays empty for a while, and then one worker is tried.

use std::time::Duration;

use millpond::{Exit, Restart, RestartPolicy, SlotHistory, Timestamp, jitter};

use super::Backoff;

/// After so many failures in a row a slot cools off; then one worker is tried as a probe. Never gives the pool up.
///
/// | state | the slot | left for |
/// |---|---|---|
/// | closed | has a worker that is restarted when it fails | open, at the last failure allowed in a row |
/// | open | is empty, and the pool degraded | half-open, when the cool-off is over |
/// | half-open | has a worker that is a probe, and takes jobs as any does | closed, once that was up for `healthy_after`; open, for twice as long, when it fails before |
///
/// Which of them a slot is in follows from its history, so that this remembers nothing: one value serves any number of pools.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Breaker {
    failures: u32,
    cool_off: Duration,
    longest: Duration,
    closed: Backoff,
    jittered: bool,
    healthy_after: Duration,
}

/// In which state a worker failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failed {
    /// With failures left.
    Closed,
    /// With the last failure that opens it.
    Opens,
    /// As a probe.
    HalfOpen,
}

impl Breaker {
    /// Opens at the `failures`th failure in a row (at least the first), for `cool_off`; the longest time that it is open is 16 times that.
    /// A cool-off of over a day is cut to one: a pool accepts no longer one.
    pub fn new(failures: u32, cool_off: Duration) -> Self {
        let cool_off = cool_off.min(DAY);
        Self {
            failures: failures.max(1),
            cool_off,
            longest: cool_off.saturating_mul(16).min(DAY),
            closed: Backoff::default(),
            jittered: true,
            healthy_after: Duration::from_secs(10),
        }
    }

    /// The longest that it is open, however often a probe fails. Never shorter than the first time.
    #[must_use]
    pub fn longest(mut self, cool_off: Duration) -> Self {
        self.longest = cool_off.clamp(self.cool_off, DAY);
        self
    }

    /// How workers are restarted while it is closed; default: [`Backoff::default`]. When it begins anew is this one's to say.
    #[must_use]
    pub fn restarting(mut self, backoff: Backoff) -> Self {
        self.closed = backoff;
        self
    }

    /// How long a worker has to be up for its slot's failures to be forgotten, and for a probe to close it; default 10 s.
    #[must_use]
    pub fn healthy_after(mut self, span: Duration) -> Self {
        self.healthy_after = span;
        self
    }

    /// The full cool-off each time; default: times a number between 0.5 and 1.0, so that slots that failed together are not tried together.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jittered = false;
        self
    }

    fn failed(&self, slot: &SlotHistory) -> Failed {
        match slot.streak {
            _ if slot.is_probe() => Failed::HalfOpen,
            streak if streak >= self.failures => Failed::Opens,
            _ => Failed::Closed,
        }
    }

    /// Before jitter: doubled with each probe that failed.
    fn open_for(&self, slot: &SlotHistory) -> Duration {
        self.cool_off.saturating_mul(1 << slot.cool_downs.min(30)).min(self.longest)
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Breaker {
    /// Five failures in a row, 30 s.
    fn default() -> Self {
        Self::new(5, Duration::from_secs(30))
    }
}

impl RestartPolicy for Breaker {
    fn decide(&self, now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart {
        match self.failed(slot) {
            Failed::Closed => self.closed.decide(now, slot, exit),
            Failed::Opens | Failed::HalfOpen => {
                let share = if self.jittered { jitter(slot.worker, slot.streak) } else { 1.0 };
                Restart::CoolDown(self.open_for(slot).mul_f64(share))
            }
        }
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

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32) -> Breaker {
        let at_once = Backoff::new(Duration::ZERO, Duration::ZERO);
        Breaker::new(failures, SECOND * 8).without_jitter().restarting(at_once).healthy_after(SECOND)
    }

    #[test]
    fn it_opens_at_the_last_failure_allowed_and_for_longer_each_time_a_probe_fails() {
        let mut pool = Pool::new(breaker(3).longest(SECOND * 20), 2);
        let at_once = Restart::After(Duration::ZERO);
        let decisions: Vec<_> = (0..6).map(|_| pool.fault(0)).collect();
        let open = |seconds| Restart::CoolDown(SECOND * seconds);
        assert_eq!(decisions, [at_once.clone(), at_once.clone(), open(8), open(16), open(20), open(20)]);
        assert_eq!(pool.fault(1), at_once, "each slot has its own");
        pool.ready(0);
        pool.pass(SECOND);
        assert_eq!(pool.fault(0), at_once, "the probe was up for long enough: closed");
    }

    #[test]
    fn absurd_settings_stay_within_what_a_pool_accepts() {
        let mut pool = Pool::new(Breaker::new(0, Duration::MAX).longest(Duration::MAX).without_jitter(), 1);
        for _ in 0..40 {
            assert_eq!(pool.fault(0), Restart::CoolDown(DAY));
        }
    }

    /// The machine as its documentation has it.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Machine {
        Closed { failures: u32 },
        HalfOpen { probes: u32 },
    }

    proptest! {
        #[test]
        fn it_is_the_state_machine_that_its_table_says(
            failures in 1u32..5,
            steps in prop::collection::vec((0usize..3, prop::option::of(0u64..2_000)), 1..150),
        ) {
            let policy = breaker(failures);
            let mut pool = Pool::new(policy, 3);
            let mut machines = [Machine::Closed { failures: 0 }; 3];
            for (slot, up_for) in steps {
                if let Some(millis) = up_for {
                    pool.ready(slot);
                    pool.pass(Duration::from_millis(millis));
                    if Duration::from_millis(millis) >= SECOND {
                        machines[slot] = Machine::Closed { failures: 0 };
                    }
                }
                let expected = match machines[slot] {
                    Machine::Closed { failures: before } if before + 1 < failures => {
                        machines[slot] = Machine::Closed { failures: before + 1 };
                        Restart::After(Duration::ZERO)
                    }
                    Machine::Closed { .. } => {
                        machines[slot] = Machine::HalfOpen { probes: 1 };
                        Restart::CoolDown(SECOND * 8)
                    }
                    Machine::HalfOpen { probes } => {
                        machines[slot] = Machine::HalfOpen { probes: probes + 1 };
                        Restart::CoolDown((SECOND * 8 * 2u32.pow(probes.min(8))).min(SECOND * 8 * 16))
                    }
                };
                prop_assert_eq!(pool.fault(slot), expected);
            }
        }

        #[test]
        fn jitter_keeps_a_cool_off_between_half_and_all_of_it(probes in 0u32..40, slot in 0u32..1_000) {
            let policy = Breaker::default();
            let mut history = SlotHistory::new(millpond::WorkerId { slot, generation: 1 }, Timestamp::from_nanos(1));
            (history.streak, history.cool_downs) = (5 + probes, probes);
            let Restart::CoolDown(delay) = policy.decide(Timestamp::from_nanos(1), &history, &Exit::Lost) else {
                panic!("it is open");
            };
            let full = policy.open_for(&history);
            prop_assert!(full <= policy.longest && delay <= full && delay >= full.mul_f64(0.5).saturating_sub(Duration::from_nanos(1)));
        }
    }
}
