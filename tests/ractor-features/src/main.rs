//! A ractor application with a pool of its own: its supervisor spawns the pool actor under itself, sends it control
//! messages, finds it by its registry name and gives it jobs. Exits with 0 if all of that holds.

use std::error::Error;

use millpond::{Limits, PoolExecutor, PoolMessage, TaskPool, ThreadPool, TimeLimit};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, call_t};

const POOL: &str = "application-pool";
const PATIENCE_MS: u64 = 5_000;

/// Owns the pool, as its parent in the tree of supervision.
struct Supervisor;

#[ractor::actor(message = enum SupervisorMessage, state = ThreadPool, arguments = ())]
impl Supervisor {
    async fn pre_start(&self, myself: ActorRef<SupervisorMessage>, _: ()) -> Result<ThreadPool, ActorProcessingErr> {
        let pool = ThreadPool::builder(POOL).limits(Limits::fixed(2)).spawn_linked(myself.get_cell()).await?;
        Ok(pool)
    }

    /// Changes the pool's limit by a control message, and answers with the limit that is then in force.
    #[ractor::rpc(Resize(workers, reply), reply = usize)]
    async fn resize(&self, workers: usize, pool: &ThreadPool) -> Result<usize, ActorProcessingErr> {
        pool.resize(Limits::fixed(workers), TimeLimit::default()).await?;
        Ok(pool.saturation().limit)
    }

    /// How many workers the pool counts.
    #[ractor::rpc(Count, reply = usize)]
    async fn count(&self, pool: &ThreadPool) -> Result<usize, ActorProcessingErr> {
        Ok(pool.inventory(TimeLimit::default()).await?.workers.len())
    }

    /// A pool that dies would be reported here. This application ends with it.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        _: &mut ThreadPool,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            myself.stop(Some("the pool failed".to_owned()));
        }
        Ok(())
    }
}

// Without `cluster` every type that can be is a message already.
#[cfg(feature = "cluster")]
impl ractor::Message for SupervisorMessage {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (supervisor, ended) = Actor::spawn(None, Supervisor, ()).await?;

    let in_force = call_t!(supervisor, SupervisorMessage::Resize, PATIENCE_MS, 3)?;
    assert_eq!(in_force, 3, "the limit after the resize");
    let workers = call_t!(supervisor, SupervisorMessage::Count, PATIENCE_MS)?;
    assert!(workers <= 3, "{workers} workers with a limit of 3");

    assert!(ractor::registry::where_is(POOL).is_some(), "the pool's actor is in the registry");
    let pool = ThreadPool::from_registry(POOL).await?;
    let answer = pool.submit(|| 6 * 7).await?.await?;
    assert_eq!(answer, 42, "the job's output");

    // Control by message, for whoever holds nothing but the actor.
    let report = call_t!(pool.actor(), PoolMessage::Resize, PATIENCE_MS, Limits::fixed(2))??;
    assert_eq!((report.from.max, report.to.max), (3, 2), "the limits before and after");

    // Workers that are actors themselves.
    let tasks = TaskPool::builder("application-tasks").limits(Limits::fixed(2)).build()?;
    assert_eq!(tasks.submit(async { 6 * 7 }).await?.await?, 42, "the task's output");
    tasks.shutdown(TimeLimit::default()).await?;

    // The pool goes with the supervisor that owns it.
    let mut events = pool.events();
    supervisor.stop(None);
    ended.await?;
    while events.next().await.is_some() {}
    assert!(pool.submit(|| ()).await.is_err(), "a pool without its actor takes no jobs");
    Ok(())
}
