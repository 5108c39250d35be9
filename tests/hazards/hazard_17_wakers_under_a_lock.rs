//! 17. User code under a lock, continued: wakers belong to the caller's executor, whose code runs when they wake and when they drop.
//!
//! Here both ask the pool. None of it may happen under a lock of ours.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use millpond::{Executor, JobOptions, Ladder, Lane, Limits, Pool, PoolExecutor, Select, TimeLimit};

use crate::kinds::{Ground, Kind, Work, on_every_kind, put, value};
use crate::latch::{Latch, Meter};
use crate::patience::{FOREVER, at_rest, eventually, returns};

on_every_kind!(
    wakers_that_ask_the_pool,
    a_cancelled_waiters_waker_outlives_it_in_the_line,
    a_detached_jobs_waker_outlives_its_handle_in_the_queue
);

/// Asks the pool when it wakes, and again when it is dropped.
struct Curious<K: Kind> {
    pool: Pool<K::Backend>,
    woken: Meter,
    dropped: Meter,
}

impl<K: Kind> Curious<K> {
    fn ask(&self) {
        drop((self.pool.snapshot(), self.pool.inventory_now()));
        drop(self.pool.try_submit(K::job(Work::value(0))));
    }

    /// Polls once with such a waker, which nobody but the pool keeps. Says when that was woken, and dropped.
    fn poll<F: Future>(pool: &Pool<K::Backend>, future: Pin<&mut F>) -> (Meter, Meter) {
        let (woken, dropped) = (Meter::default(), Meter::default());
        let curious = Self { pool: pool.clone(), woken: woken.clone(), dropped: dropped.clone() };
        let waker = Waker::from(Arc::new(curious));
        assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
        (woken, dropped)
    }
}

impl<K: Kind> Wake for Curious<K> {
    fn wake(self: Arc<Self>) {
        self.ask();
        drop(self.woken.enter());
    }
}

impl<K: Kind> Drop for Curious<K> {
    fn drop(&mut self) {
        self.ask();
        drop(self.dropped.enter());
    }
}

/// A pool of one worker, which is held, with so many places in its queue; nobody's wait ends by a limit.
fn held_pool<K: Kind>(name: &str, ground: &Ground, capacity: usize) -> (Pool<K::Backend>, Latch) {
    let pool = K::builder(name, ground)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").capacity(capacity).admission_limit(None))
        .build()
        .expect("the configuration is sound");
    eventually("the worker is up", || pool.saturation().idle == 1);
    let (held, bodies) = (ground.latch(), Meter::default());
    drop(put::<K>(&pool, Work::value(0).counted(&bodies).until(&held)));
    eventually("the worker is held", || bodies.inside() == 1);
    (pool, held)
}

/// One job after the other, each as soon as it gets in; on a thread of its own, lest a deadlock takes the test along.
fn is_well<K: Kind>(pool: &Pool<K::Backend>) {
    let asked = pool.clone();
    returns("a job", move || value(asked.submit_blocking(K::job(Work::value(3))).expect("the pool is open")));
    let asked = pool.clone();
    returns("rest", move || at_rest(&asked));
}

fn wakers_that_ask_the_pool<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-wakers", &ground, 1);
    let mut queued = pin!(put::<K>(&pool, Work::value(1)));
    let of_handle = Curious::<K>::poll(&pool, queued.as_mut());
    let mut submit = Box::pin(pool.submit(K::job(Work::value(2))));
    let of_submit = Curious::<K>::poll(&pool, submit.as_mut());
    // A control reply, too: this one comes when the job that is held ends.
    let patient = Ladder::cooperative(FOREVER);
    let mut kill = Box::pin(pool.terminate(Select::active_longer_than(Duration::ZERO), patient, TimeLimit(FOREVER)));
    let of_reply = Curious::<K>::poll(&pool, kill.as_mut());
    held.open();
    let wakers = [("the handle's", of_handle), ("the submitter's", of_submit), ("the reply's", of_reply)];
    for (what, (woken, dropped)) in wakers {
        eventually(what, || woken.entered() == 1);
        drop(dropped);
    }
    drop((submit, kill));
    is_well::<K>(&pool);
}

fn a_cancelled_waiters_waker_outlives_it_in_the_line<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-waiter", &ground, 0);
    let mut submit = Box::pin(pool.submit(K::job(Work::value(1))));
    let (woken, dropped) = Curious::<K>::poll(&pool, submit.as_mut());
    drop(submit);
    held.open();
    is_well::<K>(&pool);
    eventually("its waker is dropped", || dropped.entered() == 1);
    assert_eq!(woken.entered(), 0);
}

fn a_detached_jobs_waker_outlives_its_handle_in_the_queue<K: Kind>() {
    let ground = Ground::new();
    let (pool, held) = held_pool::<K>("h17-handle", &ground, 8);
    let mut by_operator = put::<K>(&pool, Work::value(1));
    let operators = Curious::<K>::poll(&pool, Pin::new(&mut by_operator));
    let job = by_operator.id();
    drop(by_operator);
    pool.blocking().terminate(Select::job(job), Ladder::kill(), TimeLimit::default()).expect("it answers");
    let limited = JobOptions::new().queue_limit(Duration::from_millis(5));
    let mut by_limit = pool.with(limited).try_submit(K::job(Work::value(1))).expect("there is a place");
    let limits = Curious::<K>::poll(&pool, Pin::new(&mut by_limit));
    drop(by_limit);
    let left = || (pool.snapshot().ledger.cancelled, pool.snapshot().ledger.expired);
    eventually("both have left the queue", || left() == (1, 1));
    held.open();
    is_well::<K>(&pool);
    for (what, (_, dropped)) in [("the operator's", operators), ("the limit's", limits)] {
        eventually(what, || dropped.entered() == 1);
    }
}
