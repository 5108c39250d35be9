//! Contracts of what decides: pure, given `now`. Core has one sane default of each; `millpond-supervisors` has more.

mod history;
mod quarantine;
mod redelivery;

pub use history::{PoolHistory, SlotHistory};
pub(crate) use quarantine::Labels;
pub use redelivery::Redelivery;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "process")]
use crate::error::Death;
use crate::error::StartError;
use crate::id::{JobId, WorkerId};
use crate::snapshot::{Rung, Seconds};
use crate::sync::{Arc, Timestamp};

/// Why an incarnation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// It left by itself, in good order: [`WorkerContext::finish`](crate::WorkerContext::finish).
    Finished,
    /// It was told to leave, by a shrink or a shutdown, and did.
    Retired,
    /// Rung *stop* of a ladder: it was told to leave after its job, and did. With who asked.
    Stopped(Arc<str>),
    /// It had idled for longer than the idle timeout.
    IdleTimeout,
    /// Nothing was wrong with it: it was replaced, as [`Recycle`](crate::Recycle) says.
    Recycled(RecycleReason),
    /// A job panicked and left its state suspect.
    Panicked,
    /// Rung *kill* of a ladder, with who asked.
    Killed(Arc<str>),
    /// Its job was overdue: the [`Watchdog`](crate::Watchdog)'s ladder took it, or told it to leave after its job.
    Stuck {
        /// How long the job had made no progress by then.
        silent_for: Duration,
        /// Which rung did it: [`Rung::Kill`] or [`Rung::Stop`].
        rung: Rung,
    },
    /// It never came up.
    FailedToStart(Arc<StartError>),
    /// It vanished without a word.
    Lost,
    /// Its process died unasked.
    #[cfg(feature = "process")]
    Died(Arc<Death>),
    /// It was lost under a job that may be delivered more than once. The job answers for that, by its deliveries, and the slot does not: no
    /// policy is asked. See [`JobOptions::redeliver`](crate::JobOptions::redeliver).
    TakenAlong {
        /// The job.
        job: JobId,
        /// What it would have been otherwise.
        exit: Arc<Exit>,
    },
    /// The runtime that hosted it is gone.
    RuntimeGone,
}

impl Exit {
    /// True if a policy is asked about it: the worker did not leave because somebody wanted it to.
    pub fn is_fault(&self) -> bool {
        #[cfg(feature = "process")]
        if let Self::Died(_) = self {
            return true;
        }
        matches!(self, Self::Panicked | Self::FailedToStart(_) | Self::Lost)
    }

    /// Who or what ended a worker, as the error of its job says it.
    pub(crate) fn blame(&self) -> Arc<str> {
        if let Self::Killed(by) | Self::Stopped(by) = self { by.clone() } else { Arc::from(self.to_string()) }
    }

    /// What it is if the worker leaves when it is told to, and need not be taken.
    pub(crate) fn when_told(&self) -> Self {
        if let Self::Killed(by) = self { Self::Stopped(by.clone()) } else { self.clone() }
    }

    /// How its process ended, if that is why.
    #[cfg(feature = "process")]
    pub(crate) fn death(&self) -> Option<Arc<Death>> {
        match self {
            Self::Died(death) => Some(death.clone()),
            Self::TakenAlong { exit, .. } => exit.death(),
            _ => None,
        }
    }

    /// True if nobody wanted it: the worker vanished, or its process died.
    pub(crate) fn is_loss(&self) -> bool {
        #[cfg(feature = "process")]
        if let Self::Died(_) = self {
            return true;
        }
        matches!(self, Self::Lost)
    }

