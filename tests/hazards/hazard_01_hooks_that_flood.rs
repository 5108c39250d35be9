//! 1. Control starvation, by hooks, continued: one that submits to its own pool whenever it is asked or told, until it is turned away.
//!
//! What it floods the pool with makes for more that it is told. Control answers all the while, others' jobs run, and when the hook is
//! removed, or its pool ends, each of its jobs has had its one outcome.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millpond::{
    Executor, Hook, HookContext, HookOptions, HookSpec, Lane, Limits, Notice, Pool, PoolExecutor, RejectReason,
    TimeLimit, Verdict, WorkerId,
};

use crate::hazard_01_hooks::HOOK_LIMIT;
use crate::kinds::{Ground, Kind, Work, on_every_kind, put, value};
use crate::latch::Meter;
use crate::patience::{FOREVER, at_rest, control_answers, eventually, scaled};

on_every_kind!(a_hook_that_floods_its_pool, a_hook_that_floods_a_pool_that_ends);

const SPAN: Duration = Duration::from_secs(10);
const LIMIT: TimeLimit = TimeLimit(FOREVER);
/// Of its queue: so much is offered, and one more, at a time.
const CAPACITY: usize = 64;
/// It stops then, even if it was not turned away: workers may be as quick as it.
const MOST: usize = CAPACITY * 16;

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    rejected: AtomicU64,
}

/// Floods this pool, once it knows it.
struct Flood<K: Kind> {
    pool: Arc<OnceLock<Pool<K::Backend>>>,
    counts: Arc<Counts>,
    run: Meter,
}

impl<K: Kind> Flood<K> {
    fn flood(&self) -> Verdict {
        let Some(pool) = self.pool.get() else { return Verdict::Allow };
        for _ in 0..MOST {
            match pool.try_submit(K::job(Work::value(1).counted(&self.run))) {
                Ok(job) => {
                    drop(job);
                    self.counts.accepted.fetch_add(1, Ordering::AcqRel);
                }
                Err(refused) => {
                    let expected = matches!(refused.reason(), RejectReason::Full { .. } | RejectReason::Closed { .. });
                    assert!(expected, "{}", refused.reason());
                    self.counts.rejected.fetch_add(1, Ordering::AcqRel);
                    break;
                }
            }
        }
        Verdict::Allow
    }
}

impl<K: Kind> Hook for Flood<K> {
    async fn start(&self, _cx: &HookContext, _worker: WorkerId) -> Verdict {
        self.flood()
    }

    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.flood()
    }

    async fn told(&self, _cx: &HookContext, _notice: &Notice) {
        self.flood();
    }
}

struct Scene<K: Kind> {
    pool: Pool<K::Backend>,
    counts: Arc<Counts>,
    run: Meter,
}

fn scene<K: Kind>(name: &str, ground: &Ground) -> Scene<K> {
    let (known, counts, run) = (Arc::new(OnceLock::new()), Arc::<Counts>::default(), Meter::default());
    let flood = Flood::<K> { pool: known.clone(), counts: counts.clone(), run: run.clone() };
    let options = HookOptions::new().limit(HOOK_LIMIT);
    let pool = K::builder(name, ground)
        .limits(Limits::fixed(2))
        .default_lane(Lane::new("default").capacity(CAPACITY))
        // Others have room beside the flood, and a worker.
        .lane(Lane::new("others").capacity(1 << 16).reserve(1))
        .hook_spec(HookSpec::new("flood", flood).options(options))
        .build()
        .expect("the configuration is sound");
    // One that owns nothing, or the hook would keep its pool from ending.
    let view = Pool::from_actor_blocking(pool.actor()).expect("it is a pool of this kind");
    drop(known.set(view));
    // It may have been asked and told of both workers before it knew its pool: now it is told of something.
    pool.blocking().quiesce(LIMIT).expect("it is open");
    pool.blocking().resume(LIMIT).expect("it is quiesced");
    Scene { pool, counts, run }
}

fn a_hook_that_floods_its_pool<K: Kind>() {
    let ground = Ground::new();
    let Scene { pool, counts, run } = scene::<K>("h01-hook-floods", &ground);
    let others = || pool.with(millpond::JobOptions::new().lane("others")).try_submit(K::job(Work::value(7)));
    control_answers(&pool, scaled(SPAN), || drop(others().expect("there is a place")));
    assert_eq!(value(others().expect("there is a place")), 7);
    eventually("it was turned away", || counts.rejected.load(Ordering::Acquire) > 0);
    let row = &pool.blocking().hooks(LIMIT).expect("it answers")[0];
    assert!(row.outstanding <= 64 + 1024, "{row:?}");
    pool.blocking().remove_hook("flood", LIMIT).expect("it is there");
    // It works off what lies there, and floods once more for each: until it is let go of, its jobs may seem to have ended.
    eventually("it has ended", || Arc::strong_count(&counts) == 1);
    eventually("its jobs are all run", || run.entered() as u64 == counts.accepted.load(Ordering::Acquire));
    assert_eq!(value(put::<K>(&pool, Work::value(3))), 3);
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!(ledger.completed, ledger.accepted, "{ledger}");
    assert!(ledger.rejected >= 1, "{ledger}");
}

fn a_hook_that_floods_a_pool_that_ends<K: Kind>() {
    let ground = Ground::new();
    let Scene { pool, counts, run } = scene::<K>("h01-hook-floods-end", &ground);
    eventually("it floods", || counts.accepted.load(Ordering::Acquire) > 0);
    let report = pool.blocking().shutdown(TimeLimit::secs(10)).expect("an end waits for no hook");
    assert_eq!(report.killed + report.abandoned, 0, "{report}");
    // What it counts, it counts a moment later.
    eventually("it has ended, too", || Arc::strong_count(&counts) == 1);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    let accepted = || counts.accepted.load(Ordering::Acquire);
    assert_eq!((ledger.accepted, run.entered() as u64), (accepted(), ledger.completed), "{ledger}");
    let refused = pool.try_submit(K::job(Work::value(1))).expect_err("it has ended");
    assert!(matches!(refused.reason(), RejectReason::Closed { .. }), "{refused}");
}
