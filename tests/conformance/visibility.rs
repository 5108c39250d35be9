//! What can be seen: saturation, inventory, snapshot, and the job's view of itself.

use std::sync::mpsc::sync_channel;

use millpond::{Health, JobContext, JobOptions, Lane, Limits, PoolExecutor, WorkerState, pools};

use crate::rig::{LIMIT, at_rest, build, fixed, hold, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    an_inventory_row_says_who_what_and_from_which_line,
    an_inventory_prints_as_a_table,
    saturation_counts_every_place,
    a_snapshot_holds_lanes_ledger_ages_and_histograms,
    inventory_answers_by_message_while_every_worker_is_stuck,
    nobody_has_a_job_outside_of_jobs,
    every_pool_of_the_process_is_listed
    ;
    in_this_process:
    a_beat_is_seen,
    a_job_knows_itself,
}

/// Each column, at a moment when its value is known.
fn an_inventory_row_says_who_what_and_from_which_line<S: Subject>() {
    let pool = build::<S>("row", |builder| builder.limits(Limits::fixed(1)).lane(Lane::new("img")));
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    let gate = Gate::new();
    let options = JobOptions::new().lane("img").label("resize_image");
    let (handle, line) = (put_with::<S>(&pool, options, Task::deaf(&gate)), line!());
    until("it runs", || gate.entered() == 1);
    let inventory = pool.inventory_now();
    assert_eq!((&*inventory.pool, inventory.workers.len()), (pool.name(), 1));
    let row = &inventory.workers[0];
    assert_eq!((row.worker.generation, row.state, row.jobs_done, row.restarts), (1, WorkerState::Busy, 1, 0));
    assert!(row.start_delay.is_some() && row.in_state_for <= inventory.taken_at.since(row.since));
    let job = row.job.as_ref().expect("it has a job");
    assert_eq!((job.id, job.label.as_deref(), &*job.lane), (handle.id(), Some("resize_image"), "img"));
    assert_eq!((job.submitted_from.file(), job.submitted_from.line()), (file!(), line));
    assert_eq!(inventory.longest_active().map(|row| row.worker), Some(row.worker));
    gate.open();
    soon(handle).unwrap();
    at_rest(&pool);
    let idle = pool.inventory_now();
    assert_eq!((idle.workers[0].state, idle.workers[0].jobs_done), (WorkerState::Idle, 2));
    assert!(idle.workers[0].job.is_none() && idle.longest_active().is_none());
}

/// What an operator asks first is in what gets printed.
fn an_inventory_prints_as_a_table<S: Subject>() {
    let pool = fixed::<S>("table", 2);
    until("both are up", || pool.saturation().idle == 2);
    let gate = Gate::new();
    let (handle, line) = (put_with::<S>(&pool, JobOptions::new().label("sync"), Task::deaf(&gate)), line!());
    until("it runs", || gate.entered() == 1);
    let table = pool.inventory_now().to_string();
    assert!(table.contains(&format!("pool `{}`: 1/2 busy, 0 queued, 0 waiting", pool.name())), "{table}");
    assert!(table.contains(&format!("{}:{line}", file!())) && table.contains("sync"), "{table}");
    assert_eq!(table.lines().count(), 4, "two lines of head, one for each worker:\n{table}");
    gate.open();
    soon(handle).unwrap();
}

