//! Control and workers: who is stopped, condemned or abandoned, and that no message about one job hits the next.

use loom::future::block_on;

use super::{Pond, SOON, check, config, join, lane, look, work, work_once};
use crate::config::Limits;
use crate::error::{CloseReason, JobError};
use crate::id::ClaimNo;
use crate::plane::Signal;
use crate::policy::Exit;
use crate::sync::Arc;

fn by() -> Exit {
    Exit::Killed(Arc::from("the model"))
}

#[test]
fn a_kill_aimed_at_a_claim_never_hits_the_next() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        let handles = [pond.submit(0), pond.submit(0)];
        let worker = pond.spawn(|_| work(worker));
        let hit = pond.plane.condemn(&cell, Some(ClaimNo(1)), &by()).is_some();
        let [first, second] = handles;
        assert!(block_on(first).is_ok());
        if hit {
            // It had the first job in hand then, and takes no other.
            assert_eq!(join(worker), 1);
            pond.fail_queued(&CloseReason::Shutdown);
            assert!(matches!(block_on(second), Err(JobError::NotStarted(_))));
        } else {
            assert!(block_on(second).is_ok());
            pond.plane.stop_all();
            assert_eq!(join(worker), 2);
        }
        pond.assert_at_rest();
    });
}

#[test]
fn a_kill_aimed_at_a_worker_hits_whatever_it_holds() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        let handles = [pond.submit(0), pond.submit(0)];
        let worker = pond.spawn(|_| work(worker));
        let condemned = pond.plane.condemn(&cell, None, &by());
        assert!(condemned.is_some(), "it was there all the time");
        drop(condemned);
        // It leaves after at most the job that it held.
        assert!(join(worker) <= 2);
        assert!(pond.plane.cells().is_empty());
        drop(handles);
        pond.fail_queued(&CloseReason::Shutdown);
        pond.assert_at_rest();
    });
}

/// What control does about a start that is over its limit, against the worker that is ready then and finds a job.
#[test]
fn a_worker_that_came_up_is_not_killed_for_a_slow_start() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        let handle = pond.submit(0);
        let worker = pond.spawn(|_| work(worker));
        let given_up = pond.plane.give_up_start(&cell, SOON, &by());
        if given_up {
            // The kill that follows, whenever it comes, hits no job.
            let hit = pond.plane.condemn(&cell, None, &by()).and_then(|condemned| condemned.job);
            assert!(hit.is_none(), "it has a job in hand");
            assert_eq!(join(worker), 0);
            assert!(
                pond.control.heard(|signal| matches!(signal, Signal::Exited { exit: Exit::FailedToStart(_), .. })) == 1
            );
            pond.fail_queued(&CloseReason::Shutdown);
            assert!(matches!(block_on(handle), Err(JobError::NotStarted(_))));
        } else {
            assert!(block_on(handle).is_ok());
            pond.plane.stop_all();
            assert_eq!(join(worker), 1);
        }
        pond.assert_at_rest();
    });
}

#[test]
fn a_worker_that_is_abandoned_as_it_finishes_is_counted_once() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let handle = pond.submit(0);
        let abandoner = pond.spawn(move |pond| pond.plane.abandon(&cell, &by()));
        while work_once(&mut worker) {}
        let abandoned = join(abandoner);
        // It may have been told to leave before it had taken the job.
        pond.fail_queued(&CloseReason::Shutdown);
        match block_on(handle) {
            Ok(_) | Err(JobError::NotStarted(_)) => assert!(!abandoned),
            Err(JobError::Abandoned(_)) => assert!(abandoned),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(pond.plane.counts.live(), 0, "live");
        drop(worker);
        assert_eq!(pond.plane.counts.live(), 0, "live");
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_goes_back_is_not_abandoned_with_its_worker() {
    let config = config(2, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut dies = pond.employ(0);
        let cell = dies.facts_cell();
        let handle = pond.submit(0);
        look(&mut dies);
        let other = pond.employ(1);
        let other = pond.spawn(|_| work(other));
        let dies = pond.spawn(|_| drop(dies));
        let abandoned = pond.plane.abandon(&cell, &by());
        let outcome = block_on(handle);
        join(dies);
        pond.plane.stop_all();
        let ran = join(other);
        assert_eq!((outcome.is_ok(), abandoned), (ran == 1, ran == 0), "abandoned and run by another: {outcome:?}");
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_a_kill_found_in_hand_is_not_put_back() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut dies = pond.employ(0);
        let cell = dies.facts_cell();
        let handle = pond.submit(0);
        look(&mut dies);
        let dies = pond.spawn(|_| drop(dies));
        let hit = pond.plane.condemn(&cell, Some(ClaimNo(1)), &by()).is_some();
        join(dies);
        pond.fail_queued(&CloseReason::Shutdown);
        match block_on(handle) {
            Err(JobError::Killed(_)) => assert!(hit),
            Err(JobError::NotStarted(_)) => assert!(!hit),
            other => panic!("{other:?}"),
        }
        pond.assert_at_rest();
    });
}

