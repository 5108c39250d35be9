//! A pool that is given up, under a supervisor that rebuilds it: its workers cannot do their work, its restart policy says so, its actor fails,
//! and the parent, who sees why, starts another. Whoever submits holds the pool by its name.
//!
//! `cargo run --example escalation`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use millpond::{
    AttachError, ByName, Exit, Limits, PoolExecutor, Rejected, Restart, RestartPolicy, SlotHistory, StartError,
    ThreadPool, Threads, TimeLimit, Timestamp,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

const POOL: &str = "sessions";
/// This one suits a machine that is busy with other things.
const LIMIT: TimeLimit = TimeLimit::secs(30);

/// Workers that lose their session cannot get another one with the same credentials: all of them need new ones.
struct GiveUp;

impl RestartPolicy for GiveUp {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart {
        Restart::Escalate(format!("worker {} {exit}, after {} faults of the pool", slot.worker, slot.pool.faults.len()))
    }
}

/// Knows where credentials come from; its state is how often it has fetched some.
struct Credentials;

#[ractor::actor(message = (), state = u32, arguments = ())]
impl Credentials {
    async fn pre_start(&self, myself: ActorRef<()>, _: ()) -> Result<u32, ActorProcessingErr> {
        start_pool(&myself, 1).await
    }

    /// The pool is a child like any other. Its reason is in the event.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        fetched: &mut u32,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, reason) = event {
            println!("the parent is told: {reason}");
            *fetched = start_pool(&myself, *fetched + 1).await?;
        }
        Ok(())
    }
}

/// The name is free by the time that the parent is told of its child's end.
async fn start_pool(parent: &ActorRef<()>, credentials: u32) -> Result<u32, ActorProcessingErr> {
    let builder = ThreadPool::builder(POOL).limits(Limits::fixed(2)).restart_after_panic().restart_policy(GiveUp);
    builder.initializer(move |_| Ok::<_, StartError>(credentials)).spawn_linked(parent.get_cell()).await?;
    Ok(credentials)
}

/// What the far side accepts. The first credentials are withdrawn while the program runs.
static ACCEPTED: AtomicU32 = AtomicU32::new(1);

fn call(credentials: &mut u32) -> u32 {
    assert_eq!(*credentials, ACCEPTED.load(Ordering::Acquire), "the session was refused");
    *credentials
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let sessions: ByName<Threads> = ByName::new(POOL);
    assert!(matches!(sessions.get().await, Err(AttachError::NotRegistered(_))));
    let (parent, ended) = Actor::spawn(None, Credentials, ()).await?;

    let first = sessions.get().await?;
    assert_eq!(first.submit_with(call).await?.await?, 1);

    ACCEPTED.store(2, Ordering::Release);
    let mut events = first.events();
    println!("{}", first.submit_with(call).await?.await.expect_err("its session was refused"));

    // The old pool is over, and says why. The job comes back, for the next one.
    while events.next().await.is_some() {}
    let refused: Rejected<_> = first.submit_with(call).await.expect_err("the pool was given up");
    println!("{refused}");
    let job = refused.into_job();

    // By name: its successor, or a typed error while there is none.
    let second = loop {
        match sessions.wait(LIMIT).await {
            Ok(pool) if pool.actor().get_id() != first.actor().get_id() => break pool,
            Ok(_) | Err(AttachError::Between(_)) => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    };
    assert_eq!(second.submit_with(job).await?.await?, 2);
    println!("the parent has rebuilt it: {}", second.snapshot().health);

    parent.stop(None);
    ended.await?;
    second.actor().wait(None).await?;
    Ok(())
}