    /// How long its job had made no progress, if that is why.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        if let Self::Stuck { silent_for, .. } = self { Some(*silent_for) } else { None }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Retired => f.write_str("retired"),
            Self::Stopped(by) => write!(f, "stopped: {by}"),
            Self::IdleTimeout => f.write_str("idle for too long"),
            Self::Recycled(reason) => write!(f, "recycled {reason}"),
            Self::Panicked => f.write_str("panicked"),
            Self::Killed(by) => write!(f, "killed: {by}"),
            Self::Stuck { silent_for, rung } => {
                let silent_for = Seconds(*silent_for);
                write!(f, "stuck: no progress for {silent_for}, by rung {rung} of the watchdog's ladder")
            }
            Self::FailedToStart(error) => write!(f, "failed to start: {}", error.told()),
            Self::Lost => f.write_str("lost"),
            #[cfg(feature = "process")]
            Self::Died(death) => death.fmt(f),
            Self::TakenAlong { job, exit } => write!(f, "{exit}; job {job}, which it had, answers for that"),
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
    /// Its process, or its guest, had so many bytes of memory in use, when that was last read.
    Memory(u64),
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(jobs) => write!(f, "after {jobs} jobs"),
            Self::Age(age) => write!(f, "at an age of {}", Seconds(*age)),
            Self::Idle(span) => write!(f, "idle for {}", Seconds(*span)),
            Self::Memory(bytes) => write!(f, "with {bytes} bytes of memory in use"),
        }
    }
}

/// What becomes of a slot whose worker ended by a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Restart {
    /// A new incarnation after this long. Zero: at once.
    After(Duration),
    /// The slot is out of budget: it stays empty this long, and the pool is degraded meanwhile. Then one incarnation is tried as a probe: up
    /// for [`RestartPolicy::healthy_after`], the slot is back, and [`PoolEvent::ProbeSucceeded`](crate::PoolEvent::ProbeSucceeded) says so; what a fault before that costs is the policy's to say, who finds the
    /// slot's [`cool_downs`](SlotHistory::cool_downs) counted.
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

    /// How long an incarnation has to be up for its slot's streak of faults to begin anew, and for a probe to have succeeded.
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
    /// Faults in a row that a slot may have within `window`.
    pub(crate) budget: usize,
    /// The window of the budget.
    pub(crate) window: Duration,
    /// How long a slot out of budget stays empty the first time; doubled with each probe that fails.
    pub(crate) cool_down: Duration,
    /// The longest that it stays empty.
    pub(crate) longest_cool_down: Duration,
}

impl Default for SlotBackoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(5),
            budget: 20,
            window: Duration::from_secs(60),
            cool_down: Duration::from_secs(30),
            longest_cool_down: Duration::from_secs(300),
        }
    }
}

impl RestartPolicy for SlotBackoff {
    fn decide(&self, now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        let spent = slot.faults_within(now, self.window) > self.budget && slot.streak as usize > self.budget;
        if spent || slot.is_probe() {
            let delay = self.cool_down.saturating_mul(1 << slot.cool_downs.min(20)).min(self.longest_cool_down);
            return Restart::CoolDown(delay.mul_f64(jitter(slot.worker, slot.streak)));
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
    spread(u64::from(worker.slot) << 32 | u64::from(streak))
}

/// The same of any number.
fn spread(number: u64) -> f64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
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

    /// Out of budget it cools down; each probe that fails makes that longer, and one that is up for long enough ends it.
    #[test]
    fn a_slot_out_of_budget_cools_down_for_longer_each_time_until_a_probe_is_healthy() {
        let policy = SlotBackoff::default();
        let mut now = Timestamp::from_nanos(1);
        let mut slot = SlotHistory::new(WORKER, now);
        let fault = |slot: &mut SlotHistory, now| {
            slot.fault(now, policy.healthy_after());
            let restart = policy.decide(now, slot, &Exit::Lost);
            slot.decided(&restart);
            restart
        };
        for _ in 0..policy.budget {
            assert!(matches!(fault(&mut slot, now), Restart::After(_)));
        }
        let mut longest = policy.cool_down;
        for _ in 0..6 {
            let Restart::CoolDown(delay) = fault(&mut slot, now) else { panic!("it is out of budget, or was a probe") };
            assert!((longest / 2..=longest).contains(&delay), "{delay:?} of {longest:?}");
            longest = (longest * 2).min(policy.longest_cool_down);
            now = now.after(delay);
            slot.ready_at = Some(now);
        }
        now = now.after(policy.healthy_after());
        assert_eq!(fault(&mut slot, now), Restart::After(Duration::ZERO));
    }
}
