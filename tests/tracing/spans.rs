//! A job runs in a span of its own, within that of its submitter, whatever worker runs it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millpond::{
    ActorPool, Actors, Backend, Hosts, JobContext, JobOptions, Lane, Limits, Pool, PoolBuilder, PoolExecutor,
    StartContext, StartError, TaskPool, Tasks, ThreadPool, Threads, TimeLimit, Worker,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tracing::{info, info_span};

use crate::listener::{Heard, JOB_SPANS, PANICS, SHAKY, heard, listen};

/// Those who turn spans of jobs off keep others out.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) type Say = Box<dyn FnOnce() + Send>;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).build().expect("threads for a runtime"))
}

struct Speaker;

impl Worker for Speaker {
    type Job = Say;
    type Output = ();
    type State = ();

    async fn start(&self, cx: &StartContext) -> Result<(), StartError> {
        info!(started = cx.pool());
        Ok(())
    }

    async fn handle(&self, say: Say, _state: &mut (), _cx: &JobContext) {
        // In a later poll than the first one, which is in the span as well.
        tokio::task::yield_now().await;
        say();
    }
}

/// A kind of pool.
trait Kind: 'static {
    type Backend: Backend + Hosts<Self::Job, Output = ()>;
    type Job: Send + 'static;
    /// False if it has no start of the user's that could say something.
    const SAYS_THAT_IT_STARTS: bool = true;

    fn builder(name: &str) -> PoolBuilder<Self::Backend>;
    fn job(say: Say) -> Self::Job;

    /// Its one worker is started by whoever submits first.
    fn pool(name: &str) -> Arc<Pool<Self::Backend>> {
        let builder = Self::builder(name).limits(Limits::new(0, 1)).lane(Lane::new("side"));
        let pool = builder.build().expect("it is built");
        // Control has begun, and found that none is wanted yet.
        pool.blocking().inventory(TimeLimit::default()).expect("it answers");
        Arc::new(pool)
    }
}

struct OnThreads;
struct OnTasks;
struct OnActors;

impl Kind for OnThreads {
    type Backend = Threads;
    type Job = Say;

    fn builder(name: &str) -> PoolBuilder<Threads> {
        ThreadPool::builder(format!("{name}-threads")).initializer(|cx: &StartContext| {
            info!(started = cx.pool());
            Ok(())
        })
    }

    fn job(say: Say) -> Say {
        say
    }
}

impl Kind for OnTasks {
    type Backend = Tasks;
    type Job = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    const SAYS_THAT_IT_STARTS: bool = false;

    fn builder(name: &str) -> PoolBuilder<Tasks> {
        TaskPool::builder(format!("{name}-tasks")).runtime(runtime().handle().clone())
    }

    fn job(say: Say) -> Self::Job {
        Box::pin(async {
            tokio::task::yield_now().await;
            say();
        })
    }
}

impl Kind for OnActors {
    type Backend = Actors<Speaker>;
    type Job = Say;

    fn builder(name: &str) -> PoolBuilder<Actors<Speaker>> {
        ActorPool::builder(format!("{name}-actors"), Speaker).runtime(runtime().handle().clone())
    }

    fn job(say: Say) -> Say {
        say
    }
}

/// In the host, on the guest's behalf.
#[cfg(feature = "interpreter")]
struct OnGuests;

#[cfg(feature = "interpreter")]
impl Kind for OnGuests {
    type Backend = millpond::interpreter::Interpreters<millpond::interpreter::Wasm>;
    type Job = crate::polled::Polled<()>;
    const SAYS_THAT_IT_STARTS: bool = false;

    fn builder(name: &str) -> PoolBuilder<Self::Backend> {
        millpond::InterpreterPool::builder(format!("{name}-guests"), crate::polled::wasm::engine())
    }

    fn job(say: Say) -> Self::Job {
        crate::polled::Polled::new(async {
            tokio::task::yield_now().await;
            say();
        })
    }
}

/// In this process, as its arguments are written. A child's own spans do not come home.
#[cfg(all(feature = "process", unix))]
struct OnProcesses;

#[cfg(all(feature = "process", unix))]
impl Kind for OnProcesses {
    type Backend = millpond::process::Processes;
    type Job = millpond::process::RemoteCall<crate::words::Words, ()>;
    const SAYS_THAT_IT_STARTS: bool = false;

    fn builder(name: &str) -> PoolBuilder<Self::Backend> {
        millpond::ProcessPool::builder(format!("{name}-processes")).entry(millpond::process::Entry::test())
    }

    fn job(say: Say) -> Self::Job {
        millpond::process::RemoteCall::new(drop, crate::words::Words::new(say))
    }
}

macro_rules! on_every_kind {
    ($($body:ident),+ $(,)?) => { $(
        mod $body {
            #[test]
            fn threads() {
                super::$body::<super::OnThreads>();
            }
            #[test]
            fn tasks() {
                super::$body::<super::OnTasks>();
            }
            #[test]
            fn actors() {
                super::$body::<super::OnActors>();
            }
            #[cfg(feature = "interpreter")]
            #[test]
            fn guests() {
                super::$body::<super::OnGuests>();
            }
            #[cfg(all(feature = "process", unix))]
            #[test]
            fn processes() {
                super::$body::<super::OnProcesses>();
            }
        }
    )+ };
}

