//! Submitters and workers: every admitted job is taken, whoever comes, leaves or parks meanwhile.

use loom::future::block_on;

use super::{Pond, SOON, check, config, join, lane, look, work, work_once};
use crate::config::Lane;
use crate::error::{CloseReason, JobError};
use crate::gate::Gate;
use crate::plane::Signal;
use crate::sync::Arc;

#[test]
fn a_job_is_taken_while_its_worker_parks() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let handle = pond.submit(0);
        pond.assert_searched();
        assert_eq!(block_on(handle).ok(), Some(8));
        pond.plane.stop_all();
        assert_eq!(join(worker), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn two_submitters_and_a_worker_lose_no_job() {
    let config = config(1, &[lane(4)]);
    check(4, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let worker = pond.spawn(move |_| assert!(work_once(&mut worker) && work_once(&mut worker)));
        let other = pond.spawn(|pond| drop(pond.submit(0)));
        drop(pond.submit(0));
        join(other);
        join(worker);
        pond.assert_at_rest();
    });
}

#[test]
fn two_submitters_and_two_workers_lose_no_job() {
    let config = config(2, &[lane(4)]);
    check(1, move || {
        let pond = Pond::new(&config);
        let workers = [pond.employ(0), pond.employ(1)].map(|worker| pond.spawn(|_| work(worker)));
        let other = pond.spawn(|pond| pond.submit(0));
        let handle = pond.submit(0);
        pond.assert_searched();
        let other = join(other);
        pond.assert_searched();
        assert!(block_on(handle).is_ok() && block_on(other).is_ok());
        pond.plane.stop_all();
        assert_eq!(workers.into_iter().map(join).sum::<usize>(), 2);
        pond.assert_at_rest();
    });
}

#[test]
fn lanes_with_a_reserve_lose_no_job() {
    let config = config(2, &[lane(4), Lane::new("dns").capacity(4).reserve(1)]);
    check(1, move || {
        let pond = Pond::new(&config);
        let workers = [pond.employ(0), pond.employ(1)].map(|worker| pond.spawn(|_| work(worker)));
        let dns = pond.spawn(|pond| pond.submit(1));
        let handle = pond.submit(0);
        pond.assert_searched();
        assert!(block_on(join(dns)).is_ok());
        assert!(block_on(handle).is_ok());
        pond.plane.stop_all();
        assert_eq!(workers.into_iter().map(join).sum::<usize>(), 2);
        pond.assert_at_rest();
    });
}

/// A job that died in the inbox and was swept out of it is missing there, not fresh: a worker that holds the inbox must not ask for it again.
#[test]
fn a_job_that_was_swept_out_of_one_lane_hides_nothing_of_another() {
    let config = config(1, &[lane(4), Lane::new("dns").capacity(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        pond.submit(0).cancel();
        let worker = pond.spawn(|_| work(worker));
        let handle = pond.submit(1);
        assert!(block_on(handle).is_ok());
        pond.plane.stop_all();
        assert_eq!(join(worker), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn a_worker_that_goes_while_it_is_woken_passes_the_search_on() {
    let config = config(2, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut goes = pond.employ(0);
        let stays = pond.employ(1);
        // The one that idles shortest is woken first.
        let stays = pond.spawn(|_| work(stays));
        let goes = pond.spawn(move |_| {
            look(&mut goes);
            drop(goes);
        });
        let handle = pond.submit(0);
        join(goes);
        assert!(block_on(handle).is_ok());
        pond.plane.stop_all();
        assert_eq!(join(stays), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_nobody_began_goes_back_when_its_worker_dies() {
    let config = config(2, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut dies = pond.employ(0);
        let stays = pond.employ(1);
        let handle = pond.submit(0);
        let dies = pond.spawn(move |_| {
            look(&mut dies);
            drop(dies);
        });
        let stays = pond.spawn(|_| work(stays));
        assert!(block_on(handle).is_ok());
        join(dies);
        pond.plane.stop_all();
        assert_eq!(join(stays), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_without_a_worker_has_one_demanded() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let mut config = config.clone();
        config.limits.min = 0;
        let pond = Pond::new(&config);
        let submitter = pond.spawn(|pond| pond.submit(0));
        let early = pond.plane.workers_wanted();
        let handle = join(submitter);
        let demanded = pond.control.heard(|signal| matches!(signal, Signal::Demand)) > 0;
        assert!(early > 0 || demanded && pond.plane.workers_wanted() > 0, "nobody starts a worker");
        let mut worker = pond.employ(0);
        assert!(work_once(&mut worker) && block_on(handle).is_ok());
    });
}

#[test]
fn a_job_that_is_cancelled_while_it_is_taken_ends_once() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let handle = pond.submit(0);
        handle.cancel();
        let ran = match block_on(handle) {
            Ok(_) => 1,
            Err(JobError::Cancelled(_)) => 0,
            Err(other) => panic!("{other}"),
        };
        pond.plane.stop_all();
        assert_eq!(join(worker), ran);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_whose_limit_passes_while_it_is_taken_ends_once() {
    let config = config(1, &[lane(4).queue_limit(SOON)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let handle = pond.submit(0);
        pond.tick();
        let ran = match block_on(handle) {
            Ok(_) => 1,
            Err(JobError::TimedOut(_)) => 0,
            Err(other) => panic!("{other}"),
        };
        pond.plane.stop_all();
        assert_eq!(join(worker), ran);
        pond.assert_at_rest();
    });
}

#[test]
fn a_resumed_pool_takes_what_came_meanwhile() {
    let config = config(1, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        assert!(pond.plane.set_gate(Gate::Quiesced).is_ok());
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let submitter = pond.spawn(|pond| pond.submit(0));
        assert!(pond.plane.set_gate(Gate::Open).is_ok());
        pond.assert_searched();
        assert!(block_on(join(submitter)).is_ok());
        pond.plane.stop_all();
        assert_eq!(join(worker), 1);
        pond.assert_at_rest();
    });
}

#[test]
fn a_pool_that_is_aborted_ends_every_job() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let submitter = pond.spawn(|pond| pond.try_submit(0).ok());
        let mut cells = pond.plane.close(CloseReason::ActorGone);
        let running = pond.plane.abort_some(&mut cells, &CloseReason::ActorGone, &Arc::from("the model"), &|_, _| true);
        pond.fail_queued(&CloseReason::ActorGone);
        if let Some(handle) = join(submitter) {
            // Which way it ended is a matter of luck; that it ended is not.
            drop(block_on(handle));
        }
        drop(running);
        join(worker);
        pond.assert_at_rest();
        assert_eq!(pond.plane.counts.live(), 0);
    });
}

#[test]
fn a_drained_pool_says_that_it_is_quiet() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let worker = pond.spawn(|_| work(worker));
        let handle = pond.submit(0);
        assert!(pond.plane.set_gate(Gate::Draining).is_ok());
        assert!(block_on(handle).is_ok());
        pond.plane.stop_all();
        join(worker);
        assert!(pond.plane.is_quiet());
        assert!(pond.control.heard(|signal| matches!(signal, Signal::Quiet)) > 0, "nobody says so");
    });
}
