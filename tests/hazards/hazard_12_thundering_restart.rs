//! 12. Thundering restart: what dies at once is started again at once, thousands of times in a second.
//!
//! Or the opposite: many workers that each crash once are taken for a pool that cannot be helped.
//!
//! With the policy that a pool has when nobody gives it one, on the settable clock.

use std::sync::Arc;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{EventStream, Health, Limits, PoolEvent, PoolExecutor, Restart, TimeLimit, WorkerId};

use crate::kinds::{Ground, Work, on_every_kind, on_fresh_instances, value};
use crate::mortal::{Mortal, MortalPool, Starts, put_mortal};
use crate::patience::{at_rest, eventually};

on_every_kind!(
    starts_of_a_worker_that_dies_at_once_follow_a_jittered_exponential,
    slots_that_fail_together_do_not_come_back_together,
    a_pool_of_which_128_workers_crash_once_in_a_second_survives,
    the_streak_begins_anew_after_healthy_uptime
);
on_fresh_instances!(
    starts_of_a_worker_that_dies_at_once_follow_a_jittered_exponential,
    slots_that_fail_together_do_not_come_back_together,
    a_pool_of_which_128_workers_crash_once_in_a_second_survives,
    the_streak_begins_anew_after_healthy_uptime,
);

const MILLI: Duration = Duration::from_millis(1);

struct Scene<K: Mortal> {
    ground: Ground,
    clock: SettableClock,
    starts: Arc<Starts>,
    pool: MortalPool<K>,
    events: EventStream,
}

fn scene<K: Mortal>(name: &str, workers: usize) -> Scene<K> {
    let (ground, clock, starts) = (Ground::new(), SettableClock::new(), Arc::<Starts>::default());
    let builder = K::mortal(name, &ground, &starts).limits(Limits::fixed(workers)).clock(clock.clock());
    let pool = builder.build().expect("the configuration is sound");
    eventually("the workers are up", || pool.saturation().idle == workers);
    let events = pool.events();
    Scene { ground, clock, starts, pool, events }
}

/// The next decision, with the delay in force.
fn decision<K: Mortal>(scene: &mut Scene<K>) -> (WorkerId, Restart) {
    let decided = loop {
        let event = scene.ground.block_on(scene.events.next()).expect("the pool is there");
        if let PoolEvent::RestartDecided { worker, restart } = event {
            break (worker, restart);
        }
    };
    scene.pool.blocking().inventory(TimeLimit::default()).expect("it answers");
    decided
}

fn delay<K: Mortal>(scene: &mut Scene<K>) -> Duration {
    match decision(scene).1 {
        Restart::After(delay) => delay,
        other => panic!("it is within its budget: {other:?}"),
    }
}

fn starts_of_a_worker_that_dies_at_once_follow_a_jittered_exponential<K: Mortal>() {
    let mut scene = scene::<K>("h12-dies", 1);
    let (base, cap) = (Duration::from_millis(50), Duration::from_secs(5));
    scene.starts.kill(usize::MAX);
    K::crash(&scene.pool, &scene.ground, 1);
    assert_eq!(delay(&mut scene), Duration::ZERO, "one crash is no pattern");
    for fault in 0..12 {
        let tried = scene.starts.tried();
        let (delay, full) = (delay(&mut scene), base.saturating_mul(1 << fault).min(cap));
        assert!((full / 2..=full).contains(&delay), "fault {fault}: {delay:?} of {full:?}");
        scene.clock.advance(delay - MILLI);
        scene.pool.blocking().inventory(TimeLimit::default()).expect("it answers");
        assert_eq!(scene.starts.tried(), tried, "not before its time");
        scene.clock.advance(MILLI);
        eventually("the next start is tried", || scene.starts.tried() == tried + 1);
    }
    assert_eq!(scene.pool.snapshot().gate, "open");
}

fn slots_that_fail_together_do_not_come_back_together<K: Mortal>() {
    let mut scene = scene::<K>("h12-jitter", 8);
    scene.starts.refuse(usize::MAX);
    K::crash(&scene.pool, &scene.ground, 8);
    let mut delays: Vec<_> =
        std::iter::from_fn(|| Some(delay(&mut scene))).filter(|delay| !delay.is_zero()).take(8).collect();
    delays.sort();
    delays.dedup();
    assert_eq!(delays.len(), 8, "{delays:?}");
}

/// The clock stands still: whoever is not replaced at once is not replaced.
fn a_pool_of_which_128_workers_crash_once_in_a_second_survives<K: Mortal>() {
    let Scene { ground, pool, .. } = scene::<K>("h12-128", 128);
    K::crash(&pool, &ground, 128);
    eventually("all are replaced", || pool.saturation().idle == 128);
    assert!(pool.inventory_now().workers.iter().all(|row| row.worker.generation == 2), "each crashed once");
    pool.blocking().inventory(TimeLimit::default()).expect("it answers");
    let seen = pool.snapshot();
    assert_eq!((seen.gate, seen.health), ("open", Health::Healthy));
    assert_eq!(value(put_mortal::<K>(&pool, Work::value(5))), 5);
    at_rest(&pool);
}

fn the_streak_begins_anew_after_healthy_uptime<K: Mortal>() {
    let mut scene = scene::<K>("h12-streak", 1);
    let crash = |scene: &mut Scene<K>| {
        K::crash(&scene.pool, &scene.ground, 1);
        let delay = delay(scene);
        scene.clock.advance(delay);
        eventually("another is up", || scene.pool.saturation().idle == 1);
        scene.pool.blocking().inventory(TimeLimit::default()).expect("it answers");
        delay
    };
    assert_eq!(crash(&mut scene), Duration::ZERO);
    let (second, third) = (crash(&mut scene), crash(&mut scene));
    assert!(!second.is_zero() && third > second / 2, "{second:?}, {third:?}");
    scene.clock.advance(Duration::from_secs(10));
    assert_eq!(crash(&mut scene), Duration::ZERO, "it had been up for long enough");
    at_rest(&scene.pool);
}
