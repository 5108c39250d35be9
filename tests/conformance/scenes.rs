//! Errors explain the wait: what held the workers up is in the scene, and whose job it was is in the error.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Fate, JobError, JobOptions, Ladder, Lane, Limits, PoolBuilder, PoolExecutor, RejectReason, Restart, Scene, Select,
    StartError, TimeLimit, WorkerId,
};

use crate::faults::By;
use crate::rig::{LIMIT, PoolOf, at_rest, build, hold, offer, put, put_with, soon, until};
use crate::subject::{OnThreads, Subject};
use crate::task::{Gate, Task};

conform! {
    a_quiesced_gate_is_named_with_since_when,
    an_error_names_its_pool_its_job_and_the_line_that_submitted_it,
}

const SECOND: Duration = Duration::from_secs(1);

fn clocked<S: Subject>(
    what: &str,
    lane: Lane,
    shape: impl FnOnce(PoolBuilder<S::Backend>) -> PoolBuilder<S::Backend>,
) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool =
        build::<S>(what, |builder| shape(builder.limits(Limits::fixed(1)).default_lane(lane).clock(clock.clock())));
    (pool, clock)
}

/// The scene and the text of a refusal that says `full`.
#[track_caller]
fn refused<S: Subject>(pool: &PoolOf<S>) -> (Scene, String) {
    let refused = offer::<S>(pool, Task::value(0)).expect_err("the lane is full");
    match refused.reason() {
        RejectReason::Full { scene, .. } => ((**scene).clone(), refused.to_string()),
        other => panic!("{other}"),
    }
}

/// A pool in which all is well but that it was paused is not to look like one whose workers are stuck.
fn a_quiesced_gate_is_named_with_since_when<S: Subject>() {
    let (pool, clock) = clocked::<S>("scene-gate", Lane::new("default").capacity(1), |builder| builder);
    until("it is up", || pool.saturation().idle == 1);
    clock.advance(SECOND);
    soon(pool.quiesce(LIMIT)).unwrap();
    let limited = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND * 3), Task::value(1));
    // One place is for the worker that idles, one in the queue.
    let queued = put::<S>(&pool, Task::value(2));
    let (since, (scene, text)) = (clock.now(), refused::<S>(&pool));
    assert_eq!(scene.quiesced_since, Some(since));
    assert!(text.contains("quiesced for 0 µs"), "{text}");
    clock.advance(SECOND);
    soon(pool.quiesce(LIMIT)).unwrap();
    assert_eq!(refused::<S>(&pool).0.quiesced_since, Some(since), "asked for twice, it is the same pause");
    clock.advance(SECOND * 2);
    let text = soon(limited).expect_err("it expired").to_string();
    assert!(text.contains("quiesced for 3.0 s"), "{text}");
    soon(pool.resume(LIMIT)).unwrap();
    soon(queued).unwrap();
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = put::<S>(&pool, Task::value(2));
    let (scene, text) = refused::<S>(&pool);
    assert!(scene.quiesced_since.is_none() && !text.contains("quiesced"), "{text}");
    gate.open();
    held.into_iter().chain([queued]).for_each(|handle| assert!(soon(handle).is_ok()));
    at_rest(&pool);
}

