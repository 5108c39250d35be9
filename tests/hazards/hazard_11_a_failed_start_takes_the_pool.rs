//! 11. A failed start takes the pool: one replacement that does not come up ends what all others do.
//!
//! First one start is refused, then all are. Siblings finish, the queue is kept until each job's own limit, the pool says that it is
//! degraded, then unavailable, and why; and when the system gives workers again it comes back by itself. On the settable clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Backend, EventStream, Executor, Health, JobError, JobOptions, JobStatus, LimitKind, Limits, Pool, PoolBuilder,
    PoolEvent, PoolExecutor, TimeLimit,
};
#[cfg(feature = "interpreter")]
use millpond::{Fate, Ladder, Rung, Select};

use crate::kinds::{Ground, Kind, OnThreads, Work, failure, on_every_kind, on_fresh_instances, value};
use crate::latch::Meter;
use crate::mortal::{Mortal, MortalPool, Starts, put_mortal};
use crate::patience::{at_rest, eventually};

on_every_kind!(one_start_fails, all_starts_fail);
on_fresh_instances!(one_start_fails, all_starts_fail);

const SECOND: Duration = Duration::from_secs(1);

struct Scene<K: Mortal> {
    ground: Ground,
    clock: SettableClock,
    starts: Arc<Starts>,
    pool: MortalPool<K>,
    events: EventStream,
}

fn scene<K: Mortal>(name: &str) -> Scene<K> {
    let (ground, clock, starts) = (Ground::new(), SettableClock::new(), Arc::<Starts>::default());
    let builder = K::mortal(name, &ground, &starts).limits(Limits::fixed(3)).clock(clock.clock());
    let pool = builder.build().expect("the configuration is sound");
    eventually("the workers are up", || pool.saturation().idle == 3);
    let events = pool.events();
    Scene { ground, clock, starts, pool, events }
}

/// Control has worked off all that it was told before.
fn after_control<B: Backend>(pool: &Pool<B>) {
    pool.blocking().inventory(TimeLimit::default()).expect("it answers");
}

/// Lets time pass until all three are up again.
fn comes_back<B: Backend>(pool: &Pool<B>, clock: &SettableClock) {
    eventually("it is back by itself", || {
        clock.advance(SECOND / 10);
        after_control(pool);
        pool.saturation().idle == pool.saturation().limit
    });
    after_control(pool);
    assert_eq!(pool.snapshot().health, Health::Healthy);
}

/// How bad the pool was, in that order, each once in a row.
fn told(events: &mut EventStream) -> Vec<&'static str> {
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let PoolEvent::Health(health) = event {
            told.push(match health {
                Health::Healthy => "healthy",
                Health::Degraded { .. } => "degraded",
                _ => "unavailable",
            });
        }
    }
    told.dedup();
    told
}

/// But for the moment in which a start is being tried.
#[track_caller]
fn is_unavailable<B: Backend>(pool: &Pool<B>) {
    eventually("it is unavailable", || pool.snapshot().health.is_unavailable());
}

fn one_start_fails<K: Mortal>() {
    let Scene { ground, clock, starts, pool, mut events } = scene::<K>("h11-one");
    let (latch, bodies) = (ground.latch(), Meter::default());
    let held = || put_mortal::<K>(&pool, Work::value(7).counted(&bodies).until(&latch));
    let siblings = [held(), held()];
    eventually("the siblings run", || bodies.inside() == 2);
    starts.refuse(1);
    K::crash(&pool, &ground, 1);
    eventually("the replacement was refused", || {
        pool.snapshot().health.why().is_some_and(|why| why.next_try.is_some())
    });
    // If time passed before it had also said so, the next start would be due first.
    after_control(&pool);
    let health = pool.snapshot().health;
    let Health::Degraded { missing: 1, why, .. } = &health else { panic!("{health}") };
    assert_eq!((why.refused, why.cooling), (1, 0), "{health}");
    assert!(health.to_string().contains("failed to start: the system refused the worker"), "{health}");
    assert!(siblings.iter().all(|job| job.status() == JobStatus::Running), "they do not notice");
    let queued = put_mortal::<K>(&pool, Work::value(8));
    comes_back_with(&pool, &clock, 2);
    assert_eq!(value(queued), 8, "the queue was kept");
    latch.open();
    siblings.into_iter().for_each(|job| assert_eq!(value(job), 7));
    at_rest(&pool);
    assert_eq!(told(&mut events), ["degraded", "healthy"]);
}

/// The same while so many are busy.
fn comes_back_with<B: Backend>(pool: &Pool<B>, clock: &SettableClock, busy: usize) {
    eventually("it is back by itself", || {
        clock.advance(SECOND / 10);
        after_control(pool);
        pool.saturation().workers == 3 && pool.saturation().active == busy
    });
    assert_eq!(pool.snapshot().health, Health::Healthy);
}

