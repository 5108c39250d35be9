//! 10. Mailbox overflow: 64 tasks offer a million jobs to a pool in which nothing moves.
//!
//! Whoever is not let in is told `Full`, or waits at the gate; nothing piles up, neither in memory nor in the way of control.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{Executor, Fate, JobOptions, Ladder, Lane, Limits, Pool, PoolExecutor, RejectReason, Select, TimeLimit};

use crate::alone::passed_alone;
use crate::kinds::{Ground, Kind, Work, on_every_kind};
use crate::latch::{Latch, Meter};
use crate::patience::{Latencies, eventually};

const SUBMITS: usize = 1_000_000;
const SUBMITTERS: usize = 64;
const WORKERS: usize = 4;
const CAPACITY: usize = 64;
/// A million jobs that were kept would take several times this.
const FLAT: usize = 96 << 20;

on_every_kind!(in_this_process: a_million_submits_against_a_stalled_pool);

fn a_million_submits_against_a_stalled_pool<K: Kind>() {
    // Memory is a process's, and the tests beside this one send each other hundreds of megabytes.
    if passed_alone() {
        return;
    }
    // Two threads flood as well as eight, and leave the scheduler of two cores something to decide.
    let (ground, bodies) = (Ground::with_threads(2), Meter::default());
    let stalled = ground.latch();
    let pool = K::builder("h10", &ground)
        .limits(Limits::fixed(WORKERS))
        .default_lane(Lane::new("default").capacity(CAPACITY).admission_limit(None))
        .build()
        .expect("the configuration is sound");
    stall::<K>(&pool, &stalled, &bodies);
    let waiting = wait_at_the_gate::<K>(&pool, &ground, &stalled);

    let before = resident();
    let flood = Flood::start::<K>(&pool, &ground);
    let killed = control_answers_meanwhile(&pool, &flood);
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown < FLAT, "grew by {} MiB", grown >> 20);
    }
    assert_eq!(flood.refused.load(Ordering::Acquire) + flood.admitted.load(Ordering::Acquire), SUBMITS);
    assert!(flood.admitted.load(Ordering::Acquire) <= killed, "a place is there only where a kill made one");

    stalled.open();
    for submit in waiting {
        ground.block_on(submit).expect("no panic");
    }
}

/// Every worker has a job that does not end, and the queue is full of more.
fn stall<K: Kind>(pool: &Pool<K::Backend>, stalled: &Latch, bodies: &Meter) {
    for n in 0..WORKERS + CAPACITY {
        let label = if n < WORKERS { "stalled" } else { "queued" };
        let work = Work::value(0).counted(bodies).until(stalled);
        drop(pool.with(JobOptions::new().label(label)).try_submit(K::job(work)).expect("there is a place"));
    }
    eventually("all workers are stalled", || bodies.inside() == WORKERS);
}

/// Sixty-four callers that wait, all the while.
fn wait_at_the_gate<K: Kind>(
    pool: &Pool<K::Backend>,
    ground: &Ground,
    stalled: &Latch,
) -> Vec<tokio::task::JoinHandle<()>> {
    let waiting = (0..SUBMITTERS).map(|_| {
        let (pool, stalled) = (pool.clone(), stalled.clone());
        ground.handle().spawn(async move {
            drop(pool.submit(K::job(Work::value(0).until(&stalled))).await.expect("it waits, and gets in"));
        })
    });
    let waiting = waiting.collect();
    eventually("they wait", || pool.saturation().waiting == SUBMITTERS);
    waiting
}

#[derive(Clone, Default)]
struct Flood {
    refused: Arc<AtomicUsize>,
    admitted: Arc<AtomicUsize>,
    done: Meter,
}

impl Flood {
    fn start<K: Kind>(pool: &Pool<K::Backend>, ground: &Ground) -> Self {
        let flood = Self::default();
        for _ in 0..SUBMITTERS {
            let (pool, flood) = (pool.clone(), flood.clone());
            ground.handle().spawn(async move {
                for n in 0..SUBMITS / SUBMITTERS {
                    match pool.try_submit(K::job(Work::value(0))).map_err(|rejected| rejected.into_reason()) {
                        Ok(handle) => drop((handle, flood.admitted.fetch_add(1, Ordering::AcqRel))),
                        Err(RejectReason::Full { .. }) => drop(flood.refused.fetch_add(1, Ordering::AcqRel)),
                        Err(other) => panic!("{other}"),
                    }
                    if n % 64 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                drop(flood.done.enter());
            });
        }
        flood
    }

    fn is_over(&self) -> bool {
        self.done.entered() == SUBMITTERS
    }
}

/// Inventories all the while, and now and then the kill of a worker that is stalled; says how many those were.
fn control_answers_meanwhile<B: millpond::Backend>(pool: &Pool<B>, flood: &Flood) -> usize {
    let (mut inventories, mut kills, mut rounds) = (Latencies::default(), Latencies::default(), 0);
    let mut killed = 0;
    while !flood.is_over() || rounds < 20 {
        inventories.time(|| pool.blocking().inventory(TimeLimit::default())).expect("inventory answers");
        if rounds % 4 == 0 && killed < WORKERS {
            let select = Select::label("stalled");
            let targets = pool.select(&select).expect("it is resolved")[..1].to_vec();
            let kill = || pool.blocking().terminate(Select::from(targets), Ladder::kill(), TimeLimit::default());
            let report = kills.time(kill).expect("the kill answers");
            assert!(matches!(report.targets[0].fate, Fate::Killed | Fate::Abandoned), "{report:?}");
            killed += 1;
        }
        rounds += 1;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    inventories.assert_p99("inventory in the flood");
    kills.assert_p99("kill in the flood");
    killed
}

/// Resident memory of this process, in bytes, on a system that tells without being asked through a library.
fn resident() -> Option<usize> {
    cfg!(target_os = "linux").then(|| {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
        let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    })
}
