//! How a job's wait for another job is noticed: DESIGN.md, "Nested waits".
//!
//! A handle, or a submission at the gate, that is polled inside a job and has nothing yet is *noted*. Once the poll is over and the job is
//! to wait for nothing but what was noted, its wait enters the graph; it leaves the graph before the next poll begins. So the graph knows
//! only of jobs that stand still, and is touched by nobody else.

mod graph;
mod stuck;

use crate::job::Share;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::ptr;
use std::task::{Context, Poll, Wake, Waker};

pub(crate) use graph::look_again;
use graph::{Ticket, Verdict};

use super::context::is_inside;
use super::{Envelope, JobContext, PoolNo, Recalls};
use crate::error::Deadlock;
use crate::id::LaneId;
use crate::sync::{Arc, AtomicBool, Ordering};

/// Stands at a gate.
pub(crate) trait Stands: Send + Sync {
    /// True while it has no place, is to have one, and holds the waker of whoever polled it last.
    fn stands(&self) -> bool;
}

/// What a job waits for.
pub(crate) struct Target {
    pool: Arc<dyn Recalls>,
    number: PoolNo,
    lane: LaneId,
    what: What,
}

enum What {
    /// The outcome of this one.
    Job(Share<dyn Envelope>),
    /// A place in the lane.
    Place(Arc<dyn Stands>),
}

impl Target {
    /// `None` if the pool is gone: then the outcome is there, or is just being written.
    pub(crate) fn job(number: PoolNo, job: Share<dyn Envelope>) -> Option<Self> {
        Some(Self { pool: number.find()?, number, lane: job.header().lane(), what: What::Job(job) })
    }

    /// A place in a lane, for whoever stands there.
    pub(crate) fn place(number: PoolNo, lane: LaneId, at: Arc<dyn Stands>) -> Option<Self> {
        Some(Self { pool: number.find()?, number, lane, what: What::Place(at) })
    }

    /// Tells targets apart: an address, compared and never followed.
    fn key(&self) -> usize {
        match &self.what {
            What::Job(job) => ptr::from_ref(job.header()).addr(),
            What::Place(at) => Arc::as_ptr(at).addr(),
        }
    }

    /// True while it holds the waker of the job that waits for it.
    fn holds_waker(&self) -> bool {
        match &self.what {
            What::Job(job) => job.header().is_awaited(),
            What::Place(at) => at.stands(),
        }
    }
}

/// What was noted in the poll that runs on this thread, and what it is to be told.
#[derive(Default)]
struct Notes {
    targets: Vec<Target>,
    verdict: Option<Verdict>,
}

/// The part of it that every poll looks at.
struct Here {
    /// By whose waker handles are polled here; null outside of jobs.
    polled_by: Cell<*const ()>,
    /// There are notes.
    noted: Cell<bool>,
}

thread_local! {
    static HERE: Here = const { Here { polled_by: Cell::new(ptr::null()), noted: Cell::new(false) } };
    static NOTES: RefCell<Notes> = const { RefCell::new(Notes { targets: Vec::new(), verdict: None }) };
}

/// Any waker is the job's.
const ANY: *const () = ptr::dangling::<usize>().cast();

/// Called by what was polled with `waker` and has nothing yet. `Some`: this wait would never end.
#[inline]
pub(crate) fn note(waker: &Waker, target: impl FnOnce() -> Option<Target>) -> Option<Arc<Deadlock>> {
    let by = HERE.with(|here| here.polled_by.get());
    if by.is_null() { None } else { note_inside(by, waker, target()?) }
}

#[cold]
fn note_inside(by: *const (), waker: &Waker, target: Target) -> Option<Arc<Deadlock>> {
    NOTES
        .try_with(|notes| {
            let mut notes = notes.borrow_mut();
            if let Some(verdict) = notes.verdict.take_if(|verdict| verdict.key == target.key()) {
                return Some(verdict.deadlock);
            }
            // Within a task of the job's own making, or with no waker at all, it does not hold up the job.
            let holds_up = by == ANY || waker.data() == by;
            if holds_up && notes.targets.iter().all(|noted| noted.key() != target.key()) {
                notes.targets.push(target);
                HERE.with(|here| here.noted.set(true));
            }
            None
        })
        .ok()
        .flatten()
}

/// One poll of a job.
struct Scope {
    outer: *const (),
    /// Of a poll that this one is within: a job that blocks in its own poll.
    notes: Option<Notes>,
}

