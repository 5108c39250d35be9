//! What a pool is told before it starts: limits, lanes, time limits.

mod change;
mod error;
mod quarantine;
mod recycle;

pub(crate) use change::change_lanes;
pub use change::{InForce, LaneChange, Retuned};
pub use error::ConfigError;
pub use quarantine::Quarantine;
pub use recycle::Recycle;

use std::fmt;
use std::time::Duration;

pub(crate) use crate::id::MAX_NAME;
use crate::sync::{Arc, Clock};

/// More workers than this is a mistake, not a limit.
pub(crate) const MAX_WORKERS: usize = 1 << 20;
/// The most lanes that one pool can have.
pub(crate) const MAX_LANES: usize = 64;

/// The largest stack of a thread, in bytes: 64 GiB, or 1 GiB where addresses have 32 bits. More is a mistake, not a size.
pub(crate) const MAX_STACK: usize = if usize::BITS > 32 { (1 << 30) * 64 } else { 1 << 30 };

const DEFAULT_CAPACITY: usize = 1024;
const DEFAULT_ADMISSION_LIMIT: Duration = Duration::from_secs(30);
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many workers a pool may have, and how long one may idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Workers that are kept up even when idle.
    pub min: usize,
    /// Workers that may run at once: the pool's limit.
    pub max: usize,
    /// How long a worker above `min` may idle before it leaves; `None`: for ever. Default 30 s.
    pub idle_timeout: Option<Duration>,
    /// Workers that idle, or come up, while fewer than `max` are there; see the method of this name. Default 0.
    pub min_idle: usize,
}

impl Limits {
    /// Between `min` and `max` workers, started on demand.
    pub const fn new(min: usize, max: usize) -> Self {
        Self { min, max, idle_timeout: Some(DEFAULT_IDLE_TIMEOUT), min_idle: 0 }
    }

    /// Always `workers` workers.
    pub const fn fixed(workers: usize) -> Self {
        Self::new(workers, workers)
    }

    /// Sets how long a worker above `min` may idle; `None`: for ever.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Keeps `workers` warm spares: while the pool has fewer than `max` workers, at least so many idle or come up. When some of them get work, leave or
    /// die, others are started, and none leaves for idling that would leave fewer. So a job that comes finds a worker, as long as there is room, and a
    /// worker that is killed, or whose process dies, has its replacement there. 0, the default: workers are started when a job needs one. More than `max`
    /// is refused.
    ///
    /// What spares do not do: they keep no seat free once `max` workers are busy, nor for one lane (that is its [reserve](Lane::reserve), whose idle workers
    /// count among the spares). Slots that back off or cool down, starts that a hook denies or puts off, and abandoned workers beyond their cap, are
    /// room that is not there. A pool that is quiesced, drains or shuts down starts none.
    #[must_use]
    pub const fn min_idle(mut self, workers: usize) -> Self {
        self.min_idle = workers;
        self
    }
}

impl Default for Limits {
    /// Up to as many workers as the machine runs in parallel, all of them kept up.
    fn default() -> Self {
        Self::fixed(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.min, self.max)?;
        match self.min_idle {
            0 => Ok(()),
            spares => write!(f, ", {spares} of them idle"),
        }
    }
}

/// What a full lane does to [`submit`](crate::Executor::submit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WhenFull {
    /// The submitter waits at the gate, at most the lane's admission limit.
    Wait,
    /// The job comes back at once.
    Reject,
}

/// A named class of jobs with its own queue, bound, reserve and time limits.
///
/// Every pool has a lane called `default`; jobs that name no lane go there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Lane {
    /// Its name.
    pub name: Arc<str>,
    /// The bound of its queue; see the method of this name, here and below.
    pub capacity: usize,
    /// Seats that no other lane takes.
    pub reserve: usize,
    /// What a full lane does to whoever comes.
    pub when_full: WhenFull,
    /// How long a submitter may wait at the gate.
    pub admission_limit: Option<Duration>,
    /// How long an admitted job may wait for a worker.
    pub queue_limit: Option<Duration>,
    /// How long a job may run.
    pub run_limit: Option<Duration>,
    /// How long a job may make no progress.
    pub overdue_after: Option<Duration>,
}

