//! 18. Acceptance that does not bind: a place is promised to somebody who never comes for it.
//!
//! Whether the submitter sleeps or is dropped, the place goes on to the next; when the pool ends, a promise is no acceptance. On
//! the settable clock, so that nothing is taken back before the test says so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{CloseReason, Executor, JobHandle, Lane, Limits, Pool, PoolExecutor, RejectReason, Rejected};

use crate::kinds::{Ground, Kind, Output, Work, on_every_kind, put, value};
use crate::latch::Latch;
use crate::patience::{Flag, at_rest, eventually};

const ADMISSION_LIMIT: Duration = Duration::from_secs(30);
/// More than any grant waits for its submitter.
const PATIENCE: Duration = Duration::from_secs(1);

on_every_kind!(
    in_this_process:
    a_grant_that_nobody_polls_is_taken_back,
    a_grant_whose_submitter_is_dropped_goes_to_the_next,
    a_grant_that_meets_the_end_of_the_pool_is_refused,
    a_wait_ends_at_its_limit_although_a_grant_was_taken_back,
);

type Submitting<'a, K> = Pin<Box<dyn Future<Output = Submitted<K>> + Send + 'a>>;
type Submitted<K> = Result<JobHandle<Output>, Rejected<<K as Kind>::Job>>;

/// A pool whose one worker is held and which has no queue: whoever submits waits.
struct Scene<K: Kind> {
    clock: SettableClock,
    pool: Pool<K::Backend>,
    held: Latch,
    running: JobHandle<Output>,
}

fn scene<K: Kind>(name: &str, ground: &Ground) -> Scene<K> {
    let (clock, held) = (SettableClock::new(), ground.latch());
    let pool = K::builder(name, ground)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").capacity(0).admission_limit(ADMISSION_LIMIT))
        .clock(clock.clock())
        .build()
        .expect("the configuration is sound");
    eventually("the worker is up", || pool.saturation().idle == 1);
    let running = put::<K>(&pool, Work::value(0).until(&held));
    Scene { clock, pool, held, running }
}

/// A submit that was polled once, and waits.
fn submit<K: Kind>(pool: &Pool<K::Backend>, number: u64) -> (Submitting<'_, K>, Arc<Flag>) {
    let waiting = pool.saturation().waiting;
    let mut submit: Submitting<'_, K> = Box::pin(pool.submit(K::job(Work::value(number))));
    let flag = Flag::new();
    assert!(flag.poll(submit.as_mut()).is_pending());
    assert_eq!(pool.saturation().waiting, waiting + 1);
    (submit, flag)
}

/// The running job ends, and its place is granted to the first who waits.
fn free(held: &Latch, running: JobHandle<Output>, first: &Flag) {
    held.open();
    assert_eq!(value(running), 0);
    eventually("the first is granted the place", || first.is_up());
}

/// Polled again, the submit gets in, and its job runs.
fn gets_in<K: Kind>(mut submit: Submitting<'_, K>, flag: &Arc<Flag>, number: u64) {
    match flag.poll(submit.as_mut()) {
        Poll::Ready(Ok(handle)) => assert_eq!(value(handle), number),
        Poll::Ready(Err(refused)) => panic!("{refused}"),
        Poll::Pending => panic!("it still waits"),
    }
}

fn a_grant_that_nobody_polls_is_taken_back<K: Kind>() {
    let ground = Ground::new();
    let Scene { clock, pool, held, running } = scene::<K>("h18-revoked", &ground);
    let ((mut sleeper, asleep), (next, awake)) = (submit::<K>(&pool, 1), submit::<K>(&pool, 2));
    free(&held, running, &asleep);
    assert!(!awake.is_up(), "there is one place");
    let overtaking = pool.try_submit(K::job(Work::value(9))).expect_err("it is taken");
    assert!(matches!(overtaking.reason(), RejectReason::Full { .. }), "{overtaking}");

    clock.advance(PATIENCE);
    assert!(awake.is_up(), "in the same tick the place goes to the next");
    gets_in::<K>(next, &awake, 2);
    // The sleeper comes back: to the end of the line, not to a place that it does not have.
    eventually("the place is free again", || pool.saturation().idle == 1);
    let polled = asleep.poll(sleeper.as_mut());
    match polled {
        Poll::Ready(Ok(handle)) => assert_eq!(value(handle), 1),
        Poll::Ready(Err(refused)) => panic!("{refused}"),
        Poll::Pending => {
            eventually("it is granted one again", || asleep.is_up());
            gets_in::<K>(sleeper, &asleep, 1);
        }
    }
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.completed, ledger.rejected, ledger.withdrawn), (4, 3, 1, 0), "{ledger}");
}

fn a_grant_whose_submitter_is_dropped_goes_to_the_next<K: Kind>() {
    let ground = Ground::new();
    let Scene { pool, held, running, .. } = scene::<K>("h18-dropped", &ground);
    let ((leaves, granted), (next, awake)) = (submit::<K>(&pool, 1), submit::<K>(&pool, 2));
    free(&held, running, &granted);
    assert!(!awake.is_up());
    drop(leaves);
    assert!(awake.is_up(), "at once, without a tick");
    gets_in::<K>(next, &awake, 2);
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.offered, ledger.completed, ledger.rejected, ledger.withdrawn), (3, 2, 0, 1), "{ledger}");
}

fn a_grant_that_meets_the_end_of_the_pool_is_refused<K: Kind>() {
    let ground = Ground::new();
    let Scene { pool, held, running, .. } = scene::<K>("h18-closed", &ground);
    let ((mut granted, flag), (mut waits, told)) = (submit::<K>(&pool, 1), submit::<K>(&pool, 2));
    free(&held, running, &flag);
    pool.actor().kill();
    eventually("the other is told", || told.is_up());
    for (submit, flag) in [(&mut granted, &flag), (&mut waits, &told)] {
        let Poll::Ready(Err(refused)) = flag.poll(submit.as_mut()) else { panic!("neither in nor told") };
        let closed = matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::ActorGone, .. });
        assert!(closed, "{refused}");
    }
    drop((granted, waits));
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0 && ledger.waiting == 0, "{ledger}");
    assert_eq!((ledger.offered, ledger.completed, ledger.rejected), (3, 1, 2), "{ledger}");
}

fn a_wait_ends_at_its_limit_although_a_grant_was_taken_back<K: Kind>() {
    let ground = Ground::new();
    let Scene { clock, pool, held, running } = scene::<K>("h18-limit", &ground);
    let (mut sleeper, flag) = submit::<K>(&pool, 1);
    free(&held, running, &flag);
    clock.advance(ADMISSION_LIMIT + PATIENCE);
    let Poll::Ready(Err(refused)) = flag.poll(sleeper.as_mut()) else { panic!("it may not wait on") };
    let timed_out =
        matches!(refused.reason(), RejectReason::AdmissionTimedOut { limit, .. } if *limit == ADMISSION_LIMIT);
    assert!(timed_out, "{refused}");
    drop(sleeper);
    at_rest(&pool);
}
