//! Members that are told to stop and take their time, or do not end at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use millpond::PoolMessage;
use millpond_supervisors::{Group, Strategy};
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, registry};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use crate::starts::{SHORT, bare, until_up};
use crate::{MANY, Outcome, failure_of, status};

/// Stands for a pool that is in the middle of something for ever: at an `await`, or, if it has a channel, in a call, until the other end is dropped.
struct Busy {
    blocks: Option<Mutex<Receiver<()>>>,
    entered: Mutex<Option<oneshot::Sender<()>>>,
}

#[ractor::actor(message = PoolMessage, state = (), arguments = ())]
impl Busy {
    async fn pre_start(&self, _: ActorRef<PoolMessage>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<PoolMessage>, _: PoolMessage, _: &mut ()) -> Result<(), ActorProcessingErr> {
        self.entered.lock().take().map(|entered| entered.send(()));
        match &self.blocks {
            Some(blocks) => assert!(blocks.lock().recv().is_err(), "nothing is sent"),
            None => std::future::pending().await,
        }
        Ok(())
    }
}

type Spawned = Result<ActorRef<PoolMessage>, Box<dyn std::error::Error + Send + Sync>>;

/// Comes back when it has begun what it does not end.
async fn busy(name: Option<&str>, blocks: Option<Receiver<()>>, on: Handle, parent: ActorCell) -> Spawned {
    let (tell, entered) = oneshot::channel();
    let actor = Busy { blocks: blocks.map(Mutex::new), entered: Mutex::new(Some(tell)) };
    let (actor, _) = on.spawn(Actor::spawn(name.map(str::to_owned), actor, ())).await??;
    actor.link(parent);
    let (port, _) = ractor::concurrency::oneshot();
    actor.cast(PoolMessage::Quiesce(port.into()))?;
    entered.await?;
    Ok(actor)
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed_at_its_limit_and_started_again_when_it_is_gone() -> Outcome {
    for (strategy, name) in [(Strategy::OneForAll, "stops-all"), (Strategy::RestForOne, "stops-rest")] {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        // Whoever is busy answers nothing, so nobody waits for that.
        let group = Group::new(strategy).stop_limit(SHORT).member_limit(Duration::from_millis(1));
        let group = group.member("db", bare).member("web", move |parent| {
            counted.fetch_add(usize::from(registry::where_is(name).is_some()), Ordering::AcqRel);
            busy(Some(name), None, Handle::current(), parent)
        });
        let (group, ended) = Actor::spawn(None, group, ()).await?;
        until_up(&group, &["db", "web"]).await;
        let before = status(&group).await;
        before[0].actor.as_ref().ok_or("it is up")?.kill();
        loop {
            until_up(&group, &["db", "web"]).await;
            let now = status(&group).await;
            if now[1].actor.is_some() && now[1].restarts == 1 {
                assert_eq!(now[0].restarts, 1);
                break;
            }
        }
        assert_eq!(taken.load(Ordering::Acquire), 0, "it is started when the other has gone");
        group.stop(None);
        ended.await?;
    }
    Ok(())
}

/// One start is given up, and comes up all the same while the next one is under way.
#[tokio::test]
async fn what_comes_up_late_is_gone_before_its_member_is_started_again() -> Outcome {
    const NAME: &str = "stops-late";
    let (begins, mut begun) = mpsc::channel(4);
    let group = Group::new(Strategy::OneForOne).start_limit(SHORT).stop_limit(SHORT).intensity(usize::MAX, MANY);
    let group = group.member("late", move |parent| {
        let begins = begins.clone();
        async move {
            let ((open, opened), (tell, up)) = (oneshot::channel(), oneshot::channel());
            begins.send((registry::where_is(NAME).is_some(), open, up)).await?;
            opened.await?;
            let actor = busy(Some(NAME), None, Handle::current(), parent).await?;
            let _ = tell.send(());
            Ok(actor)
        }
    });
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let (_, open, up) = begun.recv().await.ok_or("a first start")?;
    let (_, second, _) = begun.recv().await.ok_or("it was given up")?;
    open.send(()).map_err(|()| "the first start is not dropped")?;
    up.await?;
    // Once each for the start's end and the message about it.
    status(&group).await;
    status(&group).await;
    drop(second);
    let (is_taken, ..) = begun.recv().await.ok_or("a third start")?;
    assert!(!is_taken, "it is started when the late one has gone");
    group.stop(None);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn one_that_cannot_be_made_to_end_fails_the_group() -> Outcome {
    let (release, blocks) = sync_channel::<()>(1);
    // It blocks the thread that it runs on.
    let elsewhere = Builder::new_multi_thread().worker_threads(1).build()?;
    let thread = elsewhere.handle().clone();
    let (blocks, db) = (Mutex::new(Some(blocks)), Arc::new(Mutex::new(None)));
    let spawned = db.clone();
    let group = Group::new(Strategy::RestForOne)
        .stop_limit(SHORT)
        .member("db", move |parent| {
            let db = spawned.clone();
            async move {
                let actor = bare(parent).await?;
                *db.lock() = Some(actor.clone());
                Ok(actor)
            }
        })
        .member("web", move |parent| busy(None, blocks.lock().take(), thread.clone(), parent))
        .member("last", move |_| {
            let db = db.lock().take();
            async move {
                db.ok_or("it came first")?.kill();
                std::future::pending().await
            }
        });
    let why = failure_of(group).await;
    drop(release);
    elsewhere.shutdown_background();
    let why = why?;
    assert!(why.contains("`web` was told to stop") && why.contains("`db` failed, which it goes with"), "{why}");
    assert!(why.contains("was killed") && why.contains("is still there"), "{why}");
    Ok(())
}

/// Stands for a pool that is never done with its end, unless it is killed.
struct Lingers(Arc<AtomicUsize>);

/// One that is there, until this is dropped.
struct There(Arc<AtomicUsize>);

impl Drop for There {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[ractor::actor(message = PoolMessage, state = (), arguments = ())]
impl Lingers {
    async fn pre_start(&self, _: ActorRef<PoolMessage>, _: ()) -> Result<(), ActorProcessingErr> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<PoolMessage>, _: &mut ()) -> Result<(), ActorProcessingErr> {
        let _until_killed = There(self.0.clone());
        std::future::pending().await
    }
}

/// Comes back with one that is on its way out.
async fn lingers(there: Arc<AtomicUsize>, parent: ActorCell) -> Spawned {
    let (actor, _) = Actor::spawn(None, Lingers(there), ()).await?;
    actor.link(parent);
    actor.stop(None);
    while actor.get_status() < ActorStatus::Stopping {
        tokio::task::yield_now().await;
    }
    Ok(actor)
}

#[tokio::test]
async fn one_that_is_on_its_way_out_as_it_comes_up_late_is_gone_before_its_member_is_started_again() -> Outcome {
    let (begins, mut begun) = mpsc::channel(4);
    let group = Group::new(Strategy::OneForOne).start_limit(SHORT).stop_limit(SHORT).intensity(usize::MAX, MANY);
    let there = Arc::new(AtomicUsize::new(0));
    let group = group.member("late", move |parent| {
        let (begins, there) = (begins.clone(), there.clone());
        async move {
            let ((open, opened), (tell, up)) = (oneshot::channel(), oneshot::channel());
            begins.send((there.load(Ordering::Acquire), open, up)).await?;
            opened.await?;
            let actor = lingers(there, parent).await?;
            let _ = tell.send(());
            Ok(actor)
        }
    });
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let (_, open, up) = begun.recv().await.ok_or("a first start")?;
    let (_, second, _) = begun.recv().await.ok_or("it was given up")?;
    open.send(()).map_err(|()| "the first start is not dropped")?;
    up.await?;
    // Once each for the start's end and the message about it.
    status(&group).await;
    status(&group).await;
    drop(second);
    let (are_there, ..) = begun.recv().await.ok_or("a third start")?;
    assert_eq!(are_there, 0, "it is started when the late one has gone");
    group.stop(None);
    ended.await?;
    Ok(())
}
