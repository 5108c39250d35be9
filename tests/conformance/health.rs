//! Health: how bad it is, why, and since when; and that it ends by itself. On a clock that the test moves.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{EventStream, Health, Limits, PoolEvent, PoolExecutor, Restart};
use tokio_test::{assert_pending, task::spawn};

use crate::faults::{By, Faulty, with_faults};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::subject::Subject;
use crate::task::Gate;

with_faults! {
    what_is_missing_is_told_with_why_and_since_when_and_comes_back_by_itself,
    a_slot_that_is_given_up_is_told_as_such,
}

mod every_kind {
    use super::a_pool_that_takes_no_more_jobs_says_so_and_since_when;

    conform! { a_pool_that_takes_no_more_jobs_says_so_and_since_when }
}

const SECOND: Duration = Duration::from_secs(1);

fn ruled<S: Faulty>(what: &str, restart: Restart) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool = build::<S>(what, |builder| {
        let policy = By(move || restart.clone());
        S::shape(builder).limits(Limits::fixed(2)).restart_policy(policy).clock(clock.clock())
    });
    until("both are up", || pool.saturation().idle == 2);
    (pool, clock)
}

/// One worker ends by a fault, and what becomes of its slot is decided.
fn fault<S: Faulty>(pool: &PoolOf<S>, events: &mut EventStream) {
    assert!(soon(S::lay(pool).light()).is_err());
    while !matches!(soon(events.next()), Some(PoolEvent::RestartDecided { .. })) {}
    after_control(pool);
}

fn what_is_missing_is_told_with_why_and_since_when_and_comes_back_by_itself<S: Faulty>() {
    let (pool, clock) = ruled::<S>("ailing", Restart::CoolDown(SECOND * 60));
    assert_eq!((pool.snapshot().health, pool.saturation().missing), (Health::Healthy, 0));
    let (mut events, mut all) = (pool.events(), pool.events());
    let first = clock.now();
    fault::<S>(&pool, &mut events);
    clock.advance(SECOND * 10);
    let health = pool.snapshot().health;
    let Health::Degraded { missing: 1, since, why, .. } = &health else { panic!("{health:?}") };
    assert_eq!((*since, why.cooling, why.next_try), (first, 1, Some(first.after(SECOND * 60))));
    assert!(why.last_fault.is_some());
    let text = pool.inventory_now().to_string();
    let part = "\ndegraded, 1 seat missing for 10.0 s: 1 slot without a worker after faults, the last fault: ";
    assert!(text.contains(part) && text.contains("1 missing"), "{text}");

    let second = clock.now();
    fault::<S>(&pool, &mut events);
    let health = pool.snapshot().health;
    let Health::Unavailable { since, why, .. } = &health else { panic!("{health:?}") };
    assert_eq!((*since, why.cooling, pool.saturation().missing), (second, 2, 2));

    // The first slot's time is over, and ten seconds later the other's.
    clock.advance(SECOND * 50);
    until("one is up", || pool.saturation().idle == 1);
    let health = pool.snapshot().health;
    let degraded = matches!(health, Health::Degraded { missing: 1, since, .. } if since == first);
    assert!(degraded, "it has never been quite well since: {health:?}");
    clock.advance(SECOND * 10);
    until("both are up", || pool.saturation().idle == 2);
    after_control(&pool);
    assert_eq!(pool.snapshot().health, Health::Healthy);
    let mut told = Vec::new();
    while let Some(event) = all.try_next() {
        if let PoolEvent::Health(health) = event {
            told.push(health);
        }
    }
    assert!(told.iter().any(Health::is_unavailable) && told.last() == Some(&Health::Healthy), "{told:?}");
    // What a fault was is read aside, and told when it is known.
    let explained = |health: &Health| health.why().is_some_and(|why| why.last_fault.is_some());
    assert!(told.iter().any(explained), "{told:?}");
    at_rest(&pool);
}

fn a_slot_that_is_given_up_is_told_as_such<S: Faulty>() {
    let (pool, _clock) = ruled::<S>("given-up", Restart::Never);
    let mut events = pool.events();
    fault::<S>(&pool, &mut events);
    let health = pool.snapshot().health;
    let Health::Degraded { missing: 1, why, .. } = &health else { panic!("{health:?}") };
    assert_eq!((why.given_up, why.cooling, why.next_try), (1, 0, None));
    assert!(health.to_string().starts_with("degraded, 1 seat missing: 1 slot given up for good"), "{health}");
}

fn a_pool_that_takes_no_more_jobs_says_so_and_since_when<S: Subject>() {
    let clock = SettableClock::new();
    let pool = build::<S>("closing", |builder| builder.limits(Limits::fixed(1)).clock(clock.clock()));
    until("it is up", || pool.saturation().idle == 1);
    let mut events = pool.events();
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    soon(pool.quiesce(LIMIT)).expect("it answers");
    assert_eq!(pool.snapshot().health, Health::Healthy, "paused, it takes jobs still");
    assert_eq!((pool.gate(), pool.health()), ("quiesced", Health::Healthy), "as they are read alone");

    clock.advance(SECOND);
    let draining = clock.now();
    let mut drain = spawn(pool.drain(LIMIT));
    assert_pending!(drain.poll());
    until("it drains", || pool.snapshot().gate == "draining");
    clock.advance(SECOND * 10);
    let health = pool.snapshot().health;
    assert!(matches!(&health, Health::Unavailable { since, .. } if *since == draining), "{health:?}");
    assert_eq!(health.to_string(), "unavailable: the pool takes no more jobs: it drains");
    let text = pool.inventory_now().to_string();
    assert!(text.contains("\nunavailable for 10.0 s: the pool takes no more jobs: it drains"), "{text}");
    gate.open();
    soon(drain).expect("it has run all that it had");
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));

    let closed = clock.now();
    soon(pool.shutdown(LIMIT)).expect("it answers");
    clock.advance(SECOND);
    assert_eq!(pool.gate(), "closed");
    for health in [pool.snapshot().health, pool.inventory_now().health, pool.health()] {
        assert!(matches!(&health, Health::Unavailable { since, .. } if *since == closed), "{health:?}");
        assert_eq!(health.why().and_then(|why| why.closed.as_deref()), Some("it was shut down"));
    }
    while let Some(event) = soon(events.next()) {
        assert!(!matches!(event, PoolEvent::Health(_)), "it is told as what the gate does: {event:?}");
    }
}
