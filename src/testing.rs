//! For tests of pools and of what extends them (feature `testing`): a clock that tests move, a backend whose workers do what
//! they are told, threads that the system refuses, and the [suite](conformance) that every kind of pool passes.
#![expect(clippy::disallowed_types, reason = "a test's orders to its workers: no flood comes from there")]

pub mod conformance;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ractor::ActorCell;

#[cfg(feature = "guest")]
use crate::backend::interpreter::{Engine, Interpreters};
use crate::backend::{Backend, Capabilities, Hosts, KillOutcome, KillReach, Started, Threads, WorkerControl};
use crate::builder::PoolBuilder;
use crate::control::HookSpec;
use crate::error::StartError;
use crate::id::WorkerId;
use crate::job::{JobCell, Share};
use crate::plane::WorkerContext;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Clock, Mutex, Ordering, Settable, Timestamp};

/// A clock that stands still until it is advanced. Give [`clock`](Self::clock) to each pool that is to follow it.
#[derive(Clone, Default)]
pub struct SettableClock(Arc<Settable>);

impl SettableClock {
    /// A clock at its origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock, as pools read it.
    pub fn clock(&self) -> Clock {
        Clock::settable(self.0.clone())
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Moves the time and runs one tick of every pool on it, in the caller: limits that passed have been acted upon when this
    /// returns. What that tells control is in its mailbox, ahead of whatever is asked next. At the end of time the clock stands still.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

impl std::fmt::Debug for SettableClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SettableClock({:?})", self.now())
    }
}

impl PoolBuilder<Threads> {
    /// A counter of refusals to come: while it is above zero, the system refuses a thread, and it goes down by one.
    pub fn refusals(&self) -> Arc<AtomicUsize> {
        self.backend().refusals.0.clone()
    }
}

#[cfg(feature = "guest")]
impl<E: Engine> PoolBuilder<Interpreters<E>> {
    /// As [`refusals`](PoolBuilder::refusals) of a pool of threads. The thread that all pools of interpreters have together, which has instances look at their
    /// brakes, is asked for first, once in a process.
    pub fn refusals(&self) -> Arc<AtomicUsize> {
        self.backend().refusals.0.clone()
    }
}

impl HookSpec {
    /// A counter of refusals to come: while it is above zero, the system refuses this hook its thread, and it goes down by one. A hook asks for its
    /// thread when there is something to ask or tell, and, once it was refused, again when there is something 100 ms later, on the pool's clock. An actor
    /// of yours needs none.
    pub fn refusals(&self) -> Arc<AtomicUsize> {
        self.refusals.0.clone()
    }
}

/// What the next worker's start does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Refused,
    NeverReady,
}

enum Do {
    Take(mpsc::Sender<Option<u64>>),
    Finish(u64, mpsc::Sender<bool>),
    Panic(mpsc::Sender<bool>),
    Die,
}

#[derive(Default)]
struct State {
    workers: HashMap<WorkerId, mpsc::Sender<Do>>,
    started: Vec<WorkerId>,
    next_starts: VecDeque<Start>,
    kills: Vec<WorkerId>,
}

/// The strings of a [`Scripted`] backend's workers.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

/// A backend whose workers take, finish, panic and die when their [`Script`] says so, and not otherwise.
///
/// A job is a number, and so is its output. Kill reaches a worker at once if it is `killable`, and not at all otherwise.
#[derive(Clone)]
pub struct Scripted {
    script: Script,
    killable: bool,
}

impl Scripted {
    /// A backend and its strings.
    pub fn new(killable: bool) -> (Self, Script) {
        let script = Script::default();
        (Self { script: script.clone(), killable }, script)
    }
}

impl Script {
    fn worker(&self, worker: WorkerId) -> Option<mpsc::Sender<Do>> {
        self.0.lock().workers.get(&worker).cloned()
    }

    fn tell<T>(&self, worker: WorkerId, order: impl FnOnce(mpsc::Sender<T>) -> Do) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        self.worker(worker)?.send(order(reply)).ok()?;
        answer.recv().ok()
    }

    /// Every worker that was ever started, in that order.
    pub fn started(&self) -> Vec<WorkerId> {
        self.0.lock().started.clone()
    }

    /// Workers that were started and have not died.
    pub fn alive(&self) -> Vec<WorkerId> {
        let mut alive: Vec<_> = self.0.lock().workers.keys().copied().collect();
        alive.sort();
        alive
    }

    /// Workers that were killed, in that order.
    pub fn kills(&self) -> Vec<WorkerId> {
        self.0.lock().kills.clone()
    }

    /// The worker asks for work: the job that it gets, if there is one. `None` also if it holds one already or is to leave.
    pub fn take(&self, worker: WorkerId) -> Option<u64> {
        self.tell(worker, Do::Take).flatten()
    }

    /// The worker's job returns `output`. False if it holds none.
    pub fn finish(&self, worker: WorkerId, output: u64) -> bool {
        self.tell(worker, |reply| Do::Finish(output, reply)) == Some(true)
    }

    /// The worker's job panics. False if it holds none.
    pub fn panic(&self, worker: WorkerId) -> bool {
        self.tell(worker, Do::Panic) == Some(true)
    }

    /// The worker dies without a word, with whatever it holds; this returns once it is gone.
    pub fn die(&self, worker: WorkerId) {
        let Some(sender) = self.worker(worker) else { return };
        // One that has died already has nobody to hear it.
        let _ = sender.send(Do::Die);
        while self.0.lock().workers.contains_key(&worker) {
            std::thread::yield_now();
        }
    }

    /// The next worker's start, or that after those that something was said of already, is refused by the system.
    pub fn refuse_next_start(&self) {
        self.0.lock().next_starts.push_back(Start::Refused);
    }

    /// The same, which starts and is never ready.
    pub fn hang_next_start(&self) {
        self.0.lock().next_starts.push_back(Start::NeverReady);
    }

    fn gone(&self, worker: WorkerId) {
        self.0.lock().workers.remove(&worker);
    }
}

