//! Failures and shutdowns while members are being started, and starts that never end.

use std::sync::Arc;
use std::time::Duration;

use millpond::{Limits, PoolExecutor, PoolMessage, ShutdownReport, ThreadPool};
use millpond_supervisors::{Group, GroupMessage, MemberReport, Strategy};
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, call_t};
use tokio::sync::{mpsc, oneshot};

use crate::{LIMIT_MS, MANY, Outcome, failure_of, status};

/// What a start that never ends is given.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// Stands for a pool: it can be shut down, and answers nothing else.
struct Bare;

#[ractor::actor(message = PoolMessage, state = (), arguments = ())]
impl Bare {
    async fn pre_start(&self, _: ActorRef<PoolMessage>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        _: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let PoolMessage::Shutdown(_, reply) = message {
            let _ = reply.send(ShutdownReport::default());
            myself.stop(Some("shut down".to_owned()));
        }
        Ok(())
    }
}

pub(crate) async fn bare(parent: ActorCell) -> Result<ActorRef<PoolMessage>, Box<dyn std::error::Error + Send + Sync>> {
    let (actor, _) = Actor::spawn(None, Bare, ()).await?;
    // Not under a group that is over.
    actor.link(parent);
    Ok(actor)
}

/// A start that has begun, and goes no further until the test says so; one that is dropped fails.
struct Begun {
    member: &'static str,
    open: oneshot::Sender<()>,
    up: oneshot::Receiver<ActorRef<PoolMessage>>,
}

impl Begun {
    /// Has it come up; its actor.
    async fn comes_up(self) -> ActorRef<PoolMessage> {
        self.open.send(()).expect("the start is not dropped");
        self.up.await.expect("it comes up")
    }
}

/// The starts of a group's gated members, in the order in which they begin.
struct Starts(mpsc::Receiver<Begun>);

