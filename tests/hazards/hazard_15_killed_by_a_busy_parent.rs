//! 15. Drain hang or silent loss, continued: the pool's actor is killed, and its parent has no time to look.
//!
//! The supervision event lies in the parent's mailbox, with the killed actor's State in it, so nothing may depend on the drop of
//! that State. Nobody waits for an outcome, and whoever cannot be ended is listed by `orphans()`.

use std::pin::pin;
use std::task::Poll;

use millpond::{
    BuildError, CloseReason, ControlError, Executor, JobError, Limits, Pool, PoolExecutor, RejectReason, TimeLimit,
    orphans,
};
use ractor::{Actor, ActorRef};

use crate::busy_parent::{Order, Parent};
use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, on_fresh_instances, put};
use crate::latch::Meter;
use crate::patience::{CONTROL_LIMIT, Flag, eventually, within};

on_every_kind!(in_this_process: killed_by_its_parent, killed_with_its_parent, stopped_by_its_parent);
on_fresh_instances!(killed_by_its_parent, killed_with_its_parent, stopped_by_its_parent);

fn killed_by_its_parent<K: Kind>() {
    dies::<K>("h15-by-parent", |pool, _parent| {
        let actor = pool.actor();
        Box::new(move || actor.kill())
    });
}

fn stopped_by_its_parent<K: Kind>() {
    dies::<K>("h15-stopped", |pool, _parent| {
        let actor = pool.actor();
        Box::new(move || actor.stop(None))
    });
}

fn killed_with_its_parent<K: Kind>() {
    dies::<K>("h15-with-parent", |_pool, parent| {
        let parent = parent.clone();
        Box::new(move || parent.kill())
    });
}

fn spawn_linked<K: Kind>(
    name: &str,
    ground: &Ground,
    parent: &ActorRef<Order>,
) -> Result<Pool<K::Backend>, BuildError> {
    ground.block_on(K::builder(name, ground).limits(Limits::fixed(2)).spawn_linked(parent.get_cell()))
}

/// A pool with a job that no kill reaches, one that waits as its kind does, and a queue, dies by what its busy parent does.
fn dies<K: Kind>(name: &str, how: impl FnOnce(&Pool<K::Backend>, &ActorRef<Order>) -> Box<dyn FnOnce() + Send>) {
    let ground = Ground::new();
    let (parent, _ended) = ground.block_on(Actor::spawn(None, Parent, ())).expect("the parent starts");
    let pool = spawn_linked::<K>(name, &ground, &parent).expect("the pool starts");
    let (stuck, bodies) = (ground.latch(), Meter::default());
    eventually("the pool is up", || pool.saturation().idle == 2);
    let unkillable = put::<K>(&pool, Work::value(0).counted(&bodies).block(&stuck));
    eventually("one runs", || bodies.inside() == 1);
    let waits = put::<K>(&pool, Work::value(0).counted(&bodies).until(&stuck));
    eventually("both run", || bodies.inside() == 2);
    let queued: Vec<_> = (0..100).map(|n| put::<K>(&pool, Work::value(n))).collect();

    let (done, busy) = (ground.latch(), ground.latch());
    let order = Order { act: how(&pool, &parent), done: done.clone(), busy };
    parent.cast(order).expect("the parent is up");
    done.block();

    within(CONTROL_LIMIT * 2, "every outcome", || {
        for handle in queued {
            let JobError::NotStarted(error) = failure(handle) else { panic!("it began") };
            assert_eq!(error.reason, CloseReason::ActorGone);
        }
        for handle in [unkillable, waits] {
            assert!(matches!(failure(handle), JobError::Abandoned(_) | JobError::Killed(_)));
        }
    });
    is_closed::<K>(&pool);
    let left = || orphans().iter().filter(|orphan| &*orphan.pool == pool.name()).count();
    eventually("who can be killed has ended, the others are listed", || {
        let out_of_reach = if K::KILLABLE { 1 } else { 2 };
        bodies.inside() == out_of_reach && left() == out_of_reach
    });
    stuck.open();
    eventually("nobody is left", || bodies.inside() == 0 && left() == 0);
}

fn is_closed<K: Kind>(pool: &Pool<K::Backend>) {
    let closed = |reason: &RejectReason| matches!(reason, RejectReason::Closed { reason: CloseReason::ActorGone, .. });
    let refused = pool.try_submit(K::job(Work::value(0))).expect_err("it is gone");
    assert!(closed(refused.reason()), "{refused}");
    let mut submit = pin!(pool.submit(K::job(Work::value(0))));
    match Flag::new().poll(submit.as_mut()) {
        Poll::Ready(Err(refused)) => assert!(closed(refused.reason()), "{refused}"),
        Poll::Ready(Ok(_)) => panic!("accepted by a pool that is gone"),
        Poll::Pending => panic!("waits for a pool that is gone"),
    }
    let answer = pool.blocking().inventory(TimeLimit::default());
    assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}
