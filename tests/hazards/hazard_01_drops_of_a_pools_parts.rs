//! 1. Control starvation, continued: what a pool was built from is dropped when its last handle is gone, and the `Drop` blocks.
//!
//! A restart policy, what an initializer has captured, a `Worker` value: all of them the user's. Other pools' control answers meanwhile.

use std::time::Duration;

use millpond::{
    ActorPool, Exit, JobContext, Limits, PoolExecutor, Restart, RestartPolicy, SlotHistory, StartContext, StartError,
    ThreadPool, TimeLimit, Timestamp, Worker,
};

use parking_lot::Mutex;

use crate::kinds::{Ground, Kind, Work, on_every_kind, put, value};
use crate::latch::{Latch, Meter, OnDrop};
use crate::patience::{CONTROL_LIMIT, eventually, within};

on_every_kind!(a_restart_policys_drop_blocks, a_restart_policys_drop_blocks_in_a_pool_that_is_aborted);

/// A part of a pool whose drop blocks whoever does it.
struct Part {
    stuck: Latch,
    dropping: Meter,
}

type Blocks = OnDrop<Box<dyn FnOnce() + Send + Sync>>;

impl Part {
    fn new(ground: &Ground) -> Self {
        Self { stuck: ground.latch(), dropping: Meter::default() }
    }

    fn take(&self) -> Blocks {
        let (stuck, dropping) = (self.stuck.clone(), self.dropping.clone());
        OnDrop::new(Box::new(move || {
            let _dropping = dropping.enter();
            stuck.block();
        }))
    }

    /// Once somebody drops it, another pool is asked this and that, and lives on.
    fn harms_nobody(&self) {
        eventually("it is dropped", || self.dropping.inside() == 1);
        let other = ThreadPool::builder(format!("h01-parts-other-{:p}", self))
            .limits(Limits::fixed(1))
            .build()
            .expect("it is sound");
        for _ in 0..10 {
            let limit = TimeLimit::default();
            within(CONTROL_LIMIT, "inventory", || other.blocking().inventory(limit)).expect("it answers");
            within(CONTROL_LIMIT, "quiesce", || other.blocking().quiesce(limit)).expect("it answers");
            within(CONTROL_LIMIT, "resume", || other.blocking().resume(limit)).expect("it answers");
        }
        assert_eq!(other.try_submit(|| 4).expect("there is a place").join().expect("it runs"), 4);
        assert_eq!(self.dropping.inside(), 1, "all that was answered while the drop blocked");
        within(CONTROL_LIMIT, "a shutdown", || other.blocking().shutdown(TimeLimit::default())).expect("it answers");
        self.stuck.open();
        eventually("it has been dropped", || self.dropping.inside() == 0);
    }
}

struct Policy(#[expect(dead_code, reason = "it is there to be dropped")] Blocks);

impl RestartPolicy for Policy {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::After(Duration::ZERO)
    }
}

fn a_restart_policys_drop_blocks<K: Kind>() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let builder = K::builder("h01-policy-drop", &ground).limits(Limits::fixed(1)).restart_policy(Policy(part.take()));
    let pool = builder.build().expect("the configuration is sound");
    assert_eq!(value(put::<K>(&pool, Work::value(3))), 3);
    drop(pool);
    part.harms_nobody();
}

fn a_restart_policys_drop_blocks_in_a_pool_that_is_aborted<K: Kind>() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let builder = K::builder("h01-policy-abort", &ground).limits(Limits::fixed(1)).restart_policy(Policy(part.take()));
    let pool = builder.build().expect("the configuration is sound");
    assert_eq!(value(put::<K>(&pool, Work::value(3))), 3);
    within(CONTROL_LIMIT, "an abort", || pool.abort());
    drop(pool);
    part.harms_nobody();
}

