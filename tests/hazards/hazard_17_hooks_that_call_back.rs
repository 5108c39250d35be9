//! 17. User code under a lock: a hook that calls the pool from inside, by message and by reading, whether it awaits or blocks.
//!
//! A supervisor that held anything while it asks would deadlock with it. Questions about a worker: `hazard_17_hooks_that_meddle`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::{
    ControlError, Hook, HookContext, HookOptions, HookSpec, Limits, Notice, PoolExecutor, TimeLimit, Verdict, WorkerId,
    pools,
};

use crate::kinds::{Ground, Kind, Work, on_every_kind, put, value};
use crate::patience::{at_rest, eventually, returns};

on_every_kind!(a_hook_that_awaits_its_pool, a_hook_that_blocks_for_its_pool, a_hook_that_resizes_over_a_resize);

const LIMIT: TimeLimit = TimeLimit::secs(20);

pub fn pool_of(cx: &HookContext) -> Arc<dyn PoolExecutor> {
    pools().into_iter().find(|pool| *pool.name() == *cx.pool).expect("it is being asked by it")
}

/// Looks at its pool whenever it is asked or told, and resizes it when it is told of a worker.
struct Curious {
    blocks: bool,
    looked: Arc<AtomicUsize>,
}

impl Curious {
    async fn look(&self, cx: &HookContext) {
        let pool = pool_of(cx);
        let inventory = if self.blocks { pool.blocking().inventory(LIMIT) } else { pool.inventory(LIMIT).await };
        let seen = inventory.expect("it answers while a hook is asked");
        assert_eq!((*seen.pool).len(), cx.pool.len());
        drop((pool.inventory_now(), pool.snapshot(), pool.saturation()));
        self.looked.fetch_add(1, Ordering::AcqRel);
    }
}

impl Hook for Curious {
    async fn start(&self, cx: &HookContext, _worker: WorkerId) -> Verdict {
        self.look(cx).await;
        Verdict::Allow
    }

    async fn resize(&self, cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.look(cx).await;
        Verdict::Allow
    }

    async fn told(&self, cx: &HookContext, notice: &Notice) {
        self.look(cx).await;
        if let Notice::WorkerStarted { .. } = notice {
            let pool = pool_of(cx);
            // Nothing lowers or denies here: its own hooks are asked, of which it is the one that is busy.
            let hooks = if self.blocks { pool.blocking().hooks(LIMIT) } else { pool.hooks(LIMIT).await };
            assert_eq!(hooks.expect("it answers").len(), 1);
        }
    }
}

fn a_curious_hook<K: Kind>(name: &str, blocks: bool) {
    let ground = Ground::new();
    let looked = Arc::new(AtomicUsize::new(0));
    let hook = Curious { blocks, looked: looked.clone() };
    let options = HookOptions::new().limit(Duration::from_secs(20)).default_verdict(Verdict::deny("it is stuck"));
    let hook = HookSpec::new("curious", hook).options(options);
    let pool = K::builder(name, &ground).limits(Limits::new(0, 2)).hook_spec(hook).build().expect("it is sound");
    assert_eq!(value(put::<K>(&pool, Work::value(1))), 1, "its start was allowed");
    let resized = pool.clone();
    let report = returns("a resize", move || resized.blocking().resize(Limits::new(1, 3), LIMIT));
    assert_eq!(report.expect("it is allowed").to.max, 3);
    eventually("it has looked at all of that", || looked.load(Ordering::Acquire) >= 4);
    let row = pool.blocking().hooks(LIMIT).expect("it answers").remove(0);
    assert_eq!((row.defaulted, row.denied), (0, 0), "{row:?}");
    at_rest(&pool);
}

fn a_hook_that_awaits_its_pool<K: Kind>() {
    a_curious_hook::<K>("h17-hook-awaits", false);
}

fn a_hook_that_blocks_for_its_pool<K: Kind>() {
    a_curious_hook::<K>("h17-hook-blocks", true);
}

/// The worst that it can do: what it is asked about, it does itself, and is asked about that, while it waits.
struct Meddles(Arc<AtomicUsize>);

impl Hook for Meddles {
    async fn resize(&self, cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        if self.0.fetch_add(1, Ordering::AcqRel) == 0 {
            // It cannot answer for this one: its default counts when its limit is over.
            let inner = pool_of(cx).resize(Limits::new(1, 5), LIMIT).await;
            assert_eq!(inner.expect("its default allows it").to.max, 5);
        }
        Verdict::Allow
    }
}

fn a_hook_that_resizes_over_a_resize<K: Kind>() {
    let ground = Ground::new();
    let options = HookOptions::new().limit(Duration::from_secs(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let hook = HookSpec::new("meddles", Meddles(calls)).options(options);
    let pool = K::builder("h17-hook-meddles", &ground).limits(Limits::fixed(1)).hook_spec(hook).build();
    let pool = pool.expect("the configuration is sound");
    let resized = pool.clone();
    let outer = returns("a resize", move || resized.blocking().resize(Limits::fixed(3), LIMIT));
    assert!(matches!(outer, Err(ControlError::Superseded { .. })), "the later one counts: {outer:?}");
    eventually("the later one is in force", || pool.snapshot().limits == Limits::new(1, 5));
    at_rest(&pool);
}
