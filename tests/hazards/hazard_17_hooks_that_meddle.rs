//! 17. User code under a lock, continued: a hook that is asked about a worker calls its pool before it answers.
//!
//! About a termination, an idle exit, a recycling, the ladder of an overdue job: it reads the inventory, resizes the pool, has a termination
//! done, which it would have to be asked about itself, and at last removes itself. Each call is answered, whether it awaits or blocks its
//! thread; and what was asked about happens, as nobody denies it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::{
    ControlError, Doomed, Exit, Fate, Hook, HookContext, HookOptions, HookSpec, JobId, Ladder, Lane, Limits, Pool,
    PoolBuilder, PoolEvent, PoolExecutor, Recycle, RecycleReason, Select, TimeLimit, Verdict, Watchdog, WorkerId,
};

use crate::hazard_17_hooks_that_call_back::pool_of;
use crate::kinds::{Ground, Kind, Work, completes, on_every_kind, put, put_labelled, value};
use crate::latch::Meter;
use crate::patience::{FOREVER, at_rest, eventually};

on_every_kind!(
    a_hook_that_meddles_with_a_termination,
    a_hook_that_meddles_with_an_idle_exit,
    a_hook_that_meddles_with_a_recycling,
    a_hook_that_meddles_with_the_ladder_of_an_overdue_job
);

const LIMIT: TimeLimit = TimeLimit(FOREVER);
/// What it asks for in the middle of a question has to do without its answer. A loaded machine may keep its thread from the question for a while, and
/// one that has run out is not put to it.
const HOOK_LIMIT: Duration = Duration::from_millis(500);
const MEDDLER: &str = "meddler";
/// More than the pool has, so that only growth is asked for.
const GROWN: usize = 3;

/// When it is asked for the first time, it does all that it can.
struct Meddler {
    blocks: bool,
    /// A job that has ended. Nothing can happen to it, but hooks are asked whether it may.
    over: JobId,
    asked: AtomicUsize,
    done: Arc<AtomicUsize>,
}

impl Meddler {
    async fn meddle(&self, cx: &HookContext) -> Verdict {
        if self.asked.fetch_add(1, Ordering::AcqRel) == 0 {
            let pool = pool_of(cx);
            if self.blocks {
                Self::block(&*pool, self.over)
            } else {
                Self::wait(&*pool, self.over).await
            }
            self.done.fetch_add(1, Ordering::AcqRel);
        }
        Verdict::Allow
    }

    /// Its thread waits for its own pool.
    fn block(pool: &dyn PoolExecutor, over: JobId) {
        pool.blocking().inventory(LIMIT).expect("it answers");
        let limits = grown(pool);
        let resized = pool.blocking().resize(limits, LIMIT);
        assert_eq!(resized.expect("its default allows it").to, limits);
        let report = pool.blocking().terminate(Select::job(over), Ladder::default(), LIMIT);
        assert_eq!(report.expect("its default allows it").targets[0].fate, Fate::Finished);
        pool.blocking().remove_hook(MEDDLER, LIMIT).expect("it is there");
    }

    async fn wait(pool: &dyn PoolExecutor, over: JobId) {
        pool.inventory(LIMIT).await.expect("it answers");
        let limits = grown(pool);
        let resized = pool.resize(limits, LIMIT).await;
        assert_eq!(resized.expect("its default allows it").to, limits);
        let report = pool.terminate(Select::job(over), Ladder::default(), LIMIT).await;
        assert_eq!(report.expect("its default allows it").targets[0].fate, Fate::Finished);
        pool.remove_hook(MEDDLER, LIMIT).await.expect("it is there");
    }
}

fn grown(pool: &dyn PoolExecutor) -> Limits {
    let mut limits = pool.snapshot().limits;
    limits.max = GROWN;
    limits
}

impl Hook for Meddler {
    async fn idle_exit(&self, cx: &HookContext, _worker: WorkerId, _idle_for: Duration) -> Verdict {
        self.meddle(cx).await
    }

    async fn terminate(&self, cx: &HookContext, _targets: &[Doomed]) -> Verdict {
        self.meddle(cx).await
    }

    async fn recycle(&self, cx: &HookContext, _worker: WorkerId, _reason: RecycleReason) -> Verdict {
        self.meddle(cx).await
    }

    async fn overdue(&self, cx: &HookContext, _worker: WorkerId, _job: JobId, _silent_for: Duration) -> Verdict {
        self.meddle(cx).await
    }
}

struct Scene<K: Kind> {
    _ground: Ground,
    pool: Pool<K::Backend>,
    blocks: bool,
    over: JobId,
    done: Arc<AtomicUsize>,
}

