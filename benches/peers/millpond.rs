//! millpond's side of every row.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::{Backend, Hook, Lane, Limits, PoolBuilder, PoolExecutor, TaskPool, ThreadPool, TimeLimit};
use tokio::runtime::Runtime;

use crate::harness::load::{self, Busy, Gate, Tally};
use crate::harness::rounds::MOST_JOBS;
use crate::harness::{Side, WORKERS, figures, fresh_name, memory, runtime};

static HOOKS: AtomicUsize = AtomicUsize::new(0);

/// From now on each pool here gets so many hooks.
pub(crate) fn have_hooks(hooks: usize) {
    HOOKS.store(hooks, Ordering::Relaxed);
}

pub(crate) fn hooks() -> usize {
    HOOKS.load(Ordering::Relaxed)
}

/// What `make` makes, with as many hooks as there are to be, beside the same without any.
pub(crate) fn with_and_without<S>(make: impl Fn() -> S) -> (S, S) {
    let hooks = HOOKS.swap(0, Ordering::Relaxed);
    let without = make();
    have_hooks(hooks);
    (make(), without)
}

/// Hosted, asked about everything and told of everything, and leaves it all at its default.
struct Onlooker;

impl Hook for Onlooker {}

pub(crate) fn hooked<B: Backend>(builder: PoolBuilder<B>) -> PoolBuilder<B> {
    (0..hooks()).fold(builder, |builder, number| builder.hook(format!("onlooker-{number}"), Onlooker))
}

/// A pool of one worker with that engine, which idles.
#[cfg(any(feature = "interpreter", feature = "lua"))]
pub(crate) fn one_guest<E: millpond::interpreter::Engine>(engine: E) -> millpond::InterpreterPool<E> {
    let builder = millpond::InterpreterPool::builder(fresh_name(), engine).limits(Limits::fixed(1));
    let pool = hooked(builder).build().expect("the code is sound");
    load::wait_until("the worker idles", || pool.saturation().idle == 1);
    pool
}

/// Async jobs with a reply, from `callers` callers.
pub(crate) fn asynchronous(callers: u64) -> impl Side {
    let runtime = runtime();
    Tasks { callers, pool: Arc::new(task_pool(&runtime, WORKERS)), runtime }
}

struct Tasks {
    callers: u64,
    pool: Arc<TaskPool>,
    runtime: Runtime,
}

impl Side for Tasks {
    fn run(&mut self, jobs: u64) -> Duration {
        load::callers(&self.runtime, self.callers, jobs, |share| {
            let pool = Arc::clone(&self.pool);
            async move {
                for number in 0..share {
                    let job = pool.submit(async move { black_box(number) }).await.expect("a pool that takes jobs");
                    black_box(job.await.expect("jobs do not fail"));
                }
            }
        })
    }
}

/// Blocking jobs with a reply, from `callers` async callers.
pub(crate) fn blocking(callers: u64) -> impl Side {
    Threads { callers, pool: Arc::new(thread_pool(DEFAULT_BOUND)), runtime: runtime() }
}

struct Threads {
    callers: u64,
    pool: Arc<ThreadPool>,
    runtime: Runtime,
}

impl Side for Threads {
    fn run(&mut self, jobs: u64) -> Duration {
        load::callers(&self.runtime, self.callers, jobs, |share| {
            let pool = Arc::clone(&self.pool);
            async move {
                for number in 0..share {
                    let job = pool.submit(move || black_box(number)).await.expect("a pool that takes jobs");
                    black_box(job.await.expect("jobs do not fail"));
                }
            }
        })
    }
}

/// Jobs without a reply.
pub(crate) fn fire_and_forget() -> impl Side {
    Forgotten { pool: thread_pool(MOST_JOBS as usize), tally: Tally::leaked() }
}

struct Forgotten {
    pool: ThreadPool,
    tally: &'static Tally,
}

impl Side for Forgotten {
    fn run(&mut self, jobs: u64) -> Duration {
        let tally = self.tally;
        tally.time(jobs, || drop(self.pool.try_submit(move || tally.count()).expect("room for a round of jobs")))
    }
}

