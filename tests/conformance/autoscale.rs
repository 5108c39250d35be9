//! The autoscaler's loop: asked once in each period, applied within the bounds, overridden by a resize, and let go when it misbehaves.
//! On a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{Autoscaler, By, EventStream, Executor, Lane, Limits, PoolEvent, PoolExecutor, Snapshot};
use millpond_supervisors::SojournTarget;
use parking_lot::Mutex;
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_pool_begins_small_and_gets_what_is_wanted_within_its_bounds,
    growth_wakes_those_who_wait_and_a_smaller_limit_interrupts_nobody,
    a_resize_overrides_what_was_wanted_and_sets_the_bounds,
    no_limit_is_below_what_the_lanes_reserve,
    it_sees_the_load_on_the_pools_clock,
    submitters_that_wait_at_the_gate_for_longer_than_the_target_grow_the_pool,
    it_is_not_asked_while_the_pool_is_quiesced,
    one_that_panics_is_let_go_and_the_limit_is_what_was_set,
    one_that_wants_no_workers_is_let_go_and_the_limit_is_what_was_set,
    one_that_hangs_is_let_go_at_its_limit_and_what_was_set_meanwhile_is_in_force,
}

/// Some of them are less than an autoscaler has for an answer: when the test has seen that it was asked, control may not have its answer yet.
const PERIOD: Duration = Duration::from_millis(100);

/// Wants what it is told to want, and counts how often it is asked.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<(AtomicUsize, AtomicUsize)>);

impl Told {
    fn to_want(workers: usize) -> Self {
        let told = Self::default();
        told.wants(workers);
        told
    }

    pub(crate) fn wants(&self, workers: usize) {
        self.0.0.store(workers, Ordering::Release);
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.1.load(Ordering::Acquire)
    }
}

impl Autoscaler for Told {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        let wanted = self.0.0.load(Ordering::Acquire);
        self.0.1.fetch_add(1, Ordering::AcqRel);
        wanted
    }
}

fn scaled<S: Subject>(what: &str, limits: Limits, policy: impl Autoscaler) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let lane = Lane::new("default").capacity(0);
    let pool = build::<S>(what, |builder| {
        builder.limits(limits).default_lane(lane).autoscaler(policy, PERIOD).clock(clock.clock())
    });
    (pool, clock)
}

#[track_caller]
fn limit_becomes<S: Subject>(pool: &PoolOf<S>, limit: usize) {
    until("the limit is what is wanted", || pool.saturation().limit == limit);
}

/// Lets a period pass, and waits until the answer to its question has come.
#[track_caller]
fn next_period<S: Subject>(pool: &PoolOf<S>, clock: &SettableClock, told: &Told) {
    // What was answered last is worked off, and the next question has its date.
    after_control(pool);
    let asked = told.asked();
    clock.advance(PERIOD);
    until("it is asked", || told.asked() > asked);
}

fn a_pool_begins_small_and_gets_what_is_wanted_within_its_bounds<S: Subject>() {
    let told = Told::to_want(1);
    let (pool, clock) = scaled::<S>("scaled", Limits::new(1, 4), told.clone());
    assert_eq!(pool.saturation().limit, 1);
    until("it is asked as it begins", || told.asked() == 1);
    let mut events = pool.events();
    for (wanted, limit) in [(3, 3), (100, 4), (2, 2), (1, 1)] {
        told.wants(wanted);
        next_period::<S>(&pool, &clock, &told);
        limit_becomes::<S>(&pool, limit);
    }
    let mut seen = Vec::new();
    while seen.len() < 4 {
        if let Some(PoolEvent::Scaled { from, to }) = soon(events.next()) {
            seen.push((from, to));
        }
    }
    assert_eq!(seen, [(1, 3), (3, 4), (4, 2), (2, 1)]);
    at_rest(&pool);
}

fn growth_wakes_those_who_wait_and_a_smaller_limit_interrupts_nobody<S: Subject>() {
    let told = Told::to_want(1);
    let (pool, clock) = scaled::<S>("scaled-wakes", Limits::new(1, 2), told.clone());
    until("it is asked as it begins", || told.asked() == 1);
    let gate = Gate::new();
    let mut jobs = hold::<S>(&pool, &gate, 1);
    let mut waits = spawn(Box::pin(pool.submit(S::job(Task::deaf(&gate)))));
    assert_pending!(waits.poll());
    told.wants(2);
    next_period::<S>(&pool, &clock, &told);
    jobs.push(soon(waits).expect("there is a place now"));
    until("both run", || gate.entered() == 2);
    told.wants(1);
    next_period::<S>(&pool, &clock, &told);
    limit_becomes::<S>(&pool, 1);
    let seen = pool.saturation();
    assert_eq!((seen.active, seen.debt), (2, 1));
    gate.open();
    jobs.into_iter().for_each(|job| assert_eq!(soon(job).unwrap(), 0));
    at_rest(&pool);
}

