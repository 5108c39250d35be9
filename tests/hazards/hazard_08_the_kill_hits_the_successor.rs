//! 8. The kill hits the successor: a kill was meant for one job and arrives when its worker has another.
//!
//! However it was selected, it has to miss: the second job completes, and the report says `Finished`, or `Stale` where the worker
//! itself was replaced, after a restart or a resize. And the race: the kill is sent while its job ends.

use std::time::Duration;

use millpond::{
    Fate, JobStatus, Ladder, Limits, Pool, PoolExecutor, PoolMessage, Rung, Select, Targets, TerminationReport,
    TimeLimit, WorkerId,
};

use crate::kinds::{Ground, Kind, Work, on_every_kind, on_fresh_instances, put, put_labelled, value};
use crate::latch::{Latch, Meter};
use crate::patience::{at_rest, eventually};

on_every_kind!(
    in_this_process:
    the_same_worker_runs_the_next_job,
    across_a_restart,
    across_a_resize,
    the_kill_races_the_end_of_its_job,
);
on_fresh_instances!(
    the_same_worker_runs_the_next_job,
    across_a_restart,
    across_a_resize,
    the_kill_races_the_end_of_its_job,
);

/// Delivers what was resolved before, as any actor could.
fn deliver<B: millpond::Backend>(pool: &Pool<B>, ground: &Ground, targets: Targets) -> TerminationReport {
    let (reply, answer) = tokio::sync::oneshot::channel();
    let message = PoolMessage::Terminate(targets, Ladder::kill(), reply.into());
    pool.actor().cast(message).expect("the pool is up");
    ground.block_on(answer).expect("it answers")
}

fn held<K: Kind>(pool: &Pool<K::Backend>, ground: &Ground) -> (millpond::JobHandle<crate::kinds::Output>, Latch) {
    let (latch, bodies) = (ground.latch(), Meter::default());
    let job = put_labelled::<K>(pool, "import", Work::value(1).counted(&bodies).until(&latch));
    eventually("the job has begun", || bodies.inside() == 1);
    (job, latch)
}

fn holder<B: millpond::Backend>(pool: &Pool<B>, job: millpond::JobId) -> Option<WorkerId> {
    let rows = pool.inventory_now().workers;
    rows.iter().find(|row| row.job.as_ref().is_some_and(|held| held.id == job)).map(|row| row.worker)
}

/// By job, by label and by age.
fn resolve<B: millpond::Backend>(pool: &Pool<B>, job: millpond::JobId) -> [Targets; 3] {
    let by = [Select::job(job), Select::label("import"), Select::active_longer_than(Duration::ZERO)];
    by.map(|select| pool.select(&select).expect("it names what exists"))
}

fn the_same_worker_runs_the_next_job<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h08-next", &ground, 1);
    let (first, latch) = held::<K>(&pool, &ground);
    let worker = holder(&pool, first.id()).expect("somebody runs it");
    let resolved = resolve(&pool, first.id());
    assert!(resolved.iter().all(|targets| targets.len() == 1), "{resolved:?}");
    latch.open();
    assert_eq!(value(first), 1);

    let (second, latch) = held::<K>(&pool, &ground);
    assert_eq!(holder(&pool, second.id()), Some(worker), "the same incarnation");
    for targets in resolved {
        let report = deliver(&pool, &ground, targets);
        assert_eq!(report.targets[0].fate, Fate::Finished);
        assert_eq!((second.status(), holder(&pool, second.id())), (JobStatus::Running, Some(worker)));
    }
    latch.open();
    assert_eq!(value(second), 1, "the successor completes");
    at_rest(&pool);
    assert_eq!(pool.inventory_now().workers[0].worker, worker, "nobody was replaced");
}

fn across_a_restart<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h08-restart", &ground, 1);
    let (first, latch) = held::<K>(&pool, &ground);
    let worker = holder(&pool, first.id()).expect("somebody runs it");
    let mut late: Vec<_> = resolve(&pool, first.id()).into();
    late.push(pool.select(&Select::worker(worker)).expect("it exists"));
    let ladder = Ladder::new().then(Rung::Kill, Duration::from_secs(5));
    let killed = pool.blocking().terminate(Select::worker(worker), ladder, TimeLimit::secs(10)).expect("it answers");
    assert_eq!(killed.targets[0].fate, if K::KILLABLE { Fate::Killed } else { Fate::Abandoned });
    assert!(first.join().is_err());
    latch.open();
    eventually("the old worker is gone", || pool.inventory_now().workers.iter().all(|row| row.worker != worker));

    let (second, latch) = held::<K>(&pool, &ground);
    let successor = holder(&pool, second.id()).expect("somebody runs it");
    assert_eq!((successor.slot, successor.generation), (worker.slot, worker.generation + 1));
    for targets in late {
        let report = deliver(&pool, &ground, targets);
        assert_eq!(report.targets[0].fate, Fate::Stale);
        assert_eq!(second.status(), JobStatus::Running);
    }
    latch.open();
    assert_eq!(value(second), 1);
    at_rest(&pool);
}

fn across_a_resize<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h08-resize", &ground, 2);
    let ((stays, stay), (leaves, leave)) = (held::<K>(&pool, &ground), held::<K>(&pool, &ground));
    let worker = holder(&pool, leaves.id()).expect("somebody runs it");
    let late =
        [Select::job(leaves.id()), Select::worker(worker)].map(|select| pool.select(&select).expect("it exists"));

    let limit = TimeLimit::default();
    let report = pool.blocking().resize(Limits::fixed(1), limit).expect("it answers");
    assert_eq!(report.debt, 1);
    leave.open();
    assert_eq!(value(leaves), 1, "a shrink fails no job");
    assert_eq!(ground.block_on(report.settled()), [worker]);
    drop(pool.blocking().resize(Limits::fixed(2), limit).expect("it answers"));

    let (next, latch) = held::<K>(&pool, &ground);
    let successor = holder(&pool, next.id()).expect("somebody runs it");
    assert_eq!((successor.slot, successor.generation), (worker.slot, worker.generation + 1));
    for targets in late {
        assert_eq!(deliver(&pool, &ground, targets).targets[0].fate, Fate::Stale);
        assert_eq!(next.status(), JobStatus::Running);
    }
    latch.open();
    stay.open();
    assert_eq!((value(next), value(stays)), (1, 1));
    at_rest(&pool);
}

/// Whichever comes first: the job behind it always completes.
fn the_kill_races_the_end_of_its_job<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h08-race", &ground, 1);
    for round in 0..300 {
        let (first, latch) = held::<K>(&pool, &ground);
        let second = put::<K>(&pool, Work::value(round));
        let [by_job, by_label, by_age] = resolve(&pool, first.id());
        let targets = [by_job, by_label, by_age].concat();
        let ending = std::thread::scope(|scope| {
            scope.spawn(|| latch.open());
            deliver(&pool, &ground, targets)
        });
        assert_eq!(value(second), round, "the successor completes");
        let fates: Vec<_> = ending.targets.iter().map(|target| target.fate).collect();
        let ended = |fate: &Fate| matches!(fate, Fate::Finished | Fate::Killed | Fate::Abandoned | Fate::Stale);
        assert!(fates.iter().all(ended), "{fates:?}");
        if first.join().is_err() {
            assert!(fates.iter().any(|fate| *fate != Fate::Stale), "who was killed is reported: {fates:?}");
        }
    }
    at_rest(&pool);
}