impl Lane {
    /// A lane with a queue of 1,024 jobs, no reserve, whose submitters wait at most 30 s at the gate.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self {
            name: Arc::from(name.as_ref()),
            capacity: DEFAULT_CAPACITY,
            reserve: 0,
            when_full: WhenFull::Wait,
            admission_limit: Some(DEFAULT_ADMISSION_LIMIT),
            queue_limit: None,
            run_limit: None,
            overdue_after: None,
        }
    }

    /// Bounds the queue to `jobs` jobs, running ones not counted. Zero hands over directly: a job is
    /// admitted only for a worker that is free or can be started.
    #[must_use]
    pub fn capacity(mut self, jobs: usize) -> Self {
        self.capacity = jobs;
        self
    }

    /// Keeps `seats` seats free for this lane: no other lane takes them. Needs `min` workers of at least the sum of all reserves.
    #[must_use]
    pub fn reserve(mut self, seats: usize) -> Self {
        self.reserve = seats;
        self
    }

    /// Hands the job back at once when the lane is full, instead of letting the submitter wait.
    #[must_use]
    pub fn reject_when_full(mut self) -> Self {
        self.when_full = WhenFull::Reject;
        self
    }

    /// How long a submitter may wait at the gate; `None`: for ever. Default 30 s.
    #[must_use]
    pub fn admission_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.admission_limit = limit.into();
        self
    }

    /// How long an admitted job may wait for a worker; `None`, the default: for ever.
    #[must_use]
    pub fn queue_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.queue_limit = limit.into();
        self
    }

    /// How long a job may run before its outcome is `TimedOut` and the ladder starts on its worker; `None`, the default: for ever.
    #[must_use]
    pub fn run_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.run_limit = limit.into();
        self
    }

    /// How long a job may make no progress before it is *overdue*; `None`, the default: for ever. Its start is progress, and so is each
    /// [`JobContext::beat`](crate::JobContext::beat). What follows is the pool's [`Watchdog`](crate::Watchdog)'s: a warning, then its
    /// ladder. A job that is to have such a limit has to beat, or to be shorter.
    #[must_use]
    pub fn overdue_after(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.overdue_after = span.into();
        self
    }
}

/// How long a worker has to end, unless it is said.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(1);

/// Everything that a pool is told before it starts, except its policies.
#[derive(Clone, Debug)]
pub(crate) struct PoolConfig {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    /// The unnamed lane is the first.
    pub(crate) lanes: Vec<Lane>,
    /// `None`: `max`, at build or now, whichever is larger.
    pub(crate) abandoned_cap: Option<usize>,
    pub(crate) start_limit: Duration,
    pub(crate) kill_grace: Duration,
    pub(crate) shutdown_limit: Duration,
    pub(crate) recycle: Recycle,
    pub(crate) quarantine: Option<Quarantine>,
    pub(crate) clock: Clock,
}

impl PoolConfig {
    pub(crate) fn new(name: &str) -> Self {
        let limits = Limits::default();
        Self {
            name: Arc::from(name),
            limits,
            lanes: vec![Lane::new("default")],
            abandoned_cap: None,
            start_limit: Duration::from_secs(30),
            kill_grace: KILL_GRACE,
            shutdown_limit: Duration::from_secs(30),
            recycle: Recycle::default(),
            quarantine: Some(Quarantine::default()),
            clock: Clock::real(),
        }
    }

    /// Checks everything; the first conflict is named.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_name("pool", &self.name)?;
        if self.name.contains('\0') {
            return Err(ConfigError::NulInName(self.name.to_string()));
        }
        if self.lanes.len() > MAX_LANES {
            return Err(ConfigError::TooManyLanes(self.lanes.len()));
        }
        for (index, lane) in self.lanes.iter().enumerate() {
            check_name("lane", &lane.name)?;
            if self.lanes[..index].iter().any(|other| other.name == lane.name) {
                return Err(ConfigError::DuplicateLane(lane.name.to_string()));
            }
            check_lane(lane)?;
        }
        check_limit("start limit", Some(self.start_limit))?;
        self.recycle.validate()?;
        self.quarantine.as_ref().map_or(Ok(()), Quarantine::validate)?;
        check_limits(&self.limits, &self.lanes)
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), ConfigError> {
    match name.len() {
        1..=MAX_NAME => Ok(()),
        bytes => Err(ConfigError::BadName { what, bytes }),
    }
}

