//! How many failures a group puts up with (OTP's "restart intensity"). It is handed `now`, and reads no clock.

use std::collections::VecDeque;
use std::time::Duration;

use millpond::Timestamp;

/// So many failures within this time are put up with; the next one is one too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Intensity {
    pub(super) most: usize,
    pub(super) within: Duration,
}

/// When members have failed, as far as that still counts, the latest last.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Timestamp>);

impl Intensity {
    /// One more failure, at `now`. The number of failures that count, if this is one too many.
    pub(super) fn exceeded_by(self, failures: &mut Failures, now: Timestamp) -> Option<usize> {
        let Failures(failures) = failures;
        failures.push_back(now);
        while failures.front().is_some_and(|at| now.since(*at) > self.within) {
            failures.pop_front();
        }
        (failures.len() > self.most).then_some(failures.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_millis(millis))
    }

    #[test]
    fn one_more_than_it_puts_up_with_within_the_time_is_too_many() {
        let (intensity, mut failures) = (Intensity { most: 2, within: SECOND }, Failures::default());
        // The first one counts for the whole of the time, and no longer.
        let decisions = [0, 500, 1_001, 1_500].map(|millis| intensity.exceeded_by(&mut failures, at(millis)));
        assert_eq!(decisions, [None, None, None, Some(3)]);
    }

    #[test]
    fn none_at_all_may_be_too_many() {
        let none = Intensity { most: 0, within: SECOND };
        assert_eq!(none.exceeded_by(&mut Failures::default(), at(7)), Some(1));
    }

    proptest! {
        #[test]
        fn it_is_exceeded_if_more_than_so_many_lie_within_the_time(
            most in 0usize..6,
            within in 0u64..3_000,
            gaps in prop::collection::vec(0u64..1_500, 1..60),
        ) {
            let (intensity, mut failures) =
                (Intensity { most, within: Duration::from_millis(within) }, Failures::default());
            let mut moments: Vec<u64> = Vec::new();
            for gap in gaps {
                let now = moments.last().map_or(0, |last| last + gap);
                moments.push(now);
                let count = moments.iter().filter(|&&moment| now - moment <= within).count();
                prop_assert_eq!(intensity.exceeded_by(&mut failures, at(now)), (count > most).then_some(count));
                prop_assert_eq!(failures.0.len(), count, "what counts no more is not kept");
            }
        }
    }
}
