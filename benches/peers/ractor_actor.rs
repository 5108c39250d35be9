//! A bare ractor actor: what it weighs, and how long a ping takes.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::runtime::Runtime;

use crate::harness::{figures, memory, runtime};

struct Bare;

struct Ping(RpcReplyPort<()>);

#[cfg(feature = "cluster")]
impl ractor::Message for Ping {}

impl Actor for Bare {
    type Msg = Ping;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ping>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Ping>, Ping(reply): Ping, (): &mut ()) -> Result<(), ActorProcessingErr> {
        reply.send(())?;
        Ok(())
    }
}

async fn spawn() -> ActorRef<Ping> {
    Actor::spawn(None, Bare, ()).await.expect("a bare actor starts").0
}

/// Bytes of an idle actor, over `actors` of them.
pub(crate) fn bytes_each(actors: usize) -> f64 {
    let runtime = runtime();
    // What the first actor of a process brings with it is not the weight of an actor.
    let _first = runtime.block_on(spawn());
    memory::bytes_each(actors, || runtime.block_on(spawn_all(actors)))
}

async fn spawn_all(actors: usize) -> Vec<ActorRef<Ping>> {
    let mut all = Vec::with_capacity(actors);
    for _ in 0..actors {
        all.push(spawn().await);
    }
    all
}

/// An actor to ping.
pub(crate) struct Pinged {
    actor: ActorRef<Ping>,
    runtime: Runtime,
}

impl Pinged {
    pub(crate) fn start() -> Self {
        let runtime = runtime();
        Self { actor: runtime.block_on(spawn()), runtime }
    }

    /// The times of `calls` pings, in µs.
    pub(crate) fn ping(&self, calls: usize) -> Vec<f64> {
        self.runtime.block_on(figures::time_each_async(calls, async || {
            self.actor.call(Ping, None).await.expect("an actor that answers").expect("an answer without a time limit")
        }))
    }
}
