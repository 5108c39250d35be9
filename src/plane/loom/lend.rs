//! Jobs that are lent: begun by their worker's turnover, back in their lane, or ended with their worker; one of that, and once.

use super::*;
use crate::error::JobError;
use crate::id::ClaimNo;
use crate::plane::{Aimed, Claim, Found};
use crate::policy::Exit;

fn by() -> Exit {
    Exit::Killed(Arc::from("an operator"))
}

/// A worker with a job in hand, and one that it was lent.
fn with_loan(worker: &mut WorkerContext<Job>) -> Claim<'_, Job> {
    let mut claim = block_on(worker.next()).expect("there are jobs");
    claim.lends().lend();
    claim
}

/// What was lent goes back.
fn give_back(claim: &mut Claim<'_, Job>) {
    claim.lends().loan.take().expect("it was lent").give_back();
}

/// A pool's end, as control brings it about. What runs in its workers' hands is killed elsewhere.
fn abort(pond: &Pond) {
    let (mut cells, reason) = (pond.plane.close(CloseReason::Shutdown), CloseReason::Shutdown);
    while !cells.is_empty() {
        drop(pond.plane.abort_some(&mut cells, &reason, &Arc::from("a model"), &|_, _| true));
    }
    pond.fail_queued(&reason);
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
        give_back(&mut claim);
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
        let other = pond.spawn(|_| work(other));
        give_back(&mut claim);
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
fn a_worker_that_is_condemned_goes_on_to_what_it_was_lent_and_no_further() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let (first, second, third) = (pond.submit(0), pond.submit(0), pond.submit(0));
        let claim = with_loan(&mut worker);
        let kills = pond.spawn(move |pond| pond.plane.condemn(&cell, Some(ClaimNo(1)), &by()).is_some());
        run(claim);
        let hit = join(kills);
        pond.plane.stop_worker(&worker.facts_cell(), Exit::Retired);
        let ran = work(worker);
        assert!(block_on(first).is_ok() && block_on(second).is_ok(), "both ran to their end");
        assert_eq!(ran, 1, "hit or not ({hit}), its child may have begun the second one by then, and no other");
        pond.fail_queued(&CloseReason::Shutdown);
        assert!(matches!(block_on(third), Err(JobError::NotStarted(_))));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

/// Aimed at the first job, before the worker is lent the second one, meanwhile, or after it.
#[test]
fn what_is_aimed_at_a_job_hits_none_that_its_worker_is_lent() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let (first, second) = (pond.submit(0), pond.submit(0));
        let mut claim = block_on(worker.next()).expect("there are jobs");
        let aims = pond.spawn(move |pond| pond.plane.condemn_alone(&cell, ClaimNo(1), &by(), false));
        claim.lends().lend();
        let lent = claim.lends().loan.is_some();
        run(claim);
        let aimed = join(aims);
        pond.plane.stop_worker(&worker.facts_cell(), Exit::Retired);
        let ran = work(worker);
        assert!(block_on(first).is_ok());
        match aimed {
            Aimed::Hit(_) => assert!(!lent && ran == 0, "the worker has left after the first one"),
            Aimed::Spared => assert!(lent && ran == 1),
            Aimed::Missed => assert_eq!(ran, 1),
        }
        pond.fail_queued(&CloseReason::Shutdown);
        assert_eq!(block_on(second).is_ok(), ran == 1);
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn an_operator_who_withdraws_a_job_that_is_lent_meanwhile_finds_it_lent() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let _first = pond.submit(0);
        let (job, second) = pond.submit_seen();
        let mut claim = block_on(worker.next()).expect("there are jobs");
        let withdraws = pond.spawn(move |pond| pond.plane.cancel_queued(job.header().id()));
        claim.lends().lend();
        match join(withdraws) {
            Found::Withdrawn => assert!(claim.lends().loan.is_none()),
            Found::Lent(_) => give_back(&mut claim),
            Found::Gone => panic!("no worker has it in hand, and it has not ended"),
        }
        run(claim);
        drop(worker);
        pond.fail_queued(&CloseReason::Shutdown);
        assert!(matches!(block_on(second), Err(JobError::Cancelled(_) | JobError::NotStarted(_))));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn an_abort_between_two_jobs_misses_neither() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let (job, second) = pond.submit_seen();
        let mut claim = with_loan(&mut worker);
        claim.lends().loan.as_mut().expect("it was lent").hand_over();
        let aborts = pond.spawn(move |pond| {
            abort(&pond);
            assert!(!job.header().waits(), "it is a worker's, or over");
        });
        run(claim);
        let ran = work(worker);
        join(aborts);
        assert!(matches!(block_on(first), Ok(_) | Err(JobError::Killed(_))));
        match block_on(second) {
            Ok(_) => assert_eq!(ran, 1),
            Err(JobError::Killed(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn a_job_that_comes_back_as_its_pool_is_aborted_has_one_outcome() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let (first, second) = (pond.submit(0), pond.submit(0));
        let mut claim = with_loan(&mut worker);
        let aborts = pond.spawn(|pond| abort(&pond));
        give_back(&mut claim);
        run(claim);
        drop(worker);
        join(aborts);
        // And nothing is left for a second look.
        assert!(matches!(block_on(first), Ok(_) | Err(JobError::Killed(_))));
        assert!(matches!(block_on(second), Err(JobError::NotStarted(_) | JobError::Killed(_)) | Ok(_)));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn what_a_worker_that_is_abandoned_was_lent_ends_once() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let first = pond.submit(0);
        let (job, second) = pond.submit_seen();
        let claim = with_loan(&mut worker);
        let gives_up = pond.spawn(move |pond| {
            pond.plane.condemn(&cell, None, &by());
            pond.plane.abandon(&cell, &by());
            assert!(!job.header().waits(), "it is a worker's, or over");
        });
        run(claim);
        let ran = work(worker);
        join(gives_up);
        assert!(matches!(block_on(first), Ok(_) | Err(JobError::Abandoned(_))));
        match block_on(second) {
            Ok(_) => assert_eq!(ran, 1),
            Err(JobError::Abandoned(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

#[test]
fn what_comes_back_as_its_worker_is_abandoned_has_one_outcome() {
    let config = config(1, &[lane(4)]);
    check(3, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let cell = worker.facts_cell();
        let (first, second) = (pond.submit(0), pond.submit(0));
        let mut claim = with_loan(&mut worker);
        let gives_up = pond.spawn(move |pond| {
            pond.plane.condemn(&cell, None, &by());
            pond.plane.abandon(&cell, &by());
        });
        give_back(&mut claim);
        run(claim);
        join(gives_up);
        drop(worker);
        pond.fail_queued(&CloseReason::Shutdown);
        assert!(matches!(block_on(first), Ok(_) | Err(JobError::Abandoned(_))));
        assert!(matches!(block_on(second), Err(JobError::Abandoned(_) | JobError::NotStarted(_))));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}

/// Its thread unwinds: it may have begun, and so is not to be run again.
#[test]
fn one_that_was_handed_over_and_is_dropped_is_lost() {
    let config = config(1, &[lane(4)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let (first, second) = (pond.submit(0), pond.submit(0));
        let mut claim = with_loan(&mut worker);
        claim.lends().loan.as_mut().expect("it was lent").hand_over();
        let aborts = pond.spawn(|pond| abort(&pond));
        drop(claim);
        drop(worker);
        join(aborts);
        assert!(matches!(block_on(first), Err(JobError::Killed(_))));
        assert!(matches!(block_on(second), Err(JobError::Lost(_) | JobError::Killed(_))));
        assert_eq!(pond.plane.lanes[0].lent(), 0);
        pond.assert_at_rest();
    });
}
