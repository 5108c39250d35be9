//! Whether a backend goes as far as it says, and no further: `Capabilities`, checked from both sides.

use super::Subject;
use super::inventory::process_is_there;
use super::rig::{Rig, SHORT};
use super::tether::Hold;
use crate::backend::KillReach;
use crate::control::{Ladder, PoolEvent, Select};
use crate::error::JobError;
use crate::executor::PoolExecutor;
use crate::snapshot::{Fate, Rung, WorkerState};

/// Killed means that none of the job's code runs any more; abandoned, that it does.
pub(super) fn a_kill_does_what_the_capabilities_say<S: Subject>(rig: Rig<'_, S>) {
    let reach = rig.capabilities().kill;
    let said = format!("it says that its kills reach {reach:?}");
    let hold = Hold::new();
    if reach == KillReach::None {
        is_not_reached(rig, &hold, &said);
    } else {
        is_reached(rig, rig.deaf(&hold), &hold, &said);
    }
    // What a yield does not need to come for.
    match (reach, rig.0.loops(hold.tether())) {
        (KillReach::InGuest, None) => panic!("{said}, and the subject has no loop of a guest's that shows it"),
        (KillReach::None | KillReach::AtYield, Some(_)) => {
            panic!("{said}, and the subject has a loop of a guest's, where kills are to end it")
        }
        (_, Some(job)) => is_reached(rig, job, &hold, &format!("{said}, and this job is in a guest's loop")),
        (_, None) => {}
    }
    // Whoever goes further than others is held to that by the very job at which those end.
    if reach == KillReach::Anywhere
        && let Some(job) = rig.0.out_of_reach(hold.tether())
    {
        is_reached(rig, job, &hold, &format!("{said}, and this job is out of reach"));
    }
}

/// The job runs on, and is counted.
fn is_not_reached<S: Subject>(rig: Rig<'_, S>, hold: &Hold, said: &str) {
    let pond = rig.fixed("kill", 1);
    let handle = pond.hold_one(hold);
    let worker = pond.worker_of(&handle);
    let row = pond.terminate_one(Select::worker(worker), rig.kill());
    let error = rig.fails(handle);
    assert_eq!(row.fate, Fate::Abandoned, "{said}");
    assert!(matches!(error, JobError::Abandoned(_)), "{said}: {error}");
    assert_eq!((hold.held(), pond.saturation().abandoned), (1, 1), "{said}: the job goes on, and is counted");
    assert!(pond.workers().contains(&worker), "{said}: and shown");
    assert_eq!(rig.answer(pond.put(rig.value(4))), 4, "its seat has another worker");
    hold.let_go();
    rig.until("the first worker is gone", || !pond.workers().contains(&worker));
    pond.at_rest();
}

/// Nothing of the job runs any more, though nobody let it go.
fn is_reached<S: Subject>(rig: Rig<'_, S>, job: S::Job, hold: &Hold, said: &str) {
    let pond = rig.fixed("kill", 1);
    let begun = hold.begun();
    let handle = pond.put(job);
    rig.until("the job runs", || hold.begun() > begun);
    let worker = pond.worker_of(&handle);
    let row = pond.terminate_one(Select::worker(worker), rig.kill());
    let error = rig.fails(handle);
    assert_eq!(row.fate, Fate::Killed, "{said}");
    assert!(matches!(error, JobError::Killed(_)), "{said}: {error}");
    rig.until(&format!("the killed job's code runs no more, as {said}"), || hold.held() == 0);
    assert_eq!(pond.saturation().abandoned, 0, "{said}");
    assert_eq!(rig.answer(pond.put(rig.value(4))), 4, "its seat has another worker");
    rig.until("the first worker is gone", || !pond.workers().contains(&worker));
    pond.at_rest();
}

/// A death that is confirmed is told as such, and nothing of the worker is left then.
pub(super) fn a_death_is_confirmed_as_the_capabilities_say<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("death", 1);
    let confirmed = pond.capabilities().death_confirmed;
    let (hold, mut events) = (Hold::new(), pond.events());
    let handle = pond.hold_one(&hold);
    let worker = pond.worker_of(&handle);
    pond.after_control();
    let pid = pond.inventory_now().workers.iter().find(|row| row.worker == worker).and_then(|row| row.facts.pid);
    pond.terminate_one(Select::worker(worker), rig.kill());
    rig.fails(handle);
    let is_gone = rig.event(&mut events, |event| match event {
        PoolEvent::WorkerGone { worker: gone, .. } if gone == worker => Some(true),
        PoolEvent::WorkerAbandoned { worker: abandoned } if abandoned == worker => Some(false),
        _ => None,
    });
    assert_eq!(is_gone, confirmed, "it says that deaths are{} confirmed", if confirmed { "" } else { " not" });
    if confirmed {
        rig.until("none of its code is left", || hold.held() == 0);
        assert!(!pond.workers().contains(&worker));
        if let Some(pid) = pid {
            assert!(!cfg!(target_os = "linux") || !process_is_there(pid), "process {pid} is still there");
        }
    }
    hold.let_go();
    pond.at_rest();
}

