//! Limits and resize: running jobs never exceed what is in force and what is owed.

use super::Subject;
use super::rig::{Begun, Rig, SECOND};
use super::tether::Hold;
use crate::config::{Lane, Limits};
use crate::error::ControlError;
use crate::executor::PoolExecutor;
use crate::job::JobStatus;
use crate::testing::SettableClock;

/// `DESIGN.md`, section 2, the first table: down and up again under load costs no worker.
pub(super) fn eight_to_two_to_eight_under_load_stops_nobody<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("8-2-8", 8);
    let hold = Hold::new();
    let handles = pond.hold(&hold, 8);
    let before = pond.workers();
    let shrunk = rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("it answers");
    assert_eq!((shrunk.from, shrunk.to, shrunk.debt), (Limits::fixed(8), Limits::fixed(2), 6));
    let seen = pond.saturation();
    assert_eq!((seen.limit, seen.debt, seen.workers, seen.active), (2, 6, 8, 8), "nobody is stopped");
    let grown = rig.soon(pond.resize(Limits::fixed(8), rig.limit())).expect("it answers");
    assert_eq!((grown.debt, pond.saturation().debt), (0, 0));
    hold.let_go();
    rig.returns(handles);
    pond.at_rest();
    assert_eq!(pond.workers(), before, "nobody was stopped or started");
    assert_eq!(rig.soon(shrunk.settled()), [], "nobody had to leave");
}

pub(super) fn debt_is_paid_by_whoever_next_asks_for_work_and_settled_names_them<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("settled", 4);
    let (stay, leave) = (Hold::new(), Hold::new());
    let staying = pond.hold(&stay, 2);
    let leaving = pond.hold(&leave, 2);
    let mut who: Vec<_> = leaving.iter().map(|handle| pond.worker_of(handle)).collect();
    let report = rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("it answers");
    assert_eq!(report.debt, 2);
    let mut settled = report.settled();
    let limit = std::time::Duration::from_millis(1);
    let not_yet = settled.wait_timeout(limit).expect_err("both still work");
    assert_eq!((not_yet.limit, not_yet.to_string().as_str()), (limit, "not within 1 ms"));
    let settled = Begun::new(settled);
    leave.let_go();
    rig.returns(leaving);
    let mut left = rig.soon(settled);
    left.sort();
    who.sort();
    assert_eq!(left, who);
    assert_eq!((pond.saturation().debt, pond.saturation().workers), (0, 2));
    assert!(staying.iter().all(|handle| handle.status() == JobStatus::Running));
    stay.let_go();
    rig.returns(staying);
    pond.at_rest();
}

/// A worker that was to leave stays before another is started.
pub(super) fn growth_cancels_debt_first<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("grow-first", 6);
    let (one, rest) = (Hold::new(), Hold::new());
    let first = pond.hold(&one, 1);
    let others = pond.hold(&rest, 5);
    rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("it answers");
    one.let_go();
    rig.returns(first);
    rig.until("one has paid", || pond.saturation().workers == 5);
    assert_eq!(pond.saturation().debt, 3);
    let busy = |handle: &super::rig::Handle<S>| pond.worker_of(handle);
    let kept: Vec<_> = others.iter().map(busy).collect();
    let report = rig.soon(pond.resize(Limits::fixed(5), rig.limit())).expect("it answers");
    assert_eq!(report.debt, 0);
    rest.let_go();
    rig.returns(others);
    pond.at_rest();
    assert!(kept.iter().all(|worker| pond.workers().contains(worker)), "all five stayed");
}

/// As long as somebody idles, no busy worker has to go, and no job ever.
pub(super) fn a_shrink_takes_idle_workers_first<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("idle-first", 4);
    rig.until("all are up", || pond.saturation().idle == 4);
    let hold = Hold::new();
    let busy = pond.hold(&hold, 2);
    let inventory = pond.inventory_now();
    let idle: Vec<_> = inventory.workers.iter().filter(|row| row.job.is_none()).map(|row| row.worker).collect();
    let report = rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("it answers");
    assert_eq!(report.debt, 0);
    let mut left = rig.soon(report.settled());
    left.sort();
    assert_eq!(left, idle);
    hold.let_go();
    rig.returns(busy);
    pond.at_rest();
    assert_eq!(pond.saturation().workers, 2);
}