struct Strings {
    script: Script,
    worker: WorkerId,
    killable: bool,
}

impl WorkerControl for Strings {
    fn kill(&self) -> KillOutcome {
        let sender = {
            let mut state = self.script.0.lock();
            let alive = state.workers.get(&self.worker).cloned();
            if alive.is_some() {
                state.kills.push(self.worker);
            }
            alive
        };
        if !self.killable {
            return KillOutcome::Abandoned;
        }
        if let Some(sender) = sender {
            // One that dies just now hears nobody.
            let _ = sender.send(Do::Die);
        }
        KillOutcome::Signalled
    }
}

impl Backend for Scripted {
    type Job = JobCell<u64, u64>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("scripted pool", if self.killable { KillReach::Anywhere } else { KillReach::None })
    }

    #[expect(clippy::disallowed_methods, reason = "a backend is a home of threads")]
    fn start(&self, cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let (worker, script, killable) = (cx.worker(), self.script.clone(), self.killable);
        let (sender, orders) = mpsc::channel();
        let ready = {
            let mut state = script.0.lock();
            let start = state.next_starts.pop_front();
            if start == Some(Start::Refused) {
                return Err(StartError::Refused(std::io::ErrorKind::WouldBlock.into()));
            }
            state.started.push(worker);
            state.workers.insert(worker, sender);
            start.is_none()
        };
        let strings = script.clone();
        std::thread::Builder::new()
            .name(format!("scripted-{worker}"))
            .spawn(move || {
                obey(cx, &orders, ready);
                strings.gone(worker);
            })
            .map_err(StartError::Refused)?;
        Ok(Started::kept(Strings { script, worker, killable }))
    }
}

impl Hosts<u64> for Scripted {
    type Output = u64;
    type Payload = u64;

    fn wrap(job: u64) -> u64 {
        job
    }

    fn unwrap(payload: u64) -> u64 {
        payload
    }

    fn erase(cell: Share<JobCell<u64, u64>>) -> Share<JobCell<u64, u64>> {
        cell
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// What `future` comes to without waiting for anybody: one that only lets others go first is polled again.
fn at_once<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending if woken.0.swap(false, Ordering::AcqRel) => {}
            Poll::Pending => return None,
        }
    }
}

/// A test that does not wait for its answer any more misses nothing.
fn tell<T>(reply: &mpsc::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

/// A worker's life: it does what it is told. Ready ones ask for work at once, as real ones do, and keep what they get.
fn obey(mut cx: WorkerContext<JobCell<u64, u64>>, orders: &mpsc::Receiver<Do>, ready: bool) {
    let noop = Waker::noop();
    let mut poll = Context::from_waker(noop);
    if ready {
        // Registers among the idle, or claims a job, which the next `Take` is given.
        cx.look(&mut poll);
    }
    while let Ok(order) = orders.recv() {
        match order {
            Do::Die => return,
            Do::Finish(_, reply) | Do::Panic(reply) => tell(&reply, false),
            Do::Take(reply) => {
                let Some(mut claim) = at_once(cx.next()) else {
                    tell(&reply, None);
                    continue;
                };
                let job = claim.take();
                tell(&reply, job);
                if !hold(claim, orders) {
                    return;
                }
            }
        }
    }
}

/// With a job in hand. False: the worker dies.
fn hold(claim: crate::plane::Claim<'_, JobCell<u64, u64>>, orders: &mpsc::Receiver<Do>) -> bool {
    while let Ok(order) = orders.recv() {
        match order {
            Do::Die => return false,
            Do::Take(reply) => tell(&reply, None),
            Do::Finish(output, reply) => {
                claim.run(|cell, _key| cell.finish(Ok(output)));
                tell(&reply, true);
                return true;
            }
            Do::Panic(reply) => {
                claim.run(|cell, _key| cell.finish(Err("as the script says".to_owned())));
                tell(&reply, true);
                return true;
            }
        }
    }
    false
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("alive", &self.alive()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("killable", &self.killable).finish_non_exhaustive()
    }
}
