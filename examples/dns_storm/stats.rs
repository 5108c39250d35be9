//! The figures of one row.

use std::time::Duration;

use serde_json::{Value, json};

use crate::storm::Answer;

/// A look-up that took longer would have timed out somewhere above.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long each look-up of one row took, answered or failed.
pub(crate) struct Run {
    /// Ascending, never empty.
    latencies: Vec<Duration>,
    /// Look-ups that ended in an error; their latency is the time until it came.
    pub(crate) failed: usize,
    /// One of those errors.
    pub(crate) error: Option<String>,
}

impl Run {
    pub(crate) fn of(answers: Vec<(Duration, Answer)>) -> Self {
        assert!(!answers.is_empty(), "a run has at least one look-up");
        let mut latencies: Vec<_> = answers.iter().map(|(latency, _)| *latency).collect();
        latencies.sort_unstable();
        let mut errors = answers.into_iter().filter_map(|(_, answer)| answer.err());
        let error = errors.next();
        Self { latencies, failed: usize::from(error.is_some()) + errors.count(), error }
    }

    pub(crate) fn n(&self) -> usize {
        self.latencies.len()
    }

    /// The smallest latency that at least `percent` of the look-ups did not exceed (nearest rank).
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.n() * percent).div_ceil(100).max(1);
        milliseconds(self.latencies[rank - 1])
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.percentile_ms(100)
    }

    /// How many took longer than a second.
    pub(crate) fn timeouts(&self) -> usize {
        self.latencies.iter().filter(|latency| **latency > PATIENCE).count()
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "n": self.n(),
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "p99_ms": self.percentile_ms(99),
            "max_ms": self.max_ms(),
            "timeouts": self.timeouts(),
            "failed": self.failed,
        })
    }
}

/// To the microsecond: more digits than that say nothing.
pub(crate) fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
