//! Groups of pools, in a ractor application.

#![expect(clippy::disallowed_methods, reason = "tests may measure and sleep")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::{Limits, PoolExecutor, PoolMessage, TaskPool, ThreadPool};
use millpond_supervisors::{Group, GroupMessage, MemberStatus, Strategy};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent, call_t};
use tokio::sync::mpsc;

mod starts;
mod stops;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Longer than anything here takes, in milliseconds.
const LIMIT_MS: u64 = 30_000;
const MANY: Duration = Duration::from_secs(60);

/// A group of a thread pool and two task pools; their names begin with `of`.
fn group(of: &'static str, strategy: Strategy) -> Group {
    let tasks = |name: String| {
        move |parent| {
            let name = name.clone();
            async move { Ok(TaskPool::builder(&name).limits(Limits::fixed(2)).spawn_linked(parent).await?.actor()) }
        }
    };
    Group::new(strategy)
        .member("first", move |parent| async move {
            let name = format!("{of}-first");
            Ok(ThreadPool::builder(&name).limits(Limits::fixed(1)).spawn_linked(parent).await?.actor())
        })
        .member("second", tasks(format!("{of}-second")))
        .member("third", tasks(format!("{of}-third")))
        .member_limit(Duration::from_secs(30))
}

async fn status(group: &ActorRef<GroupMessage>) -> Vec<MemberStatus> {
    call_t!(group, GroupMessage::Status, LIMIT_MS).expect("the group answers")
}

/// Waits until every member answers with a pool; their actors.
async fn all_up(group: &ActorRef<GroupMessage>) -> Vec<ActorRef<PoolMessage>> {
    loop {
        let members = status(group).await;
        if members.iter().all(|member| member.snapshot.is_some()) {
            return members.into_iter().filter_map(|member| member.actor).collect();
        }
        tokio::task::yield_now().await;
    }
}

/// Kills the second pool, and says which members have another pool then.
async fn others_after_a_kill(of: &'static str, strategy: Strategy) -> Result<Vec<bool>, ActorProcessingErr> {
    let (group, ended) = Actor::spawn(None, group(of, strategy), ()).await?;
    let before = all_up(&group).await;
    before[1].kill();
    let expected = |member: &MemberStatus| member.restarts > 0 && member.snapshot.is_some();
    let after: Vec<ActorId> = loop {
        let members = status(&group).await;
        let rest = matches!(strategy, Strategy::OneForAll | Strategy::RestForOne);
        if expected(&members[1]) && (!rest || expected(&members[2])) && members.iter().all(|m| m.snapshot.is_some()) {
            break members.iter().filter_map(|member| member.actor.as_ref()).map(|actor| actor.get_id()).collect();
        }
        tokio::task::yield_now().await;
    };
    let changed = before.iter().zip(after).map(|(before, after)| before.get_id() != after).collect();
    group.stop(None);
    ended.await?;
    Ok(changed)
}

#[tokio::test]
async fn members_come_up_in_order_and_are_asked_at_once() -> Outcome {
    let (group, ended) = Actor::spawn(None, group("ordered", Strategy::OneForOne), ()).await?;
    all_up(&group).await;
    let members = status(&group).await;
    let names: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.restarts)).collect();
    assert_eq!(names, [("first", 0), ("second", 0), ("third", 0)]);
    let limits: Vec<_> = members.iter().flat_map(|member| &member.snapshot).map(|pool| pool.saturation.limit).collect();
    assert_eq!(limits, [1, 2, 2]);
    for reply in call_t!(group, GroupMessage::Quiesce, LIMIT_MS)? {
        reply.reply.expect("it answers").expect("it can");
    }
    assert!(status(&group).await.iter().flat_map(|member| &member.snapshot).all(|pool| pool.gate == "quiesced"));
    for reply in call_t!(group, GroupMessage::Resume, LIMIT_MS)? {
        reply.reply.expect("it answers").expect("it can");
    }
    let pool = ThreadPool::from_registry("ordered-first").await?;
    assert_eq!(pool.submit(|| 6 * 7).await?.await?, 42);
    let reports = call_t!(group, GroupMessage::Shutdown, LIMIT_MS, Duration::from_secs(10))?;
    assert!(reports.iter().all(|member| member.report.is_some()), "{reports:?}");
    ended.await?;
    assert!(pool.try_submit(|| ()).is_err());
    Ok(())
}

#[tokio::test]
async fn a_pool_that_is_killed_is_started_again_and_by_the_strategy_others_with_it() -> Outcome {
    assert_eq!(others_after_a_kill("alone", Strategy::OneForOne).await?, [false, true, false]);
    assert_eq!(others_after_a_kill("all", Strategy::OneForAll).await?, [true, true, true]);
    assert_eq!(others_after_a_kill("rest", Strategy::RestForOne).await?, [false, true, true]);
    Ok(())
}

