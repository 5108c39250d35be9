//! What is in force is changed while the pool runs: all of what was asked for, or nothing. `DESIGN.md`, section 14.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::{
    Autoscaler, By, ConfigError, ControlError, EventStream, Executor, InForce, JobOptions, Lane, LaneChange, Limits,
    NewRestartPolicy, PoolEvent, PoolExecutor, PoolMessage, RejectReason, Retune, Snapshot, Watchdog, WhenFull,
};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, at_rest, build, fixed, hold, offer, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    more_room_is_given_at_once_to_those_who_wait,
    a_smaller_reserve_frees_its_seats_at_once,
    a_larger_reserve_interrupts_nobody_and_is_kept_as_seats_come_free,
    less_room_than_is_queued_loses_nobody,
    what_would_not_do_alone_does_together,
    the_answer_says_what_was_in_force_and_what_is,
    what_cannot_be_is_refused_by_name_and_nothing_of_it_is_done,
    a_pool_that_drains_or_ends_is_not_retuned,
    nobody_sees_a_mix_and_the_last_one_stands,
    it_is_a_message_like_any_other,
}

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn retune(pool: &dyn PoolExecutor, change: Retune) -> millpond::RetuneReport {
    soon(pool.retune(change, LIMIT)).expect("it can be done")
}

pub(crate) fn lane(name: &str) -> LaneChange {
    LaneChange::new(name)
}

fn dns() -> JobOptions {
    JobOptions::new().lane("dns")
}

/// Two seats, of which `dns` has so many for itself.
fn reserved<S: Subject>(what: &str, seats: usize) -> PoolOf<S> {
    build::<S>(what, |builder| builder.limits(Limits::fixed(2)).lane(Lane::new("dns").reserve(seats)))
}

fn more_room_is_given_at_once_to_those_who_wait<S: Subject>() {
    let pool = build::<S>("more-room", |builder| {
        builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(0))
    });
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut waits: Vec<_> = (1..=3).map(|n| spawn(pool.submit(S::job(Task::value(n))))).collect();
    waits.iter_mut().for_each(|waiter| assert_pending!(waiter.poll()));
    retune(&pool, Retune::new().lane(lane("default").capacity(2)));
    let woken: Vec<_> = waits.iter().map(|waiter| waiter.is_woken()).collect();
    assert_eq!(woken, [true, true, false], "before the retune is answered, in their turn");
    let last = waits.pop().expect("there are three");
    let mut handles: Vec<_> = waits.into_iter().map(|waiter| soon(waiter).expect("there is room")).collect();
    assert_eq!(pool.saturation().queued, 2);
    gate.open();
    handles.push(soon(last).expect("there is room by now"));
    for (n, handle) in (1..).zip(handles) {
        assert_eq!(soon(handle).unwrap(), n);
    }
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

