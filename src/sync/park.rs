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

/// Where an idle worker waits to be called.
///
/// It is called, and answers, under one lock of those who use this, and is woken when that is free. A worker stays on its thread or task, so
/// its waker is stored once and only looked at from then on. A poll that has stored a waker passes that lock before it looks again: if the
/// call came before, the poll sees it; else whoever calls sees the waker.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Parker {
    /// Written under the lock.
    called: AtomicBool,
    /// `moved` is in use.
    has_moved: AtomicBool,
    /// The waker of the first poll.
    first: OnceLock<Waker>,
    /// That of the latest poll, for a worker that was moved to another task.
    moved: Mutex<Option<Waker>>,
}

impl Parker {
    /// Has the worker's wait end, the one to come if it does not wait. Under the lock; to be followed by [`wake`](Self::wake).
    pub(crate) fn call(&self) {
        // Release: what the caller wrote before is seen by whoever sees the call.
        self.called.store(true, Ordering::Release);
    }

    /// The worker has come. Under the lock.
    pub(crate) fn answer(&self) {
        self.called.store(false, Ordering::Relaxed);
    }

    /// Wakes a worker that was called.
    pub(crate) fn wake(&self) {
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

    pub(crate) fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Ready when called. `pass` takes the lock and lets go of it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, pass: impl FnOnce()) -> Poll<()> {
        if self.is_called() {
            return Poll::Ready(());
        }
        if self.first.get().is_some_and(|first| first.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.store(cx.waker().clone());
        pass();
        if self.is_called() { Poll::Ready(()) } else { Poll::Pending }
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
