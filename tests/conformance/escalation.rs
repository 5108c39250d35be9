//! Escalation: a policy gives the pool up, which fails its actor so that *its* parent decides. The parent learns why, and no handle is
//! left waiting.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use millpond::{
    CloseReason, ControlError, Executor, JobError, Lane, Limits, PoolEvent, PoolExecutor, RejectReason, Restart,
    orphans,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio_test::{assert_pending, task::spawn};

use crate::faults::{By, Faulty, with_faults};
use crate::rig::{LIMIT, build, hold, named, offer, put, soon, until};
use crate::task::{Gate, Task};

with_faults! {
    an_escalation_reaches_the_parent_with_its_reason,
    an_escalation_without_a_parent_ends_the_pool,
    a_pool_that_is_shut_down_does_not_escalate,
}

const WHY: &str = "the disk is gone";

/// Tells the test which of its children failed, and why.
struct Parent(SyncSender<(String, String)>);

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
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, why) = event {
            let told = self.0.try_send((who.get_name().unwrap_or_default(), why.to_string()));
            told.expect("the test listens");
        }
        Ok(())
    }
}

fn parent() -> (ActorRef<()>, Receiver<(String, String)>) {
    let (tell, told) = sync_channel(8);
    (soon(async { Actor::spawn(None, Parent(tell), ()).await.expect("a parent comes up").0 }), told)
}

fn escalated(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Escalated(why) if &**why == WHY)
}

fn an_escalation_reaches_the_parent_with_its_reason<S: Faulty>() {
    let ((parent, told), name) = (parent(), named::<S>("escalates"));
    let builder = S::shape(S::builder(&name))
        .limits(Limits::fixed(2))
        .default_lane(Lane::new("default").capacity(1).admission_limit(None))
        .restart_policy(By(|| Restart::Escalate(WHY.to_owned())));
    let pool = soon(builder.spawn_linked(parent.get_cell())).expect("it comes up");
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let fuse = S::lay(&pool);
    soon(pool.quiesce(LIMIT)).expect("so that nobody takes what is queued");
    let queued = put::<S>(&pool, Task::value(1));
    let mut waits = spawn(pool.submit(S::job(Task::value(2))));
    assert_pending!(waits.poll());
    let broken = fuse.light();

    let (who, why) = told.recv_timeout(Duration::from_secs(30)).expect("the parent is told");
    assert!(who == name && why.contains(WHY) && why.contains(&name), "{who}: {why}");
    assert!(matches!(soon(broken), Err(JobError::Panicked(_) | JobError::Killed(_))), "its worker had a fault");
    let error = soon(held).expect_err("its pool was given up");
    let lost = matches!(&error, JobError::Killed(lost) | JobError::Abandoned(lost) if &*lost.by == WHY);
    assert!(lost, "{error}");
    let error = soon(queued).expect_err("its pool was given up");
    assert!(matches!(&error, JobError::NotStarted(why) if escalated(&why.reason)), "{error}");
    let refused = soon(waits).expect_err("its pool was given up");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason, .. } if escalated(reason)), "{refused}");
    let refused = offer::<S>(&pool, Task::value(3)).expect_err("its pool was given up");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason, .. } if escalated(reason)), "{refused}");
    let answer = soon(pool.inventory(LIMIT));
    assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
    assert!(told.try_recv().is_err(), "it is told once");

    gate.open();
    until("nobody is left", || !orphans().iter().any(|orphan| *orphan.pool == *name));
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.pending, ledger.waiting) == (0, 0), "{ledger}");
    until("its name is free", || ractor::registry::where_is(&name).is_none());
    parent.stop(None);
}

fn an_escalation_without_a_parent_ends_the_pool<S: Faulty>() {
    let pool = build::<S>("gives-up", |builder| {
        S::shape(builder).limits(Limits::fixed(1)).restart_policy(By(|| Restart::Escalate(WHY.to_owned())))
    });
    let mut events = pool.events();
    let fuse = S::lay(&pool);
    soon(pool.quiesce(LIMIT)).expect("so that nobody takes what is queued");
    let queued = put::<S>(&pool, Task::value(1));
    assert!(soon(fuse.light()).is_err());
    let error = soon(queued).expect_err("the pool was given up");
    assert!(matches!(&error, JobError::NotStarted(why) if escalated(&why.reason)), "{error}");
    while soon(events.next()).is_some() {}
    assert_eq!(pool.snapshot().gate, "closed");
    until("its workers are gone", || pool.inventory_now().workers.is_empty());
}

/// Who ended it on purpose has its report, and no parent builds another.
fn a_pool_that_is_shut_down_does_not_escalate<S: Faulty>() {
    let ((parent, told), name) = (parent(), named::<S>("shut-down"));
    let builder = S::shape(S::builder(&name)).limits(Limits::fixed(2));
    let builder = builder.restart_policy(By(|| Restart::Escalate(WHY.to_owned())));
    let pool = soon(builder.spawn_linked(parent.get_cell())).expect("it comes up");
    let mut events = pool.events();
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let fuse = S::lay(&pool);
    let mut shutdown = spawn(pool.shutdown(LIMIT));
    assert_pending!(shutdown.poll());
    until("it drains", || pool.snapshot().gate == "draining");
    assert!(soon(fuse.light()).is_err());
    until("the policy gives the pool up", || {
        std::iter::from_fn(|| events.try_next())
            .any(|event| matches!(event, PoolEvent::RestartDecided { restart: Restart::Escalate(_), .. }))
    });
    gate.open();
    assert!(soon(held).is_ok(), "what runs has its time");
    let report = soon(shutdown).expect("it reports");
    assert_eq!((report.completed, report.panicked + report.killed), (1, 1), "the held one and the fuse: {report:?}");
    until("its name is free", || ractor::registry::where_is(&name).is_none());
    assert!(told.try_recv().is_err(), "it has not failed");
    parent.stop(None);
}
