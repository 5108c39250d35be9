//! The clocks that a command sees.

use std::time::Duration;

use wasmtime_wasi::clocks::WallClock;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use crate::sync::{Arc, AtomicU64, Clock, Ordering, Timestamp};

/// The time of one run. Clones are the same.
#[derive(Clone)]
pub(super) enum Time {
    /// It stands still, but for what sleeps put it forward: nanoseconds since the run began, and since 1970.
    Still(Arc<AtomicU64>),
    /// The system's. The monotonic clock's zero is when the run began.
    Real(Clock, Timestamp),
}

impl Time {
    pub(super) fn still() -> Self {
        Self::Still(Arc::new(AtomicU64::new(0)))
    }

    pub(super) fn real() -> Self {
        let clock = Clock::real();
        let begun = clock.now();
        Self::Real(clock, begun)
    }

    /// Puts a clock that stands still forward. The run's own thread alone does that, and reads it.
    pub(super) fn skip(&self, span: Duration) {
        if let Self::Still(nanos) = self {
            let ahead = self.monotonic().saturating_add(span);
            nanos.store(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Since the run began.
    pub(super) fn monotonic(&self) -> Duration {
        match self {
            Self::Still(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
            Self::Real(clock, begun) => clock.now().since(*begun),
        }
    }

    /// Since 1970.
    pub(super) fn wall(&self) -> Duration {
        match self {
            Self::Still(_) => self.monotonic(),
            Self::Real(..) => WallClock::new().now(),
        }
    }
}

impl HostMonotonicClock for Time {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl HostWallClock for Time {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.wall()
    }
}
