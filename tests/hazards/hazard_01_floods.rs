//! 1. Control starvation, continued: what one pool has to do at once must not hold up the control of all others.
//!
//! 200,000 jobs of one pool expire at the same moment, or are queued when the pool ends. Meanwhile another pool is asked, again and
//! again: most of the jobs still wait for their outcome when its first answers come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use millpond::{
    JobError, JobHandle, JobOptions, JobStatus, Lane, Limits, PoolExecutor, RejectReason, ThreadPool, TimeLimit,
};

use crate::latch::Latch;
use crate::patience::{FOREVER, at_rest, eventually, within};

const FLOOD: usize = 200_000;
/// The others' control gets so many turns at the very least while the flood is worked off.
const ANSWERS: usize = 3;

/// A pool whose one worker is stuck, with a flood of jobs behind it; and another pool.
struct Scene {
    flooded: ThreadPool,
    stuck: Latch,
    queued: Vec<JobHandle<()>>,
    beside: ThreadPool,
}

impl Scene {
    fn new(name: &str, options: &JobOptions) -> Self {
        let lane = Lane::new("default").capacity(FLOOD);
        let builder = ThreadPool::builder(name).limits(Limits::fixed(1)).default_lane(lane);
        let flooded = builder.build().expect("the configuration is sound");
        let beside = ThreadPool::builder(format!("{name}-beside")).limits(Limits::fixed(1)).build();
        let stuck = Latch::new();
        let latch = stuck.clone();
        drop(flooded.try_submit(move || latch.block()).expect("there is a place"));
        eventually("the worker is stuck", || flooded.saturation().active == 1);
        // A machine that is too slow for all of them before their deadline gets fewer.
        let queued = (0..FLOOD).map_while(|_| flooded.with(options.clone()).try_submit(|| ()).ok()).collect();
        Self { flooded, stuck, queued, beside: beside.expect("the configuration is sound") }
    }

    /// Once the first of the flood has its outcome, the other pool's control answers before the last one has.
    fn others_have_their_turn(&self) {
        eventually("the flood is under way", || self.queued[0].status() == JobStatus::Done);
        let mut answers = 0;
        while self.flooded.saturation().queued > 0 {
            self.beside.blocking().inventory(TimeLimit(FOREVER)).expect("it answers");
            // One that came with the end of the flood does not count.
            answers += usize::from(self.flooded.saturation().queued > 0);
        }
        assert!(answers >= ANSWERS, "{answers} answers while {} jobs were ended", self.queued.len());
    }

    #[track_caller]
    fn all_ended(&mut self, so: impl Fn(&JobError) -> bool) {
        for handle in self.queued.drain(..) {
            let error = within(FOREVER, "an outcome", || handle.join()).expect_err("it never began");
            assert!(matches!(&error, millpond::JoinError::Job(error) if so(error)), "{error}");
        }
    }
}

#[test]
fn jobs_that_expire_at_once() {
    let clock = millpond::Clock::real();
    let deadline = clock.now().after(Duration::from_secs(3));
    let mut scene = Scene::new("h01-expiry", &JobOptions::new().deadline_at(deadline));
    scene.others_have_their_turn();
    scene.all_ended(|error| matches!(error, JobError::TimedOut(_)));
    scene.stuck.open();
    at_rest(&scene.flooded);
}

#[test]
fn a_pool_that_is_killed() {
    let mut scene = Scene::new("h01-killed-full", &JobOptions::new());
    scene.flooded.actor().kill();
    scene.others_have_their_turn();
    scene.all_ended(|error| matches!(error, JobError::NotStarted(_)));
    scene.stuck.open();
}

