//! Warm spares: workers that idle before a job needs them. `Limits::min_idle`, and `DESIGN.md`, section 5.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Autoscaler, ConfigError, ControlError, EventStream, JobOptions, Ladder, Lane, Limits, PoolEvent, PoolExecutor,
    Recycle, Select, Snapshot, TimeLimit, Verdict, WorkerId, WorkerState,
};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, put, put_with, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    spares_come_up_as_others_get_work_and_never_beyond_max,
    whoever_is_killed_has_its_replacement_up_already,
    an_idle_exit_leaves_spares_and_min,
    a_hook_is_asked_about_no_more_idle_exits_than_spares_allow,
    a_pool_that_is_quiesced_or_drains_starts_no_spare,
    a_spare_whose_start_is_denied_is_tried_again_after_the_pause,
    spares_are_changed_while_the_pool_runs_and_too_many_are_refused,
    an_autoscaler_leaves_room_for_spares,
    a_worker_is_recycled_while_its_spare_is_there,
    spares_beside_a_reserve,
}

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn idle_becomes<S: Subject>(pool: &PoolOf<S>, idle: usize) {
    until("so many idle", || pool.saturation().idle == idle);
    after_control(pool);
    let seen = pool.saturation();
    assert_eq!((seen.idle, seen.starting), (idle, 0), "{seen}");
}

fn idlers<S: Subject>(pool: &PoolOf<S>) -> Vec<WorkerId> {
    let rows = pool.inventory_now().workers;
    rows.iter().filter(|row| row.state == WorkerState::Idle).map(|row| row.worker).collect()
}

fn kill<S: Subject>(pool: &PoolOf<S>, worker: WorkerId) {
    let mut events = pool.events();
    soon(pool.terminate(Select::worker(worker), Ladder::kill(), LIMIT)).expect("it answers");
    control_has_missed::<S>(pool, &mut events, worker);
}

/// Waits until control has seen to what is wanted without this worker. A job that comes before that may be taken by one that is started then.
fn control_has_missed<S: Subject>(pool: &PoolOf<S>, events: &mut EventStream, worker: WorkerId) {
    let is_it = |event: &PoolEvent| match event {
        PoolEvent::WorkerGone { worker: gone, .. } | PoolEvent::WorkerAbandoned { worker: gone } => *gone == worker,
        _ => false,
    };
    until("it is missed", || std::iter::from_fn(|| events.try_next()).any(|event| is_it(&event)));
    after_control(pool);
}

fn spares_come_up_as_others_get_work_and_never_beyond_max<S: Subject>() {
    let pool = build::<S>("spares", |builder| builder.limits(Limits::new(0, 4).min_idle(2).idle_timeout(None)));
    idle_becomes::<S>(&pool, 2);
    let gate = Gate::new();
    let mut held = Vec::new();
    for (busy, idle) in [(1, 2), (2, 2), (3, 1), (4, 0)] {
        held.extend(hold::<S>(&pool, &gate, 1));
        idle_becomes::<S>(&pool, idle);
        assert_eq!(pool.saturation().active, busy);
    }
    let queued = put::<S>(&pool, Task::value(3));
    after_control(&pool);
    assert_eq!(pool.saturation().workers, 4, "no spare beyond max");
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    assert_eq!(soon(queued).unwrap(), 3);
    at_rest(&pool);
    // One worker is enough for jobs that come one by one, beside the spares.
    assert!((0..20).all(|_| soon(put::<S>(&pool, Task::value(1))).is_ok()));
    assert_eq!(pool.saturation().workers, 4);
}

/// The next job runs on a worker that was up before the other one was killed, be that at work or idle.
fn whoever_is_killed_has_its_replacement_up_already<S: Subject>() {
    let pool = build::<S>("killed", |builder| builder.limits(Limits::new(0, 3).min_idle(1)));
    idle_becomes::<S>(&pool, 1);
    let (first, second) = (Gate::new(), Gate::new());
    let doomed = hold::<S>(&pool, &first, 1).pop().expect("one");
    idle_becomes::<S>(&pool, 1);
    let spare = idlers::<S>(&pool);
    kill::<S>(&pool, worker_of(&pool, &doomed));
    assert!(soon(doomed).is_err());
    let next = put::<S>(&pool, Task::deaf(&second));
    assert_eq!([worker_of(&pool, &next)], *spare);
    idle_becomes::<S>(&pool, 1);
    let idler = idlers::<S>(&pool)[0];
    kill::<S>(&pool, idler);
    until("another one takes its place", || idlers::<S>(&pool).iter().any(|other| *other != idler));
    first.open();
    second.open();
    soon(next).unwrap();
    at_rest(&pool);
}

