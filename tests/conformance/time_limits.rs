//! Time limits on a clock that the test moves: whichever passes first is named in the error. And invariant 5, to the tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ControlError, Executor, JobError, JobOptions, JobStatus, Ladder, Lane, LimitKind, Limits, PoolEvent, PoolExecutor,
    RejectReason, Select, TimeLimit, TimedOut,
};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{PoolOf, after_control, at_rest, build, hold, put, put_with, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{ASKED, Gate, Task};

conform! {
    the_admission_limit_ends_the_wait_at_the_gate_and_says_who_held_the_workers,
    the_queue_limit_takes_a_job_out_from_anywhere_in_the_queue_in_the_same_tick,
    the_queue_limit_holds_while_the_gate_is_quiesced,
    a_job_of_its_own_queue_limit_is_not_bound_by_its_lanes,
    the_run_limit_writes_the_outcome_in_the_same_tick_and_asks_the_job_to_stop,
    the_run_limit_takes_the_worker_of_a_job_that_does_not_listen,
    the_deadline_stands_over_the_wait_at_the_gate,
    the_deadline_stands_over_queue_and_run,
    a_job_whose_deadline_is_near_is_overtaken_by_none_that_can_wait,
    the_control_limit_ends_the_wait_for_a_reply,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn clocked<S: Subject>(what: &str, workers: usize, lane: Lane) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool = build::<S>(what, |builder| {
        builder.limits(Limits::fixed(workers)).default_lane(lane).kill_grace(SECOND).clock(clock.clock())
    });
    (pool, clock)
}

fn timed_out(error: JobError) -> Box<TimedOut> {
    match error {
        JobError::TimedOut(timed_out) => timed_out,
        other => panic!("{other}"),
    }
}

/// A task that says whether it ran.
fn telltale() -> (Task, Arc<AtomicBool>) {
    let ran = Arc::new(AtomicBool::new(false));
    let tell = ran.clone();
    let task = Task::call(move || {
        tell.store(true, Ordering::Release);
        0
    });
    (task, ran)
}

/// The newest goes first only where more work with deadlines comes than fits; otherwise who came first is first.
fn a_job_whose_deadline_is_near_is_overtaken_by_none_that_can_wait<S: Subject>() {
    let (pool, clock) = clocked::<S>("near-deadline", 1, Lane::new("default"));
    let (held, near) = (Gate::new(), Gate::new());
    let holds = hold::<S>(&pool, &held, 1);
    let hurries = put_with::<S>(&pool, JobOptions::new().deadline_in(SECOND), Task::deaf(&near));
    clock.advance(SECOND - MILLI);
    let (can_wait, overtook) = telltale();
    let can_wait = put::<S>(&pool, can_wait);
    let also_hurries = put_with::<S>(&pool, JobOptions::new().deadline_in(SECOND * 9), Task::value(3));
    // More than one is queued for the one seat, but the newest of those who can wait is no reason to pass the first one over.
    also_hurries.cancel();
    assert!(matches!(soon(also_hurries), Err(JobError::Cancelled(_))));
    held.open();
    holds.into_iter().for_each(|job| assert_eq!(soon(job).unwrap(), 0));
    until("it runs in time", || near.entered() == 1);
    assert!(!overtook.load(Ordering::Acquire), "the one without a deadline has waited");
    near.open();
    assert_eq!((soon(hurries).unwrap(), soon(can_wait).unwrap()), (0, 0));
    at_rest(&pool);
}

/// The error explains the wait: how full the pool was, and who had held a worker for longest, since when, from which line.
fn the_admission_limit_ends_the_wait_at_the_gate_and_says_who_held_the_workers<S: Subject>() {
    let lane = Lane::new("io").capacity(0).admission_limit(SECOND);
    let (pool, clock) = clocked::<S>("admission-limit", 1, lane);
    let gate = Gate::new();
    let (held, line) = (put_with::<S>(&pool, JobOptions::new().label("resize"), Task::deaf(&gate)), line!());
    until("it runs", || gate.entered() == 1);
    let mut waiter = spawn(pool.submit(S::job(Task::value(1))));
    assert_pending!(waiter.poll());
    clock.advance(SECOND - MILLI);
    assert_pending!(waiter.poll());
    clock.advance(MILLI);
    assert!(waiter.is_woken(), "within the tick");
    let refused = soon(waiter).expect_err("the limit has passed");
    let RejectReason::AdmissionTimedOut { limit, scene, .. } = refused.reason() else { panic!("{refused}") };
    assert_eq!((*limit, scene.saturation.active), (SECOND, 1));
    let worker = worker_of(&pool, &held);
    let text = refused.to_string();
    for part in [
        format!("pool `{}`, lane `io`", pool.name()),
        "1.0 s".to_owned(),
        "1/1 busy".to_owned(),
        format!("worker {worker} `resize` from {}:{line}", file!()),
    ] {
        assert!(text.contains(&part), "`{part}` is not in: {text}");
    }
    assert_eq!(S::run_here(refused.into_job()), 1);
    gate.open();
    soon(held).unwrap();
    at_rest(&pool);
    assert_eq!(pool.snapshot().ledger.rejected, 1);
}

/// Invariant 5, while no worker does anything that could notice.
fn the_queue_limit_takes_a_job_out_from_anywhere_in_the_queue_in_the_same_tick<S: Subject>() {
    let (pool, clock) = clocked::<S>("queue-limit", 1, Lane::new("io"));
    let gate = Gate::new();
    let (held, line) = (put_with::<S>(&pool, JobOptions::new().label("stuck"), Task::deaf(&gate)), line!());
    until("it runs", || gate.entered() == 1);
    let before = put::<S>(&pool, Task::value(1));
    let (task, ran) = telltale();
    let limited = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND), task);
    let behind = put::<S>(&pool, Task::value(2));
    clock.advance(SECOND - MILLI);
    assert_eq!(limited.status(), JobStatus::Queued);
    clock.advance(MILLI);
    assert_eq!(limited.status(), JobStatus::Done, "in the same tick");
    assert_eq!((pool.snapshot().ledger.expired, pool.saturation().queued), (1, 2));
    let error = timed_out(soon(limited).expect_err("it expired"));
    assert_eq!((error.limit, error.after, error.worker), (LimitKind::Queue, SECOND, None));
    let text = error.to_string();
    for part in [
        format!("pool `{}`, lane `io`: no worker within 1.0 s (1/1 busy", pool.name()),
        format!("`stuck` from {}:{line}, active 1.0 s", file!()),
    ] {
        assert!(text.contains(&part), "`{part}` is not in: {text}");
    }
    gate.open();
    assert_eq!((soon(held).unwrap(), soon(before).unwrap(), soon(behind).unwrap()), (0, 1, 2));
    at_rest(&pool);
    assert!(!ran.load(Ordering::Acquire), "it never runs");
}

