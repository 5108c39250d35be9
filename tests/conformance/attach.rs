//! Typed handles from actors and names: `from_actor`, `from_registry`, and what they answer otherwise.

use millpond::{
    AttachError, CallWith, Capabilities, ControlError, Limits, Pool, PoolBuilder, PoolExecutor, PoolMessage, TaskPool,
    ThreadPool,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::rig::{LIMIT, at_rest, fixed, named, put, soon, until};
use crate::subject::{OnThreads, Subject};
use crate::task::Task;

conform! {
    an_application_that_holds_the_actor_gets_its_typed_handle_back,
    a_pool_is_found_by_its_registered_name,
    a_handle_that_was_looked_up_owns_nothing,
    a_pool_of_another_kind_says_which,
    a_pool_that_is_gone_is_no_pool,
}

fn an_application_that_holds_the_actor_gets_its_typed_handle_back<S: Subject>() {
    let pool = fixed::<S>("from-actor", 1);
    let actor: ActorRef<PoolMessage> = pool.actor();
    let again = soon(Pool::<S::Backend>::from_actor(actor)).expect("it is one");
    assert_eq!(soon(put::<S>(&again, Task::value(3))).unwrap(), 3);
    assert_eq!((again.name(), again.snapshot().ledger), (pool.name(), pool.snapshot().ledger));
    at_rest(&pool);
}

fn a_pool_is_found_by_its_registered_name<S: Subject>() {
    let pool = fixed::<S>("from-registry", 2);
    let again = soon(Pool::<S::Backend>::from_registry(pool.name())).expect("it is there");
    assert_eq!((again.saturation().limit, again.capabilities()), (2, pool.capabilities()));
}

/// Else a dashboard would keep alive every pool that it looked at.
fn a_handle_that_was_looked_up_owns_nothing<S: Subject>() {
    let pool = fixed::<S>("owns-nothing", 1);
    let onlooker = soon(Pool::<S::Backend>::from_registry(pool.name())).expect("it is there");
    drop(onlooker.clone());
    crate::rig::after_control(&pool);
    assert_eq!(pool.snapshot().gate, "open", "the drop of a looker-on ends nothing");
    drop(pool);
    until("the pool is gone though somebody looks on", || onlooker.snapshot().gate == "closed");
}

fn a_pool_of_another_kind_says_which<S: Subject>() {
    let pool = fixed::<S>("other-kind", 1);
    let kind = pool.capabilities().kind;
    let error = if S::KIND == OnThreads::KIND {
        soon(TaskPool::from_actor(pool.actor())).expect_err("it is none")
    } else {
        soon(ThreadPool::from_actor(pool.actor())).expect_err("it is none")
    };
    assert!(matches!(&error, AttachError::OtherKind { found, .. } if *found == kind), "{error}");
    assert!(error.to_string().contains(kind) && error.to_string().contains(pool.name()), "{error}");
}

fn a_pool_that_is_gone_is_no_pool<S: Subject>() {
    let pool = fixed::<S>("dead-actor", 1);
    let actor = pool.actor();
    soon(pool.shutdown(LIMIT)).expect("it answers");
    until("its actor is gone", || actor.get_status() == ractor::ActorStatus::Stopped);
    let error = soon(Pool::<S::Backend>::from_actor(actor)).expect_err("it is dead");
    assert!(matches!(&error, AttachError::Control(ControlError::Closed { .. })), "{error}");
    let error = soon(Pool::<S::Backend>::from_registry(pool.name())).expect_err("nobody has that name");
    assert!(matches!(&error, AttachError::NotRegistered(name) if name == pool.name()), "{error}");
}

/// An actor that is no pool.
struct Bystander;

impl Actor for Bystander {
    type Msg = String;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<String>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

#[test]
fn an_actor_that_is_no_pool_is_told_apart() {
    let name = named::<OnThreads>("bystander");
    let (actor, _join) = soon(Actor::spawn(Some(name.clone()), Bystander, ())).expect("it comes up");
    let error = soon(ThreadPool::from_registry(&name)).expect_err("it is no pool");
    assert!(matches!(&error, AttachError::NotAPool(n) if *n == name), "{error}");
    actor.stop(None);
}

#[test]
fn names_that_extensions_need_are_public() {
    fn assert_public<T: ?Sized>() {}
    assert_public::<CallWith<fn(&mut u8), u8>>();
    assert_public::<PoolBuilder<millpond::Threads>>();
    assert_public::<Capabilities>();
    assert_eq!(Limits::fixed(2).to_string(), "2..=2");
}
