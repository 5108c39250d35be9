//! Who is let in, who waits, who is turned away.

use std::thread;

use super::Subject;
use super::rig::{Pond, Rig};
use super::tether::Hold;
use crate::config::{Lane, Limits};
use crate::error::RejectReason;
use crate::executor::{Executor, PoolExecutor};
use crate::job::JobStatus;

fn pond<'s, S: Subject>(rig: Rig<'s, S>, what: &str, limits: Limits, lane: Lane) -> Pond<'s, S> {
    rig.build(what, |builder| builder.limits(limits).default_lane(lane))
}

fn rejecting(capacity: usize) -> Lane {
    Lane::new("default").capacity(capacity).reject_when_full()
}

fn hand_over() -> Lane {
    Lane::new("default").capacity(0)
}

pub(super) fn a_pool_of_n_with_capacity_c_admits_exactly_n_plus_c<S: Subject>(rig: Rig<'_, S>) {
    for taken_first in [false, true] {
        let pond = pond(rig, "n-plus-c", Limits::fixed(2), rejecting(3));
        let hold = Hold::new();
        let mut handles = Vec::new();
        for _ in 0..5 {
            handles.push(pond.put(rig.deaf(&hold)));
            if taken_first {
                let running = handles.len().min(2);
                rig.until("workers have taken what they can", || hold.begun() == running);
            }
        }
        for _ in 0..3 {
            let refused = pond.offer(rig.deaf(&hold)).expect_err("N + c are in");
            assert!(matches!(refused.reason(), RejectReason::Full { .. }), "{refused}");
        }
        hold.let_go();
        rig.returns(handles);
        pond.at_rest();
        assert_eq!(pond.snapshot().ledger.rejected, 3);
    }
}

pub(super) fn without_a_queue_a_job_is_handed_to_a_free_worker<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "hand-over", Limits::fixed(2), rejecting(0));
    let (first, second) = (Hold::new(), Hold::new());
    let one = pond.put(rig.deaf(&first));
    let two = pond.put(rig.deaf(&second));
    assert!(pond.offer(rig.value(1)).is_err(), "both seats are taken");
    first.let_go();
    rig.returns([one]);
    assert_eq!(rig.answer(pond.put(rig.value(3))), 3, "a job whose outcome is known has given its place back");
    second.let_go();
    rig.returns([two]);
    pond.at_rest();
}

pub(super) fn a_seat_that_can_be_filled_counts_as_one<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "on-demand", Limits::new(0, 2), rejecting(0));
    let hold = Hold::new();
    let handles = pond.hold(&hold, 2);
    assert!(pond.offer(rig.value(1)).is_err());
    assert_eq!(pond.saturation().workers, 2);
    hold.let_go();
    rig.returns(handles);
    pond.at_rest();
}

/// Also what shows whether `Hosts::unwrap` gives back what `Hosts::wrap` was given.
pub(super) fn a_refused_job_comes_back_and_can_be_submitted_again<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "comes-back", Limits::fixed(1), rejecting(0));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let by_try = pond.offer(rig.value(11)).expect_err("full");
    let by_await = rig.soon(Executor::submit(&*pond, rig.value(12))).expect_err("full");
    let by_block = Executor::submit_blocking(&*pond, rig.value(13)).expect_err("full");
    let other = rig.fixed("elsewhere", 1);
    for (refused, value) in [(by_try, 11), (by_await, 12), (by_block, 13)] {
        let text = refused.to_string();
        assert!(text.contains(pond.name()) && text.contains("1/1 busy"), "{text}");
        assert_eq!(rig.answer(other.put(refused.into_job())), value);
    }
    hold.let_go();
    rig.returns(held);
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.accepted, ledger.rejected), (4, 1, 3));
    pond.at_rest();
}

pub(super) fn who_waits_at_the_gate_is_let_in_when_a_place_comes_free<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "waits", Limits::fixed(1), hand_over());
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let waits = pond.wait_at_gate(rig.value(5));
    assert_eq!(pond.saturation().waiting, 1);
    let ledger = pond.snapshot().ledger;
    assert!(ledger.balances() && ledger.waiting == 1, "{ledger}");
    hold.let_go();
    rig.returns(held);
    assert_eq!(rig.answer(rig.soon(waits).expect("its turn has come")), 5);
    pond.at_rest();
}

pub(super) fn a_thread_waits_at_the_gate_as_a_task_does<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "blocks", Limits::fixed(1), hand_over());
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let (pool, job) = (pond.handle(), rig.value(6));
    let handle = thread::scope(|scope| {
        let submitter = scope.spawn(move || Executor::submit_blocking(&pool, job).map_err(|_| "refused"));
        rig.until("the submitter waits", || pond.saturation().waiting == 1);
        hold.let_go();
        submitter.join().expect("the submitter ends")
    });
    assert_eq!(rig.answer(handle.expect("its turn has come")), 6);
    rig.returns(held);
    pond.at_rest();
}

pub(super) fn jobs_of_a_lane_run_in_the_order_of_admission<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("fifo", 1);
    let holds: Vec<_> = (0..6).map(|_| Hold::new()).collect();
    let handles: Vec<_> = holds.iter().map(|hold| pond.put(rig.deaf(hold))).collect();
    for (turn, hold) in holds.iter().enumerate() {
        rig.until("it is the next one's turn", || hold.begun() == 1);
        let begun: Vec<_> = holds.iter().map(Hold::begun).collect();
        assert_eq!(begun.iter().sum::<usize>(), turn + 1, "one after the other: {begun:?}");
        hold.let_go();
    }
    rig.returns(handles);
    pond.at_rest();
}

pub(super) fn jobs_are_numbered_in_the_order_of_admission<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "numbers", Limits::fixed(1), rejecting(2));
    let hold = Hold::new();
    let first = pond.put(rig.deaf(&hold));
    let second = pond.put(rig.value(0));
    let third = pond.put(rig.value(0));
    assert!(pond.offer(rig.value(0)).is_err(), "a job that is refused uses up no number");
    hold.let_go();
    assert_eq!([&first, &second, &third].map(|handle| handle.id().get()), [1, 2, 3]);
    rig.returns([first, second, third]);
    pond.at_rest();
}

pub(super) fn a_submitter_that_goes_away_leaves_no_trace<S: Subject>(rig: Rig<'_, S>) {
    let pond = pond(rig, "goes-away", Limits::fixed(1), hand_over());
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let (leaves, stays) = (pond.wait_at_gate(rig.value(1)), pond.wait_at_gate(rig.value(2)));
    drop(leaves);
    assert_eq!((pond.saturation().waiting, pond.snapshot().ledger.withdrawn), (1, 1));
    assert_eq!(held.status(), JobStatus::Running);
    hold.let_go();
    rig.returns([held]);
    assert_eq!(rig.answer(rig.soon(stays).expect("the place is its")), 2);
    pond.at_rest();
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.accepted, ledger.withdrawn), (3, 2, 1), "{ledger}");
}
