//! 17. User code under a lock, continued: a waker is the caller's code, and this one panics when it is woken.
//!
//! Whoever wakes it goes on with what it was at: a worker with its next job, the timer with its next limit, control with its next
//! message, a pool that ends with the next of those who wait.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use millpond::{
    Executor, JobError, JobOptions, JobStatus, Ladder, Lane, Limits, Pool, PoolExecutor, Select, ThreadPool, TimeLimit,
};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, put, value};
use crate::latch::{Latch, Meter};
use crate::patience::{CONTROL_LIMIT, Flag, at_rest, eventually, returns, within};

on_every_kind!(
    a_handles_waker_panics_on_its_worker,
    a_handles_waker_panics_on_the_timer,
    a_handles_waker_panics_on_control,
    a_handles_waker_panics_in_who_aborts,
    a_submitters_waker_panics_on_a_worker,
    a_submitters_waker_panics_on_the_timer,
    a_submitters_waker_panics_at_a_shutdown,
    a_readers_waker_panics_on_control,
    a_callers_waker_panics_on_control
);

/// Panics when it is woken.
struct Panics(Meter);

impl Panics {
    /// Polls once with such a waker; says when it was woken.
    fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Meter {
        Self::poll_pending(future).expect("it has to wait")
    }

    /// The same; `None`: it was ready at once.
    fn poll_pending<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<Meter> {
        let woken = Meter::default();
        let waker = Waker::from(Arc::new(Self(woken.clone())));
        future.poll(&mut Context::from_waker(&waker)).is_pending().then_some(woken)
    }
}

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        drop(self.0.enter());
        panic!("in a waker, as it was told");
    }
}

/// A pool of one worker, which is held, with so many places in its queue; its submitters may wait that long.
fn held_pool<K: Kind>(
    name: &str,
    ground: &Ground,
    capacity: usize,
    limit: Option<Duration>,
) -> (Pool<K::Backend>, Latch) {
    let pool = K::builder(name, ground)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").capacity(capacity).admission_limit(limit))
        .build()
        .expect("the configuration is sound");
    let (held, bodies) = (ground.latch(), Meter::default());
    drop(put::<K>(&pool, Work::value(0).counted(&bodies).until(&held)));
    eventually("the worker is held", || bodies.inside() == 1);
    (pool, held)
}

/// This pool works; and in another one control answers and the timer keeps limits. On threads of their own, lest whoever died of
/// the panic takes the test along.
fn all_is_well<K: Kind>(pool: &Pool<K::Backend>) {
    let asked = pool.clone();
    returns("a job", move || value(asked.submit_blocking(K::job(Work::value(3))).expect("the pool is open")));
    let asked = pool.clone();
    returns("rest", move || at_rest(&asked));
    others_are_well();
}

fn others_are_well() {
    returns("another pool", || {
        let (stuck, bodies) = (Latch::new(), Meter::default());
        let name = format!("h17-panics-other-{:?}", std::thread::current().id());
        let other = ThreadPool::builder(name).limits(Limits::fixed(1)).build().expect("the configuration is sound");
        let (hold, inside) = (stuck.clone(), bodies.clone());
        let held = other.try_submit(move || {
            let _inside = inside.enter();
            hold.block();
        });
        eventually("its worker is held", || bodies.inside() == 1);
        let limit = TimeLimit::default();
        within(CONTROL_LIMIT, "its inventory", || other.blocking().inventory(limit)).expect("it answers");
        let limited = JobOptions::new().queue_limit(Duration::from_millis(5));
        let late = other.with(limited).try_submit(|| ()).expect("there is a place");
        eventually("the timer keeps its limit", || late.status() == JobStatus::Done);
        stuck.open();
        assert!(held.expect("there was a place").join().is_ok());
    });
}

fn a_handles_waker_panics_on_its_worker<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-worker", &ground, 8, None);
    let mut first = put::<K>(&pool, Work::value(1));
    let woken = Panics::poll(Pin::new(&mut first));
    let second = put::<K>(&pool, Work::value(2));
    held.open();
    eventually("it is woken", || woken.entered() == 1);
    assert_eq!(returns("the job", move || value(first)), 1, "its outcome is there all the same");
    assert_eq!(returns("the job behind it", move || value(second)), 2);
    all_is_well::<K>(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.panicked, ledger.lost), (4, 0, 0), "{ledger}");
}

fn a_handles_waker_panics_on_the_timer<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-timer", &ground, 8, None);
    let limited = JobOptions::new().queue_limit(Duration::from_millis(20));
    let mut late = pool.with(limited).try_submit(K::job(Work::value(1))).expect("there is a place");
    let woken = Panics::poll(Pin::new(&mut late));
    eventually("it is woken", || woken.entered() == 1);
    assert!(matches!(returns("the job", move || failure(late)), JobError::TimedOut(_)));
    held.open();
    all_is_well::<K>(&pool);
}

fn a_handles_waker_panics_on_control<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-control", &ground, 8, None);
    let mut gone = put::<K>(&pool, Work::value(1));
    let woken = Panics::poll(Pin::new(&mut gone));
    let (asked, select) = (pool.clone(), Select::job(gone.id()));
    let kill = move || asked.blocking().terminate(select, Ladder::kill(), TimeLimit::default());
    returns("a kill", kill).expect("it answers");
    eventually("it is woken", || woken.entered() == 1);
    assert!(matches!(returns("the job", move || failure(gone)), JobError::Cancelled(_)));
    held.open();
    all_is_well::<K>(&pool);
}

