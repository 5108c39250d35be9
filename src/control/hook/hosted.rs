//! A hook of the trait, in an actor of ours, on a side thread with a runtime of its own. Nobody waits for that thread: one that hangs
//! is left behind when the hook is removed or its pool ends.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::message::HookMessage;
use crate::backend::Refusals;
use crate::control::reaper::{self, HOOK_THREAD};
use crate::hook::{Hook, put};
use crate::job::catch;
use crate::sync::{Arc, AtomicBool, Ordering};

/// How long a hook that is let go of has to deal with what it was told before, until its future is dropped where it awaits.
const END_GRACE: Duration = Duration::from_secs(1);

/// A hook that can be given a thread, whatever its type.
pub(super) trait Launch: Send + Sync {
    /// Starts its thread and its actor, for a pool, under a name.
    fn launch(self: Arc<Self>, pool: &Arc<str>, name: &Arc<str>, refusals: &Refusals) -> io::Result<Running>;
}

/// A hosted hook's actor; when this is dropped, the actor and its thread end.
pub(super) struct Running {
    pub(super) actor: ActorRef<HookMessage>,
    _over: oneshot::Sender<()>,
    pool: Arc<str>,
    name: Arc<str>,
    /// Its thread has ended.
    ended: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        reaper::adopt_hook(&self.pool, &self.name, &self.ended);
    }
}

/// Says that the thread has ended, in whatever way.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Pairs with the Acquire of whoever lists those that have not.
        self.0.store(true, Ordering::Release);
    }
}

/// A runtime that waits for nobody when it is dropped.
struct Bench(Option<Runtime>);

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a hook's thread runs, once it has it.
struct Hosting {
    bench: Bench,
    cell: ActorCell,
    started: JoinHandle<Result<JoinHandle<()>, SpawnErr>>,
    over: oneshot::Receiver<()>,
}

impl<H: Hook> Launch for H {
    fn launch(self: Arc<Self>, pool: &Arc<str>, name: &Arc<str>, refusals: &Refusals) -> io::Result<Running> {
        let (_over, over) = oneshot::channel();
        let ended = Arc::new(AtomicBool::new(false));
        // First, and with nothing made for it: where there is none, the rest would be in vain.
        let hand_over = refusals.check().and_then(|()| thread(Ended(ended.clone())))?;
        let bench = Bench(Some(Builder::new_current_thread().enable_all().build()?));
        let (actor, started) = {
            let _inside = bench.0.as_ref().map(Runtime::enter);
            ActorRuntime::spawn_instant(None, Hosted(self), ()).map_err(io::Error::other)?
        };
        let hosting = Hosting { bench, cell: actor.get_cell(), started, over };
        hand_over.send(hosting).map_err(|_| io::Error::other("its thread has ended before it had anything to do"))?;
        Ok(Running { actor, _over, pool: pool.clone(), name: name.clone(), ended })
    }
}

/// A thread for a hook, which waits for what it is to run, and ends if nothing comes.
#[expect(clippy::disallowed_methods, reason = "the home of hooks' threads")]
fn thread(ends: Ended) -> io::Result<SyncSender<Hosting>> {
    let (hand_over, handed_over) = sync_channel::<Hosting>(1);
    std::thread::Builder::new().name(HOOK_THREAD.to_owned()).spawn(move || {
        // Dropped after the runtime, and the hook with it.
        let _ends = ends;
        let Ok(Hosting { bench, cell, started, over }) = handed_over.recv() else { return };
        if let Some(runtime) = &bench.0 {
            runtime.block_on(host(&cell, started, over));
        }
    })?;
    Ok(hand_over)
}

/// The life of a hook's thread.
async fn host(actor: &ActorCell, started: JoinHandle<Result<JoinHandle<()>, SpawnErr>>, over: oneshot::Receiver<()>) {
    let Ok(Ok(mut ended)) = started.await else { return };
    // Nothing is sent: its pool has ended or has let go of it.
    let _ = over.await;
    // One that has ended by itself is drained already.
    let _ = actor.drain();
    #[expect(clippy::disallowed_methods, reason = "the home of hooks' threads: this grace is of no pool's time")]
    let in_time = tokio::time::timeout(END_GRACE, &mut ended).await.is_ok();
    if !in_time {
        actor.kill();
        // However it ended, it is over.
        let _ = ended.await;
    }
}

struct Hosted<H: Hook>(Arc<H>);

#[ractor::actor(message = HookMessage, state = (), arguments = ())]
impl<H: Hook> Hosted<H> {
    async fn pre_start(&self, _myself: ActorRef<HookMessage>, _args: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<HookMessage>,
        message: HookMessage,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Nobody waits for the answer any more.
            HookMessage::Asked { reply, .. } if reply.is_closed() => {}
            HookMessage::Asked { context, question, reply, receipt } => {
                match guarded(put(&*self.0, &context, &question)).await {
                    // Nobody may wait for it by now.
                    Ok(verdict) => drop(reply.send(verdict)),
                    Err(message) => {
                        receipt.panicked(message);
                        drop(reply);
                    }
                }
            }
            HookMessage::Told { context, notice, receipt: _receipt } => {
                if let Err(message) = guarded(async { self.0.told(&context, &notice).await }).await {
                    tracing::error!(pool = &*context.pool, hook = &*context.hook, "a hook panicked: {message}");
                }
            }
        }
        Ok(())
    }
}

/// Runs the user's future; a panic in it, or in its drop, comes back as its message.
async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = Some(Box::pin(future));
    poll_fn(|cx| {
        let running = future.as_mut().expect("it is not polled after its end");
        let polled = match catch(|| running.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(caught) => std::task::Poll::Ready(Err(caught.message)),
        };
        if polled.is_ready() {
            // What it said counts, whatever its drop says.
            let _ = catch(|| drop(future.take()));
        }
        polled
    })
    .await
}
