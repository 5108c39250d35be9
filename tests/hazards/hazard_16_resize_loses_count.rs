//! 16. Resize loses count: a seat that is owed is paid twice, or never, and the pool is one worker off from then on.
//!
//! Resizes at the moments when seats are out: down and up again, down while a worker that should leave panics instead, and up with
//! somebody at the gate. After each the pool is tried for how many it runs at once.

use millpond::{Executor, JobHandle, Lane, Limits, Pool, PoolEvent, PoolExecutor, ResizeReport, TimeLimit};

use crate::kinds::{Ground, Kind, Output, Work, completes, failure, on_every_kind, on_fresh_instances, put, value};
use crate::latch::{Latch, Meter};
use crate::patience::{at_rest, eventually};

on_every_kind!(
    in_this_process:
    two_one_two_with_both_out,
    four_to_one_while_a_leaving_worker_panics,
    below_what_is_busy_and_up_at_once,
    growth_wakes_those_who_wait,
);
on_fresh_instances!(
    two_one_two_with_both_out,
    four_to_one_while_a_leaving_worker_panics,
    below_what_is_busy_and_up_at_once,
    growth_wakes_those_who_wait,
);

fn resize<B: millpond::Backend>(pool: &Pool<B>, max: usize) -> ResizeReport {
    pool.blocking().resize(Limits::fixed(max), TimeLimit::default()).expect("it answers")
}

/// Jobs that all run, each held by a latch of its own.
fn busy<K: Kind>(
    pool: &Pool<K::Backend>,
    ground: &Ground,
    bodies: &Meter,
    count: usize,
) -> Vec<(JobHandle<Output>, Latch)> {
    let before = bodies.inside();
    let job = |_| {
        let latch = ground.latch();
        (put::<K>(pool, Work::value(1).counted(bodies).until(&latch)), latch)
    };
    let jobs = (0..count).map(job).collect();
    eventually("all run", || bodies.inside() == before + count);
    jobs
}

/// Of more jobs than that, exactly `count` run at once.
fn run_at_once<K: Kind>(pool: &Pool<K::Backend>, ground: &Ground, count: usize) {
    at_rest(pool);
    assert_eq!(pool.saturation().workers, count);
    let (bodies, held) = (Meter::default(), ground.latch());
    let jobs: Vec<_> = (0..count + 5).map(|_| put::<K>(pool, Work::value(1).counted(&bodies).until(&held))).collect();
    eventually("as many run", || bodies.inside() == count);
    held.open();
    jobs.into_iter().for_each(completes);
    assert_eq!(bodies.most(), count, "and no more");
    at_rest(pool);
}

fn two_one_two_with_both_out<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h16-two", &ground, 2);
    let bodies = Meter::default();
    let mut out = busy::<K>(&pool, &ground, &bodies, 2);
    assert_eq!(resize(&pool, 1).debt, 1);
    assert_eq!(resize(&pool, 2).debt, 0, "growth cancels the debt");

    let third = ground.latch();
    let next = put::<K>(&pool, Work::value(1).counted(&bodies).until(&third));
    let seen = pool.saturation();
    assert_eq!((seen.workers, seen.active, seen.queued, seen.debt), (2, 2, 1, 0), "both seats are out still");
    let (first, latch) = out.remove(0);
    latch.open();
    assert_eq!(value(first), 1);
    eventually("the third job has the seat", || bodies.entered() == 3);
    assert_eq!(bodies.most(), 2, "never three");
    third.open();
    out[0].1.open();
    assert_eq!(value(next), 1);
    run_at_once::<K>(&pool, &ground, 2);
}

fn four_to_one_while_a_leaving_worker_panics<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h16-four", &ground, 4);
    let bodies = Meter::default();
    let fuse = ground.latch();
    let doomed = put::<K>(&pool, Work::value(0).counted(&bodies).until(&fuse).panics());
    eventually("it runs", || bodies.inside() == 1);
    let others = busy::<K>(&pool, &ground, &bodies, 3);

    let report = resize(&pool, 1);
    assert_eq!(report.debt, 3);
    fuse.open();
    assert!(matches!(failure(doomed), millpond::JobError::Panicked(_)));
    eventually("it has left", || pool.saturation().workers == 3);
    for (job, latch) in others {
        latch.open();
        assert_eq!(value(job), 1, "a shrink fails no job");
    }
    ground.block_on(report.settled());
    run_at_once::<K>(&pool, &ground, 1);
    drop(resize(&pool, 4));
    run_at_once::<K>(&pool, &ground, 4);
}

fn below_what_is_busy_and_up_at_once<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h16-below", &ground, 4);
    let bodies = Meter::default();
    let mut events = pool.events();
    let mut out = busy::<K>(&pool, &ground, &bodies, 4);
    assert_eq!(resize(&pool, 2).debt, 2);
    assert_eq!(resize(&pool, 8).debt, 0);
    out.extend(busy::<K>(&pool, &ground, &bodies, 4));
    assert_eq!(bodies.most(), 8);
    assert_eq!(pool.saturation().workers, 8);
    for (job, latch) in out {
        latch.open();
        assert_eq!(value(job), 1);
    }
    at_rest(&pool);
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, PoolEvent::WorkerGone { .. }), "stopped needlessly: {event:?}");
    }
}

fn growth_wakes_those_who_wait<K: Kind>() {
    let ground = Ground::new();
    let pool = K::builder("h16-growth", &ground)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").capacity(0).admission_limit(None))
        .build()
        .expect("the configuration is sound");
    eventually("the worker is up", || pool.saturation().idle == 1);
    let bodies = Meter::default();
    let out = busy::<K>(&pool, &ground, &bodies, 1);
    let held = ground.latch();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (pool, job) = (pool.clone(), K::job(Work::value(1).counted(&bodies).until(&held)));
            ground.handle().spawn(async move { pool.submit(job).await.map_err(|rejected| rejected.into_reason()) })
        })
        .collect();
    eventually("three wait at the gate", || pool.saturation().waiting == 3);

    drop(resize(&pool, 4));
    eventually("all of them run", || bodies.inside() == 4);
    held.open();
    out[0].1.open();
    for submit in waiting {
        assert_eq!(value(ground.block_on(submit).expect("no panic").expect("it got in")), 1);
    }
    at_rest(&pool);
}
