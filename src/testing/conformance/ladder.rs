//! The ladder: cancel asks, stop waits for the job's end, kill takes; the report says which of them did it, and nobody is hit who came later.

use super::Subject;
use super::rig::{Begun, Rig, SHORT};
use super::tether::Hold;
use crate::control::{Ladder, Select};
use crate::error::JobError;
use crate::executor::PoolExecutor;
use crate::job::JobStatus;
use crate::snapshot::{Ended, Fate, Rung, Target, WorkerState};

pub(super) fn a_job_that_listens_finishes_at_cancel<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("cancel", 1);
    let hold = Hold::new();
    let handle = pond.put(rig.polite(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let worker = pond.worker_of(&handle);
    let row = pond.terminate_one(Select::job(handle.id()), Ladder::cooperative(rig.patience() / 2));
    assert_eq!((row.fate, row.rung), (Fate::Finished, Some(Rung::Cancel)));
    assert_eq!((row.job, row.outcome), (Some(handle.id()), Some(Ended::Completed)));
    rig.returns([handle]);
    pond.at_rest();
    assert_eq!(pond.workers(), [worker], "its worker goes on");
    assert_eq!(pond.snapshot().ledger.completed, 1, "it ended as it saw fit: it has completed");
}

pub(super) fn a_job_that_does_not_listen_still_runs_after_a_cooperative_ladder<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("deaf", 1);
    let hold = Hold::new();
    let handle = pond.hold_one(&hold);
    let row = pond.terminate_one(Select::job(handle.id()), Ladder::cooperative(SHORT));
    assert_eq!((row.fate, row.rung), (Fate::StillRunning, Some(Rung::Cancel)));
    assert_eq!((row.job, row.outcome), (Some(handle.id()), None));
    assert_eq!((handle.status(), hold.held()), (JobStatus::Running, 1));
    hold.let_go();
    rig.returns([handle]);
    pond.at_rest();
}

/// Stop costs no job: the worker ends the one that it has, and then goes.
pub(super) fn stop_lets_the_job_end_and_takes_the_worker_after_it<S: Subject>(rig: Rig<'_, S>) {
    for by_job in [true, false] {
        let pond = rig.fixed("stop", 1);
        let hold = Hold::new();
        let handle = pond.hold_one(&hold);
        let worker = pond.worker_of(&handle);
        let select = if by_job { Select::job(handle.id()) } else { Select::worker(worker) };
        let reply = Begun::new(PoolExecutor::terminate(&*pond, select, rig.stop(), rig.limit()));
        pond.after_control();
        assert_eq!(handle.status(), JobStatus::Running, "it may end");
        hold.let_go();
        rig.returns([handle]);
        let report = rig.soon(reply).expect("it answers");
        let row = &report.targets[0];
        assert_eq!((row.fate, row.rung, row.outcome), (Fate::Stopped, Some(Rung::Stop), Some(Ended::Completed)));
        assert_eq!(rig.answer(pond.put(rig.value(2))), 2);
        pond.at_rest();
        assert_eq!(pond.workers()[0].generation, worker.generation + 1);
    }
}

pub(super) fn stop_takes_an_idle_worker_at_once<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("stop-idle", 1);
    rig.until("it is up", || pond.saturation().idle == 1);
    let worker = pond.workers()[0];
    let row = pond.terminate_one(Select::worker(worker), rig.stop());
    assert_eq!((row.fate, row.rung), (Fate::Stopped, Some(Rung::Stop)));
    assert_eq!(rig.answer(pond.put(rig.value(2))), 2);
    pond.at_rest();
}

/// Who listens is not killed; the report tells the two apart.
pub(super) fn a_graceful_ladder_goes_up_to_kill_only_if_it_must<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("graceful", 2);
    let hold = Hold::new();
    let polite = pond.put(rig.polite(&hold));
    let deaf = pond.put(rig.deaf(&hold));
    rig.until("both run", || hold.begun() == 2);
    let row = pond.terminate_one(Select::job(polite.id()), Ladder::graceful(rig.patience() / 2));
    assert_eq!((row.fate, row.rung), (Fate::Finished, Some(Rung::Cancel)));
    let ladder = Ladder::new().then(Rung::Cancel, SHORT).then(Rung::Stop, SHORT).then(Rung::Kill, rig.patience() / 2);
    let row = pond.terminate_one(Select::job(deaf.id()), ladder);
    assert_eq!((row.fate, row.rung), (rig.fate_of_a_kill(), Some(Rung::Kill)));
    assert!(row.took >= SHORT * 2, "each grace was given: {:?}", row.took);
    rig.returns([polite]);
    rig.fails(deaf);
    hold.let_go();
    rig.until("nobody is abandoned", || pond.saturation().abandoned == 0);
    pond.at_rest();
}

/// What the job returns after its outcome was written changes nothing.
pub(super) fn a_killed_job_has_one_outcome_whatever_it_returns_later<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("late", 1);
    let hold = Hold::new();
    let handle = pond.hold_one(&hold);
    let row = pond.terminate_one(Select::job(handle.id()), rig.kill());
    let abandoned = rig.fate_of_a_kill() == Fate::Abandoned;
    let outcome = if abandoned { Ended::Abandoned } else { Ended::Killed };
    assert_eq!((row.job, row.outcome), (Some(handle.id()), Some(outcome)));
    match rig.fails(handle) {
        JobError::Abandoned(_) => assert!(abandoned),
        JobError::Killed(_) => assert!(!abandoned),
        other => panic!("{other}"),
    }
    assert_eq!(pond.saturation().abandoned, usize::from(abandoned), "counted until its code returns");
    hold.let_go();
    rig.until("it has returned", || pond.saturation().abandoned == 0);
    pond.at_rest();
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.killed + ledger.abandoned, ledger.completed), (1, 0), "{ledger}");
    assert_eq!(ledger.abandoned, u64::from(abandoned));
}