fn a_resize_overrides_what_was_wanted_and_sets_the_bounds<S: Subject>() {
    let told = Told::to_want(2);
    let (pool, clock) = scaled::<S>("scaled-resize", Limits::new(1, 4), told.clone());
    limit_becomes::<S>(&pool, 2);
    soon(pool.resize(Limits::new(1, 6), LIMIT)).expect("it answers");
    assert_eq!(pool.saturation().limit, 6);
    next_period::<S>(&pool, &clock, &told);
    limit_becomes::<S>(&pool, 2);
    soon(pool.resize(Limits::fixed(3), LIMIT)).expect("it answers");
    told.wants(9);
    next_period::<S>(&pool, &clock, &told);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 3);
    at_rest(&pool);
}

fn no_limit_is_below_what_the_lanes_reserve<S: Subject>() {
    let told = Told::to_want(1);
    let clock = SettableClock::new();
    let pool = build::<S>("scaled-reserve", |builder| {
        let lane = Lane::new("dns").reserve(2);
        builder.limits(Limits::new(2, 4)).lane(lane).autoscaler(told.clone(), PERIOD).clock(clock.clock())
    });
    until("it is asked as it begins", || told.asked() == 1);
    // The lane that reserves none needs one as well.
    limit_becomes::<S>(&pool, 3);
    next_period::<S>(&pool, &clock, &told);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 3);
    at_rest(&pool);
}

/// Keeps what it was shown.
struct Sees(Arc<Mutex<Vec<(Duration, usize, Limits)>>>);

impl Autoscaler for Sees {
    fn scale(&self, snapshot: &Snapshot, bounds: Limits) -> usize {
        let waited = snapshot.lanes[0].head_since.map_or(Duration::ZERO, |since| snapshot.taken_at.since(since));
        self.0.lock().push((waited, snapshot.saturation.limit, bounds));
        snapshot.saturation.limit
    }
}

fn it_sees_the_load_on_the_pools_clock<S: Subject>() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let clock = SettableClock::new();
    let limits = Limits::new(1, 4);
    let pool = build::<S>("scaled-sees", |builder| {
        builder.limits(limits).autoscaler(Sees(seen.clone()), PERIOD).clock(clock.clock())
    });
    until("it is asked as it begins", || seen.lock().len() == 1);
    let gate = Gate::new();
    let mut jobs = hold::<S>(&pool, &gate, 1);
    jobs.push(crate::rig::put::<S>(&pool, Task::deaf(&gate)));
    after_control(&pool);
    clock.advance(PERIOD);
    until("it is asked again", || seen.lock().len() == 2);
    assert_eq!(seen.lock()[1], (PERIOD, 1, limits));
    gate.open();
    jobs.into_iter().for_each(|job| assert_eq!(soon(job).unwrap(), 0));
    at_rest(&pool);
}

/// One job is in, nothing is queued, and seven wait for a seat.
fn submitters_that_wait_at_the_gate_for_longer_than_the_target_grow_the_pool<S: Subject>() {
    let target = PERIOD / 4;
    let (pool, clock) = scaled::<S>("scaled-gate", Limits::new(1, 8), SojournTarget::new(target));
    let gate = Gate::new();
    let mut jobs = hold::<S>(&pool, &gate, 1);
    let mut waits: Vec<_> = (0..7).map(|_| spawn(Box::pin(pool.submit(S::job(Task::deaf(&gate)))))).collect();
    waits.iter_mut().for_each(|wait| assert_pending!(wait.poll()));
    let begun = clock.now();
    let seen = pool.snapshot();
    assert_eq!((seen.lanes[0].queued, seen.lanes[0].waiting, seen.lanes[0].waiting_since), (0, 7, Some(begun)));
    for limit in [2, 4, 8] {
        // What was answered last is worked off, and the next question has its date.
        after_control(&pool);
        assert_eq!(pool.saturation().limit, limit / 2);
        clock.advance(PERIOD);
        limit_becomes::<S>(&pool, limit);
        jobs.extend(waits.drain(..limit / 2).map(|wait| soon(wait).expect("there is a place now")));
        until("they run", || gate.entered() == limit);
        let since = (limit < 8).then_some(begun);
        assert_eq!(pool.snapshot().lanes[0].waiting_since, since);
    }
    gate.open();
    jobs.into_iter().for_each(|job| assert_eq!(soon(job).unwrap(), 0));
    at_rest(&pool);
}

