//! A crowd of workers that comes and goes at once: what does the control of *another* pool cost meanwhile, and what does a message of
//! its own that has nothing to do with its size?
//!
//! Answers are asked for at fixed moments, and measured from these: one that comes late makes those behind it late too, as it would
//! for callers who do not wait for each other. Beside them, an actor of plain ractor on the runtime of the workers is pinged. `ahead` does
//! not depend on what else the machine does: the most time on a processor that the control thread took, on Linux, while an answer was
//! waited for. `took` is the time until the whole crowd has come or gone.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millpond::{Ladder, Limits, PoolExecutor, Select, TaskPool, TimeLimit};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::runtime::Runtime;

use crate::harness::figures::{median, micros, quantile, time_each_async};
use crate::harness::{fresh_name, load, runtime};

pub(crate) const COLUMNS: &[&str] = &[
    "same_limits_us",
    "build_p99_us",
    "build_ahead_us",
    "build_ping_p99_us",
    "build_took_us",
    "shrink_p99_us",
    "shrink_ahead_us",
    "shrink_ping_p99_us",
    "shrink_took_us",
    "terminate_p99_us",
    "terminate_ahead_us",
    "terminate_ping_p99_us",
    "terminate_took_us",
    "shutdown_p99_us",
    "shutdown_ahead_us",
    "shutdown_ping_p99_us",
    "shutdown_took_us",
    "drop_p99_us",
    "drop_ahead_us",
    "drop_ping_p99_us",
    "drop_took_us",
];

/// From one question to the next.
const EVERY: Duration = Duration::from_micros(500);
/// What is over sooner is watched for this long.
const AT_LEAST: Duration = Duration::from_millis(50);
const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(60));

pub(crate) fn measure(workers: usize) -> Vec<f64> {
    let runtime = runtime();
    let witness = Witness::new(&runtime);
    let limits = Limits::fixed(workers);
    let all_idle = |pool: &TaskPool| {
        load::wait_until("all workers are idle", || pool.saturation().idle == workers);
    };
    let mut built = None;
    let build = witness.during(|| {
        let pool = pool(&runtime, limits);
        all_idle(&pool);
        built = Some(pool);
    });
    let pool = built.expect("it was built");
    let same = median(&runtime.block_on(time_each_async(200, async || pool.resize(limits, LIMIT).await)));
    let shrink = witness.during(|| {
        let report = runtime.block_on(pool.resize(Limits::fixed(1), LIMIT)).expect("a pool that resizes");
        runtime.block_on(report.settled());
    });
    runtime.block_on(pool.resize(limits, LIMIT)).expect("a pool that resizes");
    all_idle(&pool);
    let terminate = witness.during(|| {
        let report = runtime.block_on(pool.terminate(Select::all(), Ladder::kill(), LIMIT));
        assert_eq!(report.expect("a pool that answers").targets.len(), workers);
        all_idle(&pool);
    });
    let shutdown = witness.during(|| {
        let _ = runtime.block_on(pool.shutdown(LIMIT)).expect("a pool that shuts down");
    });
    let pool = self::pool(&runtime, limits);
    all_idle(&pool);
    let mut events = pool.events();
    let dropped = witness.during(|| {
        drop(pool);
        while events.next_blocking().is_some() {}
    });
    let phases = [build, shrink, terminate, shutdown, dropped];
    std::iter::once(same).chain(phases.into_iter().flatten()).collect()
}

fn pool(runtime: &Runtime, limits: Limits) -> TaskPool {
    let builder = TaskPool::builder(fresh_name()).limits(limits).runtime(runtime.handle().clone());
    builder.build().expect("a pool of tasks")
}

/// Who is asked while the crowd comes or goes.
struct Witness<'a> {
    runtime: &'a Runtime,
    beside: TaskPool,
    bare: ActorRef<Ping>,
}

impl<'a> Witness<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        let (bare, _ended) = runtime.block_on(Actor::spawn(None, Bare, ())).expect("an actor");
        Self { runtime, beside: pool(runtime, Limits::fixed(1)), bare }
    }

    /// The 99th percentile of the other pool's answers and the most that control did before one, the 99th percentile of the bare pings, and how
    /// long `act` took.
    fn during(&self, act: impl FnOnce()) -> [f64; 4] {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let (mut ahead, control) = (0.0_f64, ControlThread::find());
                let late = ask_on_time(&over, || {
                    let before = control.micros();
                    drop(self.beside.blocking().inventory(LIMIT).expect("it answers"));
                    ahead = ahead.max(control.micros() - before);
                });
                (late, ahead)
            });
            let pinged = scope.spawn(|| {
                ask_on_time(&over, || {
                    let answer = self.runtime.block_on(self.bare.call(Ping, None));
                    assert!(answer.expect("it lives").is_success());
                })
            });
            let begun = Instant::now();
            act();
            let took = begun.elapsed();
            thread::sleep(AT_LEAST.saturating_sub(took));
            over.store(true, Ordering::Release);
            let ((asked, ahead), pinged) = (asked.join().expect("no panic"), pinged.join().expect("no panic"));
            [quantile(&asked, 0.99), ahead, quantile(&pinged, 0.99), micros(took)]
        })
    }
}

/// Where the system says how long the control thread has been on a processor.
struct ControlThread(Option<PathBuf>);

impl ControlThread {
    fn find() -> Self {
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
        let is_control = |task: &PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("millpond-contro"))
        };
        Self(tasks.map(|task| task.path()).find(is_control))
    }

    fn micros(&self) -> f64 {
        let figures = self.0.as_ref().and_then(|task| fs::read_to_string(task.join("schedstat")).ok());
        let nanos = figures.as_ref().and_then(|figures| figures.split_whitespace().next()?.parse::<f64>().ok());
        nanos.unwrap_or(0.0) / 1_000.0
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        self.bare.stop(None);
        let _ = self.beside.blocking().shutdown(LIMIT);
    }
}

/// Asks at fixed moments until it is over, once at least; how long after its moment each answer came, in µs.
fn ask_on_time(over: &AtomicBool, mut ask: impl FnMut()) -> Vec<f64> {
    let (mut late, mut moment) = (Vec::new(), Instant::now());
    loop {
        let early = moment.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early);
            // What it has overslept is the system's.
            moment = Instant::now();
        }
        ask();
        late.push(micros(moment.elapsed()));
        moment += EVERY;
        if over.load(Ordering::Acquire) {
            return late;
        }
    }
}

struct Bare;

struct Ping(RpcReplyPort<()>);

#[cfg(feature = "cluster")]
impl ractor::Message for Ping {}

#[ractor::actor(message = Ping, state = (), arguments = ())]
impl Bare {
    async fn pre_start(&self, _myself: ActorRef<Ping>, _args: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _myself: ActorRef<Ping>, ping: Ping, _state: &mut ()) -> Result<(), ActorProcessingErr> {
        // Whoever pinged waits.
        let _ = ping.0.send(());
        Ok(())
    }
}
