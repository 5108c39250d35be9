//! The room of lanes without a queue (`DESIGN.md`, section 2): a seat is kept for whoever has a right to it, once and not twice.

use millpond::{JobHandle, JobOptions, Lane, Limits, PoolExecutor, RejectReason};

use crate::rig::{LIMIT, PoolOf, at_rest, build, soon, until};
use crate::subject::Subject;
use crate::task::Task;

conform! {
    a_reserved_seat_that_is_spoken_for_leaves_the_other_seat_to_the_others,
    a_seat_beyond_the_reserve_is_given_once,
    the_order_of_admission_makes_no_difference,
}

/// Two seats, one of them reserved for `dns`; no lane has a queue, and no worker takes anything yet.
fn quiet<S: Subject>(what: &str) -> PoolOf<S> {
    let pool = build::<S>(what, |builder| {
        let dns = Lane::new("dns").capacity(0).reserve(1);
        builder.limits(Limits::fixed(2)).default_lane(Lane::new("default").capacity(0)).lane(dns)
    });
    until("both are up", || pool.saturation().idle == 2);
    soon(pool.quiesce(LIMIT)).expect("it answers");
    pool
}

#[track_caller]
fn admits<S: Subject>(pool: &PoolOf<S>, lane: &str) -> JobHandle<u64> {
    let admitted = pool.with(JobOptions::new().lane(lane)).try_submit(S::job(Task::value(1)));
    admitted.unwrap_or_else(|refused| panic!("a job of lane `{lane}`: {refused}"))
}

#[track_caller]
fn is_full<S: Subject>(pool: &PoolOf<S>, lane: &str) {
    let refused =
        pool.with(JobOptions::new().lane(lane)).try_submit(S::job(Task::value(1))).expect_err("no seat is left");
    assert!(matches!(refused.reason(), RejectReason::Full { lane: full, .. } if **full == *lane), "{refused}");
}

fn all_run<S: Subject>(pool: &PoolOf<S>, handles: impl IntoIterator<Item = JobHandle<u64>>) {
    soon(pool.resume(LIMIT)).expect("it answers");
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 1));
    at_rest(pool);
}

/// The job of `dns` takes the seat that is kept for it, so the other is free for all.
fn a_reserved_seat_that_is_spoken_for_leaves_the_other_seat_to_the_others<S: Subject>() {
    let pool = quiet::<S>("room");
    let dns = admits::<S>(&pool, "dns");
    let other = admits::<S>(&pool, "default");
    is_full::<S>(&pool, "default");
    is_full::<S>(&pool, "dns");
    all_run::<S>(&pool, [dns, other]);
}

fn a_seat_beyond_the_reserve_is_given_once<S: Subject>() {
    let pool = quiet::<S>("room-beyond");
    let dns = [admits::<S>(&pool, "dns"), admits::<S>(&pool, "dns")];
    is_full::<S>(&pool, "dns");
    is_full::<S>(&pool, "default");
    all_run::<S>(&pool, dns);
}

fn the_order_of_admission_makes_no_difference<S: Subject>() {
    let pool = quiet::<S>("room-order");
    let other = admits::<S>(&pool, "default");
    is_full::<S>(&pool, "default");
    let dns = admits::<S>(&pool, "dns");
    is_full::<S>(&pool, "dns");
    all_run::<S>(&pool, [dns, other]);
}
