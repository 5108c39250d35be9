//! Outcomes and invariant 1: what an accepted job can come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{JobError, JobHandle, JobOptions, JobStatus, JoinError, Lane, Limits, PoolExecutor};

use crate::rig::{LIMIT, at_rest, build, fixed, hold, put, put_with, soon, status_becomes, until, worker_of};
use crate::subject::Subject;
use crate::task::{ASKED, Gate, Task};

conform! {
    a_panic_comes_back_with_message_place_and_submitter,
    a_panic_ends_a_stateful_worker_and_no_other,
    a_queued_job_that_is_cancelled_never_runs,
    a_worker_passes_any_number_of_cancelled_jobs,
    a_running_job_that_is_cancelled_ends_as_it_sees_fit,
    a_job_that_has_ended_is_not_cancelled_any_more,
    a_handle_that_cancels_on_drop_cancels,
    a_handle_that_is_dropped_detaches,
    a_handle_says_where_its_job_is,
    join_gives_output_and_failure,
    a_join_with_a_limit_leaves_the_handle_as_it_was,
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

/// After a panic an actor begins anew, with a fresh state; a thread just goes on.
fn a_panic_ends_a_stateful_worker_and_no_other<S: Subject>() {
    let pool = fixed::<S>("suspect", 1);
    let gate = Gate::new();
    let before = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let worker = worker_of(&pool, &before);
    gate.open();
    soon(before).unwrap();
    assert!(soon(put::<S>(&pool, Task::panics("as told"))).is_err());
    let next = Gate::new();
    let after = hold::<S>(&pool, &next, 1).pop().expect("one");
    let restarted = u32::from(S::ENDS_AFTER_PANIC);
    assert_eq!(worker_of(&pool, &after).generation, worker.generation + restarted);
    assert_eq!(pool.inventory_now().workers[0].restarts, restarted);
    next.open();
    soon(after).unwrap();
    at_rest(&pool);
}

/// There is nobody to ask about a job that no worker has: it is over at once.
fn a_queued_job_that_is_cancelled_never_runs<S: Subject>() {
    let pool = fixed::<S>("cancel-queued", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let (task, ran) = counting();
    let queued = put_with::<S>(&pool, JobOptions::new().label("late"), task);
    queued.cancel();
    assert_eq!((queued.status(), pool.saturation().queued), (JobStatus::Done, 0));
    let id = queued.id();
    let error = soon(queued).expect_err("it was cancelled");
    assert!(matches!(&error, JobError::Cancelled(cancelled) if cancelled.job == id), "{error}");
    let (text, line) = (error.to_string(), "`late` from tests/conformance/");
    assert!(text.starts_with(&format!("pool `{}`: job {id} {line}", pool.name())), "{text}");
    assert!(
        text.contains(" was cancelled by its handle before it began, ") && text.ends_with(" after its admission"),
        "{text}"
    );
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
    assert_eq!((ran.load(Ordering::Acquire), pool.snapshot().ledger.cancelled), (0, 1));
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

fn a_running_job_that_is_cancelled_ends_as_it_sees_fit<S: Subject>() {
    let pool = fixed::<S>("cancel-running", 2);
    let gate = Gate::new();
    let polite = put::<S>(&pool, Task::polite(&gate));
    let deaf = put::<S>(&pool, Task::deaf(&gate));
    until("both run", || gate.entered() == 2);
    polite.cancel();
    deaf.cancel();
    assert_eq!(soon(polite).unwrap(), ASKED);
    assert_eq!(deaf.status(), JobStatus::Running);
    gate.open();
    assert_eq!(soon(deaf).unwrap(), 0);
    at_rest(&pool);
    assert_eq!(pool.snapshot().ledger.completed, 2);
}

fn a_job_that_has_ended_is_not_cancelled_any_more<S: Subject>() {
    let pool = fixed::<S>("cancel-late", 1);
    let handle = put::<S>(&pool, Task::value(8));
    status_becomes(&handle, JobStatus::Done);
    handle.cancel();
    assert_eq!(soon(handle).unwrap(), 8);
    at_rest(&pool);
}

/// Invariant 7, for those who want a dropped handle to mean that nobody wants the job.
fn a_handle_that_cancels_on_drop_cancels<S: Subject>() {
    let pool = fixed::<S>("cancel-on-drop", 1);
    let gate = Gate::new();
    let running = put::<S>(&pool, Task::polite(&gate)).cancel_on_drop();
    until("it runs", || gate.entered() == 1);
    let (task, ran) = counting();
    drop(put::<S>(&pool, task).cancel_on_drop());
    assert_eq!(pool.snapshot().ledger.cancelled, 1);
    drop(running);
    at_rest(&pool);
    assert_eq!((ran.load(Ordering::Acquire), pool.snapshot().ledger.completed), (0, 1));
}

/// Nobody has to keep a handle for the sake of its job.
fn a_handle_that_is_dropped_detaches<S: Subject>() {
    let pool = fixed::<S>("detach", 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let (task, ran) = counting();
    drop(put::<S>(&pool, task));
    drop(held);
    gate.open();
    at_rest(&pool);
    assert_eq!((ran.load(Ordering::Acquire), pool.snapshot().ledger.completed), (1, 2));
}

fn a_handle_says_where_its_job_is<S: Subject>() {
    let pool = fixed::<S>("status", 1);
    let gate = Gate::new();
    let running = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let queued = put::<S>(&pool, Task::value(1));
    assert_eq!((running.status(), queued.status()), (JobStatus::Running, JobStatus::Queued));
    gate.open();
    assert_eq!(soon(queued).unwrap(), 1);
    assert_eq!(running.status(), JobStatus::Done);
    assert_eq!(soon(running).unwrap(), 0);
    at_rest(&pool);
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

/// A task that counts its runs.
fn counting() -> (Task, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    (Task::call(move || count.fetch_add(1, Ordering::AcqRel) as u64), runs)
}

/// `join_timeout`: "until there is one, the handle stays as it is".
fn a_join_with_a_limit_leaves_the_handle_as_it_was<S: Subject>() {
    let pool = fixed::<S>("join-limit", 1);
    let gate = Gate::new();
    let mut running = hold::<S>(&pool, &gate, 1).pop().expect("one").cancel_on_drop();
    let mut queued = put::<S>(&pool, Task::value(5));
    let limit = std::time::Duration::from_millis(2);
    for (handle, runs, words) in [(&mut running, true, "it runs"), (&mut queued, false, "it waits for a worker")] {
        let error = handle.join_timeout(limit).expect_err("the gate is shut");
        assert!(
            matches!(&error, JoinError::NotYet { job, began, .. } if (*job, *began) == (handle.id(), runs)),
            "{error}"
        );
        assert!(error.to_string().contains(words) && error.to_string().contains("2 ms"), "{error}");
    }
    gate.open();
    assert_eq!(queued.join_timeout(LIMIT.0).expect("it ends"), 5);
    assert_eq!(running.join().expect("it was not cancelled"), 0);
    let mut panics = put::<S>(&pool, Task::panics("as told"));
    assert!(matches!(panics.join_timeout(LIMIT.0), Err(JoinError::Job(JobError::Panicked(_)))));
    at_rest(&pool);
}
