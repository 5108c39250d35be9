//! Admission: who is let in, who waits, who is turned away.

use millpond::{Lane, Limits, PoolExecutor, RejectReason};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{at_rest, build, hold, offer, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_pool_of_n_with_capacity_c_admits_exactly_n_plus_c,
    a_lane_of_capacity_zero_hands_over_to_a_free_worker,
    a_pool_that_is_not_up_yet_admits_for_workers_that_can_be_started,
    a_refused_job_comes_back_intact_from_all_three_forms,
    a_lane_that_waits_lets_the_submitter_in_when_a_place_comes_free,
    a_blocking_submitter_waits_at_the_gate,
    jobs_of_a_lane_run_in_the_order_of_admission,
    jobs_are_numbered_in_the_order_of_admission,
    a_submitter_that_goes_away_leaves_no_trace,
}

fn rejecting(capacity: usize) -> Lane {
    Lane::new("default").capacity(capacity).reject_when_full()
}

/// `DESIGN.md`, section 2: how many get in does not depend on whether a worker has taken one yet.
fn a_pool_of_n_with_capacity_c_admits_exactly_n_plus_c<S: Subject>() {
    for taken_first in [false, true] {
        let pool = build::<S>("n-plus-c", |builder| builder.limits(Limits::fixed(2)).default_lane(rejecting(3)));
        let gate = Gate::new();
        let mut handles = Vec::new();
        for _ in 0..5 {
            handles.push(put::<S>(&pool, Task::deaf(&gate)));
            if taken_first {
                let running = handles.len().min(2);
                until("workers have taken what they can", || gate.entered() == running);
            }
        }
        for _ in 0..3 {
            let refused = offer::<S>(&pool, Task::deaf(&gate)).expect_err("N + c are in");
            assert!(matches!(refused.reason(), RejectReason::Full { .. }), "{refused}");
        }
        gate.open();
        handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
        at_rest(&pool);
        assert_eq!(pool.snapshot().ledger.rejected, 3);
    }
}

/// Without a queue it takes a free worker to let a job in. A job whose outcome is known has given its place back already.
fn a_lane_of_capacity_zero_hands_over_to_a_free_worker<S: Subject>() {
    let pool = build::<S>("hand-over", |builder| builder.limits(Limits::fixed(2)).default_lane(rejecting(0)));
    let (first, second) = (Gate::new(), Gate::new());
    let one = put::<S>(&pool, Task::deaf(&first));
    let two = put::<S>(&pool, Task::deaf(&second));
    assert!(offer::<S>(&pool, Task::value(1)).is_err(), "both seats are taken");
    first.open();
    soon(one).unwrap();
    assert_eq!(soon(put::<S>(&pool, Task::value(3))).unwrap(), 3);
    second.open();
    soon(two).unwrap();
    at_rest(&pool);
}

/// Nor has that worker to be up already: a seat that can be filled counts.
fn a_pool_that_is_not_up_yet_admits_for_workers_that_can_be_started<S: Subject>() {
    let pool = build::<S>("on-demand", |builder| builder.limits(Limits::new(0, 2)).default_lane(rejecting(0)));
    let gate = Gate::new();
    let handles = hold::<S>(&pool, &gate, 2);
    assert!(offer::<S>(&pool, Task::value(1)).is_err());
    assert_eq!(pool.saturation().workers, 2);
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// Whoever is refused still has the job, unharmed, and can run it.
fn a_refused_job_comes_back_intact_from_all_three_forms<S: Subject>() {
    let pool = build::<S>("comes-back", |builder| builder.limits(Limits::fixed(1)).default_lane(rejecting(0)));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let by_try = offer::<S>(&pool, Task::value(11)).expect_err("full");
    let by_await = soon(millpond::Executor::submit(&pool, S::job(Task::value(12)))).expect_err("full");
    let by_block = millpond::Executor::submit_blocking(&pool, S::job(Task::value(13))).expect_err("full");
    for (refused, value) in [(by_try, 11), (by_await, 12), (by_block, 13)] {
        let text = refused.to_string();
        assert!(text.contains(pool.name()) && text.contains("1/1 busy"), "{text}");
        assert_eq!(S::run_here(refused.into_job()), value);
    }
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.accepted, ledger.rejected), (4, 1, 3));
    at_rest(&pool);
}

