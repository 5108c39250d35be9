//! What a pool is sent: jobs, selectors, references to actors.

use std::sync::Arc;
use std::time::Duration;

use millpond::{
    AttachError, BuildError, CloseReason, ControlError, Fate, JobOptions, Ladder, Lane, Limits, PoolExecutor,
    RejectReason, Select, TaskPool, ThreadPool, TimeLimit, Timestamp, WorkerId,
};
use tokio::runtime::Builder;

use crate::{LIMIT, builder, goes_on, pool, until};

#[test]
fn an_unknown_lane() {
    let pool = builder("bad-lane-name").lane(Lane::new("dns")).build().expect("it is built");
    let refused = pool.with(JobOptions::new().lane("dsn")).submit_blocking(|| 5).expect_err("there is none");
    assert!(matches!(refused.reason(), RejectReason::UnknownLane { lane, .. } if &**lane == "dsn"), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("`dsn`") && text.contains("`default`, `dns`"), "{text}");
    assert_eq!(refused.into_job()(), 5);
    let error = pool.blocking().terminate(Select::lane("dsn"), Ladder::kill(), LIMIT).expect_err("there is none");
    assert!(matches!(error, ControlError::Unknown { .. }) && error.to_string().contains("`dsn`"), "{error}");
    goes_on(&pool);
}

#[test]
fn an_unknown_worker_or_job() {
    let (pool, other) = (pool("bad-target"), pool("bad-target-other"));
    let worker = WorkerId { slot: u32::MAX, generation: 0 };
    let error = pool.blocking().terminate(Select::worker(worker), Ladder::kill(), LIMIT).expect_err("there is none");
    assert!(matches!(error, ControlError::Unknown { .. }) && error.to_string().contains("4294967295.0"), "{error}");
    let mut foreign = other.submit_blocking(|| ()).expect("a place");
    for _ in 0..3 {
        foreign = other.submit_blocking(|| ()).expect("a place");
    }
    let report = pool.blocking().terminate(Select::job(foreign.id()), Ladder::kill(), LIMIT).expect("it answers");
    assert_eq!(report.targets[0].fate, Fate::Stale);
    goes_on(&pool);
}

#[test]
fn a_label_of_a_megabyte() {
    let pool = pool("bad-label");
    let label = "x".repeat(1 << 20);
    let refused = pool.with(JobOptions::new().label(&label)).try_submit(|| 5).expect_err("it is too long");
    assert!(matches!(refused.reason(), RejectReason::LabelTooLong { bytes, .. } if *bytes == 1 << 20), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("1048576") && text.contains("256") && text.len() < 200, "{text}");
    assert_eq!(refused.into_job()(), 5);
    let longest = JobOptions::new().label("x".repeat(256));
    assert_eq!(pool.with(longest).try_submit(|| 6).expect("that is allowed").join().expect("it runs"), 6);
    goes_on(&pool);
}

#[test]
fn a_deadline_in_the_past() {
    let pool = pool("bad-deadline");
    for options in
        [JobOptions::new().deadline_at(Timestamp::from_nanos(0)), JobOptions::new().deadline_in(Duration::ZERO)]
    {
        let job: fn() -> u64 = || 5;
        let by_try = pool.with(options.clone()).try_submit(job).expect_err("it has passed");
        let by_wait = pool.with(options).submit_blocking(job).expect_err("it has passed");
        for (job, refused) in [by_try.into_parts(), by_wait.into_parts()] {
            assert!(matches!(refused, RejectReason::AlreadyExpired { what: "deadline", .. }), "{refused}");
            assert!(refused.to_string().contains("deadline had passed"), "{refused}");
            assert_eq!(job(), 5);
        }
    }
    goes_on(&pool);
}

#[test]
fn submit_after_shutdown() {
    let pool = pool("after-shutdown");
    pool.blocking().shutdown(LIMIT).expect("it answers");
    let job: fn() -> u64 = || 5;
    let by_try = pool.try_submit(job).expect_err("it takes no more");
    let by_wait = pool.submit_blocking(job).expect_err("it takes no more");
    for (job, refused) in [by_try.into_parts(), by_wait.into_parts()] {
        assert!(matches!(&refused, RejectReason::Closed { reason: CloseReason::Shutdown, .. }), "{refused}");
        assert!(refused.to_string().contains("it was shut down"), "{refused}");
        assert_eq!(job(), 5);
    }
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.rejected == 2, "{ledger}");
}

