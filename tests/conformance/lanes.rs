//! Lanes and their reserves, and invariant 6.

use std::sync::mpsc::sync_channel;

use millpond::{ConfigError, ControlError, JobOptions, Lane, LaneSnapshot, Limits, PoolExecutor, RejectReason};

use crate::rig::{LIMIT, PoolOf, at_rest, build, hold, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_reserve_is_never_taken_by_another_lane,
    a_lane_may_take_more_than_its_reserve_of_what_is_free,
    a_reserved_lane_without_a_queue_has_room_behind_anothers_backlog,
    lanes_that_may_start_take_turns,
    a_full_lane_does_not_close_the_others,
    limits_that_would_break_a_reserve_are_refused_with_the_conflict_named,
}

fn in_lane(lane: &str) -> JobOptions {
    JobOptions::new().lane(lane)
}

fn lane<S: Subject>(pool: &PoolOf<S>, name: &str) -> LaneSnapshot {
    pool.snapshot().lanes.into_iter().find(|lane| &*lane.name == name).expect("the lane is there")
}

/// Invariant 6, with the other lane's queue far longer than the pool is wide.
fn a_reserve_is_never_taken_by_another_lane<S: Subject>() {
    let pool = build::<S>("reserve", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(1)));
    let gate = Gate::new();
    let storm: Vec<_> = (0..20).map(|_| put::<S>(&pool, Task::deaf(&gate))).collect();
    until("the storm has what it may have", || gate.entered() == 2);
    for n in 0..10 {
        assert_eq!(soon(put_with::<S>(&pool, in_lane("dns"), Task::value(n))).unwrap(), n);
        assert_eq!((gate.entered(), lane::<S>(&pool, "default").active), (2, 2), "the seat stays free");
    }
    gate.open();
    storm.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// A reserve is a floor, not a ceiling, and a lane that uses its reserve leaves the rest to all.
fn a_lane_may_take_more_than_its_reserve_of_what_is_free<S: Subject>() {
    let pool = build::<S>("beyond", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(1)));
    let (dns_gate, gate) = (Gate::new(), Gate::new());
    let dns: Vec<_> = (0..2).map(|_| put_with::<S>(&pool, in_lane("dns"), Task::deaf(&dns_gate))).collect();
    until("both run", || dns_gate.entered() == 2);
    let others: Vec<_> = (0..3).map(|_| put::<S>(&pool, Task::deaf(&gate))).collect();
    until("one seat is left", || gate.entered() == 1);
    assert_eq!((pool.saturation().active, pool.saturation().queued), (3, 2));
    dns_gate.open();
    dns.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("of two seats one is reserved again", || gate.entered() == 2);
    assert_eq!(soon(put_with::<S>(&pool, in_lane("dns"), Task::value(1))).unwrap(), 1);
    gate.open();
    others.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// `DESIGN.md`, section 2: the room of a lane does not count seats that another lane may not have.
fn a_reserved_lane_without_a_queue_has_room_behind_anothers_backlog<S: Subject>() {
    let express = Lane::new("express").reserve(1).capacity(0).reject_when_full();
    let pool = build::<S>("express", |builder| builder.limits(Limits::fixed(2)).lane(express));
    let gate = Gate::new();
    let backlog: Vec<_> = (0..10).map(|_| put::<S>(&pool, Task::deaf(&gate))).collect();
    until("one runs", || gate.entered() == 1);
    let held = put_with::<S>(&pool, in_lane("express"), Task::deaf(&gate));
    let refused = pool.with(in_lane("express")).try_submit(S::job(Task::value(1))).expect_err("its seat is taken");
    assert!(matches!(refused.reason(), RejectReason::Full { lane, .. } if &**lane == "express"), "{refused}");
    gate.open();
    soon(held).unwrap();
    backlog.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// A long queue in one lane does not make another's jobs wait for all of it.
fn lanes_that_may_start_take_turns<S: Subject>() {
    let pool =
        build::<S>("turns", |builder| builder.limits(Limits::fixed(1)).lane(Lane::new("a")).lane(Lane::new("b")));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let (sender, order) = sync_channel(64);
    let note = |lane: &'static str| {
        let sender = sender.clone();
        let task = Task::call(move || {
            sender.send(lane).expect("the test listens");
            0
        });
        put_with::<S>(&pool, in_lane(lane), task)
    };
    let mut handles: Vec<_> = (0..6).map(|_| note("a")).collect();
    handles.extend((0..3).map(|_| note("b")));
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let order: Vec<_> = order.try_iter().collect();
    assert!(order[..6].windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    assert_eq!(order[6..], ["a", "a", "a"]);
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// Each lane's bound is its own.
fn a_full_lane_does_not_close_the_others<S: Subject>() {
    let small = Lane::new("small").capacity(1).reject_when_full();
    let pool = build::<S>("full-lane", |builder| builder.limits(Limits::fixed(1)).lane(small));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = put_with::<S>(&pool, in_lane("small"), Task::value(1));
    assert!(pool.with(in_lane("small")).try_submit(S::job(Task::value(2))).is_err());
    let other = put::<S>(&pool, Task::value(3));
    let (small, default) = (lane::<S>(&pool, "small"), lane::<S>(&pool, "default"));
    assert_eq!((small.queued, small.capacity, default.queued, default.active), (1, 1, 1, 1));
    gate.open();
    assert_eq!((soon(queued).unwrap(), soon(other).unwrap()), (1, 3));
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// The lanes and their reserves are fixed, so it is the resize that has to give way; nothing changes.
fn limits_that_would_break_a_reserve_are_refused_with_the_conflict_named<S: Subject>() {
    let pool = build::<S>("conflict", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(2)));
    for limits in [Limits::new(1, 3), Limits::fixed(1), Limits::fixed(2)] {
        let error = soon(pool.resize(limits, LIMIT)).expect_err("the reserve does not fit");
        let ControlError::Config { conflict, .. } = &error else { panic!("{error}") };
        let named = matches!(conflict, ConfigError::ReservesAboveMin { .. } | ConfigError::ReservesStarve { .. });
        assert!(named && error.to_string().contains("`dns` 2"), "{error}");
    }
    assert_eq!(pool.snapshot().limits, Limits::fixed(3), "nothing was changed");
    assert!(soon(pool.resize(Limits::fixed(4), LIMIT)).is_ok());
    at_rest(&pool);
}
