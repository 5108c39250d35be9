//! The runtime that the caller is on, as far as it matters here.

use tokio::runtime::{Handle, RuntimeFlavor};

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
