//! Tasks of a pool of processes: what a child is sent is where to ask, and which task; the task itself stays here.
//!
//! A child's job asks this process, over a socket of its own, to run the task, and waits; its cancellation is passed on. So the bodies, whose tasks share
//! gates and counters with their tests, run unchanged; and a child that is killed is one whose job waits. A closure that captures nothing
//! goes there by itself.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::process::{Entry, Processes, RemoteCall};
use millpond::{Interceptor, JobContext, PoolBuilder, ProcessPool};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

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
    DESK.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("millpond-errands-{}", std::process::id()));
        // Left over from a process of the same number.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a place for the socket");
        spawn(move || {
            for caller in listener.incoming().flatten() {
                spawn(move || serve(caller));
            }
        });
        path
    })
}

#[expect(clippy::disallowed_methods, reason = "who runs tasks on behalf of children")]
fn spawn(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(f);
}

/// Runs one task on behalf of a child.
fn serve(mut caller: UnixStream) {
    let mut number = [0; 8];
    if caller.read_exact(&mut number).is_err() {
        return;
    }
    let number = u64::from_le_bytes(number);
    let Some(task) = TASKS.lock().as_mut().and_then(|tasks| tasks.remove(&number)) else { return };
    caller.set_nonblocking(true).expect("it is open");
    // A byte is a cancellation; the end is the child's.
    let asked = || !matches!((&caller).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    let done = catch_unwind(AssertUnwindSafe(|| task.run_asking(asked)));
    caller.set_nonblocking(false).expect("it is open");
    let answer = match done {
        Ok(value) => [&[0], &value.to_le_bytes()[..]].concat(),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or(panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default();
            [&[1], said.as_bytes()].concat()
        }
    };
    // A child that was killed does not want it any more. One that lives closes first, or what it said meanwhile would cost it the answer.
    let _ = caller.write_all(&answer).and_then(|()| caller.shutdown(Shutdown::Write));
    let _ = std::io::copy(&mut caller, &mut std::io::sink());
}

/// In the child.
fn ask(errand: Errand) -> u64 {
    let mut desk = UnixStream::connect(&errand.desk).expect("somebody is there");
    desk.write_all(&errand.number.to_le_bytes()).expect("somebody listens");
    desk.set_read_timeout(Some(Duration::from_millis(2))).expect("it is open");
    let (me, mut told, mut answer) = (JobContext::current().expect("a job has a context"), false, Vec::new());
    loop {
        if me.is_cancelled() && !std::mem::replace(&mut told, true) {
            // Too late if the task has ended.
            let _ = desk.write_all(&[1]);
        }
        let mut chunk = [0; 256];
        match desk.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
    }
    match answer.split_first() {
        Some((0, value)) => u64::from_le_bytes(value.try_into().expect("a number")),
        Some((_, said)) => panic!("{}", String::from_utf8_lossy(said)),
        None => panic!("there is no such task"),
    }
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
