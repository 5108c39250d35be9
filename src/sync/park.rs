//! Parking: one mechanism for threads and tasks. A thread is a task whose waker unparks it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
#[cfg(not(millpond_loom))]
use std::time::Duration;

#[cfg(not(millpond_loom))]
use super::Clock;
use super::{Arc, AtomicBool, Mutex, OnceLock, Ordering};

/// Where an idle worker waits. `notify` is remembered until `take` sees it, so none is lost.
///
/// A worker stays on its thread or task, so its waker is stored once and only looked at from then on. Every notifier takes a
/// read-modify-write step on `notified`, and so does the poll that stores a waker, after that: whichever comes first, either the
/// notifier sees the waker, or the poll sees the notice.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    notified: AtomicBool,
    /// The waker of the first poll.
    first: OnceLock<Waker>,
    /// That of the latest poll, for a worker that was moved to another task.
    moved: Mutex<Option<Waker>>,
    /// `moved` is in use.
    has_moved: AtomicBool,
}

impl Parker {
    /// Wakes the worker, or has its next wait end at once.
    pub(crate) fn notify(&self) {
        // AcqRel: what the notifier wrote before is seen by whoever takes the notice.
        if self.notified.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(first) = self.first.get() {
            first.wake_by_ref();
        }
        if self.has_moved.load(Ordering::Acquire) {
            let waker = self.moved.lock().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Takes the notice, if there is one.
    pub(crate) fn take(&self) -> bool {
        // A plain load first: a spinning worker must not own the line that the notifier wants.
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::AcqRel)
    }

    /// True if there is a notice to take.
    #[cfg(not(millpond_loom))]
    pub(crate) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed)
    }

    /// Ready when notified.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        if self.first.get().is_some_and(|first| first.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.store(cx.waker().clone());
        if self.notified.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    #[cold]
    fn store(&self, waker: Waker) {
        if let Err(waker) = self.first.set(waker) {
            let previous = self.moved.lock().replace(waker);
            self.has_moved.store(true, Ordering::Release);
            drop(previous);
        }
    }
}

struct Unpark {
    thread: Thread,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.thread.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.thread.unpark();
    }
}

/// A waker that unparks the calling thread.
pub(crate) fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark { thread: std::thread::current() }));
    }
    // A thread that is being torn down has lost its local: make one for this call.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| Waker::from(Arc::new(Unpark { thread: std::thread::current() })))
}

/// Runs `future` on the calling thread, parking between polls.
#[cfg(not(millpond_loom))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = thread_waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

/// The same for at most `limit` of real time: how long a caller is patient with its own thread depends on no timer and no pool.
#[cfg(not(millpond_loom))]
pub(crate) fn block_on_within<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = thread_waker();
    let mut cx = Context::from_waker(&waker);
    let clock = Clock::real();
    let until = clock.now().after(limit);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        let left = until.since(clock.now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}
