//! Events: what a pool tells whoever listens, and what it tells those who listen too slowly.

use millpond::{Exit, Health, Ladder, Limits, PoolEvent, PoolExecutor, Rung, Select};

use crate::rig::{LIMIT, build, fixed, hold, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    what_happens_to_a_pool_is_told,
    a_wait_for_an_event_can_have_a_limit,
    a_slow_reader_is_told_how_much_it_missed,
    a_stream_ends_with_its_pool,
    what_becomes_of_a_killed_worker_is_told,
}

/// Reads until `wanted` comes; everything that came before.
fn read_until(events: &mut millpond::EventStream, mut wanted: impl FnMut(&PoolEvent) -> bool) -> Vec<PoolEvent> {
    let mut seen = Vec::new();
    loop {
        let event = soon(events.next()).expect("the pool is there");
        let found = wanted(&event);
        seen.push(event);
        if found {
            return seen;
        }
    }
}

fn what_happens_to_a_pool_is_told<S: Subject>() {
    let pool = build::<S>("told", |builder| builder.limits(Limits::new(0, 2)));
    let mut events = pool.events();
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    read_until(&mut events, |event| matches!(event, PoolEvent::WorkerReady { .. }));
    soon(pool.resize(Limits::new(0, 3), LIMIT)).unwrap();
    read_until(
        &mut events,
        |event| matches!(event, PoolEvent::Resized { from, to, .. } if (from.max, to.max) == (2, 3)),
    );
    soon(pool.quiesce(LIMIT)).unwrap();
    soon(pool.resume(LIMIT)).unwrap();
    read_until(&mut events, |event| matches!(event, PoolEvent::Gate { state: "quiesced", .. }));
    let between = read_until(&mut events, |event| matches!(event, PoolEvent::Gate { state: "open", .. }));
    assert_eq!(between.len(), 1, "in their order: {between:?}");
    let unhealthy = |event: &PoolEvent| matches!(event, PoolEvent::Health(health) if *health != Health::Healthy);
    assert!(!between.iter().any(unhealthy));
}

/// Whoever waits on its own thread gets it back, and misses nothing.
fn a_wait_for_an_event_can_have_a_limit<S: Subject>() {
    let pool = fixed::<S>("event-limit", 1);
    until("it is up", || pool.saturation().idle == 1);
    soon(pool.inventory(LIMIT)).unwrap();
    let mut events = pool.events();
    assert!(events.next_timeout(std::time::Duration::from_millis(2)).is_err(), "nothing happens");
    soon(pool.quiesce(LIMIT)).unwrap();
    let event = events.next_timeout(LIMIT.0).expect("it has happened");
    assert!(matches!(event, Some(PoolEvent::Gate { state: "quiesced", .. })), "{event:?}");
    soon(pool.shutdown(LIMIT)).unwrap();
    while events.next_timeout(LIMIT.0).expect("the stream ends with the pool").is_some() {}
}

/// What is kept for a reader is bounded, and what was lost to that is counted for it.
fn a_slow_reader_is_told_how_much_it_missed<S: Subject>() {
    let pool = fixed::<S>("slow-reader", 1);
    until("it is up", || pool.saturation().idle == 1);
    soon(pool.inventory(LIMIT)).unwrap();
    let mut slow = pool.events();
    for _ in 0..1500 {
        soon(pool.quiesce(LIMIT)).unwrap();
        soon(pool.resume(LIMIT)).unwrap();
    }
    let Some(PoolEvent::Missed(missed)) = slow.try_next() else { panic!("it was too slow for 3,000 events") };
    let kept = std::iter::from_fn(|| slow.try_next()).count() as u64;
    assert_eq!(missed + kept, 3000, "bounded, and every event is read or counted");
    assert!(kept < 3000);
}

fn a_stream_ends_with_its_pool<S: Subject>() {
    let pool = fixed::<S>("ends", 1);
    let mut events = pool.events();
    soon(pool.shutdown(LIMIT)).unwrap();
    drop(pool);
    let mut gates = Vec::new();
    while let Some(event) = events.next_blocking() {
        if let PoolEvent::Gate { state: gate, .. } = event {
            gates.push(gate);
        }
    }
    assert_eq!(gates, ["draining", "closed"]);
    assert!(events.try_next().is_none());
}

/// The exit says that it was killed, and by whom.
fn what_becomes_of_a_killed_worker_is_told<S: Subject>() {
    let pool = fixed::<S>("killed-event", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let mut events = pool.events();
    let ladder = Ladder::new().then(Rung::Kill, LIMIT.0);
    soon(pool.terminate(Select::job(held.id()), ladder, LIMIT)).unwrap();
    assert!(soon(held).is_err());
    gate.open();
    let seen = read_until(
        &mut events,
        |event| matches!(event, PoolEvent::WorkerGone { exit: Exit::Killed(by), .. } if by.contains("operator")),
    );
    let abandoned = pool.capabilities().kill == millpond::KillReach::None;
    let told = seen.iter().any(|event| matches!(event, PoolEvent::WorkerAbandoned { .. }));
    assert_eq!(told, abandoned, "{seen:?}");
}