fn an_idle_exit_leaves_spares_and_min<S: Subject>() {
    for (limits, stay) in [(Limits::new(0, 4).min_idle(1), 1), (Limits::new(3, 4).min_idle(1), 3)] {
        let clock = SettableClock::new();
        let pool =
            build::<S>("idle-spares", |builder| builder.limits(limits.idle_timeout(SECOND * 8)).clock(clock.clock()));
        let gate = Gate::new();
        let held = hold::<S>(&pool, &gate, 4);
        gate.open();
        held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
        idle_becomes::<S>(&pool, 4);
        for _ in 0..10 {
            clock.advance(SECOND * 2);
            after_control(&pool);
        }
        until("the others have left", || pool.inventory_now().workers.len() == stay);
        clock.advance(SECOND * 60);
        after_control(&pool);
        assert_eq!(pool.saturation().idle, stay, "{limits}");
        at_rest(&pool);
    }
}

fn a_hook_is_asked_about_no_more_idle_exits_than_spares_allow<S: Subject>() {
    let (hook, _seen) = Answers::new(|_| Verdict::Allow);
    let clock = SettableClock::new();
    let limits = Limits::new(0, 3).min_idle(1).idle_timeout(SECOND * 8);
    let pool = build::<S>("asked-idle", |builder| builder.limits(limits).clock(clock.clock()).hook("all", hook));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 3);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    idle_becomes::<S>(&pool, 3);
    let asked = || soon(pool.hooks(LIMIT)).expect("it answers")[0].asked;
    let before = asked();
    clock.advance(SECOND * 10);
    until("two have left", || pool.inventory_now().workers.len() == 1);
    for _ in 0..10 {
        clock.advance(SECOND * 10);
        after_control(&pool);
    }
    assert_eq!((asked() - before, pool.saturation().idle), (2, 1));
    at_rest(&pool);
}

