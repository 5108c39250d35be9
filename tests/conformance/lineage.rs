//! Jobs that are submitted from inside jobs know by which.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use millpond::{JobContext, JobOptions, Lineage, PoolExecutor};

use crate::rig::{at_rest, fixed, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform!(; in_this_process: a_job_knows_by_which_job_it_was_submitted);

fn lineage() -> Option<Lineage> {
    JobContext::current().expect("a job has a context").lineage().cloned()
}

/// Across pools, as deep as it goes; inventory shows it; a job from outside has none.
fn a_job_knows_by_which_job_it_was_submitted<S: Subject>() {
    let (first, second) = (Arc::new(fixed::<S>("first", 2)), Arc::new(fixed::<S>("second", 1)));
    let gate = Gate::new();
    let (sender, seen) = sync_channel(8);
    let (there, back) = (second.clone(), first.clone());
    let (child, grandchild) = (sender.clone(), sender.clone());
    let grandchild = Task::call(move || {
        grandchild.send(lineage()).expect("the test listens");
        0
    });
    let grandchild = grandchild.then_deaf(&gate);
    let child = Task::call(move || {
        child.send(lineage()).expect("the test listens");
        drop(put_with::<S>(&back, JobOptions::new().label("grandchild"), grandchild));
        0
    });
    let outer = Task::call(move || {
        sender.send(lineage()).expect("the test listens");
        drop(put::<S>(&there, child));
        0
    });
    let handle = put_with::<S>(&first, JobOptions::new().label("outer"), outer);
    let id = handle.id();
    soon(handle).unwrap();

    assert_eq!(seen.recv().expect("it runs"), None, "nobody's job submitted the first");
    let child = seen.recv().expect("it runs").expect("it was submitted from inside a job");
    assert_eq!((&*child.pool, child.parent, child.depth), (first.name(), id, 1));
    assert_eq!((child.label.as_deref(), child.submitted_from.file()), (Some("outer"), file!()));
    let grandchild = seen.recv().expect("it runs").expect("it was submitted from inside a job");
    assert_eq!((&*grandchild.pool, grandchild.depth, grandchild.label), (second.name(), 2, None));

    until("it waits", || gate.entered() == 1);
    let rows = first.inventory_now().workers;
    let shown = rows.iter().find_map(|row| row.job.as_ref()?.lineage.clone()).expect("inventory shows it");
    assert_eq!((&*shown.pool, shown.parent), (second.name(), grandchild.parent));
    gate.open();
    at_rest(&*first);
    at_rest(&*second);
}
