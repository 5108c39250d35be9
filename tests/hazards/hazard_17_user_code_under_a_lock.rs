//! 17. User code under a lock: what a pool drops or calls may call the pool, or panic.
//!
//! Payloads and outputs whose `Drop` submits or panics, predicates that panic, jobs that ask about themselves: after each the pool
//! has to work as before. Hooks: `hazard_17_hooks_that_call_back`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use millpond::{
    Executor, JobError, JobOptions, Ladder, Lane, Limits, Pool, PoolExecutor, Select, TimeLimit, WorkerState,
};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, put, put_labelled, value};
use crate::latch::{Latch, Meter, OnDrop};
use crate::patience::{at_rest, eventually, returns};

// A child's output is made, and dropped unread, in that child, and a job there has no handle of the pool it is of.
on_every_kind!(
    a_drop_that_submits,
    a_drop_that_submits_to_a_pool_that_ends,
    a_predicate_that_panics,
    a_payload_whose_drop_panics,
    ; in_this_process:
    an_output_whose_drop_panics,
    a_job_that_asks_its_own_pool,
);

/// A pool of one worker, which is held, and four places in its queue.
fn held_pool<K: Kind>(name: &str, ground: &Ground) -> (Pool<K::Backend>, Latch) {
    let pool = K::builder(name, ground)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").capacity(4))
        .build()
        .expect("the configuration is sound");
    let (held, bodies) = (ground.latch(), Meter::default());
    drop(put::<K>(&pool, Work::value(0).counted(&bodies).until(&held)));
    eventually("the worker is held", || bodies.inside() == 1);
    (pool, held)
}

/// The pool works, and counts.
fn is_well<K: Kind>(pool: &Pool<K::Backend>) {
    assert_eq!(value(put::<K>(pool, Work::value(3))), 3);
    at_rest(pool);
}

/// A job that reads and submits to the pool when its payload is dropped; each drop is counted.
fn submits_on_drop<K: Kind>(pool: &Pool<K::Backend>, drops: &Meter) -> K::Job {
    let (pool, drops) = (pool.clone(), drops.clone());
    K::job(Work::value(1).cargo(OnDrop::new(move || {
        drop((pool.snapshot(), pool.inventory_now()));
        // Whether there is a place or not: what counts is that it is told.
        drop(pool.try_submit(K::job(Work::value(2))));
        drop(drops.enter());
    })))
}

fn a_drop_that_submits<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-drop", &ground);
    let drops = Meter::default();
    let job = || submits_on_drop::<K>(&pool, &drops);

    let cancelled = pool.try_submit(job()).expect("there is a place");
    returns("a cancel", move || cancelled.cancel());
    eventually("the cancelled one is dropped", || drops.entered() == 1);

    let limited = JobOptions::new().queue_limit(Duration::from_millis(5));
    let expired = pool.with(limited).try_submit(job()).expect("there is a place");
    assert!(matches!(failure(expired), JobError::TimedOut(_)));
    eventually("the expired one is dropped", || drops.entered() == 2);

    let withdrawn = pool.try_submit(job()).expect("there is a place");
    let select = Select::job(withdrawn.id());
    pool.blocking().terminate(select, Ladder::kill(), TimeLimit::default()).expect("it answers");
    eventually("the withdrawn one is dropped", || drops.entered() == 3);

    while let Ok(handle) = pool.try_submit(K::job(Work::value(0))) {
        drop(handle);
    }
    let refused = pool.try_submit(job()).expect_err("the queue is full");
    returns("the drop of a refused job", move || drop(refused));
    let waited = pool.clone();
    let job = job();
    returns("the drop of a submit that waits", move || {
        let mut submit = Box::pin(waited.submit(job));
        assert!(crate::patience::Flag::new().poll(submit.as_mut()).is_pending());
        drop(submit);
    });
    assert_eq!(drops.entered(), 5);

    held.open();
    eventually("the queue is empty", || pool.saturation().queued == 0);
    let run = pool.try_submit(submits_on_drop::<K>(&pool, &drops)).expect("there is a place");
    assert_eq!(value(run), 1);
    assert_eq!(drops.entered(), 6);
    is_well::<K>(&pool);
}

fn a_drop_that_submits_to_a_pool_that_ends<K: Kind>() {
    let ground = Ground::new();
    let (pool, _held) = held_pool::<K>("h17-ends", &ground);
    let drops = Meter::default();
    let jobs: Vec<_> = (0..4).map(|_| pool.try_submit(submits_on_drop::<K>(&pool, &drops))).collect();
    let ending = pool.clone();
    returns("a kill of the pool's actor", move || ending.actor().kill());
    for job in jobs {
        assert!(matches!(failure(job.expect("there was a place")), JobError::NotStarted(_)));
    }
    eventually("each is dropped", || drops.entered() == 4);
}

