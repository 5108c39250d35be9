//! Limits and resize, and invariant 2.

use millpond::{ControlError, Executor, JobStatus, Lane, Limits, PoolExecutor, WorkerId};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, at_rest, build, fixed, hold, offer, put, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    eight_to_two_to_eight_under_load_stops_nobody,
    debt_is_paid_by_whoever_next_asks_for_work_and_settled_names_them,
    growth_cancels_debt_first,
    a_shrink_takes_idle_workers_first,
    nothing_starts_while_seats_are_owed,
    growth_wakes_those_who_wait_at_the_gate,
    workers_start_on_demand_up_to_max,
    a_later_resize_settles_an_earlier_one,
    a_pool_that_drains_is_not_resized,
}

fn workers(pool: &dyn PoolExecutor) -> Vec<WorkerId> {
    pool.inventory_now().workers.iter().map(|row| row.worker).collect()
}

/// `DESIGN.md`, section 2, the first table: down and up again under load costs no worker.
fn eight_to_two_to_eight_under_load_stops_nobody<S: Subject>() {
    let pool = fixed::<S>("8-2-8", 8);
    let gate = Gate::new();
    let handles = hold::<S>(&pool, &gate, 8);
    let before = workers(&pool);
    let shrunk = soon(pool.resize(Limits::fixed(2), LIMIT)).unwrap();
    assert_eq!((shrunk.from, shrunk.to, shrunk.debt), (Limits::fixed(8), Limits::fixed(2), 6));
    let seen = pool.saturation();
    assert_eq!((seen.limit, seen.debt, seen.workers, seen.active), (2, 6, 8, 8), "nobody is stopped");
    let grown = soon(pool.resize(Limits::fixed(8), LIMIT)).unwrap();
    assert_eq!((grown.debt, pool.saturation().debt), (0, 0));
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert_eq!(workers(&pool), before, "nobody was stopped or started");
    assert_eq!(soon(shrunk.settled()), [], "nobody had to leave");
}

