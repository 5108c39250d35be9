//! The ledger of a mixed pool's own jobs, and the one way in which each of them ends.

use std::sync::Arc;
use std::task::{Context, Waker};

use millpond::{Ended, JobId, Ledger};
use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::error::{Attempt, MixedEnd, MixedError};
use super::guard::{Mailbox, Note, wake};
use super::submit::Terms;

/// What became of every job ever offered.
#[derive(Default)]
pub(super) struct Book {
    counts: Mutex<Counts>,
    rest: Notify,
    pub(super) mailbox: Arc<Mailbox>,
}

#[derive(Default)]
struct Counts {
    ledger: Ledger,
    /// Those of its `waiting` who stand in line for a place. The others are on their way in, or back.
    in_line: u64,
}

impl Counts {
    /// Who stands in line has no job in: it may be kept there by a future that nobody polls, and when the line closes it is sent back.
    fn rests(&self) -> bool {
        self.ledger.pending == 0 && self.ledger.waiting == self.in_line
    }
}

impl Book {
    /// A job has come. Until its arrival ends it waits, and this pool does not rest but while it stands in line.
    pub(super) fn arrive(self: &Arc<Self>) -> Arrival {
        self.change(|counts| {
            counts.ledger.offered += 1;
            counts.ledger.waiting += 1;
        });
        Arrival { book: Some(self.clone()), in_line: false }
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.counts.lock().ledger
    }

    /// True if no job is on its way in, or in.
    pub(super) fn rests(&self) -> bool {
        self.counts.lock().rests()
    }

    /// Ends when that is so next. Made before a look at whether it is so already, it misses nothing; to be polled with a guarded waker.
    pub(super) fn next_rest(&self) -> Notified<'_> {
        self.rest.notified()
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let rests = {
            let mut counts = self.counts.lock();
            change(&mut counts);
            counts.rests()
        };
        if rests {
            self.rest.notify_waiters();
            // A pool that ends waits for just that.
            self.mailbox.post(Note::Look);
        }
    }

    fn end(&self, how: Ended) {
        self.change(|Counts { ledger, .. }| {
            ledger.pending -= 1;
            *match how {
                Ended::Completed => &mut ledger.completed,
                Ended::Panicked => &mut ledger.panicked,
                Ended::Cancelled => &mut ledger.cancelled,
                Ended::Expired => &mut ledger.expired,
                Ended::NotStarted => &mut ledger.not_started,
                Ended::Killed => &mut ledger.killed,
                Ended::Abandoned => &mut ledger.abandoned,
                Ended::DeadLettered => &mut ledger.dead_lettered,
                // There may be others one day, which the balance is not to lack.
                _ => &mut ledger.lost,
            } += 1;
        });
    }
}

/// A job at the gate. Dropped, it has withdrawn.
pub(super) struct Arrival {
    book: Option<Arc<Book>>,
    in_line: bool,
}

impl Arrival {
    pub(super) fn accept(mut self) {
        self.leave(|ledger| {
            ledger.accepted += 1;
            ledger.pending += 1;
        });
    }

    pub(super) fn reject(mut self) {
        self.leave(|ledger| ledger.rejected += 1);
    }

    /// It stands in line for a place from now on, or has its answer and looks at the gate after this.
    pub(super) fn stands_in_line(&mut self, stands: bool) {
        if let Some(book) = &self.book {
            book.change(|counts| counts.in_line = counts.in_line - u64::from(self.in_line) + u64::from(stands));
            self.in_line = stands;
        }
    }