#[test]
fn a_pool_that_is_shut_down() {
    let mut scene = Scene::new("h01-shut-full", &JobOptions::new());
    let report = std::thread::scope(|scope| {
        let ending = scope.spawn(|| scene.flooded.blocking().shutdown(TimeLimit(Duration::ZERO)));
        scene.others_have_their_turn();
        ending.join().expect("no panic")
    });
    // On a slow machine its last job may have come after the reply's own limit.
    if let Ok(report) = report {
        assert_eq!((report.not_started, report.abandoned), (scene.queued.len() as u64, 1), "{report}");
    }
    scene.all_ended(|error| matches!(error, JobError::NotStarted(_)));
    scene.stuck.open();
}

/// What is queued when the limit passes has not started, which is known before the last of it has its outcome: the report does not wait.
#[test]
fn a_shutdown_reports_at_its_limit() {
    /// Looks at the pool when it is woken, on the control thread.
    struct Looks {
        pool: ThreadPool,
        queued: AtomicUsize,
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.queued.store(self.pool.saturation().queued, Ordering::Release);
        }
    }

    let mut scene = Scene::new("h01-shut-on-time", &JobOptions::new());
    let (pool, flood) = (scene.flooded.clone(), scene.queued.len());
    let looks = Arc::new(Looks { pool: pool.clone(), queued: AtomicUsize::new(usize::MAX) });
    let mut shutdown = Box::pin(pool.shutdown(TimeLimit(Duration::ZERO)));
    let waker = Waker::from(looks.clone());
    // A limit of nothing at all, and then what the reply itself may take.
    assert!(shutdown.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "it is on its way");
    eventually("it is told", || looks.queued.load(Ordering::Acquire) != usize::MAX);
    let queued = looks.queued.load(Ordering::Acquire);
    assert!(queued > flood / 2, "{queued} of {flood} had no outcome when the report came");
    if let Poll::Ready(Ok(report)) = shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        assert_eq!((report.not_started, report.abandoned), (flood as u64, 1), "{report}");
    }
    scene.all_ended(|error| matches!(error, JobError::NotStarted(_)));
    scene.stuck.open();
}

/// An executor that takes its time over each task that it is to run again.
#[derive(Default)]
struct Slow(AtomicUsize);

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        let since = Instant::now();
        while since.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Submitters that wait at the gate are told when it closes.
#[test]
fn a_gate_that_closes_before_a_crowd() {
    const CROWD: usize = 20_000;
    let lane = Lane::new("default").capacity(0).admission_limit(None);
    let pool = ThreadPool::builder("h01-crowd").limits(Limits::fixed(1)).default_lane(lane).build();
    let pool = pool.expect("the configuration is sound");
    let beside = ThreadPool::builder("h01-crowd-beside").limits(Limits::fixed(1)).build();
    let beside = beside.expect("the configuration is sound");
    let stuck = Latch::new();
    let latch = stuck.clone();
    drop(pool.try_submit(move || latch.block()).expect("a worker is on its way"));
    eventually("the worker is stuck", || pool.saturation().active == 1);
    let slow = Arc::new(Slow::default());
    let waker = Waker::from(slow.clone());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Box::pin(pool.submit(|| ()))).collect();
    for waits in &mut crowd {
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let told = || slow.0.load(Ordering::Acquire);
    std::thread::scope(|scope| {
        scope.spawn(|| pool.blocking().drain(TimeLimit(FOREVER)).expect("it drains once the worker is free"));
        eventually("the first is told", || told() > 0);
        let mut answers = 0;
        while told() < CROWD {
            beside.blocking().inventory(TimeLimit(FOREVER)).expect("it answers");
            answers += usize::from(told() < CROWD);
        }
        stuck.open();
        assert!(answers >= ANSWERS, "{answers} answers while {CROWD} were told");
    });
    for mut waits in crowd {
        let Poll::Ready(Err(refused)) = waits.as_mut().poll(&mut Context::from_waker(&waker)) else {
            panic!("it was told")
        };
        assert!(matches!(refused.reason(), RejectReason::Closed { .. }), "{refused}");
    }
    at_rest(&pool);
}
