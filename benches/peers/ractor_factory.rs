//! `ractor::factory`: queuer routing, the default queue, jobs by `call_job`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ractor::factory::queues::DefaultQueue;
use ractor::factory::routing::QueuerRouting;
use ractor::factory::{Factory, FactoryArguments, FactoryRef, Job, Worker, WorkerBuilder, WorkerId, worker_builder};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::runtime::Runtime;

use crate::harness::{Side, WORKERS, figures, load, runtime};

/// What a worker of the factory is asked.
enum Ask {
    /// Answer with the number.
    Reply(u64, RpcReplyPort<u64>),
    /// Sleep, and never wake.
    Sleep,
}

#[cfg(feature = "cluster")]
impl ractor::Message for Ask {}

type Reference = FactoryRef<u64, Ask>;

struct Answerer;

impl Worker for Answerer {
    type Key = u64;
    type Message = Ask;
    type Arguments = ();
    type State = ();

    async fn pre_start(&self, _: WorkerId, _: &ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<Message>,
        job: Job<u64, Ask>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        match job.msg {
            Ask::Reply(number, reply) => reply.send(black_box(number))?,
            Ask::Sleep => std::future::pending().await,
        }
        Ok(job.key)
    }
}

type Message = ractor::factory::FactoryMessage<u64, Ask>;
type Plain = Factory<u64, Ask, (), Answerer, QueuerRouting<u64, Ask>, DefaultQueue<u64, Ask>>;

async fn spawn() -> Reference {
    let workers: Box<dyn WorkerBuilder<Answerer, ()>> = Box::new(worker_builder(|_| (Answerer, ())));
    let arguments = FactoryArguments::builder()
        .num_initial_workers(WORKERS)
        .queue(DefaultQueue::default())
        .router(QueuerRouting::default())
        .worker_builder(workers)
        .build();
    let (factory, _) = Actor::spawn(None, Plain::default(), arguments).await.expect("a factory starts");
    factory
}

/// Async jobs with a reply, from `callers` callers.
pub(crate) fn asynchronous(callers: u64) -> impl Side {
    let runtime = runtime();
    let factory = runtime.block_on(spawn());
    Calls { callers, factory, runtime }
}

struct Calls {
    callers: u64,
    factory: Reference,
    runtime: Runtime,
}

impl Side for Calls {
    fn run(&mut self, jobs: u64) -> Duration {
        load::callers(&self.runtime, self.callers, jobs, |share| {
            let factory = self.factory.clone();
            async move {
                for number in 0..share {
                    let answer = factory.call_job(number, |reply| Ask::Reply(number, reply), None).await;
                    black_box(answer.expect("a factory that takes jobs").expect("a worker that answers"));
                }
            }
        })
    }
}

/// Asks once how many workers are active, behind `backlog` jobs that were sent while all workers sleep in theirs. In µs.
pub(crate) fn count_behind(backlog: u64) -> f64 {
    let runtime = runtime();
    runtime.block_on(async {
        let factory = spawn().await;
        (0..WORKERS as u64).for_each(|key| send_sleep(&factory, key));
        while active(&factory).await < WORKERS {}
        (0..backlog).for_each(|key| send_sleep(&factory, key));
        let begun = Instant::now();
        let active = active(&factory).await;
        let took = figures::micros(begun.elapsed());
        assert_eq!(active, WORKERS, "all workers sleep in jobs");
        took
    })
}

fn send_sleep(factory: &Reference, key: u64) {
    factory.dispatch(key, Ask::Sleep).expect("a factory that takes jobs");
}

async fn active(factory: &Reference) -> usize {
    factory.active_workers(None).await.expect("a factory that answers").expect("a count without a time limit")
}
