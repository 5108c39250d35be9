//! Side threads: where user code runs that no worker runs. One that keeps others waiting for long gets another beside it, and so
//! holds up nobody else if it hangs.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Condvar;

use super::timer;
use crate::error::Cause;
use crate::job::catch;
use crate::plane::Garbage;
use crate::sync::{Arc, Clock, Mutex, MutexGuard, OnceLock, Timestamp};

type Errand = Box<dyn FnOnce() + Send>;

/// How long one errand may take before the next ones get another thread.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a side thread waits for errands before it ends.
const LINGER: Duration = Duration::from_secs(5);
/// So many threads hang in drops at most; beyond that drops wait for one of them to return. Policies need no such bound: a pool asks
/// one question at a time.
const MOST_DROPS: usize = 64;

#[derive(Default)]
struct State {
    errands: VecDeque<Errand>,
    /// Threads that wait for errands.
    waiting: usize,
    /// Threads in an errand, with when it began.
    busy: Vec<(u64, Timestamp)>,
    next_thread: u64,
    /// The timer looks in, since errands wait and every thread is busy.
    watched: bool,
}

/// A queue of errands and the threads that run them: one, unless one hangs.
struct Side {
    name: &'static str,
    most_threads: usize,
    state: Mutex<State>,
    work: Condvar,
    clock: Clock,
}

impl Side {
    fn new(name: &'static str, most_threads: usize) -> Arc<Self> {
        Arc::new(Self { name, most_threads, state: Mutex::default(), work: Condvar::new(), clock: Clock::real() })
    }

    fn run(self: &Arc<Self>, errand: Errand) {
        let mut state = self.state.lock();
        state.errands.push_back(errand);
        self.staff(state);
    }

    /// Sees to it that a thread that does not hang will take what is queued.
    fn staff(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let now = self.clock.now();
        let hangs = state.busy.iter().all(|&(_, since)| now.since(since) >= PATIENCE);
        if state.waiting > 0 {
            self.work.notify_one();
            return;
        }
        self.watch(&mut state);
        if hangs && state.busy.len() < self.most_threads {
            state.next_thread += 1;
            let thread = state.next_thread;
            // Counted as busy from here on, so that no second one is started for the same errand.
            state.busy.push((thread, now));
            drop(state);
            self.clone().spawn(thread);
        }
    }

    /// Errands wait and every thread is busy: whether they hang is looked at until one has come for the last errand.
    fn watch(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.watched, true) {
            let side = self.clone();
            state.watched = timer::every(PATIENCE / 4, move || side.look()).is_ok();
        }
    }

    /// False once there is nothing to look after.
    fn look(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        state.watched = !state.errands.is_empty();
        if state.watched {
            self.staff(state);
            return true;
        }
        false
    }

    #[expect(clippy::disallowed_methods, reason = "the home of side threads")]
    fn spawn(self: Arc<Self>, thread: u64) {
        let side = self.clone();
        let name = format!("millpond-{}", self.name);
        if let Err(error) = std::thread::Builder::new().name(name).spawn(move || side.serve(thread)) {
            tracing::error!("no side thread for {}: {error}; errands wait", self.name);
            self.state.lock().busy.retain(|&(other, _)| other != thread);
        }
    }

    fn serve(self: Arc<Self>, thread: u64) {
        loop {
            let errand = {
                let mut state = self.state.lock();
                state.busy.retain(|&(other, _)| other != thread);
                state.waiting += 1;
                while state.errands.is_empty() {
                    if self.work.wait_for(&mut state, LINGER).timed_out() && state.errands.is_empty() {
                        state.waiting -= 1;
                        return;
                    }
                }
                state.waiting -= 1;
                let now = self.clock.now();
                state.busy.push((thread, now));
                let errand = state.errands.pop_front();
                if state.waiting == 0 && !state.errands.is_empty() {
                    self.watch(&mut state);
                }
                errand
            };
            if let Some(errand) = errand
                && let Err(caught) = catch(errand)
            {
                tracing::error!("user code on the side thread for {} panicked: {}", self.name, caught.message);
            }
        }
    }
}

fn drops() -> &'static Arc<Side> {
    static DROPS: OnceLock<Arc<Side>> = OnceLock::new();
    DROPS.get_or_init(|| Side::new("side-drops", MOST_DROPS))
}

fn policies() -> &'static Arc<Side> {
    static POLICIES: OnceLock<Arc<Side>> = OnceLock::new();
    POLICIES.get_or_init(|| Side::new("side-policies", usize::MAX))
}

/// Drops a payload where it can block nobody.
pub(super) fn discard(garbage: Garbage) {
    drops().run(Box::new(move || garbage.dispose()));
}

/// Drops something that may hold what is the user's.
pub(super) fn let_go(held: impl Send + 'static) {
    drops().run(Box::new(move || drop(held)));
}

/// From now on, errors of users' are dropped here, whoever lets go of them.
pub(super) fn shelter_causes() {
    Cause::drop_with(let_go);
}

/// A share in something of the user's. Wherever it is let go, a `Drop` that may run then runs on the side thread for drops.
pub(crate) struct Aside<T: ?Sized + Send + Sync + 'static>(Option<Arc<T>>);

impl<T: ?Sized + Send + Sync + 'static> Aside<T> {
    pub(super) fn new(share: Arc<T>) -> Self {
        Self(Some(share))
    }
}

impl<T: ?Sized + Send + Sync + 'static> std::ops::Deref for Aside<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: ?Sized + Send + Sync + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        let_go(self.0.take());
    }
}

impl<T: ?Sized + Send + Sync> std::fmt::Debug for Aside<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aside").finish_non_exhaustive()
    }
}

/// Looks at what the system says, which may take its time.
#[cfg(any(feature = "guest", feature = "process"))]
pub(super) fn look(errand: impl FnOnce() + Send + 'static) {
    policies().run(Box::new(errand));
}

/// Asks a policy.
pub(super) fn ask_policy(question: impl FnOnce() + Send + 'static) {
    policies().run(Box::new(question));
}
