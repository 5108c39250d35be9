//! Contracts of what decides: pure, given `now`. Core has one sane default of each; `millpond-supervisors` has more.

use std::fmt;
use std::time::Duration;

use crate::error::{Chain, StartError};
use crate::id::WorkerId;
use crate::snapshot::Seconds;
use crate::sync::{Arc, Timestamp};

/// Why an incarnation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// It was told to stop, by a shrink, a stop or a shutdown, and did.
    Retired,
    /// It had idled for longer than the idle timeout.
    IdleTimeout,
    /// Nothing was wrong with it: it was replaced, as [`Recycle`](crate::Recycle) says.
    Recycled(RecycleReason),
    /// A job panicked and left its state suspect.
    Panicked,
    /// It was killed, with who asked.
    Killed(Arc<str>),
    /// Its job was overdue: it had made no progress for so long when the ladder took it, or told it to leave.
    Stuck(Duration),
    /// It never came up.
    FailedToStart(Arc<StartError>),
    /// It vanished without a word.
    Lost,
    /// The runtime that hosted it is gone.
    RuntimeGone,
}

impl Exit {
    /// True if a policy is asked about it: the worker did not leave because somebody wanted it to.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Panicked | Self::FailedToStart(_) | Self::Lost)
    }

    /// Who or what ended a worker, as the error of its job says it.
    pub(crate) fn blame(&self) -> Arc<str> {
        if let Self::Killed(by) = self { by.clone() } else { Arc::from(self.to_string()) }
    }

    /// How long its job had made no progress, if that is why.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        if let Self::Stuck(span) = self { Some(*span) } else { None }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retired => f.write_str("retired"),
            Self::IdleTimeout => f.write_str("idle for too long"),
            Self::Recycled(reason) => write!(f, "recycled {reason}"),
            Self::Panicked => f.write_str("panicked"),
            Self::Killed(by) => write!(f, "killed: {by}"),
            Self::Stuck(span) => write!(f, "stuck: no progress for {}", Seconds(*span)),
            Self::FailedToStart(error) => write!(f, "failed to start: {}", Chain(&**error)),
            Self::Lost => f.write_str("lost"),
            Self::RuntimeGone => f.write_str("its runtime is gone"),
        }
    }
}

/// Why a worker is to be recycled, with what it had come to when it became due; in its exit, when it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecycleReason {
    /// It had run so many jobs.
    Jobs(u64),
    /// It was so old.
    Age(Duration),
    /// It had idled for so long.
    Idle(Duration),
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(jobs) => write!(f, "after {jobs} jobs"),
            Self::Age(age) => write!(f, "at an age of {}", Seconds(*age)),
            Self::Idle(span) => write!(f, "idle for {}", Seconds(*span)),
        }
    }
}

/// What a slot has been through: all that a restart policy knows beside `now` and the exit.
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
    /// Faults since the slot was last healthy for as long as [`RestartPolicy::healthy_after`], this one included.
    pub streak: u32,
}

impl SlotHistory {
    /// How many moments of faults are kept.
    pub const KEPT: usize = 64;

    /// The history of a slot whose incarnation just ended. For tests of policies.
    pub fn new(worker: WorkerId, started_at: Timestamp) -> Self {
        Self { worker, started_at, ready_at: None, faults: Vec::new(), streak: 0 }
    }

    /// Records a fault at `now`; the streak begins anew if the incarnation had been up for `healthy_after`.
    pub fn fault(&mut self, now: Timestamp, healthy_after: Duration) {
        let healthy = self.ready_at.is_some_and(|ready| now.since(ready) >= healthy_after);
        self.streak = if healthy { 1 } else { self.streak.saturating_add(1) };
        if self.faults.len() == Self::KEPT {
            self.faults.remove(0);
        }
        self.faults.push(now);
    }

    /// Faults within the last `window`.
    pub fn faults_within(&self, now: Timestamp, window: Duration) -> usize {
        self.faults.iter().filter(|&&at| now.since(at) <= window).count()
    }
}

