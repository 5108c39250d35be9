//! A pool that is rebuilt under its name: a handle by name finds its successor, and says so when there is none yet; old handles answer
//! `Closed`, with every outcome written.

use millpond::{
    AttachError, ByName, CloseReason, ControlError, JobError, Limits, PoolBuilder, PoolExecutor, RejectReason,
    ThreadPool, Threads, TimeLimit,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, fixed, hold, named, offer, put, soon, until};
use crate::subject::{OnThreads, Subject};
use crate::task::{Gate, Task};

conform! {
    a_handle_by_name_finds_the_pool_that_a_supervisor_rebuilt,
    a_name_that_is_not_this_kind_of_pool_is_said_at_once,
}

/// Starts a pool under itself whenever it is told to, and decides nothing by itself, so that a test sees what is between two pools.
struct Family<S: Subject>(String, std::marker::PhantomData<fn(S)>);

impl<S: Subject> Actor for Family<S> {
    type Msg = ();
    type State = Option<PoolOf<S>>;
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<()>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(None)
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        pool: &mut Option<PoolOf<S>>,
    ) -> Result<(), ActorProcessingErr> {
        let builder = S::builder(&self.0).limits(Limits::fixed(1));
        *pool = Some(builder.spawn_linked(myself.get_cell()).await?);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        _event: SupervisionEvent,
        _pool: &mut Option<PoolOf<S>>,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn a_handle_by_name_finds_the_pool_that_a_supervisor_rebuilt<S: Subject>() {
    let name = named::<S>("rebuilt");
    let by_name = ByName::<S::Backend>::new(&name);
    let error = by_name.get_blocking().expect_err("nobody has built it");
    assert!(matches!(&error, AttachError::NotRegistered(who) if *who == name), "{error}");

    let family = soon(Actor::spawn(None, Family::<S>(name.clone(), std::marker::PhantomData), ())).expect("it is up").0;
    family.cast(()).expect("it listens");
    let first = by_name.wait_blocking(LIMIT).expect("it comes up");
    let again = by_name.get_blocking().expect("it is there");
    assert_eq!(again.actor().get_id(), first.actor().get_id());
    let gate = Gate::new();
    let held = hold::<S>(&first, &gate, 1).pop().expect("one");
    let queued = put::<S>(&first, Task::value(1));
    let mut events = first.events();

    first.actor().kill();
    while soon(events.next()).is_some() {}
    // Old handles: closed, and what they had let in has its outcome.
    let error = soon(held).expect_err("its pool is gone");
    assert!(matches!(error, JobError::Killed(_) | JobError::Abandoned(_)), "{error}");
    let error = soon(queued).expect_err("its pool is gone");
    assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::ActorGone), "{error}");
    let closed = |pool: &PoolOf<S>| {
        let refused = offer::<S>(pool, Task::value(2)).expect_err("it is gone");
        let told = matches!(refused.reason(), RejectReason::Closed { .. });
        told && matches!(soon(pool.inventory(LIMIT)), Err(ControlError::Closed { .. }))
    };
    assert!(closed(&first));
    let between = by_name.get_blocking().expect_err("nobody has built another");
    assert!(matches!(&between, AttachError::Between(who) if *who == name), "{between}");
    let late = by_name.wait_blocking(TimeLimit::millis(20)).expect_err("nor within the limit");
    assert!(matches!(late, AttachError::Between(_)) && late.to_string().contains(&name), "{late}");

    let mut waits = spawn(by_name.wait(LIMIT));
    assert_pending!(waits.poll());
    family.cast(()).expect("it listens");
    let second = soon(waits).expect("another comes up");
    assert_ne!(second.actor().get_id(), first.actor().get_id());
    assert_eq!((second.name(), second.snapshot().ledger.accepted), (&*name, 0), "with a ledger of its own");
    assert_eq!(soon(put::<S>(&second, Task::value(3))).unwrap(), 3);
    assert!(closed(&first) && closed(&again), "that there is another changes nothing for them");
    gate.open();
    let ledger = first.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    family.stop(None);
    until("its name is free", || ractor::registry::where_is(&name).is_none());
}

fn a_name_that_is_not_this_kind_of_pool_is_said_at_once<S: Subject>() {
    let pool = fixed::<S>("by-name-other", 1);
    let kind = pool.capabilities().kind;
    let error = if S::KIND == OnThreads::KIND {
        ByName::<millpond::Tasks>::new(pool.name()).wait_blocking(LIMIT).map(drop).expect_err("it is none")
    } else {
        ByName::<Threads>::new(pool.name()).wait_blocking(LIMIT).map(drop).expect_err("it is none")
    };
    assert!(matches!(&error, AttachError::OtherKind { found, .. } if *found == kind), "{error}");
}

/// A handle by name keeps nobody alive.
#[test]
fn a_handle_by_name_owns_nothing() {
    let builder: PoolBuilder<Threads> = ThreadPool::builder(named::<OnThreads>("by-name-owns"));
    let pool = builder.limits(Limits::fixed(1)).build().expect("it is built");
    let by_name = ByName::<Threads>::new(pool.name());
    let found = by_name.get_blocking().expect("it is there");
    drop(pool);
    until("it is gone though somebody knows it", || found.snapshot().gate == "closed");
    until("and says so", || matches!(by_name.get_blocking(), Err(AttachError::Between(_))));
}
