//! What every test here needs: members whose workers do what they are told.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{Lane, Limits, Pool, PoolBuilder, PoolExecutor, TimeLimit, WorkerId};
use millpond_supervisors::mixed::{Member, MixedBuilder, MixedHandle, MixedPool, MixedStatus};
use tokio::runtime::Runtime;

/// Longer than anything here takes, however loaded the machine.
const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const LIMIT: TimeLimit = TimeLimit(PATIENCE);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("there are threads"));

#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited for ever until {what}");
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> F::Output {
    let output = RUNTIME.block_on(async { tokio::time::timeout(PATIENCE, future).await });
    output.expect("it ends")
}

/// A future that runs on while the test does something else.
pub(crate) fn beside<F: Future<Output: Send> + Send + 'static>(future: F) -> tokio::task::JoinHandle<F::Output> {
    RUNTIME.spawn(future)
}

pub(crate) fn named(what: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("mixed-{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Members `0`, `1` and so on, of one worker each, and a mixed pool of them.
pub(crate) struct Stage {
    pub(crate) pool: MixedPool<u64, u64>,
    pub(crate) members: Vec<(Pool<Scripted>, Script)>,
    pub(crate) clock: SettableClock,
}

/// A pool of one scripted worker, up and idle, with a queue of that length.
pub(crate) fn scripted(what: &str, clock: &SettableClock, queue: usize) -> (Pool<Scripted>, Script) {
    let (backend, script) = Scripted::new(true);
    let builder = PoolBuilder::new(&named(what), backend).limits(Limits::fixed(1)).clock(clock.clock());
    let pool = builder.default_lane(Lane::new("default").capacity(queue)).build().expect("it is built");
    until("it is up", || pool.saturation().idle == 1);
    (pool, script)
}

/// `queue`: the length of each member's.
pub(crate) fn stage(
    what: &str,
    count: usize,
    queue: usize,
    shape: impl FnOnce(MixedBuilder<u64, u64>) -> MixedBuilder<u64, u64>,
) -> Stage {
    let clock = SettableClock::new();
    let members: Vec<_> = (0..count).map(|_| scripted(what, &clock, queue)).collect();
    let mut builder = MixedPool::builder(named(what)).clock(clock.clock());
    for (number, (pool, _)) in members.iter().enumerate() {
        builder = builder.member(Member::new(Arc::new(pool.clone())).named(number.to_string()));
    }
    let pool = shape(builder).build().expect("it is built");
    Stage { pool, members, clock }
}

pub(crate) fn plain(what: &str, count: usize, queue: usize) -> Stage {
    stage(what, count, queue, |builder| builder)
}

pub(crate) const FIRST: WorkerId = WorkerId { slot: 0, generation: 1 };

impl Stage {
    #[track_caller]
    pub(crate) fn put(&self, job: u64) -> MixedHandle<u64> {
        self.pool.try_submit(job).unwrap_or_else(|rejected| panic!("{rejected}"))
    }

    /// Has the member's first worker take a job, as soon as there is one for it.
    #[track_caller]
    pub(crate) fn take(&self, member: usize) -> u64 {
        let mut taken = None;
        until("the member has a job", || {
            taken = self.members[member].1.take(FIRST);
            taken.is_some()
        });
        taken.expect("it has one")
    }

    #[track_caller]
    pub(crate) fn finish(&self, member: usize, output: u64) {
        assert!(self.members[member].1.finish(FIRST, output), "it holds a job");
    }

    #[track_caller]
    pub(crate) fn panic(&self, member: usize) {
        assert!(self.members[member].1.panic(FIRST), "it holds a job");
    }

    /// Keeps the member's worker busy, with a job of somebody else.
    pub(crate) fn occupy(&self, member: usize) -> millpond::JobHandle<u64> {
        let handle = millpond::Executor::try_submit(&self.members[member].0, 1_000).expect("there is a place");
        assert_eq!(self.take(member), 1_000);
        handle
    }

    /// Every job has ended, and every term adds up.
    #[track_caller]
    pub(crate) fn at_rest(&self) {
        until("no job is left", || self.pool.ledger().pending == 0);
        let ledger = self.pool.ledger();
        assert!(ledger.balances(), "{ledger}");
    }
}

#[track_caller]
pub(crate) fn waits(handle: &MixedHandle<u64>) {
    assert_eq!(handle.status(), MixedStatus::Waiting);
}

#[track_caller]
pub(crate) fn is_with(handle: &MixedHandle<u64>, member: &str) {
    let status = handle.status();
    assert!(matches!(&status, MixedStatus::With { member: with, .. } if &**with == member), "{status:?}");
}
