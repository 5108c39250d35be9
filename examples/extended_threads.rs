//! How to "subclass" a pool: threads that are set up in a way of their own and keep a state, an interceptor around each job, and a
//! type of yours on top that has the words of your program.
//!
//! `cargo run --example extended_threads`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    Interceptor, JobContext, JobOptions, Limits, PoolExecutor, RejectReason, StartContext, StartError, ThreadPool,
    TimeLimit,
};
use parking_lot::Mutex;

/// What each thread keeps between jobs. It is made, used and dropped on that thread alone, so it need not be `Send`.
struct Session {
    opened_by: String,
    statements: usize,
}

impl Session {
    /// The initializer. If it fails, the restart policy says what next; the pool goes on.
    fn open(cx: &StartContext) -> Result<Self, StartError> {
        Ok(Self { opened_by: format!("{}-{}", cx.pool(), cx.worker()), statements: 0 })
    }

    fn run(&mut self, sql: &str) -> String {
        self.statements += 1;
        format!("{sql} (number {} of {})", self.statements, self.opened_by)
    }
}

/// Counts jobs by label, on the thread that runs them.
#[derive(Clone, Default)]
struct CountByLabel {
    begun: Arc<Mutex<BTreeMap<String, usize>>>,
    panicked: Arc<AtomicUsize>,
}

impl Interceptor for CountByLabel {
    fn before(&self, job: &JobContext) {
        let label = job.label().map_or_else(String::new, |label| label.to_string());
        *self.begun.lock().entry(label).or_default() += 1;
    }

    fn after(&self, _job: &JobContext, panicked: bool) {
        self.panicked.fetch_add(usize::from(panicked), Ordering::Relaxed);
    }
}

/// The pool of this program: a `ThreadPool` and everything that it can do, with a constructor and a verb of its own.
struct Database {
    pool: ThreadPool,
    counts: CountByLabel,
}

impl Database {
    fn open(sessions: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let counts = CountByLabel::default();
        let pool = ThreadPool::builder("database")
            .limits(Limits::fixed(sessions))
            .initializer(Session::open)
            .interceptor(counts.clone())
            // The session of a job that panicked is suspect: its thread ends, and another begins with a new one.
            .restart_after_panic()
            .build()?;
        Ok(Self { pool, counts })
    }

    async fn query(&self, sql: &'static str) -> Result<String, Box<dyn Error + Send + Sync>> {
        let job = self.pool.with(JobOptions::new().label("query"));
        Ok(job.submit_with(move |session: &mut Session| session.run(sql)).await?.await?)
    }
}

impl Deref for Database {
    type Target = ThreadPool;

    fn deref(&self) -> &ThreadPool {
        &self.pool
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let database = Database::open(1)?;
    assert_eq!(database.query("select 1").await?, "select 1 (number 1 of database-0.1)");
    assert_eq!(database.query("select 2").await?, "select 2 (number 2 of database-0.1)");

    // A panic ends the session with its thread; the next one starts anew.
    let crash = database.submit_with(|_: &mut Session| panic!("a bug")).await?.await;
    println!("as it should: {}", crash.expect_err("it panicked"));
    assert_eq!(database.query("select 3").await?, "select 3 (number 1 of database-0.2)");

    // The type of the state is checked at the gate.
    let refused = database.submit_with(|state: &mut u32| *state).await.expect_err("sessions are no numbers");
    println!("refused: {refused}");
    assert!(matches!(refused.reason(), RejectReason::WrongState { .. }));

    // All that a pool can be asked, this one can be asked.
    println!("{}", database.inventory(TimeLimit::default()).await?);
    assert_eq!(database.counts.begun.lock()["query"], 3);
    assert_eq!(database.counts.panicked.load(Ordering::Relaxed), 1);
    database.shutdown(TimeLimit::secs(30)).await?;
    Ok(())
}