pub(super) fn a_ladder_without_a_rung_does_nothing<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("no-rung", 1);
    let hold = Hold::new();
    let handle = pond.hold_one(&hold);
    let row = pond.terminate_one(Select::job(handle.id()), Ladder::new());
    assert_eq!((row.fate, row.rung), (Fate::StillRunning, None));
    hold.let_go();
    rig.returns([handle]);
    pond.at_rest();
}

/// `DESIGN.md`, section 1: from `Condemned` no way leads back to a job.
pub(super) fn a_condemned_worker_takes_no_other_job<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("condemned", 1);
    let (hold, next) = (Hold::new(), Hold::new());
    let handle = pond.hold_one(&hold);
    let worker = pond.worker_of(&handle);
    let queued = pond.put(rig.deaf(&next));
    let reply = Begun::new(PoolExecutor::terminate(&*pond, Select::job(handle.id()), rig.stop(), rig.limit()));
    pond.after_control();
    assert_eq!(pond.inventory_now().workers[0].state, WorkerState::Condemned);
    hold.let_go();
    rig.returns([handle]);
    rig.until("the queued one runs", || next.begun() == 1);
    assert_eq!(pond.worker_of(&queued).generation, worker.generation + 1, "run by the next incarnation");
    next.let_go();
    rig.returns([queued]);
    assert_eq!(rig.soon(reply).expect("it answers").targets[0].fate, Fate::Stopped);
    pond.at_rest();
}

/// A message about claim n never affects n+1, on the same worker.
pub(super) fn a_claim_that_has_ended_is_finished_and_the_next_job_is_not_hit<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("claim-fence", 1);
    let (first, second) = (Hold::new(), Hold::new());
    let one = pond.hold_one(&first);
    let targets = pond.select(&Select::job(one.id())).expect("it runs");
    first.let_go();
    rig.returns([one]);
    let two = pond.hold_one(&second);
    let worker = pond.worker_of(&two);
    assert!(matches!(targets[..], [Target::Claim { worker: w, .. }] if w == worker), "the same worker");
    for ladder in [rig.kill(), Ladder::cooperative(SHORT), rig.stop()] {
        let row = pond.terminate_one(targets.clone().into(), ladder);
        assert_eq!((row.fate, row.rung), (Fate::Finished, None));
    }
    second.let_go();
    rig.returns([two]);
    pond.at_rest();
    assert_eq!(pond.workers(), [worker]);
}

/// A message about generation g never affects g+1.
pub(super) fn a_worker_of_an_earlier_generation_is_stale<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("generation-fence", 1);
    let (first, second) = (Hold::new(), Hold::new());
    let one = pond.hold_one(&first);
    let (old, claim) = (pond.worker_of(&one), pond.select(&Select::job(one.id())).expect("it runs"));
    pond.terminate(Select::worker(old), rig.kill());
    rig.fails(one);
    let next = pond.hold_one(&second);
    let new = pond.worker_of(&next);
    assert_eq!((new.slot, new.generation), (old.slot, old.generation + 1));
    first.let_go();
    rig.until("the old one is gone", || !pond.workers().contains(&old));
    for select in [Select::worker(old), claim.into()] {
        let row = pond.terminate_one(select, rig.kill());
        assert_eq!((row.fate, row.rung), (Fate::Stale, None));
    }
    second.let_go();
    rig.returns([next]);
    pond.at_rest();
}

/// The pool has lost no seat by it: each is filled again.
pub(super) fn all_takes_every_worker_the_idle_ones_too<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("all", 3);
    rig.until("all are up", || pond.saturation().idle == 3);
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let (busy, before) = (pond.worker_of(&held), pond.workers());
    let report = pond.terminate(Select::all(), rig.kill());
    let hit: Vec<_> = report.targets.iter().map(|row| row.target).collect();
    assert_eq!(hit, before.iter().map(|&worker| Target::Worker(worker)).collect::<Vec<_>>());
    for row in &report.targets {
        let fate = if row.target == Target::Worker(busy) { rig.fate_of_a_kill() } else { Fate::Killed };
        assert_eq!(row.fate, fate, "{row:?}");
    }
    rig.fails(held);
    hold.let_go();
    rig.until("a new staff is up", || pond.saturation().idle == 3 && pond.saturation().abandoned == 0);
    assert!(pond.workers().iter().all(|worker| !before.contains(worker)));
    pond.at_rest();
}

/// No worker is touched for it.
pub(super) fn a_queued_job_is_withdrawn<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("withdrawn", 1);
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let queued = pond.put(rig.value(1));
    let row = pond.terminate_one(Select::job(queued.id()), rig.kill());
    assert_eq!((row.fate, row.job, row.outcome), (Fate::Withdrawn, Some(queued.id()), Some(Ended::Cancelled)));
    assert!(matches!(rig.fails(queued), JobError::Cancelled(_)));
    hold.let_go();
    rig.returns(held);
    pond.at_rest();
    assert_eq!(pond.snapshot().ledger.cancelled, 1);
}
