//! When a worker is replaced although nothing is wrong with it.

use std::time::Duration;

use super::ConfigError;

/// When a worker is replaced by a new one although nothing is wrong with it: after so many jobs, at an age, when it has idled for so
/// long, or when its process or its guest has grown so large. The default is never. Whatever leaks or goes stale in a worker's state is gone with it.
///
/// A worker that is *due* goes when its turn comes: one at a time, after the job in its hands, and when the pool can spare it. Until then
/// it takes jobs as before, so all of these are "from then on", and not "exactly then". No job is lost, the pool does not fall below
/// `min` (where `max` leaves room, another worker is up first, and stays until then, however long it idles), and no restart policy counts it. The exit is
/// [`Exit::Recycled`](crate::Exit::Recycled). A hook may [deny](crate::Question::Recycle) it, for a minute each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recycle {
    pub(crate) after_jobs: Option<u64>,
    pub(crate) after_age: Option<Duration>,
    pub(crate) after_idle: Option<Duration>,
    pub(crate) above_memory: Option<u64>,
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

    /// When its process has more than so many bytes of memory in use (resident, as [`Facts::resident_memory`](crate::Facts::resident_memory)
    /// has it), or the guest in its instance has ([`Facts::guest_memory`](crate::Facts::guest_memory)). That is looked at once a second, on a side thread, so one may grow past the bound by what it
    /// takes in a second and more: what it cannot pass is a limit of its `ChildOptions`, or of its engine. The bound should be well above what a
    /// new process or guest takes, or each is replaced as soon as it is up. Where each job has an instance of its own, there is none to be looked at between jobs.
    ///
    /// Of processes on Linux only: elsewhere none is due for this. Zero is a build error, and so is a pool whose workers are neither processes nor instances of an engine that limits their memory.
    #[cfg(any(feature = "guest", feature = "process"))]
    #[must_use]
    pub fn above_memory(mut self, bytes: u64) -> Self {
        self.above_memory = Some(bytes);
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
            (self.above_memory == Some(0), "bytes"),
        ];
        zeros.into_iter().find(|(zero, _)| *zero).map_or(Ok(()), |(_, what)| Err(ConfigError::ZeroRecycle(what)))
    }
}
