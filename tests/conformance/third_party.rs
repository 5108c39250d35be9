//! A kind of pool that is not millpond's, written from its public names alone: clerks at desks, who take one errand at a time.

use millpond::{
    Backend, Capabilities, Hosts, JobCell, KillOutcome, KillReach, Share, StartError, Started, WorkerContext,
    WorkerControl,
};
use ractor::ActorCell;

pub(crate) type Errand = Box<dyn FnOnce() -> u64 + Send>;

/// Hosts errands on threads.
pub(crate) struct Desks;

/// Nobody can make a clerk drop an errand.
pub(crate) struct Clerk;

impl WorkerControl for Clerk {
    fn kill(&self) -> KillOutcome {
        KillOutcome::Abandoned
    }
}

impl Backend for Desks {
    type Job = JobCell<Errand, u64>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("desk pool", KillReach::None)
    }

    #[expect(clippy::disallowed_methods, reason = "a backend is a home of threads")]
    fn start(&self, mut cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let clerk = std::thread::Builder::new().name(format!("desk-{}", cx.worker()));
        let life = move || {
            while let Some(claim) = cx.next_blocking() {
                claim.run(|cell, key| cell.run(key, |errand| errand()));
            }
        };
        clerk.spawn(life).map_err(StartError::Refused)?;
        Ok(Started::kept(Clerk))
    }
}

impl Hosts<Errand> for Desks {
    type Output = u64;
    type Payload = Errand;

    fn wrap(job: Errand) -> Errand {
        job
    }

    fn unwrap(payload: Errand) -> Errand {
        payload
    }

    fn erase(cell: Share<JobCell<Errand, u64>>) -> Share<JobCell<Errand, u64>> {
        cell
    }
}
