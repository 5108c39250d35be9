//! Recycling: one worker goes for each that may, never below `min`, and no job is lost with it.

use loom::future::block_on;

use super::{NOW, Pond, WorkerContext, check, config, join, lane, look, work, work_once};
use crate::config::{Limits, PoolConfig};
use crate::policy::{Exit, RecycleReason};

const DUE: RecycleReason = RecycleReason::Jobs(1);

#[test]
fn of_two_that_are_due_one_goes() {
    let config = PoolConfig { limits: Limits::new(1, 3), ..config(2, &[lane(4)]) };
    check(2, move || {
        let pond = Pond::new(&config);
        let mut workers = [pond.employ(0), pond.employ(1)];
        let handles = [pond.submit(0), pond.submit(0)];
        workers.iter_mut().for_each(look);
        let due = workers.each_ref().map(WorkerContext::facts_cell);
        assert!(due.iter().all(|cell| pond.plane.make_due(cell, DUE)));
        let workers = workers.map(|mut worker| {
            pond.spawn(move |_| {
                assert!(work_once(&mut worker));
                worker
            })
        });
        pond.plane.let_one_go(&due, NOW);
        let workers = workers.map(join);
        // One that idles by then goes at once, without having asked.
        assert!(pond.plane.counts.live() >= 1, "never below min");
        let gone =
            workers.iter().filter(|worker| matches!(worker.facts_cell().lock().leave, Some(Exit::Recycled(DUE))));
        assert_eq!(gone.count(), 1, "one may go");
        handles.into_iter().for_each(|handle| assert!(block_on(handle).is_ok()));
        drop(workers);
        pond.assert_at_rest();
    });
}

#[test]
fn a_worker_that_may_go_takes_no_job_along() {
    let config = PoolConfig { limits: Limits::new(1, 3), ..config(2, &[lane(4)]) };
    check(1, move || {
        let pond = Pond::new(&config);
        let mut due = pond.employ(0);
        look(&mut due);
        let cells = [due.facts_cell()];
        assert!(pond.plane.make_due(&cells[0], DUE));
        let mut other = pond.employ(1);
        look(&mut other);
        let workers = [due, other].map(|worker| pond.spawn(|_| work(worker)));
        let handle = pond.submit(0);
        pond.plane.let_one_go(&cells, NOW);
        assert!(block_on(handle).is_ok(), "whoever is there runs it");
        pond.plane.stop_all();
        assert_eq!(workers.into_iter().map(join).sum::<usize>(), 1);
        pond.assert_at_rest();
    });
}
