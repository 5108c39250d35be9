//! Policies are asked on side threads that all pools share, on the real clock: one that hangs is given up after its second.

#![allow(missing_docs, reason = "the names of tests say what they guard")]
#![allow(clippy::disallowed_methods, reason = "tests measure and pause between two looks at a condition")]

use std::hint::black_box;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond::{
    Exit, Limits, PoolEvent, PoolExecutor, Restart, RestartPolicy, SlotHistory, ThreadPool, TimeLimit, Timestamp,
};
use parking_lot::{Mutex, const_mutex};

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
        let asked = Instant::now();
        pool.blocking().inventory(TimeLimit(PATIENCE)).expect("control answers while a policy hangs");
        slowest = slowest.max(asked.elapsed());
        rounds += 1;
        sleep(Duration::from_millis(2));
    };
    assert!(reason.contains("did not answer within 1s"), "{reason}");
    assert!(since.elapsed() >= POLICY_LIMIT, "it has a second");
    assert!(rounds > 1 && slowest < POLICY_LIMIT / 2, "{rounds} answers, the slowest after {slowest:?}");
    assert_eq!(pool.try_submit(|| 4).expect("there is a place").join().expect("a replacement runs it"), 4);
    drop(release);
}