/// A gate that lets nothing through stops no clock.
fn the_queue_limit_holds_while_the_gate_is_quiesced<S: Subject>() {
    let (pool, clock) = clocked::<S>("quiesced-limit", 1, Lane::new("io").queue_limit(SECOND));
    soon(pool.quiesce(TimeLimit::default())).unwrap();
    let (task, ran) = telltale();
    let handle = put::<S>(&pool, task);
    clock.advance(SECOND);
    assert_eq!(handle.status(), JobStatus::Done);
    assert_eq!(timed_out(soon(handle).expect_err("it expired")).limit, LimitKind::Queue);
    soon(pool.resume(TimeLimit::default())).unwrap();
    assert_eq!(soon(put::<S>(&pool, Task::value(4))).unwrap(), 4);
    at_rest(&pool);
    assert!(!ran.load(Ordering::Acquire));
}

/// `JobOptions::queue_limit`: "instead of the lane's limit".
fn a_job_of_its_own_queue_limit_is_not_bound_by_its_lanes<S: Subject>() {
    let (pool, clock) = clocked::<S>("own-limit", 1, Lane::new("io").queue_limit(SECOND));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let patient = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND * 10), Task::value(7));
    let ordinary = put::<S>(&pool, Task::value(8));
    clock.advance(SECOND);
    assert_eq!((patient.status(), ordinary.status()), (JobStatus::Queued, JobStatus::Done));
    gate.open();
    assert_eq!(soon(patient).unwrap(), 7);
    assert!(soon(ordinary).is_err());
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// The outcome does not wait for the job. The ladder begins with a question; a job that heeds it keeps its worker.
fn the_run_limit_writes_the_outcome_in_the_same_tick_and_asks_the_job_to_stop<S: Subject>() {
    let (pool, clock) = clocked::<S>("run-limit", 1, Lane::new("io").run_limit(SECOND));
    let mut events = pool.events();
    let gate = Gate::new();
    let handle = put_with::<S>(&pool, JobOptions::new().label("slow"), Task::polite(&gate));
    until("it runs", || gate.entered() == 1);
    let worker = worker_of(&pool, &handle);
    clock.advance(SECOND - MILLI);
    assert_eq!(handle.status(), JobStatus::Running);
    clock.advance(MILLI);
    assert_eq!(handle.status(), JobStatus::Done, "in the same tick");
    let error = timed_out(soon(handle).expect_err("it overran"));
    assert_eq!((error.limit, error.after, error.worker), (LimitKind::Run, SECOND, Some(worker)));
    assert!(error.to_string().contains(&format!("passed its run limit on worker {worker}, after 1.0 s")), "{error}");
    until(
        "the overrun is told",
        || matches!(events.try_next(), Some(PoolEvent::Overrun { worker: w, .. }) if w == worker),
    );
    let next = put::<S>(&pool, Task::value(9));
    assert_eq!(soon(next).unwrap(), 9, "the job listened, so its worker goes on");
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.expired, ledger.completed), (1, 1), "the late {ASKED} counts for nothing: {ledger}");
    at_rest(&pool);
}