on_every_kind!(
    a_jobs_span_is_within_its_submitters,
    a_worker_is_in_nobodys_span,
    a_job_within_a_job,
    without_a_listener_there_is_none,
    a_listener_that_panics_as_a_job_ends_costs_neither_outcome_nor_worker,
);

/// A job that says `what`.
fn say<K: Kind>(what: &str) -> K::Job {
    let what = what.to_owned();
    K::job(Box::new(move || info!(said = what)))
}

/// Runs a job that says `what`, and gives what was heard of it.
fn run<K: Kind>(pool: &Pool<K::Backend>, options: JobOptions, what: &str) -> Heard {
    pool.with(options).submit_blocking(say::<K>(what)).expect("there is a place").join().expect("it runs");
    heard("said", what, |_| true)
}

/// The spans it was in, ractor's own for each actor apart.
fn names(heard: &Heard) -> Vec<&'static str> {
    heard.spans.iter().map(|(name, _)| *name).filter(|name| *name != "Actor").collect()
}

fn a_jobs_span_is_within_its_submitters<K: Kind>() {
    listen();
    let _turn = TURN.lock();
    let pool = K::pool("within");
    let said = info_span!("request", user = 7).in_scope(|| {
        let options = JobOptions::new().label("greet").lane("side");
        run::<K>(&pool, options, &format!("{}-hello", pool.name()))
    });
    assert_eq!(names(&said), ["millpond.job", "request"]);
    let (job, request) = (&said.spans[0].1, &said.spans[1].1);
    let fields = ["pool", "lane", "job", "worker", "label"].map(|field| &*job[field]);
    assert_eq!(fields, [pool.name(), "side", "1", "0.1", "greet"]);
    assert_eq!(request["user"], "7");
    // The next one, on the same worker and from nowhere.
    let said = run::<K>(&pool, JobOptions::new(), &format!("{}-again", pool.name()));
    assert_eq!(names(&said), ["millpond.job"]);
    assert!(!said.spans[0].1.contains_key("label"));
}

/// Whoever needs it first has it started, and it outlives that.
fn a_worker_is_in_nobodys_span<K: Kind>() {
    listen();
    let _turn = TURN.lock();
    let pool = K::pool("nobodys");
    info_span!("request").in_scope(|| run::<K>(&pool, JobOptions::new(), &format!("{}-first", pool.name())));
    if K::SAYS_THAT_IT_STARTS {
        assert_eq!(names(&heard("started", pool.name(), |_| true)), [""; 0]);
    }
    let ready = heard("pool", pool.name(), |heard| heard.fields["message"] == "a worker is ready");
    assert_eq!(names(&ready), [""; 0]);
}

fn a_job_within_a_job<K: Kind>() {
    listen();
    let _turn = TURN.lock();
    let pool = K::pool("inner");
    let (what, there) = (format!("{}-inner", pool.name()), pool.clone());
    let (inner, label) = (say::<K>(&what), JobOptions::new().label("inner"));
    let outer = K::job(Box::new(move || drop(there.with(label).try_submit(inner))));
    let outer = info_span!("request").in_scope(|| pool.with(JobOptions::new().label("outer")).submit_blocking(outer));
    outer.expect("there is a place").join().expect("it runs");
    let said = heard("said", &what, |_| true);
    assert_eq!(names(&said), ["millpond.job", "millpond.job", "request"]);
    assert_eq!((&*said.spans[0].1["label"], &*said.spans[1].1["label"]), ("inner", "outer"));
}

fn without_a_listener_there_is_none<K: Kind>() {
    listen();
    let _turn = TURN.lock();
    let pool = K::pool("unheard");
    JOB_SPANS.store(false, Ordering::Release);
    let said = info_span!("request").in_scope(|| run::<K>(&pool, JobOptions::new(), &format!("{}-hello", pool.name())));
    JOB_SPANS.store(true, Ordering::Release);
    assert_eq!(names(&said), [""; 0]);
}

/// The outcome is won when the span is left, and not published.
fn a_listener_that_panics_as_a_job_ends_costs_neither_outcome_nor_worker<K: Kind>() {
    listen();
    let _turn = TURN.lock();
    let pool = K::pool(SHAKY);
    let before = PANICS.load(Ordering::Acquire);
    for what in ["first", "second"] {
        let mut job = pool.with(JobOptions::new()).submit_blocking(say::<K>(what)).expect("there is a place");
        job.join_timeout(Duration::from_secs(60)).expect("it has its outcome");
    }
    assert!(PANICS.load(Ordering::Acquire) >= before + 4, "each span was left and closed");
    let (ledger, workers) = (pool.snapshot().ledger, pool.inventory_now().workers);
    assert!(ledger.balances() && ledger.completed == 2, "{ledger}");
    assert!(workers.iter().all(|row| row.worker.generation == 1), "{workers:?}");
}