fn a_predicate_that_panics<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-predicate", &ground);
    let panics = || Select::matching(|row| panic!("asked about {}", row.worker));
    let terminate = || pool.blocking().terminate(panics(), Ladder::kill(), TimeLimit::default());
    assert!(catch_unwind(AssertUnwindSafe(terminate)).is_err(), "it panics in the caller, whose it is");
    // One that asks the pool is asked where it may.
    let asked = pool.clone();
    let select = Select::matching(move |_| asked.inventory_now().workers.is_empty() || asked.saturation().active == 9);
    let report = pool.blocking().terminate(select, Ladder::kill(), TimeLimit::default()).expect("it answers");
    assert!(report.targets.is_empty());
    assert_eq!(pool.inventory_now().workers[0].state, WorkerState::Busy, "nobody was hit");
    held.open();
    is_well::<K>(&pool);
}

fn panics_on_drop(drops: &Meter) -> OnDrop<impl FnOnce() + Send + use<>> {
    let drops = drops.clone();
    OnDrop::new(move || {
        drop(drops.enter());
        panic!("in a drop, as it was told");
    })
}

fn an_output_whose_drop_panics<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h17-output", &ground, 1);
    let drops = Meter::default();
    let work = || Work::value(1).output_cargo(panics_on_drop(&drops));

    // Detached before it ends: its worker drops it.
    let held = ground.latch();
    drop(put::<K>(&pool, work().until(&held)));
    held.open();
    eventually("the worker has dropped it", || drops.entered() == 1);
    is_well::<K>(&pool);

    // Too late: its worker was given up meanwhile.
    let (held, bodies) = (ground.latch(), Meter::default());
    let late = put_labelled::<K>(&pool, "late", work().counted(&bodies).block(&held));
    eventually("it runs", || bodies.inside() == 1);
    let ladder = Ladder::new().then(millpond::Rung::Kill, Duration::from_millis(10));
    pool.blocking().terminate(Select::label("late"), ladder, TimeLimit::default()).expect("it answers");
    assert!(matches!(failure(late), JobError::Abandoned(_)));
    held.open();
    eventually("it is dropped by whoever brought it", || drops.entered() == 2);
    is_well::<K>(&pool);

    // Unread: dropped with the handle, in the hands of whoever drops that.
    let unread = put::<K>(&pool, work());
    eventually("it is done", || unread.status() == millpond::JobStatus::Done);
    drop(catch_unwind(AssertUnwindSafe(|| drop(unread))));
    assert_eq!(drops.entered(), 3);
    is_well::<K>(&pool);
}

fn a_payload_whose_drop_panics<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-payload", &ground);
    let drops = Meter::default();
    let work = || Work::value(1).cargo(panics_on_drop(&drops));

    let cancelled = put::<K>(&pool, work());
    cancelled.cancel();
    assert!(matches!(failure(cancelled), JobError::Cancelled(_)));
    eventually("the cancelled one is dropped", || drops.entered() == 1);
    let expired = pool.with(JobOptions::new().queue_limit(Duration::from_millis(5))).try_submit(K::job(work()));
    assert!(matches!(failure(expired.expect("there is a place")), JobError::TimedOut(_)));
    eventually("the expired one is dropped", || drops.entered() == 2);
    held.open();
    eventually("the worker is free", || pool.saturation().active == 0);

    let run = put::<K>(&pool, work());
    assert!(matches!(failure(run), JobError::Panicked(_)), "a job that panics as it ends has panicked");
    is_well::<K>(&pool);

    let bodies = Meter::default();
    let stuck = ground.latch();
    let killed = put_labelled::<K>(&pool, "victim", work().counted(&bodies).until(&stuck));
    eventually("it runs", || bodies.inside() == 1);
    pool.blocking().terminate(Select::label("victim"), Ladder::kill(), TimeLimit::default()).expect("it answers");
    assert!(matches!(failure(killed), JobError::Killed(_) | JobError::Abandoned(_)));
    stuck.open();
    eventually("it is dropped", || drops.entered() == 4);
    is_well::<K>(&pool);
}

fn a_job_that_asks_its_own_pool<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h17-asks", &ground, 2);
    let asked = pool.clone();
    let asks = move || {
        let now = asked.inventory_now();
        let told = asked.blocking().inventory(TimeLimit::default()).expect("control answers a job");
        let panicking = Select::matching(|_| panic!("under no lock"));
        drop(catch_unwind(AssertUnwindSafe(|| asked.select(&panicking))));
        assert!(now.saturation.active >= 1 && told.workers.iter().any(|row| row.job.is_some()));
        drop(asked.snapshot());
    };
    assert_eq!(value(put::<K>(&pool, Work::value(1).begin(asks))), 1);
    is_well::<K>(&pool);
}
