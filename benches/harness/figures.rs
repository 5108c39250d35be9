//! Order statistics, and how long calls take.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The `q`-quantile by nearest rank: a value that was measured, never one between two.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    assert!(!values.is_empty(), "a quantile of nothing");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The middle value; the lower of two.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Times `calls` calls one by one, in µs each. What a call returns is dropped within its time: its caller pays for that too.
pub(crate) fn time_each<T>(calls: usize, mut call: impl FnMut() -> T) -> Vec<f64> {
    let timed = |_| {
        let begun = Instant::now();
        drop(black_box(call()));
        micros(begun.elapsed())
    };
    (0..calls).map(timed).collect()
}

/// The same for calls that are awaited.
pub(crate) async fn time_each_async<T>(calls: usize, mut call: impl AsyncFnMut() -> T) -> Vec<f64> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begun = Instant::now();
        drop(black_box(call().await));
        times.push(micros(begun.elapsed()));
    }
    times
}

/// Nanoseconds per call, by batches of 1,000 and the median batch: for calls shorter than a look at the clock.
pub(crate) fn nanos_per_call<T>(batches: usize, mut call: impl FnMut() -> T) -> f64 {
    const BATCH: usize = 1_000;
    let times = time_each(batches, || {
        for _ in 0..BATCH {
            black_box(call());
        }
    });
    median(&times) * 1_000.0 / BATCH as f64
}

/// A span in µs.
pub(crate) fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