/// The panic of the first may reach neither the others nor the caller.
fn a_handles_waker_panics_in_who_aborts<K: Kind>() {
    let ground = Ground::new();
    let (pool, _held) = held_pool::<K>("h17-panics-abort", &ground, 8, None);
    let mut handles: Vec<_> = (0..3).map(|_| put::<K>(&pool, Work::value(1))).collect();
    let woken: Vec<_> = handles.iter_mut().map(|handle| Panics::poll(Pin::new(handle))).collect();
    let aborted = pool.clone();
    returns("an abort", move || aborted.abort());
    assert!(woken.iter().all(|woken| woken.entered() == 1));
    for handle in handles {
        assert!(matches!(returns("the job", move || failure(handle)), JobError::NotStarted(_)));
    }
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    others_are_well();
}

/// Whoever reads the same events is told all the same.
fn a_readers_waker_panics_on_control<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-reader", &ground, 8, None);
    let (mut first, mut second) = (pool.events(), pool.events());
    // What control has still to tell of the worker's start comes before its answer.
    drop(pool.blocking().inventory(TimeLimit::default()).expect("it answers"));
    while first.try_next().is_some() {}
    while second.try_next().is_some() {}
    let (mut first, mut second) = (Box::pin(first.next()), Box::pin(second.next()));
    let woken = Panics::poll(first.as_mut());
    let told = Flag::new();
    assert!(told.poll(second.as_mut()).is_pending());
    let asked = pool.clone();
    returns("a drain", move || asked.blocking().quiesce(TimeLimit::default())).expect("it answers");
    eventually("both are woken", || woken.entered() == 1 && told.is_up());
    assert!(told.poll(second.as_mut()).is_ready() && told.poll(first.as_mut()).is_ready(), "the event is there");
    pool.blocking().resume(TimeLimit::default()).expect("it answers");
    held.open();
    all_is_well::<K>(&pool);
}

/// Of a reply, and of the end of a resize.
fn a_callers_waker_panics_on_control<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-caller", &ground, 8, None);
    // Control may have answered before the first poll is over: then it is asked again.
    let (mut inventory, woken) = std::iter::repeat_with(|| Box::pin(pool.inventory(TimeLimit::default())))
        .find_map(|mut asked| Panics::poll_pending(asked.as_mut()).map(|woken| (asked, woken)))
        .expect("it asks until it waits");
    eventually("it is woken", || woken.entered() == 1);
    assert!(matches!(Flag::new().poll(inventory.as_mut()), std::task::Poll::Ready(Ok(_))), "the answer is there");
    let resized = pool.blocking().resize(Limits::fixed(2), TimeLimit::default()).expect("it answers");
    drop(resized);
    let second = put::<K>(&pool, Work::value(1).until(&held));
    eventually("both workers are held", || pool.saturation().active == 2);
    let resized = pool.blocking().resize(Limits::fixed(1), TimeLimit::default()).expect("it answers");
    let mut settled = Box::pin(resized.settled());
    let woken = Panics::poll(settled.as_mut());
    held.open();
    eventually("it is woken", || woken.entered() == 1);
    assert!(Flag::new().poll(settled.as_mut()).is_ready());
    assert_eq!(returns("the second job", move || value(second)), 1);
    all_is_well::<K>(&pool);
}

fn a_submitters_waker_panics_on_a_worker<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-grant", &ground, 0, None);
    let mut first = pin!(pool.submit(K::job(Work::value(1))));
    let woken = Panics::poll(first.as_mut());
    let behind = pool.clone();
    let second = std::thread::spawn(move || behind.submit_blocking(K::job(Work::value(2))).map(value));
    eventually("both wait", || pool.saturation().waiting == 2);
    held.open();
    eventually("it is woken", || woken.entered() == 1);
    let second = returns("the one behind it", move || second.join().expect("no panic reaches it"));
    assert_eq!(second.expect("its turn comes"), 2);
    let first = ground.block_on(async { tokio::time::timeout(Duration::from_secs(30), first).await });
    assert_eq!(value(first.expect("its turn comes").expect("the pool is open")), 1);
    all_is_well::<K>(&pool);
}

fn a_submitters_waker_panics_on_the_timer<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-panics-expiry", &ground, 0, Some(Duration::from_millis(50)));
    let mut late = pin!(pool.submit(K::job(Work::value(1))));
    let woken = Panics::poll(late.as_mut());
    eventually("it is woken", || woken.entered() == 1);
    assert!(Flag::new().poll(late.as_mut()).is_ready(), "its limit has passed");
    held.open();
    all_is_well::<K>(&pool);
}

fn a_submitters_waker_panics_at_a_shutdown<K: Kind>() {
    let ground = Ground::new();
    let (pool, _held) = held_pool::<K>("h17-panics-close", &ground, 0, None);
    let mut waits: Vec<_> = (0..3).map(|_| Box::pin(pool.submit(K::job(Work::value(1))))).collect();
    let woken: Vec<_> = waits.iter_mut().map(|waits| Panics::poll(waits.as_mut())).collect();
    let ended = pool.clone();
    returns("a shutdown", move || ended.blocking().shutdown(TimeLimit::millis(500))).expect("it answers");
    eventually("all are woken", || woken.iter().all(|woken| woken.entered() == 1));
    for mut waits in waits {
        assert!(Flag::new().poll(waits.as_mut()).is_ready(), "it is told");
    }
    others_are_well();
}
