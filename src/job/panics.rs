//! Panics of user code: caught, with the place where they happened.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{Flag, OnceLock};

thread_local! {
    /// Where this thread panicked last.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
    /// How it came there, if that is [wanted](want_backtraces).
    static BACKTRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What was caught.
#[derive(Debug)]
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

static BACKTRACES: Flag = Flag::new(false);

/// From now on what is caught says how it came to panic, if the environment asks for that in the usual way.
#[cfg(feature = "process")]
pub(crate) fn want_backtraces() {
    BACKTRACES.store(true, std::sync::atomic::Ordering::Relaxed);
}

fn backtrace() -> Option<String> {
    if !BACKTRACES.load(std::sync::atomic::Ordering::Relaxed) {
        return None;
    }
    let trace = Backtrace::capture();
    (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string())
}

/// Notes the location of panics, then calls whatever hook was there before. Only a hook sees the location.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            // The thread may be tearing its locals down: then there is no job to attribute the panic to.
            let _ = LOCATION.try_with(|slot| slot.replace(location));
            let _ = BACKTRACE.try_with(|slot| slot.replace(backtrace()));
            previous(info);
        }));
    });
}

/// Runs user code; a panic comes back as its message and location. What the panic carried is dropped guarded, too.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Caught> {
    install();
    // The closure's captures are not used after a panic: unwind safety is the caller's, who drops or condemns them.
    let result = catch_unwind(AssertUnwindSafe(f));
    result.map_err(|payload| {
        let message = text_of(&*payload);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Caught { message, location: LOCATION.take(), backtrace: BACKTRACE.take() }
    })
}

/// Wakes whoever waits. A waker is its executor's code: one that panics is reported, and harms nobody who is woken after it.
pub(crate) fn wake(waker: Waker) {
    wake_guarded(|| waker.wake());
}

/// The same for a waker that is reached by `wake` alone.
pub(crate) fn wake_guarded(wake: impl FnOnce()) {
    if let Err(caught) = catch(wake) {
        complain("a waker panicked", &caught);
    }
}

/// Says so. A subscriber is others' code as well, and is asked where a panic was to be kept from going on.
#[cold]
fn complain(what: &str, caught: &Caught) {
    let _ = catch(|| tracing::error!("{what}: {}", caught.message));
}

/// A waker for what is not ours and wakes unguarded: a panic of `waker` reaches nobody.
pub(crate) fn guarded_waker(waker: &Waker) -> Waker {
    Waker::from(Arc::new(Guarded(Some(waker.clone()))))
}

/// `None` once it is dropped.
struct Guarded(Option<Waker>);

impl Wake for Guarded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            wake(waker.clone());
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let waker = self.0.take();
        if let Err(caught) = catch(|| drop(waker)) {
            complain("a waker panicked as it was dropped", &caught);
        }
    }
}

/// What a panic said, if it was text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic that carried no text".to_owned()
    }
}
