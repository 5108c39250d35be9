//! Outcomes: every accepted job has one, and the ledger says the same.

use super::rig::{Rig, SHORT};
use super::tether::Hold;
use super::{AfterCrash, Subject};
use crate::config::{Lane, Limits};
use crate::control::Select;
use crate::error::{JobError, JoinError};
use crate::executor::PoolExecutor;
use crate::job::{JobOptions, JobStatus};
use crate::snapshot::{Fate, Ledger};

/// Each its own number, whichever worker runs it.
pub(super) fn a_job_gives_what_it_gives<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("gives", 2);
    let handles: Vec<_> = (0..50).map(|n| pond.put(rig.value(n * 7))).collect();
    for (n, handle) in (0..50).zip(handles) {
        assert_eq!(rig.answer(handle), n * 7);
    }
    pond.at_rest();
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.lost), (50, 0), "{ledger}");
}

/// There is nobody to ask about a job that no worker has: it is over at once.
pub(super) fn a_queued_job_that_is_cancelled_never_runs<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cancel-queued", 1);
    let (hold, late) = (Hold::new(), Hold::new());
    let held = pond.hold(&hold, 1);
    let queued = pond.put_with(JobOptions::new().label("late"), rig.deaf(&late));
    queued.cancel();
    assert_eq!((queued.status(), pond.saturation().queued), (JobStatus::Done, 0));
    let id = queued.id();
    let error = rig.fails(queued);
    assert!(matches!(&error, JobError::Cancelled(cancelled) if cancelled.job == id), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("pool `{}`: job {id} `late` from {}:", pond.name(), file!())), "{text}");
    assert!(
        text.contains(" was cancelled by its handle before it began, ") && text.ends_with(" after its admission"),
        "{text}"
    );
    hold.let_go();
    rig.returns(held);
    pond.at_rest();
    assert_eq!((late.begun(), pond.snapshot().ledger.cancelled), (0, 1));
}

pub(super) fn a_running_job_that_is_cancelled_ends_as_it_sees_fit<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cancel-running", 2);
    let hold = Hold::new();
    let polite = pond.put(rig.polite(&hold));
    let deaf = pond.put(rig.deaf(&hold));
    rig.until("both run", || hold.begun() == 2);
    polite.cancel();
    deaf.cancel();
    rig.returns([polite]);
    assert_eq!(deaf.status(), JobStatus::Running);
    hold.let_go();
    rig.returns([deaf]);
    pond.at_rest();
    assert_eq!(pond.snapshot().ledger.completed, 2);
}

pub(super) fn a_job_that_has_ended_is_not_cancelled_any_more<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cancel-late", 1);
    let handle = pond.put(rig.value(8));
    pond.becomes(&handle, JobStatus::Done);
    handle.cancel();
    assert_eq!(rig.answer(handle), 8);
    pond.at_rest();
}

pub(super) fn a_handle_that_cancels_on_drop_cancels<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cancel-on-drop", 1);
    let (hold, late) = (Hold::new(), Hold::new());
    let running = pond.put(rig.polite(&hold)).cancel_on_drop();
    rig.until("it runs", || hold.begun() == 1);
    drop(pond.put(rig.deaf(&late)).cancel_on_drop());
    assert_eq!(pond.snapshot().ledger.cancelled, 1);
    drop(running);
    pond.at_rest();
    assert_eq!((late.begun(), pond.snapshot().ledger.completed), (0, 1));
}

pub(super) fn a_handle_that_is_dropped_detaches<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("detach", 1);
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    drop(pond.put(rig.value(0)));
    drop(held);
    hold.let_go();
    pond.at_rest();
    assert_eq!(pond.snapshot().ledger.completed, 2);
}

pub(super) fn a_handle_says_where_its_job_is<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("status", 1);
    let hold = Hold::new();
    let running = pond.hold_one(&hold);
    let queued = pond.put(rig.value(1));
    assert_eq!((running.status(), queued.status()), (JobStatus::Running, JobStatus::Queued));
    hold.let_go();
    assert_eq!(rig.answer(queued), 1);
    assert_eq!(running.status(), JobStatus::Done);
    rig.returns([running]);
    pond.at_rest();
}

/// Until there is an outcome, the handle stays as it is.
pub(super) fn a_join_with_a_limit_leaves_the_handle_as_it_was<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("join-limit", 1);
    let hold = Hold::new();
    let mut running = pond.hold_one(&hold).cancel_on_drop();
    let mut queued = pond.put(rig.value(5));
    for (handle, runs, words) in [(&mut running, true, "it runs"), (&mut queued, false, "it waits for a worker")] {
        let Err(error) = handle.join_timeout(SHORT) else { panic!("it is held") };
        assert!(
            matches!(&error, JoinError::NotYet { job, began, .. } if (*job, *began) == (handle.id(), runs)),
            "{error}"
        );
        assert!(error.to_string().contains(words) && error.to_string().contains("5 ms"), "{error}");
    }
    hold.let_go();
    match queued.join_timeout(rig.patience()) {
        Ok(output) => assert_eq!(rig.0.number(output), 5),
        Err(error) => panic!("it was to end: {error}"),
    }
    assert!(running.join_timeout(rig.patience()).is_ok(), "it was not cancelled");
    pond.at_rest();
}

