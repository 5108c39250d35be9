//! Policies are asked on side threads that all pools share, on the real clock: one that hangs is given up after its second.

#![allow(missing_docs, reason = "the names of tests say what they guard")]
#![allow(unreachable_pub, reason = "a test crate has no outside")]
#![allow(missing_debug_implementations, reason = "nobody prints what a test is made of")]
#![allow(clippy::disallowed_methods, reason = "tests measure and pause between two looks at a condition")]

#[path = "hazards/stalls.rs"]
mod stalls;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond::{
    EventStream, Exit, Limits, PoolEvent, PoolExecutor, Restart, RestartPolicy, SlotHistory, StartError, ThreadPool,
    TimeLimit, Timestamp,
};
use parking_lot::{Mutex, const_mutex};

use stalls::Watch;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a policy may take, by its documentation.
const POLICY_LIMIT: Duration = Duration::from_secs(1);
/// A policy that hangs holds up the others for a while, so each test has the side threads to itself.
static ALONE: Mutex<()> = const_mutex(());

/// Hangs until the other end of its channel is dropped.
struct Hangs(Mutex<Receiver<()>>);

impl RestartPolicy for Hangs {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        assert!(self.0.lock().recv().is_err(), "nothing is sent");
        Restart::Never
    }
}

fn pool(name: &str, policy: impl RestartPolicy) -> ThreadPool {
    let builder = ThreadPool::builder(name).limits(Limits::fixed(1)).restart_after_panic().restart_policy(policy);
    let pool = builder.build().expect("the configuration is sound");
    let since = Instant::now();
    while pool.saturation().idle == 0 {
        assert!(since.elapsed() < PATIENCE, "it never comes up");
        sleep(Duration::from_millis(1));
    }
    pool
}

/// Its one worker ends by a fault.
fn fault(pool: &ThreadPool) {
    let job = pool.try_submit(|| assert!(black_box(false), "as told")).expect("there is a place");
    assert!(job.join().is_err());
}

#[test]
fn a_policy_that_hangs_is_replaced_after_a_second() {
    let _alone = ALONE.lock();
    let (release, hangs) = sync_channel(1);
    let pool = pool("policy-hangs", Hangs(Mutex::new(hangs)));
    let mut events = pool.events();
    let since = Instant::now();
    fault(&pool);
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    let reason = loop {
        match events.try_next() {
            Some(PoolEvent::PolicyReplaced { reason }) => break reason,
            Some(PoolEvent::RestartDecided { .. }) => panic!("nobody has decided"),
            _ => {}
        }
        assert!(since.elapsed() < PATIENCE, "it is never replaced");
        let watch = Watch::start();
        pool.blocking().inventory(TimeLimit(PATIENCE)).expect("control answers while a policy hangs");
        slowest = slowest.max(watch.net());
        rounds += 1;
        sleep(Duration::from_millis(2));
    };
    assert!(reason.contains("did not answer within 1s"), "{reason}");
    // Less a hundredth, by which the pool's clock may go otherwise.
    assert!(since.elapsed() >= POLICY_LIMIT - POLICY_LIMIT / 100, "it has a second");
    assert!(rounds > 1 && slowest < POLICY_LIMIT / 2, "{rounds} answers, the slowest after {slowest:?}");
    assert_eq!(pool.try_submit(|| 4).expect("there is a place").join().expect("a replacement runs it"), 4);
    drop(release);
}

/// Answers at once, and counts how often it is asked.
struct Innocent(Arc<AtomicUsize>);

impl RestartPolicy for Innocent {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.0.fetch_add(1, Ordering::AcqRel);
        Restart::After(Duration::ZERO)
    }
}

/// What became of a policy or a slot.
fn verdict(events: &mut EventStream) -> PoolEvent {
    loop {
        let event = events.next_blocking().expect("the pool is there");
        if matches!(event, PoolEvent::PolicyReplaced { .. } | PoolEvent::RestartDecided { .. }) {
            return event;
        }
    }
}

/// What one policy takes is not counted against the next: one that is asked late because others hang is not to blame.
#[test]
fn a_policy_that_is_asked_late_because_others_hang_is_not_replaced() {
    let _alone = ALONE.lock();
    // Each holds up those after it for a moment; so many, for longer than the limit.
    let (release, channels): (Vec<_>, Vec<_>) = (0..16).map(|_| sync_channel(1)).unzip();
    let hanging = channels.into_iter().enumerate();
    let hanging: Vec<_> = hanging.map(|(n, hangs)| pool(&format!("hangs-{n}"), Hangs(Mutex::new(hangs)))).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let innocent = pool("innocent", Innocent(asked.clone()));
    let mut events = innocent.events();
    hanging.iter().for_each(fault);
    fault(&innocent);
    let event = verdict(&mut events);
    assert!(matches!(event, PoolEvent::RestartDecided { .. }), "it was blamed: {event:?}");
    assert_eq!(asked.load(Ordering::Acquire), 1);
    assert_eq!(innocent.try_submit(|| 4).expect("there is a place").join().expect("a replacement runs it"), 4);
    drop(release);
}

/// Counts how often it is asked, and hangs each time until the other end of its channel is dropped.
struct HangsEachTime(Arc<AtomicUsize>, Mutex<Receiver<()>>);