pub(crate) fn check_limit(what: &'static str, limit: Option<Duration>) -> Result<(), ConfigError> {
    match limit {
        Some(limit) if limit.is_zero() => Err(ConfigError::ZeroLimit(what)),
        _ => Ok(()),
    }
}

/// Checks a lane's time limits.
fn check_lane(lane: &Lane) -> Result<(), ConfigError> {
    let limits = [
        ("queue limit", lane.queue_limit),
        ("run limit", lane.run_limit),
        ("overdue limit", lane.overdue_after),
        ("admission limit", lane.admission_limit),
    ];
    match limits.into_iter().find(|(_, limit)| limit.is_some_and(|limit| limit.is_zero())) {
        Some((what, _)) => Err(ConfigError::ZeroLaneLimit { lane: lane.name.to_string(), what }),
        None => Ok(()),
    }
}

/// Checks limits against each other and against the reserves.
pub(crate) fn check_limits(limits: &Limits, lanes: &[Lane]) -> Result<(), ConfigError> {
    let Limits { min, max, idle_timeout, min_idle } = *limits;
    check_limit("idle timeout", idle_timeout)?;
    if max == 0 {
        return Err(ConfigError::NoWorkers);
    }
    if max > MAX_WORKERS {
        return Err(ConfigError::TooManyWorkers { max });
    }
    if min > max {
        return Err(ConfigError::MinAboveMax { min, max });
    }
    if min_idle > max {
        return Err(ConfigError::MinIdleAboveMax { min_idle, max });
    }
    let reserved = reserved(lanes);
    if reserved > min {
        return Err(ConfigError::ReservesAboveMin { reserved, lanes: reserving(lanes), min });
    }
    match lanes.iter().find(|lane| lane.reserve == 0) {
        Some(starved) if reserved >= max => {
            Err(ConfigError::ReservesStarve { max, lanes: reserving(lanes), starved: starved.name.to_string() })
        }
        _ => Ok(()),
    }
}

/// The smallest `max` that goes with these limits' `min`, their spares and the reserves.
pub(crate) fn least_max(limits: &Limits, lanes: &[Lane]) -> usize {
    let reserved = reserved(lanes);
    let starves = lanes.iter().any(|lane| lane.reserve == 0);
    limits.min.max(limits.min_idle).max(reserved + usize::from(starves)).clamp(1, limits.max)
}

fn reserved(lanes: &[Lane]) -> usize {
    lanes.iter().fold(0usize, |sum, lane| sum.saturating_add(lane.reserve))
}

fn reserving(lanes: &[Lane]) -> String {
    let parts: Vec<_> =
        lanes.iter().filter(|lane| lane.reserve > 0).map(|lane| format!("`{}` {}", lane.name, lane.reserve)).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_that_do_not_fit_are_refused_by_name() {
        let mut config = PoolConfig::new("io");
        config.limits = Limits::new(1, 4);
        config.lanes.push(Lane::new("dns").reserve(2));
        let error = config.validate().unwrap_err();
        assert!(error.to_string().contains("`dns` 2"), "{error}");
        config.limits = Limits::fixed(2);
        assert!(matches!(config.validate(), Err(ConfigError::ReservesStarve { max: 2, .. })));
        config.limits = Limits::fixed(3);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn absurd_limits_are_refused() {
        for (limits, error) in [
            (Limits::fixed(0), ConfigError::NoWorkers),
            (Limits::new(3, 2), ConfigError::MinAboveMax { min: 3, max: 2 }),
            (Limits::new(1, 2).min_idle(3), ConfigError::MinIdleAboveMax { min_idle: 3, max: 2 }),
            (Limits::fixed(usize::MAX), ConfigError::TooManyWorkers { max: usize::MAX }),
            (Limits::fixed(1).idle_timeout(Duration::ZERO), ConfigError::ZeroLimit("idle timeout")),
        ] {
            assert_eq!(check_limits(&limits, &[Lane::new("default")]), Err(error));
        }
    }

    #[test]
    fn duplicate_lanes_and_bad_names_are_refused() {
        let mut config = PoolConfig::new("io");
        config.lanes.push(Lane::new("default"));
        assert_eq!(config.validate(), Err(ConfigError::DuplicateLane("default".into())));
        assert!(matches!(PoolConfig::new("").validate(), Err(ConfigError::BadName { what: "pool", bytes: 0 })));
    }
}
