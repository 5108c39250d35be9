//! What a run stands on: the pool, the runtimes, and what all parties share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond::{Lane, Limits, Pool, PoolBuilder, PoolExecutor, Recycle, Target, TimeLimit};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::alive::Censuses;
use crate::allowed::Allowed;
use crate::books::{Books, Kept};
use crate::inside::{Body, Inside, RESERVED};
use crate::kinds::Kind;
use crate::plan::{LARGEST, RESERVE, Rule};
use crate::policies::Moody;
use crate::retunes::watchdog;
use crate::starts::{Faulty, Starts};
use crate::tally::Tally;

/// Longer than anything here takes, however loaded the machine: who waits for this long waits in vain.
pub const FOREVER: Duration = Duration::from_secs(60);
/// The same for control replies.
pub const LIMIT: TimeLimit = TimeLimit(FOREVER);
/// Abandoned workers that are replaced.
pub const CAP: usize = 3;
/// Threads and tasks that submit.
pub const SUBMITTERS: usize = 4;
/// As many threads as stubborn jobs can hold, and some.
const THREADS: usize = LARGEST + CAP + 4;

pub type PoolOf<K> = Pool<Faulty<<K as Kind>::Backend>>;

/// Holds whoever waits for it until it is opened.
#[derive(Clone, Default)]
pub struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    pub fn block(&self) {
        self.block_for(FOREVER * 2);
    }

    /// Blocks the thread for at most `span`. True if it is open.
    pub fn block_for(&self, span: Duration) -> bool {
        let (open, opened) = &*self.0;
        !opened.wait_while_for(&mut open.lock(), |open| !*open, span).timed_out()
    }
}

/// What submitters are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    Go,
    /// See how all that was submitted ends, then wait.
    Pause,
    /// The same, and it is over.
    End,
    /// The test has failed.
    Leave,
}

impl Signal {
    fn of(number: u8) -> Self {
        [Self::Go, Self::Pause, Self::End, Self::Leave][usize::from(number)]
    }
}

/// What jobs, hooks, policies and submitters reach, whatever the kind of pool.
#[derive(Default)]
pub struct Shared {
    pub books: Books,
    pub tally: Tally,
    pub allowed: Allowed,
    pub inside: Inside,
    pub alive: Censuses,
    pub parked: AtomicUsize,
    /// How often the pool has come to rest.
    pub rests: AtomicUsize,
    signal: AtomicU8,
    ending: AtomicU8,
    /// A handle that does not own the pool.
    view: Mutex<Option<Arc<dyn PoolExecutor>>>,
    /// Holds what hangs until the next rest.
    latch: Mutex<Latch>,
    violations: Mutex<Vec<String>>,
    next_no: AtomicUsize,
}

impl Shared {
    pub fn violated(&self, what: String) {
        self.violations.lock().push(what);
    }

    #[track_caller]
    pub fn assert_kept(&self) {
        let violations = self.violations.lock();
        assert!(violations.is_empty(), "{:#?}", *violations);
    }

    /// The pool that user code asks.
    pub fn show(&self, view: Arc<dyn PoolExecutor>) {
        *self.view.lock() = Some(view);
    }

    /// Asks the pool how it is, as user code may anywhere: it would hang under one of the pool's locks, invariant 8.
    pub fn look(&self) {
        let view = self.view.lock().clone();
        if let Some(view) = view {
            drop((view.inventory_now(), view.snapshot()));
        }
    }

    pub fn latch(&self) -> Latch {
        self.latch.lock().clone()
    }

    /// Lets go whatever hangs; what hangs from now on waits for the next time.
    pub fn let_go(&self) {
        std::mem::take(&mut *self.latch.lock()).open();
    }

    /// A job begins.
    pub fn enter(&self, no: u64, body: Body) {
        let view = self.view.lock().clone();
        let inventory = || view.as_ref().map(|view| view.inventory_now());
        if let Some(crowd) = self.inside.enter(no, body, self.allowed.max(), inventory) {
            self.violated(crowd);
        }
    }

