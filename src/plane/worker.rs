//! The worker's side: it pulls, so only a ready worker gets a job.

use std::future::poll_fn;
use std::task::{Context, Poll};

#[cfg(any(feature = "process", millpond_loom))]
use tracing::Span;

use super::claim::Claim;
use super::company::Company;
#[cfg(any(feature = "process", millpond_loom))]
use super::lend::Loan;
use super::turnover::{Spent, Turn, Turned};
use super::{Plane, Seldom};
use crate::error::StartError;
use crate::id::WorkerId;
#[cfg(any(feature = "process", millpond_loom))]
use crate::job::tell_end;
use crate::job::{ClaimKey, Envelope};
use crate::policy::Exit;
use crate::slot::{Cell, Taken};
use crate::snapshot::{Ended, Facts};
use crate::sync::{Arc, Timestamp};
#[cfg(not(millpond_loom))]
use crate::sync::{Ordering, thread_waker};

/// How often a worker looks before it parks, if it is the one that spins.
#[cfg(not(millpond_loom))]
pub(super) const SPINS: u32 = 700;

/// An incarnation's lease on its pool. Its drop, however it comes about, is the exit of the worker: it gives back the
/// seat, puts back a job that was not begun, and reports.
pub struct WorkerContext<J: ?Sized + Envelope> {
    pub(super) plane: Arc<Plane<J>>,
    pub(super) cell: Arc<Cell>,
    /// The job that is claimed: the next one, taken when the last one ended, or the one that was begun.
    pub(super) taken: Option<Taken<J>>,
    /// The right to its payload, once it was begun: then it lies here, or whoever holds a [`Claim`] has given it up.
    pub(super) key: Option<ClaimKey>,
    /// The job that is to be the next one, if one was lent.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(super) lent: Option<Loan<J>>,
    /// The span of the job that is claimed, if that has been in it while it was lent.
    #[cfg(any(feature = "process", millpond_loom))]
    pub(super) span: Option<Span>,
    place: Place,
    /// The last turnover called another worker.
    called: bool,
    /// Others go first before the job is begun: until it is, it may be taken back.
    stands: bool,
    company: Company,
    exit: Option<Exit>,
}

/// A worker that asks for its next job, from one poll to the next.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asking {
    /// Whether others go first was asked.
    counted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Asks for work next.
    Between,
    /// Among the idle, to be woken.
    Idle,
    /// Has no seat and gets no more work.
    Left,
}

impl<J: ?Sized + Envelope> WorkerContext<J> {
    pub(crate) fn new(plane: Arc<Plane<J>>, cell: Arc<Cell>) -> Self {
        Self {
            plane,
            cell,
            taken: None,
            key: None,
            #[cfg(any(feature = "process", millpond_loom))]
            lent: None,
            #[cfg(any(feature = "process", millpond_loom))]
            span: None,
            place: Place::Between,
            called: false,
            stands: false,
            company: Company::default(),
            exit: None,
        }
    }

    /// Which incarnation this is.
    pub fn worker(&self) -> WorkerId {
        self.cell.id
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.plane.config.name
    }

    /// Tells inventory what only this kind of worker has. The first call counts.
    pub fn set_facts(&self, facts: Facts) {
        self.cell.set_facts(facts);
    }

    /// How long it may take to come up.
    #[cfg(feature = "process")]
    pub(crate) fn start_limit(&self) -> std::time::Duration {
        self.plane.config.start_limit
    }

    /// The cell, for facts that are known only once this has been given away.
    pub(crate) fn facts_cell(&self) -> Arc<Cell> {
        self.cell.clone()
    }

    /// The worker did not come up: say why, then drop the context.
    pub fn failed(&mut self, error: StartError) {
        self.cell.fail(error);
    }

    /// The worker's state is suspect: it takes no more jobs and its slot is restarted once this is dropped.
    pub fn condemn(&mut self) {
        self.leave(Exit::Panicked);
    }

    /// The worker is done, in good order: it takes no more jobs, and once this is dropped its slot is free for another. Not a fault, so that
    /// no policy is asked.
    pub fn finish(&mut self) {
        self.leave(Exit::Finished);
    }

