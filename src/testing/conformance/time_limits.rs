//! Time limits, on a clock that the body moves: whichever passes first is named in the error, and a job whose limit passed in the queue never runs.

use super::Subject;
use super::rig::{Begun, MILLI, Rig, SECOND};
use super::tether::Hold;
use crate::config::Lane;
use crate::control::{Ladder, PoolEvent, Select};
use crate::error::{ControlError, JobError, LimitKind, RejectReason, TimedOut};
use crate::executor::{PoolExecutor, TimeLimit};
use crate::job::{JobOptions, JobStatus};

fn timed_out(error: JobError) -> Box<TimedOut> {
    match error {
        JobError::TimedOut(timed_out) => timed_out,
        other => panic!("{other}"),
    }
}

pub(super) fn the_admission_limit_ends_the_wait_at_the_gate_and_says_who_held_the_workers<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("admission-limit", 1, Lane::new("io").capacity(0).admission_limit(SECOND));
    let hold = Hold::new();
    let held = pond.put_with(JobOptions::new().label("resize"), rig.deaf(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let mut waits = pond.wait_at_gate(rig.value(1));
    clock.advance(SECOND - MILLI);
    waits.waits();
    clock.advance(MILLI);
    assert!(waits.is_woken(), "within the tick");
    let refused = rig.soon(waits).expect_err("the limit has passed");
    let RejectReason::AdmissionTimedOut { limit, scene, .. } = refused.reason() else { panic!("{refused}") };
    assert_eq!((*limit, scene.saturation.active), (SECOND, 1));
    let (worker, text) = (pond.worker_of(&held), refused.to_string());
    for part in [
        format!("pool `{}`, lane `io`", pond.name()),
        "1.0 s".to_owned(),
        "1/1 busy".to_owned(),
        format!("worker {worker} `resize` from {}", file!()),
    ] {
        assert!(text.contains(&part), "`{part}` is not in: {text}");
    }
    hold.let_go();
    rig.returns([held]);
    assert_eq!(rig.answer(pond.put(refused.into_job())), 1);
    pond.at_rest();
    assert_eq!(pond.snapshot().ledger.rejected, 1);
}

/// While no worker does anything that could notice.
pub(super) fn the_queue_limit_takes_a_job_out_from_anywhere_in_the_queue_in_the_same_tick<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("queue-limit", 1, Lane::new("io"));
    let (hold, late) = (Hold::new(), Hold::new());
    let held = pond.put_with(JobOptions::new().label("stuck"), rig.deaf(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let before = pond.put(rig.value(1));
    let limited = pond.put_with(JobOptions::new().queue_limit(SECOND), rig.deaf(&late));
    let behind = pond.put(rig.value(2));
    clock.advance(SECOND - MILLI);
    assert_eq!(limited.status(), JobStatus::Queued);
    clock.advance(MILLI);
    assert_eq!(limited.status(), JobStatus::Done, "in the same tick");
    assert_eq!((pond.snapshot().ledger.expired, pond.saturation().queued), (1, 2));
    let error = timed_out(rig.fails(limited));
    assert_eq!((error.limit, error.after, error.worker), (LimitKind::Queue, SECOND, None));
    let text = error.to_string();
    for part in [
        format!("pool `{}`, lane `io`: no worker within 1.0 s (1/1 busy", pond.name()),
        format!("`stuck` from {}", file!()),
        "active 1.0 s".to_owned(),
    ] {
        assert!(text.contains(&part), "`{part}` is not in: {text}");
    }
    hold.let_go();
    rig.returns([held]);
    assert_eq!((rig.answer(before), rig.answer(behind)), (1, 2));
    pond.at_rest();
    assert_eq!(late.begun(), 0, "it never runs");
    rig.until("it is dropped", || late.held() == 0);
}

/// A gate that lets nothing through stops no clock.
pub(super) fn the_queue_limit_holds_while_the_gate_is_quiesced<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("quiesced-limit", 1, Lane::new("io").queue_limit(SECOND));
    rig.soon(pond.quiesce(rig.limit())).expect("it answers");
    let late = Hold::new();
    let handle = pond.put(rig.deaf(&late));
    clock.advance(SECOND);
    assert_eq!(handle.status(), JobStatus::Done);
    assert_eq!(timed_out(rig.fails(handle)).limit, LimitKind::Queue);
    rig.soon(pond.resume(rig.limit())).expect("it answers");
    assert_eq!(rig.answer(pond.put(rig.value(4))), 4);
    pond.at_rest();
    assert_eq!(late.begun(), 0);
}

pub(super) fn a_job_of_its_own_queue_limit_is_not_bound_by_its_lanes<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("own-limit", 1, Lane::new("io").queue_limit(SECOND));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let patient = pond.put_with(JobOptions::new().queue_limit(SECOND * 10), rig.value(7));
    let ordinary = pond.put(rig.value(8));
    clock.advance(SECOND);
    assert_eq!((patient.status(), ordinary.status()), (JobStatus::Queued, JobStatus::Done));
    hold.let_go();
    assert_eq!(rig.answer(patient), 7);
    timed_out(rig.fails(ordinary));
    rig.returns(held);
    pond.at_rest();
}

