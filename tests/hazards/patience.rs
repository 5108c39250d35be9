//! Durations, waiting for conditions, latencies, and repeatable noise.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use millpond::{Backend, Pool, PoolExecutor, TimeLimit};

use crate::stalls::Watch;

/// What a control operation may take at p99 on a quiet machine.
pub const CONTROL_GOAL: Duration = Duration::from_millis(50);
/// What a test allows instead: it shares two cores with the tests beside it.
pub const CONTROL_LIMIT: Duration = CONTROL_GOAL.saturating_mul(10);

/// Longer than anything here may take; who waits for this long waits in vain.
pub const FOREVER: Duration = Duration::from_secs(120);

/// A duration of the scenario, scaled down by the one factor.
pub fn scaled(full: Duration) -> Duration {
    let factor = std::env::var("MILLPOND_HAZARD_SCALE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(25);
    full / factor
}

/// Waits until `condition` holds; fails, with what it is called, if it never does.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    let mut looks = 0;
    while !condition() {
        assert!(since.elapsed() < FOREVER, "never came true: {what}");
        looks += 1;
        // What comes at once is seen at once; what takes longer gets the processor.
        if looks < 100 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(500)) }
    }
}

/// Runs `f` and fails if it took longer than `limit`, what the machine is to blame for not counted.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, f: impl FnOnce() -> T) -> T {
    let watch = Watch::start();
    let result = f();
    let took = watch.net();
    assert!(took < limit, "{what} took {took:?}, more than {limit:?}");
    result
}

/// True if this limit of a pool's has passed by the system's clock, too: a pool's is the processor's counter, of which a second was measured
/// when the process began, on a machine that may have been busy.
pub fn has_passed(limit: Duration, since: Instant) -> bool {
    since.elapsed() >= limit - limit / 100
}

/// How long each of many calls took, what the machine is to blame for not counted.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let watch = Watch::start();
        let result = f();
        self.0.push(watch.net());
        result
    }

    /// By nearest rank: of fewer than a hundred calls, the slowest.
    #[track_caller]
    pub fn assert_p99(mut self, what: &str) {
        self.0.sort();
        let p99 = self.0[(self.0.len() * 99).div_ceil(100) - 1];
        assert!(p99 < CONTROL_LIMIT, "{what}: p99 of {} calls is {p99:?}, goal {CONTROL_GOAL:?}", self.0.len());
    }
}

/// For `span`, and for 20 rounds at least: inventory, resize to `limits` and back, and `submit` each answer.
#[track_caller]
pub fn control_answers<B: Backend>(pool: &Pool<B>, span: Duration, mut submit: impl FnMut()) {
    let limits = pool.snapshot().limits;
    let mut larger = limits;
    larger.max += 1;
    let (mut inventory, mut resize, mut submits) = (Latencies::default(), Latencies::default(), Latencies::default());
    let since = Instant::now();
    let mut rounds = 0;
    while rounds < 20 || since.elapsed() < span {
        rounds += 1;
        inventory.time(|| pool.blocking().inventory(TimeLimit::default())).expect("inventory answers");
        for wanted in [larger, limits] {
            resize.time(|| pool.blocking().resize(wanted, TimeLimit::default())).expect("resize answers");
        }
        submits.time(&mut submit);
        std::thread::sleep(Duration::from_millis(2));
    }
    inventory.assert_p99("inventory");
    resize.assert_p99("resize");
    submits.assert_p99("submit");
}

/// Nothing runs, waits or is owed; every worker that the limits ask for is up.
#[track_caller]
pub fn at_rest<B: Backend>(pool: &Pool<B>) {
    let resting = || {
        let seen = pool.saturation();
        let limits = pool.snapshot().limits;
        let empty = seen.active + seen.queued + seen.waiting + seen.debt + seen.starting + seen.abandoned == 0;
        empty && (limits.min..=limits.max).contains(&seen.workers) && seen.idle == seen.workers
    };
    let since = Instant::now();
    while !resting() {
        assert!(since.elapsed() < FOREVER, "not at rest: {:?}\n{}", pool.saturation(), pool.inventory_now());
        std::thread::sleep(Duration::from_micros(500));
    }
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0 && ledger.waiting == 0, "{ledger}");
}

/// Runs `f` on a thread of its own; fails if it never returns, as it would in a deadlock.
#[track_caller]
pub fn returns<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::sync_channel(1);
    let runner = std::thread::spawn(move || done.send(f()));
    match wait.recv_timeout(FOREVER) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("never returned: {what}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match runner.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it sends before it ends"),
        },
    }
}

/// A waker that remembers whether it was woken.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Polls once, with this as the waker.
    pub fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.0.store(false, Ordering::Release);
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// SplitMix64: the same numbers for the same seed.
pub struct Noise(u64);

impl Noise {
    /// Seeded anew each run unless `MILLPOND_HAZARD_SEED` says otherwise; printed, and shown when the test fails.
    #[expect(clippy::print_stdout, reason = "the seed is what repeats a failure")]
    pub fn new() -> Self {
        let fresh = || std::process::id().into();
        let seed = std::env::var("MILLPOND_HAZARD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
        println!("MILLPOND_HAZARD_SEED={seed}");
        Self(seed)
    }

    pub fn from(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap_or(0)
    }
}