/// A job is dropped by whatever way it goes, and nothing of it is left.
pub(super) fn what_a_job_leaves_behind_is_dropped<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("leaves", 1);
    let (held, cancelled, detached, killed) = (Hold::new(), Hold::new(), Hold::new(), Hold::new());
    let first = pond.hold(&held, 1);
    let withdrawn = pond.put(rig.deaf(&cancelled));
    drop(pond.put(rig.polite(&detached)));
    withdrawn.cancel();
    rig.fails(withdrawn);
    held.let_go();
    detached.let_go();
    rig.returns(first);
    pond.at_rest();
    let last = pond.hold_one(&killed);
    pond.terminate(Select::job(last.id()), rig.kill());
    rig.fails(last);
    killed.let_go();
    for (hold, which) in
        [(held, "that ended"), (cancelled, "that was cancelled"), (detached, "of nobody"), (killed, "that was killed")]
    {
        rig.until(&format!("the job {which} is dropped"), || hold.held() == 0);
    }
}

pub(super) fn every_way_to_end_has_its_term<S: Subject>(rig: Rig<'_, S>) {
    let lane = Lane::new("default").capacity(3);
    let pond = rig.build("terms", |builder| builder.limits(Limits::fixed(1)).default_lane(lane));
    assert_eq!(rig.answer(pond.put(rig.value(0))), 0);
    let crashed = rig.fails(pond.put(rig.0.crashes()));
    let hold = Hold::new();
    let victim = pond.hold_one(&hold);
    let queued: Vec<_> = (0..3).map(|_| pond.put(rig.value(0))).collect();
    assert!(pond.offer(rig.value(0)).is_err());
    drop(pond.wait_at_gate(rig.value(0)));
    queued[0].cancel();
    pond.terminate(Select::job(victim.id()), rig.kill());
    assert!(matches!(rig.fails(victim), JobError::Killed(_) | JobError::Abandoned(_)));
    for (n, handle) in queued.into_iter().enumerate() {
        assert_eq!(rig.soon(handle).is_ok(), n > 0);
    }
    hold.let_go();
    pond.at_rest();
    let mut expected = Ledger::default();
    (expected.offered, expected.accepted, expected.rejected, expected.withdrawn) = (8, 6, 1, 1);
    (expected.completed, expected.cancelled) = (3, 1);
    match &crashed {
        JobError::Lost(_) => expected.lost = 1,
        _ => expected.panicked = 1,
    }
    (expected.killed, expected.abandoned) = if rig.fate_of_a_kill() == Fate::Abandoned { (0, 1) } else { (1, 0) };
    let ledger = pond.snapshot().ledger;
    assert_eq!(ledger, expected, "after {crashed}");
    assert_eq!(ledger.ended(), 6);
}

/// Whoever has awaited a job finds it in the ledger: the count comes before the outcome.
pub(super) fn the_ledger_is_up_to_date_when_an_outcome_is_known<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("up-to-date", 2);
    for n in 1..=200 {
        rig.answer(pond.put(rig.value(n)));
        let ledger = pond.snapshot().ledger;
        assert_eq!((ledger.completed, ledger.pending), (n, 0), "{ledger}");
    }
}

/// Its outcome says who it was, and which worker; if that went with it, the slot's next one runs what was queued behind it.
pub(super) fn a_crash_costs_one_job_and_says_which<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("crash", 2);
    rig.until("both are up", || pond.saturation().idle == 2);
    let hold = Hold::new();
    let other = pond.hold_one(&hold);
    let other_worker = pond.worker_of(&other);
    let crashes = pond.put_with(JobOptions::new().label("crash"), rig.0.crashes());
    let behind = pond.put(rig.value(3));
    let id = crashes.id();
    let error = rig.fails(crashes);
    match &error {
        JobError::Panicked(report) => assert_eq!((report.job, report.pool.as_deref()), (id, Some(pond.name()))),
        JobError::Lost(lost) => {
            assert_eq!((lost.job, &*lost.pool, lost.label.as_deref()), (id, pond.name(), Some("crash")))
        }
        // An interpreter's own.
        _ => assert!(error.to_string().contains(&format!("job {id} `crash`")), "{error}"),
    }
    assert_eq!(rig.answer(behind), 3, "whoever was queued behind it runs");
    assert_eq!((other.status(), pond.worker_of(&other)), (JobStatus::Running, other_worker), "its neighbour runs on");
    hold.let_go();
    rig.returns([other]);
    let lost = matches!(error, JobError::Lost(_));
    assert!(!lost || rig.0.after_crash() == AfterCrash::EndsWorker, "{error}: and its worker is to have gone on");
    rig.until("both are up again", || pond.saturation().idle == 2);
    pond.at_rest();
}