    fn leave(&mut self, to: impl FnOnce(&mut Ledger)) {
        if let Some(book) = self.book.take() {
            book.change(|counts| {
                counts.ledger.waiting -= 1;
                counts.in_line -= u64::from(self.in_line);
                to(&mut counts.ledger);
            });
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.leave(|ledger| ledger.withdrawn += 1);
    }
}

/// Who a job is, for its errors.
pub(super) struct About {
    pub(super) pool: Arc<str>,
    pub(super) job: u64,
    pub(super) terms: Arc<Terms>,
}

/// What an outcome is.
pub(super) type Outcome<T> = Result<T, Box<MixedError>>;

/// Where a job's outcome goes, and what its handle sees of it until then.
pub(super) struct Slot<T> {
    pub(super) about: About,
    seen: Mutex<Seen<T>>,
}

struct Seen<T> {
    outcome: Option<Outcome<T>>,
    is_done: bool,
    /// Its handle is gone.
    detached: bool,
    cancelled: bool,
    with: Option<(Arc<str>, JobId)>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    pub(super) fn new(about: About) -> Arc<Self> {
        let seen = Seen { outcome: None, is_done: false, detached: false, cancelled: false, with: None, waker: None };
        Arc::new(Self { about, seen: Mutex::new(seen) })
    }

    pub(super) fn is_with(&self, member: Option<(Arc<str>, JobId)>) {
        self.seen.lock().with = member;
    }

    pub(super) fn with(&self) -> Option<(Arc<str>, JobId)> {
        self.seen.lock().with.clone()
    }

    pub(super) fn is_done(&self) -> bool {
        self.seen.lock().is_done
    }

    pub(super) fn cancel(&self) {
        self.seen.lock().cancelled = true;
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.seen.lock().cancelled
    }

    /// The outcome, once; `None`: it is not there, and the handle is told when it is.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<Outcome<T>> {
        let waker = cx.waker().clone();
        let mut seen = self.seen.lock();
        let outcome = seen.outcome.take();
        let before = if outcome.is_none() { seen.waker.replace(waker) } else { None };
        drop(seen);
        drop(before);
        outcome
    }

    /// The handle goes.
    pub(super) fn detach(&self) {
        let (outcome, waker) = {
            let mut seen = self.seen.lock();
            seen.detached = true;
            (seen.outcome.take(), seen.waker.take())
        };
        drop((outcome, waker));
    }

    /// Gives it back if nobody wants it.
    fn publish(&self, outcome: Outcome<T>) -> Option<Outcome<T>> {
        let (unwanted, waker) = {
            let mut seen = self.seen.lock();
            seen.is_done = true;
            let unwanted = if seen.detached { Some(outcome) } else { seen.outcome.replace(outcome) };
            (unwanted, seen.waker.take())
        };
        if let Some(waker) = waker {
            wake(waker);
        }
        unwanted
    }
}

/// The right and the duty to write a job's outcome. Dropped, the outcome is that the mixed pool lost it.
pub(super) struct Promise<T> {
    book: Arc<Book>,
    pub(super) slot: Arc<Slot<T>>,
    place: Option<OwnedSemaphorePermit>,
}

impl<T> Promise<T> {
    pub(super) fn new(book: Arc<Book>, slot: Arc<Slot<T>>, place: OwnedSemaphorePermit) -> Self {
        Self { book, slot, place: Some(place) }
    }

    /// Gives the output back if nobody wants it: it is the user's.
    pub(super) fn kept(mut self, output: T) -> Option<Outcome<T>> {
        self.end(Ended::Completed, Ok(output))
    }

    pub(super) fn broken(mut self, end: MixedEnd, attempts: Vec<Attempt>) {
        self.fail(end, attempts);
    }

    fn fail(&mut self, end: MixedEnd, attempts: Vec<Attempt>) {
        let About { pool, job, terms } = &self.slot.about;
        let error = MixedError {
            pool: pool.clone(),
            job: *job,
            label: terms.label.clone(),
            submitted_from: terms.site,
            end,
            attempts,
        };
        // If nobody wants it, it goes here: nothing in it is the user's to drop.
        drop(self.end(error.ended(), Err(Box::new(error))));
    }

    /// All bookkeeping is done before the outcome is there.
    fn end(&mut self, how: Ended, outcome: Outcome<T>) -> Option<Outcome<T>> {
        // Gives it to whoever waits longest for one.
        drop(self.place.take());
        self.book.end(how);
        self.slot.publish(outcome)
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.fail(MixedEnd::Lost, Vec::new());
        }
    }
}
