//! What is in force changes while jobs come and go: nobody who may start or come in from then on is left waiting.

use loom::future::block_on;

use super::{Pond, check, config, join, lane, look, work, work_once};
use crate::config::{Lane, Limits};

#[test]
fn a_reserve_that_is_given_up_is_found_by_a_job_that_comes_meanwhile() {
    let config = config(2, &[lane(4), Lane::new("dns").capacity(4).reserve(1)]);
    check(2, move || {
        let pond = Pond::new(&config);
        // Of two seats one is in use, and the other one kept.
        let mut busy = pond.employ(0);
        let first = pond.submit(0);
        look(&mut busy);
        let worker = pond.employ(1);
        let worker = pond.spawn(|_| work(worker));
        let submitter = pond.spawn(|pond| pond.submit(0));
        let lanes = [lane(4), Lane::new("dns").capacity(4)];
        assert_eq!(pond.plane.retune(Limits::fixed(2), &lanes).ok(), Some(0));
        pond.assert_searched();
        let second = join(submitter);
        pond.assert_searched();
        assert!(block_on(second).is_ok());
        assert!(work_once(&mut busy) && block_on(first).is_ok());
        pond.plane.stop_all();
        assert_eq!(join(worker), 1);
        drop(busy);
        pond.assert_at_rest();
    });
}

#[test]
fn room_that_is_made_is_found_by_whoever_comes_to_the_gate_meanwhile() {
    let config = config(1, &[lane(0).admission_limit(None)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let submitter = pond.spawn(|pond| pond.submit_waiting());
        assert!(pond.plane.retune(Limits::fixed(1), &[lane(1)]).is_ok());
        let second = join(submitter).expect("there is room now, and nobody else for it");
        assert!(work_once(&mut worker) && work_once(&mut worker));
        assert!(block_on(first).is_ok() && block_on(second).is_ok());
        drop(worker);
        pond.assert_at_rest();
    });
}
