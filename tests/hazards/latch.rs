//! What holds jobs, and what counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// Holds whoever waits for it until it is opened.
#[derive(Clone)]
pub struct Latch(Arc<Inner>);

struct Inner {
    open: Mutex<bool>,
    opened: Condvar,
    tell: watch::Sender<bool>,
}

impl Latch {
    pub fn new() -> Self {
        Self(Arc::new(Inner { open: Mutex::new(false), opened: Condvar::new(), tell: watch::Sender::new(false) }))
    }

    pub fn open(&self) {
        *self.0.open.lock() = true;
        self.0.opened.notify_all();
        self.0.tell.send_replace(true);
    }

    /// Blocks the thread.
    pub fn block(&self) {
        let mut open = self.0.open.lock();
        while !*open {
            self.0.opened.wait(&mut open);
        }
    }

    /// The same for at most `span`. True if it is open.
    pub fn block_for(&self, span: Duration) -> bool {
        let mut open = self.0.open.lock();
        if !*open {
            self.0.opened.wait_for(&mut open, span);
        }
        *open
    }

    /// Blocks the task alone.
    pub async fn wait(&self) {
        let mut open = self.0.tell.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = open.wait_for(|open| *open).await;
    }
}

/// Counts who is inside, and the most that ever were.
#[derive(Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    inside: AtomicUsize,
    most: AtomicUsize,
    entered: AtomicUsize,
}

impl Meter {
    pub fn enter(&self) -> Inside {
        let inside = self.0.inside.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.most.fetch_max(inside, Ordering::AcqRel);
        self.0.entered.fetch_add(1, Ordering::AcqRel);
        Inside(self.clone())
    }

    pub fn inside(&self) -> usize {
        self.0.inside.load(Ordering::Acquire)
    }

    /// How many ever came.
    pub fn entered(&self) -> usize {
        self.0.entered.load(Ordering::Acquire)
    }

    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::Acquire)
    }

    /// Forgets the most but for those who are inside now.
    pub fn forget(&self) {
        self.0.most.store(0, Ordering::Release);
        self.0.most.fetch_max(self.inside(), Ordering::AcqRel);
    }
}

/// Counted until dropped.
pub struct Inside(Meter);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs `f` when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(f: F) -> Self {
        Self(Some(f))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}
