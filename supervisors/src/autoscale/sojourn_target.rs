//! As many workers as keep the queue's wait below a target.

use std::time::Duration;

use millpond::{Autoscaler, LaneSnapshot, Limits, Snapshot, Timestamp};
use parking_lot::Mutex;

/// Grows a pool while a job has to wait, in some lane, for longer than a target; shrinks it to what was in use once it has been calm for long enough.
///
/// A wait is that at the gate and that in the queue, one after the other: a lane with a short queue, or none, has its jobs wait in front of it. What counts of
/// a lane is how long its first submitter at the gate has waited, and its first job in the queue, taken together. A lane that refuses jobs when it is full
/// has nobody wait at its gate, and what it refuses grows nothing.
///
/// Past the target, the limit grows in proportion to how far past, by one worker at least, and at most to twice what it is. Below a
/// share of the target, the hysteresis, the pool is calm; when it has been that for all of the linger, the limit becomes the most that was in use
/// meanwhile. Between the two it stays what it is, so that a load that does not change makes no limit swing.
///
/// The time that jobs have waited says whether there are too few workers, where the length of the queue does not: Nichols and Jacobson,
/// "Controlling Queue Delay", ACM Queue 10/5, 2012, use it for the same reason.
#[derive(Debug)]
pub struct SojournTarget {
    target: Duration,
    least: usize,
    most: usize,
    linger: Duration,
    hysteresis: f64,
    calm: Mutex<Option<Calm>>,
}

/// Nobody has waited for long.
#[derive(Clone, Copy, Debug)]
struct Calm {
    since: Timestamp,
    /// The most workers that were in use meanwhile, or would have been: one for each job that runs, is queued, or waits at the gate.
    peak: usize,
}

impl SojournTarget {
    /// Jobs are to wait for no longer than `target`. Without more settings: within the pool's bounds, a linger of 30 s, a hysteresis of a quarter.
    pub fn new(target: Duration) -> Self {
        let linger = Duration::from_secs(30);
        Self { target, least: 1, most: usize::MAX, linger, hysteresis: 0.25, calm: Mutex::new(None) }
    }

    /// No fewer than `least` and no more than `most` workers, within what the pool's bounds allow. A `most` below `least` counts as `least`.
    #[must_use]
    pub fn between(mut self, least: usize, most: usize) -> Self {
        self.least = least.max(1);
        self.most = most.max(self.least);
        self
    }

    /// How long the pool has to be calm before it shrinks; default 30 s.
    #[must_use]
    pub fn linger(mut self, span: Duration) -> Self {
        self.linger = span;
        self
    }

    /// The share of the target below which the pool is calm, between 0 and 1; default 0.25. One that is not a number counts as the default.
    #[must_use]
    pub fn hysteresis(mut self, share: f64) -> Self {
        self.hysteresis = if share.is_nan() { 0.25 } else { share.clamp(0.0, 1.0) };
        self
    }

    fn grown(&self, limit: usize, waited: Duration) -> usize {
        let past = waited.as_secs_f64() / self.target.as_secs_f64() - 1.0;
        let more = (limit as f64 * past.min(1.0)).ceil() as usize;
        limit.saturating_add(more.clamp(1, limit.max(1)))
    }

    /// The limit while the pool is calm: what it is, or, after the linger, what was in use.
    fn calmed(&self, now: Timestamp, limit: usize, used: usize) -> usize {
        let mut calm = self.calm.lock();
        let begun = calm.get_or_insert(Calm { since: now, peak: used });
        begun.peak = begun.peak.max(used);
        if now.since(begun.since) < self.linger {
            return limit;
        }
        let peak = begun.peak.max(1);
        if peak >= limit {
            *begun = Calm { since: now, peak: used };
            return limit;
        }
        // Wanted until it is in force: hooks may have put it off.
        peak
    }
}

/// How long who is first at the gate has to wait in all: as long as so far, and then in the queue as long as who is first there.
fn waited(lane: &LaneSnapshot, now: Timestamp) -> Duration {
    let [gate, queue] =
        [lane.waiting_since, lane.head_since].map(|since| since.map_or(Duration::ZERO, |it| now.since(it)));
    gate.saturating_add(queue)
}

