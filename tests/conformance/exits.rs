//! Each exit of a worker says why it came about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    Backend, Capabilities, EventStream, Exit, JobCell, KillReach, Ladder, Limits, PoolBuilder, PoolEvent, PoolExecutor,
    Rung, Select, Share, StartError, Started, WorkerContext,
};
use ractor::ActorCell;

use crate::faults::{Faulty, with_faults};
use crate::rig::{LIMIT, build, fixed, hold, named, soon, until};
use crate::subject::{OnDesks, OnTasks, Subject};
use crate::task::Gate;
use crate::third_party::{Clerk, Errand};

mod told {
    use super::*;
    conform! { a_worker_that_a_ladder_stops_says_so }

    /// Whether it held a job, by which it was selected, or idled. It was not killed.
    fn a_worker_that_a_ladder_stops_says_so<S: Subject>() {
        let pool = fixed::<S>("stopped-exit", 1);
        let gate = Gate::new();
        let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
        let mut events = pool.events();
        let targets = pool.select(&Select::job(held.id())).expect("it runs");
        let stop = || Ladder::new().then(Rung::Stop, LIMIT.0);
        std::thread::scope(|scope| {
            let stopped = scope.spawn(|| soon(pool.terminate(targets.into(), stop(), LIMIT)));
            until("it is told to leave", || {
                pool.inventory_now().workers.iter().any(|row| row.state == millpond::WorkerState::Condemned)
            });
            gate.open();
            stopped.join().expect("it ends").expect("it answers");
        });
        assert_eq!(soon(held).unwrap(), 0);
        assert_eq!(exit(&mut events).to_string(), "stopped: terminated by an operator");
        until("another one is up", || pool.saturation().idle == 1);
        soon(pool.terminate(Select::all(), stop(), LIMIT)).expect("it answers");
        let exit = exit(&mut events);
        assert!(matches!(&exit, Exit::Stopped(by) if by.contains("operator")) && !exit.is_fault(), "{exit}");
    }
}

mod faulty {
    use super::*;
    with_faults! { a_worker_that_ends_by_a_fault_says_which }

    fn a_worker_that_ends_by_a_fault_says_which<S: Faulty>() {
        let pool = build::<S>("fault-exit", |builder| S::shape(builder).limits(Limits::fixed(1)));
        let mut events = pool.events();
        assert!(soon(S::lay(&pool).light()).is_err());
        let exit = exit(&mut events);
        // Whoever kills the actor of a task's worker tells nobody.
        let lost = S::KIND == OnTasks::KIND;
        assert!(if lost { matches!(exit, Exit::Lost) } else { matches!(exit, Exit::Panicked) }, "{exit}");
        assert!(exit.is_fault());
    }
}

/// The exit of the next worker that goes.
fn exit(events: &mut EventStream) -> Exit {
    loop {
        if let PoolEvent::WorkerGone { exit, .. } = soon(events.next()).expect("the pool is there") {
            return exit;
        }
    }
}

/// Clerks who go home after one errand.
struct DayLabour(Arc<AtomicUsize>);

impl Backend for DayLabour {
    type Job = JobCell<Errand, u64>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("day labour", KillReach::None)
    }

    #[expect(clippy::disallowed_methods, reason = "a backend is a home of threads")]
    fn start(&self, mut cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        self.0.fetch_add(1, Ordering::AcqRel);
        let day = move || {
            let Some(claim) = cx.next_blocking() else { return };
            claim.run(|cell, key| cell.run(key, |errand| errand()));
            cx.finish();
        };
        std::thread::Builder::new().spawn(day).map_err(StartError::Refused)?;
        Ok(Started::kept(Clerk))
    }
}

impl millpond::Hosts<Errand> for DayLabour {
    type Output = u64;
    type Payload = Errand;

    fn wrap(job: Errand) -> Errand {
        job
    }

    fn unwrap(payload: Errand) -> Errand {
        payload
    }

    fn erase(cell: Share<JobCell<Errand, u64>>) -> Share<JobCell<Errand, u64>> {
        cell
    }
}

/// It leaves without being told to: no fault, no policy, no delay; and the job that it had claimed on the way is another's.
#[test]
fn a_worker_that_is_done_is_replaced_without_a_fault() {
    let days = Arc::new(AtomicUsize::new(0));
    let builder = PoolBuilder::new(&named::<OnDesks>("finished"), DayLabour(days.clone()));
    let pool = builder.limits(Limits::fixed(1)).build().expect("it is built");
    let mut events = pool.events();
    let errand = |n| -> Errand { Box::new(move || n) };
    let jobs: Vec<_> =
        (0..5).map(|n| millpond::Executor::try_submit(&pool, errand(n)).expect("there is a place")).collect();
    for (n, job) in (0..5).zip(jobs) {
        assert_eq!(soon(job).unwrap(), n);
        let exit = exit(&mut events);
        assert!(matches!(exit, Exit::Finished) && !exit.is_fault(), "{exit}");
    }
    until("the sixth is up", || days.load(Ordering::Acquire) == 6);
    soon(pool.inventory(LIMIT)).expect("it answers");
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, PoolEvent::RestartDecided { .. }), "{event:?}");
    }
}

/// A runtime that goes takes its workers along: none of them is a fault, and none is replaced.
#[test]
fn workers_that_went_with_their_runtime_say_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let builder = OnTasks::builder(&named::<OnTasks>("runtime-exit")).runtime(runtime.handle().clone());
    let pool = builder.limits(Limits::fixed(3)).build().expect("it is built");
    until("they are up", || pool.saturation().idle == 3);
    let (mut events, mut gone) = (pool.events(), 0);
    runtime.shutdown_background();
    while let Some(event) = soon(events.next()) {
        match event {
            PoolEvent::WorkerGone { exit, .. } => {
                assert!(matches!(exit, Exit::RuntimeGone), "{exit}");
                gone += 1;
            }
            PoolEvent::RestartDecided { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    assert_eq!(gone, 3, "each of them once");
}