    /// The worker is to end for this reason: it takes no more jobs.
    pub(crate) fn leave(&mut self, exit: Exit) {
        self.exit = Some(exit.clone());
        self.cell.lock().leave.get_or_insert(exit);
        self.retire();
    }

    /// It takes no more jobs. Its state is to be dropped before this is, and that may take its time: no job waits for it here, taken or called for.
    fn retire(&mut self) {
        // Of a claim that was leaked: what was begun does not go back.
        self.kill_begun();
        self.give_back();
        self.plane.release(&self.cell);
        self.place = Place::Left;
    }

    /// Lets go of a job that was taken and not begun.
    fn give_back(&mut self) {
        let Some(taken) = self.taken.take() else { return };
        if self.plane.put_back(&self.cell, taken.job(), taken.claim) {
            return taken.let_go();
        }
        // The payload is this worker's still, since it claimed it.
        let key = ClaimKey::of(taken.job());
        if taken.job().header().ended() == Some(Ended::NotStarted) {
            self.plane.keep_or_discard(vec![(taken.job().clone(), key)]);
            self.give_seat_back(taken);
        } else {
            self.end_killed(taken, key);
        }
    }

    /// Gives back the seat of a job that has its outcome.
    fn give_seat_back(&self, taken: Taken<J>) {
        self.plane.release(&self.cell);
        // One that was abandoned has shown it until now.
        self.cell.lock().held = None;
        taken.let_go();
    }

    /// Begins the job that was taken: its key is made. False: a worker that stood before it may find that it was taken back. Then it is to end,
    /// and lets go of the job here.
    pub(crate) fn begin(&mut self) -> bool {
        let begins =
            !std::mem::take(&mut self.stands) || self.taken.as_ref().is_some_and(|taken| self.cell.go_on(taken.claim));
        if begins {
            // The word went from queued to claimed under the ready lock for this worker: here its one key is made.
            self.key = self.taken.as_ref().map(|taken| ClaimKey::of(taken.job()));
        } else {
            self.retire();
        }
        begins
    }

