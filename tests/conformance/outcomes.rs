//! Outcomes and invariant 1: what an accepted job can come to.

use std::sync::Arc;

use millpond::{JobError, JobHandle, JobOptions, JoinError, Lane, Limits, PoolExecutor};

use crate::rig::{at_rest, build, fixed, hold, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_panic_comes_back_with_message_place_and_submitter,
    a_worker_passes_any_number_of_cancelled_jobs,
    join_gives_output_and_failure,
    what_a_job_leaves_behind_is_dropped_once,
}

/// The error says what the panic said, where that was, and in which job.
fn a_panic_comes_back_with_message_place_and_submitter<S: Subject>() {
    let pool = fixed::<S>("panic", 1);
    let (task, panicked_at) = (Task::call(|| panic!("no {} today", "luck")), line!());
    let (handle, submitted_at) = (put::<S>(&pool, task), line!());
    let id = handle.id();
    let error = soon(handle).expect_err("it panicked");
    let JobError::Panicked(report) = &error else { panic!("{error}") };
    assert_eq!((report.job, &*report.message), (id, "no luck today"));
    assert_eq!((report.submitted_from.file(), report.submitted_from.line()), (file!(), submitted_at));
    let place = report.location.as_deref().expect("the place is known");
    assert!(place.starts_with(&format!("{}:{panicked_at}:", file!())), "{place}");
    let text = error.to_string();
    assert!(text.contains("no luck today") && text.contains(place), "{text}");
    let worker = report.worker.expect("it is known");
    assert_eq!(report.pool.as_deref(), Some(pool.name()));
    assert!(text.starts_with(&format!("pool `{}`: job {id} from ", pool.name())), "{text}");
    assert!(text.contains(&format!(" panicked on worker {worker} at ")), "{text}");
    assert_eq!(soon(put::<S>(&pool, Task::value(1))).unwrap(), 1, "the pool goes on");
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.panicked, ledger.completed), (1, 1));
}

/// Those that died in place stand between the living, and a worker looks at a limited number of them at a time.
fn a_worker_passes_any_number_of_cancelled_jobs<S: Subject>() {
    const LIVING: usize = 1_600;
    const DEAD: usize = 1_400;
    let lane = Lane::new("default").capacity(1 + LIVING + DEAD);
    let pool = build::<S>("cancel-many", |builder| builder.limits(Limits::fixed(1)).default_lane(lane));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let mut living = vec![put::<S>(&pool, Task::value(1))];
    let dead: Vec<_> = (0..DEAD).map(|_| put::<S>(&pool, Task::value(0))).collect();
    living.extend((1..LIVING).map(|_| put::<S>(&pool, Task::value(1))));
    dead.iter().for_each(JobHandle::cancel);
    gate.open();
    let ran: u64 = held.into_iter().chain(living).map(|handle| soon(handle).expect("nobody cancelled it")).sum();
    assert_eq!(ran, LIVING as u64);
    at_rest(&pool);
    assert_eq!(pool.snapshot().ledger.cancelled, DEAD as u64);
}

/// A caller without a runtime waits by `join`.
fn join_gives_output_and_failure<S: Subject>() {
    let pool = fixed::<S>("join", 1);
    assert_eq!(put::<S>(&pool, Task::value(4)).join().unwrap(), 4);
    let failed = put_with::<S>(&pool, JobOptions::new().label("bad"), Task::panics("as told")).join();
    assert!(matches!(failed, Err(JoinError::Job(JobError::Panicked(_)))), "{failed:?}");
    at_rest(&pool);
}

/// Invariant 7: no leak; whatever way a job goes, what it captured is dropped, once.
fn what_a_job_leaves_behind_is_dropped_once<S: Subject>() {
    let pool = fixed::<S>("leaks", 1);
    let kept = Arc::new(());
    let gate = Gate::new();
    let carrying = |kept: &Arc<()>| {
        let kept = kept.clone();
        Task::call(move || Arc::strong_count(&kept) as u64)
    };
    let held = hold::<S>(&pool, &gate, 1);
    let completed = put::<S>(&pool, carrying(&kept));
    let cancelled = put::<S>(&pool, carrying(&kept));
    drop(put::<S>(&pool, carrying(&kept)));
    let panicked = put::<S>(&pool, carry_and_panic(&kept));
    cancelled.cancel();
    gate.open();
    assert!(soon(completed).unwrap() >= 2);
    assert!(soon(cancelled).is_err() && soon(panicked).is_err());
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    until("all copies are dropped", || Arc::strong_count(&kept) == 1);
}

fn carry_and_panic(kept: &Arc<()>) -> Task {
    let kept = kept.clone();
    Task::call(move || panic!("with {} in hand", Arc::strong_count(&kept)))
}