/// The outcome does not wait for the job. The ladder begins with a question; a job that heeds it keeps its worker.
pub(super) fn the_run_limit_writes_the_outcome_in_the_same_tick_and_asks_the_job_to_stop<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("run-limit", 1, Lane::new("io").run_limit(SECOND));
    let mut events = pond.events();
    let hold = Hold::new();
    let handle = pond.put_with(JobOptions::new().label("slow"), rig.polite(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let worker = pond.worker_of(&handle);
    clock.advance(SECOND - MILLI);
    assert_eq!(handle.status(), JobStatus::Running);
    clock.advance(MILLI);
    assert_eq!(handle.status(), JobStatus::Done, "in the same tick");
    let error = timed_out(rig.fails(handle));
    assert_eq!((error.limit, error.after, error.worker), (LimitKind::Run, SECOND, Some(worker)));
    assert!(error.to_string().contains(&format!("passed its run limit on worker {worker}, after 1.0 s")), "{error}");
    rig.event(&mut events, |event| match event {
        PoolEvent::Overrun { worker: overran, .. } if overran == worker => Some(()),
        _ => None,
    });
    assert_eq!(rig.answer(pond.put(rig.value(9))), 9);
    pond.at_rest();
    assert_eq!(pond.workers(), [worker], "the job listened, so its worker goes on");
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.expired, ledger.completed), (1, 1), "what it gave late counts for nothing: {ledger}");
}

/// The seat comes back either way, by a kill or by a replacement.
pub(super) fn the_run_limit_takes_the_worker_of_a_job_that_does_not_listen<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("run-limit-deaf", 1, Lane::new("io"));
    let hold = Hold::new();
    let handle = pond.put_with(JobOptions::new().run_limit(SECOND), rig.deaf(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let worker = pond.worker_of(&handle);
    clock.advance(SECOND);
    assert_eq!(timed_out(rig.fails(handle)).limit, LimitKind::Run);
    pond.after_control();
    clock.advance(SECOND);
    assert_eq!(rig.answer(pond.put(rig.value(9))), 9, "another worker has its seat");
    hold.let_go();
    rig.until("the first worker is gone", || !pond.workers().contains(&worker));
    pond.at_rest();
    assert_eq!(pond.snapshot().ledger.expired, 1);
}

/// A deadline is one moment for the whole way; here it comes before the admission limit.
pub(super) fn the_deadline_stands_over_the_wait_at_the_gate<S: Subject>(rig: Rig<'_, S>) {
    let lane = Lane::new("io").capacity(0).admission_limit(SECOND * 60);
    let (pond, clock) = rig.clocked("deadline-gate", 1, lane);
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let waits = Begun::new(pond.with(JobOptions::new().deadline_in(SECOND)).submit(rig.value(1)));
    clock.advance(SECOND);
    let refused = rig.soon(waits).expect_err("the deadline has passed");
    assert!(matches!(refused.reason(), RejectReason::AdmissionTimedOut { limit: SECOND, .. }), "{refused}");
    hold.let_go();
    rig.returns(held);
    pond.at_rest();
}

pub(super) fn the_deadline_stands_over_queue_and_run<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("deadline", 1, Lane::new("io"));
    let (hold, late) = (Hold::new(), Hold::new());
    let deadline = clock.now().after(SECOND);
    let options = || JobOptions::new().deadline_at(deadline).run_limit(SECOND * 9).queue_limit(SECOND * 9);
    let running = pond.put_with(options(), rig.polite(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let queued = pond.put_with(options(), rig.deaf(&late));
    clock.advance(SECOND);
    assert_eq!((running.status(), queued.status()), (JobStatus::Done, JobStatus::Done));
    for (handle, ran_on_a_worker) in [(running, true), (queued, false)] {
        let error = timed_out(rig.fails(handle));
        assert_eq!((error.limit, error.worker.is_some()), (LimitKind::Deadline, ran_on_a_worker));
        assert!(error.to_string().contains("deadline"), "{error}");
    }
    pond.at_rest();
    assert_eq!((late.begun(), pond.snapshot().ledger.expired), (0, 2));
}

/// The newest goes first only where more work with deadlines comes than fits; otherwise who came first is first.
pub(super) fn a_job_whose_deadline_is_near_is_overtaken_by_none_that_can_wait<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("near-deadline", 1, Lane::new("default"));
    let (held, near, waiting) = (Hold::new(), Hold::new(), Hold::new());
    let holds = pond.hold(&held, 1);
    let hurries = pond.put_with(JobOptions::new().deadline_in(SECOND), rig.deaf(&near));
    clock.advance(SECOND - MILLI);
    let can_wait = pond.put(rig.deaf(&waiting));
    let also_hurries = pond.put_with(JobOptions::new().deadline_in(SECOND * 9), rig.value(3));
    // More than one is queued for the one seat, but the newest of those who can wait is no reason to pass the first one over.
    also_hurries.cancel();
    assert!(matches!(rig.fails(also_hurries), JobError::Cancelled(_)));
    held.let_go();
    rig.returns(holds);
    rig.until("it runs in time", || near.begun() == 1);
    assert_eq!(waiting.begun(), 0, "the one without a deadline has waited");
    near.let_go();
    waiting.let_go();
    rig.returns([hurries, can_wait]);
    pond.at_rest();
}

/// Only the wait for the reply ends: what was asked for may still happen.
pub(super) fn the_control_limit_ends_the_wait_for_a_reply<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("control-limit", 1, Lane::new("io"));
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let ladder = Ladder::cooperative(SECOND * 60);
    let mut reply = Begun::new(PoolExecutor::terminate(&*pond, Select::job(held.id()), ladder, TimeLimit(SECOND)));
    clock.advance(SECOND - MILLI);
    reply.waits();
    clock.advance(MILLI);
    let error = rig.soon(reply).expect_err("the limit has passed");
    assert!(matches!(error, ControlError::TimedOut { operation: "terminate", limit: SECOND, .. }), "{error}");
    assert!(error.to_string().contains(pond.name()), "{error}");
    hold.let_go();
    rig.returns([held]);
    pond.at_rest();
}
