//! Jobs that do not end as jobs do, or come back as others.

use millpond::testing::conformance::AfterCrash;
use millpond::{Backend, Capabilities, Hosts, JobCell, KillReach, Share, StartError, Started, Threads, WorkerContext};
use ractor::ActorCell;

use super::rogues::{Rogues, Vice, a_rogue_is_found_out, spawn};
use super::{Boasts, CRASH, is_found_out};
use crate::published::subjects::OnThreads;
use crate::third_party::{Clerk, Errand};

#[test]
fn a_crash_that_is_said_to_end_no_worker_and_does() {
    let backend = || Threads::new().restart_after_panic();
    is_found_out(&Boasts(OnThreads, Box::new(backend), AfterCrash::GoesOn), CRASH, "GoesOn");
}

#[test]
fn a_crash_that_is_said_to_end_its_worker_and_does_not() {
    is_found_out(&Boasts(OnThreads, Box::new(Threads::new), AfterCrash::EndsWorker), CRASH, "EndsWorker");
}

#[test]
fn jobs_that_are_not_run() {
    a_rogue_is_found_out(Vice::DropsJobs, "outcomes::a_job_gives_what_it_gives", "the job was to return");
}

#[test]
fn jobs_that_are_run_as_if_they_were_none() {
    a_rogue_is_found_out(Vice::KeepsTheContext, "inventory::a_beat_is_seen", "it has beaten");
}

#[test]
fn crashes_that_are_not_told() {
    a_rogue_is_found_out(Vice::SwallowsPanics, CRASH, "was to fail");
    a_rogue_is_found_out(Vice::SwallowsPanics, "outcomes::a_crash_costs_one_job_and_says_which", "was to fail");
}

/// Hosts errands on threads, and gives back another than it was given.
struct Switches;

impl Backend for Switches {
    type Job = JobCell<Errand, u64>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("switching pool", KillReach::None)
    }

    fn start(&self, mut cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        spawn(move || Rogues::work(&mut cx, Vice::SaysItIsAProcess));
        Ok(Started::kept(Clerk))
    }
}

impl Hosts<Errand> for Switches {
    type Output = u64;
    type Payload = Errand;

    fn wrap(job: Errand) -> Errand {
        job
    }

    fn unwrap(_payload: Errand) -> Errand {
        Box::new(|| 0)
    }

    fn erase(cell: Share<JobCell<Errand, u64>>) -> Share<JobCell<Errand, u64>> {
        cell
    }
}

#[test]
fn refused_jobs_that_come_back_as_others() {
    let liar = Boasts(OnThreads, Box::new(|| Switches), AfterCrash::GoesOn);
    is_found_out(&liar, "admission::a_refused_job_comes_back_and_can_be_submitted_again", "right: 11");
}
