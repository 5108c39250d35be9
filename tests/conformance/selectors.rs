//! Selective termination: each selector finds whom it names and nobody else, and hits nobody who came later (invariant 4).

use std::time::Duration;

use millpond::{
    ControlError, Executor, Fate, JobError, JobHandle, JobOptions, KillReach, Ladder, Lane, Limits, PoolExecutor, Rung,
    Select, Target, TerminationReport, WorkerId,
};

use crate::rig::{LIMIT, PoolOf, at_rest, build, fixed, hold, put, put_with, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    by_worker, by_job, by_label, by_lane, by_predicate, by_targets_resolved_before,
    a_worker_whose_slot_idled_away_is_stale,
    what_does_not_exist_is_named,
    a_selector_that_finds_nobody_answers_with_nothing,
}

/// Takes the worker, and waits for its end for as long as that may take.
fn kill() -> Ladder {
    Ladder::new().then(Rung::Kill, Duration::from_secs(60))
}

/// How far a kill reaches is declared by the backend.
fn fate_of_a_kill(pool: &dyn PoolExecutor) -> Fate {
    if pool.capabilities().kill == KillReach::None { Fate::Abandoned } else { Fate::Killed }
}

fn terminate(pool: &dyn PoolExecutor, select: Select, ladder: Ladder) -> TerminationReport {
    soon(pool.terminate(select, ladder, LIMIT)).expect("it answers")
}

/// Two victims' worth of jobs that differ in everything, of which `select` names the first; the second must not notice.
fn takes_the_first_of_two<S: Subject>(
    what: &str,
    select: impl FnOnce(&PoolOf<S>, &JobHandle<u64>, WorkerId) -> Select,
) {
    let pool = build::<S>(what, |builder| builder.limits(Limits::fixed(2)).lane(Lane::new("img")));
    let gate = Gate::new();
    let victim = put_with::<S>(&pool, JobOptions::new().lane("img").label("victim"), Task::deaf(&gate));
    let other = put_with::<S>(&pool, JobOptions::new().label("other"), Task::deaf(&gate));
    until("both run", || gate.entered() == 2);
    let (worker, other_worker) = (worker_of(&pool, &victim), worker_of(&pool, &other));
    let report = terminate(&pool, select(&pool, &victim, worker), kill());
    assert_eq!(report.targets.len(), 1, "{report:?}");
    let row = &report.targets[0];
    assert_eq!((row.fate, row.rung), (fate_of_a_kill(&pool), Some(Rung::Kill)));
    match soon(victim).expect_err("it was taken") {
        JobError::Killed(why) | JobError::Abandoned(why) => {
            assert_eq!((why.worker, why.submitted_from.file()), (worker, file!()));
        }
        other => panic!("{other}"),
    }
    assert_eq!(worker_of(&pool, &other), other_worker, "the rest of the pool does not notice");
    assert_eq!(soon(put::<S>(&pool, Task::value(3))).unwrap(), 3, "another worker has the seat");
    gate.open();
    assert_eq!(soon(other).unwrap(), 0);
    until("nobody is abandoned", || pool.saturation().abandoned == 0);
    at_rest(&pool);
}

/// A worker goes whatever job it has by then.
fn by_worker<S: Subject>() {
    takes_the_first_of_two::<S>("by-worker", |_, _, worker| Select::worker(worker));
}

/// Here and below it goes only with the job that it had when it was selected.
fn by_job<S: Subject>() {
    takes_the_first_of_two::<S>("by-job", |_, victim, _| Select::job(victim.id()));
}

fn by_label<S: Subject>() {
    takes_the_first_of_two::<S>("by-label", |_, _, _| Select::label("victim"));
}

fn by_lane<S: Subject>() {
    takes_the_first_of_two::<S>("by-lane", |_, _, _| Select::lane("img"));
}

/// A predicate is the caller's code, and runs in the caller.
fn by_predicate<S: Subject>() {
    takes_the_first_of_two::<S>("by-predicate", |_, _, worker| {
        let caller = std::thread::current().id();
        Select::matching(move |row| {
            assert_eq!(std::thread::current().id(), caller);
            row.worker == worker
        })
    });
}

fn by_targets_resolved_before<S: Subject>() {
    takes_the_first_of_two::<S>("by-targets", |pool, _, worker| {
        let targets = pool.select(&Select::label("victim")).expect("there is one");
        assert!(matches!(targets[..], [Target::Claim { worker: w, .. }] if w == worker), "{targets:?}");
        targets.into()
    });
}

/// Its slot is empty, and that it was there is known all the same.
fn a_worker_whose_slot_idled_away_is_stale<S: Subject>() {
    let limits = Limits::new(0, 1).idle_timeout(Duration::from_millis(1));
    let pool = build::<S>("idled-away", |builder| builder.limits(limits));
    let gate = Gate::new();
    let handle = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let worker = worker_of(&pool, &handle);
    gate.open();
    soon(handle).unwrap();
    until("the pool is empty", || pool.inventory_now().workers.is_empty());
    let report = terminate(&pool, Select::worker(worker), kill());
    assert_eq!((report.targets[0].fate, report.targets[0].rung), (Fate::Stale, None));
    at_rest(&pool);
}

/// A lane or worker that never was is an error; a job may just be over, and gets a fate.
fn what_does_not_exist_is_named<S: Subject>() {
    let pool = fixed::<S>("unknown", 1);
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    for (select, word) in [
        (Select::worker(WorkerId { slot: 9, generation: 1 }), "worker 9.1"),
        (Select::worker(WorkerId { slot: 0, generation: 2 }), "worker 0.2"),
        (Select::worker(WorkerId { slot: 0, generation: 0 }), "worker 0.0"),
        (Select::lane("nowhere"), "lane `nowhere`"),
    ] {
        let error = soon(pool.terminate(select, kill(), LIMIT)).expect_err("there is no such thing");
        assert!(matches!(error, ControlError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains(word) && error.to_string().contains(pool.name()), "{error}");
    }
    let other = fixed::<S>("elsewhere", 1);
    let mut foreign = put::<S>(&other, Task::value(0));
    for _ in 0..3 {
        soon(foreign).unwrap();
        foreign = soon(other.submit(S::job(Task::value(0)))).unwrap();
    }
    let report = terminate(&pool, Select::job(foreign.id()), kill());
    assert_eq!(report.targets[0].fate, Fate::Stale, "no such job was ever here");
    soon(foreign).unwrap();
    at_rest(&pool);
}

fn a_selector_that_finds_nobody_answers_with_nothing<S: Subject>() {
    let pool = fixed::<S>("nobody", 1);
    for select in [
        Select::label("no such label"),
        Select::lane("default"),
        Select::active_longer_than(Duration::ZERO),
        Select::matching(|_| false),
        Select::from(Vec::new()),
    ] {
        assert_eq!(terminate(&pool, select, kill()), TerminationReport::default());
    }
    at_rest(&pool);
}
