//! Ownership: who keeps a pool alive, its handles or a parent. However it dies, nobody waits in vain (invariants 7 and 9).

use millpond::{
    BuildError, CloseReason, JobError, JobOptions, KillReach, Limits, Pool, PoolExecutor, PoolMessage, RejectReason,
    pools,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::rig::{LIMIT, at_rest, fixed, hold, named, offer, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    the_last_handle_that_is_dropped_drains_the_pool,
    a_clone_keeps_the_pool,
    a_drain_after_the_last_handle_is_bounded_by_the_shutdown_limit,
    a_pool_under_a_parent_outlives_its_handles_and_ends_with_the_parent,
    a_pool_is_spawned_by_hand_in_an_actor_system_of_ones_own,
    a_pool_whose_actor_is_killed_leaves_no_handle_waiting,
    a_name_is_free_again_when_its_pool_is_gone,
}

/// Supervises, and does nothing else.
struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        _event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn parent() -> ActorRef<()> {
    soon(async { Actor::spawn(None, Parent, ()).await.expect("a parent comes up").0 })
}

fn is_listed(name: &str) -> bool {
    pools().iter().any(|pool| pool.name() == name)
}

/// `DESIGN.md`, section 4: the admitted jobs still run, and then the pool is gone.
fn the_last_handle_that_is_dropped_drains_the_pool<S: Subject>() {
    let pool = fixed::<S>("last-handle", 1);
    let (name, gate) = (pool.name().to_owned(), Gate::new());
    let mut handles = hold::<S>(&pool, &gate, 1);
    handles.extend((0..3).map(|_| put::<S>(&pool, Task::value(0))));
    drop(pool);
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the pool is gone", || !is_listed(&name));
    until("its name is free", || ractor::registry::where_is(&name).is_none());
}

fn a_clone_keeps_the_pool<S: Subject>() {
    let pool = fixed::<S>("clone", 1);
    let clone = pool.clone();
    drop(pool);
    crate::rig::after_control(&clone);
    assert_eq!(soon(put::<S>(&clone, Task::value(1))).unwrap(), 1);
    at_rest(&clone);
}

/// The same, with a job that does not end.
fn a_drain_after_the_last_handle_is_bounded_by_the_shutdown_limit<S: Subject>() {
    let limit = std::time::Duration::from_millis(20);
    let pool = crate::rig::build::<S>("bounded", |builder| builder.limits(Limits::fixed(1)).shutdown_limit(limit));
    let (gate, abandons) = (Gate::new(), pool.capabilities().kill == KillReach::None);
    let stuck = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let queued = put::<S>(&pool, Task::value(1));
    drop(pool);
    match soon(stuck).expect_err("nobody waits for it any more") {
        // A task too, if it is just being polled.
        JobError::Abandoned(_) => {}
        JobError::Killed(_) => assert!(!abandons),
        other => panic!("{other}"),
    }
    assert!(matches!(soon(queued), Err(JobError::NotStarted(_))));
}

/// The handles come and go; the parent decides.
fn a_pool_under_a_parent_outlives_its_handles_and_ends_with_the_parent<S: Subject>() {
    let (parent, name) = (parent(), named::<S>("child"));
    let builder = S::builder(&name).limits(Limits::fixed(1));
    let pool = soon(builder.spawn_linked(parent.get_cell())).expect("it comes up");
    let actor = pool.actor();
    drop(pool);
    let again = soon(Pool::<S::Backend>::from_actor(actor)).expect("it is still there");
    let gate = Gate::new();
    let held = hold::<S>(&again, &gate, 1).pop().expect("one");
    let queued = put::<S>(&again, Task::value(1));
    parent.stop(None);
    let error = soon(queued).expect_err("the pool went with its parent");
    assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::ActorGone), "{error}");
    assert!(soon(held).is_err());
    let refused = offer::<S>(&again, Task::value(2)).expect_err("closed");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::ActorGone, .. }), "{refused}");
    until("the pool is gone", || !is_listed(&name));
}

/// ractor's own way to spawn it, on a runtime that is not ours.
fn a_pool_is_spawned_by_hand_in_an_actor_system_of_ones_own<S: Subject>() {
    let (parent, name) = (parent(), named::<S>("by-hand"));
    let supervisor = S::builder(&name).limits(Limits::fixed(2)).into_supervisor().expect("it is sound");
    assert!(!is_listed(&name), "it has no actor yet");
    let cell = parent.get_cell();
    let actor: ActorRef<PoolMessage> =
        soon(async { Actor::spawn_linked(Some(name.clone()), supervisor, (), cell).await.expect("it comes up").0 });
    assert!(is_listed(&name), "though nobody has a handle yet");
    let pool = soon(Pool::<S::Backend>::from_actor(actor)).expect("it is a pool");
    assert_eq!(pools().iter().filter(|pool| pool.name() == name).count(), 1);
    assert_eq!(soon(put::<S>(&pool, Task::value(6))).unwrap(), 6);
    assert_eq!(soon(pool.resize(Limits::fixed(1), LIMIT)).expect("control answers").to, Limits::fixed(1));
    at_rest(&pool);
    let report = soon(pool.shutdown(LIMIT)).expect("it answers");
    assert_eq!(report.completed, 0);
    until("the pool is gone, though there is a handle", || !is_listed(&name));
    parent.stop(None);
}

/// `DESIGN.md`, section 4: "kill of the pool actor: the guard in the actor *value* runs `abort`".
fn a_pool_whose_actor_is_killed_leaves_no_handle_waiting<S: Subject>() {
    let pool = fixed::<S>("killed-actor", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let queued = pool.with(JobOptions::new().label("waits")).try_submit(S::job(Task::value(1))).expect("a place");
    pool.actor().kill();
    let error = soon(queued).expect_err("the pool died");
    assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::ActorGone), "{error}");
    assert!(matches!(soon(held), Err(JobError::Killed(_) | JobError::Abandoned(_))));
    let refused = offer::<S>(&pool, Task::value(2)).expect_err("closed");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::ActorGone, .. }), "{refused}");
    gate.open();
    until("its worker is gone", || pool.inventory_now().workers.is_empty());
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

fn a_name_is_free_again_when_its_pool_is_gone<S: Subject>() {
    let name = named::<S>("reused");
    let build = || S::builder(&name).limits(Limits::fixed(1)).build();
    let first = build().expect("the name is free");
    let taken = build().expect_err("the name is taken");
    assert!(matches!(&taken, BuildError::NameTaken(n) if **n == *name), "{taken}");
    soon(first.shutdown(LIMIT)).expect("it answers");
    until("the name is free", || ractor::registry::where_is(&name).is_none());
    let second = build().expect("the name is free again");
    assert_eq!(soon(put::<S>(&second, Task::value(2))).unwrap(), 2);
}