impl Starts {
    /// Adds these members, gated.
    fn of<const N: usize>(group: Group, members: [&'static str; N]) -> (Group, Self) {
        let (begins, begun) = mpsc::channel(16);
        let group = members.into_iter().fold(group, |group, member| {
            let begins = begins.clone();
            group.member(member, move |parent| {
                let begins = begins.clone();
                async move {
                    let ((open, opened), (tell, up)) = (oneshot::channel(), oneshot::channel());
                    begins.send(Begun { member, open, up }).await?;
                    opened.await?;
                    let actor = bare(parent).await?;
                    // The test may want to know of the start alone.
                    let _ = tell.send(actor.clone());
                    Ok(actor)
                }
            })
        });
        (group, Self(begun))
    }

    /// The next start to begin, which is this member's.
    async fn next(&mut self, member: &str) -> Begun {
        let next = tokio::time::timeout(Duration::from_millis(LIMIT_MS), self.0.recv()).await;
        let begun = next.unwrap_or_else(|_| panic!("`{member}` is not started")).expect("a group");
        assert_eq!(begun.member, member);
        begun
    }
}

/// Waits until these members, and no others, have an actor.
pub(crate) async fn until_up(group: &ActorRef<GroupMessage>, names: &[&str]) {
    let up = async {
        loop {
            let members = status(group).await;
            let up = members.iter().filter(|member| member.actor.is_some()).map(|member| member.name.as_str());
            if up.eq(names.iter().copied()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_millis(LIMIT_MS), up)
        .await
        .unwrap_or_else(|_| panic!("{names:?} are to be up"));
}

async fn until_ended(actor: &ActorRef<PoolMessage>) {
    actor.wait(Some(Duration::from_millis(LIMIT_MS))).await.expect("it is stopped");
}

#[tokio::test]
async fn a_member_that_is_being_started_goes_with_the_one_that_fails() -> Outcome {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for late_in_front in [true, false] {
            let (group, mut starts) = Starts::of(Group::new(strategy), ["db", "web", "cache"]);
            let (group, ended) = Actor::spawn(None, group, ()).await?;
            let db = starts.next("db").await.comes_up().await;
            let web = starts.next("web").await;
            db.kill();
            // Not for `web`, which may be waiting for `db` itself.
            let db = starts.next("db").await;
            if late_in_front {
                until_ended(&web.comes_up().await).await;
                db.comes_up().await;
            } else {
                db.comes_up().await;
                until_up(&group, &["db"]).await;
                until_ended(&web.comes_up().await).await;
            }
            starts.next("web").await.comes_up().await;
            starts.next("cache").await.comes_up().await;
            until_up(&group, &["db", "web", "cache"]).await;
            group.stop(None);
            ended.await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_when_it_is_unwanted_is_no_failure_of_its_member() -> Outcome {
    let (group, mut starts) = Starts::of(Group::new(Strategy::RestForOne), ["db", "web"]);
    let (group, ended) = Actor::spawn(None, group.intensity(1, MANY), ()).await?;
    let db = starts.next("db").await.comes_up().await;
    let web = starts.next("web").await;
    db.kill();
    let db = starts.next("db").await;
    drop(web);
    db.comes_up().await;
    starts.next("web").await.comes_up().await;
    until_up(&group, &["db", "web"]).await;
    group.stop(None);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn one_for_one_nobody_waits_for_anybody_but_at_the_first_start() -> Outcome {
    let (group, mut starts) = Starts::of(Group::new(Strategy::OneForOne), ["db", "web", "cache"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let db = starts.next("db").await.comes_up().await;
    let web = starts.next("web").await;
    db.kill();
    // Not for the first start of `web`.
    let db_again = starts.next("db").await;
    let web = web.comes_up().await;
    let cache = starts.next("cache").await;
    web.kill();
    let web_again = starts.next("web").await;
    cache.comes_up().await;
    until_up(&group, &["cache"]).await;
    web_again.comes_up().await;
    until_up(&group, &["web", "cache"]).await;
    db_again.comes_up().await;
    until_up(&group, &["db", "web", "cache"]).await;
    group.stop(None);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn a_start_that_never_ends_holds_up_nobody_and_what_comes_of_it_late_is_stopped() -> Outcome {
    let group = Group::new(Strategy::OneForOne).start_limit(SHORT).intensity(usize::MAX, MANY);
    let (group, mut starts) = Starts::of(group, ["hangs"]);
    let (group, ended) = Actor::spawn(None, group.member("other", bare), ()).await?;
    let hangs = starts.next("hangs").await;
    until_up(&group, &["other"]).await;
    let again = starts.next("hangs").await;
    until_ended(&hangs.comes_up().await).await;
    let mut last = again.comes_up().await;
    // On a busy machine it may be late once more.
    loop {
        tokio::select! {
            () = until_up(&group, &["hangs", "other"]) => break,
            () = until_ended(&last) => last = starts.next("hangs").await.comes_up().await,
        }
    }
    group.stop(None);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn an_unwanted_start_that_never_ends_is_given_up_at_its_limit_too() -> Outcome {
    let group = Group::new(Strategy::RestForOne).start_limit(SHORT).intensity(usize::MAX, MANY).member("db", bare);
    let (group, mut starts) = Starts::of(group, ["web"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let hangs = starts.next("web").await;
    status(&group).await[0].actor.as_ref().ok_or("it is up")?.kill();
    starts.next("web").await;
    until_ended(&hangs.comes_up().await).await;
    group.stop(None);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn starts_that_never_end_or_panic_are_failures_that_count() -> Outcome {
    let never = |_| std::future::pending();
    let group = Group::new(Strategy::RestForOne).start_limit(SHORT).intensity(1, MANY);
    let why = failure_of(group.member("hangs", never)).await?;
    assert!(why.contains("2 pools failed") && why.contains("`hangs`: it did not come up within 50ms"), "{why}");
    let group = Group::new(Strategy::RestForOne).intensity(0, MANY);
    let why = failure_of(group.member("panics", |_| async { panic!("no such device") })).await?;
    assert!(why.contains("`panics`: its start did not return") && why.contains("no such device"), "{why}");
    Ok(())
}

/// Each is too far from the one before to count with it.
#[tokio::test]
async fn starts_that_fail_in_a_row_are_too_many_however_long_they_take() -> Outcome {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let group = Group::new(strategy).start_limit(SHORT).intensity(1, Duration::from_millis(1));
        let why = failure_of(group.member("hangs", |_| std::future::pending())).await?;
        assert!(why.contains("`hangs` has not come up for ") && why.contains("2 starts in a row failed"), "{why}");
        assert!(why.contains("it did not come up within 50ms"), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn starts_that_fail_are_not_in_a_row_once_the_member_was_up_in_between() -> Outcome {
    let group = Group::new(Strategy::OneForOne).intensity(1, Duration::ZERO);
    let (group, mut starts) = Starts::of(group, ["db"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    for _ in 0..3 {
        drop(starts.next("db").await);
        let db = starts.next("db").await.comes_up().await;
        until_up(&group, &["db"]).await;
        db.kill();
    }
    starts.next("db").await.comes_up().await;
    until_up(&group, &["db"]).await;
    group.stop(None);
    ended.await?;
    Ok(())
}

/// Asks the group to shut down, and returns when it has begun to.
async fn shutting_down(group: &ActorRef<GroupMessage>, limit: Duration) -> oneshot::Receiver<Vec<MemberReport>> {
    let (port, reports) = oneshot::channel();
    group.cast(GroupMessage::Shutdown(limit, port.into())).expect("the group is there");
    status(group).await;
    reports
}

#[tokio::test]
async fn a_shutdown_waits_for_a_pool_that_is_coming_up_and_shuts_it_down() -> Outcome {
    let (group, mut starts) = Starts::of(Group::new(Strategy::OneForOne), ["db", "web", "cache"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let db = starts.next("db").await.comes_up().await;
    let web = starts.next("web").await;
    let reports = shutting_down(&group, MANY).await;
    until_ended(&db).await;
    until_ended(&web.comes_up().await).await;
    let reports = tokio::time::timeout(Duration::from_millis(LIMIT_MS), reports).await??;
    let reported: Vec<_> = reports.iter().map(|member| (member.name.as_str(), member.report.is_some())).collect();
    assert_eq!(reported, [("db", true), ("web", true), ("cache", false)]);
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_start_that_fails() -> Outcome {
    let (group, mut starts) = Starts::of(Group::new(Strategy::OneForOne), ["db"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let db = starts.next("db").await;
    let reports = shutting_down(&group, MANY).await;
    drop(db);
    let reports = tokio::time::timeout(Duration::from_millis(LIMIT_MS), reports).await??;
    assert!(reports[0].report.is_none(), "{reports:?}");
    ended.await?;
    Ok(())
}

#[tokio::test]
async fn a_pool_that_comes_up_when_its_group_is_over_is_stopped() -> Outcome {
    let (group, mut starts) = Starts::of(Group::new(Strategy::OneForOne), ["db"]);
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    let db = starts.next("db").await;
    let reports = shutting_down(&group, Duration::ZERO).await.await?;
    assert!(reports[0].report.is_none(), "{reports:?}");
    ended.await?;
    until_ended(&db.comes_up().await).await;
    Ok(())
}

/// As by an operator who finds it by its name before the group knows that it is up.
#[tokio::test]
async fn a_pool_that_was_shut_down_while_it_came_up_is_left_alone() -> Outcome {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let (counted, starts) = mpsc::channel(4);
        let group = Group::new(strategy).member("db", move |parent| {
            let counted = counted.clone();
            async move {
                counted.send(()).await?;
                let db = bare(parent).await?;
                call_t!(db, PoolMessage::Shutdown, LIMIT_MS, MANY)?;
                db.wait(None).await?;
                Ok(db)
            }
        });
        let (group, ended) = Actor::spawn(None, group.member("web", bare), ()).await?;
        until_up(&group, &["web"]).await;
        assert_eq!(status(&group).await.iter().map(|member| member.restarts).collect::<Vec<_>>(), [0, 0]);
        group.stop(None);
        ended.await?;
        assert_eq!(starts.len(), 1, "it is started once");
    }
    Ok(())
}

/// It has spawned its pool, and waits for something else: until that is there, nobody else can have the name.
#[tokio::test]
async fn a_member_whose_name_a_start_holds_that_was_given_up_comes_up_once_that_has_ended() -> Outcome {
    let (begins, mut begun) = mpsc::channel(16);
    let (open, opened) = oneshot::channel();
    let opened = Arc::new(Mutex::new(Some(opened)));
    // The first one has its pool within this.
    let group = Group::new(Strategy::OneForOne).start_limit(Duration::from_secs(1)).intensity(usize::MAX, MANY);
    let group = group.member("db", move |parent| {
        let (begins, opened) = (begins.clone(), opened.lock().take());
        async move {
            let db = ThreadPool::builder("holds-its-name").limits(Limits::fixed(1)).spawn_linked(parent).await;
            // The test looks at as many as it needs.
            let _ = begins.try_send(db.as_ref().map(|_| ()).map_err(ToString::to_string));
            let db = db?.actor();
            if let Some(opened) = opened {
                opened.await?;
            }
            Ok(db)
        }
    });
    let (group, ended) = Actor::spawn(None, group, ()).await?;
    assert_eq!(begun.recv().await, Some(Ok(())));
    let error = begun.recv().await.ok_or("it is tried again")?.expect_err("its name is taken");
    assert!(error.contains("another actor of this process has that name"), "{error}");
    open.send(()).map_err(|()| "the first start is not dropped")?;
    until_up(&group, &["db"]).await;
    group.stop(None);
    ended.await?;
    Ok(())
}
