//! Futures as jobs of interpreters: the guest asks this process again and again whether its future is ready. So bodies that are written for any
//! kind of pool run unchanged, and a kill reaches their jobs in the guest's code.

#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "wasi")]
pub mod wasi;
#[cfg(feature = "interpreter")]
pub mod wasm;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use millpond::GuestFault;
use millpond::interpreter::Crossing;

/// How long the guest waits at most before it looks again: for a kill, of which nobody tells it.
const LOOK: Duration = Duration::from_millis(1);

/// A future, to be polled for a guest.
pub struct Polled<T>(Pin<Box<dyn Future<Output = T> + Send>>);

/// Polls a future; true once it is ready.
type Poller = Box<dyn FnMut(&mut Context<'_>) -> bool + Send>;

impl<T: Send + 'static> Polled<T> {
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// The future.
    #[allow(dead_code, reason = "one of the suites that have this runs refused jobs")]
    pub fn into_inner(self) -> Pin<Box<dyn Future<Output = T> + Send>> {
        self.0
    }

    /// What polls it, and what it gives in the end.
    fn poller(self) -> (Poller, Receiver<T>) {
        let Self(mut future) = self;
        let (done, output) = sync_channel(1);
        let poller: Poller = Box::new(move |cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => done.send(output).is_ok(),
            Poll::Pending => false,
        });
        (poller, output)
    }
}

/// What the guest calls. An error is for the engine: the guest is to end.
fn poll(poller: &mut Poller) -> Result<bool, GuestFault> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    if poller(&mut Context::from_waker(&waker)) {
        return Ok(true);
    }
    let crossing = Crossing::here().expect("a job calls, on its worker's thread");
    crossing.enter_guest()?;
    std::thread::park_timeout(LOOK);
    crossing.leave_guest()?;
    Ok(false)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
