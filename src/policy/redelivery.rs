//! How often a job is delivered, if its submitter says that it may be more than once.

use std::time::Duration;

use super::spread;
use crate::id::JobId;

const BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How often a job is delivered at most, and how long it rests before it is delivered again. For
/// [`JobOptions::redeliver`](crate::JobOptions::redeliver).
///
/// ```
/// # use millpond::{JobOptions, Redelivery}; use std::time::Duration;
/// let thrice = Redelivery::new(3).back_off(Duration::from_millis(200), Duration::from_secs(5));
/// let options = JobOptions::new().label("thumbnail").redeliver(thrice);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Redelivery {
    /// Deliveries at most, the first one among them. With 0 or 1 the job is never delivered again.
    pub deliveries: u16,
    /// How long a job rests after its first delivery, at most; twice as long after each further one.
    pub back_off: Duration,
    /// The longest that it rests.
    pub longest_back_off: Duration,
}

impl Redelivery {
    /// So many deliveries at most, with a second's rest after the first one, and a minute's at the longest.
    pub const fn new(deliveries: u16) -> Self {
        Self { deliveries, back_off: BACK_OFF, longest_back_off: LONGEST }
    }

    /// How long a job rests after its first delivery, and at the longest. Between half of that and the whole, by job, so that those which were lost
    /// together do not come back together.
    #[must_use]
    pub const fn back_off(mut self, first: Duration, longest: Duration) -> Self {
        (self.back_off, self.longest_back_off) = (first, longest);
        self
    }

    /// How long `job` rests once so many of its deliveries were lost; `None`: it had all that it gets.
    pub(crate) fn rest(&self, job: JobId, lost: u16) -> Option<Duration> {
        let doublings = u32::from(lost.saturating_sub(1)).min(20);
        let rest = self.back_off.saturating_mul(1 << doublings).min(self.longest_back_off);
        (lost < self.deliveries).then(|| rest.mul_f64(spread(job.get() << 16 | u64::from(lost))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_job_rests_for_longer_each_time_and_not_after_its_last_delivery(
            job in 1_u64..1 << 40, deliveries in 0_u16..40, first in 0_u64..100_000, longest in 0_u64..10_000_000,
        ) {
            let terms = Redelivery::new(deliveries).back_off(Duration::from_millis(first), Duration::from_millis(longest));
            let rests: Vec<_> = (1..=50).map_while(|lost| terms.rest(JobId(job), lost)).collect();
            prop_assert_eq!(rests.len(), usize::from(deliveries.saturating_sub(1)));
            for (doublings, rest) in (0_u32..).zip(&rests) {
                let whole = terms.back_off.saturating_mul(1 << doublings.min(20)).min(terms.longest_back_off);
                prop_assert!(*rest >= whole / 2 && *rest <= whole, "{rest:?} of {whole:?}");
            }
        }

        #[test]
        fn nothing_overflows(job in any::<u64>(), lost in any::<u16>()) {
            let terms = Redelivery::new(u16::MAX).back_off(Duration::MAX, Duration::from_secs(u64::MAX / 4));
            let _ = terms.rest(JobId(job), lost);
        }
    }
}