impl Autoscaler for SojournTarget {
    fn scale(&self, snapshot: &Snapshot, bounds: Limits) -> usize {
        let (now, seen) = (snapshot.taken_at, &snapshot.saturation);
        let waited = snapshot.lanes.iter().map(|lane| waited(lane, now)).max().unwrap_or_default();
        let wanted = if waited > self.target {
            *self.calm.lock() = None;
            self.grown(seen.limit, waited)
        } else if waited <= self.target.mul_f64(self.hysteresis) {
            self.calmed(now, seen.limit, seen.active + seen.queued + seen.waiting)
        } else {
            *self.calm.lock() = None;
            seen.limit
        };
        let least = self.least.max(bounds.min).min(bounds.max);
        wanted.clamp(least, self.most.min(bounds.max).max(least))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Limits = Limits::new(1, 64);

    /// A pool whose jobs each take so many periods of one worker, on simulated time.
    struct Pond {
        policy: SojournTarget,
        now: Timestamp,
        limit: usize,
        capacity: usize,
        /// When each job that waits at the gate came there.
        gate: VecDeque<Timestamp>,
        /// When each job that waits was admitted.
        queue: VecDeque<Timestamp>,
        /// When each job that runs ends.
        running: Vec<Timestamp>,
    }

    const PERIOD: Duration = Duration::from_millis(100);
    const JOB: Duration = Duration::from_millis(400);

    impl Pond {
        fn new(policy: SojournTarget) -> Self {
            let now = Timestamp::from_nanos(1);
            let (gate, queue) = (VecDeque::new(), VecDeque::new());
            Self { policy, now, limit: 1, capacity: usize::MAX, gate, queue, running: Vec::new() }
        }

        /// Lets in whoever there is room for: a capacity of zero is a hand-over to a free seat.
        fn admit(&mut self) {
            let free = self.limit.saturating_sub(self.running.len());
            while self.queue.len() < self.capacity.saturating_add(free) && self.gate.pop_front().is_some() {
                self.queue.push_back(self.now);
            }
        }

        /// How long the one has waited that waits longest, at the gate or in the queue.
        fn longest_wait(&self) -> Duration {
            let since = self.gate.front().into_iter().chain(self.queue.front()).min();
            since.map_or(Duration::ZERO, |since| self.now.since(*since))
        }

        /// A period in which so many jobs come.
        fn period(&mut self, jobs: usize) {
            self.gate.extend(std::iter::repeat_n(self.now, jobs));
            self.admit();
            self.now = self.now.after(PERIOD);
            let now = self.now;
            self.running.retain(|ends| *ends > now);
            self.admit();
            while self.running.len() < self.limit && self.queue.pop_front().is_some() {
                self.running.push(now.after(JOB));
            }
            self.admit();
            let mut seen = Snapshot::empty("pond", now);
            let mut lane = LaneSnapshot::empty("default");
            (lane.head_since, lane.waiting_since) = (self.queue.front().copied(), self.gate.front().copied());
            seen.lanes.push(lane);
            (seen.saturation.limit, seen.saturation.active) = (self.limit, self.running.len());
            (seen.saturation.queued, seen.saturation.waiting) = (self.queue.len(), self.gate.len());
            self.limit = self.policy.scale(&seen, BOUNDS);
        }
    }

    fn policy() -> SojournTarget {
        SojournTarget::new(Duration::from_millis(500)).linger(Duration::from_secs(2))
    }

    #[test]
    fn a_load_that_is_too_much_for_the_workers_grows_the_pool_until_nobody_waits_for_long() {
        let mut pond = Pond::new(policy());
        (0..200).for_each(|_| pond.period(4));
        // Four jobs a period, each of four periods.
        assert!((16..=64).contains(&pond.limit), "{}", pond.limit);
        assert!(pond.queue.front().is_none_or(|since| pond.now.since(*since) <= Duration::from_millis(500)));
    }

    #[test]
    fn a_pool_that_is_calm_shrinks_to_what_is_in_use_after_the_linger_and_not_before() {
        let mut pond = Pond::new(policy());
        (0..200).for_each(|_| pond.period(4));
        let busy = pond.limit;
        let mut periods = 0;
        while pond.limit >= busy {
            pond.period(0);
            periods += 1;
            assert!(periods < 100, "it never shrinks");
        }
        assert!(periods >= 19, "after {periods} periods");
        (0..50).for_each(|_| pond.period(0));
        assert_eq!(pond.limit, 1);
    }

    #[test]
    fn a_shrink_is_wanted_until_it_is_in_force() {
        let mut pond = Pond::new(policy());
        (0..200).for_each(|_| pond.period(4));
        let busy = pond.limit;
        let mut wanted = Vec::new();
        for _ in 0..60 {
            pond.period(0);
            // Hooks put it off.
            wanted.push(std::mem::replace(&mut pond.limit, busy));
        }
        let first = wanted.iter().position(|limit| *limit < busy).expect("it wants fewer");
        assert!(wanted[first..].iter().all(|limit| *limit < busy), "{wanted:?}");
    }

    #[test]
    fn a_load_that_does_not_change_makes_no_limit_swing() {
        let mut pond = Pond::new(policy());
        (0..400).for_each(|_| pond.period(2));
        let mut limits = vec![pond.limit];
        for _ in 0..400 {
            pond.period(2);
            if limits.last() != Some(&pond.limit) {
                limits.push(pond.limit);
            }
        }
        assert!(limits.len() <= 2, "{limits:?}");
    }

    #[test]
    fn it_grows_in_proportion_by_one_at_least_and_to_twice_at_most() {
        let policy = policy();
        let grown = |limit, millis| policy.grown(limit, Duration::from_millis(millis));
        assert_eq!((grown(10, 501), grown(10, 750), grown(10, 60_000), grown(1, 501)), (11, 15, 20, 2));
    }

    /// One job is let in, the others wait for it at the gate, and nothing is queued.
    #[test]
    fn who_waits_at_the_gate_grows_a_pool_that_has_no_queue() {
        let mut pond = Pond::new(policy());
        pond.capacity = 0;
        pond.period(8);
        let mut limits = Vec::new();
        while !pond.gate.is_empty() {
            pond.period(8 - pond.running.len() - pond.gate.len() - pond.queue.len());
            limits.push(pond.limit);
            assert!(limits.len() < 200, "they wait at the gate for ever: {limits:?}");
        }
        assert!(pond.limit > 1, "{limits:?}");
    }

    #[test]
    fn who_waits_at_the_gate_is_in_use_of_the_pool() {
        let mut policy = SojournTarget::new(Duration::MAX).linger(Duration::ZERO);
        let now = Timestamp::from_nanos(1);
        let mut seen = Snapshot::empty("pond", now);
        (seen.saturation.limit, seen.saturation.active, seen.saturation.waiting) = (8, 1, 6);
        assert_eq!(policy.scale(&seen, BOUNDS), 7);
        policy = policy.between(8, 8);
        assert_eq!(policy.scale(&seen, BOUNDS), 8);
    }

    proptest! {
        #[test]
        fn wherever_they_wait_the_pool_grows_until_nobody_waits_for_long(
            capacity in prop_oneof![Just(0usize), 0usize..40],
            jobs in 1usize..12,
        ) {
            let mut pond = Pond::new(policy());
            pond.capacity = capacity;
            for _ in 0..400 {
                let before = pond.limit;
                pond.period(jobs);
                let waited = pond.longest_wait();
                prop_assert!(waited <= Duration::from_millis(500) || pond.limit >= before, "it shrinks in a jam");
            }
            prop_assert!(pond.longest_wait() <= Duration::from_millis(500), "{:?} at {}", pond.longest_wait(), pond.limit);
        }

        #[test]
        fn whatever_is_seen_the_answer_is_within_all_bounds(
            (target, linger) in (0u64..10_000, 0u64..10_000),
            (least, most) in (0usize..100, 0usize..100),
            (min, more) in (0usize..50, 1usize..50),
            share in prop::num::f64::ANY,
            seen in prop::collection::vec(
                ((0u64..20_000, 0u64..20_000), 0usize..100, 0usize..100, 0usize..100, 0usize..100),
                1..20,
            ),
        ) {
            let bounds = Limits::new(min, min + more);
            let policy = SojournTarget::new(Duration::from_millis(target))
                .between(least, most)
                .linger(Duration::from_millis(linger))
                .hysteresis(share);
            let mut now = Timestamp::from_nanos(1);
            for ((waited, at_gate), limit, active, queued, waiting) in seen {
                now = now.after(Duration::from_secs(20));
                let mut snapshot = Snapshot::empty("any", now);
                let mut lane = LaneSnapshot::empty("default");
                let ago = |millis: u64| Timestamp::from_nanos(now.as_nanos() - millis * 1_000_000);
                lane.head_since = (queued > 0).then(|| ago(waited));
                lane.waiting_since = (waiting > 0).then(|| ago(at_gate));
                snapshot.lanes.push(lane);
                (snapshot.saturation.limit, snapshot.saturation.active) = (limit, active);
                (snapshot.saturation.queued, snapshot.saturation.waiting) = (queued, waiting);
                let wanted = policy.scale(&snapshot, bounds);
                prop_assert!((1..=bounds.max).contains(&wanted) && wanted >= bounds.min, "{wanted}");
                prop_assert!(wanted >= least.min(bounds.max), "{wanted}");
                prop_assert!(wanted <= most.max(least).max(bounds.min).max(1), "{wanted}");
            }
        }
    }
}