fn a_smaller_reserve_frees_its_seats_at_once<S: Subject>() {
    let pool = build::<S>("less-reserve", |builder| {
        let lane = Lane::new("default").capacity(1);
        builder.limits(Limits::fixed(3)).default_lane(lane).lane(Lane::new("dns").reserve(2))
    });
    let gate = Gate::new();
    let mut handles = hold::<S>(&pool, &gate, 1);
    handles.push(put::<S>(&pool, Task::deaf(&gate)));
    let mut waiter = spawn(pool.submit(S::job(Task::deaf(&gate))));
    assert_pending!(waiter.poll());
    assert_eq!((pool.saturation().active, pool.saturation().queued), (1, 1), "two seats are kept");
    retune(&pool, Retune::new().lane(lane("dns").reserve(0)));
    assert!(waiter.is_woken(), "before the retune is answered");
    handles.push(soon(waiter).expect("there is room"));
    until("all three run", || gate.entered() == 3);
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// Invariant 6 from the moment on at which the seat comes free.
fn a_larger_reserve_interrupts_nobody_and_is_kept_as_seats_come_free<S: Subject>() {
    let pool = reserved::<S>("more-reserve", 0);
    let (first, second) = (Gate::new(), Gate::new());
    let one = hold::<S>(&pool, &first, 1);
    let two = hold::<S>(&pool, &second, 1);
    let waits = put::<S>(&pool, Task::value(3));
    retune(&pool, Retune::new().lane(lane("dns").reserve(1)));
    assert_eq!((pool.saturation().active, pool.saturation().debt), (2, 0), "nobody was interrupted");
    first.open();
    one.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    // What is of the lane goes to the seat at once; what is of another does not, though it came first.
    assert_eq!(soon(put_with::<S>(&pool, dns(), Task::value(4))).unwrap(), 4);
    assert_eq!((pool.saturation().active, pool.saturation().queued), (1, 1));
    second.open();
    two.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    assert_eq!(soon(waits).unwrap(), 3);
    at_rest(&pool);
}

fn less_room_than_is_queued_loses_nobody<S: Subject>() {
    let pool = fixed::<S>("less-room", 1);
    let gate = Gate::new();
    let mut handles = hold::<S>(&pool, &gate, 1);
    handles.extend((0..3).map(|_| put::<S>(&pool, Task::deaf(&gate))));
    retune(&pool, Retune::new().lane(lane("default").capacity(1)));
    let seen = &pool.snapshot().lanes[0];
    assert_eq!((seen.queued, seen.capacity), (3, 1), "over its bound until it drains");
    let mut waiter = spawn(pool.submit(S::job(Task::deaf(&gate))));
    assert_pending!(waiter.poll());
    retune(&pool, Retune::new().lane(lane("default").when_full(WhenFull::Reject)));
    let refused = soon(pool.submit(S::job(Task::value(1)))).expect_err("whoever comes now does not wait");
    assert!(matches!(refused.reason(), RejectReason::Full { .. }), "{refused}");
    assert_pending!(waiter.poll(), "who waits already waits on");
    gate.open();
    handles.push(soon(waiter).expect("there is room by and by"));
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert_eq!(pool.snapshot().ledger.completed, 5);
}

/// In either direction one of the two would be refused without the other.
fn what_would_not_do_alone_does_together<S: Subject>() {
    let pool = reserved::<S>("together", 1);
    let more = || lane("dns").reserve(3);
    soon(pool.retune(Retune::new().lane(more()), LIMIT)).expect_err("two seats have no room for it");
    retune(&pool, Retune::new().limits(Limits::fixed(4)).lane(more()));
    let seen = pool.snapshot();
    assert_eq!((seen.limits, seen.lanes[1].reserve), (Limits::fixed(4), 3));
    soon(pool.resize(Limits::fixed(2), LIMIT)).expect_err("the reserve is in its way");
    retune(&pool, Retune::new().limits(Limits::fixed(2)).lane(lane("dns").reserve(1)));
    let seen = pool.snapshot();
    assert_eq!((seen.limits, seen.lanes[1].reserve), (Limits::fixed(2), 1));
    at_rest(&pool);
}

/// The next of the events that a retune tells.
fn next_of(events: &mut EventStream) -> PoolEvent {
    use PoolEvent::{Resized, RestartPolicySet, Retuned};
    loop {
        let event = soon(events.next()).expect("the pool is there");
        if matches!(event, Resized { .. } | RestartPolicySet { .. } | Retuned(_)) {
            return event;
        }
    }
}

fn the_answer_says_what_was_in_force_and_what_is<S: Subject>() {
    let pool = reserved::<S>("answer", 1);
    let mut events = pool.events();
    let changed = lane("dns").reserve(2).capacity(5).queue_limit(SECOND).run_limit(SECOND * 2).overdue_after(SECOND);
    let change = Retune::new().limits(Limits::fixed(3)).lane(changed);
    let change = change.restart_policy(NewRestartPolicy::default()).watchdog(Watchdog::warn());
    let report = retune(&pool.by("night shift"), change);
    let (from, to): (&InForce, &InForce) = (&report.retuned.from, &report.retuned.to);
    assert_eq!((from.limits, from.bounds, to.limits, to.bounds), {
        let (before, now) = (Limits::fixed(2), Limits::fixed(3));
        (before, before, now, now)
    });
    let before = Lane::new("dns").reserve(1);
    let now = before.clone().reserve(2).capacity(5).queue_limit(SECOND).run_limit(SECOND * 2).overdue_after(SECOND);
    assert_eq!((&from.lanes[1], &to.lanes[1]), (&before, &now));
    assert_eq!((&from.lanes[0], &to.lanes[0]), (&Lane::new("default"), &Lane::new("default")));
    assert_eq!(
        (report.watchdog_from.clone(), report.watchdog.clone()),
        (Some(Watchdog::default()), Some(Watchdog::warn()))
    );
    assert_eq!(report.debt, 0);
    // Its parts, and then the whole.
    assert!(matches!(next_of(&mut events), PoolEvent::Resized { to, .. } if to == Limits::fixed(3)));
    assert!(matches!(next_of(&mut events), PoolEvent::RestartPolicySet { .. }));
    let PoolEvent::Retuned(told) = next_of(&mut events) else { panic!("nothing else comes between") };
    assert_eq!((told.by.name(), &told), (Some("night shift"), &report.retuned));
    assert!(told.restart_policy && told.watchdog && !told.autoscaler);
    assert_eq!(soon(report.settled()), [], "nobody had to leave");
    // What is not named stays.
    let report = retune(&pool, Retune::new().lane(lane("dns").run_limit(None)));
    assert_eq!(report.retuned.to.lanes[1], now.run_limit(None));
    let PoolEvent::Retuned(told) = next_of(&mut events) else { panic!("the limits are the same") };
    assert_eq!((told.to_string().as_str(), &told.by), ("lane `dns`: run limit 2s to none", &By::Operator(None)));
    // Nothing is changed by nothing.
    let report = retune(&pool, Retune::new());
    assert_eq!(report.retuned.from, report.retuned.to);
    assert!(events.try_next().is_none_or(|event| !matches!(event, PoolEvent::Retuned(_))));
    at_rest(&pool);
}

struct Two;

impl Autoscaler for Two {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        2
    }
}

