//! What keeps users' code from harming a mixed pool's thread, and how that thread, and others, wait.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::Mutex;

/// Runs code of a user's; a panic comes back as its text.
pub(super) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        // What it panicked with is the user's too, and its drop may panic; nothing more is to be said then.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        text.unwrap_or_else(|| "a panic without a text".to_owned())
    })
}

/// Wakes whoever waits: a waker is its executor's code.
pub(super) fn wake(waker: Waker) {
    if let Err(message) = catch(|| waker.wake()) {
        tracing::error!("a waker panicked: {message}");
    }
}

struct Guarded(Waker);

impl Wake for Guarded {
    fn wake(self: Arc<Self>) {
        wake(self.0.clone());
    }
}

/// The same waker, for somebody else's code to wake.
pub(super) fn guarded(waker: &Waker) -> Waker {
    Waker::from(Arc::new(Guarded(waker.clone())))
}

/// What a mixed pool's thread is told.
pub(super) enum Note {
    /// The attempt of this job is to be looked at: it is new, or its member has an outcome.
    Ready(u64),
    /// Somebody has cancelled this job.
    Cancel(u64),
    /// Something else has changed.
    Look,
}

/// Where it is told that.
#[derive(Default)]
pub(super) struct Mailbox {
    notes: Mutex<Vec<Note>>,
    over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Mailbox {
    /// This thread reads it from now on.
    pub(super) fn is_read_here(&self) {
        // It has one reader, which says so once.
        let _ = self.thread.set(std::thread::current());
    }

    /// Its reader is gone.
    pub(super) fn is_read_no_more(&self) {
        self.over.store(true, Ordering::Release);
        drop(self.take());
    }

    pub(super) fn post(&self, note: Note) {
        if self.over.load(Ordering::Acquire) {
            return;
        }
        self.notes.lock().push(note);
        // None yet: it looks before it waits.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notes.lock().is_empty()
    }

    pub(super) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock())
    }
}

/// Wakes a mixed pool's thread for one of its jobs.
pub(super) struct Rouse {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) job: u64,
}

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        self.mailbox.post(Note::Ready(self.job));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` on the calling thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// True where a thread that blocks keeps the only one of a runtime.
pub(super) fn would_block() -> bool {
    use tokio::runtime::{Handle, RuntimeFlavor};
    Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

pub(super) type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// All of them at once; what each came to, in their order.
pub(super) async fn all<R>(mut futures: Vec<Boxed<'_, R>>) -> Vec<R> {
    let mut done: Vec<Option<R>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