/// Once with a hook that awaits, and once with one that blocks.
fn scenes<K: Kind>(
    name: &str,
    shape: impl Fn(PoolBuilder<K::Backend>) -> PoolBuilder<K::Backend>,
) -> impl Iterator<Item = Scene<K>> {
    [false, true].into_iter().map(move |blocks| {
        let ground = Ground::new();
        let name = format!("h17-meddles-{name}-{}", if blocks { "blocks" } else { "awaits" });
        let pool = shape(K::builder(&name, &ground)).build().expect("the configuration is sound");
        let job = put::<K>(&pool, Work::value(0));
        let over = job.id();
        completes(job);
        at_rest(&pool);
        Scene { _ground: ground, pool, blocks, over, done: Arc::default() }
    })
}

impl<K: Kind> Scene<K> {
    fn hook(&self) {
        let hook =
            Meddler { blocks: self.blocks, over: self.over, asked: AtomicUsize::new(0), done: self.done.clone() };
        let options = HookOptions::new().limit(HOOK_LIMIT);
        let hook = HookSpec::new(MEDDLER, hook).options(options);
        self.pool.blocking().set_hook(hook, LIMIT).expect("there is room");
        // Its thread is up when it is asked: a question whose limit has passed by then would not be put to it.
        self.pool.blocking().quiesce(LIMIT).expect("it is open");
        self.pool.blocking().resume(LIMIT).expect("it is quiesced");
        eventually("it has been told", || {
            let rows = self.pool.blocking().hooks(LIMIT).expect("it answers");
            rows.iter().all(|row| row.outstanding == 0)
        });
    }

    /// The next worker that leaves does so for this reason.
    #[track_caller]
    fn left(events: &mut millpond::EventStream, so: impl Fn(&Exit) -> bool) {
        loop {
            match events.next_timeout(FOREVER).expect("what was asked about happens") {
                Some(PoolEvent::WorkerGone { exit, .. }) => return assert!(so(&exit), "{exit}"),
                Some(_) => {}
                None => panic!("the pool has ended"),
            }
        }
    }

    /// All that it called was answered, and the pool is as it made it.
    #[track_caller]
    fn is_well(&self) {
        eventually("it has done all that", || self.done.load(Ordering::Acquire) == 1);
        assert_eq!(self.pool.snapshot().limits.max, GROWN);
        assert!(self.pool.blocking().hooks(LIMIT).expect("it answers").is_empty(), "it has removed itself");
        let again = self.pool.blocking().remove_hook(MEDDLER, LIMIT);
        assert!(matches!(again, Err(ControlError::Unknown { .. })), "{again:?}");
        assert_eq!(value(put::<K>(&self.pool, Work::value(3))), 3);
        at_rest(&self.pool);
    }
}

fn a_hook_that_meddles_with_a_termination<K: Kind>() {
    for scene in scenes::<K>("termination", |builder| builder.limits(Limits::fixed(1))) {
        let bodies = Meter::default();
        let job = put_labelled::<K>(&scene.pool, "victim", Work::value(5).counted(&bodies).until_cancelled());
        eventually("it runs", || bodies.inside() == 1);
        scene.hook();
        let report = scene.pool.blocking().terminate(Select::label("victim"), Ladder::cooperative(FOREVER), LIMIT);
        assert_eq!(report.expect("it is allowed").targets[0].fate, Fate::Finished);
        assert_eq!(value(job), 5, "it was asked to stop, and did");
        scene.is_well();
    }
}

fn a_hook_that_meddles_with_an_idle_exit<K: Kind>() {
    let limits = Limits::new(0, 1).idle_timeout(Duration::from_millis(5));
    for scene in scenes::<K>("idle-exit", |builder| builder.limits(limits)) {
        scene.hook();
        let mut events = scene.pool.events();
        completes(put::<K>(&scene.pool, Work::value(1)));
        Scene::<K>::left(&mut events, |exit| matches!(exit, Exit::IdleTimeout));
        scene.is_well();
    }
}

fn a_hook_that_meddles_with_a_recycling<K: Kind>() {
    let limits = Limits::fixed(1).idle_timeout(None);
    for scene in scenes::<K>("recycling", |builder| builder.limits(limits).recycle(Recycle::new().after_jobs(1))) {
        eventually("it is up", || scene.pool.saturation().idle == 1);
        scene.hook();
        let mut events = scene.pool.events();
        completes(put::<K>(&scene.pool, Work::value(1)));
        Scene::<K>::left(&mut events, |exit| matches!(exit, Exit::Recycled(_)));
        scene.is_well();
    }
}

fn a_hook_that_meddles_with_the_ladder_of_an_overdue_job<K: Kind>() {
    let watched = |builder: PoolBuilder<K::Backend>| {
        builder
            .limits(Limits::fixed(1))
            .default_lane(Lane::new("default").overdue_after(Duration::from_millis(5)))
            .watchdog(Watchdog::new(Duration::from_millis(5), Ladder::cooperative(FOREVER)))
    };
    for scene in scenes::<K>("overdue", watched) {
        eventually("it is up", || scene.pool.saturation().idle == 1);
        scene.hook();
        let job = put::<K>(&scene.pool, Work::value(6).until_cancelled());
        assert_eq!(value(job), 6, "the ladder began, and asked it to stop");
        scene.is_well();
    }
}
