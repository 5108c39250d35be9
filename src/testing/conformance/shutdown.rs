//! Quiesce and resume, drain, shutdown, abort: however a pool goes, nobody is left waiting.

use std::time::Duration;

use ractor::ActorStatus;

use super::Subject;
use super::rig::{Begun, Rig, SECOND, SHORT};
use super::tether::Hold;
use crate::backend::KillReach;
use crate::config::{Lane, Limits};
use crate::control::{Orphan, orphans};
use crate::error::{CloseReason, ControlError, JobError, RejectReason};
use crate::executor::{PoolExecutor, TimeLimit};
use crate::job::JobStatus;
use crate::pool::pools;

fn orphans_of(name: &str) -> Vec<Orphan> {
    orphans().into_iter().filter(|orphan| *orphan.pool == *name).collect()
}

/// A quiesced pool still takes jobs in; it runs them after `resume`.
pub(super) fn a_quiesced_pool_admits_and_does_not_dispatch<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("quiesce", 2);
    rig.until("both are up", || pond.saturation().idle == 2);
    rig.soon(pond.quiesce(rig.limit())).expect("it answers");
    assert_eq!(pond.snapshot().gate, "quiesced");
    let handles: Vec<_> = (0..5).map(|n| pond.put(rig.value(n))).collect();
    pond.after_control();
    let seen = pond.saturation();
    assert_eq!((seen.queued, seen.active, seen.idle), (5, 0, 2));
    assert!(handles.iter().all(|handle| handle.status() == JobStatus::Queued));
    rig.soon(pond.resume(rig.limit())).expect("it answers");
    handles.into_iter().zip(0..).for_each(|(handle, n)| assert_eq!(rig.answer(handle), n));
    assert_eq!(pond.snapshot().gate, "open");
    pond.at_rest();
}

pub(super) fn a_job_in_hand_goes_on_while_the_pool_is_quiesced<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("quiesce-busy", 1);
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let queued = pond.put(rig.value(1));
    rig.soon(pond.quiesce(rig.limit())).expect("it answers");
    hold.let_go();
    rig.returns([held]);
    assert_eq!((queued.status(), pond.saturation().active), (JobStatus::Queued, 0), "its worker takes no other");
    rig.soon(pond.resume(rig.limit())).expect("it answers");
    assert_eq!(rig.answer(queued), 1);
    pond.at_rest();
}

/// The answer comes when what was admitted has run.
pub(super) fn a_draining_pool_refuses_and_runs_what_was_admitted<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("drain", 1);
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let queued: Vec<_> = (0..3).map(|n| pond.put(rig.value(n))).collect();
    let mut drained = Begun::new(pond.drain(rig.limit()));
    pond.after_control();
    assert_eq!(pond.snapshot().gate, "draining");
    let refused = pond.offer(rig.value(9)).expect_err("it drains");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::Draining, .. }), "{refused}");
    drained.waits();
    hold.let_go();
    rig.soon(drained).expect("it answers");
    assert_eq!((pond.snapshot().ledger.completed, pond.saturation().active), (4, 0), "all have run when it answers");
    rig.returns(held);
    queued.into_iter().zip(0..).for_each(|(handle, n)| assert_eq!(rig.answer(handle), n));
    pond.at_rest();
}

/// `DESIGN.md`, section 1: from `Draining` the gate only closes.
pub(super) fn drain_is_one_way<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("one-way", 1);
    rig.soon(pond.drain(rig.limit())).expect("it answers");
    let answers = [rig.soon(pond.quiesce(rig.limit())), rig.soon(pond.resume(rig.limit()))];
    for answer in answers {
        let error = answer.expect_err("it drains");
        assert!(matches!(error, ControlError::TooLate { reason: CloseReason::Draining, .. }), "{error}");
        assert!(error.to_string().contains("it drains"), "{error}");
    }
    rig.soon(pond.drain(rig.limit())).expect("to drain again is to wait again");
    rig.soon(pond.shutdown(rig.limit())).expect("and it can be shut down");
}

pub(super) fn a_quiesced_pool_drains_what_it_had_admitted<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("quiesce-drain", 1);
    rig.soon(pond.quiesce(rig.limit())).expect("it answers");
    let handle = pond.put(rig.value(2));
    rig.soon(pond.drain(rig.limit())).expect("it answers");
    assert_eq!(rig.answer(handle), 2);
}