/// An idle worker has no job that could keep it: a kill ends it on every kind of pool.
pub(super) fn a_kill_of_an_idle_worker_ends_it<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("kill-idle", 1);
    rig.until("it is up", || pond.saturation().idle == 1);
    let worker = pond.workers()[0];
    let row = pond.terminate_one(Select::worker(worker), rig.kill());
    assert_eq!((row.fate, row.rung), (Fate::Killed, Some(Rung::Kill)));
    rig.until("it is gone", || !pond.workers().contains(&worker));
    assert_eq!(rig.answer(pond.put(rig.value(4))), 4);
    assert_eq!(pond.saturation().abandoned, 0);
    pond.at_rest();
}

/// Given up when the grace is over, shown and counted until it returns; what it gives then is dropped.
pub(super) fn a_job_that_no_kill_reaches_is_abandoned_and_counted_until_it_returns<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("out-of-reach", 1);
    let hold = Hold::new();
    let Some(job) = rig.stuck(&hold) else { return };
    let handle = pond.put(job);
    rig.until("it runs", || hold.begun() == 1);
    let worker = pond.worker_of(&handle);
    let row = pond.terminate_one(Select::worker(worker), Ladder::new().then(Rung::Kill, SHORT));
    assert_eq!((row.fate, row.rung), (Fate::Abandoned, Some(Rung::Kill)));
    let error = rig.fails(handle);
    assert!(matches!(&error, JobError::Abandoned(_)) && error.to_string().contains("abandoned"), "{error}");
    assert_eq!(rig.answer(pond.put(rig.value(4))), 4, "its seat has another worker");
    let inventory = pond.inventory_now();
    let row = inventory.workers.last().expect("abandoned ones come last");
    assert_eq!((row.worker, row.state), (worker, WorkerState::Abandoned));
    assert!(row.job.is_some(), "inventory shows what it is stuck in");
    assert_eq!((inventory.saturation.abandoned, inventory.saturation.workers), (1, 1));
    assert_eq!(hold.held(), 1, "its code runs on");
    hold.let_go();
    rig.until("it has returned", || pond.saturation().abandoned == 0);
    pond.at_rest();
    assert_eq!(pond.workers().len(), 1);
    let ledger = pond.snapshot().ledger;
    assert_eq!((ledger.abandoned, ledger.completed), (1, 1), "{ledger}");
}

/// A job that takes more than it may ends by that, and the pool goes on.
pub(super) fn memory_is_limited_as_the_capabilities_say<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("memory", 1);
    match (pond.capabilities().memory_limited, rig.0.grows()) {
        (false, None) => {}
        (true, Some(job)) => {
            rig.fails(pond.put(job));
            assert_eq!(rig.answer(pond.put(rig.value(1))), 1, "the pool goes on");
            pond.at_rest();
        }
        (true, None) => panic!("it says that memory can be limited, and the subject has no job that shows it"),
        (false, Some(_)) => panic!("it says that memory cannot be limited, and the subject has a job that shows it is"),
    }
}

/// Whoever asked once knows.
pub(super) fn the_capabilities_stay_what_they_are<S: Subject>(rig: Rig<'_, S>) {
    let declared = rig.capabilities();
    assert!(!declared.kind.is_empty(), "what the pool is called in errors");
    let pond = rig.fixed("declared", 1);
    rig.until("it is up", || pond.saturation().idle == 1);
    assert_eq!(pond.capabilities(), declared, "before it had a pool, and once it is up");
    let hold = Hold::new();
    let handle = pond.hold_one(&hold);
    assert_eq!(pond.capabilities(), declared, "while a job runs");
    pond.terminate(Select::job(handle.id()), rig.kill());
    rig.fails(handle);
    assert_eq!(pond.capabilities(), declared, "after a kill");
    hold.let_go();
    pond.at_rest();
}