impl Scope {
    fn open(by: *const (), verdict: Option<Verdict>) -> Self {
        let outer = HERE.with(|here| here.polled_by.replace(by));
        if outer.is_null() && verdict.is_none() {
            return Self { outer, notes: None };
        }
        let ours = Notes { targets: Vec::new(), verdict };
        Self { outer, notes: NOTES.try_with(|notes| notes.replace(ours)).ok() }
    }

    #[inline]
    fn has_noted(&self) -> bool {
        HERE.with(|here| here.noted.get())
    }

    /// What was noted.
    fn noted(&self) -> Vec<Target> {
        if !HERE.with(|here| here.noted.replace(false)) {
            return Vec::new();
        }
        NOTES.try_with(|notes| std::mem::take(&mut notes.borrow_mut().targets)).unwrap_or_default()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let noted = HERE.with(|here| {
            here.polled_by.set(self.outer);
            here.noted.replace(self.notes.as_ref().is_some_and(|outer| !outer.targets.is_empty()))
        });
        if noted || self.notes.is_some() {
            // Fails only while the thread tears its locals down.
            let ours = NOTES.try_with(|notes| notes.replace(self.notes.take().unwrap_or_default()));
            drop(ours);
        }
    }
}

/// A job's waker that is counted: if nobody has a share of it but the handles that were noted, nothing else will wake the job.
struct Root {
    inner: Waker,
    woken: AtomicBool,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.inner.wake_by_ref();
    }
}

/// The same, with its shares: this one, and that of the waker.
struct Counted {
    root: Arc<Root>,
    waker: Waker,
}

impl Counted {
    fn new(inner: &Waker) -> Self {
        let root = Arc::new(Root { inner: inner.clone(), woken: AtomicBool::new(false) });
        Self { waker: Waker::from(root.clone()), root }
    }

    fn data(&self) -> *const () {
        Arc::as_ptr(&self.root).cast()
    }

    /// True if these alone will wake the job, and nobody has yet.
    fn is_left_to(&self, targets: &[Target]) -> bool {
        let holders = targets.iter().filter(|target| target.holds_waker()).count();
        Arc::strong_count(&self.root) == 2 + holders && !self.root.woken.load(Ordering::Acquire)
    }
}

/// A job, or a part of it, between two polls.
#[derive(Default)]
pub(crate) struct Suspended {
    counted: Option<Counted>,
    ticket: Option<Ticket>,
}

impl Suspended {
    /// Polls a job of an async worker. A job that has never waited for another pays for two looks at its thread.
    pub(crate) fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        me: impl Fn() -> JobContext,
        mut f: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        // All threads of a model are one of the system's, and so are their locals.
        if cfg!(millpond_loom) {
            return f(cx);
        }
        if self.counted.is_none() {
            let scope = Scope::open(ANY, None);
            let polled = f(cx);
            if polled.is_ready() || !scope.has_noted() {
                return polled;
            }
        }
        // It waits for another job, as far as one can see; once more, to see who else could wake it. A poll more is any future's lot.
        let counted = match self.counted.take().filter(|counted| counted.root.inner.will_wake(cx.waker())) {
            Some(counted) => self.counted.insert(counted),
            None => self.counted.insert(Counted::new(cx.waker())),
        };
        counted.root.woken.store(false, Ordering::Release);
        let verdict = self.ticket.take().and_then(Ticket::end);
        let (polled, noted) = {
            let scope = Scope::open(counted.data(), verdict);
            let polled = f(&mut Context::from_waker(&counted.waker));
            (polled, scope.noted())
        };
        if polled.is_pending() && !noted.is_empty() && counted.is_left_to(&noted) {
            self.ticket = Some(Ticket::begin(me(), noted, cx.waker()));
        }
        polled
    }

    /// The same on a thread that blocks for nothing else.
    fn poll_blocking<R>(&mut self, cx: &mut Context<'_>, f: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
        let verdict = self.ticket.take().and_then(Ticket::end);
        let (polled, noted) = {
            let scope = Scope::open(ANY, verdict);
            let polled = f(cx);
            (polled, scope.noted())
        };
        if polled.is_pending()
            && !noted.is_empty()
            && let Some(me) = JobContext::current()
        {
            self.ticket = Some(Ticket::begin(me, noted, cx.waker()));
        }
        polled
    }
}

/// `future`, for a thread that blocks until it is ready; inside a job, such a wait is known of.
pub(crate) async fn watched<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut suspended = Suspended::default();
    poll_fn(|cx| {
        if cfg!(millpond_loom) || !is_inside() {
            return future.as_mut().poll(cx);
        }
        suspended.poll_blocking(cx, |cx| future.as_mut().poll(cx))
    })
    .await
}
