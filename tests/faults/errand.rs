//! A job of any kind, and what it leaves in the books.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use millpond::{JobContext, WorkerId};

use crate::alive::Alive;
#[cfg(all(feature = "process", unix))]
use crate::desk_errands::Caller;
use crate::inside::Body;
use crate::site::{Latch, Shared};
use crate::terms::Terms;

/// What a job that panics says.
pub const AS_TOLD: &str = "as it was told";
/// A job that waits to be asked goes by itself after this.
const POLITE: Duration = Duration::from_millis(20);

/// What a job that submits another one does about it, as its kind does it.
pub struct Nested {
    pub block: Box<dyn FnOnce() + Send>,
    pub wait: Pin<Box<dyn Future<Output = ()> + Send>>,
}

pub enum Act {
    Returns,
    Works(Duration),
    /// Until it is asked to stop, or has waited for long enough.
    Polite,
    /// Holds its thread on every kind, whatever it is told: no kill reaches it.
    Stubborn(Duration, Latch),
    Panics,
    /// Asks the pool how it is, and so does the drop of what it holds.
    Looks(Cargo),
    Submits(Nested),
}

/// What is known of a job beside the pool: what it was given, and how far it came.
pub struct Record {
    pub terms: Terms,
    cancelled: AtomicBool,
    begun: AtomicU32,
    over: AtomicBool,
    remote: AtomicBool,
}

impl Record {
    pub fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            terms,
            cancelled: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            over: AtomicBool::new(false),
            remote: AtomicBool::new(false),
        })
    }

    /// Its handle is about to cancel it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub fn was_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire) > 0
    }

    /// A child has begun it, of whose end this process hears a moment late.
    pub fn is_remote(&self) -> bool {
        self.remote.load(Ordering::Acquire)
    }

    /// Its last line was reached.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// A job.
pub struct Errand {
    pub no: u64,
    pub act: Act,
    pub record: Arc<Record>,
    pub shared: Arc<Shared>,
    _alive: Alive,
}

/// Counted while the job's code runs.
struct Inside(Arc<Shared>, u64);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.leave(self.1);
    }
}

/// What a job holds: its drop, wherever that is, asks the pool how it is, and would hang under one of its locks: invariant 8.
pub struct Cargo(pub Arc<Shared>);

impl Drop for Cargo {
    fn drop(&mut self) {
        self.0.look();
    }
}

impl Errand {
    pub fn new(no: u64, act: Act, record: &Arc<Record>, shared: &Arc<Shared>) -> Self {
        Self { no, act, record: record.clone(), shared: shared.clone(), _alive: shared.alive.jobs.one() }
    }

    pub fn complain(&self, what: &str) {
        self.shared.violated(format!("job {}: {what}", self.no));
    }

    /// Blocks its thread for a job that it submits, where it would await that.
    #[cfg(feature = "interpreter")]
    pub fn blocking(mut self) -> Self {
        if let Act::Submits(nested) = &mut self.act {
            let block = std::mem::replace(&mut nested.block, Box::new(|| unreachable!("it is polled")));
            nested.wait = Box::pin(async move { block() });
        }
        self
    }

    fn enter(&self) -> Inside {
        self.enter_as(JobContext::current().map(|me| me.worker_id()))
    }

    fn enter_as(&self, worker: Option<WorkerId>) -> Inside {
        if self.record.begun.fetch_add(1, Ordering::AcqRel) > 0 {
            self.complain("begun twice");
        }
        let body = Body { worker, lane: self.record.terms.lane, is_remote: self.record.is_remote() };
        self.shared.enter(self.no, body);
        Inside(self.shared.clone(), self.no)
    }

    fn leave(record: &Record, no: u64) -> u64 {
        record.over.store(true, Ordering::Release);
        no
    }

    /// As a thread runs it.
    pub fn run(self) -> u64 {
        let _inside = self.enter();
        let Self { no, act, record, shared, _alive } = self;
        match act {
            Act::Returns => {}
            Act::Works(span) => std::thread::sleep(span),
            Act::Polite => {
                let me = JobContext::current();
                let mut looks = POLITE.as_micros() / 200;
                while looks > 0 && !me.as_ref().is_none_or(JobContext::is_cancelled) {
                    looks -= 1;
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            Act::Stubborn(span, latch) => {
                latch.block_for(span);
            }
            Act::Panics => panic!("{AS_TOLD}"),
            Act::Looks(cargo) => {
                shared.look();
                drop(cargo);
            }
            Act::Submits(nested) => (nested.block)(),
        }
        Self::leave(&record, no)
    }

    /// As it is done here for a child, which has no handle of a pool: it submits nothing.
    #[cfg(all(feature = "process", unix))]
    pub fn run_for(self, child: &Caller, worker: WorkerId) -> u64 {
        const LOOK: Duration = Duration::from_micros(500);
        self.record.remote.store(true, Ordering::Release);
        let _inside = self.enter_as(Some(worker));
        let Self { no, act, record, shared, _alive } = self;
        let since = std::time::Instant::now();
        match act {
            Act::Returns | Act::Submits(_) => {}
            Act::Works(span) => std::thread::sleep(span),
            Act::Polite => {
                while since.elapsed() < POLITE && !child.is_cancelled() && !child.is_gone() {
                    std::thread::sleep(LOOK);
                }
            }
            Act::Stubborn(span, latch) => while since.elapsed() < span && !child.is_gone() && !latch.block_for(LOOK) {},
            Act::Panics => panic!("{AS_TOLD}"),
            Act::Looks(cargo) => {
                shared.look();
                drop(cargo);
            }
        }
        if child.is_gone() { no } else { Self::leave(&record, no) }
    }

    /// As an async worker runs it.
    pub async fn run_async(self) -> u64 {
        let _inside = self.enter();
        let Self { no, act, record, shared: _, _alive } = self;
        match act {
            Act::Returns => {}
            Act::Works(span) => tokio::time::sleep(span).await,
            Act::Polite => {
                if let Some(me) = JobContext::current() {
                    // Either will do: it was asked, or has waited for long enough.
                    let _ = tokio::time::timeout(POLITE, me.cancellation().cancelled()).await;
                }
            }
            Act::Stubborn(span, latch) => {
                latch.block_for(span);
            }
            Act::Panics => panic!("{AS_TOLD}"),
            Act::Looks(cargo) => {
                tokio::task::yield_now().await;
                drop(cargo);
            }
            Act::Submits(nested) => nested.wait.await,
        }
        Self::leave(&record, no)
    }
}
