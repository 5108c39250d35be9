//! Workers with a state of their own: each is an actor that keeps a connection, and is restarted with a new one after a panic.
//!
//! `cargo run --example stateful_workers`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::collections::HashMap;
use std::error::Error;

use millpond::{
    ActorPool, JobContext, JobError, Limits, PoolEvent, PoolExecutor, StartContext, StartError, TimeLimit, Worker,
};

/// One value of this type serves all workers of the pool; what differs between them is the state.
struct Store;

/// What a worker is sent.
enum Request {
    Put(&'static str, u32),
    Get(&'static str),
    /// A bug, for the sake of the example.
    Crash,
}

/// What one incarnation keeps between jobs: never shared, so never locked.
struct Connection {
    opened_by: String,
    cache: HashMap<&'static str, u32>,
}

impl Worker for Store {
    type Job = Request;
    type Output = Option<u32>;
    type State = Connection;

    async fn start(&self, cx: &StartContext) -> Result<Connection, StartError> {
        let opened_by = format!("{} {}", cx.pool(), cx.worker());
        println!("{opened_by}: opened");
        Ok(Connection { opened_by, cache: HashMap::new() })
    }

    async fn handle(&self, request: Request, connection: &mut Connection, cx: &JobContext) -> Option<u32> {
        match request {
            Request::Put(key, value) => connection.cache.insert(key, value),
            Request::Get(key) => connection.cache.get(key).copied(),
            Request::Crash => panic!("job {} hit a bug", cx.job_id()),
        }
    }

    async fn stop(&self, connection: Connection) {
        println!("{}: closed, with {} keys", connection.opened_by, connection.cache.len());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // One worker, so that all requests meet the same state.
    let pool = ActorPool::builder("store", Store).limits(Limits::fixed(1)).build()?;
    let mut events = pool.events();

    pool.submit(Request::Put("answer", 42)).await?.await?;
    assert_eq!(pool.submit(Request::Get("answer")).await?.await?, Some(42));
    let before = pool.inventory(TimeLimit::secs(30)).await?.workers[0].worker;

    // The panic is this job's outcome and nobody else's. The state it may have spoilt goes with its worker.
    let error = pool.submit(Request::Crash).await?.await.expect_err("it panics");
    println!("as it should: {error}");
    assert!(matches!(error, JobError::Panicked(_)));

    // The next job waits for the next incarnation of the slot, which starts anew.
    assert_eq!(pool.submit(Request::Get("answer")).await?.await?, None);
    let row = pool.inventory(TimeLimit::secs(30)).await?.workers.remove(0);
    assert_eq!((row.worker.slot, row.worker.generation), (before.slot, before.generation + 1));
    assert_eq!(row.restarts, 1);

    // Whoever watches was told.
    let decision = loop {
        match events.next().await.expect("the pool lives") {
            PoolEvent::RestartDecided { worker, restart } => break (worker, restart),
            event => println!("event: {event:?}"),
        }
    };
    println!("restart of {}: {:?}", decision.0, decision.1);
    assert_eq!(decision.0, before);

    pool.shutdown(TimeLimit::secs(30)).await?;
    Ok(())
}
