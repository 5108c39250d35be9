//! Extending a pool: interceptors, per-thread state, workers with state of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    ActorPool, Interceptor, JobContext, JobOptions, Ladder, Limits, PoolExecutor, RejectReason, Rung, Select,
    StartContext, StartError, ThreadPool, TimeLimit, Worker,
};
use parking_lot::Mutex;

use crate::rig::{LIMIT, at_rest, build, hold, named, put_with, soon, until};
use crate::subject::{Intercepted, OnActors, OnTasks, OnThreads, runtime};
use crate::task::{Gate, Task};

/// Notes what it is called for.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>, &'static str);

impl Interceptor for Notes {
    fn before(&self, job: &JobContext) {
        self.0.lock().push(format!("{} before {}", self.1, job.label().as_deref().unwrap_or("-")));
    }

    fn after(&self, job: &JobContext, panicked: bool) {
        let how = if panicked { "panicked" } else { "ended" };
        self.0.lock().push(format!("{} {how} {}", self.1, job.label().as_deref().unwrap_or("-")));
    }
}

struct Clumsy;

impl Interceptor for Clumsy {
    fn before(&self, _job: &JobContext) {
        panic!("before");
    }

    fn after(&self, _job: &JobContext, _panicked: bool) {
        panic!("after");
    }
}

/// On the way in as they were added, on the way out in reverse.
fn interceptors_are_called_around_each_job_in_order<S: Intercepted>() {
    let notes = Notes::default();
    let (outer, inner) = (Notes(notes.0.clone(), "outer"), Notes(notes.0.clone(), "inner"));
    let pool =
        build::<S>("around", |builder| S::interceptor(S::interceptor(builder.limits(Limits::fixed(1)), outer), inner));
    soon(put_with::<S>(&pool, JobOptions::new().label("a"), Task::value(1))).unwrap();
    assert!(soon(put_with::<S>(&pool, JobOptions::new().label("b"), Task::panics("as told"))).is_err());
    let expected = [
        "outer before a",
        "inner before a",
        "inner ended a",
        "outer ended a",
        "outer before b",
        "inner before b",
        "inner panicked b",
        "outer panicked b",
    ];
    assert_eq!(*notes.0.lock(), expected);
    at_rest(&pool);
}

/// `Interceptor`: "a panic in it is logged and changes nothing".
fn an_interceptor_that_panics_changes_nothing<S: Intercepted>() {
    let pool = build::<S>("clumsy", |builder| S::interceptor(builder.limits(Limits::fixed(1)), Clumsy));
    for n in 0..3 {
        assert_eq!(soon(put_with::<S>(&pool, JobOptions::new(), Task::value(n))).unwrap(), n);
    }
    at_rest(&pool);
    let worker = pool.inventory_now().workers[0].worker;
    assert_eq!((worker.generation, pool.snapshot().ledger.completed), (1, 3));
}

#[test]
fn interceptors_are_called_around_each_job_of_every_kind() {
    interceptors_are_called_around_each_job_in_order::<OnThreads>();
    interceptors_are_called_around_each_job_in_order::<OnTasks>();
    interceptors_are_called_around_each_job_in_order::<OnActors>();
}

#[test]
fn an_interceptor_that_panics_changes_nothing_in_any_kind() {
    an_interceptor_that_panics_changes_nothing::<OnThreads>();
    an_interceptor_that_panics_changes_nothing::<OnTasks>();
    an_interceptor_that_panics_changes_nothing::<OnActors>();
}

struct Connection {
    worker: String,
    used: usize,
}

fn connected(name: &str) -> ThreadPool {
    let connect = |cx: &StartContext| Ok(Connection { worker: format!("{}/{}", cx.pool(), cx.worker()), used: 0 });
    ThreadPool::builder(name).limits(Limits::fixed(1)).initializer(connect).build().expect("it is built")
}

/// `submit_with`: one state for each thread, and the same one for each of its jobs.
#[test]
fn a_threads_state_is_made_by_its_initializer_and_kept_between_jobs() {
    let name = named::<OnThreads>("state");
    let pool = connected(&name);
    let use_it = |connection: &mut Connection| {
        connection.used += 1;
        (connection.worker.clone(), connection.used)
    };
    let worker = format!("{name}/0.1");
    assert_eq!(pool.submit_with_blocking(use_it).unwrap().join().unwrap(), (worker.clone(), 1));
    assert_eq!(soon(soon(pool.submit_with(use_it)).unwrap()).unwrap(), (worker.clone(), 2));
    assert_eq!(pool.try_submit_with(use_it).unwrap().join().unwrap(), (worker.clone(), 3));
    let labelled = pool.with(JobOptions::new().label("db")).submit_with(use_it);
    assert_eq!(soon(soon(labelled).unwrap()).unwrap(), (worker, 4));
    assert_eq!(soon(soon(pool.submit(|| 7)).unwrap()).unwrap(), 7, "a job may do without");
    at_rest(&pool);
}

