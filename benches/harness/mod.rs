//! What the benchmarks share: options, rounds, figures, and a way to count bytes.
#![allow(dead_code, unused_imports, reason = "each benchmark is a program of its own and uses its part of this")]

pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod rounds;

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::{Builder, Runtime};

pub(crate) use options::Options;
pub(crate) use report::Measured;
pub(crate) use rounds::{Plan, Side};

/// Workers on each side of every row.
pub(crate) const WORKERS: usize = 4;

/// A runtime as every side gets one of its own: nothing that one side leaves behind runs beside the other.
///
/// The bound on blocking threads is the peer's worker count in the `blocking_*` rows; nobody else uses them.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(WORKERS)
        .enable_all()
        .build()
        .expect("two threads for a runtime")
}

/// A pool name that no earlier row has used: a pool registers its name and may take a moment to give it back.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
