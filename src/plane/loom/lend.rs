//! Jobs that are lent: begun by their worker's turnover, or back in their lane, and nobody else ends them meanwhile.

use super::*;
use crate::error::JobError;
use crate::id::ClaimNo;
use crate::plane::{Claim, Loan};
use crate::policy::Exit;

fn by() -> Exit {
    Exit::Killed(Arc::from("an operator"))
}

/// A worker with a job in hand, and one that it was lent.
fn with_loan(worker: &mut WorkerContext<Job>) -> Claim<'_, Job> {
    let mut claim = block_on(worker.next()).expect("there are jobs");
    claim.lend();
    claim
}

fn run(claim: Claim<'_, Job>) {
    claim.run(|job, key| job.run(key, |n| n + 1));
}

/// Cancels as a handle does.
fn cancel(pond: &Pond, job: &Share<Job>) {
    job.header().cancel();
    pond.plane.cancel(&job.clone().erase(), "a model");
}

impl Pond {
    fn submit_seen(&self) -> (Share<Job>, JobHandle<u64>) {
        let job = self.job(0, None);
        assert!(self.plane.try_admit(job.clone()).is_ok(), "there is room");
        let handle = self.handle(&job);
        (job, handle)
    }
}

#[test]
fn a_job_that_is_cancelled_as_it_is_lent_and_begun_ends_once() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let (job, handle) = pond.submit_seen();
        let cancels = pond.spawn(move |pond| cancel(&pond, &job));
        run(with_loan(&mut worker));
        assert!(block_on(first).is_ok());
        pond.plane.stop_worker(&worker.facts_cell(), Exit::Retired);
        let ran = work(worker);
        join(cancels);
        pond.fail_queued(&CloseReason::Shutdown);
        match block_on(handle) {
            Ok(_) => assert_eq!(ran, 1),
            Err(JobError::Cancelled(_) | JobError::NotStarted(_)) => assert_eq!(ran, 0),
            other => panic!("{other:?}"),
        }
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_is_cancelled_as_it_comes_back_is_cancelled() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let _first = pond.submit(0);
        let (job, handle) = pond.submit_seen();
        let mut claim = with_loan(&mut worker);
        assert_eq!((pond.plane.queued(0), pond.plane.queued_awake(0)), (1, 0));
        let cancels = pond.spawn(move |pond| cancel(&pond, &job));
        drop(claim.take_loan());
        join(cancels);
        assert!(matches!(block_on(handle), Err(JobError::Cancelled(_))));
        run(claim);
        drop(worker);
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_comes_back_is_looked_for() {
    let config = config(2, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let (mut lent, mut other) = (pond.employ(0), pond.employ(1));
        let (first, _second, third) = (pond.submit(0), pond.submit(0), pond.submit(0));
        look(&mut other);
        let mut claim = with_loan(&mut lent);
        let loan: Option<Loan<Job>> = claim.take_loan();
        assert!(loan.is_some(), "all are busy, and one more waits");
        let other = pond.spawn(|_| work(other));
        drop(loan);
        pond.assert_searched();
        assert!(block_on(first).is_ok() && block_on(third).is_ok(), "without the worker that it was lent to");
        run(claim);
        drop(lent);
        pond.plane.stop_all();
        assert_eq!(join(other), 2);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_whose_worker_is_killed_before_it_begins_it_goes_back() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let (first, second) = (pond.submit(0), pond.submit(0));
        let claim = with_loan(&mut worker);
        let kills = pond.spawn(move |pond| pond.plane.condemn(&cell, Some(ClaimNo(1)), &by()).is_some());
        run(claim);
        let hit = join(kills);
        pond.plane.stop_worker(&worker.facts_cell(), Exit::Retired);
        let ran = work(worker);
        assert!(block_on(first).is_ok(), "it ran to its end");
        pond.fail_queued(&CloseReason::Shutdown);
        match block_on(second) {
            Ok(_) => assert_eq!((ran, hit), (1, false)),
            Err(JobError::NotStarted(_)) => assert_eq!((ran, hit), (0, true)),
            other => panic!("{other:?}"),
        }
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_comes_back_as_its_pool_ends_has_one_outcome() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let (first, second) = (pond.submit(0), pond.submit(0));
        let mut claim = with_loan(&mut worker);
        let ends = pond.spawn(|pond| {
            drop(pond.plane.close(CloseReason::Shutdown));
            pond.fail_queued(&CloseReason::Shutdown);
        });
        drop(claim.take_loan());
        run(claim);
        drop(worker);
        join(ends);
        // Nobody was condemned here, so that the worker has put back what it took after that.
        pond.fail_queued(&CloseReason::Shutdown);
        assert!(block_on(first).is_ok());
        assert!(matches!(block_on(second), Err(JobError::NotStarted(_)) | Ok(_)));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}