impl RestartPolicy for HangsEachTime {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.0.fetch_add(1, Ordering::AcqRel);
        assert!(self.1.lock().recv().is_err(), "nothing is sent");
        Restart::Never
    }
}

/// Many slots of one pool have a fault at once: the policy that hangs holds one thread, and the default decides about all of them.
#[test]
fn a_policy_that_hangs_is_asked_once() {
    const WORKERS: usize = 8;
    let _alone = ALONE.lock();
    let (release, hangs) = sync_channel(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let policy = HangsEachTime(asked.clone(), Mutex::new(hangs));
    let builder = ThreadPool::builder("hangs-each-time").limits(Limits::fixed(WORKERS));
    let pool = builder.restart_after_panic().restart_policy(policy).build().expect("the configuration is sound");
    let mut events = pool.events();
    (0..WORKERS).for_each(|_| fault(&pool));
    assert!(matches!(verdict(&mut events), PoolEvent::PolicyReplaced { .. }));
    for _ in 0..WORKERS {
        let event = verdict(&mut events);
        assert!(matches!(event, PoolEvent::RestartDecided { .. }), "the default decides: {event:?}");
    }
    assert_eq!(asked.load(Ordering::Acquire), 1);
    drop(release);
}

/// An error that hangs whoever reads it, until the other end of its channel is dropped.
struct Unreadable(Mutex<Receiver<()>>);

impl std::fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        assert!(self.0.lock().recv().is_err(), "nothing is sent");
        f.write_str("at last")
    }
}

impl std::error::Error for Unreadable {}

/// A pool of at most one thread, started on demand, whose first start fails with this error; starts may take so long.
fn pool_that_fails(
    name: &str,
    fails: impl FnOnce() -> StartError + Send + 'static,
    start_limit: Duration,
) -> (ThreadPool, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let fails = Mutex::new(Some(fails));
    let builder = ThreadPool::builder(name).limits(Limits::new(0, 1)).start_limit(start_limit);
    let builder = builder.restart_policy(Innocent(asked.clone())).initializer(move |_| {
        let fails = fails.lock().take();
        fails.map_or(Ok(()), |fails| Err(fails()))
    });
    (builder.build().expect("the configuration is sound"), asked)
}

/// It is read where it was made, and that is part of the start: what it takes counts against the limit for starts, and not against the policy.
#[test]
fn an_error_that_hangs_when_it_is_read_is_a_start_that_takes_too_long() {
    let _alone = ALONE.lock();
    let (release, hangs) = sync_channel(1);
    let fails = || StartError::failed(Unreadable(Mutex::new(hangs)));
    let (pool, asked) = pool_that_fails("unreadable", fails, Duration::from_secs(1));
    let mut events = pool.events();
    let job = pool.submit_blocking(|| 4).expect("it is admitted");
    let event = verdict(&mut events);
    assert!(matches!(event, PoolEvent::RestartDecided { .. }), "the policy was blamed: {event:?}");
    assert_eq!(asked.load(Ordering::Acquire), 1);
    assert_eq!(job.join().expect("a replacement runs it"), 4);
    drop(release);
}

/// An error that notes who reads it.
#[derive(Debug)]
struct Noted(Arc<Mutex<Vec<Option<String>>>>);

impl std::fmt::Display for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.lock().push(std::thread::current().name().map(str::to_owned));
        f.write_str("no such device")
    }
}

impl std::error::Error for Noted {}

/// The first worker of a pool ends like this, and the policy is asked and not blamed.
fn exit_of(name: &str, fails: impl FnOnce() -> StartError + Send + 'static) -> Exit {
    let (pool, asked) = pool_that_fails(name, fails, PATIENCE);
    let mut events = pool.events();
    let job = pool.submit_blocking(|| 4).expect("it is admitted");
    let exit = loop {
        if let PoolEvent::WorkerGone { exit, .. } = events.next_blocking().expect("the pool is there") {
            break exit;
        }
    };
    assert!(matches!(verdict(&mut events), PoolEvent::RestartDecided { .. }));
    assert_eq!(job.join().expect("a replacement runs it"), 4);
    assert_eq!(asked.load(Ordering::Acquire), 1);
    exit
}

/// Of all threads of ours, the worker's own alone reads it, once; whoever is shown it later is shown what was read then.
#[test]
fn an_error_of_a_start_is_read_once_where_it_was_made() {
    let _alone = ALONE.lock();
    let readers = Arc::new(Mutex::new(Vec::new()));
    let noted = Noted(readers.clone());
    let exit = exit_of("noted", || StartError::failed(noted));
    assert_eq!(exit.to_string(), "failed to start: the worker's start failed: no such device");
    assert_eq!(*readers.lock(), [Some("noted-0.1".to_owned())]);
}

/// An error that cannot be read.
#[derive(Debug)]
struct Panics;

impl std::fmt::Display for Panics {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("who reads this?")
    }
}

impl std::error::Error for Panics {}

#[test]
fn an_error_that_panics_when_it_is_read_is_a_start_that_panicked() {
    let _alone = ALONE.lock();
    let told = "failed to start: the worker's start panicked: who reads this?";
    assert_eq!(exit_of("made", || StartError::failed(Panics)).to_string(), told);
    // One that somebody else made is read as it is handed on.
    assert_eq!(exit_of("handed-on", || StartError::Refused(std::io::Error::other(Panics))).to_string(), told);
}
