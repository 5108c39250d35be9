//! A hook that is an actor of the application: never linked, and its end is nobody's harm.

use std::time::Duration;

use millpond::{
    ControlError, HookFault, HookMessage, HookOptions, HookSpec, Limits, Notice, PoolEvent, PoolExecutor, Question,
    Verdict,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus};
use tokio::sync::watch;
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, put, soon, until};
use crate::subject::{Subject, runtime};
use crate::task::Task;

conform! {
    an_actor_vetoes_and_is_told,
    an_actor_that_is_killed_counts_as_its_default,
    an_actor_killed_over_a_question_counts_as_its_default,
    an_actor_that_drops_the_question_counts_as_its_default,
    a_pool_that_ends_leaves_the_actor_alone,
}

/// How it deals with a growth of the pool.
#[derive(Clone, Copy)]
enum Growth {
    Denies,
    Awaits,
    Drops,
}

struct Clerk {
    growth: Growth,
    resized: watch::Sender<usize>,
    asked: watch::Sender<usize>,
}

impl Actor for Clerk {
    type Msg = HookMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<HookMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<HookMessage>,
        message: HookMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HookMessage::Asked { question: Question::Resize { .. }, reply, .. } => {
                self.asked.send_modify(|asked| *asked += 1);
                match self.growth {
                    Growth::Denies => drop(reply.send(Verdict::deny("small is beautiful"))),
                    Growth::Awaits => std::future::pending().await,
                    Growth::Drops => {}
                }
            }
            HookMessage::Asked { reply, .. } => drop(reply.send(Verdict::Allow)),
            HookMessage::Told { notice: Notice::Resized { .. }, .. } => self.resized.send_modify(|told| *told += 1),
            _ => {}
        }
        Ok(())
    }
}

struct Office {
    actor: ActorRef<HookMessage>,
    resized: watch::Receiver<usize>,
    asked: watch::Receiver<usize>,
}

impl Drop for Office {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

fn office(growth: Growth) -> Office {
    let (resize, resized) = watch::channel(0);
    let (ask, asked) = watch::channel(0);
    let clerk = Clerk { growth, resized: resize, asked: ask };
    let actor = soon(async { Actor::spawn(None, clerk, ()).await.expect("it comes up").0 });
    Office { actor, resized, asked }
}

fn advised<S: Subject>(what: &str, office: &Office, default: Verdict) -> PoolOf<S> {
    let options = HookOptions::new().limit(Duration::from_secs(60)).default_verdict(default);
    let hook = HookSpec::actor("clerk", office.actor.clone()).options(options);
    build::<S>(what, |builder| builder.limits(Limits::new(0, 1)).hook_spec(hook))
}

fn an_actor_vetoes_and_is_told<S: Subject>() {
    let office = office(Growth::Denies);
    let pool = advised::<S>("clerk", &office, Verdict::Allow);
    soon(put::<S>(&pool, Task::value(0))).expect("a start is allowed");
    let error = soon(pool.resize(Limits::new(0, 2), LIMIT)).expect_err("growth is not");
    assert!(matches!(&error, ControlError::Vetoed { by, .. } if **by == *"clerk"), "{error}");
    soon(pool.remove_hook("clerk", LIMIT)).expect("it is there");
    soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("nobody is asked");
    after_control(&pool);
    assert_eq!(*office.resized.borrow(), 0, "nothing was resized as long as it was told");
    assert_eq!(office.actor.get_status(), ActorStatus::Running, "it is its owner's");
    assert!(office.actor.get_cell().try_get_supervisor().is_none(), "nobody linked it");
    at_rest(&pool);
}

fn an_actor_that_is_killed_counts_as_its_default<S: Subject>() {
    let office = office(Growth::Denies);
    let pool = advised::<S>("clerk-killed", &office, Verdict::Allow);
    let mut events = pool.events();
    office.actor.kill();
    until("it is gone", || office.actor.get_status() == ActorStatus::Stopped);
    let report = soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("its default allows it");
    assert_eq!(report.to.max, 2);
    let fault = loop {
        if let PoolEvent::HookFault { fault, .. } = soon(events.next()).expect("the pool is there") {
            break fault;
        }
    };
    assert_eq!(fault, HookFault::NoAnswer);
    soon(put::<S>(&pool, Task::value(0))).expect("a start is allowed");
    at_rest(&pool);
}

fn an_actor_killed_over_a_question_counts_as_its_default<S: Subject>() {
    let office = office(Growth::Awaits);
    let pool = advised::<S>("clerk-killed-over", &office, Verdict::deny("nobody is in"));
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    let mut asked = office.asked.clone();
    soon(asked.wait_for(|asked| *asked == 1)).expect("it is asked");
    assert_pending!(resize.poll());
    office.actor.kill();
    let error = soon(resize).expect_err("its default denies it");
    assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"nobody is in"), "{error}");
    at_rest(&pool);
}

fn an_actor_that_drops_the_question_counts_as_its_default<S: Subject>() {
    let office = office(Growth::Drops);
    let pool = advised::<S>("clerk-drops", &office, Verdict::Allow);
    soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("its default allows it");
    let rows = soon(pool.hooks(LIMIT)).expect("it answers");
    assert_eq!((rows[0].hosted, rows[0].asked, rows[0].defaulted), (false, 1, 1));
    let mut resized = office.resized.clone();
    soon(resized.wait_for(|told| *told == 1)).expect("it is told");
    at_rest(&pool);
}

fn a_pool_that_ends_leaves_the_actor_alone<S: Subject>() {
    let office = office(Growth::Denies);
    let pool = advised::<S>("clerk-stays", &office, Verdict::Allow);
    soon(put::<S>(&pool, Task::value(0))).expect("a start is allowed");
    pool.actor().kill();
    until("its actor is gone", || pool.actor().get_status() == ActorStatus::Stopped);
    let _runtime = runtime().enter();
    assert_eq!(office.actor.get_status(), ActorStatus::Running);
}
