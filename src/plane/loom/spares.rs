//! A spare gets work while control looks whether there are enough: whichever comes first, somebody knows that one is missing.

use loom::future::block_on;

use super::{Pond, check, config, join, lane, look};
use crate::config::{Limits, PoolConfig};
use crate::plane::Signal;

#[test]
fn a_spare_that_gets_work_while_control_looks_is_missed() {
    let config = PoolConfig { limits: Limits::new(0, 2).min_idle(1), ..config(2, &[lane(4)]) };
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        look(&mut worker);
        let control = pond.spawn(|pond| pond.plane.workers_wanted());
        let submitter = pond.spawn(|pond| pond.submit(0));
        let claim = block_on(worker.next()).expect("one is submitted");
        let handle = join(submitter);
        let wanted = join(control);
        let told = pond.control.heard(|signal| matches!(signal, Signal::Demand));
        // It looked before the job came, and is told of it; or it saw the job, or the worker at work.
        assert!(wanted + told >= 1, "nobody idles, and nobody knows");
        assert!(told <= 1);
        claim.run(|job, key| job.run(key, |n| n + 1));
        assert!(block_on(handle).is_ok());
        pond.plane.stop_all();
        drop(worker);
        pond.assert_at_rest();
    });
}
