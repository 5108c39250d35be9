//! Futures as jobs of WebAssembly instances: the guest asks this process again and again whether its future is ready. So bodies that are written for any
//! kind of pool run unchanged, and a kill reaches their jobs in the guest's code.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use millpond::GuestFault;
use millpond::interpreter::wasmtime::{Caller, Linker, Result};
use millpond::interpreter::{Guest, Script, Wasm, WasmInstance};

const MODULE: &str = r#"(module
    (import "suite" "poll" (func $poll (result i32)))
    (memory 1)
    (func (export "run") (loop $again (br_if $again (i32.eqz (call $poll)))))
    (func (export "trap") unreachable)
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))"#;

/// How long the guest waits at most before it looks again: for a kill, of which nobody tells it.
const LOOK: Duration = Duration::from_millis(1);

/// A future, to be polled for a guest.
pub struct Polled<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Polled<T> {
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// The future.
    #[allow(dead_code, reason = "one of the suites that have this runs refused jobs")]
    pub fn into_inner(self) -> Pin<Box<dyn Future<Output = T> + Send>> {
        self.0
    }
}

/// True once it is ready.
type Poller = Box<dyn FnMut(&mut Context<'_>) -> bool>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

fn poll(mut caller: Caller<'_, Guest>) -> Result<i32> {
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let poller = caller.data_mut().get_mut::<Poller>().expect("its job has put one there");
    if poller(&mut Context::from_waker(&waker)) {
        return Ok(1);
    }
    let brake = caller.data().brake();
    brake.enter_guest()?;
    std::thread::park_timeout(LOOK);
    brake.leave_guest()?;
    Ok(0)
}

/// An interpreter that does such jobs.
pub fn engine() -> Wasm {
    Wasm::new(MODULE).host(|linker: &mut Linker<Guest>| linker.func_wrap("suite", "poll", poll).map(drop))
}

impl<T: Send + 'static> Script<Wasm> for Polled<T> {
    type Output = T;

    fn run(self, instance: &mut WasmInstance) -> std::result::Result<T, GuestFault> {
        let Self(mut future) = self;
        let (done, output) = std::sync::mpsc::sync_channel(1);
        let poller: Poller = Box::new(move |cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => done.send(output).is_ok(),
            Poll::Pending => false,
        });
        instance.store_mut().data_mut().set(poller);
        let ran = instance.call::<(), ()>("run", ());
        // The future goes before its outcome is known.
        drop(instance.store_mut().data_mut().take::<Poller>());
        ran.map(|()| output.try_recv().expect("the guest ends when it is ready"))
    }
}
