//! What a test stands on.

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::latch::{Latch, Meter};
use crate::patience::eventually;

/// An application's runtime, and latches that open when the test ends, so that nothing outlives it for long.
pub struct Ground {
    runtime: Option<Runtime>,
    latches: Mutex<Vec<Latch>>,
}

impl Ground {
    /// With as many threads as stubborn jobs may block, and some.
    pub fn new() -> Self {
        Self::with_threads(8)
    }

    pub fn with_threads(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        Self { runtime: Some(runtime.expect("threads for a runtime")), latches: Mutex::default() }
    }

    pub fn handle(&self) -> Handle {
        self.runtime.as_ref().expect("until the drop").handle().clone()
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle().block_on(future)
    }

    pub fn latch(&self) -> Latch {
        let latch = Latch::new();
        self.latches.lock().push(latch.clone());
        latch
    }

    /// Blocks all `threads` of the runtime until the latch is opened.
    pub fn block(&self, threads: usize) -> Latch {
        let (stuck, blocked) = (self.latch(), Meter::default());
        for _ in 0..threads {
            let (stuck, blocked) = (stuck.clone(), blocked.clone());
            self.handle().spawn(async move {
                let _inside = blocked.enter();
                stuck.block();
            });
        }
        eventually("every thread of the runtime is blocked", || blocked.inside() == threads);
        stuck
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for latch in self.latches.get_mut() {
            latch.open();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