/// The reply is there or it is not; nobody waits for it, and what was asked for may still happen.
#[test]
fn a_control_limit_of_zero() {
    let pool = pool("bad-control-limit");
    let asked = pool.clone();
    let answers = move || {
        let (control, none) = (asked.blocking(), TimeLimit(Duration::ZERO));
        let ladder = Ladder::cooperative(Duration::ZERO);
        [
            ("inventory", control.inventory(none).err()),
            ("resize", control.resize(Limits::fixed(2), none).err()),
            ("terminate", control.terminate(Select::label("none"), ladder, none).err()),
            ("quiesce", control.quiesce(none).err()),
            ("resume", control.resume(none).err()),
        ]
    };
    for (what, error) in ends(answers) {
        let timed_out = |error| matches!(error, ControlError::TimedOut { operation, .. } if operation == what);
        let text = format!("{error:?}");
        assert!(error.is_none_or(timed_out), "{what}: {text}");
    }
    pool.blocking().inventory(LIMIT).expect("it answers those who wait");
    assert_eq!(pool.snapshot().limits, Limits::fixed(2), "what was asked for happened");
    goes_on(&pool);
    // Of a shutdown it is the limit itself, not that of the reply.
    let asked = pool.clone();
    let report = ends(move || asked.blocking().shutdown(TimeLimit(Duration::ZERO))).expect("it answers");
    assert_eq!((report.not_started, report.abandoned), (0, 0));
}

/// On a thread of its own, so that a wait without an end fails.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the thread that may hang is the test's own")]
fn ends<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let asking = std::thread::spawn(f);
    until(|| asking.is_finished());
    asking.join().expect("no panic")
}

/// Nobody would ever end such a pool: it is an error, and nothing stays behind.
#[test]
fn a_parent_that_is_dead() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let dead = pool("dead-parent").actor().get_cell();
    until(|| dead.get_status() == ractor::ActorStatus::Stopped);
    let kept = Arc::new(());
    let state = kept.clone();
    let orphan = || builder("orphan").initializer(move |_| Ok(state.clone()));
    let error = runtime.block_on(orphan().spawn_linked(dead)).expect_err("it cannot be linked");
    assert!(matches!(&error, BuildError::Actor { pool, .. } if &**pool == "orphan"), "{error}");
    assert!(error.to_string().contains("`orphan`"), "{error}");
    assert!(millpond::pools().iter().all(|pool| pool.name() != "orphan"));
    until(|| Arc::strong_count(&kept) == 1);
    goes_on(&pool("orphan"));
}

#[test]
fn a_dead_actor_reference() {
    let pool = pool("dead-reference");
    let actor = pool.actor();
    pool.blocking().shutdown(LIMIT).expect("it answers");
    until(|| actor.get_status() == ractor::ActorStatus::Stopped);
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let error = runtime.block_on(ThreadPool::from_actor(actor)).expect_err("it is dead");
    assert!(matches!(&error, AttachError::Control(ControlError::Closed { .. })), "{error}");
    assert!(error.to_string().contains("is gone"), "{error}");
    let error = runtime.block_on(ThreadPool::from_registry("dead-reference")).expect_err("nobody has the name");
    assert!(matches!(&error, AttachError::NotRegistered(name) if name == "dead-reference"), "{error}");
    let error = pool.blocking().resize(Limits::fixed(2), LIMIT).expect_err("nobody answers");
    assert!(matches!(&error, ControlError::Closed { operation: "resize", .. }), "{error}");
    assert!(error.to_string().contains("`dead-reference` is gone"), "{error}");
}

#[test]
fn a_pool_of_another_kind() {
    let pool = pool("other-kind");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let error = runtime.block_on(TaskPool::from_actor(pool.actor())).expect_err("it is none");
    assert!(matches!(error, AttachError::OtherKind { found: "thread pool", .. }), "{error}");
    goes_on(&pool);
}
