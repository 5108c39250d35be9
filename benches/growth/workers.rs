//! Workers of a `TaskPool`: what do jobs and control cost beside so many?

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use millpond::{Lane, Limits, PoolExecutor, TaskPool, TimeLimit};
use tokio::runtime::Runtime;

use crate::harness::figures::{median, nanos_per_call, quantile, time_each, time_each_async};
use crate::harness::{fresh_name, load, runtime};

pub(crate) const COLUMNS: &[&str] = &[
    "start_us_per_worker",
    "turnover_ns",
    "inventory_p50_us",
    "inventory_p99_us",
    "inventory_now_us",
    "saturation_ns",
    "resize_us",
];

/// Jobs in flight in `turnover_ns`.
const IN_FLIGHT: usize = 64;

/// Starts a pool of so many workers, asks it, resizes it by one worker and back, and has jobs pass through it.
pub(crate) fn measure(workers: usize) -> Vec<f64> {
    let runtime = runtime();
    let begun = Instant::now();
    let pond = Pond::leaked(&runtime, workers);
    let start = begun.elapsed().as_secs_f64() * 1e6 / workers as f64;
    let asked = runtime.block_on(time_each_async(1_000, async || {
        pond.pool.inventory(TimeLimit::default()).await.expect("a pool that answers")
    }));
    let read = time_each(1_000, || pond.pool.inventory_now());
    let saturation = nanos_per_call(101, || pond.pool.saturation());
    let resize = runtime.block_on(pond.resize_micros(workers));
    let turnover = pond.turnover_nanos();
    pond.end();
    vec![start, turnover, median(&asked), quantile(&asked, 0.99), median(&read), saturation, resize]
}

/// A pool whose jobs each submit their successor.
struct Pond {
    pool: TaskPool,
    ran: AtomicU64,
    stop: AtomicBool,
}

impl Pond {
    /// Leaked, so that jobs carry a plain reference. The pool in it is shut down by `end`.
    fn leaked(runtime: &Runtime, workers: usize) -> &'static Self {
        let pool = TaskPool::builder(fresh_name())
            .limits(Limits::fixed(workers))
            .default_lane(Lane::new("default").capacity(2 * IN_FLIGHT))
            .runtime(runtime.handle().clone())
            .build()
            .expect("a pool of tasks");
        load::wait_until("all workers are idle", || pool.saturation().idle == workers);
        Box::leak(Box::new(Self { pool, ran: AtomicU64::new(0), stop: AtomicBool::new(false) }))
    }

    /// The median time until a resize by one worker is answered.
    async fn resize_micros(&self, workers: usize) -> f64 {
        let mut sizes = [workers + 1, workers].into_iter().cycle();
        let times = time_each_async(50, async || {
            let limits = Limits::fixed(sizes.next().expect("a cycle has no end"));
            self.pool.resize(limits, TimeLimit::default()).await.expect("a pool that resizes")
        });
        median(&times.await)
    }

    fn submit(&'static self) {
        drop(self.pool.try_submit(Step(self)).expect("room for a job"));
    }

    /// Wall time per job that is taken, run and replaced by another.
    fn turnover_nanos(&'static self) -> f64 {
        (0..IN_FLIGHT).for_each(|_| self.submit());
        thread::sleep(Duration::from_millis(50));
        let (before, begun) = (self.ran.load(Ordering::Relaxed), Instant::now());
        thread::sleep(Duration::from_millis(400));
        let ran = self.ran.load(Ordering::Relaxed) - before;
        begun.elapsed().as_secs_f64() * 1e9 / ran as f64
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // A job that has not seen the flag still submits: the pool takes that too before it is told to refuse.
        load::wait_until("no job is left", || {
            let saturation = self.pool.saturation();
            saturation.queued + saturation.active == 0
        });
        let report = self.pool.blocking().shutdown(TimeLimit::secs(60));
        let _ = report.expect("a pool that shuts down");
    }
}

/// A job. A type of its own, since the future of an `async fn` cannot submit itself.
struct Step(&'static Pond);

impl Future for Step {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let pond = self.0;
        pond.ran.fetch_add(1, Ordering::Relaxed);
        if !pond.stop.load(Ordering::Relaxed) {
            pond.submit();
        }
        Poll::Ready(())
    }
}
