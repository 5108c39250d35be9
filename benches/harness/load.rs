//! Work, and those who send it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Lets `callers` tasks send `jobs` jobs between them, each its share one after the other.
///
/// Also a single caller is a task of the runtime, so that no side pays for a hop from a foreign thread.
pub(crate) fn callers<C>(runtime: &Runtime, callers: u64, jobs: u64, caller: impl Fn(u64) -> C) -> Duration
where
    C: Future<Output = ()> + Send + 'static,
{
    let share = |nth| jobs / callers + u64::from(nth < jobs % callers);
    runtime.block_on(async {
        let begun = Instant::now();
        let mut sent: JoinSet<()> = (0..callers).map(|nth| caller(share(nth))).collect();
        while let Some(ended) = sent.join_next().await {
            ended.expect("callers do not panic");
        }
        begun.elapsed()
    })
}

/// Keeps so many jobs on their way from this thread, and waits for the oldest before it sends another.
pub(crate) fn outstanding<J>(
    most: usize,
    jobs: u64,
    mut send: impl FnMut(u64) -> J,
    mut wait: impl FnMut(J),
) -> Duration {
    let mut sent = VecDeque::with_capacity(most);
    let begun = Instant::now();
    for number in 0..jobs {
        if sent.len() == most {
            sent.pop_front().map(&mut wait);
        }
        sent.push_back(send(number));
    }
    sent.into_iter().for_each(wait);
    begun.elapsed()
}

/// Counts jobs down and wakes the thread that made it when none is left, so that waiting takes no core from the workers.
#[derive(Debug)]
pub(crate) struct Tally {
    left: AtomicU64,
    waiter: Thread,
}

impl Tally {
    /// Leaked, so that a job carries a plain reference and no side pays for a count of owners.
    pub(crate) fn leaked() -> &'static Self {
        Box::leak(Box::new(Self { left: AtomicU64::new(0), waiter: thread::current() }))
    }

    /// Sends `jobs` jobs from this thread and waits until all have run.
    pub(crate) fn time(&self, jobs: u64, mut send: impl FnMut()) -> Duration {
        self.left.store(jobs, Ordering::Relaxed);
        let begun = Instant::now();
        (0..jobs).for_each(|_| send());
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
        begun.elapsed()
    }

    /// One job has run.
    pub(crate) fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Release) == 1 {
            self.waiter.unpark();
        }
    }
}

/// Where blocking jobs sleep until it opens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Sleeps until the gate is open.
    pub(crate) fn pass(&self) {
        let (open, opened) = &*self.0;
        let guard = open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(opened.wait_while(guard, |open| !*open));
    }

    /// Wakes all who sleep, and stays open.
    pub(crate) fn open(&self) {
        let (open, opened) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }
}

/// Threads that do the same thing until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Starts `threads` threads that repeat `step`.
    pub(crate) fn start(threads: usize, step: impl Fn() + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (stop, step) = (Arc::clone(&stop), step.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    step();
                }
            })
        };
        Self { threads: (0..threads).map(start).collect(), stop }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a busy thread does not panic");
        }
    }
}

/// Burns a core for some µs: a job that does something.
pub(crate) fn burn() {
    (0..2_000_u64).for_each(|step| {
        black_box(step);
    });
}

/// Waits until `reached` says so, and gives up after a minute.
pub(crate) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute for: {what}");
        thread::sleep(Duration::from_micros(50));
    }
}