    /// The next job; `None`: the worker has to end, by dropping this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no job: one that was taken is kept for the next call.
    pub async fn next(&mut self) -> Option<Claim<'_, J>> {
        let mut asking = Asking::default();
        let has_job = poll_fn(|cx| self.poll_next(&mut asking, cx)).await;
        (has_job && self.begin()).then(|| Claim(self))
    }

    /// Ready with whether a job was taken, which is to be [begun](Self::begin) next; false: the worker has to end.
    pub(crate) fn poll_next(&mut self, asking: &mut Asking, cx: &mut Context<'_>) -> Poll<bool> {
        // Of a claim that was leaked: a job is begun once.
        self.kill_begun();
        if self.place == Place::Idle {
            std::task::ready!(self.poll_called(cx));
            self.place = Place::Between;
            if self.company.is_expected() {
                return yield_now(cx);
            }
        }
        let has_job = std::task::ready!(self.poll_take(cx));
        if has_job && !std::mem::replace(&mut asking.counted, true) {
            // The worker that was called may lie where only this thread can get at it, and the job may block this thread:
            // it goes first, and this one stands where another thread can take it.
            let called = std::mem::take(&mut self.called);
            if self.company.others_go_first() || called {
                // Once: it may have been taken back since, if this is a call after one that was dropped.
                if !self.stands
                    && let Some(taken) = &self.taken
                {
                    self.cell.stand(taken.claim);
                    self.stands = true;
                }
                return yield_now(cx);
            }
        }
        Poll::Ready(has_job)
    }

    /// The same for a worker that is a thread: parks it until there is a job.
    #[cfg(not(millpond_loom))]
    pub fn next_blocking(&mut self) -> Option<Claim<'_, J>> {
        // Of a claim that was leaked: a job is begun once.
        self.kill_begun();
        if self.taken.is_some() {
            return self.begin().then(|| Claim(self));
        }
        let waker = thread_waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(has_job) = self.poll_take(&mut cx) {
                return (has_job && self.begin()).then(|| Claim(self));
            }
            if !self.spin() {
                std::thread::park();
            }
        }
    }

    /// Ready when an idle worker is called.
    fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.parker.poll(cx, || drop(self.plane.inbox.lock()))
    }

    /// Ready with whether there is a job; false: the worker has to leave.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if self.taken.is_some() {
                return Poll::Ready(true);
            }
            match self.place {
                Place::Left => return Poll::Ready(false),
                Place::Idle => {
                    if self.poll_called(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.place = Place::Between;
                }
                Place::Between => {
                    let now = self.plane.clock.now();
                    if self.cell.ready_at().is_none() {
                        self.plane.note_ready(&self.cell, now);
                    }
                    if let Some(rare) = self.turn(now, None) {
                        self.plane.after_all(*rare);
                    }
                }
            }
        }
    }

    /// Asks for work and keeps what it gets for the next call of [`next`](Self::next).
    #[cfg(any(feature = "testing", millpond_loom))]
    pub(crate) fn look(&mut self, cx: &mut Context<'_>) {
        // What it gets is kept in any case.
        let _ = self.poll_take(cx);
    }

    /// Finds the next job; what it gives is to be worked off by [`Plane::after_all`].
    pub(super) fn turn(&mut self, now: Timestamp, spent: Option<Spent>) -> Seldom<J> {
        let looks = spent.is_none();
        let turned = self.turn_to_lent(now, spent.as_ref());
        let turned = turned.unwrap_or_else(|| self.plane.turnover(&self.cell, now, spent, &mut self.taken));
        let Turned { turn, called, more, rare } = turned;
        self.called = called;
        if looks {
            self.company.found(more);
        }
        debug_assert_eq!(turn == Turn::Run, self.taken.is_some(), "a worker runs what it was given");
        match turn {
            Turn::Run => {
                if let Some(taken) = &self.taken {
                    self.plane.note_claimed(&self.cell, taken.job(), taken.claim, now);
                }
            }
            Turn::Wait => self.place = Place::Idle,
            Turn::Leave => self.place = Place::Left,
        }
        rare
    }

    /// Takes the job that was lent, if one was.
    #[cfg(any(feature = "process", millpond_loom))]
    #[inline]
    fn turn_to_lent(&mut self, now: Timestamp, spent: Option<&Spent>) -> Option<Turned<J>> {
        self.lent.as_ref()?;
        let (turned, span) = self.plane.turn_to_lent(&self.cell, now, spent, &mut self.lent, &mut self.taken)?;
        self.span = span;
        Some(turned)
    }

    #[cfg(not(any(feature = "process", millpond_loom)))]
    #[inline]
    fn turn_to_lent(&mut self, _now: Timestamp, _spent: Option<&Spent>) -> Option<Turned<J>> {
        None
    }

    /// At most one worker of a pool spins before it parks: a park and a wake cost more than the next job's wait. True if it paid.
    #[cfg(not(millpond_loom))]
    pub(crate) fn spin(&self) -> bool {
        let spinner = &self.plane.spinner;
        if spinner.swap(true, Ordering::AcqRel) {
            return false;
        }
        let noticed = (0..SPINS).any(|_| {
            std::hint::spin_loop();
            self.cell.parker.is_called()
        });
        spinner.store(false, Ordering::Release);
        noticed
    }
}

/// Lets the other tasks of this thread go first.
fn yield_now(cx: &Context<'_>) -> Poll<bool> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<J: ?Sized + Envelope> Drop for WorkerContext<J> {
    fn drop(&mut self) {
        // Of a claim that was leaked, or of what a panic kept from ending it.
        self.kill_begun();
        #[cfg(any(feature = "process", millpond_loom))]
        {
            drop(self.lent.take());
            // Of a job that was not begun.
            tell_end(self.span.take());
        }
        self.give_back();
        let exit = self.exit.take();
        self.plane.depart(&self.cell, exit);
    }
}

impl<J: ?Sized + Envelope> std::fmt::Debug for WorkerContext<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerContext").field("worker", &self.cell.id).finish_non_exhaustive()
    }
}
