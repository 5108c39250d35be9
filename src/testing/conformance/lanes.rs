//! Lanes and their reserves.

use super::Subject;
use super::rig::{Handle, Pond, Rig};
use super::tether::Hold;
use crate::config::{ConfigError, Lane, Limits};
use crate::error::{ControlError, RejectReason};
use crate::executor::PoolExecutor;
use crate::job::JobOptions;
use crate::snapshot::LaneSnapshot;

fn in_lane(lane: &str) -> JobOptions {
    JobOptions::new().lane(lane)
}

fn lane<S: Subject>(pond: &Pond<'_, S>, name: &str) -> LaneSnapshot {
    pond.snapshot().lanes.into_iter().find(|lane| &*lane.name == name).expect("the lane is there")
}

/// With the other lane's queue far longer than the pool is wide.
pub(super) fn a_reserve_is_never_taken_by_another_lane<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("reserve", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(1)));
    let hold = Hold::new();
    let storm: Vec<_> = (0..20).map(|_| pond.put(rig.deaf(&hold))).collect();
    rig.until("the storm has what it may have", || hold.begun() == 2);
    for n in 0..10 {
        assert_eq!(rig.answer(pond.put_with(in_lane("dns"), rig.value(n))), n);
        assert_eq!((hold.begun(), lane(&pond, "default").active), (2, 2), "the seat stays free");
    }
    hold.let_go();
    rig.returns(storm);
    pond.at_rest();
}

pub(super) fn a_lane_may_take_more_than_its_reserve_of_what_is_free<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("beyond", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(1)));
    let (dns_hold, hold) = (Hold::new(), Hold::new());
    let dns: Vec<_> = (0..2).map(|_| pond.put_with(in_lane("dns"), rig.deaf(&dns_hold))).collect();
    rig.until("both run", || dns_hold.begun() == 2);
    let others: Vec<_> = (0..3).map(|_| pond.put(rig.deaf(&hold))).collect();
    rig.until("one seat is left", || hold.begun() == 1);
    assert_eq!((pond.saturation().active, pond.saturation().queued), (3, 2));
    dns_hold.let_go();
    rig.returns(dns);
    rig.until("of two seats one is reserved again", || hold.begun() == 2);
    assert_eq!(rig.answer(pond.put_with(in_lane("dns"), rig.value(1))), 1);
    hold.let_go();
    rig.returns(others);
    pond.at_rest();
}

pub(super) fn a_reserved_lane_without_a_queue_has_room_behind_anothers_backlog<S: Subject>(rig: Rig<'_, S>) {
    let express = Lane::new("express").reserve(1).capacity(0).reject_when_full();
    let pond = rig.build("express", |builder| builder.limits(Limits::fixed(2)).lane(express));
    let hold = Hold::new();
    let backlog: Vec<_> = (0..10).map(|_| pond.put(rig.deaf(&hold))).collect();
    rig.until("one runs", || hold.begun() == 1);
    let held = pond.put_with(in_lane("express"), rig.deaf(&hold));
    let refused = pond.with(in_lane("express")).try_submit(rig.value(1)).expect_err("its seat is taken");
    assert!(matches!(refused.reason(), RejectReason::Full { lane, .. } if &**lane == "express"), "{refused}");
    hold.let_go();
    rig.returns([held]);
    rig.returns(backlog);
    pond.at_rest();
}

pub(super) fn lanes_that_may_start_take_turns<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("turns", |builder| builder.limits(Limits::fixed(1)).lane(Lane::new("a")).lane(Lane::new("b")));
    let first = Hold::new();
    let held = pond.hold(&first, 1);
    let lanes = ["a", "a", "a", "a", "a", "a", "b", "b", "b"];
    let mut queued: Vec<(&str, Hold, Handle<S>)> = Vec::new();
    for lane in lanes {
        let hold = Hold::new();
        let handle = pond.put_with(in_lane(lane), rig.deaf(&hold));
        queued.push((lane, hold, handle));
    }
    first.let_go();
    rig.returns(held);
    let mut order = Vec::new();
    while !queued.is_empty() {
        let mut next = None;
        rig.until("the next one has begun", || {
            next = queued.iter().position(|(_, hold, _)| hold.begun() == 1);
            next.is_some()
        });
        let (lane, hold, handle) = queued.remove(next.expect("it was found"));
        order.push(lane);
        hold.let_go();
        rig.returns([handle]);
    }
    assert!(order[..6].windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    assert_eq!(order[6..], ["a", "a", "a"]);
    pond.at_rest();
}

pub(super) fn a_full_lane_does_not_close_the_others<S: Subject>(rig: Rig<'_, S>) {
    let small = Lane::new("small").capacity(1).reject_when_full();
    let pond = rig.build("full-lane", |builder| builder.limits(Limits::fixed(1)).lane(small));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let queued = pond.put_with(in_lane("small"), rig.value(1));
    assert!(pond.with(in_lane("small")).try_submit(rig.value(2)).is_err());
    let other = pond.put(rig.value(3));
    let (small, default) = (lane(&pond, "small"), lane(&pond, "default"));
    assert_eq!((small.queued, small.capacity, default.queued, default.active), (1, 1, 1, 1));
    hold.let_go();
    assert_eq!((rig.answer(queued), rig.answer(other)), (1, 3));
    rig.returns(held);
    pond.at_rest();
}

/// The lanes and their reserves are fixed, so it is the resize that has to give way; nothing changes.
pub(super) fn limits_that_would_break_a_reserve_are_refused_with_the_conflict_named<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("conflict", |builder| builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(2)));
    for limits in [Limits::new(1, 3), Limits::fixed(1), Limits::fixed(2)] {
        let error = rig.soon(pond.resize(limits, rig.limit())).expect_err("the reserve does not fit");
        let ControlError::Config { conflict, .. } = &error else { panic!("{error}") };
        let named = matches!(conflict, ConfigError::ReservesAboveMin { .. } | ConfigError::ReservesStarve { .. });
        assert!(named && error.to_string().contains("`dns` 2"), "{error}");
    }
    assert_eq!(pond.snapshot().limits, Limits::fixed(3), "nothing was changed");
    assert!(rig.soon(pond.resize(Limits::fixed(4), rig.limit())).is_ok());
    pond.at_rest();
}
