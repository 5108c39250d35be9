//! What each kind of pool supplies to be held to the suite.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use millpond::testing::conformance::{AfterCrash, Subject, Tether};
use millpond::{
    ActorPool, Actors, JobContext, PoolBuilder, StartContext, StartError, TaskPool, Tasks, ThreadPool, Threads, Worker,
};

use crate::subject::runtime;
use crate::third_party::{Desks, Errand};

/// From one beat to the next, and until a job sees that it was asked.
const MOMENT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(1);

pub(super) fn beats(tether: &Tether) -> u64 {
    let job = JobContext::current().expect("a job has a context");
    while !job.is_cancelled() && !tether.wait(MOMENT) {
        job.beat();
    }
    0
}

/// Blocks its thread.
pub(super) fn ignores(tether: &Tether) -> u64 {
    while !tether.wait(LONG) {}
    0
}

pub(super) fn crashes() -> u64 {
    panic!("as the suite wants it")
}

async fn beats_async(tether: Tether) -> u64 {
    let job = JobContext::current().expect("a job has a context");
    let (asked, mut beat) = (job.cancellation(), every(MOMENT));
    loop {
        tokio::select! {
            () = tether.cut() => return 0,
            () = asked.cancelled() => return 0,
            _ = beat.tick() => job.beat(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a job that beats now and then")]
fn every(span: Duration) -> tokio::time::Interval {
    tokio::time::interval(span)
}

/// Yields all the time.
pub(super) async fn ignores_async(tether: Tether) -> u64 {
    tether.cut().await;
    0
}

pub(super) struct OnThreads;

impl Subject for OnThreads {
    type Backend = Threads;
    type Job = Errand;

    fn builder(&self, name: &str) -> PoolBuilder<Threads> {
        ThreadPool::builder(name).restart_after_panic()
    }

    fn returns(&self, number: u64) -> Errand {
        Box::new(move || number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Errand {
        Box::new(move || beats(&tether))
    }

    fn ignores(&self, tether: Tether) -> Errand {
        Box::new(move || ignores(&tether))
    }

    fn crashes(&self) -> Errand {
        Box::new(crashes)
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::EndsWorker
    }
}

/// A kind of pool that is not millpond's.
pub(super) struct OnDesks;

impl Subject for OnDesks {
    type Backend = Desks;
    type Job = Errand;

    fn builder(&self, name: &str) -> PoolBuilder<Desks> {
        PoolBuilder::new(name, Desks)
    }

    fn returns(&self, number: u64) -> Errand {
        OnThreads.returns(number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Errand {
        OnThreads.beats(tether)
    }

    fn ignores(&self, tether: Tether) -> Errand {
        OnThreads.ignores(tether)
    }

    fn crashes(&self) -> Errand {
        OnThreads.crashes()
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::GoesOn
    }
}

pub(super) struct OnTasks;

pub(super) type Dream = Pin<Box<dyn Future<Output = u64> + Send>>;

impl Subject for OnTasks {
    type Backend = Tasks;
    type Job = Dream;

    fn builder(&self, name: &str) -> PoolBuilder<Tasks> {
        TaskPool::builder(name).runtime(runtime().handle().clone())
    }

    fn returns(&self, number: u64) -> Dream {
        Box::pin(async move { number })
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Dream {
        Box::pin(beats_async(tether))
    }

    fn ignores(&self, tether: Tether) -> Dream {
        Box::pin(ignores_async(tether))
    }

    fn crashes(&self) -> Dream {
        Box::pin(async { crashes() })
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::GoesOn
    }

    fn out_of_reach(&self, tether: Tether) -> Option<Dream> {
        Some(Box::pin(async move { ignores(&tether) }))
    }
}

pub(super) struct OnActors;

/// What a [`Player`] is sent.
pub(super) enum Part {
    Return(u64),
    Beat(Tether),
    Ignore(Tether),
    Block(Tether),
    Crash,
}

pub(super) struct Player;

impl Worker for Player {
    type Job = Part;
    type Output = u64;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, part: Part, _state: &mut (), _cx: &JobContext) -> u64 {
        match part {
            Part::Return(number) => number,
            Part::Beat(tether) => beats_async(tether).await,
            Part::Ignore(tether) => ignores_async(tether).await,
            Part::Block(tether) => ignores(&tether),
            Part::Crash => crashes(),
        }
    }
}

impl Subject for OnActors {
    type Backend = Actors<Player>;
    type Job = Part;

    fn builder(&self, name: &str) -> PoolBuilder<Actors<Player>> {
        ActorPool::builder(name, Player).runtime(runtime().handle().clone())
    }

    fn returns(&self, number: u64) -> Part {
        Part::Return(number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Part {
        Part::Beat(tether)
    }

    fn ignores(&self, tether: Tether) -> Part {
        Part::Ignore(tether)
    }

    fn crashes(&self) -> Part {
        Part::Crash
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::EndsWorker
    }

    fn out_of_reach(&self, tether: Tether) -> Option<Part> {
        Some(Part::Block(tether))
    }
}

#[cfg(feature = "process")]
pub(super) mod processes {
    use std::net::SocketAddr;

    use millpond::ProcessPool;
    use millpond::process::{ChildOptions, Entry, Processes, RemoteCall};
    use millpond::testing::conformance::FarTether;
    use serde::{Deserialize, Serialize};

    use super::*;

    pub(crate) struct OnProcesses;

    /// What a child is sent.
    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) enum Order {
        Return(u64),
        Beat(SocketAddr),
        Ignore(SocketAddr),
        Crash,
        Grow,
    }

    const MEMORY: u64 = 1 << 30;

    /// In the child.
    fn obey(order: Order) -> u64 {
        match order {
            Order::Return(number) => number,
            Order::Beat(tether) => {
                let job = JobContext::current().expect("a job has a context");
                let Ok(tether) = FarTether::connect(tether) else { return 0 };
                while !job.is_cancelled() && !tether.wait(MOMENT) {
                    job.beat();
                }
                0
            }
            Order::Ignore(tether) => {
                let Ok(tether) = FarTether::connect(tether) else { return 0 };
                while !tether.wait(LONG) {}
                0
            }
            Order::Crash => std::process::abort(),
            Order::Grow => Vec::<u8>::with_capacity(usize::try_from(MEMORY * 2).expect("it fits")).capacity() as u64,
        }
    }

    fn call(order: Order) -> RemoteCall<Order, u64> {
        RemoteCall::new(obey, order)
    }

    fn far(tether: Tether) -> SocketAddr {
        tether.far().expect("a place for the socket")
    }

    impl Subject for OnProcesses {
        type Backend = Processes;
        type Job = RemoteCall<Order, u64>;

        fn builder(&self, name: &str) -> PoolBuilder<Processes> {
            ProcessPool::builder(name).entry(Entry::test()).child(ChildOptions::new().memory(MEMORY))
        }

        fn returns(&self, number: u64) -> Self::Job {
            call(Order::Return(number))
        }

        fn number(&self, output: u64) -> u64 {
            output
        }

        fn beats(&self, tether: Tether) -> Self::Job {
            call(Order::Beat(far(tether)))
        }

        fn ignores(&self, tether: Tether) -> Self::Job {
            call(Order::Ignore(far(tether)))
        }

        fn crashes(&self) -> Self::Job {
            call(Order::Crash)
        }

        fn after_crash(&self) -> AfterCrash {
            AfterCrash::EndsWorker
        }

        fn grows(&self) -> Option<Self::Job> {
            Some(call(Order::Grow))
        }
    }
}
