//! When a worker is replaced although nothing is wrong with it.

use std::time::Duration;

use super::ConfigError;

/// When a worker is replaced by a new one although nothing is wrong with it: after so many jobs, at an age, or when it has idled for so
/// long. The default is never. Whatever leaks or goes stale in a worker's state is gone with it.
///
/// A worker that is *due* goes when its turn comes: one at a time, after the job in its hands, and when the pool can spare it. Until then
/// it takes jobs as before, so all of these are "from then on", and not "exactly then". No job is lost, the pool does not fall below
/// `min` (where `max` leaves room, another worker is up first), and no restart policy counts it. The exit is
/// [`Exit::Recycled`](crate::Exit::Recycled). A hook may [deny](crate::Question::Recycle) it, for a minute each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recycle {
    pub(crate) after_jobs: Option<u64>,
    pub(crate) after_age: Option<Duration>,
    pub(crate) after_idle: Option<Duration>,
}

impl Recycle {
    /// Never.
    pub fn new() -> Self {
        Self::default()
    }

    /// When it has run so many jobs. Zero is a build error.
    #[must_use]
    pub fn after_jobs(mut self, jobs: u64) -> Self {
        self.after_jobs = Some(jobs);
        self
    }

    /// When it is so old; jittered: each worker is due at a moment of its own between three quarters of `age` and the whole, so that those
    /// who came together do not go together. Zero is a build error.
    #[must_use]
    pub fn after_age(mut self, age: Duration) -> Self {
        self.after_age = Some(age);
        self
    }

    /// When it has idled for so long. Above `min` the idle timeout of [`Limits`](crate::Limits) makes workers leave without another in
    /// their place; this is for those that stay. Zero is a build error.
    #[must_use]
    pub fn after_idle(mut self, span: Duration) -> Self {
        self.after_idle = Some(span);
        self
    }

    pub(crate) fn is_never(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let zeros = [
            (self.after_jobs == Some(0), "jobs"),
            (self.after_age == Some(Duration::ZERO), "age"),
            (self.after_idle == Some(Duration::ZERO), "idle time"),
        ];
        zeros.into_iter().find(|(zero, _)| *zero).map_or(Ok(()), |(_, what)| Err(ConfigError::ZeroRecycle(what)))
    }
}
