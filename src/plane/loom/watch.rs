//! Progress: a worker has one entry in the calendar for all its jobs, and none of them goes unwatched for that.

use super::{Pond, SOON, check, config, join, lane, look, work_once};
use crate::id::ClaimNo;
use crate::plane::Signal;

#[test]
fn a_job_that_is_taken_as_the_calendar_looks_is_watched() {
    let config = config(1, &[lane(4).overdue_after(SOON)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let handles = [pond.submit(0), pond.submit(0)];
        look(&mut worker);
        assert!(cell.is_watched(), "from the claim on");
        let worker = pond.spawn(|_| {
            assert!(work_once(&mut worker));
            worker
        });
        pond.tick();
        let mut worker = join(worker);
        let told = |signal: &Signal| matches!(signal, Signal::Overdue(overdue) if overdue.claim == ClaimNo(2));
        // Told twice, if the look came between the claim and the entry that it adds: control knows whom it looks after.
        assert!(
            pond.control.heard(told) > 0 || cell.is_watched(),
            "the second job is control's, or is looked at again"
        );
        assert!(work_once(&mut worker));
        drop((worker, handles));
        pond.assert_at_rest();
    });
}