fn all_starts_fail<K: Mortal>() {
    let Scene { ground, clock, starts, pool, mut events } = scene::<K>("h11-all");
    let (latch, bodies) = (ground.latch(), Meter::default());
    let sibling = put_mortal::<K>(&pool, Work::value(7).counted(&bodies).until(&latch));
    eventually("the sibling runs", || bodies.inside() == 1);
    starts.refuse(usize::MAX);
    K::crash(&pool, &ground, 2);
    eventually("both are missing", || pool.saturation().missing == 2);
    assert!(pool.snapshot().health.is_degraded());
    latch.open();
    assert_eq!(value(sibling), 7, "it finishes");
    eventually("it idles", || pool.saturation().idle == 1);
    K::crash(&pool, &ground, 1);
    // The text of a fault is read aside, and comes a little after it.
    let is_told = |(_, fault): &(_, Arc<str>)| fault.contains("refused");
    let mut health = Health::Healthy;
    eventually("none is left, and the last fault is known", || {
        health = pool.snapshot().health;
        let told = health.why().is_some_and(|why| why.refused == 3 && why.last_fault.as_ref().is_some_and(is_told));
        health.is_unavailable() && told
    });
    assert_eq!(health.since(), Some(clock.now()));
    after_control(&pool);

    let waits = put_mortal::<K>(&pool, Work::value(8));
    let limited = pool.with(JobOptions::new().queue_limit(SECOND));
    let expires = limited.try_submit(K::job(Work::value(9))).expect("the queue is kept");
    let before = starts.tried();
    for _ in 0..100 {
        clock.advance(SECOND / 100);
        after_control(&pool);
    }
    let error = failure(expires);
    let JobError::TimedOut(why) = &error else { panic!("{error}") };
    assert_eq!(why.limit, LimitKind::Queue);
    assert!(error.to_string().contains("3 slots without a worker"), "{error}");
    assert_eq!(waits.status(), JobStatus::Queued, "it has no limit, and is kept");
    is_unavailable(&pool);
    // Each slot from 50 ms up, doubling: by hand, at most seven times in a second, with the jitter at its shortest.
    assert!(starts.tried() - before <= 3 * 8, "{} starts in a second", starts.tried() - before);

    starts.refuse(0);
    comes_back(&pool, &clock);
    assert_eq!(value(waits), 8);
    at_rest(&pool);
    // Degraded once more in between, unless all three came back in one tick.
    let told = told(&mut events);
    assert!(told.starts_with(&["degraded", "unavailable"]) && told.ends_with(&["healthy"]), "{told:?}");
}

/// Where threads are spawned, as a process limit would do it: from the first one on.
mod threads_that_the_system_refuses {
    use super::*;

    macro_rules! refused {
        ($($name:ident: $kind:ty),*) => {$(
            #[test]
            fn $name() {
                let builder = <$kind>::builder("h11-eagain", &Ground::new());
                let refusals = builder.refusals();
                threads_are_refused::<$kind>(builder, &refusals);
            }
        )*};
    }

    refused!(threads: OnThreads);
    #[cfg(feature = "interpreter")]
    refused!(guests: crate::kinds::OnGuests, fresh_guests: crate::kinds::OnFreshGuests);
    #[cfg(feature = "wasi")]
    refused!(commands: crate::kinds::OnCommands);
    #[cfg(feature = "lua")]
    refused!(lua: crate::kinds::OnLua);
}

fn threads_are_refused<K: Kind>(builder: PoolBuilder<K::Backend>, refusals: &AtomicUsize) {
    let clock = SettableClock::new();
    refusals.store(usize::MAX, Ordering::Release);
    let pool = builder.limits(Limits::fixed(2)).clock(clock.clock()).build();
    let pool = pool.expect("a refused thread is not the end of the pool");
    eventually("both were refused", || pool.snapshot().health.why().is_some_and(|why| why.refused == 2));
    is_unavailable(&pool);
    let waits = pool.try_submit(K::job(Work::value(4))).expect("the queue is kept");
    for _ in 0..20 {
        clock.advance(SECOND / 10);
        after_control(&pool);
    }
    is_unavailable(&pool);
    refusals.store(0, Ordering::Release);
    comes_back(&pool, &clock);
    assert_eq!(value(waits), 4);
    at_rest(&pool);
}

/// The one thread by which guests are stopped, which is asked for with the first worker of a process.
#[cfg(feature = "interpreter")]
#[test]
fn the_thread_that_all_interpreters_have_together_is_refused() {
    use crate::kinds::OnGuests;

    if crate::alone::passed_alone() {
        return;
    }
    let (ground, clock) = (Ground::new(), SettableClock::new());
    let builder = OnGuests::builder("h11-ticker", &ground).limits(Limits::fixed(1)).clock(clock.clock());
    let refusals = builder.refusals();
    // After the first the start is tried again at once.
    refusals.store(2, Ordering::Release);
    let pool = builder.build().expect("a refused thread is not the end of the pool");
    let is_told = |(_, fault): &(_, Arc<str>)| fault.contains("refused");
    let mut health = Health::Healthy;
    eventually("both starts have failed, and it is known why", || {
        health = pool.snapshot().health;
        let refused_both = refusals.load(Ordering::Acquire) == 0;
        refused_both && health.why().is_some_and(|why| why.refused == 1 && why.last_fault.as_ref().is_some_and(is_told))
    });
    let what_to_do = "refused the worker (let other threads or processes end, or raise the limit on them)";
    assert!(health.to_string().contains(what_to_do), "{health}");
    is_unavailable(&pool);
    assert_eq!(tickers(), cfg!(target_os = "linux").then_some(0), "it was that thread both times");

    comes_back(&pool, &clock);
    assert_eq!(tickers(), cfg!(target_os = "linux").then_some(1), "it was asked for again");
    let (latch, bodies) = (ground.latch(), Meter::default());
    let job = pool.try_submit(OnGuests::job(Work::value(4).counted(&bodies).until(&latch))).expect("there is a place");
    eventually("it runs", || bodies.inside() == 1);
    let ladder = Ladder::new().then(Rung::Kill, SECOND);
    let report = pool.blocking().terminate(Select::job(job.id()), ladder, TimeLimit::secs(120)).expect("it answers");
    assert_eq!(report.targets[0].fate, Fate::Killed);
    assert!(matches!(failure(job), JobError::Killed(_)));
    at_rest(&pool);
}

/// How many threads of that name this process has, on a system that tells.
#[cfg(feature = "interpreter")]
fn tickers() -> Option<usize> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    Some(names.filter(|name| name.trim_end() == "millpond-ticker").count())
}
