//! Ten workers or ten thousand: what control does for each costs the same, and however many come or go at once, other pools are answered
//! meanwhile.
//!
//! A program of its own, since all pools of a process share the control thread, whose time on a processor is what is measured: that
//! does not depend on what else the machine does.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests measure, sleep and lock")]

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use millpond::{Ladder, Limits, PoolExecutor, Select, TaskPool, TimeLimit};
use tokio::runtime::{Builder, Runtime};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(120));
const FEW: usize = 400;
const MANY: usize = 8 * FEW;

/// One at a time: the tests share the control thread.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("two threads for a runtime")
}

fn pool(runtime: &Runtime, workers: usize) -> TaskPool {
    let builder = TaskPool::builder(format!("crowd-{workers}")).limits(Limits::fixed(workers));
    builder.runtime(runtime.handle().clone()).build().expect("a pool of tasks")
}

#[track_caller]
fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < LIMIT.0, "never came true: {what}");
        thread::sleep(Duration::from_micros(500));
    }
}

fn all_idle(pool: &TaskPool, workers: usize) {
    wait_until("all workers are idle", || pool.saturation().idle == workers);
}

/// How long the control thread has been on a processor.
fn control_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    let control = tasks
        .filter_map(Result::ok)
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("millpond-contro")));
    let Some(control) = control else { return Duration::ZERO };
    let figures = fs::read_to_string(control.join("schedstat")).expect("the thread is there");
    let nanos = figures.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the first figure is a time in nanoseconds"))
}

/// What control takes for each of so many workers that are started, shrunk away, killed, and left to a shutdown; and for a message of
/// which nobody has to leave.
struct Cost {
    build: Duration,
    shrink: Duration,
    kill: Duration,
    shutdown: Duration,
    message: Duration,
}

const MESSAGES: u32 = 500;

fn cost(workers: usize) -> Cost {
    let runtime = runtime();
    let each = |act: &mut dyn FnMut()| {
        let before = control_time();
        act();
        // What is signalled last is dealt with before the next measure begins.
        thread::sleep(Duration::from_millis(20));
        (control_time() - before) / u32::try_from(workers).expect("they are few enough")
    };
    let mut built = None;
    let build = each(&mut || {
        let pool = built.insert(pool(&runtime, workers));
        all_idle(pool, workers);
    });
    let pool = built.expect("it was built");
    let message = each(&mut || {
        for _ in 0..MESSAGES {
            drop(pool.blocking().resize(Limits::fixed(workers), LIMIT).expect("it answers"));
        }
    });
    let shrink = each(&mut || {
        let report = pool.blocking().resize(Limits::fixed(1), LIMIT).expect("it answers");
        runtime.block_on(report.settled());
    });
    drop(pool.blocking().resize(Limits::fixed(workers), LIMIT).expect("it answers"));
    all_idle(&pool, workers);
    let kill = each(&mut || {
        let report = pool.blocking().terminate(Select::all(), Ladder::kill(), LIMIT).expect("it answers");
        assert_eq!(report.targets.len(), workers);
        all_idle(&pool, workers);
    });
    let shutdown = each(&mut || {
        let _ = pool.blocking().shutdown(LIMIT).expect("it ends");
    });
    let message = message * u32::try_from(workers).expect("they are few enough") / MESSAGES;
    Cost { build, shrink, kill, shutdown, message }
}

#[test]
fn control_costs_as_much_for_each_of_many_as_for_each_of_few() {
    let _alone = alone();
    // What the first pool of a process takes beside its workers is not asked for.
    let _ = cost(10);
    let (few, many) = (cost(FEW), cost(MANY));
    for (what, few, many) in [
        ("to start a worker", few.build, many.build),
        ("to have one leave", few.shrink, many.shrink),
        ("to kill one", few.kill, many.kill),
        ("to shut one down", few.shutdown, many.shutdown),
        ("a message", few.message, many.message),
    ] {
        assert!(many < 3 * few, "{what}: {few:?} of {FEW}, but {many:?} of {MANY}");
    }
}

/// A pool that starts thousands of workers at once is not alone on the control thread: others get their turn again and again.
#[test]
fn others_are_answered_while_a_crowd_is_started() {
    const ANSWERS: usize = 10;
    let _alone = alone();
    let runtime = runtime();
    let beside = TaskPool::builder("crowd-beside").limits(Limits::fixed(1)).runtime(runtime.handle().clone());
    let beside = beside.build().expect("a pool of tasks");
    let pool = pool(&runtime, MANY);
    let workers = || pool.saturation().workers;
    wait_until("the first is started", || workers() > 0);
    let mut answers = 0;
    while workers() < MANY {
        beside.blocking().inventory(LIMIT).expect("it answers");
        // One that came with the end of it does not count.
        answers += usize::from(workers() < MANY);
    }
    assert!(answers >= ANSWERS, "{answers} answers while {MANY} workers were started");
}
