//! `Worker` methods that are plain functions and panic before there is a future: no different from a panic inside the future. A job has
//! panicked; a start that fails is a restart decision.

use std::future::{Future, ready};

use millpond::{
    ActorPool, Exit, JobContext, JobError, JobHandle, Lane, Limits, PoolEvent, PoolExecutor, StartContext, StartError,
    Worker,
};

use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::{OnActors, runtime};

/// Panics at once in the method that it is named after.
#[derive(Clone, Copy, PartialEq)]
enum Eager {
    Start,
    /// Only for the job 13.
    Handle,
    Stop,
}

impl Worker for Eager {
    type Job = u64;
    type Output = u64;
    type State = ();

    fn start(&self, _cx: &StartContext) -> impl Future<Output = Result<(), StartError>> + Send {
        assert!(*self != Self::Start, "no state to be had");
        ready(Ok(()))
    }

    fn handle(&self, job: u64, _state: &mut (), _cx: &JobContext) -> impl Future<Output = u64> + Send {
        assert!(*self != Self::Handle || job != 13, "not this one");
        ready(job)
    }

    fn stop(&self, (): ()) -> impl Future<Output = ()> + Send {
        assert!(*self != Self::Stop, "no way to stop");
        ready(())
    }
}

fn pool(what: &str, worker: Eager, limits: Limits, lane: Lane) -> ActorPool<Eager> {
    let builder = ActorPool::builder(named::<OnActors>(what), worker).runtime(runtime().handle().clone());
    builder.limits(limits).default_lane(lane).build().expect("it is built")
}

fn put(pool: &ActorPool<Eager>, job: u64) -> JobHandle<u64> {
    millpond::Executor::try_submit(pool, job).expect("there is a place")
}

/// The exit of the next worker that goes.
fn next_exit(events: &mut millpond::EventStream) -> Exit {
    loop {
        if let PoolEvent::WorkerGone { exit, .. } = soon(events.next()).expect("the pool is there") {
            return exit;
        }
    }
}

#[test]
fn a_job_whose_handler_panics_before_its_future_has_panicked() {
    let pool = pool("eager-handle", Eager::Handle, Limits::fixed(1), Lane::new("default"));
    let mut events = pool.events();
    assert_eq!(soon(put(&pool, 1)).unwrap(), 1);
    let (bad, next) = (put(&pool, 13), put(&pool, 2));
    let id = bad.id();
    match soon(bad).expect_err("it panics") {
        JobError::Panicked(report) => {
            assert!(report.job == id && report.message.contains("not this one"), "{report}");
            assert!(report.location.as_ref().is_some_and(|at| at.contains("eager_panics.rs")), "{report}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(soon(next).unwrap(), 2, "the next one runs, on another incarnation");
    let exit = next_exit(&mut events);
    assert!(matches!(exit, Exit::Panicked), "{exit}");
    assert_eq!(pool.inventory_now().workers[0].worker.generation, 2);
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.panicked, ledger.lost, ledger.killed), (2, 1, 0, 0), "{ledger}");
}

#[test]
fn a_start_that_panics_before_its_future_has_panicked() {
    let pool = pool("eager-start", Eager::Start, Limits::new(0, 1), Lane::new("default").capacity(0));
    let mut events = pool.events();
    let error = soon(put(&pool, 1)).expect_err("its worker does not come up");
    let JobError::StartFailed(failed) = &error else { panic!("{error}") };
    let panicked = matches!(&*failed.source, StartError::Panicked(why) if why.contains("no state to be had"));
    assert!(panicked, "{}", failed.source);
    match next_exit(&mut events) {
        Exit::FailedToStart(why) => assert!(matches!(&*why, StartError::Panicked(_)), "{why}"),
        other => panic!("{other}"),
    }
    after_control(&pool);
}

/// It was told to leave, and left: no fault, and nobody restarts it.
#[test]
fn a_worker_that_panics_as_it_stops_has_left() {
    let pool = pool("eager-stop", Eager::Stop, Limits::fixed(2), Lane::new("default"));
    until("both are up", || pool.saturation().idle == 2);
    let mut events = pool.events();
    let report = soon(pool.resize(Limits::fixed(1), LIMIT)).expect("it answers");
    assert_eq!(soon(report.settled()).len(), 1);
    let exit = next_exit(&mut events);
    assert!(matches!(exit, Exit::Retired), "{exit}");
    assert_eq!(soon(put(&pool, 3)).unwrap(), 3);
    at_rest(&pool);
}