/// The seat comes back either way, by a kill or by a replacement.
fn the_run_limit_takes_the_worker_of_a_job_that_does_not_listen<S: Subject>() {
    let (pool, clock) = clocked::<S>("run-limit-deaf", 1, Lane::new("io"));
    let gate = Gate::new();
    let handle = put_with::<S>(&pool, JobOptions::new().run_limit(SECOND), Task::deaf(&gate));
    until("it runs", || gate.entered() == 1);
    let worker = worker_of(&pool, &handle);
    clock.advance(SECOND);
    assert_eq!(timed_out(soon(handle).expect_err("it overran")).limit, LimitKind::Run);
    after_control(&pool);
    clock.advance(SECOND);
    let next = put::<S>(&pool, Task::value(9));
    assert_eq!(soon(next).unwrap(), 9, "another worker has its seat");
    gate.open();
    until("the first worker is gone", || pool.inventory_now().workers.iter().all(|row| row.worker != worker));
    at_rest(&pool);
    assert_eq!(pool.snapshot().ledger.expired, 1);
}

/// A deadline is one moment for the whole way; here it comes before the admission limit.
fn the_deadline_stands_over_the_wait_at_the_gate<S: Subject>() {
    let (pool, clock) = clocked::<S>("deadline-gate", 1, Lane::new("io").capacity(0).admission_limit(SECOND * 60));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut waiter = spawn(pool.with(JobOptions::new().deadline_in(SECOND)).submit(S::job(Task::value(1))));
    assert_pending!(waiter.poll());
    clock.advance(SECOND);
    let refused = soon(waiter).expect_err("the deadline has passed");
    assert!(matches!(refused.reason(), RejectReason::AdmissionTimedOut { limit: SECOND, .. }), "{refused}");
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// The same, and invariant 5.
fn the_deadline_stands_over_queue_and_run<S: Subject>() {
    let (pool, clock) = clocked::<S>("deadline", 1, Lane::new("io"));
    let gate = Gate::new();
    let deadline = clock.now().after(SECOND);
    let options = || JobOptions::new().deadline_at(deadline).run_limit(SECOND * 9).queue_limit(SECOND * 9);
    let running = put_with::<S>(&pool, options(), Task::polite(&gate));
    until("it runs", || gate.entered() == 1);
    let (task, ran) = telltale();
    let queued = put_with::<S>(&pool, options(), task);
    clock.advance(SECOND);
    assert_eq!((running.status(), queued.status()), (JobStatus::Done, JobStatus::Done));
    for (handle, ran_on_a_worker) in [(running, true), (queued, false)] {
        let error = timed_out(soon(handle).expect_err("the deadline has passed"));
        assert_eq!((error.limit, error.worker.is_some()), (LimitKind::Deadline, ran_on_a_worker));
        assert!(error.to_string().contains("deadline"), "{error}");
    }
    at_rest(&pool);
    assert!(!ran.load(Ordering::Acquire));
    assert_eq!(pool.snapshot().ledger.expired, 2);
}

/// Only the wait for the reply ends: what was asked for may still happen.
fn the_control_limit_ends_the_wait_for_a_reply<S: Subject>() {
    let (pool, clock) = clocked::<S>("control-limit", 1, Lane::new("io"));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let ladder = Ladder::cooperative(SECOND * 60);
    let mut reply = spawn(pool.terminate(Select::job(held.id()), ladder, TimeLimit(SECOND)));
    assert_pending!(reply.poll());
    clock.advance(SECOND - MILLI);
    assert_pending!(reply.poll());
    clock.advance(MILLI);
    let error = soon(reply).expect_err("the limit has passed");
    assert!(matches!(error, ControlError::TimedOut { operation: "terminate", limit: SECOND, .. }), "{error}");
    assert!(error.to_string().contains(pool.name()), "{error}");
    gate.open();
    soon(held).unwrap();
    at_rest(&pool);
}
