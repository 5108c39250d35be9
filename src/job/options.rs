//! What a submitter says of a job: label, lane, limits.

use std::panic::Location;
use std::time::Duration;

use crate::policy::Redelivery;
use crate::sync::{Arc, Timestamp};

/// A label, a lane and time limits for one job. The default names nothing and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    pub(crate) label: Option<Arc<str>>,
    pub(crate) lane: Option<Arc<str>>,
    pub(crate) queue_limit: Option<Duration>,
    pub(crate) run_limit: Option<Duration>,
    pub(crate) overdue_after: Option<Duration>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) redelivery: Option<Redelivery>,
    pub(crate) site: Option<&'static Location<'static>>,
}

/// The options of a job that is submitted without any.
pub(crate) static PLAIN: JobOptions = JobOptions {
    label: None,
    lane: None,
    queue_limit: None,
    run_limit: None,
    overdue_after: None,
    deadline: None,
    redelivery: None,
    site: None,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    In(Duration),
    At(Timestamp),
}

impl JobOptions {
    /// No label, the default lane, the lane's limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if nothing is named, the line that submits apart.
    pub(crate) fn is_plain(&self) -> bool {
        self.lane.is_none() && self.has_no_terms()
    }

    /// True if nothing is named, the lane and the line that submits apart.
    pub(crate) fn has_no_terms(&self) -> bool {
        let Self { label, lane: _, queue_limit, run_limit, overdue_after, deadline, redelivery, site: _ } = self;
        let unlimited = queue_limit.is_none() && run_limit.is_none() && overdue_after.is_none() && deadline.is_none();
        label.is_none() && unlimited && redelivery.is_none()
    }

    /// What the job is called in inventories, errors and selectors: at most 256 bytes, not unique.
    #[must_use]
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = Some(Arc::from(label.as_ref()));
        self
    }

    /// The lane to queue in. An unknown one is refused when the job is submitted.
    #[must_use]
    pub fn lane(mut self, lane: impl AsRef<str>) -> Self {
        self.lane = Some(Arc::from(lane.as_ref()));
        self
    }

    /// How long the job may wait for a worker once admitted; instead of the lane's limit. One that is delivered again may wait as long each time.
    #[must_use]
    pub fn queue_limit(mut self, limit: Duration) -> Self {
        self.queue_limit = Some(limit);
        self
    }

    /// How long the job may run; instead of the lane's limit. One that is delivered again may run as long each time.
    #[must_use]
    pub fn run_limit(mut self, limit: Duration) -> Self {
        self.run_limit = Some(limit);
        self
    }

    /// How long the job may make no progress before it is overdue; instead of the lane's. See [`Lane::overdue_after`](crate::Lane::overdue_after).
    #[must_use]
    pub fn overdue_after(mut self, span: Duration) -> Self {
        self.overdue_after = Some(span);
        self
    }

    /// The deadline, over all other limits, this long after submission.
    #[must_use]
    pub fn deadline_in(mut self, span: Duration) -> Self {
        self.deadline = Some(Deadline::In(span));
        self
    }

    /// The job may be run more than once: when its worker is lost under it, it is delivered to another one, under the same number and behind the
    /// same handle, as often as `redelivery` says and after a rest each time. Without this it is delivered once, and lost with its worker.
    ///
    /// Lost is a worker that ends unasked, and is certain to run no more: a child process that died of a signal, by its own exit, out of memory, or
    /// broke the protocol. In pools of other kinds nothing is. A job is not delivered again if it was asked to stop, if it was taken from its worker (by an
    /// operator, the watchdog, a time limit, the end of its pool), if it may still be running, or if it failed in its own terms, panics included. What
    /// it has started that has left its process group is not known of.
    ///
    /// Queue limit and run limit count anew for each delivery; while it rests neither does. A deadline is for all of it. When the last
    /// delivery is lost, its outcome is [`JobError::DeadLettered`](crate::JobError::DeadLettered), with what became of each.
    #[must_use]
    pub fn redeliver(mut self, redelivery: Redelivery) -> Self {
        self.redelivery = Some(redelivery);
        self
    }

    /// The line that inventories and errors name as the one that submitted the job; default: the one that calls `submit`. For those who
    /// submit on behalf of others: in a `#[track_caller]` function, `Location::caller()` is the line of yours that calls it.
    #[must_use]
    pub fn submitted_from(mut self, site: &'static Location<'static>) -> Self {
        self.site = Some(site);
        self
    }

    /// The same, unless a line is named already.
    #[cfg(not(millpond_loom))]
    pub(crate) fn or_from(mut self, site: &'static Location<'static>) -> Self {
        self.site.get_or_insert(site);
        self
    }

    /// The deadline as a moment on the pool's clock.
    #[must_use]
    pub fn deadline_at(mut self, moment: Timestamp) -> Self {
        self.deadline = Some(Deadline::At(moment));
        self
    }
}
