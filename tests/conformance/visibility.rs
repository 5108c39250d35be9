//! What can be seen: inventory as it is printed, and the job's view of itself.

use std::sync::mpsc::sync_channel;

use millpond::{JobContext, JobOptions, PoolExecutor};

use crate::rig::{fixed, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    an_inventory_prints_as_a_table,
    nobody_has_a_job_outside_of_jobs
    ;
    in_this_process:
    a_job_knows_itself,
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