/// Each names what it is about, so that one line in a log is enough.
fn an_error_names_its_pool_its_job_and_the_line_that_submitted_it<S: Subject>() {
    let (pool, clock) = clocked::<S>("named", Lane::new("default"), |builder| builder);
    let named = |error: &JobError, label: &str, line: u32| {
        let text = error.to_string();
        for part in [format!("pool `{}`", pool.name()), format!("`{label}` from {}:{line}", file!())] {
            assert!(text.contains(&part), "`{part}` is not in: {text}");
        }
    };
    let gate = Gate::new();
    let label = |label: &str| JobOptions::new().label(label);
    let (overrun, line) = (put_with::<S>(&pool, label("run").run_limit(SECOND), Task::polite(&gate)), line!());
    let (expired, next) = (put_with::<S>(&pool, label("wait").queue_limit(SECOND), Task::value(0)), line!());
    until("it runs", || gate.entered() == 1);
    clock.advance(SECOND);
    let error = soon(overrun).expect_err("it overran");
    assert!(matches!(&error, JobError::TimedOut(why) if why.label.as_deref() == Some("run")), "{error}");
    named(&error, "run", line);
    named(&soon(expired).expect_err("it expired"), "wait", next);
    at_rest(&pool);
    let (killed, line) = (put_with::<S>(&pool, label("kill"), Task::deaf(&gate)), line!());
    until("it runs", || gate.entered() == 2);
    soon(pool.terminate(Select::job(killed.id()), Ladder::kill(), LIMIT)).expect("it answers");
    let error = soon(killed).expect_err("it was killed");
    assert!(matches!(error, JobError::Killed(_) | JobError::Abandoned(_)), "{error}");
    named(&error, "kill", line);
    let (panicked, line) = (put_with::<S>(&pool, label("panic"), Task::panics("as told")), line!());
    let text = soon(panicked).expect_err("it panicked").to_string();
    assert!(text.contains(&format!("`panic` from {}:{line}", file!())), "{text}");
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let (queued, line) = (put_with::<S>(&pool, label("late"), Task::value(0)), line!());
    soon(pool.shutdown(TimeLimit(Duration::ZERO))).expect("it answers");
    named(&soon(queued).expect_err("it never began"), "late", line);
    assert!(soon(held).is_err());
}

/// What the initializer ran into.
#[derive(Debug, thiserror::Error)]
#[error("no session")]
struct NoSession(#[source] std::io::Error);

/// Down to the cause: "the worker's start failed" alone helps nobody.
#[test]
fn slots_without_a_worker_are_named_with_the_last_fault() {
    let refuse = |_: &millpond::StartContext| -> Result<(), StartError> {
        Err(StartError::failed(NoSession(std::io::Error::other("connection refused"))))
    };
    let shape =
        |builder: PoolBuilder<_>| builder.initializer(refuse).restart_policy(By(|| Restart::CoolDown(SECOND * 60)));
    let (pool, _clock) = clocked::<OnThreads>("scene-cooling", Lane::new("default").capacity(1), shape);
    // Its first worker may have been started before anybody listens.
    until("its slot cools down", || pool.snapshot().health.is_unavailable());
    let queued = put::<OnThreads>(&pool, Task::value(0));
    until("the fault is known", || refused::<OnThreads>(&pool).0.cooling.is_some_and(|it| it.last_fault.is_some()));
    let (scene, text) = refused::<OnThreads>(&pool);
    let cooling = scene.cooling.expect("it was there");
    let (worker, fault) = cooling.last_fault.expect("there was one");
    assert_eq!((cooling.slots, worker), (1, WorkerId { slot: 0, generation: 1 }));
    assert_eq!(&*fault, "failed to start: the worker's start failed: no session: connection refused");
    let part = "1 slot without a worker after faults, the last: 0.1 failed to start: the worker's start failed: no session: connection refused";
    assert!(text.contains(part), "{text}");
    pool.abort();
    assert!(soon(queued).is_err());
}

#[test]
fn the_worker_that_was_abandoned_longest_is_named() {
    let lane = Lane::new("default").capacity(0);
    let (pool, clock) = clocked::<OnThreads>("scene-abandoned", lane, |builder| builder.abandoned_cap(1));
    let gate = Gate::new();
    let mut lines = Vec::new();
    for round in 1..=2 {
        until("it is up", || pool.saturation().idle == 1);
        let (stuck, line) =
            (put_with::<OnThreads>(&pool, JobOptions::new().label("stuck"), Task::deaf(&gate)), line!());
        lines.push(line);
        until("it runs", || gate.entered() == round);
        let report = soon(pool.terminate(Select::job(stuck.id()), Ladder::kill(), LIMIT)).expect("it answers");
        assert_eq!(report.targets[0].fate, Fate::Abandoned);
        clock.advance(SECOND * 20);
    }
    let refused = offer::<OnThreads>(&pool, Task::value(0)).expect_err("both are lost");
    let text = refused.to_string();
    let part = format!("abandoned longest: worker 0.1 `stuck` from {}:{}, for 40.0 s", file!(), lines[0]);
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { .. }) && text.contains(&part), "{text}");
    gate.open();
    at_rest(&pool);
}
