//! The line at the gate, on a clock that stands still, so that no promise runs out under the test.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{Executor, Lane, Limits, PoolExecutor, RejectReason};
use tokio_test::{assert_pending, assert_ready, task::spawn};

use crate::rig::{PoolOf, at_rest, build, hold, offer, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    nobody_overtakes_those_who_wait,
    waiters_are_let_in_in_their_order,
    a_promised_place_that_is_dropped_goes_to_the_next_in_line,
    a_promise_that_nobody_comes_for_is_revoked,
    a_place_freed_by_a_cancelled_job_goes_to_a_waiter,
}

/// One seat and no queue, so that whoever comes second waits.
fn narrow<S: Subject>(what: &str, capacity: usize) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let lane = Lane::new("default").capacity(capacity).admission_limit(None);
    let pool = build::<S>(what, |builder| builder.limits(Limits::fixed(1)).default_lane(lane).clock(clock.clock()));
    (pool, clock)
}

/// A place that is promised looks free, and is not to be had by `try_submit`.
fn nobody_overtakes_those_who_wait<S: Subject>() {
    let (pool, _clock) = narrow::<S>("overtake", 0);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut waiter = spawn(pool.submit(S::job(Task::value(1))));
    assert_pending!(waiter.poll());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the waiter is called", || waiter.is_woken());
    let refused = offer::<S>(&pool, Task::value(2)).expect_err("the place is promised");
    assert!(matches!(refused.reason(), RejectReason::Full { .. }), "{refused}");
    let handle = assert_ready!(waiter.poll()).expect("the place is the waiter's");
    assert_eq!(soon(handle).unwrap(), 1);
    assert_eq!(soon(offer::<S>(&pool, Task::value(3)).expect("now there is a place")).unwrap(), 3);
    drop(waiter);
    at_rest(&pool);
}

/// Who came first is let in first, one for each place that comes free.
fn waiters_are_let_in_in_their_order<S: Subject>() {
    let (pool, _clock) = narrow::<S>("line", 0);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let next = Gate::new();
    let mut first = spawn(pool.submit(S::job(Task::deaf(&next))));
    let mut second = spawn(pool.submit(S::job(Task::value(2))));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the first is called", || first.is_woken());
    let running = assert_ready!(first.poll()).expect("its turn");
    assert!(!second.is_woken(), "one place, one call");
    assert_pending!(second.poll());
    next.open();
    soon(running).unwrap();
    let last = soon(second).expect("its turn");
    assert_eq!(soon(last).unwrap(), 2);
    drop(first);
    at_rest(&pool);
}

/// Invariant 7, between grant and receipt.
fn a_promised_place_that_is_dropped_goes_to_the_next_in_line<S: Subject>() {
    let (pool, _clock) = narrow::<S>("dropped-promise", 0);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut first = spawn(pool.submit(S::job(Task::value(1))));
    let mut second = spawn(pool.submit(S::job(Task::value(2))));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the first is called", || first.is_woken());
    drop(first);
    let handle = soon(second).expect("the place went on to it");
    assert_eq!(soon(handle).unwrap(), 2);
    assert_eq!(pool.snapshot().ledger.withdrawn, 1);
    at_rest(&pool);
}

/// A submitter that does not come for its place keeps its job and goes to the end of the line.
fn a_promise_that_nobody_comes_for_is_revoked<S: Subject>() {
    let (pool, clock) = narrow::<S>("revoked", 0);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let next = Gate::new();
    let mut sleepy = spawn(pool.submit(S::job(Task::value(1))));
    let mut awake = spawn(pool.submit(S::job(Task::deaf(&next))));
    assert_pending!(sleepy.poll());
    assert_pending!(awake.poll());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the sleepy one is called", || sleepy.is_woken());
    clock.advance(Duration::from_secs(1));
    let running = assert_ready!(awake.poll()).expect("the place went on to it");
    assert_pending!(sleepy.poll());
    assert_eq!(pool.saturation().waiting, 1);
    next.open();
    soon(running).unwrap();
    let handle = soon(sleepy).expect("its turn again");
    assert_eq!(soon(handle).unwrap(), 1);
    drop(awake);
    at_rest(&pool);
}

/// The place comes back with the cancellation, not when a worker would have come to the job.
fn a_place_freed_by_a_cancelled_job_goes_to_a_waiter<S: Subject>() {
    let (pool, _clock) = narrow::<S>("freed", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = offer::<S>(&pool, Task::value(1)).expect("a place in the queue");
    let mut waiter = spawn(pool.submit(S::job(Task::value(2))));
    assert_pending!(waiter.poll());
    queued.cancel();
    let handle = assert_ready!(waiter.poll()).expect("the place is free at once");
    gate.open();
    assert_eq!(soon(handle).unwrap(), 2);
    assert!(soon(queued).is_err());
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    drop(waiter);
    at_rest(&pool);
}
