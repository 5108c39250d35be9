//! Bytes, counted by the allocator.
//!
//! Memory rows run in child processes of the same executable, which count from their first statement on. In the parent
//! the switch is never thrown: an allocation there costs one relaxed read of a flag more, on both sides alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

/// The option that makes a child measure one thing and print its bytes.
pub(crate) const CHILD: &str = "--bytes-of";

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, and a count of the bytes asked of it and not given back.
#[derive(Debug)]
pub(crate) struct Counting;

// SAFETY: every call goes to `System` unchanged; counting neither allocates nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as in `alloc`; `memory` came from `System`, since all memory does.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count(taken: usize, given: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(taken as i64 - given as i64, Ordering::Relaxed);
    }
}

/// Counts from here on: the first statement of a child.
pub(crate) fn start_counting() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Bytes per item that making `items` of them adds, once all have settled. What `make` returns is kept until then.
pub(crate) fn bytes_each<T>(items: usize, make: impl FnOnce() -> T) -> f64 {
    let before = settled();
    let kept = make();
    let after = settled();
    drop(kept);
    (after - before) as f64 / items as f64
}

/// The count when it has stood still for a while: what was started on other threads has then come up.
fn settled() -> i64 {
    let mut last = LIVE.load(Ordering::Relaxed);
    loop {
        thread::sleep(Duration::from_millis(150));
        let now = LIVE.load(Ordering::Relaxed);
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Has a child process measure `what`, with so many hooks at each of millpond's pools.
pub(crate) fn in_child(what: &str, hooks: usize) -> f64 {
    let program = env::current_exe().expect("the path of this executable");
    let output =
        Command::new(program).args([CHILD, what, &hooks.to_string()]).output().expect("this executable runs once more");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a child prints one number")
}
