//! What is in force for one lane. It can be changed while jobs pass.
//!
//! Written under the plane's two locks. Whoever holds one of them sees all of it from one moment; whoever holds none sees each value
//! as of some moment, as somebody would who came a little earlier or later. A reader pays one plain load.

use std::time::Duration;

use crate::config::{Lane, WhenFull};
use crate::id::JobId;
use crate::sync::{Arc, Flag, Mutex, Ordering, Setting};

/// So many earlier queue limits are remembered. Whoever has queued for longer is held to the oldest of them.
const REMEMBERED: usize = 64;

#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: Arc<str>,
    capacity: Setting,
    reserve: Setting,
    rejects: Flag,
    admission_limit: Span,
    queue_limit: Span,
    run_limit: Span,
    overdue_after: Span,
    /// Jobs up to this number were admitted under another queue limit.
    queue_limit_since: Setting,
    earlier: Mutex<Vec<Earlier>>,
    /// Jobs up to this number were admitted to a queue, of which the lane has none any more.
    queue_until: Setting,
}

/// The queue limit of jobs up to this number, from the entry before on.
#[derive(Debug)]
struct Earlier {
    up_to: u64,
    limit: Option<Duration>,
}

/// A time limit in nanoseconds; the largest number: none.
#[derive(Debug)]
struct Span(Setting);

impl Span {
    fn new(span: Option<Duration>) -> Self {
        Self(Setting::new(nanos(span)))
    }

    fn set(&self, span: Option<Duration>) {
        // Release pairs with the load in `get`: see `queue_limit_of`.
        self.0.store(nanos(span), Ordering::Release);
    }

    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Acquire) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

/// No longer than a clock goes, which is 584 years.
fn nanos(span: Option<Duration>) -> u64 {
    span.map_or(u64::MAX, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX - 1))
}

impl Spec {
    pub(super) fn new(lane: Lane) -> Self {
        let Lane { name, capacity, reserve, when_full, admission_limit, queue_limit, run_limit, overdue_after } = lane;
        Self {
            name,
            capacity: Setting::new(capacity as u64),
            reserve: Setting::new(reserve as u64),
            rejects: Flag::new(when_full == WhenFull::Reject),
            admission_limit: Span::new(admission_limit),
            queue_limit: Span::new(queue_limit),
            run_limit: Span::new(run_limit),
            overdue_after: Span::new(overdue_after),
            queue_limit_since: Setting::new(0),
            earlier: Mutex::new(Vec::new()),
            queue_until: Setting::new(0),
        }
    }

    /// From now on all of it is as `lane` says; `last` is the job that was admitted last. Under the plane's two locks.
    pub(crate) fn set(&self, lane: &Lane, last: JobId) {
        self.set_queue_limit(lane.queue_limit, last);
        if lane.capacity == 0 && self.capacity() > 0 {
            self.queue_until.store(last.get(), Ordering::Relaxed);
        }
        self.capacity.store(lane.capacity as u64, Ordering::Relaxed);
        self.reserve.store(lane.reserve as u64, Ordering::Relaxed);
        self.rejects.store(lane.when_full == WhenFull::Reject, Ordering::Relaxed);
        self.admission_limit.set(lane.admission_limit);
        self.run_limit.set(lane.run_limit);
        self.overdue_after.set(lane.overdue_after);
    }

    fn set_queue_limit(&self, limit: Option<Duration>, last: JobId) {
        let before = self.queue_limit();
        if nanos(before) == nanos(limit) {
            return;
        }
        let mut earlier = self.earlier.lock();
        if earlier.len() == REMEMBERED {
            earlier.remove(0);
        }
        earlier.push(Earlier { up_to: last.get(), limit: before });
        drop(earlier);
        // In this order: who sees the new limit sees for whom it is not. See `queue_limit_of`.
        self.queue_limit_since.store(last.get(), Ordering::Release);
        self.queue_limit.set(limit);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn reserve(&self) -> usize {
        self.reserve.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn rejects(&self) -> bool {
        self.rejects.load(Ordering::Relaxed)
    }

    pub(crate) fn admission_limit(&self) -> Option<Duration> {
        self.admission_limit.get()
    }

    /// That of whoever comes in now.
    pub(crate) fn queue_limit(&self) -> Option<Duration> {
        self.queue_limit.get()
    }

    /// That under which a job was admitted.
    pub(crate) fn queue_limit_of(&self, job: JobId) -> Option<Duration> {
        // The limit first: if it is later than the job, so is the number that is read after it, and it says so.
        let limit = self.queue_limit.get();
        if job.get() > self.queue_limit_since.load(Ordering::Acquire) { limit } else { self.earlier_limit(job) }
    }

    #[cold]
    fn earlier_limit(&self, job: JobId) -> Option<Duration> {
        let earlier = self.earlier.lock();
        earlier.iter().find(|earlier| job.get() <= earlier.up_to).and_then(|earlier| earlier.limit)
    }

    pub(crate) fn run_limit(&self) -> Option<Duration> {
        self.run_limit.get()
    }

    pub(crate) fn overdue_after(&self) -> Option<Duration> {
        self.overdue_after.get()
    }

    /// True if this job came when the lane had no queue any more, and so was handed over. For a lane that has none now.
    pub(crate) fn was_handed_over(&self, job: JobId) -> bool {
        job.get() > self.queue_until.load(Ordering::Relaxed)
    }

    /// All of it. Under one of the plane's locks.
    pub(crate) fn in_force(&self) -> Lane {
        Lane {
            name: self.name.clone(),
            capacity: self.capacity(),
            reserve: self.reserve(),
            when_full: if self.rejects() { WhenFull::Reject } else { WhenFull::Wait },
            admission_limit: self.admission_limit(),
            queue_limit: self.queue_limit(),
            run_limit: self.run_limit(),
            overdue_after: self.overdue_after(),
        }
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_job_keeps_the_queue_limit_that_it_came_under() {
        let spec = Spec::new(Lane::new("dns"));
        for round in 1..=100 {
            let lane = Lane::new("dns").queue_limit(SECOND * round);
            spec.set(&lane, JobId(u64::from(round) * 10));
            assert_eq!(spec.in_force(), lane);
        }
        assert_eq!(spec.queue_limit_of(JobId(1_001)), Some(SECOND * 100));
        assert_eq!(spec.queue_limit_of(JobId(1_000)), Some(SECOND * 99));
        assert_eq!(spec.queue_limit_of(JobId(991)), Some(SECOND * 99));
        assert_eq!(spec.queue_limit_of(JobId(990)), Some(SECOND * 98));
        assert_eq!(spec.queue_limit_of(JobId(1)), Some(SECOND * 36), "the oldest that is remembered");
    }

    #[test]
    fn what_is_set_again_is_no_change() {
        let spec = Spec::new(Lane::new("dns").queue_limit(SECOND));
        spec.set(&Lane::new("dns").queue_limit(SECOND).run_limit(SECOND), JobId(5));
        assert!(spec.earlier.lock().is_empty());
        assert_eq!((spec.queue_limit_of(JobId(5)), spec.run_limit()), (Some(SECOND), Some(SECOND)));
        spec.set(&Lane::new("dns").queue_limit(Duration::MAX), JobId(5));
        spec.set(&Lane::new("dns").queue_limit(Duration::MAX), JobId(6));
        assert_eq!(spec.earlier.lock().len(), 1);
    }
}
