//! Jobs that rest before they are delivered again, on a clock that stands still: what can happen to them there.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    CloseReason, Executor, JobContext, JobError, JobHandle, JobOptions, JobStatus, Ladder, Lane, Limits, PoolExecutor,
    ProcessPool, Redelivery, Select, TimeLimit,
};

use crate::rig::{builder, failure, until};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));
const SECOND: Duration = Duration::from_secs(1);
/// Longer than the rest of one that rests for a minute at most.
const RESTED: Duration = Duration::from_secs(60);

/// A pool with one worker, whose clock stands still.
fn pool(name: &str, shape: impl FnOnce(Lane) -> Lane) -> (ProcessPool, SettableClock) {
    let clock = SettableClock::new();
    // The clock may be moved while a child comes up: that is not to be late for it.
    let builder = builder(name).limits(Limits::fixed(1)).clock(clock.clock()).start_limit(RESTED * 1_000);
    (builder.default_lane(shape(Lane::new("default"))).build().unwrap(), clock)
}

fn twice() -> JobOptions {
    JobOptions::new().redeliver(Redelivery::new(2).back_off(RESTED, RESTED))
}

/// Its first worker is lost; gives back which delivery it was.
fn fragile(_: ()) -> u16 {
    let delivery = JobContext::current().expect("a job runs here").delivery();
    if delivery == 1 { std::process::abort() } else { delivery }
}

/// Submitted, delivered once, and at rest.
fn resting(pool: &ProcessPool, options: JobOptions) -> JobHandle<u16> {
    let handle = pool.with(options).submit_call_blocking(fragile, ()).unwrap();
    until("it rests", || pool.snapshot().lanes[0].resting == 1);
    assert_eq!((handle.status(), handle.lost_deliveries()), (JobStatus::Queued, 1));
    handle
}

#[track_caller]
fn is_at_rest(pool: &ProcessPool) {
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.lanes[0].resting, snapshot.lanes[0].queued, snapshot.ledger.pending), (0, 0, 0));
    assert!(snapshot.ledger.balances(), "{}", snapshot.ledger);
}

#[test]
fn others_go_on_while_a_job_rests_and_it_goes_first_when_it_has() {
    let (pool, clock) = pool("rests", |lane| lane);
    let mut handle = resting(&pool, twice());
    for n in 0..50_u32 {
        assert_eq!(pool.submit_blocking(|n: u32| n, n).unwrap().join().unwrap(), n);
    }
    clock.advance(RESTED / 2 - Duration::from_nanos(1));
    assert_eq!(pool.snapshot().lanes[0].resting, 1, "it rests for half of that at least");
    pool.blocking().quiesce(LIMIT).unwrap();
    let later = pool.submit_blocking(|()| (), ()).unwrap();
    clock.advance(RESTED);
    assert_eq!((pool.snapshot().lanes[0].resting, pool.snapshot().lanes[0].queued), (0, 2));
    pool.blocking().resume(LIMIT).unwrap();
    later.join().unwrap();
    assert_eq!(handle.status(), JobStatus::Done, "it was admitted before");
    assert_eq!(handle.join_timeout(LIMIT.0).unwrap(), 2);
    is_at_rest(&pool);
}

#[test]
fn one_that_is_cancelled_while_it_rests_ends_then() {
    let (pool, clock) = pool("cancelled", |lane| lane);
    let handle = resting(&pool, twice());
    handle.cancel();
    let error = failure(handle);
    let JobError::Cancelled(cancelled) = &error else { panic!("{error}") };
    assert_eq!(cancelled.lost_deliveries, 1);
    assert!(error.to_string().contains("before it began again (a worker was lost under it)"), "{error}");
    is_at_rest(&pool);
    let handle = resting(&pool, twice());
    let report = pool.blocking().terminate(Select::Job(handle.id()), Ladder::kill(), LIMIT).unwrap();
    assert!(matches!(failure(handle), JobError::Cancelled(_)), "{report:?}");
    clock.advance(RESTED);
    is_at_rest(&pool);
}

/// A queue limit is for a wait for a worker, and a rest is none; a deadline is for all of it.
#[test]
fn limits_hold_for_one_that_rests() {
    let (pool, clock) = pool("limits", |lane| lane.queue_limit(SECOND));
    let error = {
        let handle = resting(&pool, twice().deadline_in(SECOND * 2));
        clock.advance(SECOND);
        assert_eq!(handle.status(), JobStatus::Queued, "the queue limit does not count");
        clock.advance(SECOND);
        failure(handle)
    };
    assert!(error.to_string().contains("deadline"), "{error}");
    is_at_rest(&pool);
    let handle = resting(&pool, twice());
    pool.blocking().quiesce(LIMIT).unwrap();
    clock.advance(RESTED);
    assert_eq!(handle.status(), JobStatus::Queued, "it counts anew");
    clock.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(handle.status(), JobStatus::Queued);
    clock.advance(Duration::from_nanos(1));
    let error = failure(handle);
    let JobError::TimedOut(late) = &error else { panic!("{error}") };
    assert_eq!(late.after, SECOND);
    is_at_rest(&pool);
}

#[test]
fn one_that_rests_keeps_its_place_and_no_seat() {
    let (pool, clock) = pool("place", |lane| lane.capacity(1).reject_when_full());
    let handle = resting(&pool, twice());
    // The seat is free, and the one place in the queue is taken.
    pool.submit_blocking(|()| (), ()).unwrap().join().unwrap();
    pool.blocking().quiesce(LIMIT).unwrap();
    let other = pool.try_submit(|()| (), ()).unwrap();
    assert!(pool.try_submit(|()| (), ()).is_err());
    pool.blocking().resume(LIMIT).unwrap();
    other.join().unwrap();
    clock.advance(RESTED);
    assert_eq!(handle.join().unwrap(), 2);
    is_at_rest(&pool);
}

#[test]
fn a_pool_that_drains_delivers_again() {
    let (pool, clock) = pool("drains", |lane| lane);
    let handle = resting(&pool, twice());
    let drained = std::thread::scope(|scope| {
        let drained = scope.spawn(|| pool.blocking().drain(TimeLimit(RESTED * 10)));
        until("it drains", || pool.snapshot().gate == "draining");
        clock.advance(RESTED);
        drained.join().expect("no panic")
    });
    drained.unwrap();
    assert_eq!(handle.join().unwrap(), 2);
}

#[test]
fn a_pool_that_ends_hands_back_what_rests() {
    let (pool, _clock) = pool("ends", |lane| lane);
    let handle = resting(&pool, twice());
    pool.actor().get_cell().kill();
    let error = failure(handle);
    let JobError::NotStarted(ended) = &error else { panic!("{error}") };
    assert_eq!((ended.lost_deliveries, &ended.reason), (1, &CloseReason::ActorGone));
    assert!(error.to_string().contains("did not begin again (a worker was lost under it)"), "{error}");
}

/// A place without a queue is for a worker. Whoever lost one has it no longer promised to them by a start that fails.
#[test]
fn one_that_rests_takes_no_others_worker_in_a_lane_without_a_queue() {
    let (pool, clock) = pool("direct", |lane| lane.capacity(0));
    let handle = resting(&pool, twice());
    assert!(Executor::try_submit(&pool, millpond::process::RemoteCall::new(|()| (), ())).is_err(), "its place is kept");
    clock.advance(RESTED);
    assert_eq!(handle.join().unwrap(), 2);
    until("the seat is free", || pool.try_submit(|()| (), ()).is_ok_and(|job| job.join().is_ok()));
}