#[test]
fn a_worker_that_is_stopped_while_it_parks_leaves() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        let worker = pond.spawn(|_| work(worker));
        pond.plane.stop_worker(&cell, Exit::Retired);
        assert_eq!(join(worker), 0);
        pond.assert_at_rest();
        assert_eq!(pond.plane.counts.live(), 0);
    });
}

#[test]
fn a_worker_that_is_stopped_while_it_is_woken_leaves_the_job_to_another() {
    let config = config(2, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let stopped = pond.employ(0);
        let cell = stopped.facts_cell();
        let stays = pond.employ(1);
        let stopped = pond.spawn(|_| work(stopped));
        let stays = pond.spawn(|_| work(stays));
        let handle = pond.submit(0);
        pond.plane.stop_worker(&cell, Exit::Retired);
        assert!(block_on(handle).is_ok());
        let ran = join(stopped);
        pond.plane.stop_all();
        assert_eq!(ran + join(stays), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn a_shrink_under_load_pays_its_debt_and_fails_no_job() {
    let config = config(2, &[lane(4)]);
    check(1, move || {
        let pond = Pond::new(&config);
        let workers = [pond.employ(0), pond.employ(1)].map(|worker| pond.spawn(|_| work(worker)));
        let handle = pond.submit(0);
        assert!(pond.plane.resize(Limits::fixed(1)).is_ok());
        assert!(block_on(handle).is_ok());
        // Whoever next asks for work pays: the one that idles was told, so all that is owed is paid by now.
        assert!(block_on(pond.submit(0)).is_ok());
        pond.plane.stop_all();
        assert_eq!(workers.into_iter().map(join).sum::<usize>(), 2);
        pond.assert_at_rest();
        assert_eq!(pond.plane.counts.live(), 0);
    });
}

#[test]
fn a_run_limit_that_passes_as_the_job_ends_is_written_once() {
    let config = config(1, &[lane(4).run_limit(SOON)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let handle = pond.submit(0);
        let worker = pond.spawn(|_| work(worker));
        pond.tick();
        match block_on(handle) {
            Ok(_) | Err(JobError::TimedOut(_)) => {}
            Err(other) => panic!("{other}"),
        }
        pond.plane.stop_all();
        assert_eq!(join(worker), 1, "it ran, whoever wrote the outcome");
        pond.assert_at_rest();
    });
}

#[test]
fn a_claim_that_is_dropped_ends_its_job_as_killed() {
    let config = config(1, &[lane(4).run_limit(SOON)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let handle = pond.submit(0);
        let worker = pond.spawn(move |_| {
            drop(block_on(worker.next()));
            assert!(!work_once(&mut worker), "it has no seat any more");
        });
        pond.tick();
        assert!(matches!(block_on(handle), Err(JobError::Killed(_) | JobError::TimedOut(_))));
        join(worker);
        pond.assert_at_rest();
        assert_eq!(pond.plane.counts.live(), 0);
    });
}

#[test]
fn a_future_that_was_seized_is_not_polled_again() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        let polls = {
            let cell = cell.clone();
            pond.spawn(move |_| {
                cell.pause(ClaimNo(1));
                cell.resume(ClaimNo(1))
            })
        };
        let seized = cell.seize(ClaimNo(1));
        assert_ne!(join(polls), seized, "it is one's or the other's");
        drop(worker);
    });
}

/// A worker that lets others go first, against an abort or a kill that takes its job back.
#[test]
fn a_job_that_was_taken_back_is_not_begun() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let cell = worker.facts_cell();
        cell.stand(ClaimNo(1));
        let begins = {
            let cell = cell.clone();
            pond.spawn(move |_| cell.go_on(ClaimNo(1)))
        };
        let taken = cell.take_back(ClaimNo(1));
        assert_ne!(join(begins), taken, "it is one's or the other's");
        drop(worker);
    });
}