#[tokio::test]
async fn a_pool_that_somebody_shut_down_is_left_alone() -> Outcome {
    let (group, ended) = Actor::spawn(None, group("left-alone", Strategy::OneForAll), ()).await?;
    let actors = all_up(&group).await;
    call_t!(actors[1], PoolMessage::Shutdown, LIMIT_MS, Duration::from_secs(10))?;
    actors[1].wait(None).await?;
    let members = loop {
        let members = status(&group).await;
        if members[1].actor.is_none() {
            break members;
        }
        tokio::task::yield_now().await;
    };
    let up: Vec<_> = members.iter().map(|member| (member.snapshot.is_some(), member.restarts)).collect();
    assert_eq!(up, [(true, 0), (false, 0), (true, 0)]);
    group.stop(None);
    ended.await?;
    Ok(())
}

/// What the parent is never sent.
#[derive(Debug)]
struct Nothing;

// Without ractor's feature `cluster`, every type that can be is a message already.
#[cfg(feature = "cluster")]
impl ractor::Message for Nothing {}

/// Tells of its child's end.
struct Parent(mpsc::Sender<String>);

#[ractor::actor(message = Nothing, state = (), arguments = ())]
impl Parent {
    async fn pre_start(&self, _: ActorRef<Nothing>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Nothing>,
        event: SupervisionEvent,
        _: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            self.0.send(error.to_string()).await?;
        }
        Ok(())
    }
}

/// Why this group fails.
async fn failure_of(group: Group) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (told, mut why) = mpsc::channel(1);
    let (parent, _) = Actor::spawn(None, Parent(told), ()).await?;
    let (_, ended) = Actor::spawn_linked(None, group, (), parent.get_cell()).await?;
    let why = tokio::time::timeout(Duration::from_millis(LIMIT_MS), why.recv()).await?;
    ended.await?;
    parent.stop(None);
    Ok(why.ok_or("the parent is told")?)
}

#[tokio::test]
async fn more_failures_than_its_intensity_allows_fail_the_group_and_its_pools_go_with_it() -> Outcome {
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let members = group("too-much", Strategy::OneForOne).intensity(2, MANY).member("broken", move |_| {
        counted.fetch_add(1, Ordering::AcqRel);
        async { Err("no such device".into()) }
    });
    let why = failure_of(members).await?;
    assert!(why.contains("3 pools failed within 60s") && why.contains("`broken`: no such device"), "{why}");
    assert_eq!(starts.load(Ordering::Acquire), 3);
    while ractor::registry::where_is("too-much-first").is_some() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// What the gates of all members say, once each has one.
async fn gates(group: &ActorRef<GroupMessage>) -> Vec<&'static str> {
    all_up(group).await;
    status(group).await.into_iter().filter_map(|member| member.snapshot).map(|pool| pool.gate).collect()
}

/// Kills its second pool, and waits until another one has come up so many times.
async fn second_comes_up_again(group: &ActorRef<GroupMessage>, restarts: u64) {
    all_up(group).await[1].kill();
    while status(group).await[1].restarts < restarts {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pool_that_comes_up_while_its_group_is_quiesced_dispatches_nothing() -> Outcome {
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let (begins, mut begun) = mpsc::channel(1);
    let opened = parking_lot::Mutex::new(Some(opened));
    let late = move |parent| {
        let (opened, begins) = (opened.lock().take(), begins.clone());
        async move {
            begins.send(()).await?;
            opened.ok_or("it is started once")?.await?;
            Ok(ThreadPool::builder("paused-late").limits(Limits::fixed(1)).spawn_linked(parent).await?.actor())
        }
    };
    let group = group("paused", Strategy::OneForOne).intensity(9, MANY).member("late", late);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    begun.recv().await.ok_or("it is started")?;
    let replies = call_t!(group, GroupMessage::Quiesce, LIMIT_MS)?;
    assert_eq!(replies.iter().map(|member| member.reply.is_some()).collect::<Vec<_>>(), [true, true, true, false]);
    // One has its start under way, another one fails and is started again.
    open.send(()).map_err(|()| "its start is not dropped")?;
    second_comes_up_again(&group, 1).await;
    assert_eq!(gates(&group).await, ["quiesced"; 4]);
    for reply in call_t!(group, GroupMessage::Resume, LIMIT_MS)? {
        reply.reply.expect("it answers").expect("it can");
    }
    second_comes_up_again(&group, 2).await;
    assert_eq!(gates(&group).await, ["open"; 4]);
    group.stop(None);
    ended.await?;
    Ok(())
}