/// What becomes of a slot whose worker ended by a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Restart {
    /// A new incarnation after this long. Zero: at once.
    After(Duration),
    /// The slot is out of budget: it stays empty this long, and the pool is degraded meanwhile.
    CoolDown(Duration),
    /// The slot stays empty for good, and the pool is degraded.
    Never,
    /// The pool is given up: its actor fails, and its parent decides.
    Escalate(String),
}

/// Decides what becomes of a slot whose worker ended by a fault. Asked on a side thread, never on the control thread, and about one
/// slot of its pool at a time.
///
/// One that panics, takes longer than a second from when it is asked, or asks for a delay of over a day is replaced by the default and
/// reported.
pub trait RestartPolicy: Send + Sync + 'static {
    /// What to do about `exit` of the slot with this history, at `now`.
    fn decide(&self, now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart;

    /// How long an incarnation has to be up for its slot's streak of faults to begin anew.
    fn healthy_after(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Core's default: a jittered exponential back-off and a budget for each slot on its own, so that no bad slot takes
/// the pool, and a hundred workers that each crash once do not either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlotBackoff {
    /// The first delay after the free retry.
    pub(crate) base: Duration,
    /// The longest delay.
    pub(crate) cap: Duration,
    /// Faults that a slot may have within `window`.
    pub(crate) budget: usize,
    /// The window of the budget.
    pub(crate) window: Duration,
    /// How long a slot out of budget stays empty.
    pub(crate) cool_down: Duration,
}

impl Default for SlotBackoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(5),
            budget: 20,
            window: Duration::from_secs(60),
            cool_down: Duration::from_secs(30),
        }
    }
}

impl RestartPolicy for SlotBackoff {
    fn decide(&self, now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        if slot.faults_within(now, self.window) > self.budget {
            return Restart::CoolDown(self.cool_down);
        }
        // The first fault of a streak is replaced at once: one crash is no pattern.
        let Some(doublings) = slot.streak.checked_sub(2) else { return Restart::After(Duration::ZERO) };
        let delay = self.base.saturating_mul(1 << doublings.min(20)).min(self.cap);
        Restart::After(delay.mul_f64(jitter(slot.worker, slot.streak)))
    }
}

/// Between 0.5 and 1.0, the same for the same slot and streak, so that the policy stays pure and tests repeatable.
///
/// Source of the mixing: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (SplitMix64).
pub fn jitter(worker: WorkerId, streak: u32) -> f64 {
    let mut z = (u64::from(worker.slot) << 32 | u64::from(streak)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    0.5 + (z >> 11) as f64 / (1u64 << 54) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId { slot: 3, generation: 1 };

    #[test]
    fn delays_grow_by_doubling_up_to_the_cap_and_reset_after_health() {
        let policy = SlotBackoff::default();
        let mut now = Timestamp::from_nanos(1);
        let mut slot = SlotHistory::new(WORKER, now);
        let mut delays = Vec::new();
        for _ in 0..10 {
            slot.fault(now, policy.healthy_after());
            match policy.decide(now, &slot, &Exit::Lost) {
                Restart::After(delay) => delays.push(delay),
                other => panic!("{other:?}"),
            }
            now = now.after(Duration::from_secs(4));
        }
        assert_eq!(delays[0], Duration::ZERO);
        for pair in delays[1..8].windows(2) {
            let ratio = pair[1].as_secs_f64() / pair[0].as_secs_f64();
            assert!((1.0..4.0).contains(&ratio) || pair[1] > policy.cap / 2, "{delays:?}");
        }
        assert!(delays.iter().all(|&delay| delay <= policy.cap));
        slot.ready_at = Some(now);
        slot.fault(now.after(policy.healthy_after()), policy.healthy_after());
        assert_eq!(policy.decide(now, &slot, &Exit::Lost), Restart::After(Duration::ZERO));
    }

    #[test]
    fn a_slot_out_of_budget_cools_down() {
        let policy = SlotBackoff::default();
        let now = Timestamp::from_nanos(1);
        let mut slot = SlotHistory::new(WORKER, now);
        for _ in 0..=policy.budget {
            slot.fault(now, policy.healthy_after());
        }
        assert_eq!(policy.decide(now, &slot, &Exit::Lost), Restart::CoolDown(policy.cool_down));
    }
}
