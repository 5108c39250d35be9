//! 1. Control starvation, continued: user code that hangs outside of any job, in a start or in the drop of what was queued.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::{Fate, JobError, JobOptions, Ladder, Lane, Limits, Pool, PoolExecutor, Select, TimeLimit};

use crate::kinds::{
    Ground, Kind, OnActors, OnThreads, Starts, Work, failure, on_every_kind, on_fresh_instances, put, value,
};
use crate::latch::{Latch, Meter, OnDrop};
use crate::patience::{CONTROL_LIMIT, at_rest, control_answers, eventually, scaled, within};

const BLOCKED_FOR: Duration = Duration::from_secs(25);
const START_LIMIT: Duration = Duration::from_secs(30);

mod a_start_never_returns {
    use super::{OnActors, OnThreads, a_start_never_returns};

    #[test]
    fn threads() {
        a_start_never_returns::<OnThreads>("h01-start", true);
    }

    #[test]
    fn actors_that_block() {
        a_start_never_returns::<OnActors>("h01-start-blocks", true);
    }

    #[test]
    fn actors_that_await() {
        a_start_never_returns::<OnActors>("h01-start-awaits", false);
    }

    #[cfg(feature = "interpreter")]
    #[test]
    fn guests() {
        a_start_never_returns::<crate::kinds::OnGuests>("h01-start", true);
    }

    #[cfg(feature = "lua")]
    #[test]
    fn lua() {
        a_start_never_returns::<crate::kinds::OnLua>("h01-start", true);
    }
}

/// One of four workers never comes up. The others work, control answers; past its limit the start is given up, and the next
/// incarnation takes the slot.
fn a_start_never_returns<K: Starts>(name: &str, block: bool) {
    let ground = Ground::new();
    let (stuck, hanging) = (ground.latch(), Meter::default());
    let (hang, hangs) = (stuck.clone(), hanging.clone());
    let is_first = AtomicBool::new(true);
    let start = move || {
        is_first.swap(false, Ordering::AcqRel).then(|| {
            drop(hangs.enter());
            hang.clone()
        })
    };
    let pool = K::starting(name, &ground, block, Arc::new(start))
        .limits(Limits::fixed(4))
        .start_limit(scaled(START_LIMIT))
        .kill_grace(scaled(Duration::from_secs(1)))
        .build()
        .expect("the configuration is sound");

    // Nothing ends that start but its limit, which may pass while this thread does not get the processor.
    eventually("one start hangs", || hanging.entered() == 1);
    eventually("the others are up", || pool.saturation().idle >= 3);
    assert_eq!(value(put::<K>(&pool, Work::value(3))), 3, "the others run jobs");
    control_answers(&pool, scaled(BLOCKED_FOR), || drop(put::<K>(&pool, Work::value(1))));

    eventually("the slot has another worker", || pool.saturation().idle == 4 && pool.saturation().starting == 0);
    assert!(pool.inventory_now().workers.iter().any(|row| row.worker.generation == 2));
    // A future can be dropped where it awaits; nothing takes a thread out of a call that blocks.
    assert_eq!(pool.saturation().abandoned, usize::from(block), "it is counted for as long as it hangs");
    stuck.open();
    at_rest(&pool);
}

// A child's start runs no code of the user's before its program's `main`; one that never says that it is ready: `process::programs`.
on_every_kind!(a_queued_jobs_drop_blocks, a_shutdown_discards_jobs_whose_drop_blocks);
on_fresh_instances!(a_queued_jobs_drop_blocks, a_shutdown_discards_jobs_whose_drop_blocks);

/// A pool whose one worker is held, and a queued job whose payload blocks whoever drops it.
struct Blocking<K: Kind> {
    pool: Pool<K::Backend>,
    held: Latch,
    stuck: Latch,
    dropping: Meter,
}

impl<K: Kind> Blocking<K> {
    fn new(name: &str, ground: &Ground) -> Self {
        // Room for all that is submitted while the worker is held.
        let pool = K::builder(name, ground)
            .limits(Limits::fixed(1))
            .default_lane(Lane::new("default").capacity(1 << 20))
            .build()
            .expect("the configuration is sound");
        let (held, bodies) = (ground.latch(), Meter::default());
        drop(put::<K>(&pool, Work::value(0).counted(&bodies).until(&held)));
        eventually("the worker is held", || bodies.inside() == 1);
        Self { pool, held, stuck: ground.latch(), dropping: Meter::default() }
    }

    fn work(&self) -> Work {
        let (stuck, dropping) = (self.stuck.clone(), self.dropping.clone());
        Work::value(0).cargo(OnDrop::new(move || {
            let _dropping = dropping.enter();
            stuck.block();
        }))
    }
}

/// It leaves the queue by its handle, by an operator, and by its limit: each at once, whoever drops the payload.
fn a_queued_jobs_drop_blocks<K: Kind>() {
    let ground = Ground::new();
    let scene = Blocking::<K>::new("h01-drop", &ground);
    let pool = &scene.pool;

    let by_handle = put::<K>(pool, scene.work());
    within(CONTROL_LIMIT, "a cancel", || by_handle.cancel());
    assert!(matches!(failure(by_handle), JobError::Cancelled(_)));

    let by_operator = put::<K>(pool, scene.work());
    let select = Select::job(by_operator.id());
    let kill = || pool.blocking().terminate(select, Ladder::kill(), TimeLimit::default());
    let report = within(CONTROL_LIMIT, "a kill", kill).expect("it answers");
    assert_eq!(report.targets[0].fate, Fate::Withdrawn);
    assert!(matches!(failure(by_operator), JobError::Cancelled(_)));

    let limited = JobOptions::new().queue_limit(Duration::from_millis(20));
    let by_limit = pool.with(limited).try_submit(K::job(scene.work())).expect("there is a place");
    assert!(matches!(failure(by_limit), JobError::TimedOut(_)));

    // Payloads whose drops hang one after the other: each gets another thread.
    eventually("a drop blocks", || scene.dropping.inside() > 0);
    control_answers(pool, scaled(BLOCKED_FOR), || drop(put::<K>(pool, Work::value(1))));
    assert!(scene.dropping.inside() > 0, "control answered while a drop blocked");
    eventually("no drop waits behind one that blocks", || scene.dropping.inside() == 3);

    scene.stuck.open();
    scene.held.open();
    at_rest(pool);
}

fn a_shutdown_discards_jobs_whose_drop_blocks<K: Kind>() {
    let ground = Ground::new();
    let scene = Blocking::<K>::new("h01-drop-shutdown", &ground);
    let queued: Vec<_> = (0..3).map(|_| put::<K>(&scene.pool, scene.work())).collect();
    let limit = TimeLimit::millis(100);
    let shut = || scene.pool.blocking().shutdown(limit);
    let report = within(limit.0 + CONTROL_LIMIT, "a shutdown", shut).expect("it answers");
    assert_eq!(report.not_started, 3);
    for handle in queued {
        assert!(matches!(failure(handle), JobError::NotStarted(_)));
    }
    eventually("a drop blocks", || scene.dropping.inside() > 0);
}
