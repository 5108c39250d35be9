//! 5. Executing the dead: under twice the load that it can carry, a pool must not spend its time on jobs whose limit has passed.
//!
//! For 60 s each job has 100 ms. None may begin later than that, and the workers still get four fifths of their work done. Those
//! that run out of time leave the queue, wherever in it they stand, although no worker comes by.
//!
//! On the settable clock, at full length: four workers, jobs of 10 ms, eight new ones every 10 ms. Each round waits until the
//! workers have taken what they are to take before the clock moves, so that the count is exact.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{JobError, JobHandle, JobOptions, JobStatus, Limits, Pool, PoolExecutor, Timestamp};
use parking_lot::Mutex;

use crate::kinds::{Ground, Kind, Output, Work, completes, failure, on_every_kind};
use crate::latch::{Latch, Meter};
use crate::patience::{at_rest, eventually};

const LIMIT: Duration = Duration::from_millis(100);
const SERVICE: Duration = Duration::from_millis(10);
const ROUNDS: usize = 6_000;
const WORKERS: usize = 4;

on_every_kind!(
    in_this_process:
    queue_limits_under_twice_the_load,
    deadlines_under_twice_the_load,
    expired_jobs_leave_from_anywhere_while_all_workers_are_stuck,
);

fn queue_limits_under_twice_the_load<K: Kind>() {
    overload::<K>("h05-queue-limit", |options, _| options.queue_limit(LIMIT));
}

fn deadlines_under_twice_the_load<K: Kind>() {
    overload::<K>("h05-deadline", |options, now| options.deadline_at(now.after(LIMIT)));
}

/// Jobs in hand, to be ended by the test; and how many began.
#[derive(Clone, Default)]
struct Desk {
    running: Arc<Mutex<Vec<Latch>>>,
    begun: Meter,
}

impl Desk {
    /// A job that panics unless it begins before `limit`; it notes that it did, and runs until its latch is opened.
    fn work(&self, clock: &SettableClock, limit: Timestamp) -> Work {
        let (desk, clock, latch) = (self.clone(), clock.clone(), Latch::new());
        let held = latch.clone();
        let begin = move || {
            assert!(clock.now() < limit, "began at {:?}, limit {limit:?}", clock.now());
            desk.running.lock().push(latch);
            drop(desk.begun.enter());
        };
        Work::value(0).begin(begin).until(&held)
    }

    /// The service time of those who run is over; waits until as many others have begun.
    fn turn_over(&self) {
        let ended = std::mem::take(&mut *self.running.lock());
        let before = self.begun.entered();
        ended.iter().for_each(Latch::open);
        eventually("the next jobs begin", || self.begun.entered() >= before + ended.len());
    }
}

fn overload<K: Kind>(name: &str, limited: impl Fn(JobOptions, Timestamp) -> JobOptions) {
    let (ground, clock, desk) = (Ground::new(), SettableClock::new(), Desk::default());
    let pool = K::builder(name, &ground)
        .limits(Limits::fixed(WORKERS))
        .clock(clock.clock())
        .build()
        .expect("the configuration is sound");
    let mut handles = VecDeque::new();
    for round in 0..ROUNDS {
        for _ in 0..2 * WORKERS {
            let limit = clock.now().after(LIMIT);
            let options = limited(JobOptions::new(), clock.now());
            let handle = pool.with(options).try_submit(K::job(desk.work(&clock, limit))).expect("there is a place");
            handles.push_back((limit, handle));
        }
        if round == 0 {
            eventually("every worker has a job", || desk.begun.entered() == WORKERS);
        } else {
            desk.turn_over();
        }
        clock.advance(SERVICE);
        assert_none_overdue(&mut handles, clock.now());
    }
    assert_goodput(&pool);
    desk.running.lock().drain(..).for_each(|latch| latch.open());
}

/// Whoever's limit has come is told, or runs; nobody waits in the queue any more.
fn assert_none_overdue(handles: &mut VecDeque<(Timestamp, JobHandle<Output>)>, now: Timestamp) {
    while let Some((_, handle)) = handles.pop_front_if(|(limit, _)| *limit <= now) {
        assert_ne!(handle.status(), JobStatus::Queued, "past its limit");
    }
}

fn assert_goodput<B: millpond::Backend>(pool: &Pool<B>) {
    let ledger = pool.snapshot().ledger;
    let capacity = (ROUNDS * WORKERS) as u64;
    assert_eq!(ledger.panicked, 0, "none began after its limit: {ledger}");
    assert!(ledger.completed * 10 >= capacity * 8, "{} of {capacity} jobs that fit: {ledger}", ledger.completed);
    assert!(ledger.expired > 0, "twice the load does not fit: {ledger}");
}

fn expired_jobs_leave_from_anywhere_while_all_workers_are_stuck<K: Kind>() {
    let (ground, clock, held) = (Ground::new(), SettableClock::new(), Latch::new());
    let pool = K::builder("h05-anywhere", &ground)
        .limits(Limits::fixed(WORKERS))
        .clock(clock.clock())
        .build()
        .expect("the configuration is sound");
    let bodies = Meter::default();
    let stuck: Vec<_> = (0..WORKERS).map(|_| Work::value(0).counted(&bodies).block(&held)).collect();
    let stuck: Vec<_> = stuck.into_iter().map(|work| crate::kinds::put::<K>(&pool, work)).collect();
    eventually("all workers are stuck", || bodies.inside() == WORKERS);

    // Every third one is short of time: first, last and in between.
    let mut waiting = Vec::new();
    for n in 0..30 {
        let span = if n % 3 == 0 { LIMIT } else { LIMIT * 10 };
        let options = JobOptions::new().queue_limit(span);
        let job = K::job(Work::value(n).counted(&bodies));
        waiting.push(pool.with(options).try_submit(job).expect("there is a place"));
    }
    clock.advance(LIMIT);
    assert_eq!(pool.saturation().queued, 20, "the others left in the same tick");
    let (gone, kept): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|handle| handle.status() == JobStatus::Done);
    assert_eq!(gone.len(), 10);
    for handle in gone {
        assert!(matches!(failure(handle), JobError::TimedOut(_)));
    }
    held.open();
    kept.into_iter().chain(stuck).for_each(completes);
    assert_eq!(bodies.entered(), WORKERS + 20, "none of the expired ever ran");
    at_rest(&pool);
}