/// Whoever waits for the debt to be paid learns who paid it.
fn debt_is_paid_by_whoever_next_asks_for_work_and_settled_names_them<S: Subject>() {
    let pool = fixed::<S>("settled", 4);
    let (stay, leave) = (Gate::new(), Gate::new());
    let staying = hold::<S>(&pool, &stay, 2);
    let leaving = hold::<S>(&pool, &leave, 2);
    let mut who: Vec<_> = leaving.iter().map(|handle| worker_of(&pool, handle)).collect();
    let report = soon(pool.resize(Limits::fixed(2), LIMIT)).unwrap();
    assert_eq!(report.debt, 2);
    let mut settled = report.settled();
    let limit = std::time::Duration::from_millis(1);
    let not_yet = settled.wait_timeout(limit).expect_err("both still work");
    assert_eq!((not_yet.limit, not_yet.to_string().as_str()), (limit, "not within 1 ms"));
    let mut settled = spawn(settled);
    assert_pending!(settled.poll());
    leave.open();
    leaving.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let mut left = soon(settled);
    left.sort();
    who.sort();
    assert_eq!(left, who);
    assert_eq!((pool.saturation().debt, pool.saturation().workers), (0, 2));
    assert!(staying.iter().all(|handle| handle.status() == JobStatus::Running));
    stay.open();
    staying.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// The table's last row: a worker that was to leave stays before another is started.
fn growth_cancels_debt_first<S: Subject>() {
    let pool = fixed::<S>("grow-first", 6);
    let (one, rest) = (Gate::new(), Gate::new());
    let first = hold::<S>(&pool, &one, 1);
    let others = hold::<S>(&pool, &rest, 5);
    soon(pool.resize(Limits::fixed(2), LIMIT)).unwrap();
    one.open();
    first.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("one has paid", || pool.saturation().workers == 5);
    assert_eq!(pool.saturation().debt, 3);
    let kept = workers(&pool);
    let report = soon(pool.resize(Limits::fixed(5), LIMIT)).unwrap();
    assert_eq!(report.debt, 0);
    rest.open();
    others.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert!(kept.iter().filter(|worker| workers(&pool).contains(worker)).count() == 5, "all five stayed");
}

/// As long as somebody idles, no busy worker has to go, and no job ever.
fn a_shrink_takes_idle_workers_first<S: Subject>() {
    let pool = fixed::<S>("idle-first", 4);
    until("all are up", || pool.saturation().idle == 4);
    let gate = Gate::new();
    let busy = hold::<S>(&pool, &gate, 2);
    let idle: Vec<_> = {
        let inventory = pool.inventory_now();
        inventory.workers.iter().filter(|row| row.job.is_none()).map(|row| row.worker).collect()
    };
    let report = soon(pool.resize(Limits::fixed(2), LIMIT)).unwrap();
    assert_eq!(report.debt, 0);
    let mut left = soon(report.settled());
    left.sort();
    assert_eq!(left, idle);
    gate.open();
    busy.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert_eq!(pool.saturation().workers, 2);
}

/// Invariant 2: seats that are owed are not used again.
fn nothing_starts_while_seats_are_owed<S: Subject>() {
    let pool = fixed::<S>("owed", 3);
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let running: Vec<_> = gates.iter().flat_map(|gate| hold::<S>(&pool, gate, 1)).collect();
    let last = Gate::new();
    let queued: Vec<_> = (0..3).map(|_| put::<S>(&pool, Task::deaf(&last))).collect();
    soon(pool.resize(Limits::fixed(1), LIMIT)).unwrap();
    for (gate, left) in gates.iter().zip([2, 1]) {
        gate.open();
        until("one pays", || pool.saturation().active == left);
        assert_eq!((last.entered(), pool.saturation().queued), (0, 3), "none of the queued starts");
    }
    gates[2].open();
    until("the debt is paid and the next one starts", || last.entered() == 1);
    assert_eq!((pool.saturation().active, pool.saturation().workers), (1, 1));
    last.open();
    running.into_iter().chain(queued).for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// Those who wait are let in by the growth itself, not by the next job that ends.
fn growth_wakes_those_who_wait_at_the_gate<S: Subject>() {
    let pool = build::<S>("grow-wakes", |builder| {
        builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(0))
    });
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut waiter = spawn(pool.submit(S::job(Task::value(1))));
    assert_pending!(waiter.poll());
    soon(pool.resize(Limits::fixed(2), LIMIT)).unwrap();
    assert!(waiter.is_woken(), "before the resize is answered");
    let handle = soon(waiter).expect("there is a seat");
    assert_eq!(soon(handle).unwrap(), 1);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// No worker is there before a job wants it, and none beyond `max`.
fn workers_start_on_demand_up_to_max<S: Subject>() {
    let pool = build::<S>("demand", |builder| builder.limits(Limits::new(0, 3)));
    assert_eq!(pool.saturation().workers, 0);
    let gate = Gate::new();
    let mut handles = Vec::new();
    for wanted in [1, 2, 3] {
        handles.extend(hold::<S>(&pool, &gate, 1));
        assert_eq!(pool.saturation().workers, wanted);
    }
    handles.extend((0..5).map(|_| put::<S>(&pool, Task::deaf(&gate))));
    assert_eq!((pool.saturation().workers, pool.saturation().queued), (3, 5));
    gate.open();
    handles.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

/// `ResizeReport::settled`: "ends when the debt is paid, or another resize has taken its place".
fn a_later_resize_settles_an_earlier_one<S: Subject>() {
    let pool = fixed::<S>("superseded", 2);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 2);
    let first = soon(pool.resize(Limits::fixed(1), LIMIT)).unwrap();
    let second = soon(pool.resize(Limits::fixed(1), LIMIT)).unwrap();
    assert_eq!((first.debt, second.debt), (1, 1));
    assert_eq!(soon(first.settled()), []);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    assert_eq!(soon(second.settled()).len(), 1);
    at_rest(&pool);
}

/// A pool that goes has no size to be given.
fn a_pool_that_drains_is_not_resized<S: Subject>() {
    let pool = fixed::<S>("too-late", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut end = spawn(pool.shutdown(LIMIT));
    assert_pending!(end.poll());
    let error = soon(pool.resize(Limits::fixed(2), LIMIT)).expect_err("it is going");
    assert!(matches!(error, ControlError::TooLate { operation: "resize", .. }), "{error}");
    assert!(offer::<S>(&pool, Task::value(1)).is_err());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    assert_eq!(soon(end).unwrap().completed, 1);
}