/// Each counter at a moment when it is known.
fn saturation_counts_every_place<S: Subject>() {
    let pool = build::<S>("counts", |builder| {
        builder.limits(Limits::fixed(3)).default_lane(Lane::new("default").capacity(4)).lane(Lane::new("b").capacity(3))
    });
    until("all are up", || pool.saturation().idle == 3);
    let gate = Gate::new();
    let mut handles = hold::<S>(&pool, &gate, 2);
    let seen = pool.saturation();
    assert_eq!((seen.limit, seen.workers, seen.active, seen.idle, seen.starting), (3, 3, 2, 1, 0));
    handles.extend(hold::<S>(&pool, &gate, 1));
    handles.push(put::<S>(&pool, Task::value(0)));
    handles.push(put_with::<S>(&pool, JobOptions::new().lane("b"), Task::value(0)));
    let seen = pool.saturation();
    assert_eq!((seen.active, seen.idle, seen.queued, seen.queue_capacity), (3, 0, 2, 7));
    assert_eq!((seen.debt, seen.abandoned, seen.waiting), (0, 0, 0));
    assert_eq!(seen.to_string(), "3/3 busy, 2 queued, 0 waiting");
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// The same per lane, and what is too much for a cheap read.
fn a_snapshot_holds_lanes_ledger_ages_and_histograms<S: Subject>() {
    let lane = Lane::new("b").capacity(9).reserve(1);
    let pool = build::<S>("snapshot", |builder| builder.limits(Limits::fixed(2)).lane(lane));
    until("both are up", || pool.saturation().idle == 2);
    (0..10).for_each(|n| assert_eq!(soon(put::<S>(&pool, Task::value(n))).unwrap(), n));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = put::<S>(&pool, Task::value(0));
    let seen = pool.snapshot();
    assert_eq!((&*seen.pool, seen.gate, &seen.health), (pool.name(), "open", &Health::Healthy));
    assert_eq!((seen.limits, seen.saturation.active), (Limits::fixed(2), 1));
    assert_eq!(seen.lanes.iter().map(|lane| &*lane.name).collect::<Vec<_>>(), ["default", "b"]);
    let (default, b) = (&seen.lanes[0], &seen.lanes[1]);
    assert_eq!((default.queued, default.active, b.capacity, b.reserve, b.active), (1, 1, 9, 1, 0));
    assert!(default.head_since.is_some_and(|at| at <= seen.taken_at) && b.head_since.is_none());
    assert_eq!((default.queue_wait.count(), default.run_time.count(), b.run_time.count()), (11, 10, 0));
    assert_eq!(seen.start_delay.count(), 2);
    assert!(seen.longest_active_since.is_some() && seen.longest_active().is_some());
    assert_eq!((seen.ledger.accepted, seen.ledger.completed, seen.ledger.pending), (12, 10, 2));
    gate.open();
    held.into_iter().chain([queued]).for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert!(pool.snapshot().longest_active().is_none());
}

/// Invariant 3: no control message waits for a job.
fn inventory_answers_by_message_while_every_worker_is_stuck<S: Subject>() {
    let pool = fixed::<S>("stuck", 2);
    let gate = Gate::new();
    let stuck: Vec<_> = (0..2).map(|_| put::<S>(&pool, Task::blocking(&gate))).collect();
    until("both are stuck", || gate.entered() == 2);
    let queued: Vec<_> = (0..500).map(|_| put::<S>(&pool, Task::value(0))).collect();
    let by_message = soon(pool.inventory(LIMIT)).expect("control is not busy");
    let jobs = |inventory: &millpond::Inventory| -> Vec<_> {
        inventory.workers.iter().map(|row| (row.worker, row.job.as_ref().map(|job| job.id))).collect()
    };
    assert_eq!(jobs(&by_message), jobs(&pool.inventory_now()));
    assert_eq!((by_message.saturation.active, by_message.saturation.queued), (2, 500));
    gate.open();
    stuck.into_iter().chain(queued).for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// A beat belongs to the job in hand, not to the one after it.
fn a_beat_is_seen<S: Subject>() {
    let pool = fixed::<S>("beat", 1);
    let gate = Gate::new();
    let beats = || JobContext::current().expect("a job has a context").beat();
    let beating = Task::call(move || {
        beats();
        0
    });
    let handle = put::<S>(&pool, beating.then_deaf(&gate));
    until("it runs", || gate.entered() == 1);
    let last_beat = || pool.inventory_now().workers[0].job.as_ref().and_then(|job| job.last_beat);
    assert!(last_beat().is_some());
    gate.open();
    soon(handle).unwrap();
    let next = Gate::new();
    let silent = hold::<S>(&pool, &next, 1);
    assert!(last_beat().is_none(), "the next job has not beaten");
    next.open();
    silent.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
}

/// Every kind of worker lends its job the context.
fn a_job_knows_itself<S: Subject>() {
    let pool = fixed::<S>("itself", 1);
    let (sender, seen) = sync_channel(1);
    let task = Task::call(move || {
        let job = JobContext::current().expect("a job has a context");
        assert!(!job.is_cancelled() && !job.cancellation().is_cancelled());
        sender.send((job.job_id(), job.worker_id(), job.label())).expect("the test listens");
        0
    });
    let gate = Gate::new();
    let handle = put_with::<S>(&pool, JobOptions::new().label("me"), task.then_deaf(&gate));
    let (job, worker, label) = seen.recv().expect("it runs");
    assert_eq!((job, label.as_deref()), (handle.id(), Some("me")));
    assert_eq!(pool.inventory_now().workers[0].worker, worker);
    gate.open();
    soon(handle).unwrap();
}

/// The same, from outside: neither a submitter nor an idle worker has one.
fn nobody_has_a_job_outside_of_jobs<S: Subject>() {
    let pool = fixed::<S>("outside", 1);
    soon(put::<S>(&pool, Task::call(|| u64::from(JobContext::current().is_some())))).unwrap();
    assert!(JobContext::current().is_none());
    assert!(soon(async { JobContext::current().is_none() }));
}

/// `pools()` shows it until it has ended, and keeps nothing alive.
fn every_pool_of_the_process_is_listed<S: Subject>() {
    let pool = fixed::<S>("listed", 1);
    let name = pool.name().to_owned();
    let listed = |name: &str| pools().into_iter().find(|pool| pool.name() == name);
    let found = listed(&name).expect("it is listed");
    assert_eq!(found.saturation().limit, 1);
    assert_eq!(found.capabilities(), pool.capabilities());
    assert!(soon(found.inventory(LIMIT)).is_ok());
    drop(pool);
    until("it has ended, though somebody looks on", || listed(&name).is_none());
    drop(found);
}