/// The report has a place for every job that the pool had.
pub(super) fn shutdown_reports_what_became_of_the_jobs<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("report", 2);
    rig.answer(pond.put(rig.value(0)));
    let hold = Hold::new();
    let held = pond.hold(&hold, 2);
    let queued: Vec<_> = (0..3).map(|_| pond.put(rig.value(0))).collect();
    let end = Begun::new(pond.shutdown(rig.limit()));
    pond.after_control();
    hold.let_go();
    let report = rig.soon(end).expect("it answers");
    assert_eq!((report.completed, report.not_started, report.killed, report.abandoned), (5, 0, 0, 0));
    rig.returns(held.into_iter().chain(queued));
    let refused = pond.offer(rig.value(1)).expect_err("it is shut down");
    assert!(matches!(refused.reason(), RejectReason::Closed { reason: CloseReason::Shutdown, .. }), "{refused}");
}

/// Workers that idle when it comes leave by themselves: none is left, counted or listed.
pub(super) fn a_shutdown_leaves_nobody_behind<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("behind", 3);
    rig.until("all are up", || pond.saturation().idle == 3);
    rig.answer(pond.put(rig.value(0)));
    let name = pond.name().to_owned();
    rig.soon(pond.shutdown(rig.limit())).expect("it answers");
    rig.until("its workers are gone", || pond.inventory_now().workers.is_empty());
    assert_eq!((orphans_of(&name).len(), pond.saturation().abandoned), (0, 0));
}

/// It asks running jobs to stop when three quarters of its limit are over.
pub(super) fn shutdown_asks_running_jobs_to_stop_when_three_quarters_are_over<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("three-quarters", 2, Lane::new("default"));
    let hold = Hold::new();
    let polite: Vec<_> = (0..2).map(|_| pond.put(rig.polite(&hold))).collect();
    rig.until("both run", || hold.begun() == 2);
    let end = Begun::new(pond.shutdown(TimeLimit::secs(8)));
    pond.after_control();
    clock.advance(SECOND * 5);
    pond.after_control();
    assert_eq!(pond.saturation().active, 2, "not yet");
    clock.advance(SECOND);
    rig.returns(polite);
    let report = rig.soon(end).expect("it answers before its deadline");
    assert_eq!((report.cancelled, report.completed, report.killed, report.abandoned), (2, 0, 0, 0));
    assert_eq!(report.took, SECOND * 6);
}

/// What it can end is ended by the limit; what it cannot is listed by `orphans()` until it returns, and no handle is left waiting.
pub(super) fn shutdown_returns_by_its_deadline_though_jobs_do_not_end<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("deadline", 2);
    let (name, hold) = (pond.name().to_owned(), Hold::new());
    let deaf = pond.hold(&hold, 2);
    let queued: Vec<_> = (0..3).map(|_| pond.put(rig.value(0))).collect();
    let report = rig.soon(pond.shutdown(TimeLimit::millis(40))).expect("it answers, whatever the jobs do");
    assert_eq!((report.completed, report.not_started, report.cancelled), (0, 3, 0));
    assert_eq!(report.killed + report.abandoned, 2, "{report}");
    match pond.capabilities().kill {
        KillReach::None => assert_eq!(report.abandoned, 2, "nothing could end them"),
        KillReach::Anywhere => assert_eq!(report.killed, 2, "anything can be ended"),
        // One that was just being polled, or in a call of the host's, is given up, though it may end at once.
        _ => {}
    }
    for handle in queued {
        let error = rig.fails(handle);
        assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::Shutdown), "{error}");
    }
    let (mut killed, mut abandoned) = (0, 0);
    for handle in deaf {
        match rig.fails(handle) {
            JobError::Killed(_) => killed += 1,
            JobError::Abandoned(_) => abandoned += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((killed, abandoned), (report.killed, report.abandoned));
    if pond.capabilities().kill == KillReach::None {
        let left = orphans_of(&name);
        assert_eq!((left.len(), hold.held()), (2, 2), "both still run: {left:?}");
        hold.let_go();
    }
    rig.until("nobody is listed any more", || orphans_of(&name).is_empty());
    rig.until("their code has returned", || hold.held() == 0);
    rig.until("and nobody is counted", || pond.saturation().abandoned == 0);
    let ledger = pond.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

pub(super) fn a_second_shutdown_hurries_the_first<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("hurry", 1);
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let first = Begun::new(pond.shutdown(TimeLimit::secs(3600)));
    let second = rig.soon(pond.shutdown(TimeLimit(Duration::from_millis(20)))).expect("by its own deadline");
    assert_eq!(rig.soon(first).expect("and so is the first"), second);
    rig.fails(held);
}

pub(super) fn the_name_is_free_when_a_shutdown_has_answered<S: Subject>(rig: Rig<'_, S>) {
    let name = rig.named("again");
    for round in 0..50 {
        let pool = rig.0.builder(&name).limits(Limits::fixed(1)).build();
        let pool = pool.unwrap_or_else(|error| panic!("round {round}: {error}"));
        rig.soon(pool.shutdown(rig.limit())).expect("it answers");
    }
}

pub(super) fn those_who_wait_at_the_gate_are_told_that_it_closes<S: Subject>(rig: Rig<'_, S>) {
    let lane = Lane::new("default").capacity(0);
    let pond = rig.build("closes", |builder| builder.limits(Limits::fixed(1)).default_lane(lane));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let waits = pond.wait_at_gate(rig.value(3));
    let end = Begun::new(pond.shutdown(rig.limit()));
    let refused = rig.soon(waits).expect_err("it closes");
    assert!(matches!(refused.reason(), RejectReason::Closed { .. }), "{refused}");
    assert_eq!(rig.answer(rig.fixed("elsewhere", 1).put(refused.into_job())), 3);
    hold.let_go();
    rig.returns(held);
    assert_eq!(rig.soon(end).expect("it answers").completed, 1);
    let ledger = pond.snapshot().ledger;
    assert!(ledger.balances() && ledger.rejected == 1, "{ledger}");
}

pub(super) fn whoever_asks_a_pool_that_is_gone_is_told_so<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("gone", 1);
    rig.soon(pond.shutdown(rig.limit())).expect("it answers");
    rig.until("its actor is gone", || pond.actor().get_status() == ActorStatus::Stopped);
    let error = rig.soon(pond.inventory(rig.limit())).expect_err("nobody is there");
    assert!(matches!(error, ControlError::Closed { operation: "inventory", .. }), "{error}");
    assert!(error.to_string().contains(pond.name()), "{error}");
    assert!(rig.soon(pond.shutdown(rig.limit())).is_err() && rig.soon(pond.drain(rig.limit())).is_err());
    assert_eq!(pond.snapshot().gate, "closed", "what is read still reads");
    rig.until("its workers are gone", || pond.inventory_now().workers.is_empty());
}

