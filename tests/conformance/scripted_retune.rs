//! A retune beside workers that do not come up, on the scripted backend.

use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    Exit, JobError, JobHandle, JobStatus, Lane, LaneChange, Limits, NewRestartPolicy, Pool, PoolBuilder, PoolExecutor,
    Restart, RestartPolicy, Retune, SlotHistory, Timestamp, WorkerId,
};

use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

const SECOND: Duration = Duration::from_secs(1);

/// Decides the same each time.
struct Always(Restart);

impl RestartPolicy for Always {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.0.clone()
    }
}

fn stage(what: &str, lane: Lane, policy: Restart) -> (Pool<Scripted>, Script, SettableClock) {
    let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
    let builder = PoolBuilder::new(&named::<OnThreads>(what), backend).limits(Limits::new(0, 1)).default_lane(lane);
    let pool = builder.restart_policy(Always(policy)).clock(clock.clock()).build().expect("it is built");
    (pool, script, clock)
}

fn submit(pool: &Pool<Scripted>, job: u64) -> JobHandle<u64> {
    millpond::Executor::try_submit(pool, job).expect("there is a place")
}

fn capacity(jobs: usize) -> Retune {
    Retune::new().lane(LaneChange::new("default").capacity(jobs))
}

/// The worker's first job, begun and ended.
fn serve(script: &Script, worker: WorkerId, job: u64) {
    until("it gets the job", || script.take(worker) == Some(job));
    assert!(script.finish(worker, job + 100));
}

/// The policy decides in its own time, and the back-off counts from then on.
fn back_off_is_over(pool: &Pool<Scripted>, clock: &SettableClock, so: impl Fn() -> bool) {
    until("the back-off is over", || {
        clock.advance(SECOND);
        after_control(pool);
        so()
    });
}

/// Whoever was let into a queue is no hand-over because the queue was taken away.
#[test]
fn a_start_that_fails_ends_nobody_who_was_let_into_a_queue() {
    let after = Restart::After(SECOND);
    let (pool, script, clock) = stage("queue-gone", Lane::new("default"), after);
    pool.blocking().quiesce(LIMIT).expect("it is open");
    let queued: Vec<_> = [1, 2].map(|job| submit(&pool, job)).into();
    pool.blocking().retune(capacity(0), LIMIT).expect("it can be done");
    script.refuse_next_start();
    pool.blocking().resume(LIMIT).expect("it is quiesced");
    until("the start has failed", || !pool.snapshot().health.is_healthy());
    after_control(&pool);
    assert!(queued.iter().all(|handle| handle.status() == JobStatus::Queued));
    let worker = WorkerId { slot: 0, generation: 2 };
    back_off_is_over(&pool, &clock, || script.alive() == [worker]);
    serve(&script, worker, 1);
    serve(&script, worker, 2);
    assert_eq!(queued.into_iter().map(|handle| soon(handle).unwrap()).collect::<Vec<_>>(), [101, 102]);
    // What comes now is handed over, and shares the fate of its worker's start.
    script.die(worker);
    until("its end is told", || !pool.snapshot().health.is_healthy());
    back_off_is_over(&pool, &clock, || pool.snapshot().health.is_healthy());
    script.refuse_next_start();
    let error = soon(submit(&pool, 3)).expect_err("its worker did not come up");
    assert!(matches!(error, JobError::StartFailed(_)), "{error}");
    at_rest(&pool);
}

/// A slot that was given up comes back by the policy of a retune, as by one that is set alone.
#[test]
fn a_policy_that_comes_with_other_changes_decides_about_empty_slots() {
    let (pool, script, _clock) = stage("policy-too", Lane::new("default").capacity(1), Restart::Never);
    script.refuse_next_start();
    let first = submit(&pool, 1);
    until("the slot is given up", || !pool.snapshot().health.is_healthy());
    let change = capacity(2).restart_policy(NewRestartPolicy::new(Always(Restart::After(Duration::ZERO))));
    let report = pool.blocking().retune(change, LIMIT).expect("it can be done");
    assert!(report.retuned.restart_policy);
    let second = submit(&pool, 2);
    let worker = WorkerId { slot: 0, generation: 2 };
    until("another is up", || script.alive() == [worker]);
    serve(&script, worker, 1);
    serve(&script, worker, 2);
    assert_eq!((soon(first).unwrap(), soon(second).unwrap()), (101, 102));
    at_rest(&pool);
}
