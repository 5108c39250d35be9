//! Tasks of a pool of processes: what a child is sent is where to ask, and which task; the task itself stays here.
//!
//! A child's job asks this process, over a socket of its own, to run the task, and waits; its cancellation is passed on. So the bodies, whose tasks share
//! gates and counters with their tests, run unchanged; and a child that is killed is one whose job waits. A closure that captures nothing
//! goes there by itself.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond::process::{Entry, Processes, RemoteCall};
use millpond::{Interceptor, PoolBuilder, ProcessPool};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::desk;
use crate::subject::{Intercepted, Subject};
use crate::task::Task;

/// A task that is to be asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Errand {
    number: u64,
    desk: PathBuf,
}

static TASKS: Mutex<Option<HashMap<u64, Task>>> = parking_lot::const_mutex(None);

impl Drop for Errand {
    fn drop(&mut self) {
        // In a child there is none. Here it is a job that will not run, or has begun, which has taken it.
        let task = TASKS.lock().as_mut().and_then(|tasks| tasks.remove(&self.number));
        drop(task);
    }
}

impl Errand {
    fn new(task: Task) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        TASKS.lock().get_or_insert_default().insert(number, task);
        Self { number, desk: desk().clone() }
    }

    fn take(&self) -> Option<Task> {
        TASKS.lock().as_mut()?.remove(&self.number)
    }
}

/// Where tasks are asked for.
fn desk() -> &'static PathBuf {
    static DESK: OnceLock<PathBuf> = OnceLock::new();
    DESK.get_or_init(|| desk::open(serve))
}

/// Runs one task on behalf of a child.
fn serve(caller: UnixStream, number: u64) {
    let Some(task) = TASKS.lock().as_mut().and_then(|tasks| tasks.remove(&number)) else { return };
    caller.set_nonblocking(true).expect("it is open");
    // A byte is a cancellation; the end is the child's.
    let asked = || !matches!((&caller).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    let done = catch_unwind(AssertUnwindSafe(|| task.run_asking(asked)));
    desk::answer(caller, done);
}

/// In the child.
fn ask(errand: Errand) -> u64 {
    desk::ask(&errand.desk, errand.number)
}

/// In the child: runs a closure that captures nothing, and is therefore there as well.
pub(crate) fn run_there<F: FnOnce() -> u64>(_errand: Errand) -> u64 {
    assert_eq!(size_of::<F>(), 0, "it captures something");
    // SAFETY: a type without a size has one value, and a closure that captures nothing may be had at any time: the one that was submitted is
    // of this type, and it is dropped unrun.
    let f: F = unsafe { std::ptr::NonNull::<F>::dangling().read() };
    f()
}

pub(crate) struct OnProcesses;

impl Subject for OnProcesses {
    const KIND: &'static str = "processes";
    type Backend = Processes;
    type Job = RemoteCall<Errand, u64>;

    fn builder(name: &str) -> PoolBuilder<Processes> {
        ProcessPool::builder(name).entry(Entry::test())
    }

    fn job(task: Task) -> Self::Job {
        let function = task.there().unwrap_or(ask);
        RemoteCall::new(function, Errand::new(task))
    }

    fn run_here(job: Self::Job) -> u64 {
        job.into_arguments().take().expect("nobody has run it").run()
    }
}

impl Intercepted for OnProcesses {
    fn interceptor(builder: PoolBuilder<Processes>, by: impl Interceptor) -> PoolBuilder<Processes> {
        builder.interceptor(by)
    }
}
