//! 1. Control starvation: a supervisor that waits for its workers is as stuck as they are.
//!
//! One worker of four blocks for 25 s. While it is being killed, inventory, submit and resize have to be answered; afterwards the
//! inventory shows it as `Abandoned`, or it is gone if a kill reaches it; and another one works in its place. With nobody killing, the other three are not disturbed.

use std::time::Duration;

use millpond::{Fate, JobError, JobStatus, Ladder, PoolExecutor, Rung, Select, TimeLimit, WorkerState};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, on_fresh_instances, put, put_labelled, value};
use crate::latch::Meter;
use crate::patience::{CONTROL_LIMIT, at_rest, control_answers, eventually, scaled};

const BLOCKED_FOR: Duration = Duration::from_secs(25);
/// Longer than any answer may take: a supervisor that waited it out would be noticed.
const GRACE: Duration = CONTROL_LIMIT.saturating_mul(2);

on_every_kind!(a_blocked_worker_is_killed, a_blocked_worker_is_left_alone, a_blocked_worker_holds_up_no_other);
on_fresh_instances!(a_blocked_worker_is_killed, a_blocked_worker_is_left_alone, a_blocked_worker_holds_up_no_other);

fn a_blocked_worker_is_killed<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h01-killed", &ground, 4);
    let (stuck, bodies) = (ground.latch(), Meter::default());
    let victim = put_labelled::<K>(&pool, "stuck", Work::value(0).counted(&bodies).block(&stuck));
    eventually("the job has begun", || bodies.inside() == 1);

    let ladder = Ladder::new().then(Rung::Kill, GRACE);
    let submit = || drop(put::<K>(&pool, Work::value(1)));
    let report = std::thread::scope(|scope| {
        let kill = || pool.blocking().terminate(Select::label("stuck"), ladder, TimeLimit::secs(10));
        let killing = scope.spawn(kill);
        // Not for longer than the grace, lest one slow answer be lost among many quick ones.
        control_answers(&pool, GRACE / 2, submit);
        killing.join().expect("no panic").expect("the kill answers while the worker blocks")
    });
    control_answers(&pool, scaled(BLOCKED_FOR), submit);

    let fates: Vec<_> = report.targets.iter().map(|target| target.fate).collect();
    let rows = pool.inventory_now().workers;
    let abandoned = rows.iter().filter(|row| row.state == WorkerState::Abandoned);
    let labels: Vec<_> = abandoned.filter_map(|row| row.job.as_ref()?.label.clone()).collect();
    let labels: Vec<_> = labels.iter().map(|label| &**label).collect();
    if K::KILLED_ANYWHERE {
        assert_eq!((fates, labels), (vec![Fate::Killed], vec![]));
        assert!(matches!(failure(victim), JobError::Killed(_)));
    } else {
        assert_eq!((fates, labels), (vec![Fate::Abandoned], vec!["stuck"]), "inventory shows who has the slot");
        assert!(matches!(failure(victim), JobError::Abandoned(_)));
        assert_eq!(bodies.inside(), 1, "all this came while the worker was blocked");
    }
    four_jobs_run_at_once::<K>(&pool, &ground);

    stuck.open();
    at_rest(&pool);
    assert_eq!(pool.saturation().workers, 4);
}

fn a_blocked_worker_is_left_alone<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h01-left-alone", &ground, 4);
    let (stuck, bodies) = (ground.latch(), Meter::default());
    let slow = put::<K>(&pool, Work::value(7).counted(&bodies).block(&stuck));
    eventually("the job has begun", || bodies.inside() == 1);
    control_answers(&pool, scaled(BLOCKED_FOR), || drop(put::<K>(&pool, Work::value(1))));
    assert_eq!(value(put::<K>(&pool, Work::value(2))), 2, "the other workers run jobs");
    assert_eq!(bodies.inside(), 1);
    stuck.open();
    assert_eq!(value(slow), 7);
    at_rest(&pool);
}

/// A worker that is about to block has just called another one; that one must not lie where only the blocked thread can get at it.
fn a_blocked_worker_holds_up_no_other<K: Kind>() {
    let ground = Ground::new();
    let pool = K::pool("h01-burst", &ground, 2);
    for round in 0..100 {
        eventually("both are idle", || pool.saturation().idle == 2);
        let (stuck, bodies) = (ground.latch(), Meter::default());
        let slow = put::<K>(&pool, Work::value(round).counted(&bodies).block(&stuck));
        let quick = put::<K>(&pool, Work::value(round));
        eventually("the job beside the blocked one runs", || quick.status() == JobStatus::Done);
        eventually("the slow one runs", || bodies.entered() == 1);
        stuck.open();
        assert_eq!((value(quick), value(slow)), (round, round));
    }
}

/// The pool has four workers that work, whatever else it has.
fn four_jobs_run_at_once<K: Kind>(pool: &millpond::Pool<K::Backend>, ground: &Ground) {
    let (held, bodies) = (ground.latch(), Meter::default());
    let jobs: Vec<_> = (0..4).map(|n| put::<K>(pool, Work::value(n).counted(&bodies).until(&held))).collect();
    eventually("four jobs run at once", || bodies.inside() == 4);
    held.open();
    assert_eq!(jobs.into_iter().map(value).sum::<u64>(), 6);
}