/// Without a worker, so that no thread of the pool holds the initializer when it goes.
#[test]
fn an_initializers_drop_blocks() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let captured = part.take();
    let builder = ThreadPool::builder("h01-initializer-drop").limits(Limits::new(0, 1)).initializer(move |_| {
        let _captured = &captured;
        Ok(())
    });
    drop(builder.build().expect("the configuration is sound"));
    part.harms_nobody();
}

/// An error of the user's, with a drop of its own.
struct Fault(#[expect(dead_code, reason = "it is there to be dropped")] Blocks);

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fault")
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it was in vain")
    }
}

impl std::error::Error for Fault {}

/// The pool is gone when a start fails: nobody is left to take the error, and whoever drops it holds up no other pool.
#[test]
fn the_drop_of_an_error_that_comes_too_late_blocks() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let (hold, starting, fault) = (ground.latch(), Meter::default(), Mutex::new(Some(part.take())));
    let (held, begun) = (hold.clone(), starting.clone());
    let builder = ThreadPool::builder("h01-late-error").limits(Limits::fixed(1)).initializer(move |_| {
        let _begun = begun.enter();
        held.block();
        let fault = fault.lock().take().expect("one worker is started");
        Err::<(), _>(StartError::failed(Fault(fault)))
    });
    let pool = builder.build().expect("the configuration is sound");
    eventually("it starts", || starting.inside() == 1);
    let mut events = pool.events();
    pool.abort();
    // The actor has ended when its events have: what the worker signals finds nobody.
    while events.next_blocking().is_some() {}
    hold.open();
    part.harms_nobody();
}

/// Everybody who knew of a failed start has forgotten it, and last of all the events that nobody has read.
#[test]
fn the_drop_of_an_error_that_only_an_event_holds_blocks() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let fault = Mutex::new(Some(part.take()));
    let starts = Meter::default();
    let refuse = starts.clone();
    let builder = ThreadPool::builder("h01-event-error").limits(Limits::fixed(1)).initializer(move |_| {
        drop(refuse.enter());
        match (fault.lock().take(), refuse.entered()) {
            (Some(fault), _) => Err(StartError::failed(Fault(fault))),
            // Another fault of the slot takes the place of the first one.
            (None, 2) => Err(StartError::failed("once more")),
            _ => Ok(()),
        }
    });
    let pool = builder.build().expect("the configuration is sound");
    let _unread = pool.events();
    eventually("a worker is up", || pool.saturation().idle == 1);
    let limit = TimeLimit::default();
    for _ in 0..600 {
        if part.dropping.inside() == 1 {
            break;
        }
        pool.blocking().quiesce(limit).expect("it answers");
        pool.blocking().resume(limit).expect("it answers");
    }
    part.harms_nobody();
}

/// An error that the system cannot have made, in one of the system's kind.
#[test]
fn the_drop_of_an_io_errors_cause_blocks() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let fault = Mutex::new(Some(part.take()));
    let builder = ThreadPool::builder("h01-io-error").limits(Limits::fixed(1)).initializer(move |_| {
        let fault = fault.lock().take();
        fault.map_or(Ok(()), |fault| Err(StartError::Refused(std::io::Error::other(Fault(fault)))))
    });
    let pool = builder.build().expect("the configuration is sound");
    eventually("a worker is up", || pool.saturation().idle == 1);
    drop(pool);
    part.harms_nobody();
}

struct Clerk(#[expect(dead_code, reason = "it is there to be dropped")] Blocks);

impl Worker for Clerk {
    type Job = u64;
    type Output = u64;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, job: u64, _state: &mut (), _cx: &JobContext) -> u64 {
        job
    }
}

#[test]
fn a_worker_values_drop_blocks() {
    let ground = Ground::new();
    let part = Part::new(&ground);
    let builder = ActorPool::builder("h01-worker-drop", Clerk(part.take())).runtime(ground.handle());
    drop(builder.limits(Limits::new(0, 1)).build().expect("the configuration is sound"));
    part.harms_nobody();
}
