//! Threads of a mixed pool on which users' code runs, as its own does not wait: routes, copies, adapters, drops. There is one, unless one hangs: who keeps others waiting
//! for long gets another beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millpond::{Clock, Timestamp};
use parking_lot::{Condvar, Mutex};

use super::guard::{Mailbox, Note, catch};

type Errand = Box<dyn FnOnce() + Send>;

/// How long one errand may take, or wait, before the next ones get another thread, by the machine's clock.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a thread waits for errands before it ends.
const LINGER: Duration = Duration::from_secs(5);
/// So many hang at most; beyond that, errands wait for one of them to return.
const MOST: usize = 64;

pub(super) struct Hands {
    pool: Arc<str>,
    /// Where the pool's thread is told to look in, which does so until nothing waits.
    mailbox: Arc<Mailbox>,
    clock: Clock,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// With when each came.
    errands: VecDeque<(Timestamp, Errand)>,
    /// Threads that wait for errands.
    waiting: usize,
    /// Threads in an errand, with when it began.
    busy: Vec<(u64, Timestamp)>,
    last: u64,
    /// The pool's thread looks in.
    watched: bool,
    /// The system has refused the last thread.
    refused: bool,
}

impl Hands {
    pub(super) fn new(pool: Arc<str>, mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self { pool, mailbox, clock: Clock::real(), state: Mutex::default(), work: Condvar::new() })
    }

    /// Has it done, in its turn.
    pub(super) fn run(self: &Arc<Self>, errand: impl FnOnce() + Send + 'static) {
        let (first, tell) = {
            let mut state = self.state.lock();
            state.errands.push_back((self.clock.now(), Box::new(errand)));
            self.work.notify_one();
            let waits = state.errands.len() > state.waiting;
            let tell = waits && !std::mem::replace(&mut state.watched, true);
            (self.another(&mut state), tell)
        };
        self.start(first);
        if tell {
            self.mailbox.post(Note::Look);
        }
    }

    /// Drops what is a user's.
    pub(super) fn let_go<V: Send + 'static>(self: &Arc<Self>, value: V) {
        if std::mem::needs_drop::<V>() {
            self.run(move || drop(value));
        }
    }

    /// Gives what waits another thread, if all that there are hang. True if there is to be another look.
    pub(super) fn look(self: &Arc<Self>) -> bool {
        let (another, watched) = {
            let mut state = self.state.lock();
            state.watched = !state.errands.is_empty();
            (self.another(&mut state), state.watched)
        };
        self.start(another);
        watched
    }

    /// The number of a thread to be started, which is busy from here on, so that no second one is for the same errand.
    fn another(&self, state: &mut State) -> Option<u64> {
        let now = self.clock.now();
        let all_hang = state.busy.iter().all(|&(_, since)| now.since(since) >= PATIENCE);
        let too_slow = state.errands.front().is_some_and(|&(since, _)| now.since(since) >= PATIENCE);
        let is_wanted = state.errands.len() > state.waiting && (all_hang || too_slow);
        if !is_wanted || state.waiting > 0 || state.busy.len() >= MOST {
            return None;
        }
        state.last += 1;
        state.busy.push((state.last, now));
        Some(state.last)
    }

    #[expect(clippy::disallowed_methods, reason = "the home of mixed pools' threads for users' code")]
    fn start(self: &Arc<Self>, thread: Option<u64>) {
        let Some(number) = thread else { return };
        let hands = self.clone();
        let thread = std::thread::Builder::new().name(format!("millpond-mixed-{}-hand", self.pool));
        let started = thread.spawn(move || hands.serve(number));
        let mut state = self.state.lock();
        let was_refused = std::mem::replace(&mut state.refused, started.is_err());
        if let Err(error) = started {
            // The next look tries again.
            state.busy.retain(|&(other, _)| other != number);
            drop(state);
            if !was_refused {
                tracing::error!(
                    pool = &*self.pool,
                    "no thread for users' code in a mixed pool, whose jobs wait for one: {error}"
                );
            }
        }
    }

    fn serve(self: Arc<Self>, thread: u64) {
        while let Some(errand) = self.next(thread) {
            if let Err(message) = catch(errand) {
                tracing::error!(
                    pool = &*self.pool,
                    "a job, or an output, of a mixed pool panicked as it was dropped, or something else did: {message}"
                );
            }
        }
    }

    /// `None`: there was none for long.
    fn next(&self, thread: u64) -> Option<Errand> {
        let mut state = self.state.lock();
        state.busy.retain(|&(other, _)| other != thread);
        state.waiting += 1;
        while state.errands.is_empty() {
            if self.work.wait_for(&mut state, LINGER).timed_out() && state.errands.is_empty() {
                state.waiting -= 1;
                return None;
            }
        }
        state.waiting -= 1;
        state.busy.push((thread, self.clock.now()));
        let errand = state.errands.pop_front().map(|(_, errand)| errand);
        let waits = state.errands.len() > state.waiting && !std::mem::replace(&mut state.watched, true);
        drop(state);
        if waits {
            self.mailbox.post(Note::Look);
        }
        errand
    }
}