pub(super) fn nothing_starts_while_seats_are_owed<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("owed", 3);
    let holds: Vec<_> = (0..3).map(|_| Hold::new()).collect();
    let running: Vec<_> = holds.iter().map(|hold| pond.hold_one(hold)).collect();
    let last = Hold::new();
    let queued: Vec<_> = (0..3).map(|_| pond.put(rig.deaf(&last))).collect();
    rig.soon(pond.resize(Limits::fixed(1), rig.limit())).expect("it answers");
    for (hold, left) in holds.iter().zip([2, 1]) {
        hold.let_go();
        rig.until("one pays", || pond.saturation().active == left);
        assert_eq!((last.begun(), pond.saturation().queued), (0, 3), "none of the queued starts");
    }
    holds[2].let_go();
    rig.until("the debt is paid and the next one starts", || last.begun() == 1);
    assert_eq!((pond.saturation().active, pond.saturation().workers), (1, 1));
    last.let_go();
    rig.returns(running);
    rig.returns(queued);
    pond.at_rest();
}

/// Those who wait are let in by the growth itself, not by the next job that ends.
pub(super) fn growth_wakes_those_who_wait_at_the_gate<S: Subject>(rig: Rig<'_, S>) {
    let lane = Lane::new("default").capacity(0);
    let pond = rig.build("grow-wakes", |builder| builder.limits(Limits::fixed(1)).default_lane(lane));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let waits = pond.wait_at_gate(rig.value(1));
    rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("it answers");
    assert!(waits.is_woken(), "before the resize is answered");
    assert_eq!(rig.answer(rig.soon(waits).expect("there is a seat")), 1);
    hold.let_go();
    rig.returns(held);
    pond.at_rest();
}

/// No worker is there before a job wants it, and none beyond `max`.
pub(super) fn workers_start_on_demand_up_to_max<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("demand", |builder| builder.limits(Limits::new(0, 3)));
    assert_eq!(pond.saturation().workers, 0);
    let hold = Hold::new();
    let mut handles = Vec::new();
    for wanted in [1, 2, 3] {
        handles.extend(pond.hold(&hold, 1));
        assert_eq!(pond.saturation().workers, wanted);
    }
    handles.extend((0..5).map(|_| pond.put(rig.deaf(&hold))));
    assert_eq!((pond.saturation().workers, pond.saturation().queued), (3, 5));
    hold.let_go();
    rig.returns(handles);
    pond.at_rest();
}

/// Down to `min` and no further; who has been idle for longest goes first.
pub(super) fn idle_workers_above_min_leave_after_the_idle_timeout<S: Subject>(rig: Rig<'_, S>) {
    let clock = SettableClock::new();
    let limits = Limits::new(1, 4).idle_timeout(SECOND * 8);
    let pond = rig.build("idle-out", |builder| builder.limits(limits).clock(clock.clock()));
    let (early, late) = (Hold::new(), Hold::new());
    let first = pond.hold(&early, 3);
    let second = pond.hold_one(&late);
    let stays = pond.worker_of(&second);
    early.let_go();
    rig.returns(first);
    rig.until("three idle", || pond.saturation().idle == 3);
    clock.advance(SECOND * 4);
    late.let_go();
    rig.returns([second]);
    rig.until("all idle", || pond.saturation().idle == 4);
    pond.after_control();
    assert_eq!(pond.saturation().workers, 4, "nobody has idled for long enough");
    // Control looks often enough to be late by a quarter at most.
    for _ in 0..3 {
        clock.advance(SECOND * 2);
        pond.after_control();
    }
    rig.until("down to min", || pond.workers() == [stays]);
    clock.advance(SECOND * 60);
    pond.after_control();
    assert_eq!(pond.saturation().workers, 1, "min stays");
    pond.at_rest();
}

pub(super) fn a_later_resize_settles_an_earlier_one<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("superseded", 2);
    let hold = Hold::new();
    let held = pond.hold(&hold, 2);
    let resize = || rig.soon(pond.resize(Limits::fixed(1), rig.limit())).expect("it answers");
    let (first, second) = (resize(), resize());
    assert_eq!((first.debt, second.debt), (1, 1));
    assert_eq!(rig.soon(first.settled()), []);
    hold.let_go();
    rig.returns(held);
    assert_eq!(rig.soon(second.settled()).len(), 1);
    pond.at_rest();
}

pub(super) fn a_pool_that_drains_is_not_resized<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("too-late", 1);
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let end = Begun::new(pond.shutdown(rig.limit()));
    let error = rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect_err("it is going");
    assert!(matches!(error, ControlError::TooLate { operation: "resize", .. }), "{error}");
    assert!(pond.offer(rig.value(1)).is_err());
    hold.let_go();
    rig.returns(held);
    assert_eq!(rig.soon(end).expect("it answers").completed, 1);
}