/// The times of `calls` inventories by message, behind `backlog` jobs that were sent while all workers sleep in theirs. In µs.
pub(crate) fn inventories_behind(backlog: u64, calls: usize) -> Vec<f64> {
    let runtime = runtime();
    let pool = task_pool(&runtime, WORKERS);
    let times = runtime.block_on(async {
        for _ in 0..WORKERS {
            drop(pool.try_submit(std::future::pending::<()>()).expect("room for a sleeper"));
        }
        load::wait_until("all workers sleep in jobs", || pool.saturation().active == WORKERS);
        for _ in 0..backlog {
            drop(pool.try_submit(std::future::pending::<()>()).expect("room for the backlog"));
        }
        figures::time_each_async(calls, async || inventory(&pool).await).await
    });
    assert_eq!(pool.saturation().queued as u64, backlog, "the backlog is still there");
    end(pool.blocking().shutdown(AT_ONCE));
    times
}

async fn inventory(pool: &TaskPool) -> millpond::Inventory {
    let inventory = pool.inventory(TimeLimit::default()).await.expect("a pool that answers");
    assert_eq!(inventory.workers.len(), WORKERS, "one row a worker");
    inventory
}

/// The times of inventories by message of an idle pool, as often as asked, in µs.
pub(crate) struct Asked {
    pool: TaskPool,
    runtime: Runtime,
}

impl Asked {
    pub(crate) fn start() -> Self {
        let runtime = runtime();
        Self { pool: task_pool(&runtime, WORKERS), runtime }
    }

    pub(crate) fn ask(&self, calls: usize) -> Vec<f64> {
        self.runtime.block_on(figures::time_each_async(calls, async || inventory(&self.pool).await))
    }
}

/// Runs `read` on a pool whose four workers are busy and whose queue is kept full by a submitter.
pub(crate) fn under_load<T>(read: impl FnOnce(&ThreadPool) -> T) -> T {
    let pool = Arc::new(thread_pool(DEFAULT_BOUND));
    let feeder = {
        let pool = Arc::clone(&pool);
        Busy::start(1, move || drop(pool.submit_blocking(load::burn).expect("a pool that takes jobs")))
    };
    load::wait_until("all workers are busy", || pool.saturation().active == WORKERS);
    let value = read(&pool);
    drop(feeder);
    end(pool.blocking().shutdown(TimeLimit::default()));
    value
}

/// Bytes of an idle worker, over `workers` of them.
pub(crate) fn idle_bytes_each(workers: usize) -> f64 {
    let runtime = runtime();
    // What the first pool of a process brings with it is not the weight of a worker.
    let _first = task_pool(&runtime, 1);
    memory::bytes_each(workers, || task_pool(&runtime, workers))
}

/// Bytes of a queued job, over `jobs` of them: closures that hold a number, their handles dropped.
pub(crate) fn queued_bytes_each(jobs: u64) -> f64 {
    let pool = thread_pool(jobs as usize);
    let gate = Gate::default();
    for _ in 0..WORKERS {
        let gate = gate.clone();
        drop(pool.try_submit(move || gate.pass()).expect("room for a sleeper"));
    }
    load::wait_until("all workers sleep in jobs", || pool.saturation().active == WORKERS);
    let bytes = memory::bytes_each(jobs as usize, || {
        for number in 0..jobs {
            drop(pool.try_submit(move || black_box(number)).expect("room for the backlog"));
        }
    });
    gate.open();
    end(pool.blocking().shutdown(TimeLimit::secs(60)));
    bytes
}

/// The bound of a queue that is given none.
const DEFAULT_BOUND: usize = 1_024;
/// Too short for a job that does not end: the ladder starts at once.
const AT_ONCE: TimeLimit = TimeLimit::millis(1);

fn thread_pool(bound: usize) -> ThreadPool {
    let builder = ThreadPool::builder(fresh_name())
        .limits(Limits::fixed(WORKERS))
        .default_lane(Lane::new("default").capacity(bound));
    hooked(builder).build().expect("a pool of threads")
}

fn task_pool(runtime: &Runtime, workers: usize) -> TaskPool {
    let builder = TaskPool::builder(fresh_name())
        .limits(Limits::fixed(workers))
        .default_lane(Lane::new("default").capacity(MOST_JOBS as usize))
        .runtime(runtime.handle().clone());
    let pool = hooked(builder).build().expect("a pool of tasks");
    load::wait_until("all workers are idle", || pool.saturation().idle == workers);
    pool
}

/// What a shutdown found is not what these rows measure; that it answered is.
fn end<T, E: std::fmt::Debug>(report: Result<T, E>) {
    drop(report.expect("a pool that shuts down"));
}
