//! What becomes of a job whose attempt failed: given to another member only if it may be, and never while it may still run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::testing::SettableClock;
use millpond::{Ended, JobError, Ladder, LimitKind, PoolExecutor, Select, TaskPool, ThreadPool};
use millpond_supervisors::mixed::{Member, MixedEnd, MixedHandle, MixedPool, MixedStatus};

use crate::rig::{FIRST, LIMIT, SECOND, Stage, beside, is_with, named, plain, scripted, soon, stage, until, waits};

fn repeatable(stage: &Stage, job: u64) -> MixedHandle<u64> {
    stage.pool.job().label("again").repeatable().try_submit(job).expect("there is a place")
}

/// What the second member was ever offered.
#[track_caller]
fn second_had_none(stage: &Stage) {
    assert_eq!(stage.members[1].0.snapshot().ledger.offered, 0);
    stage.at_rest();
}

#[test]
fn a_repeatable_job_goes_on_to_one_member_after_the_other() {
    let stage = plain("falls-back", 3, 0);
    let handle = repeatable(&stage, 7);
    assert_eq!(stage.take(0), 7);
    stage.panic(0);
    assert_eq!(stage.take(1), 7);
    is_with(&handle, "1");
    stage.panic(1);
    assert_eq!(stage.take(2), 7);
    stage.finish(2, 70);
    assert_eq!(soon(handle).unwrap(), 70);
    stage.at_rest();
    let ledger = stage.pool.ledger();
    assert_eq!((ledger.accepted, ledger.completed), (1, 1), "one job, however many attempts");
    let panicked = stage.members.iter().map(|(pool, _)| pool.snapshot().ledger.panicked);
    assert_eq!(panicked.collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn when_all_have_failed_it_ends_as_the_last_one_did_and_all_are_told() {
    let stage = plain("all-fail", 2, 0);
    let handle = repeatable(&stage, 7);
    assert_eq!(stage.take(0), 7);
    stage.panic(0);
    assert_eq!(stage.take(1), 7);
    stage.panic(1);
    let error = soon(handle).expect_err("both failed");
    assert_eq!((error.ended(), error.attempts.len()), (Ended::Panicked, 2));
    assert!(matches!(error.last(), Some(JobError::Panicked(_))), "{error}");
    assert!(
        error.to_string().contains("attempt 1 in `0`: ") && error.to_string().contains("; attempt 2 in `1`: "),
        "{error}"
    );
    stage.at_rest();
    assert_eq!(stage.pool.ledger().panicked, 1);
}

#[test]
fn a_job_that_has_begun_goes_to_nobody_else_unless_it_is_repeatable() {
    let stage = plain("once", 2, 0);
    let handle = stage.put(7);
    assert_eq!(stage.take(0), 7);
    stage.panic(0);
    assert_eq!(soon(handle).expect_err("it panicked").ended(), Ended::Panicked);
    let handle = stage.pool.job().again_if_not_begun().try_submit(8).expect("there is a place");
    assert_eq!(stage.take(0), 8);
    stage.panic(0);
    assert_eq!(soon(handle).expect_err("it panicked").attempts.len(), 1);
    second_had_none(&stage);
}

#[test]
fn a_job_that_never_began_goes_on_if_it_may_and_its_submitter_says_so() {
    let stage = plain("not-begun", 2, 9);
    let busy = stage.put(1);
    assert_eq!(stage.take(0), 1);
    let [once, again] = [stage.put(2), stage.pool.job().again_if_not_begun().try_submit(3).expect("there is a place")];
    is_with(&once, "0");
    is_with(&again, "0");
    stage.members[0].0.abort();
    assert_eq!(stage.take(1), 3);
    stage.finish(1, 30);
    assert_eq!(soon(again).unwrap(), 30);
    assert_eq!(soon(once).expect_err("it was to be given once").ended(), Ended::NotStarted);
    assert_eq!(soon(busy).expect_err("its pool has ended").ended(), Ended::Killed);
    stage.at_rest();
}

/// Whoever ends a worker from outside may want its job ended.
#[test]
fn what_loses_its_worker_without_a_word_goes_to_nobody_else() {
    let stage = plain("died", 2, 0);
    let handle = repeatable(&stage, 7);
    assert_eq!(stage.take(0), 7);
    stage.members[0].1.die(FIRST);
    assert_eq!(soon(handle).expect_err("its worker died").ended(), Ended::Killed);
    second_had_none(&stage);
}

#[test]
fn what_an_operator_kills_goes_to_nobody_else() {
    let stage = plain("killed", 2, 0);
    let handle = repeatable(&stage, 7);
    assert_eq!(stage.take(0), 7);
    let member = stage.pool.member("0").expect("it is there");
    soon(member.terminate(Select::label("again"), Ladder::kill(), LIMIT)).expect("it answers");
    assert_eq!(soon(handle).expect_err("it was killed").ended(), Ended::Killed);
    second_had_none(&stage);
}

#[test]
fn what_its_handle_cancels_goes_to_nobody_else() {
    let stage = plain("cancelled", 2, 9);
    let busy = stage.occupy(0);
    let handle = repeatable(&stage, 7);
    is_with(&handle, "0");
    handle.cancel();
    assert_eq!(soon(handle).expect_err("it was cancelled").ended(), Ended::Cancelled);
    // One that runs is asked, and ends as it sees fit; a failure after that is the last.
    stage.finish(0, 0);
    soon(busy).expect("it was run");
    let handle = repeatable(&stage, 8);
    assert_eq!(stage.take(0), 8);
    handle.cancel();
    // Behind the cancel in the mixed pool's thread: then that was heeded.
    let after = stage.put(9);
    after.cancel();
    assert_eq!(soon(after).expect_err("it was cancelled").ended(), Ended::Cancelled);
    stage.panic(0);
    assert_eq!(soon(handle).expect_err("it panicked").ended(), Ended::Panicked);
    second_had_none(&stage);
}

/// Its ladder begins then: it may still run.
#[test]
fn what_passes_its_run_limit_goes_to_nobody_else() {
    let stage = plain("overrun", 2, 0);
    let handle = stage.pool.job().run_limit(SECOND).repeatable().try_submit(7).expect("there is a place");
    assert_eq!(stage.take(0), 7);
    stage.clock.advance(SECOND);
    let error = soon(handle).expect_err("it overran");
    assert!(matches!(error.last(), Some(JobError::TimedOut(passed)) if passed.limit == LimitKind::Run), "{error}");
    second_had_none(&stage);
}

/// A member's lane may have a shorter patience than the job: that is no end of the job.
#[test]
fn what_passes_a_members_own_queue_limit_goes_on() {
    let clock = SettableClock::new();
    let ((slow, slow_script), (other, script)) = (scripted("slow", &clock, 9), scripted("slow", &clock, 9));
    let options = millpond::JobOptions::new().queue_limit(SECOND);
    let pool = MixedPool::builder(named("slow"))
        .member(Member::new(Arc::new(slow.clone())).options(options).named("slow"))
        .member(Member::new(Arc::new(other)))
        .clock(clock.clock())
        .build()
        .expect("it is built");
    let _busy = millpond::Executor::try_submit(&slow, 1).expect("there is a place");
    until("it has it", || slow_script.take(FIRST) == Some(1));
    let handle = pool.job().again_if_not_begun().try_submit(7).expect("there is a place");
    is_with(&handle, "slow");
    clock.advance(SECOND);
    until("it goes on", || script.take(FIRST) == Some(7));
    assert!(script.finish(FIRST, 70));
    assert_eq!(soon(handle).unwrap(), 70);
}

/// Of a job's deadline each attempt has what is left, and of its queue limit what its waits have left.
#[test]
fn deadline_and_queue_limit_are_the_jobs_own() {
    let stage = plain("deadline", 2, 9);
    let _busy = [stage.occupy(0), stage.occupy(1)];
    let deadline = stage.pool.job().deadline_in(SECOND * 4).repeatable();
    stage.finish(0, 0);
    let dated = deadline.try_submit(7).expect("there is a place");
    assert_eq!(stage.take(0), 7);
    stage.clock.advance(SECOND * 3);
    stage.panic(0);
    until("it is in the other's queue", || dated.member().as_deref() == Some("1"));
    stage.clock.advance(SECOND);
    let error = soon(dated).expect_err("its deadline passed");
    assert!(matches!(error.last(), Some(JobError::TimedOut(passed)) if passed.limit == LimitKind::Deadline), "{error}");
    // Paused, everybody; and so it waits here for three seconds of its four.
    for (pool, _) in &stage.members {
        soon(pool.quiesce(LIMIT)).expect("it answers");
    }
    let patient = stage.pool.job().queue_limit(SECOND * 4).try_submit(8).expect("there is a place");
    waits(&patient);
    stage.clock.advance(SECOND * 3);
    soon(stage.members[1].0.resume(LIMIT)).expect("it answers");
    until("it is in a queue", || patient.member().as_deref() == Some("1"));
    stage.clock.advance(SECOND);
    let error = soon(patient).expect_err("its queue limit passed");
    assert!(matches!(error.last(), Some(JobError::TimedOut(passed)) if passed.limit == LimitKind::Queue), "{error}");
    stage.at_rest();
}

#[test]
fn limits_pass_here_as_in_a_queue() {
    let stage = plain("limits-here", 1, 0);
    let _busy = stage.occupy(0);
    let queue = stage.pool.job().queue_limit(SECOND).try_submit(1).expect("there is a place");
    let deadline = stage.pool.job().deadline_in(SECOND * 2).try_submit(2).expect("there is a place");
    for (handle, kind) in [(queue, LimitKind::Queue), (deadline, LimitKind::Deadline)] {
        waits(&handle);
        stage.clock.advance(SECOND);
        let error = soon(handle).expect_err("its limit passed");
        assert!(matches!(error.end, MixedEnd::TimedOut { limit, .. } if limit == kind), "{error}");
    }
    stage.at_rest();
    assert_eq!(stage.pool.ledger().expired, 2);
}

/// Counts its copies.
struct Copied(Arc<AtomicUsize>);

impl Clone for Copied {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

/// A job that is given once is not copied, and need not be such that it can be.
#[test]
fn a_copy_is_made_for_each_attempt_that_may_not_be_the_last() {
    let threads = ThreadPool::builder(named("copies")).build().expect("it is built");
    let runs = || {
        move |job: &Copied| {
            let seen = job.0.clone();
            move || seen.load(Ordering::Relaxed)
        }
    };
    let pool: MixedPool<Copied, usize> = MixedPool::builder(named("copies"))
        .member(Member::adapted(Arc::new(threads), runs(), |count: usize| count))
        .build()
        .expect("it is built");
    let copies = Arc::new(AtomicUsize::new(0));
    assert_eq!(pool.submit_blocking(Copied(copies.clone())).expect("there is a place").join().unwrap(), 0);
    let again = pool.job().repeatable().submit_blocking(Copied(copies.clone())).expect("there is a place");
    assert_eq!(again.join().unwrap(), 1);
    let once: MixedPool<Box<dyn FnOnce() -> u8 + Send>, u8> = MixedPool::builder(named("closures"))
        .member(Member::new(Arc::new(ThreadPool::builder(named("closures")).build().expect("it is built"))))
        .build()
        .expect("it is built");
    assert_eq!(once.submit_blocking(Box::new(|| 8)).expect("there is a place").join().unwrap(), 8);
}

/// A wait here is one for an async caller too; and the pools may be of any kind.
#[test]
fn a_task_takes_what_a_thread_panicked_over() {
    soon(beside(async {
        let threads = ThreadPool::builder(named("thread")).build().expect("it is built");
        let tasks = TaskPool::builder(named("task")).build().expect("it is built");
        let pool: MixedPool<u64, u64> = MixedPool::builder(named("thread-task"))
            .member(Member::adapted(
                Arc::new(threads),
                |n: &u64| {
                    let n = *n;
                    move || if n > 3 { panic!("{n} is too much") } else { n }
                },
                |n: u64| n,
            ))
            .member(Member::adapted(Arc::new(tasks), |n: &u64| std::future::ready(n * 10), |n: u64| n))
            .build()
            .expect("it is built");
        for (job, output) in [(3, 3), (4, 40)] {
            let handle = pool.job().repeatable().submit(job).await.expect("there is a place");
            assert_eq!(handle.await.unwrap(), output);
        }
    }))
    .expect("it ends");
}

#[test]
fn what_has_failed_waits_for_the_next_member_in_its_turn() {
    let stage = stage("turn", 2, 0, |builder| builder);
    let busy = stage.occupy(1);
    let first = repeatable(&stage, 1);
    assert_eq!(stage.take(0), 1);
    let second = stage.put(2);
    waits(&second);
    stage.panic(0);
    // The place that the first has left is the second's; the first waits for the other member, which it has not tried.
    assert_eq!(stage.take(0), 2);
    until("the first has left the member", || first.status() == MixedStatus::Waiting);
    stage.finish(1, 0);
    soon(busy).expect("it was run");
    assert_eq!(stage.take(1), 1);
    stage.finish(1, 10);
    stage.finish(0, 20);
    assert_eq!((soon(first).unwrap(), soon(second).unwrap()), (10, 20));
}
