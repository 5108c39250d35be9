//! A kind of pool that is another one with something changed: threads that count what they are given and how their jobs end, by label. All that is not changed
//! is forwarded, so that everything else, initializers and their state included, is as it was.
//!
//! `cargo run --example wrapped_backend`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millpond::{
    Backend, BuildError, Capabilities, Hosts, Interceptor, JobCell, JobContext, JobOptions, KillOutcome, Ladder,
    Limits, PoolBuilder, PoolExecutor, Select, Share, StartError, Started, Threads, TimeLimit, WithState,
    WorkerContext, WorkerControl,
};
use parking_lot::Mutex;
use ractor::ActorCell;

/// What was counted.
#[derive(Default)]
struct Counts {
    started: usize,
    kills: usize,
    /// By label: jobs that have begun, and those of them that panicked.
    jobs: BTreeMap<String, (usize, usize)>,
}

/// The same in many hands.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    fn of(&self, job: &JobContext, count: impl FnOnce(&mut (usize, usize))) {
        let label = job.label().map_or_else(|| "-".to_owned(), |label| label.to_string());
        count(self.0.lock().jobs.entry(label).or_default());
    }
}

/// Threads call it around each job.
impl Interceptor for Tally {
    fn before(&self, job: &JobContext) {
        self.of(job, |(begun, _)| *begun += 1);
    }

    fn after(&self, job: &JobContext, panicked: bool) {
        self.of(job, |(_, failed)| *failed += usize::from(panicked));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock();
        write!(f, "{} workers started, {} kills", counts.started, counts.kills)?;
        for (label, (begun, panicked)) in &counts.jobs {
            write!(f, "\n  {label:<8} {begun} begun, {panicked} panicked")?;
        }
        Ok(())
    }
}

/// The backend: threads, and a tally.
struct Counted {
    threads: Threads,
    tally: Tally,
}

impl Counted {
    fn new(threads: Threads) -> Self {
        let tally = Tally::default();
        Self { threads: threads.interceptor(tally.clone()), tally }
    }
}

/// A worker's grip, which counts how often it is used.
struct CountedGrip(Arc<dyn WorkerControl>, Tally);

impl WorkerControl for CountedGrip {
    fn kill(&self) -> KillOutcome {
        self.1.0.lock().kills += 1;
        self.0.kill()
    }
}

impl Backend for Counted {
    type Job = <Threads as Backend>::Job;

    /// Changed: what the pool is called in errors.
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.threads.capabilities();
        capabilities.kind = "counted thread pool";
        capabilities
    }

    /// Changed: workers and their kills are counted.
    fn start(&self, cx: WorkerContext<Self::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
        // Before it starts: it may have done a job by the time that this goes on.
        self.tally.0.lock().started += 1;
        let started = self.threads.start(cx, supervisor).inspect_err(|_| self.tally.0.lock().started -= 1);
        let (control, actor) = started?.into_parts();
        let grip = CountedGrip(control, self.tally.clone());
        Ok(match actor {
            Some(actor) => Started::actor(grip, actor),
            None => Started::kept(grip),
        })
    }

    // The rest is forwarded.

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.threads.prepare(pool)
    }

    fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.threads.host_gone()
    }

    fn would_block(&self) -> bool {
        self.threads.would_block()
    }
}

/// Whatever threads host.
impl<J> Hosts<J> for Counted
where
    Threads: Hosts<J>,
{
    type Output = <Threads as Hosts<J>>::Output;
    type Payload = <Threads as Hosts<J>>::Payload;

    fn wrap(job: J) -> Self::Payload {
        <Threads as Hosts<J>>::wrap(job)
    }

    fn unwrap(payload: Self::Payload) -> J {
        <Threads as Hosts<J>>::unwrap(payload)
    }

    fn erase(cell: Share<JobCell<Self::Payload, Self::Output>>) -> Share<Self::Job> {
        <Threads as Hosts<J>>::erase(cell)
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // Each thread keeps how many statements it has run: that is the threads' own, and goes on as before.
    let threads = Threads::new().initializer(|_| Ok(0_u64));
    let pool = PoolBuilder::new("counted", Counted::new(threads)).limits(Limits::fixed(1)).build()?;
    let labelled = |label: &str| pool.with(JobOptions::new().label(label));

    for n in 1..=3 {
        let statement = WithState::new(move |run: &mut u64| {
            *run += 1;
            *run
        });
        assert_eq!(labelled("insert").submit_blocking(statement)?.join()?, n);
    }
    assert_eq!(labelled("select").submit_blocking(|| "forty-two")?.join()?, "forty-two");
    let failed = labelled("select").submit_blocking(|| -> u64 { panic!("no such table") })?.join();
    println!("{}\n", failed.expect_err("it panicked"));

    pool.blocking().terminate(Select::all(), Ladder::kill(), TimeLimit::default())?;
    assert_eq!(labelled("select").submit_blocking(|| 1)?.join()?, 1, "on another thread");

    let tally = &pool.backend().tally;
    println!("{}: {tally}", pool.capabilities().kind);
    let counts = tally.0.lock();
    assert_eq!((counts.started, counts.kills > 0), (2, true));
    assert_eq!(counts.jobs["insert"], (3, 0));
    assert_eq!(counts.jobs["select"], (3, 1));
    Ok(())
}
