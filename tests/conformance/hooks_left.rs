//! A hosted hook that blocks its thread and is let go of: `orphans()` lists it until it returns.

use std::time::Duration;

use millpond::{Hook, HookContext, Limits, Notice, Orphan, PoolExecutor, ThreadPool, orphans};

use crate::rig::{LIMIT, named, soon, until};
use crate::subject::OnThreads;
use crate::task::Gate;

struct Blocks(Gate);

impl Hook for Blocks {
    async fn told(&self, _cx: &HookContext, _notice: &Notice) {
        self.0.pass();
    }
}

/// A pool with a hook that blocks its thread.
fn blocked(what: &str) -> (ThreadPool, Gate) {
    let gate = Gate::new();
    let builder = ThreadPool::builder(named::<OnThreads>(what)).limits(Limits::fixed(1));
    let pool = builder.hook("audit", Blocks(gate.other())).build();
    until("the hook is told something", || gate.entered() > 0);
    (pool.expect("it is built"), gate)
}

fn of_ours(name: &str) -> Vec<Orphan> {
    orphans().into_iter().filter(|orphan| *orphan.pool == *name && orphan.hook.is_some()).collect()
}

fn is_listed_until_it_returns(name: &str, gate: &Gate) {
    until("it is listed", || !of_ours(name).is_empty());
    let orphan = of_ours(name).pop().expect("it is there");
    assert_eq!((orphan.hook.as_deref(), orphan.worker, orphan.job), (Some("audit"), None, None));
    assert_eq!(orphan.facts.thread.as_deref(), Some("millpond-hook"));
    assert!(orphan.orphaned_for >= Duration::from_secs(1), "{orphan:?}");
    gate.open();
    until("it has returned", || of_ours(name).is_empty());
}

#[test]
fn a_hook_that_is_removed_and_blocks_is_listed_until_it_returns() {
    let (pool, gate) = blocked("hook-removed");
    assert!(of_ours(pool.name()).is_empty(), "it is the pool's still");
    soon(pool.remove_hook("audit", LIMIT)).expect("it is there");
    is_listed_until_it_returns(pool.name(), &gate);
}

#[test]
fn a_hook_that_outlives_its_pool_is_listed_until_it_returns() {
    for end in [|pool: &ThreadPool| drop(soon(pool.shutdown(LIMIT))), |pool: &ThreadPool| pool.abort()] {
        let (pool, gate) = blocked("hook-outlives");
        end(&pool);
        is_listed_until_it_returns(pool.name(), &gate);
    }
}