/// Everything that it has ends with it, without an answer from anybody.
pub(super) fn an_abort_ends_what_runs_and_what_is_queued<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("abort", 2);
    let hold = Hold::new();
    let held = pond.hold(&hold, 2);
    let queued = pond.put(rig.value(1));
    pond.abort();
    assert!(held.iter().chain([&queued]).all(|handle| handle.status() == JobStatus::Done), "at once");
    for handle in held {
        let error = rig.fails(handle);
        assert!(matches!(error, JobError::Killed(_) | JobError::Abandoned(_)), "{error}");
    }
    assert!(matches!(rig.fails(queued), JobError::NotStarted(_)));
    assert!(pond.offer(rig.value(2)).is_err());
    if pond.capabilities().kill == KillReach::None {
        assert_eq!(orphans_of(pond.name()).len(), 2);
        hold.let_go();
    }
    rig.until("nobody is left", || orphans_of(pond.name()).is_empty());
    rig.until("they are gone", || pond.inventory_now().workers.is_empty() && hold.held() == 0);
    let ledger = pond.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

pub(super) fn an_abort_of_an_idle_pool_leaves_nothing_behind<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("abort-idle", 2);
    assert_eq!(rig.answer(pond.put(rig.value(6))), 6);
    rig.until("both idle", || pond.saturation().idle == 2);
    let (name, mut events) = (pond.name().to_owned(), pond.events());
    pond.abort();
    let error = rig.soon(pond.resize(Limits::fixed(1), rig.limit())).expect_err("nobody is there");
    assert!(matches!(error, ControlError::Closed { .. }), "{error}");
    rig.until("who idles leaves, and stays no orphan", || orphans_of(&name).is_empty());
    rig.until("they are gone", || pond.inventory_now().workers.is_empty());
    while rig.soon(events.next()).is_some() {}
    rig.until("its name is free", || ractor::registry::where_is(&name).is_none());
    assert!(!pools().iter().any(|pool| pool.name() == name));
}

/// What was admitted has not run, so the drain did not do what it was asked for.
pub(super) fn a_drain_that_a_shutdown_cuts_short_has_failed<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cut-short", 1);
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let drained = Begun::new(pond.drain(rig.limit()));
    rig.soon(pond.shutdown(TimeLimit(SHORT * 4))).expect("it answers");
    let answer = rig.soon(drained);
    assert!(matches!(answer, Err(ControlError::Closed { operation: "drain", .. })), "{answer:?}");
    rig.fails(held);
}