fn it_is_not_asked_while_the_pool_is_quiesced<S: Subject>() {
    let told = Told::to_want(2);
    let (pool, clock) = scaled::<S>("scaled-quiesced", Limits::new(1, 2), told.clone());
    // It was asked as the pool began, and control has its answer.
    limit_becomes::<S>(&pool, 2);
    soon(pool.quiesce(LIMIT)).expect("it answers");
    for _ in 0..3 {
        clock.advance(PERIOD);
        after_control(&pool);
    }
    soon(pool.resume(LIMIT)).expect("it answers");
    assert_eq!(told.asked(), 1);
    next_period::<S>(&pool, &clock, &told);
    assert_eq!(told.asked(), 2);
}

/// The reason why it was let go.
fn reason(events: &mut EventStream) -> String {
    loop {
        if let PoolEvent::PolicyReplaced { reason } = soon(events.next()).expect("the pool is there") {
            return reason;
        }
    }
}

/// The limits were changed next, by nobody but the pool.
#[track_caller]
fn resized(events: &mut EventStream, before: Limits, after: Limits) {
    loop {
        if let PoolEvent::Resized { from, to, by, .. } = soon(events.next()).expect("the pool is there") {
            assert_eq!((from, to, by), (before, after, By::Pool));
            return;
        }
    }
}

/// Sound once, then does what it was given to do.
struct Then<F>(AtomicUsize, F);

impl<F: Fn() -> usize + Send + Sync + 'static> Autoscaler for Then<F> {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        if self.0.fetch_add(1, Ordering::AcqRel) == 0 { 2 } else { self.1() }
    }
}

fn is_let_go<S: Subject>(what: &str, then: impl Fn() -> usize + Send + Sync + 'static, why: &str) {
    let (pool, clock) = scaled::<S>(what, Limits::new(1, 4), Then(AtomicUsize::new(0), then));
    limit_becomes::<S>(&pool, 2);
    let mut events = pool.events();
    after_control(&pool);
    clock.advance(PERIOD);
    let reason = reason(&mut events);
    assert!(reason.contains("autoscaler") && reason.contains(why), "{reason}");
    assert!(reason.ends_with("the limit goes back from 2 to 4 workers, as was set"), "{reason}");
    resized(&mut events, Limits::new(1, 2), Limits::new(1, 4));
    clock.advance(PERIOD * 10);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 4);
    soon(pool.resize(Limits::fixed(3), LIMIT)).expect("a resize is answered");
    assert_eq!(pool.saturation().limit, 3);
    at_rest(&pool);
}

fn one_that_panics_is_let_go_and_the_limit_is_what_was_set<S: Subject>() {
    is_let_go::<S>("scaled-panics", || panic!("no idea"), "panicked: no idea");
}

fn one_that_wants_no_workers_is_let_go_and_the_limit_is_what_was_set<S: Subject>() {
    is_let_go::<S>("scaled-zero", || 0, "zero workers");
}

/// Wants two workers, twice; then it hangs until the other end of its channel is dropped.
#[derive(Clone)]
struct Hangs(Arc<(AtomicUsize, Mutex<Receiver<()>>)>);

impl Autoscaler for Hangs {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        if self.0.0.fetch_add(1, Ordering::AcqRel) > 1 {
            assert!(self.0.1.lock().recv().is_err(), "nothing is sent");
        }
        2
    }
}

fn one_that_hangs_is_let_go_at_its_limit_and_what_was_set_meanwhile_is_in_force<S: Subject>() {
    let (release, hangs) = sync_channel(1);
    let policy = Hangs(Arc::new((AtomicUsize::new(0), Mutex::new(hangs))));
    let (pool, clock) = scaled::<S>("scaled-hangs", Limits::new(1, 4), policy.clone());
    limit_becomes::<S>(&pool, 2);
    soon(pool.resize(Limits::new(1, 3), LIMIT)).expect("it answers");
    clock.advance(PERIOD);
    limit_becomes::<S>(&pool, 2);
    after_control(&pool);
    let mut events = pool.events();
    clock.advance(PERIOD);
    until("it hangs", || policy.0.0.load(Ordering::Acquire) == 3);
    // Control answers meanwhile.
    after_control(&pool);
    clock.advance(Duration::from_secs(1));
    let reason = reason(&mut events);
    assert!(reason.contains("did not answer within 1s"), "{reason}");
    resized(&mut events, Limits::new(1, 2), Limits::new(1, 3));
    drop(release);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 3);
    at_rest(&pool);
}
