//! Time: each pool carries a [`Clock`], so that tests of one process do not move each other's time.

use std::fmt;
use std::time::Duration;

use super::{Arc, OnceLock};
#[cfg(feature = "testing")]
use super::{AtomicU64, Mutex, Ordering, Weak};

/// A moment on a pool's [`Clock`], in nanoseconds since that clock's origin.
///
/// Moments of two pools on the real clock can be compared: they share the origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than every moment: "no limit".
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same in nanoseconds, without the division that a `Duration` costs.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` plus `span`; [`NEVER`](Self::NEVER) where that is further than the clock reaches (584 years).
    pub fn after(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "{:?}", Duration::from_nanos(self.0)) }
    }
}

/// What wants to know that a settable clock was moved.
pub(crate) trait Ticks: Send + Sync {
    /// One pass over everything that is due at `now`.
    fn tick(&self, now: Timestamp);
}

/// Where a pool reads the time: the machine's monotonic clock, or one that a test sets (feature `testing`).
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Real(&'static RealClock),
    #[cfg(all(feature = "process", unix, not(millpond_loom)))]
    Uncalibrated(std::time::Instant),
    #[cfg(feature = "testing")]
    Settable(Arc<Settable>),
    /// loom replays executions, so that two readings of a model must not differ.
    #[cfg(millpond_loom)]
    Fixed(Timestamp),
}

struct RealClock {
    clock: quanta::Clock,
    origin: u64,
}

static REAL: OnceLock<RealClock> = OnceLock::new();

impl Clock {
    /// The machine's monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "the home of the clock")]
    pub fn real() -> Self {
        Self(Source::Real(REAL.get_or_init(|| {
            let clock = quanta::Clock::new();
            let origin = clock.raw();
            RealClock { clock, origin }
        })))
    }

    /// The machine's monotonic clock for a process that lives briefly and reads it seldom. The other one counts the processor's own ticks,
    /// and finds out how long one is when it is first read: by turns of a microsecond, at least 500 and at most 200 ms of them.
    #[cfg(all(feature = "process", unix, not(millpond_loom)))]
    #[expect(clippy::disallowed_methods, reason = "the home of the clock")]
    pub(crate) fn uncalibrated() -> Self {
        Self(Source::Uncalibrated(std::time::Instant::now()))
    }

    /// Stands still; a model ticks its plane with the moment that it wants.
    #[cfg(millpond_loom)]
    pub(crate) const fn fixed(at: Timestamp) -> Self {
        Self(Source::Fixed(at))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn settable(clock: Arc<Settable>) -> Self {
        Self(Source::Settable(clock))
    }

    /// Now, on this clock.
    #[cfg_attr(
        all(feature = "process", unix, not(millpond_loom)),
        expect(clippy::disallowed_methods, reason = "the home of the clock")
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Real(real) => Timestamp(real.clock.delta_as_nanos(real.origin, real.clock.raw())),
            #[cfg(all(feature = "process", unix, not(millpond_loom)))]
            Source::Uncalibrated(origin) => Timestamp::default().after(origin.elapsed()),
            #[cfg(feature = "testing")]
            Source::Settable(clock) => clock.now(),
            #[cfg(millpond_loom)]
            Source::Fixed(at) => *at,
        }
    }

    /// True if only [`advance`](Settable::advance) moves it, so that nobody may sleep for it.
    pub(crate) fn is_settable(&self) -> bool {
        match self.0 {
            Source::Real(_) => false,
            #[cfg(all(feature = "process", unix, not(millpond_loom)))]
            Source::Uncalibrated(_) => false,
            #[cfg(feature = "testing")]
            Source::Settable(_) => true,
            #[cfg(millpond_loom)]
            Source::Fixed(_) => true,
        }
    }

    /// Has `ticks` told of each advance; a real clock is ticked by the timer instead.
    #[cfg_attr(not(feature = "testing"), expect(unused_variables, reason = "a real clock has no followers"))]
    pub(crate) fn follow(&self, ticks: &Arc<dyn Ticks>) {
        #[cfg(feature = "testing")]
        if let Source::Settable(clock) = &self.0 {
            clock.followers.lock().push(Arc::downgrade(ticks));
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_settable() { "settable" } else { "real" };
        write!(f, "Clock({kind}, {:?})", self.now())
    }
}

/// The state of a clock that tests move.
#[cfg(feature = "testing")]
#[derive(Default)]
pub(crate) struct Settable {
    now: AtomicU64,
    followers: Mutex<Vec<Weak<dyn Ticks>>>,
}

#[cfg(feature = "testing")]
impl Settable {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Acquire))
    }

    /// Moves the time and runs one tick of every pool on this clock, in the caller.
    pub(crate) fn advance(&self, by: Duration) {
        // Short of `NEVER`, which does not come.
        let later = |now| Timestamp(now).after(by).as_nanos().min(u64::MAX - 1);
        let before = self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(later(now)));
        let now = Timestamp(later(before.unwrap_or_else(|now| now)));
        let followers: Vec<_> = {
            let mut followers = self.followers.lock();
            followers.retain(|follower| follower.strong_count() > 0);
            followers.iter().filter_map(Weak::upgrade).collect()
        };
        for follower in followers {
            follower.tick(now);
        }
    }
}

#[cfg(all(test, feature = "testing", not(millpond_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still_at_the_end_of_time() {
        let clock = Settable::default();
        clock.advance(Duration::from_secs(1));
        clock.advance(Duration::MAX);
        let end = clock.now();
        assert!(end < Timestamp::NEVER && end > Timestamp::default().after(Duration::from_secs(3600)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), end);
    }
}
