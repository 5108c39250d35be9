//! Recycling on resident memory, on a clock that the test moves, which has control look.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    BuildError, ConfigError, EventStream, Exit, Hook, HookContext, HookOptions, HookSpec, Limits, PoolEvent,
    PoolExecutor, ProcessPool, Recycle, RecycleReason, ThreadPool, TimeLimit, Verdict, WorkerId,
};

use crate::rig::{builder, pids, until};

const SECOND: Duration = Duration::from_secs(1);
/// The clock is moved while children come and go, by about a second in each millisecond: none of them is to be late for that.
const LONG: Duration = Duration::from_secs(3_600_000);
/// Far above what a child takes that has done nothing.
const BOUND: u64 = 96 << 20;
const GROWTH: usize = 128 << 20;
const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

/// Grows for good; gives back its process.
fn grow(bytes: usize) -> u32 {
    std::hint::black_box(vec![1_u8; bytes].leak());
    std::process::id()
}

struct Rig {
    pool: ProcessPool,
    clock: SettableClock,
    events: EventStream,
}

/// Those that are up, due and gone, in that order.
type Seen = Vec<(&'static str, WorkerId)>;

impl Rig {
    fn new(name: &str, limits: Limits, hook: Option<HookSpec>) -> Self {
        let clock = SettableClock::new();
        let builder = builder(name).limits(limits.idle_timeout(None)).clock(clock.clock());
        let builder = builder.recycle(Recycle::new().above_memory(BOUND)).start_limit(LONG).kill_grace(LONG);
        let builder = if let Some(hook) = hook { builder.hook_spec(hook) } else { builder };
        let pool = builder.build().unwrap();
        pids(&pool, limits.min);
        // By now control has told that they are up.
        pool.blocking().hooks(LIMIT).unwrap();
        let events = pool.events();
        Self { pool, clock, events }
    }

    /// Moves the clock, and with it the looks, until a worker has gone for its size, and another has come up: what was told until then.
    fn until_replaced(&mut self) -> Seen {
        let (mut seen, clock) = (Seen::new(), self.clock.clone());
        let of_size = |reason: RecycleReason| matches!(reason, RecycleReason::Memory(bytes) if bytes > BOUND);
        until("one has gone and another is up", || {
            clock.advance(SECOND);
            while let Some(event) = self.events.try_next() {
                match event {
                    PoolEvent::WorkerReady { worker, .. } => seen.push(("up", worker)),
                    PoolEvent::RecycleDue { worker, reason } if of_size(reason) => seen.push(("due", worker)),
                    PoolEvent::WorkerGone { worker, exit: Exit::Recycled(why) } if of_size(why) => {
                        seen.push(("gone", worker));
                    }
                    PoolEvent::Vetoed { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            ["up", "gone"].iter().all(|what| seen.iter().any(|(seen, _)| seen == what))
        });
        seen
    }
}

#[test]
fn a_child_that_has_grown_is_replaced_and_no_other() {
    let mut rig = Rig::new("grows", Limits::new(2, 3), None);
    let before = pids(&rig.pool, 2);
    let grown = rig.pool.submit_blocking(grow, GROWTH).unwrap().join().unwrap();
    let rows = rig.pool.inventory_now().workers;
    let large = rows.iter().find(|row| row.facts.pid == Some(grown)).expect("it is up").worker;
    assert!(rows.iter().all(|row| (row.worker == large) == (row.facts.resident_memory > Some(BOUND))), "{rows:?}");
    let spare = WorkerId { slot: 2, generation: 1 };
    assert_eq!(rig.until_replaced(), [("due", large), ("up", spare), ("gone", large)], "never below `min`");
    let after = pids(&rig.pool, 2);
    assert!(!after.contains(&grown) && before.iter().filter(|pid| after.contains(pid)).count() == 1);
    let snapshot = rig.pool.snapshot();
    assert!(snapshot.ledger.balances() && snapshot.health == millpond::Health::Healthy);
}

/// Denies it as long as it is told to.
struct Keeps(Arc<AtomicBool>);

impl Hook for Keeps {
    async fn recycle(&self, _cx: &HookContext, _worker: WorkerId, reason: RecycleReason) -> Verdict {
        assert!(matches!(reason, RecycleReason::Memory(bytes) if bytes > BOUND), "{reason:?}");
        if self.0.load(Ordering::Acquire) { Verdict::deny("it is warm") } else { Verdict::Allow }
    }
}

/// Denied for a minute, it is found too large again.
#[test]
fn a_child_that_a_hook_keeps_is_asked_about_again() {
    let keeps = Arc::new(AtomicBool::new(true));
    let hook = HookSpec::new("keeper", Keeps(keeps.clone())).options(HookOptions::new().limit(LONG));
    let mut rig = Rig::new("kept", Limits::fixed(1), Some(hook));
    rig.pool.submit_blocking(grow, GROWTH).unwrap().join().unwrap();
    let denied = |pool: &ProcessPool| pool.blocking().hooks(LIMIT).unwrap()[0].denied;
    for times in 1..=2 {
        until("it is denied", || {
            rig.clock.advance(SECOND);
            denied(&rig.pool) == times
        });
    }
    assert!(rig.clock.now().since(millpond::Timestamp::default()) >= SECOND * 60, "not more than once a minute");
    keeps.store(false, Ordering::Release);
    let (old, new) = (WorkerId { slot: 0, generation: 1 }, WorkerId { slot: 0, generation: 2 });
    assert_eq!(rig.until_replaced(), [("due", old), ("gone", old), ("up", new)], "there is room for no spare");
}

#[test]
fn a_bound_on_what_no_worker_has_is_refused() {
    let rule = Recycle::new().above_memory(BOUND);
    let refused = ThreadPool::builder("no-process").recycle(rule).build().expect_err("threads share their memory");
    assert!(
        matches!(&refused, BuildError::Config { conflict: ConfigError::NoMemoryOfItsOwn("thread pool"), .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("workers that are processes"), "{refused}");
    let refused = builder("nothing").recycle(Recycle::new().above_memory(0)).build().expect_err("without end");
    assert!(refused.to_string().contains("recycling at zero bytes"), "{refused}");
}
