//! Names for jobs, workers and lanes, and for who wants something.

use std::fmt;

use crate::sync::Arc;

/// The longest name of a pool, lane, hook or caller, and the longest label of a job, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// A job of one pool, numbered in the order of admission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub(crate) u64);

impl JobId {
    /// The number alone.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One incarnation of a worker: the slot that it fills, and which of that slot's workers it is.
///
/// Shown as `slot.generation`. A message about `3.7` never reaches `3.8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId {
    /// The lasting position.
    pub slot: u32,
    /// Which incarnation, from 1.
    pub generation: u32,
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// A job in a worker's hands, numbered within its incarnation, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClaimNo(pub(crate) u64);

impl fmt::Display for ClaimNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A lane's index in its pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LaneId(pub(crate) u16);

impl LaneId {
    /// The unnamed lane, which every pool has.
    pub(crate) const DEFAULT: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// On whose behalf something is asked, or was done.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum By {
    /// Nobody but the pool itself, as far as is known.
    #[default]
    Pool,
    /// Whoever sent a control message, by the name that it was [sent with](crate::PoolExecutor::by), if it was. Nobody checks names.
    Operator(Option<Arc<str>>),
    /// The limits' idle timeout.
    IdleTimeout,
    /// The rule by which workers are recycled.
    Recycling,
    /// The watchdog, for a job that makes no progress.
    Watchdog,
    /// The autoscaler.
    Autoscaler,
    /// The restart policy.
    RestartPolicy,
    /// The run limit of a job.
    RunLimit,
}

impl By {
    /// A name is for the record, and no reason to refuse what is asked for: one that is too long is cut.
    pub(crate) fn operator(name: &str) -> Self {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        Self::Operator((!name.is_empty()).then(|| Arc::from(name)))
    }

    /// The name of an operator who gave one.
    pub fn name(&self) -> Option<&str> {
        if let Self::Operator(name) = self { name.as_deref() } else { None }
    }
}

impl fmt::Display for By {
    /// The operator's name, or in a word or two who it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "pool",
            Self::Operator(name) => name.as_deref().unwrap_or("operator"),
            Self::IdleTimeout => "idle timeout",
            Self::Recycling => "recycling rule",
            Self::Watchdog => "watchdog",
            Self::Autoscaler => "autoscaler",
            Self::RestartPolicy => "restart policy",
            Self::RunLimit => "run limit",
        })
    }
}
