//! When jobs of a label are kept out for a while.

use std::time::Duration;

use super::{ConfigError, check_limit};

/// When jobs of a label are kept out: after so many workers were lost under them within a time, and for how long. See
/// [`PoolBuilder::quarantine`](crate::PoolBuilder::quarantine).
///
/// Whoever submits one meanwhile gets it back, with [`RejectReason::Quarantined`](crate::RejectReason::Quarantined); one that is queued already, or was to be
/// delivered again, is dead-lettered when its turn comes, and says why. When the time is over the label is released, and its count begins anew.
/// Jobs without a label are never kept out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Quarantine {
    /// So many workers.
    pub deaths: u32,
    /// Lost within this time.
    pub within: Duration,
    /// How long the label is kept out.
    pub lasts: Duration,
}

impl Quarantine {
    /// After so many lost workers within a minute, for a minute. Zero is a build error.
    pub const fn new(deaths: u32) -> Self {
        Self { deaths, within: Duration::from_secs(60), lasts: Duration::from_secs(60) }
    }

    /// Within which time they have to be lost. Zero is a build error.
    #[must_use]
    pub const fn within(mut self, span: Duration) -> Self {
        self.within = span;
        self
    }

    /// For how long. Zero is a build error.
    #[must_use]
    pub const fn lasts(mut self, span: Duration) -> Self {
        self.lasts = span;
        self
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.deaths == 0 {
            return Err(ConfigError::ZeroLimit("number of lost workers before a quarantine"));
        }
        check_limit("time within which they count for a quarantine", Some(self.within))?;
        check_limit("duration of a quarantine", Some(self.lasts))
    }
}

impl Default for Quarantine {
    /// After ten lost workers within a minute, for a minute.
    fn default() -> Self {
        Self::new(10)
    }
}