    pub fn signal(&self) -> Signal {
        Signal::of(self.signal.load(Ordering::Acquire))
    }

    pub fn tell(&self, signal: Signal) {
        self.signal.store(signal as u8, Ordering::Release);
    }

    /// The pool is about to end.
    pub fn begin_the_end(&self) {
        self.ending.store(1, Ordering::Release);
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire) > 0
    }

    /// Waits while the load is to pause.
    pub fn park(&self) {
        self.parked.fetch_add(1, Ordering::AcqRel);
        while self.signal() == Signal::Pause {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.parked.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn next_no(&self) -> u64 {
        self.next_no.fetch_add(1, Ordering::AcqRel) as u64
    }
}

/// Waits until `so`, and fails, with how things are, if that never comes.
#[track_caller]
pub fn eventually(mut so: impl FnMut() -> Result<(), String>) {
    let since = Instant::now();
    while let Err(how) = so() {
        assert!(since.elapsed() < FOREVER, "never came to be: {how}");
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// A pool, and all that goes on with it.
pub struct Site<K: Kind> {
    pub seed: u64,
    pub pool: PoolOf<K>,
    /// The same, which owns nothing, for jobs that submit jobs.
    pub view: PoolOf<K>,
    pub starts: Starts,
    pub shared: Arc<Shared>,
    /// What operators asked for and have no answer to yet: each ends with what was wrong with it.
    pub asked: Mutex<Vec<JoinHandle<Result<(), String>>>>,
    /// Jobs of faults.
    pub kept: Mutex<Vec<Kept>>,
    /// Claims that workers held once.
    pub old: Mutex<Vec<Target>>,
    /// Of async workers; and of submitters and operators, whom no job blocks.
    pub workers: Runtime,
    pub outside: Runtime,
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("threads for a runtime")
}

pub fn limits<K: Kind>(min: usize, max: usize) -> Limits {
    Limits::new(min, max).idle_timeout(K::IDLE_TIMEOUT)
}

impl<K: Kind> Site<K> {
    pub fn build(seed: u64) -> Self {
        let (workers, outside) = (runtime(THREADS), runtime(2));
        let (starts, shared) = (Starts::default(), Arc::<Shared>::default());
        shared.allowed.rest(4);
        let backend = Faulty { inner: K::backend(workers.handle().clone()), starts: starts.clone() };
        let wait = Duration::from_millis(100);
        let pool = PoolBuilder::new(&format!("faults-{}", K::NAME), backend)
            .limits(limits::<K>(2, 4))
            .default_lane(Lane::new("default").capacity(16).admission_limit(wait))
            .lane(Lane::new(RESERVED).capacity(8).reserve(RESERVE).admission_limit(wait))
            .lane(Lane::new("direct").capacity(0).admission_limit(wait))
            .abandoned_cap(CAP)
            .start_limit(K::START_LIMIT)
            .kill_grace(Duration::from_millis(10))
            .restart_policy(Moody::new(Rule::Sound, &shared))
            .recycle(Recycle::new().after_jobs(K::RECYCLED_AFTER))
            .watchdog(watchdog())
            .build()
            .expect("the configuration is sound");
        let view = Pool::from_actor_blocking(pool.actor()).expect("it is a pool of this kind");
        shared.show(Arc::new(view.clone()));
        Self {
            seed,
            pool,
            view,
            starts,
            shared,
            asked: Mutex::default(),
            kept: Mutex::default(),
            old: Mutex::default(),
            workers,
            outside,
        }
    }

    /// For whoever leaves the scope of the submitters: they must be told, also by a test that has failed.
    pub fn open_at_the_end(&self) -> impl Drop + use<K> {
        Opener(self.shared.clone())
    }
}

struct Opener(Arc<Shared>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.tell(if std::thread::panicking() { Signal::Leave } else { Signal::End });
        self.0.let_go();
    }
}
