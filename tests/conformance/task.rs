//! Jobs that do what a test says: each waits, if at all, for a gate that the test opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::JobContext;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// What a job that was asked to stop answers.
pub(crate) const ASKED: u64 = 1_000_001;

/// Holds jobs up until it is opened, by hand or by its drop, so that a test that fails leaves nobody stuck.
pub(crate) struct Gate(Arc<Door>);

pub(crate) struct Door {
    open: watch::Sender<bool>,
    entered: AtomicUsize,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (open, lock, opened) = (watch::Sender::new(false), Mutex::new(()), Condvar::new());
        Self(Arc::new(Door { open, entered: AtomicUsize::new(0), lock, opened }))
    }

    pub(crate) fn open(&self) {
        let _lock = self.0.lock.lock();
        self.0.open.send_replace(true);
        self.0.opened.notify_all();
    }

    /// Another hand on it, which opens it too when it is dropped.
    pub(crate) fn other(&self) -> Self {
        Self(self.0.clone())
    }

    /// Blocks the calling thread until it is open.
    pub(crate) fn pass(&self) {
        self.0.block(|| false);
    }

    /// How many jobs have come to it, whether or not they have passed.
    pub(crate) fn entered(&self) -> usize {
        self.0.entered.load(Ordering::Acquire)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Door {
    fn enter(&self) {
        self.entered.fetch_add(1, Ordering::AcqRel);
    }

    /// Blocks the thread. True if the gate opened, false if `stop` said so first.
    fn block(&self, stop: impl Fn() -> bool) -> bool {
        self.enter();
        let mut lock = self.lock.lock();
        loop {
            if *self.open.borrow() {
                return true;
            }
            if stop() {
                return false;
            }
            // Woken by the opening; the time is for `stop`, of which nobody tells.
            self.opened.wait_for(&mut lock, Duration::from_millis(2));
        }
    }

    async fn wait(&self) {
        // The sender is ours, so it is not closed while we wait.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

enum Wait {
    No,
    /// Deaf: cancellation is not looked at. An async worker yields meanwhile.
    ForGate(Arc<Door>),
    /// Polite: ends with [`ASKED`] when asked to.
    ForGateOrAsked(Arc<Door>),
    /// Deaf, and blocks its thread on every kind of worker.
    Blocking(Arc<Door>),
}

/// One job, whatever kind of pool runs it.
pub(crate) struct Task {
    first: Box<dyn FnOnce() -> u64 + Send>,
    wait: Wait,
    /// The same in a child process, for a closure that captures nothing.
    #[cfg(feature = "process")]
    there: Option<fn(crate::errands::Errand) -> u64>,
}

impl Task {
    pub(crate) fn call<F: FnOnce() -> u64 + Send + 'static>(first: F) -> Self {
        Self {
            first: Box::new(first),
            wait: Wait::No,
            #[cfg(feature = "process")]
            there: (size_of::<F>() == 0).then_some(crate::errands::run_there::<F> as fn(_) -> u64),
        }
    }

    pub(crate) fn value(value: u64) -> Self {
        Self::call(move || value)
    }

    /// Ignores cancellation until `gate` opens.
    pub(crate) fn deaf(gate: &Gate) -> Self {
        Self::value(0).then_deaf(gate)
    }

    /// Waits for `gate`, and ends early when asked to.
    pub(crate) fn polite(gate: &Gate) -> Self {
        Self { wait: Wait::ForGateOrAsked(gate.0.clone()), ..Self::value(0) }
    }

    /// Never yields until `gate` opens.
    pub(crate) fn blocking(gate: &Gate) -> Self {
        Self { wait: Wait::Blocking(gate.0.clone()), ..Self::value(0) }
    }

    pub(crate) fn panics(message: &'static str) -> Self {
        Self::call(move || panic!("{message}"))
    }

    pub(crate) fn then_deaf(self, gate: &Gate) -> Self {
        Self { wait: Wait::ForGate(gate.0.clone()), ..self }
    }

    /// Waits for `gate` after that, and ends early when asked to.
    #[cfg(feature = "testing")]
    pub(crate) fn then_polite(self, gate: &Gate) -> Self {
        Self { wait: Wait::ForGateOrAsked(gate.0.clone()), ..self }
    }

    /// Never yields after that, until `gate` opens.
    #[cfg(feature = "testing")]
    pub(crate) fn then_blocking(self, gate: &Gate) -> Self {
        Self { wait: Wait::Blocking(gate.0.clone()), ..self }
    }

    /// As a thread runs it.
    pub(crate) fn run(self) -> u64 {
        let value = (self.first)();
        let passed = match self.wait {
            Wait::No => true,
            Wait::ForGate(door) | Wait::Blocking(door) => door.block(|| false),
            Wait::ForGateOrAsked(door) => {
                let job = JobContext::current().expect("a job has a context");
                door.block(|| job.is_cancelled())
            }
        };
        if passed { value } else { ASKED }
    }

    /// What a child process can run of it by itself: all of it, or nothing.
    #[cfg(feature = "process")]
    pub(crate) fn there(&self) -> Option<fn(crate::errands::Errand) -> u64> {
        self.there.filter(|_| matches!(self.wait, Wait::No))
    }

    /// As it is run on behalf of a child process. `asked`: its job was cancelled, or the child is gone.
    #[cfg(feature = "process")]
    pub(crate) fn run_asking(self, asked: impl Fn() -> bool) -> u64 {
        let value = (self.first)();
        let passed = match self.wait {
            Wait::No => true,
            Wait::ForGate(door) | Wait::Blocking(door) => door.block(|| false),
            Wait::ForGateOrAsked(door) => door.block(asked),
        };
        if passed { value } else { ASKED }
    }

    /// As an async worker runs it.
    pub(crate) async fn run_async(self) -> u64 {
        let value = (self.first)();
        match self.wait {
            Wait::No => {}
            Wait::ForGate(door) => {
                door.enter();
                door.wait().await;
            }
            Wait::Blocking(door) => {
                door.block(|| false);
            }
            Wait::ForGateOrAsked(door) => {
                let asked = JobContext::current().expect("a job has a context").cancellation();
                door.enter();
                tokio::select! {
                    () = door.wait() => {}
                    () = asked.cancelled() => return ASKED,
                }
            }
        }
        value
    }
}
