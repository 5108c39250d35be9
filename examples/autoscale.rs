//! A pool that sizes itself by how long jobs wait: the load goes up and down, and the plot shows the limit, the queue and the waits.
//!
//! `cargo run --release --example autoscale`

#![allow(clippy::print_stdout, reason = "an example prints what it shows")]
#![allow(clippy::disallowed_methods, reason = "the work of this example is to sleep")]

use std::error::Error;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond::{Lane, Limits, PoolExecutor, Saturation, ThreadPool, TimeLimit};
use millpond_supervisors::SojournTarget;
use parking_lot::Mutex;

const WORK: Duration = Duration::from_millis(10);
const ROW: Duration = Duration::from_millis(125);
/// Jobs a second, and for how many rows.
const LOAD: [(u32, u32); 3] = [(20, 4), (420, 16), (20, 20)];
const MOST: usize = 12;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let policy = SojournTarget::new(Duration::from_millis(25)).linger(Duration::from_millis(750));
    let pool = ThreadPool::builder("work")
        .limits(Limits::new(1, MOST).idle_timeout(Duration::from_millis(250)))
        .default_lane(Lane::new("default").capacity(10_000))
        .autoscaler(policy, Duration::from_millis(50))
        .build()?;
    // How long each job of a row has waited.
    let waits = Arc::new(Mutex::new(Vec::new()));
    println!("jobs/s  limit (# busy, . idle or to come)  queued  p99 wait");
    let mut limits = Vec::new();
    for (rate, rows) in LOAD {
        for _ in 0..rows {
            let begun = Instant::now();
            while begun.elapsed() < ROW {
                let (waits, offered) = (waits.clone(), Instant::now());
                let job = pool.try_submit(move || {
                    waits.lock().push(offered.elapsed());
                    sleep(WORK);
                })?;
                // Its outcome is of no interest here: it runs on.
                drop(job);
                sleep(Duration::from_secs(1) / rate);
            }
            limits.push(show(rate, pool.saturation(), &mut waits.lock()));
        }
    }
    let (most, last) = (limits.iter().max().unwrap_or(&1), limits.last().unwrap_or(&1));
    println!("the limit went from 1 to {most} and back to {last}");
    pool.blocking().shutdown(TimeLimit::secs(5))?;
    Ok(())
}

/// Prints one row of the plot, and says what the limit was.
fn show(rate: u32, seen: Saturation, waits: &mut Vec<Duration>) -> usize {
    waits.sort();
    let p99 = waits.get((waits.len() * 99 / 100).min(waits.len().saturating_sub(1))).copied().unwrap_or_default();
    waits.clear();
    let bar = "#".repeat(seen.active) + &".".repeat(seen.limit.saturating_sub(seen.active));
    println!("{rate:>6}  {bar:<34} {:>6}  {:>5.0} ms", seen.queued, p99.as_secs_f64() * 1e3);
    seen.limit
}
