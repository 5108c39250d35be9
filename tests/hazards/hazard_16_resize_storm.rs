//! 16. Resize loses count, continued: a thousand resizes at random while jobs come and go.
//!
//! At no time do more run than the largest limit allows, nor after a resize has settled more than that one allows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::{Executor, Lane, Limits, Pool, PoolExecutor, TimeLimit};

use crate::kinds::{Ground, Kind, Work, on_every_kind, on_fresh_instances};
use crate::latch::Meter;
use crate::patience::{Noise, at_rest, eventually};

const RESIZES: usize = 1_000;
const LARGEST: usize = 8;

on_every_kind!(in_this_process: a_thousand_random_resizes);
on_fresh_instances!(a_thousand_random_resizes);

fn a_thousand_random_resizes<K: Kind>() {
    let ground = Ground::new();
    let pool = K::builder("h16-storm", &ground)
        .limits(Limits::fixed(4))
        .default_lane(Lane::new("default").capacity(16).admission_limit(None))
        .build()
        .expect("the configuration is sound");
    let (ever, lately, stop) = (Meter::default(), Meter::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| load::<K>(&pool, &ever, &lately, &stop));
        }
        let stormed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| storm(&pool, &ground, &lately)));
        stop.store(true, Ordering::Release);
        drop(pool.blocking().resize(Limits::fixed(4), TimeLimit::default()));
        if let Err(panic) = stormed {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(ever.most() <= LARGEST, "{} at once", ever.most());
    at_rest(&pool);
    let seen = pool.saturation();
    assert_eq!((seen.workers, seen.idle, seen.limit), (4, 4, 4));
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.accepted, ledger.completed), (ever.entered() as u64, ever.entered() as u64), "{ledger}");
}

/// Submits, and waits at the gate where it has to, until it is told to stop.
fn load<K: Kind>(pool: &Pool<K::Backend>, ever: &Meter, lately: &Meter, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let (ever, lately) = (ever.clone(), lately.clone());
        let begin = move || {
            let inside = (ever.enter(), lately.enter());
            std::thread::sleep(Duration::from_micros(50));
            inside
        };
        drop(pool.submit_blocking(K::job(Work::value(1).begin(begin))).expect("it waits, and gets in"));
    }
}

fn storm<B: millpond::Backend>(pool: &Pool<B>, ground: &Ground, lately: &Meter) {
    let mut noise = Noise::new();
    for step in 0..RESIZES {
        let max = 1 + noise.below(LARGEST);
        let limits = Limits::new(1 + noise.below(max), max);
        let report = pool.blocking().resize(limits, TimeLimit::default()).expect("it answers");
        assert!(report.debt <= LARGEST - max, "step {step}: {report:?}");
        if noise.below(4) == 0 {
            ground.block_on(report.settled());
            lately.forget();
            let before = lately.entered();
            eventually("jobs run", || lately.entered() >= before + 2 * max);
            assert!(lately.most() <= max, "step {step}: {} at once, limit {max}", lately.most());
        }
    }
}
