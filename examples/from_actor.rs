//! A ractor application with a pool in its tree: its own supervisor spawns the pool under itself, anybody who finds the actor by
//! name sends it control messages, and when the pool dies the supervisor decides.
//!
//! `cargo run --example from_actor`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::time::Duration;

use millpond::{
    AttachError, JobOptions, JobStatus, Ladder, Limits, PoolExecutor, PoolMessage, Select, TaskPool, ThreadPool,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, call_t};

const POOL: &str = "resolver-pool";
/// For replies, in milliseconds: control is sent with a limit, always. This one suits a machine that is busy with other things.
const LIMIT_MS: u64 = 30_000;

/// The application's own supervisor. Its state is its handle of the pool.
struct Application;

/// Asks for the pool's actor.
struct Pool(ractor::RpcReplyPort<ActorRef<PoolMessage>>);

// Without ractor's feature `cluster`, every type that can be is a message already.
#[cfg(feature = "cluster")]
impl ractor::Message for Pool {}

async fn start_pool(parent: &ActorRef<Pool>) -> Result<ThreadPool, ActorProcessingErr> {
    // On millpond's control thread, linked under `parent`: it answers even while every thread of this runtime is blocked.
    let pool = ThreadPool::builder(POOL).limits(Limits::fixed(2)).spawn_linked(parent.get_cell()).await?;
    Ok(pool)
}

#[ractor::actor(message = Pool, state = ThreadPool, arguments = ())]
impl Application {
    async fn pre_start(&self, myself: ActorRef<Pool>, _: ()) -> Result<ThreadPool, ActorProcessingErr> {
        start_pool(&myself).await
    }

    async fn handle(&self, _: ActorRef<Pool>, message: Pool, pool: &mut ThreadPool) -> Result<(), ActorProcessingErr> {
        // Whoever asked may have gone.
        let _ = message.0.send(pool.actor());
        Ok(())
    }

    /// The pool is a child like any other: its end is an event here. This application starts another.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Pool>,
        event: SupervisionEvent,
        pool: &mut ThreadPool,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) | SupervisionEvent::ActorTerminated(..) = event {
            println!("the pool is gone: {event}");
            *pool = start_pool(&myself).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (application, ended) = Actor::spawn(None, Application, ()).await?;

    // Somewhere else in the program: all that is known is the name.
    let actor: ActorRef<PoolMessage> = ractor::registry::where_is(POOL).ok_or("the pool is in the registry")?.into();
    control(&actor).await?;

    // A typed handle again, to submit jobs; a pool of another kind is told apart.
    let pool = ThreadPool::from_actor(actor.clone()).await?;
    assert_eq!(pool.submit(|| 6 * 7).await?.await?, 42);
    assert!(matches!(TaskPool::from_registry(POOL).await, Err(AttachError::OtherKind { .. })));

    // Somebody kills the pool's actor. No job of it is left in the dark, and the supervisor starts another pool.
    let mut events = pool.events();
    actor.kill();
    while events.next().await.is_some() {}
    assert!(pool.submit(|| ()).await.is_err());
    let successor = loop {
        let current = call_t!(application, Pool, LIMIT_MS)?;
        if current.get_id() != actor.get_id() {
            break current;
        }
    };
    let pool = ThreadPool::from_registry(POOL).await?;
    assert_eq!(pool.submit(|| "alive").await?.await?, "alive");

    // The pool belongs to its parent, and ends with it.
    application.stop(None);
    ended.await?;
    successor.wait(None).await?;
    Ok(())
}

/// What any actor can do that holds the pool's `ActorRef<PoolMessage>`; the message type is the same for every kind of pool.
async fn control(actor: &ActorRef<PoolMessage>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let resized = call_t!(actor, PoolMessage::Resize, LIMIT_MS, Limits::fixed(3))??;
    assert_eq!((resized.from.max, resized.to.max), (2, 3));

    // A job that waits for a word that never comes.
    let pool = ThreadPool::from_actor(actor.clone()).await?;
    let (_never, word) = std::sync::mpsc::channel::<()>();
    let stuck = pool.with(JobOptions::new().label("stuck")).submit(move || word.recv()).await?;
    while stuck.status() == JobStatus::Queued {
        tokio::task::yield_now().await;
    }
    call_t!(actor, PoolMessage::Quiesce, LIMIT_MS)??;
    call_t!(actor, PoolMessage::Resume, LIMIT_MS)??;

    // An inventory by message; targets are fenced by it, so that nobody else can be hit.
    let inventory = call_t!(actor, PoolMessage::Inventory, LIMIT_MS)?;
    println!("{inventory}");
    let targets = Select::label("stuck").resolve(&inventory);
    let ladder = Ladder::graceful(Duration::from_millis(50));
    let report = call_t!(actor, PoolMessage::Terminate, LIMIT_MS, targets, ladder)?;
    println!("{:?}", report.targets[0]);
    println!("{}", stuck.await.expect_err("its worker was taken"));
    Ok(())
}
