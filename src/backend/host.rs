//! The runtime that the caller is on, or that workers are on, as far as it matters here.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::policy::Exit;
use crate::slot::Cell;
use crate::sync::{Arc, AtomicBool, Ordering};

/// True on a current-thread runtime, where a thread that blocks stops everything.
pub(super) fn on_current_thread_runtime() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

/// True if a thread that blocks here keeps `host` from running: its only thread is this one.
pub(super) fn blocks(host: &Handle) -> bool {
    on_current_thread_runtime()
        || Handle::try_current().is_ok_and(|here| {
            // A task is running on the one worker; outside of a task the caller is a thread of its own.
            here.id() == host.id() && host.metrics().num_workers() == 1 && tokio::task::try_id().is_some()
        })
}

/// Stands beside a worker's context: if both are dropped because the runtime goes, the exit says so.
pub(super) struct Hosted {
    runtime: Option<Handle>,
    cell: Arc<Cell>,
}

impl Hosted {
    pub(super) fn new(runtime: Option<Handle>, cell: Arc<Cell>) -> Self {
        Self { runtime, cell }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let asked = self.cell.lock().leave.is_some();
        if !asked && self.runtime.as_ref().is_some_and(is_gone) {
            self.cell.lock().leave.get_or_insert(Exit::RuntimeGone);
        }
    }
}

/// A runtime that shuts down takes no task, and drops what it is given on the spot.
#[expect(clippy::disallowed_methods, reason = "the home of tokio::spawn: the runtime was given for this")]
fn is_gone(runtime: &Handle) -> bool {
    let ran = Arc::new(AtomicBool::new(false));
    let runs = ran.clone();
    let task = runtime.spawn(async move { runs.store(true, Ordering::Release) });
    // Finished, and has not run. In this order: it may run meanwhile.
    task.is_finished() && !ran.load(Ordering::Acquire)
}
