//! Jobs in the queue of a `ThreadPool`: what does the next one cost, and what does control cost beside them?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millpond::{Fate, JobHandle, Ladder, Lane, Limits, PoolExecutor, Select, ThreadPool, TimeLimit};

use crate::harness::figures::{median, micros, nanos_per_call, quantile, time_each, time_each_async};
use crate::harness::load::{self, Gate};
use crate::harness::{WORKERS, fresh_name, runtime};

pub(crate) const COLUMNS: &[&str] = &[
    "submit_ns",
    "cancel_ns",
    "terminate_queued_us",
    "turnover_ns",
    "inventory_p50_us",
    "inventory_p99_us",
    "inventory_now_us",
    "saturation_ns",
];

/// Fills the queue while the workers sleep, asks, then wakes them and watches jobs pass through a queue that stays as full.
pub(crate) fn measure(queued: usize) -> Vec<f64> {
    let pond = Pond::leaked(queued);
    let gate = pond.put_workers_to_sleep();
    (0..queued).for_each(|_| pond.submit());
    let submit = pond.submit_nanos(queued);
    let cancel = pond.cancel_nanos(queued);
    let terminate = median(&time_each(1_000, || pond.terminate_newest()));
    let runtime = runtime();
    let asked = runtime.block_on(time_each_async(1_000, async || {
        pond.pool.inventory(TimeLimit::default()).await.expect("a pool that answers")
    }));
    let read = time_each(1_000, || pond.pool.inventory_now());
    let saturation = nanos_per_call(101, || pond.pool.saturation());
    gate.open();
    let turnover = pond.turnover_nanos();
    pond.end();
    vec![submit, cancel, terminate, turnover, median(&asked), quantile(&asked, 0.99), median(&read), saturation]
}

/// A pool whose jobs each submit their successor, so that its queue stays as full as it was made.
struct Pond {
    pool: ThreadPool,
    ran: AtomicU64,
    stop: AtomicBool,
}

impl Pond {
    /// Leaked, so that jobs carry a plain reference. The pool in it is shut down by `end`.
    fn leaked(queued: usize) -> &'static Self {
        // Room for the samples of `submit_nanos`, and for the successor that every job submits before it ends.
        let lane = Lane::new("default").capacity(queued * 2 + 1_000);
        let pool = ThreadPool::builder(fresh_name()).limits(Limits::fixed(WORKERS)).default_lane(lane).build();
        Box::leak(Box::new(Self {
            pool: pool.expect("a pool of threads"),
            ran: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }))
    }

    fn put_workers_to_sleep(&self) -> Gate {
        let gate = Gate::default();
        for _ in 0..WORKERS {
            let gate = gate.clone();
            drop(self.pool.try_submit(move || gate.pass()).expect("room for a sleeper"));
        }
        load::wait_until("all workers sleep in jobs", || self.pool.saturation().active == WORKERS);
        gate
    }

    fn submit(&'static self) {
        drop(self.handle());
    }

    fn handle(&'static self) -> JobHandle<()> {
        self.pool.try_submit(move || self.step()).expect("room for a job")
    }

    /// A job.
    fn step(&'static self) {
        self.ran.fetch_add(1, Ordering::Relaxed);
        if !self.stop.load(Ordering::Relaxed) {
            self.submit();
        }
    }

    /// Per submission on top of what is queued, by batches that together add little to it.
    fn submit_nanos(&'static self, queued: usize) -> f64 {
        let batch = (queued / 20).clamp(50, 5_000);
        let times = time_each(11, || (0..batch).for_each(|_| self.submit()));
        median(&times) * 1_000.0 / batch as f64
    }

    /// Per cancel by its handle of a job behind all others, by batches.
    fn cancel_nanos(&'static self, queued: usize) -> f64 {
        let batch = (queued / 20).clamp(50, 5_000);
        let cancelled = |_| {
            let handles: Vec<_> = (0..batch).map(|_| self.handle()).collect();
            let begun = Instant::now();
            handles.iter().for_each(JobHandle::cancel);
            micros(begun.elapsed())
        };
        let times: Vec<f64> = (0..11).map(cancelled).collect();
        median(&times) * 1_000.0 / batch as f64
    }

    /// Submits a job, and takes it out of the queue by its number and a message.
    fn terminate_newest(&'static self) {
        let newest = Select::job(self.handle().id());
        let report = self.pool.blocking().terminate(newest, Ladder::cooperative(Duration::ZERO), TimeLimit::default());
        assert_eq!(report.expect("a pool that answers").targets[0].fate, Fate::Withdrawn);
    }

    /// Wall time per job that is taken, run and replaced by another.
    fn turnover_nanos(&self) -> f64 {
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