fn what_cannot_be_is_refused_by_name_and_nothing_of_it_is_done<S: Subject>() {
    let pool = reserved::<S>("refused", 1);
    let mut events = pool.events();
    let before = retune(&pool, Retune::new()).retuned.to.clone();
    // Each with something that could be done, and is not.
    let change = || Retune::new().lane(lane("default").capacity(7)).watchdog(Watchdog::warn());
    let dns = || lane("dns");
    type IsIt = fn(&ConfigError) -> bool;
    let cases: Vec<(Retune, IsIt, &[&str])> = vec![
        (change().lane(lane("dsn")), |error| matches!(error, ConfigError::UnknownLane { .. }), &["`dsn`", "`dns`"]),
        (
            change().lane(dns()).lane(dns()),
            |error| matches!(error, ConfigError::LaneChangedTwice(_)),
            &["`dns`", "twice"],
        ),
        (
            change().lane(dns().reserve(3)),
            |error| matches!(error, ConfigError::ReservesAboveMin { .. }),
            &["`dns` 3", "min = 2"],
        ),
        (
            change().lane(dns().reserve(2)),
            |error| matches!(error, ConfigError::ReservesStarve { .. }),
            &["`dns` 2", "`default`"],
        ),
        (
            change().lane(dns().reserve(usize::MAX)),
            |error| matches!(error, ConfigError::ReservesAboveMin { .. }),
            &["raise min"],
        ),
        (
            change().limits(Limits::new(0, 2)),
            |error| matches!(error, ConfigError::ReservesAboveMin { .. }),
            &["min = 0"],
        ),
        (change().limits(Limits::fixed(0)), |error| matches!(error, ConfigError::NoWorkers), &["max = 0"]),
        (change().limits(Limits::new(3, 2)), |error| matches!(error, ConfigError::MinAboveMax { .. }), &["min = 3"]),
        (
            change().limits(Limits::fixed(usize::MAX)),
            |error| matches!(error, ConfigError::TooManyWorkers { .. }),
            &["max"],
        ),
        (
            change().limits(Limits::fixed(2).idle_timeout(Duration::ZERO)),
            |error| matches!(error, ConfigError::ZeroLimit(_)),
            &["idle timeout"],
        ),
        (
            change().lane(dns().queue_limit(Duration::ZERO)),
            |error| matches!(error, ConfigError::ZeroLaneLimit { .. }),
            &["`dns`", "queue limit"],
        ),
        (
            change().lane(dns().run_limit(Duration::ZERO)),
            |error| matches!(error, ConfigError::ZeroLaneLimit { .. }),
            &["run limit"],
        ),
        (
            change().lane(dns().admission_limit(Duration::ZERO)),
            |error| matches!(error, ConfigError::ZeroLaneLimit { .. }),
            &["admission"],
        ),
        (
            change().lane(dns().overdue_after(Duration::ZERO)),
            |error| matches!(error, ConfigError::ZeroLaneLimit { .. }),
            &["overdue"],
        ),
        (
            change().autoscaler(Two, Duration::ZERO),
            |error| matches!(error, ConfigError::PeriodTooShort { .. }),
            &["autoscaler"],
        ),
    ];
    for (change, is_it, parts) in cases {
        let shown = format!("{change:?}");
        let error = soon(pool.retune(change, LIMIT)).expect_err("it cannot be");
        let ControlError::Config { conflict, .. } = &error else { panic!("{error}: {shown}") };
        assert!(is_it(conflict) && parts.iter().all(|part| error.to_string().contains(part)), "{error}: {shown}");
        let report = retune(&pool, Retune::new());
        assert_eq!((&report.retuned.to, report.watchdog), (&before, Some(Watchdog::default())), "{shown}");
    }
    let told = std::iter::from_fn(|| events.try_next());
    let of_changes = |event: &PoolEvent| matches!(event, PoolEvent::Retuned(_) | PoolEvent::Resized { .. });
    assert_eq!(told.filter(of_changes).count(), 0);
    at_rest(&pool);
}

