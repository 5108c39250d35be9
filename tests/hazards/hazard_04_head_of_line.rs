//! 4. Head of line (the DNS storm): short look-ups behind bulk jobs that hold all four workers, and forty more that wait.
//!
//! With a seat of their own the look-ups do not notice (the goal is 20 ms). Without one each is told after its own limit, and not
//! after the storm, what it waited for: the label, the age and the submitting line of the job that has run for longest.

use std::time::{Duration, Instant};

use millpond::{JobError, JobHandle, JobOptions, Lane, LimitKind, Limits, Pool, PoolExecutor, RejectReason, Scene};

use crate::kinds::{Ground, Kind, Output, Work, completes, failure, on_every_kind, put_labelled, value};
use crate::latch::{Latch, Meter};
use crate::patience::{eventually, has_passed, scaled};
use crate::stalls::Watch;

const LOOKUP_GOAL: Duration = Duration::from_millis(20);
const QUEUE_LIMIT: Duration = Duration::from_secs(1);

on_every_kind!(
    in_this_process:
    a_reserved_lane_is_served,
    without_a_reserve_the_queue_limit_explains_itself,
    without_a_queue_the_admission_limit_explains_itself,
);

/// Four bulk jobs run and forty wait; says from which line they came.
fn storm<K: Kind>(pool: &Pool<K::Backend>, held: &Latch) -> (Vec<JobHandle<Output>>, u32) {
    let bodies = Meter::default();
    let bulk = || Work::value(0).counted(&bodies).until(held);
    let line = line!() + 1;
    let jobs = (0..44).map(|_| put_labelled::<K>(pool, "resize_image", bulk())).collect();
    eventually("four workers hold jobs", || bodies.inside() == 4);
    (jobs, line)
}

fn a_reserved_lane_is_served<K: Kind>() {
    let ground = Ground::new();
    let held = ground.latch();
    let pool = K::builder("h04-reserved", &ground)
        .limits(Limits::fixed(5))
        .lane(Lane::new("dns").reserve(1))
        .build()
        .expect("the configuration is sound");
    let (bulk, _) = storm::<K>(&pool, &held);

    let mut took = Vec::new();
    for n in 0..100 {
        let watch = Watch::start();
        let job = pool.with(JobOptions::new().lane("dns")).try_submit(K::job(Work::value(n)));
        assert_eq!(value(job.expect("the lane has a place")), n);
        took.push(watch.net());
    }
    took.sort();
    assert!(took[98] < LOOKUP_GOAL * 10, "p99 of a lookup: {:?}", took[98]);
    assert_eq!(pool.saturation().queued, 40, "the storm went on all the while");

    held.open();
    bulk.into_iter().for_each(completes);
}

fn assert_names_who(scene: &Scene, text: &str, line: u32, waited: Duration) {
    let longest = scene.longest.as_ref().expect("somebody holds the workers");
    assert_eq!(longest.label.as_deref(), Some("resize_image"));
    assert_eq!((longest.submitted_from.file(), longest.submitted_from.line()), (file!(), line), "{text}");
    assert!(longest.running_for >= waited, "{text}");
    assert_eq!((scene.saturation.active, scene.saturation.limit), (4, 4));
    let worker = longest.worker.to_string();
    for part in ["lane `dns`", "4/4 busy", "`resize_image`", &format!("{}:{line}", file!()), &worker, "active"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn without_a_reserve_the_queue_limit_explains_itself<K: Kind>() {
    let ground = Ground::new();
    let held = ground.latch();
    let limit = scaled(QUEUE_LIMIT);
    let pool = K::builder("h04-queue-limit", &ground)
        .limits(Limits::fixed(4))
        .lane(Lane::new("dns").queue_limit(limit))
        .build()
        .expect("the configuration is sound");
    let (_bulk, line) = storm::<K>(&pool, &held);

    let (since, watch) = (Instant::now(), Watch::start());
    let lookup = pool.with(JobOptions::new().lane("dns")).try_submit(K::job(Work::value(0)));
    let JobError::TimedOut(error) = failure(lookup.expect("there is a place")) else { panic!("not a time limit") };
    assert!(has_passed(limit, since) && watch.net() < limit * 50, "at its own limit: {:?}", since.elapsed());
    assert_eq!((error.limit, &*error.lane, error.worker), (LimitKind::Queue, "dns", None));
    assert_names_who(&error.scene, &error.to_string(), line, limit);
}

fn without_a_queue_the_admission_limit_explains_itself<K: Kind>() {
    let ground = Ground::new();
    let held = ground.latch();
    let limit = scaled(QUEUE_LIMIT);
    let pool = K::builder("h04-admission-limit", &ground)
        .limits(Limits::fixed(4))
        .lane(Lane::new("dns").capacity(0).admission_limit(limit))
        .build()
        .expect("the configuration is sound");
    let (_bulk, line) = storm::<K>(&pool, &held);

    let lookup = pool.with(JobOptions::new().lane("dns")).submit_blocking(K::job(Work::value(0)));
    let reason = lookup.expect_err("nobody is free").into_reason();
    let RejectReason::AdmissionTimedOut { lane, limit: passed, scene } = &reason else { panic!("{reason}") };
    assert_eq!((&**lane, *passed), ("dns", limit));
    assert_names_who(scene, &reason.to_string(), line, limit);
}
