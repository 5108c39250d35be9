//! What a test stands on.

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::latch::Latch;

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