/// A job that wants another state is refused, intact, with both types named.
#[test]
fn a_job_that_wants_another_state_comes_back() {
    let pool = connected(&named::<OnThreads>("wrong-state"));
    let refused = pool.submit_with_blocking(|state: &mut Vec<u8>| state.len()).expect_err("it is no Vec");
    assert!(matches!(refused.reason(), RejectReason::WrongState { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("Vec<u8>") && text.contains("Connection") && text.contains(pool.name()), "{text}");
    assert_eq!(refused.into_job()(&mut vec![1, 2, 3]), 3);
    let refused = soon(pool.submit_with(|state: &mut u8| *state)).expect_err("it is no u8");
    assert_eq!(refused.into_job()(&mut 5), 5);
    let refused = pool.try_submit_with(|state: &mut u16| *state).expect_err("it is no u16");
    assert_eq!(refused.into_job()(&mut 6), 6);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.rejected == 3, "{ledger}");
}

/// `restart_after_panic`: "ends a thread whose job panicked, and restarts its slot".
#[test]
fn a_thread_whose_state_may_be_spoilt_is_restarted_if_that_was_asked_for() {
    let pool = ThreadPool::builder(named::<OnThreads>("spoilt"))
        .limits(Limits::fixed(1))
        .initializer(|_| Ok(0_u32))
        .restart_after_panic()
        .build()
        .expect("it is built");
    let spoil = |state: &mut u32| {
        *state = 9;
        assert!(*state == 0, "spoilt");
    };
    assert!(pool.submit_with_blocking(spoil).unwrap().join().is_err());
    assert_eq!(pool.submit_with_blocking(|state: &mut u32| *state).unwrap().join().unwrap(), 0, "a fresh state");
    assert_eq!(pool.inventory_now().workers[0].worker.generation, 2);
    at_rest(&pool);
}

/// Counts its jobs, and tells when it is stopped properly.
struct Counter {
    stopped: Arc<AtomicUsize>,
}

impl Worker for Counter {
    type Job = u64;
    type Output = u64;
    type State = u64;

    async fn start(&self, _cx: &StartContext) -> Result<u64, StartError> {
        Ok(0)
    }

    async fn handle(&self, job: u64, state: &mut u64, _cx: &JobContext) -> u64 {
        tokio::task::yield_now().await;
        assert!(job != 13, "bad luck");
        *state += job;
        *state
    }

    async fn stop(&self, state: u64) {
        self.stopped.fetch_add(usize::try_from(state).unwrap_or(0), Ordering::AcqRel);
    }
}

/// The state goes with a panic, and is handed to `stop` when the worker leaves in peace.
#[test]
fn a_worker_actor_keeps_its_state_until_it_panics_and_is_stopped_when_it_leaves() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let pool = ActorPool::builder(named::<OnActors>("counter"), Counter { stopped: stopped.clone() })
        .limits(Limits::fixed(1))
        .runtime(runtime().handle().clone())
        .build()
        .expect("it is built");
    let send = |job| soon(soon(pool.submit(job)).unwrap());
    assert_eq!((send(1).unwrap(), send(2).unwrap()), (1, 3));
    assert!(send(13).is_err());
    assert_eq!(send(5).unwrap(), 5, "a new incarnation with a new state");
    assert_eq!(stopped.load(Ordering::Acquire), 0, "one that panicked is not stopped: its state is suspect");
    let ladder = Ladder::new().then(Rung::Stop, LIMIT.0);
    soon(pool.terminate(Select::all(), ladder, LIMIT)).unwrap();
    until("the state has been handed back", || stopped.load(Ordering::Acquire) == 5);
    at_rest(&pool);
}

/// Each job is handed back or run, never both.
#[test]
fn a_shutdown_that_returns_hands_unstarted_jobs_back_in_order() {
    let pool = build::<OnActors>("returning", |builder| builder.limits(Limits::fixed(1)));
    let gate = Gate::new();
    let held = hold::<OnActors>(&pool, &gate, 1).pop().expect("one");
    let queued: Vec<_> = (10..13).map(|n| put_with::<OnActors>(&pool, JobOptions::new(), Task::value(n))).collect();
    queued[1].cancel();
    let (report, unstarted) = soon(pool.shutdown_returning(TimeLimit::millis(40))).expect("it answers");
    assert_eq!((report.not_started, report.killed + report.abandoned), (2, 1));
    assert_eq!(unstarted.into_iter().map(Task::run).collect::<Vec<_>>(), [10, 12]);
    assert!(soon(held).is_err() && queued.into_iter().all(|handle| soon(handle).is_err()));
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

/// `shutdown_returning`: "no job is lost", though nobody waits for the answer, or another call gets an error.
#[test]
fn a_shutdown_that_returns_loses_no_job_when_it_gives_no_answer() {
    let pool = build::<OnActors>("returning-later", |builder| builder.limits(Limits::fixed(1)));
    let gate = Gate::new();
    let held = hold::<OnActors>(&pool, &gate, 1).pop().expect("one");
    let queued: Vec<_> = (10..13).map(|n| put_with::<OnActors>(&pool, JobOptions::new(), Task::value(n))).collect();
    assert!(pool.take_unstarted().is_empty(), "nothing is kept before it is asked for");
    let mut call = tokio_test::task::spawn(pool.shutdown_returning(TimeLimit::millis(40)));
    assert!(call.poll().is_pending());
    drop(call);
    until("the pool is gone", || pool.actor().get_status() == ractor::ActorStatus::Stopped);
    let answer = soon(pool.shutdown_returning(LIMIT)).map(|(report, _)| report);
    assert!(matches!(answer, Err(millpond::ControlError::Closed { .. })), "{answer:?}");
    assert_eq!(pool.take_unstarted().into_iter().map(Task::run).collect::<Vec<_>>(), [10, 11, 12]);
    assert!(pool.take_unstarted().is_empty(), "each is given once");
    assert!(soon(held).is_err() && queued.into_iter().all(|handle| soon(handle).is_err()));
}