fn a_pool_that_is_quiesced_or_drains_starts_no_spare<S: Subject>() {
    let pool = build::<S>("no-spares", |builder| builder.limits(Limits::new(0, 3).min_idle(1)));
    idle_becomes::<S>(&pool, 1);
    soon(pool.quiesce(LIMIT)).expect("it is open");
    kill::<S>(&pool, idlers::<S>(&pool)[0]);
    until("it has gone", || pool.inventory_now().workers.is_empty());
    after_control(&pool);
    assert_eq!(pool.saturation().workers, 0, "quiesced");
    soon(pool.resume(LIMIT)).expect("it is quiesced");
    idle_becomes::<S>(&pool, 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    idle_becomes::<S>(&pool, 1);
    let mut drained = spawn(pool.drain(LIMIT));
    assert_pending!(drained.poll());
    after_control(&pool);
    kill::<S>(&pool, idlers::<S>(&pool)[0]);
    until("it has gone", || pool.inventory_now().workers.len() == 1);
    after_control(&pool);
    assert_eq!(pool.saturation().workers, 1, "it drains");
    gate.open();
    soon(held).unwrap();
    soon(drained).expect("all has run");
    soon(pool.shutdown(TimeLimit::secs(60))).expect("it answers");
}

/// As a start for `min`: once its pause is over, and not before, however many jobs pass meanwhile; and not again while it is put off.
fn a_spare_whose_start_is_denied_is_tried_again_after_the_pause<S: Subject>() {
    let starts = AtomicUsize::new(0);
    let (hook, seen) = Answers::new(move |_| match starts.fetch_add(1, Ordering::Relaxed) {
        0 => Verdict::Allow,
        1 => Verdict::deny("not yet"),
        _ => Verdict::Delay(SECOND * 10),
    });
    let clock = SettableClock::new();
    let limits = Limits::new(0, 2).min_idle(1);
    let pool = build::<S>("denied-spare", |builder| builder.limits(limits).clock(clock.clock()).hook("cold", hook));
    idle_becomes::<S>(&pool, 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let answered = |asked: u64| {
        until("it has answered", || {
            let hooks = soon(pool.hooks(LIMIT)).expect("it answers");
            hooks[0].asked == asked && hooks[0].unanswered == 0
        });
        after_control(&pool);
    };
    answered(2);
    assert_eq!((pool.saturation().workers, pool.saturation().missing), (1, 1));
    gate.open();
    soon(held).unwrap();
    let pass = || (0..10).for_each(|_| assert!(soon(put::<S>(&pool, Task::value(1))).is_ok()));
    pass();
    assert_eq!(seen.asked().len(), 2, "not before the pause is over");
    let other = Gate::new();
    let held = hold::<S>(&pool, &other, 1).pop().expect("one");
    clock.advance(SECOND);
    answered(3);
    other.open();
    soon(held).unwrap();
    pass();
    assert_eq!((seen.asked().len(), pool.saturation().workers), (3, 1), "it is put off");
    let last = Gate::new();
    let held = hold::<S>(&pool, &last, 1).pop().expect("one");
    clock.advance(SECOND * 10);
    idle_becomes::<S>(&pool, 1);
    assert_eq!((seen.asked().len(), pool.saturation().workers), (3, 2));
    last.open();
    soon(held).unwrap();
    at_rest(&pool);
}

fn spares_are_changed_while_the_pool_runs_and_too_many_are_refused<S: Subject>() {
    let clock = SettableClock::new();
    let limits = Limits::new(0, 3).idle_timeout(SECOND * 8);
    let pool = build::<S>("live-spares", |builder| builder.limits(limits).clock(clock.clock()));
    let refused = soon(pool.resize(limits.min_idle(4), LIMIT)).expect_err("it is more than max");
    assert!(
        matches!(refused, ControlError::Config { conflict: ConfigError::MinIdleAboveMax { min_idle: 4, max: 3 }, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("min_idle = 4 is above max = 3"), "{refused}");
    after_control(&pool);
    assert_eq!(pool.saturation().workers, 0);
    let report = soon(pool.resize(limits.min_idle(2), LIMIT)).expect("it can be done");
    assert_eq!((report.from.min_idle, report.to.min_idle), (0, 2));
    idle_becomes::<S>(&pool, 2);
    assert_eq!(pool.snapshot().limits.to_string(), "0..=3, 2 of them idle");
    soon(pool.resize(limits, LIMIT)).expect("it can be done");
    for _ in 0..6 {
        clock.advance(SECOND * 2);
        after_control(&pool);
    }
    until("they have left", || pool.inventory_now().workers.is_empty());
    at_rest(&pool);
}

struct One;

impl Autoscaler for One {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        1
    }
}

/// Its limit is no lower than the number of spares; what is busy leaves so many fewer of them.
fn an_autoscaler_leaves_room_for_spares<S: Subject>() {
    let clock = SettableClock::new();
    let limits = Limits::new(0, 6).min_idle(2);
    let pool =
        build::<S>("scaled-spares", |builder| builder.limits(limits).clock(clock.clock()).autoscaler(One, SECOND / 10));
    idle_becomes::<S>(&pool, 2);
    assert_eq!(pool.saturation().limit, 2);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 2);
    clock.advance(SECOND / 10);
    after_control(&pool);
    assert_eq!((pool.saturation().limit, pool.saturation().workers), (2, 2));
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// What is due goes at once, as its spare is up, which runs the next job.
fn a_worker_is_recycled_while_its_spare_is_there<S: Subject>() {
    let limits = Limits::new(1, 3).min_idle(1);
    let pool = build::<S>("worn-spares", |builder| builder.limits(limits).recycle(Recycle::new().after_jobs(1)));
    idle_becomes::<S>(&pool, 1);
    let mut spares = idlers::<S>(&pool);
    for _ in 0..5 {
        let gate = Gate::new();
        let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
        let worker = worker_of(&pool, &held);
        assert_eq!(spares, [worker]);
        idle_becomes::<S>(&pool, 1);
        spares = idlers::<S>(&pool);
        let mut events = pool.events();
        gate.open();
        soon(held).unwrap();
        control_has_missed::<S>(&pool, &mut events, worker);
    }
    assert_eq!(idlers::<S>(&pool), spares);
    at_rest(&pool);
}

/// Idle workers of a reserve count among the spares, and are for their lane all the same.
fn spares_beside_a_reserve<S: Subject>() {
    let limits = Limits::new(1, 4).min_idle(2);
    let pool = build::<S>("reserve-spares", |builder| builder.limits(limits).lane(Lane::new("dns").reserve(1)));
    idle_becomes::<S>(&pool, 2);
    let gate = Gate::new();
    let mut held = hold::<S>(&pool, &gate, 3);
    idle_becomes::<S>(&pool, 1);
    held.push(put::<S>(&pool, Task::deaf(&gate)));
    after_control(&pool);
    assert_eq!((pool.saturation().active, pool.saturation().queued, pool.saturation().workers), (3, 1, 4));
    assert_eq!(soon(put_with::<S>(&pool, JobOptions::new().lane("dns"), Task::value(5))).unwrap(), 5);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}