/// A lane is full only until one of its places is given back.
fn a_lane_that_waits_lets_the_submitter_in_when_a_place_comes_free<S: Subject>() {
    let pool =
        build::<S>("waits", |builder| builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(0)));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut submission = spawn(millpond::Executor::submit(&pool, S::job(Task::value(5))));
    assert_pending!(submission.poll());
    assert_eq!(pool.saturation().waiting, 1);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.waiting == 1, "{ledger}");
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let handle = soon(submission).expect("its turn has come");
    assert_eq!(soon(handle).unwrap(), 5);
    at_rest(&pool);
}

/// A thread waits at the gate as a task does.
fn a_blocking_submitter_waits_at_the_gate<S: Subject>() {
    let pool =
        build::<S>("blocks", |builder| builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(0)));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let value = std::thread::scope(|scope| {
        let submitter = scope.spawn(|| {
            let handle = millpond::Executor::submit_blocking(&pool, S::job(Task::value(6))).expect("its turn comes");
            handle.join().expect("it runs")
        });
        until("the submitter waits", || pool.saturation().waiting == 1);
        gate.open();
        submitter.join().expect("the submitter ends")
    });
    assert_eq!(value, 6);
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// One lane, one worker, no limits: nothing may change the order.
fn jobs_of_a_lane_run_in_the_order_of_admission<S: Subject>() {
    let pool = build::<S>("fifo", |builder| builder.limits(Limits::fixed(1)));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let (sender, order) = std::sync::mpsc::sync_channel(64);
    let note = |n: u64| {
        let sender = sender.clone();
        Task::call(move || {
            sender.send(n).expect("the test listens");
            n
        })
    };
    let handles: Vec<_> = (0..40).map(|n| put::<S>(&pool, note(n))).collect();
    gate.open();
    handles.into_iter().zip(0..).for_each(|(handle, n)| assert_eq!(soon(handle).unwrap(), n));
    assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// `JobId`: "numbered in the order of admission"; a job that is refused uses up no number.
fn jobs_are_numbered_in_the_order_of_admission<S: Subject>() {
    let pool = build::<S>("numbers", |builder| builder.limits(Limits::fixed(1)).default_lane(rejecting(2)));
    let gate = Gate::new();
    let first = put::<S>(&pool, Task::deaf(&gate));
    let second = put::<S>(&pool, Task::value(0));
    let third = put::<S>(&pool, Task::value(0));
    assert!(offer::<S>(&pool, Task::value(0)).is_err());
    gate.open();
    let ids = [&first, &second, &third].map(|handle| handle.id().get());
    assert_eq!(ids, [1, 2, 3]);
    [first, second, third].into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// Invariant 7, for a submit whose future is dropped.
fn a_submitter_that_goes_away_leaves_no_trace<S: Subject>() {
    let pool = build::<S>("goes-away", |builder| {
        builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(0))
    });
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut leaves = spawn(millpond::Executor::submit(&pool, S::job(Task::value(1))));
    let mut stays = spawn(millpond::Executor::submit(&pool, S::job(Task::value(2))));
    assert_pending!(leaves.poll());
    assert_pending!(stays.poll());
    drop(leaves);
    assert_eq!((pool.saturation().waiting, pool.snapshot().ledger.withdrawn), (1, 1));
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let handle = soon(stays).expect("the place is its");
    assert_eq!(soon(handle).unwrap(), 2);
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.accepted, ledger.withdrawn), (3, 2, 1), "{ledger}");
}
