//! Durations in buckets that grow by a factor of about 1.4: small, lock-free to record, good to ±20 %.

use std::time::Duration;

use crate::sync::{Ordering, Tally};

/// Two buckets an octave of nanoseconds, up to 2^40 ns (18 minutes); what is longer goes into the last.
const BUCKETS: usize = 80;

/// Recorded into by workers, read by anyone.
#[derive(Debug)]
pub(crate) struct Buckets(Box<[Tally]>);

impl Default for Buckets {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Tally::new(0)).collect())
    }
}

impl Buckets {
    pub(crate) fn record(&self, nanos: u64) {
        // Relaxed: a reader wants each bucket's count, not an order between them.
        self.0[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// The same for whoever is alone in recording, by a lock: a plain store is enough.
    pub(crate) fn record_alone(&self, nanos: u64) {
        let count = &self.0[bucket(nanos)];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn add_to(&self, histogram: &mut Histogram) {
        for (sum, bucket) in histogram.counts.iter_mut().zip(&self.0) {
            *sum += bucket.load(Ordering::Relaxed);
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1);
    let octave = nanos.ilog2() as usize;
    let upper_half = octave > 0 && nanos >> (octave - 1) & 1 == 1;
    (octave * 2 + usize::from(upper_half)).min(BUCKETS - 1)
}

/// The upper edge of a bucket, in nanoseconds.
fn edge(bucket: usize) -> u64 {
    let base = 1u64 << (bucket / 2);
    if bucket.is_multiple_of(2) { base + base / 2 } else { base * 2 }
}

/// How often something took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl Histogram {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The span that the given share of all (0.0 to 1.0) did not exceed, rounded up by at most half.
    /// `None` if nothing was recorded.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|&n| {
            seen += n;
            seen >= rank
        })?;
        Some(Duration::from_nanos(edge(bucket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_lies_in_its_bucket() {
        for nanos in (0..40).flat_map(|octave| [1u64 << octave, (1 << octave) + (1 << octave) / 2, (2 << octave) - 1]) {
            let bucket = bucket(nanos);
            assert!(nanos <= edge(bucket), "{nanos} above bucket {bucket}");
            assert!(bucket == 0 || nanos >= edge(bucket - 1), "{nanos} below bucket {bucket}");
        }
    }

    #[test]
    fn quantiles_come_from_what_was_recorded() {
        let buckets = Buckets::default();
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            buckets.record(millis * 1_000_000);
        }
        buckets.add_to(&mut histogram);
        assert_eq!(histogram.count(), 100);
        let median = histogram.quantile(0.5).unwrap();
        assert!((Duration::from_millis(50)..=Duration::from_millis(75)).contains(&median), "{median:?}");
        assert!(histogram.quantile(1.0).unwrap() >= Duration::from_millis(100));
    }
}
