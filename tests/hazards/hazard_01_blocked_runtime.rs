//! 1. Control starvation, continued: the application has blocked all threads of its own runtime.
//!
//! A plain thread is still answered. Threads and processes need no runtime and run jobs meanwhile; the other kinds run theirs once it is back.

use std::time::Duration;

use millpond::{Fate, Ladder, Lane, Limits, PoolExecutor, Rung, Select, TimeLimit};

use crate::kinds::{Ground, Kind, Work, on_every_kind, on_fresh_instances, put, value};
use crate::patience::{CONTROL_LIMIT, at_rest, control_answers, eventually, scaled, within};

const BLOCKED_FOR: Duration = Duration::from_secs(25);
const THREADS: usize = 2;

on_every_kind!(control_answers_while_the_runtime_is_blocked, a_shutdown_returns_while_the_runtime_is_blocked);
on_fresh_instances!(control_answers_while_the_runtime_is_blocked, a_shutdown_returns_while_the_runtime_is_blocked);

fn control_answers_while_the_runtime_is_blocked<K: Kind>() {
    let ground = Ground::with_threads(THREADS);
    // Room for all that is submitted while nobody but a thread pool can run it.
    let pool = K::builder("h01-runtime", &ground)
        .limits(Limits::fixed(2))
        .default_lane(Lane::new("default").capacity(1 << 20))
        .build()
        .expect("the configuration is sound");
    eventually("the pool is up", || pool.saturation().idle == 2);
    let stuck = ground.block(THREADS);

    control_answers(&pool, scaled(BLOCKED_FOR), || drop(put::<K>(&pool, Work::value(1))));
    let limit = TimeLimit::default();
    within(CONTROL_LIMIT, "quiesce", || pool.blocking().quiesce(limit)).expect("it answers");
    within(CONTROL_LIMIT, "resume", || pool.blocking().resume(limit)).expect("it answers");
    let victim = pool.inventory_now().workers[0].worker;
    let grace = Duration::from_millis(50);
    let ladder = Ladder::new().then(Rung::Kill, grace);
    let kill = || pool.blocking().terminate(Select::worker(victim), ladder, limit);
    let report = within(grace + CONTROL_LIMIT, "a kill", kill).expect("it answers");
    let fate = report.targets[0].fate;
    // Where jobs run all the while, what the worker had in hand may end first, and the worker with it.
    let ended = !K::ON_RUNTIME && matches!(fate, Fate::Finished | Fate::Stale);
    assert!(ended || matches!(fate, Fate::Killed | Fate::Abandoned), "{report:?}");

    let job = put::<K>(&pool, Work::value(5));
    if !K::ON_RUNTIME {
        assert_eq!(value(job), 5, "its workers do not need the runtime");
        stuck.open();
    } else {
        assert_ne!(job.status(), millpond::JobStatus::Done);
        stuck.open();
        assert_eq!(value(job), 5, "the runtime is back");
    }
    at_rest(&pool);
}

fn a_shutdown_returns_while_the_runtime_is_blocked<K: Kind>() {
    let ground = Ground::with_threads(THREADS);
    let pool = K::pool("h01-runtime-shutdown", &ground, 2);
    eventually("the pool is up", || pool.saturation().idle == 2);
    let _stuck = ground.block(THREADS);
    let jobs: Vec<_> = (0..10).map(|n| put::<K>(&pool, Work::value(n))).collect();
    let limit = TimeLimit::millis(200);
    within(limit.0 + CONTROL_LIMIT, "a shutdown", || pool.blocking().shutdown(limit)).expect("it answers");
    for job in jobs {
        // Run by a thread, or ended with the pool: in any case told.
        drop(within(CONTROL_LIMIT, "an outcome", || job.join()));
    }
}
