//! Jobs that may be delivered again: their worker's loss, their rest, and who ends either.

use super::*;
use crate::error::JobError;
use crate::id::ClaimNo;
use crate::job::{Redeliveries, Share};
use crate::policy::{Exit, Redelivery};

impl Pond {
    /// A job that may be delivered twice.
    fn submit_twice(&self) -> (Share<Job>, JobHandle<u64>) {
        let mut terms = Terms::of_origin(None);
        terms.redeliveries = Some(Box::new(Redeliveries::new(Redelivery::new(2))));
        let job = self.job(0, Some(terms));
        assert!(self.plane.try_admit(job.clone()).is_ok(), "there is room");
        let handle = self.handle(&job);
        (job, handle)
    }

    /// One that rests.
    fn rests(&self) -> (Share<Job>, JobHandle<u64>) {
        let mut dies = self.employ(0);
        let submitted = self.submit_twice();
        lose(&mut dies);
        assert_eq!((self.plane.lanes[0].resting(), self.plane.queued(0), self.plane.queued_awake(0)), (1, 1, 0));
        submitted
    }
}

/// Takes a job, and is lost under it.
fn lose(worker: &mut WorkerContext<Job>) {
    if let Some(claim) = block_on(worker.next()) {
        claim.lost(&Exit::Lost);
    }
}

#[test]
fn a_job_whose_worker_is_lost_as_it_is_killed_is_delivered_again_or_killed() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut dies = pond.employ(0);
        let cell = dies.facts_cell();
        let (_job, handle) = pond.submit_twice();
        look(&mut dies);
        let dies = pond.spawn(move |_| lose(&mut dies));
        let hit = pond.plane.condemn(&cell, Some(ClaimNo(1)), &Exit::Killed(Arc::from("an operator"))).is_some();
        join(dies);
        assert_eq!(pond.plane.lanes[0].resting(), usize::from(!hit));
        pond.fail_queued(&CloseReason::Shutdown);
        match block_on(handle) {
            Err(JobError::Killed(_)) => assert!(hit),
            Err(JobError::NotStarted(ended)) => assert!(!hit && ended.lost_deliveries == 1),
            other => panic!("{other:?}"),
        }
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_has_rested_is_cancelled_or_runs_and_is_looked_for() {
    let config = config(2, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let (job, handle) = pond.rests();
        let other = pond.employ(1);
        let other = pond.spawn(|_| work(other));
        let ticks = pond.spawn(|pond| pond.tick());
        let cancelled = pond.plane.cancel(&job.erase(), "a model");
        join(ticks);
        pond.assert_searched();
        let outcome = block_on(handle);
        pond.plane.stop_all();
        let ran = join(other);
        assert_eq!((outcome.is_ok(), cancelled), (ran == 1, ran == 0), "{outcome:?}");
        assert_eq!(pond.plane.lanes[0].resting(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_rests_as_its_pool_ends_has_one_outcome() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let (_job, handle) = pond.rests();
        let ticks = pond.spawn(|pond| pond.tick());
        pond.fail_queued(&CloseReason::Shutdown);
        join(ticks);
        pond.fail_queued(&CloseReason::Shutdown);
        assert!(matches!(block_on(handle), Err(JobError::NotStarted(_))));
        assert_eq!(pond.plane.lanes[0].resting(), 0);
        pond.assert_at_rest();
    });
}