fn a_pool_that_drains_or_ends_is_not_retuned<S: Subject>() {
    let pool = fixed::<S>("retune-late", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut drain = spawn(pool.drain(LIMIT));
    assert_pending!(drain.poll());
    let change = || Retune::new().lane(lane("default").capacity(3));
    let error = soon(pool.retune(change(), LIMIT)).expect_err("it drains");
    assert!(matches!(error, ControlError::TooLate { operation: "retune", .. }), "{error}");
    assert!(error.to_string().contains("cannot retune"), "{error}");
    assert_eq!(pool.snapshot().lanes[0].capacity, 1024);
    soon(pool.resize(Limits::fixed(2), LIMIT)).expect("to be done sooner");
    let mut end = spawn(pool.shutdown(LIMIT));
    assert_pending!(end.poll());
    let error = soon(pool.retune(change(), LIMIT)).expect_err("it ends");
    assert!(matches!(error, ControlError::TooLate { operation: "retune", .. }), "{error}");
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    soon(end).expect("it ends");
    let error = soon(pool.retune(change(), LIMIT)).expect_err("it is gone");
    assert!(matches!(error, ControlError::Closed { operation: "retune", .. }), "{error}");
}

/// Of limits and a bound that belong together, no snapshot shows one without the other.
fn nobody_sees_a_mix_and_the_last_one_stands<S: Subject>() {
    const ROUNDS: usize = 30;
    let pool = build::<S>("no-mix", |builder| {
        builder.limits(Limits::new(0, 1)).default_lane(Lane::new("default").capacity(100))
    });
    let belongs = |max: usize| {
        Retune::new()
            .limits(Limits::new(0, max))
            .lane(lane("default").capacity(max * 100).queue_limit(SECOND * max as u32))
    };
    let done = AtomicBool::new(false);
    let belong = |limits: Limits, lane: &Lane| {
        assert_eq!(lane.capacity, limits.max * 100);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let seen = pool.snapshot();
                assert_eq!(seen.lanes[0].capacity, seen.limits.max * 100);
            }
        });
        let submitter = scope.spawn(|| {
            let mut handles = Vec::new();
            while !done.load(Ordering::Acquire) {
                handles.extend(offer::<S>(&pool, Task::value(1)).ok());
            }
            handles.into_iter().for_each(|handle| drop(soon(handle)));
        });
        let operators: Vec<_> = (0..2)
            .map(|operator| {
                let (pool, belongs) = (&pool, &belongs);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let report = retune(pool, belongs((round * 7 + operator) % 6 + 1));
                        belong(report.retuned.from.limits, &report.retuned.from.lanes[0]);
                        belong(report.retuned.to.limits, &report.retuned.to.lanes[0]);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = operators.into_iter().map(|operator| operator.join()).collect();
        done.store(true, Ordering::Release);
        submitter.join().expect("it submits");
        ended.into_iter().for_each(|ended| ended.expect("it retunes"));
    });
    retune(&pool, belongs(3));
    let seen = pool.snapshot();
    assert_eq!((seen.limits.max, seen.lanes[0].capacity), (3, 300));
    at_rest(&pool);
}

fn it_is_a_message_like_any_other<S: Subject>() {
    let pool: Arc<dyn PoolExecutor> = Arc::new(fixed::<S>("retune-message", 1));
    let report = soon(pool.retune(Retune::new().limits(Limits::fixed(2)), LIMIT)).expect("it can be done");
    assert_eq!(report.retuned.to.limits, Limits::fixed(2));
    let report = pool.blocking().retune(Retune::new().limits(Limits::fixed(3)), LIMIT).expect("it can be done");
    assert_eq!(report.retuned.to.limits, Limits::fixed(3));
    let (reply, answer) = tokio::sync::oneshot::channel();
    let change = Retune::new().limits(Limits::fixed(1));
    pool.actor().cast(PoolMessage::Retune(change, reply.into())).expect("it is there");
    let report = soon(answer).expect("it answers").expect("it can be done");
    assert_eq!(report.retuned.to.limits, Limits::fixed(1));
    // Nobody waits for this one's answer.
    let (reply, _) = tokio::sync::oneshot::channel();
    pool.actor().cast(PoolMessage::Retune(Retune::new(), reply.into())).expect("it is there");
    at_rest(&*pool);
}
