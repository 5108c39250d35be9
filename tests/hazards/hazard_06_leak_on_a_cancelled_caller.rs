//! 6. Leak on a cancelled caller: callers lose patience within 2 ms, 100,000 times, some of them with a place already granted.
//!
//! Afterwards the pool is as it was: every worker idle, every place free, nobody at the gate.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::{Executor, Lane, Limits, Pool, PoolExecutor};

use crate::kinds::{Ground, Kind, Work, completes, on_every_kind, put, value};
use crate::latch::Meter;
use crate::patience::{Flag, Noise, at_rest, eventually};

const SUBMITS: u64 = 100_000;
const SUBMITTERS: u64 = 64;
const SIZE: usize = 4;
const CAPACITY: usize = 4;

on_every_kind!(in_this_process: submits_dropped_after_0_to_2_ms, submits_dropped_between_grant_and_receipt);

fn pool<K: Kind>(name: &str, ground: &Ground, size: usize, capacity: usize) -> Pool<K::Backend> {
    K::builder(name, ground)
        .limits(Limits::fixed(size))
        .default_lane(Lane::new("default").capacity(capacity))
        .build()
        .expect("the configuration is sound")
}

fn submits_dropped_after_0_to_2_ms<K: Kind>() {
    let ground = Ground::new();
    let pool = pool::<K>("h06-dropped", &ground, SIZE, CAPACITY);
    let (admitted, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut seeds = Noise::new();
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|_| {
            let (pool, admitted, dropped) = (pool.clone(), admitted.clone(), dropped.clone());
            let mut noise = Noise::from(seeds.below(usize::MAX) as u64);
            ground.handle().spawn(async move {
                for _ in 0..SUBMITS.div_ceil(SUBMITTERS) {
                    // Long enough that a line forms at the gate.
                    let work = Work::value(1).begin(|| std::thread::sleep(Duration::from_micros(100)));
                    let patience = Duration::from_micros(noise.below(2_001) as u64);
                    match tokio::time::timeout(patience, pool.submit(K::job(work))).await {
                        Ok(handle) => {
                            drop(handle.expect("the pool is open"));
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_elapsed) => drop(dropped.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            })
        })
        .collect();
    for submitter in submitters {
        ground.block_on(submitter).expect("no panic");
    }
    let (admitted, dropped) = (admitted.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed));
    assert!(dropped > SUBMITS / 100, "the scenario is that callers go away");
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.accepted, ledger.withdrawn), (admitted, dropped), "every caller knows which it was: {ledger}");
    everything_is_given_back::<K>(&pool, &ground, SIZE, CAPACITY);
}

fn submits_dropped_between_grant_and_receipt<K: Kind>() {
    let ground = Ground::new();
    let pool = pool::<K>("h06-granted", &ground, 1, 0);
    for round in 0..200 {
        let (held, flag) = (ground.latch(), Flag::new());
        eventually("the worker is free", || pool.saturation().idle == 1);
        let running = put::<K>(&pool, Work::value(round).until(&held));
        {
            let mut submit = pin!(pool.submit(K::job(Work::value(0))));
            assert!(flag.poll(submit.as_mut()).is_pending(), "the one worker is busy");
            assert_eq!(pool.saturation().waiting, 1);
            held.open();
            eventually("a place is granted", || flag.is_up());
        }
        assert_eq!((value(running), pool.saturation().waiting), (round, 0));
    }
    everything_is_given_back::<K>(&pool, &ground, 1, 0);
    assert_eq!(pool.snapshot().ledger.withdrawn, 200);
}

/// At rest, and exactly as many jobs as there are places get in.
fn everything_is_given_back<K: Kind>(pool: &Pool<K::Backend>, ground: &Ground, size: usize, capacity: usize) {
    at_rest(pool);
    assert_eq!(pool.saturation().idle, size);
    let (held, bodies) = (ground.latch(), Meter::default());
    let work = || K::job(Work::value(1).counted(&bodies).until(&held));
    let jobs: Vec<_> = (0..size + capacity).map(|_| pool.try_submit(work()).expect("a place for each")).collect();
    assert!(pool.try_submit(work()).is_err(), "and none beyond");
    eventually("every seat is taken", || bodies.inside() == size);
    held.open();
    jobs.into_iter().for_each(completes);
    at_rest(pool);
}
