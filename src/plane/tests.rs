//! What holds the plane's locks, and for how long: with a crowd of workers, and while others look at them.

use std::panic::Location;
use std::sync::mpsc;
use std::time::Duration;

use super::{Claim, ControlPort, Garbage, Plane, Signal, WorkerContext};
use crate::config::{Limits, PoolConfig};
use crate::id::{LaneId, WorkerId};
use crate::job::{JobCell, Share, Submission};
use crate::policy::{Exit, RecycleReason};
use crate::snapshot::Ended;
use crate::sync::{Arc, AtomicUsize, Ordering, Timestamp, block_on};

/// Who waits for longer waits for ever.
const FOR_EVER: Duration = Duration::from_secs(60);

type Job = JobCell<(), ()>;

/// Control, as the tests of the plane have it: counts how often it is told that workers are wanted.
#[derive(Clone, Default)]
pub(super) struct Demands(pub(super) Arc<AtomicUsize>);

impl ControlPort for Demands {
    fn signal(&self, signal: Signal) {
        if matches!(signal, Signal::Demand) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn discard(&self, garbage: Garbage) {
        garbage.dispose();
    }

    fn in_passes(&self, mut pass: Box<dyn FnMut() -> bool + Send>) {
        while pass() {}
    }

    fn alarm(&self, _at: Timestamp) {}

    fn would_block(&self) -> bool {
        false
    }
}

fn plane(limits: Limits) -> Arc<Plane<Job>> {
    Plane::new(PoolConfig { limits, ..PoolConfig::new("crowd") }, Box::<Demands>::default())
}

fn id(slot: u32) -> WorkerId {
    WorkerId { slot, generation: 1 }
}

/// So many workers, all of which idle.
fn idle(plane: &Arc<Plane<Job>>, workers: u32) -> Vec<WorkerContext<Job>> {
    let employ = |slot| {
        let mut worker = WorkerContext::new(plane.clone(), plane.seat_worker(id(slot), 0));
        assert!(worker.turn(plane.clock.now(), None).is_none());
        worker
    };
    (0..workers).map(employ).collect()
}

#[test]
fn who_is_let_go_is_found_without_a_look_at_the_crowd() {
    let plane = plane(Limits::new(1, 1_000));
    let mut workers = idle(&plane, 1_000);
    let due = workers.pop().expect("the last of them");
    let due_cell = due.facts_cell();
    let reason = RecycleReason::Jobs(1);
    assert!(plane.make_due(&due_cell, reason));
    // Whoever looks at one of these waits.
    let cells: Vec<_> = workers.iter().map(WorkerContext::facts_cell).collect();
    let locked: Vec<_> = cells.iter().map(|cell| cell.lock()).collect();
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            plane.let_one_go(std::slice::from_ref(&due_cell), plane.clock.now());
            tell.send(())
        });
        let done = told.recv_timeout(FOR_EVER);
        // Before anything fails, or the thread would never end.
        drop(locked);
        assert!(done.is_ok(), "it waits for the cell of a worker that is not due");
    });
    assert!(matches!(due_cell.lock().leave, Some(Exit::Recycled(RecycleReason::Jobs(_)))));
    assert_eq!((plane.counts.idle(), plane.counts.leaving()), (999, 1));
}

#[test]
fn all_who_overstay_are_found_however_many_they_are() {
    let limits = Limits { idle_timeout: Some(Duration::from_nanos(1)), ..Limits::new(10, 700) };
    let plane = plane(limits);
    let workers = idle(&plane, 700);
    let (above, found) = plane.overstaying(plane.clock.now().after(FOR_EVER), 0);
    assert_eq!((above, found.len()), (690, workers.len()));
    assert!(found.iter().zip(0..).all(|(idler, slot)| idler.worker == id(slot)), "the longest idle first");
}

#[test]
fn a_worker_that_is_seated_keeps_nobody_out_while_the_crowd_is_looked_at() {
    let plane = plane(Limits::new(1, 4));
    let looks = plane.cells.read();
    std::thread::scope(|scope| {
        let seated = scope.spawn(|| plane.seat_worker(id(0), 0));
        // Once somebody waits to write, nobody else gets to read.
        while plane.cells.try_read().is_some() {
            std::thread::yield_now();
        }
        let free = plane.ready.is_free() && plane.inbox.is_free();
        drop(looks);
        assert!(free, "submitters wait for whoever looks at the workers");
        assert!(seated.join().is_ok_and(|cell| cell.id == id(0)));
    });
    assert_eq!((plane.counts.starting(), plane.cells().len()), (1, 1));
}

#[test]
fn a_job_whose_claim_was_leaked_is_begun_no_more_and_ends_as_killed() {
    type Ends = fn(WorkerContext<Job>);
    let ends: [Ends; 5] = [
        |mut worker| assert!(worker.next_blocking().is_none(), "it is to end"),
        |mut worker| assert!(block_on(worker.next()).is_none(), "it is to end"),
        |mut worker| worker.finish(),
        |mut worker| worker.condemn(),
        drop,
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let plane = plane(Limits::fixed(1));
        let mut worker = WorkerContext::new(plane.clone(), plane.seat_worker(id(0), 0));
        let submission = Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None };
        let (job, queued) = Share::alone((), submission).submitted(LaneId::DEFAULT, None);
        plane.try_admit(queued).map_err(|(_, why)| why).expect("there is room");
        leak(worker.next_blocking().expect("a job waits"));
        assert_eq!(job.header().ended(), None);
        end(worker);
        assert_eq!(job.header().ended(), Some(Ended::Killed), "way {number}");
        assert_eq!((plane.counts.live(), plane.all_queued()), (0, 0), "way {number}");
    }
}

#[expect(clippy::disallowed_methods, reason = "what a backend must not do either")]
fn leak(claim: Claim<'_, Job>) {
    std::mem::forget(claim);
}

#[test]
fn what_is_owed_is_counted_while_nobody_goes_from_one_state_to_another() {
    let plane = plane(Limits::fixed(2));
    let _workers = idle(&plane, 2);
    let (tell, told) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    let inbox = plane.inbox.lock();
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(plane.exact_debt() == 0));
        scope.spawn(|| tell_too.send(plane.has_settled(2)));
        let early = told.recv_timeout(Duration::from_millis(50));
        // Before anything fails, or the threads would never end.
        drop(inbox);
        assert!(early.is_err(), "it counts beside whoever changes the counts");
        assert!(told.iter().take(2).all(|answer| answer));
    });
}
