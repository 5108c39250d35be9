//! Time: one calendar of dated entries, and the tick that works off what is due.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smallvec::SmallVec;

use super::seats::GRANT_PATIENCE;
use super::{After, ControlPort, Overrun, Plane, Signal};
use crate::error::LimitKind;
use crate::gate::{Left, Waiter};
use crate::id::ClaimNo;
use crate::job::{Envelope, Owed, Owner, Share, wake};
use crate::slot::Cell;
use crate::sync::{Arc, AtomicBool, Clock, Mutex, Ordering, Setting, Ticks, Timestamp};

/// Ticks of the real clock are at most this far apart while anything is queued.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// How long one pass of a tick may take on the real clock; on a settable one none takes any time.
const PASS: Duration = Duration::from_millis(1);
/// How many entries are worked off between two looks at the clock.
const CLOCK_EVERY: usize = 16;

/// Something that is due at a moment.
enum What {
    /// A submitter's admission limit.
    Waiting(Arc<Waiter>),
    /// A promise that nobody came for.
    Granted(Arc<Waiter>),
    /// A queued job's queue limit or deadline.
    Queued(Share<dyn Envelope>),
    /// A job has rested, and is to be delivered again.
    Rested(Share<dyn Envelope>),
    /// A running job's run limit or deadline.
    Running { job: Share<dyn Envelope>, cell: Arc<Cell>, claim: ClaimNo, kind: LimitKind },
    /// A worker's job may be overdue by now.
    Silent(Arc<Cell>),
    /// A label has been kept out for long enough.
    Release,
    /// Somebody waits for a reply.
    Reply(Arc<Alarm>),
    /// A deadline of control's own.
    Control,
}

impl What {
    /// False once it can be forgotten.
    fn matters(&self) -> bool {
        match self {
            Self::Waiting(waiter) => waiter.is_waiting(),
            Self::Granted(waiter) => waiter.is_granted(),
            Self::Queued(job) | Self::Rested(job) => job.header().is_queued(),
            Self::Running { job, .. } => !job.header().is_done(),
            // Whoever else looks for a worker that is gone does not for long.
            Self::Silent(cell) => Arc::strong_count(cell) > 1,
            Self::Reply(alarm) => Arc::strong_count(alarm) > 1,
            Self::Control | Self::Release => true,
        }
    }
}

/// Wakes one waiter at a moment: the limit of a control reply.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let previous = self.waker.lock().replace(cx.waker().clone());
        drop(previous);
        if self.rung.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What is due when.
pub(super) struct Due {
    calendar: Mutex<Calendar>,
    /// When the next entry is due; `u64::MAX` for none.
    next: Setting,
    /// When to see again whether what is queued moves; `u64::MAX` while nothing is queued.
    watch_at: Setting,
    /// Jobs taken by the time of the last tick: whether work moves.
    taken: Setting,
}

impl Default for Due {
    fn default() -> Self {
        Self {
            calendar: Mutex::new(Calendar::default()),
            next: Setting::new(u64::MAX),
            watch_at: Setting::new(u64::MAX),
            taken: Setting::new(0),
        }
    }
}

/// A moment, and a number that tells entries of the same moment apart.
type Place = (Timestamp, u64);

/// Entries that do not matter any more are swept, a few with each one that is added, once there are twice as many as the last sweep
/// left: a sweep of them all at once would hold up whoever wants the lock.
#[derive(Default)]
struct Calendar {
    entries: BTreeMap<Place, What>,
    added: u64,
    /// How far a sweep has come, if one is under way.
    sweeping: Option<Place>,
    /// A sweep begins when this many are there.
    sweep_at: usize,
}

const SWEEP_FROM: usize = 256;
/// So many entries are looked at for each one that is added.
const STEP: usize = 4;

impl Calendar {
    fn add(&mut self, at: Timestamp, what: What) -> Swept {
        self.added += 1;
        self.entries.insert((at, self.added), what);
        if self.sweeping.is_none() && self.entries.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.sweeping = Some((Timestamp::default(), 0));
        }
        self.sweeping.map_or_else(Swept::default, |from| self.sweep(from))
    }

    /// One step of a sweep.
    fn sweep(&mut self, from: Place) -> Swept {
        let seen: SmallVec<[(Place, bool); STEP]> =
            self.entries.range(from..).take(STEP).map(|(place, what)| (*place, what.matters())).collect();
        self.sweeping = seen.get(STEP - 1).map(|&((at, number), _)| (at, number + 1));
        let swept = seen.iter().filter(|(_, matters)| !matters);
        let swept = Swept(swept.filter_map(|(place, _)| self.entries.remove(place)).collect());
        if self.sweeping.is_none() {
            self.sweep_at = self.entries.len() * 2;
        }
        swept
    }

    fn pop(&mut self, now: Timestamp) -> Option<What> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> u64 {
        self.entries.first_key_value().map_or(u64::MAX, |((at, _), _)| at.as_nanos())
    }
}

/// Entries that do not matter any more.
#[derive(Default)]
#[must_use = "dropped under a lock, it could run an executor's code there"]
pub(super) struct Swept(Vec<What>);

impl Swept {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Due {
    /// Hands back what was swept, for the caller to drop with no lock held: wakers are among it.
    fn add(&self, at: Timestamp, what: What, port: &dyn ControlPort) -> Swept {
        if at == Timestamp::NEVER {
            return Swept::default();
        }
        let swept = {
            let mut calendar = self.calendar.lock();
            let swept = calendar.add(at, what);
            self.next.store(calendar.next(), Ordering::Release);
            swept
        };
        port.alarm(at);
        swept
    }

    pub(super) fn waiting(&self, waiter: &Arc<Waiter>, port: &dyn ControlPort) {
        drop(self.add(waiter.until, What::Waiting(waiter.clone()), port));
    }

    pub(super) fn grant(&self, waiter: &Arc<Waiter>, until: Timestamp, port: &dyn ControlPort) -> Swept {
        self.add(until, What::Granted(waiter.clone()), port)
    }

    pub(super) fn queued(&self, at: Timestamp, job: Share<dyn Envelope>, port: &dyn ControlPort) -> Swept {
        self.add(at, What::Queued(job), port)
    }

    pub(super) fn rests(&self, until: Timestamp, job: Share<dyn Envelope>, port: &dyn ControlPort) {
        drop(self.add(until, What::Rested(job), port));
    }

    pub(super) fn release(&self, at: Timestamp, port: &dyn ControlPort) {
        drop(self.add(at, What::Release, port));
    }

    pub(super) fn running(
        &self,
        at: Timestamp,
        job: Share<dyn Envelope>,
        cell: Arc<Cell>,
        claim: ClaimNo,
        kind: LimitKind,
        port: &dyn ControlPort,
    ) {
        drop(self.add(at, What::Running { job, cell, claim, kind }, port));
    }

    pub(super) fn silent(&self, at: Timestamp, cell: Arc<Cell>, port: &dyn ControlPort) {
        drop(self.add(at, What::Silent(cell), port));
    }

    /// Something is queued: have a tick soon, to see that it moves. One load, unless it is the first after a calm.
    pub(super) fn watch_queue(&self, now: Timestamp, clock: &Clock, port: &dyn ControlPort) {
        if self.watch_at.load(Ordering::Relaxed) != u64::MAX || clock.is_settable() {
            return;
        }
        let at = now.after(TICK);
        self.watch_at.store(at.as_nanos(), Ordering::Release);
        port.alarm(at);
    }

    fn pop(&self, now: Timestamp) -> Option<What> {
        let mut calendar = self.calendar.lock();
        let popped = calendar.pop(now);
        self.next.store(calendar.next(), Ordering::Release);
        popped
    }
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Rings `alarm` at `at`.
    pub(crate) fn alarm_at(&self, at: Timestamp) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm::default());
        drop(self.due.add(at, What::Reply(alarm.clone()), &*self.port));
        alarm
    }

    /// Has control told at `at`.
    pub(crate) fn remind_control(&self, at: Timestamp) {
        drop(self.due.add(at, What::Control, &*self.port));
    }

    /// When the next tick is wanted.
    pub(crate) fn next_tick(&self) -> Timestamp {
        let next = self.due.next.load(Ordering::Acquire);
        Timestamp::from_nanos(next.min(self.due.watch_at.load(Ordering::Acquire)))
    }

    fn work_off(&self, what: What, now: Timestamp) {
        match what {
            What::Silent(cell) => self.look_at_progress(&cell, now),
            What::Waiting(waiter) => {
                if waiter.expire() {
                    self.waiter_left(&waiter, Left::Waiting);
                    waiter.wake();
                }
            }
            What::Granted(waiter) => {
                if waiter.revoke() {
                    self.waiter_left(&waiter, Left::Granted);
                    waiter.wake();
                }
            }
            What::Queued(job) => {
                // It may have been delivered since, and wait anew.
                if job.header().is_queued() && self.expires_at(job.header()) <= now {
                    let error = self.timed_out_in_queue(&job, now);
                    self.withdraw(&job, error);
                }
            }
            What::Rested(job) => self.end_rest(&job, now),
            What::Running { job, cell, claim, kind } => self.overrun(&job, &cell, claim, kind, now),
            What::Release => self.release_labels(now),
            What::Reply(alarm) => alarm.ring(),
            What::Control => self.port.signal(Signal::Tick),
        }
    }

    /// A running job passed its limit: its outcome is written now, and its worker goes down the ladder.
    fn overrun(&self, job: &Share<dyn Envelope>, cell: &Arc<Cell>, claim: ClaimNo, kind: LimitKind, now: Timestamp) {
        let Some(since) = cell.lock().held.as_ref().filter(|held| held.claim == claim).map(|held| held.since) else {
            return;
        };
        let error = self.timed_out(job, kind, now.since(since), Some(cell.id), now);
        let settlement = {
            // Under the cell's lock the job cannot be put back, and so not run elsewhere by now.
            let state = cell.lock();
            if state.held.as_ref().is_none_or(|held| held.claim != claim) {
                return;
            }
            job.settle_error(error, Some(Owner::Worker))
        };
        let Some(settlement) = settlement else {
            // It has ended, or its output, which nobody will read, is being dropped: code of the user's too, and no outcome to write.
            if !job.header().is_done() {
                self.port.signal(Signal::Overrun(Overrun { worker: cell.id, claim }));
            }
            return;
        };
        self.count(settlement.ended);
        let owed = Owed::new(job.sealed().0, settlement);
        job.header().cancel();
        drop(owed);
        self.port.signal(Signal::Overrun(Overrun { worker: cell.id, claim }));
    }

    /// Work waits, workers idle, one was woken and nothing was taken since the last tick: the caller's runtime may hold the
    /// woken one where nobody can take it from. Another is woken, from outside.
    fn see_that_work_moves(&self, now: Timestamp) {
        let queued: usize = (0..self.lanes.len()).map(|lane| self.queued_awake(lane)).sum();
        if queued == 0 {
            // Under the lock under which submitters look at it: whoever comes later sees that nobody watches.
            let _inbox = self.inbox.lock();
            if (0..self.lanes.len()).all(|lane| self.queued_awake(lane) == 0) {
                self.due.watch_at.store(u64::MAX, Ordering::Release);
                return;
            }
        }
        self.due.watch_at.store(now.after(TICK).as_nanos(), Ordering::Release);
        let taken: u64 = (0..self.lanes.len()).map(|lane| self.taken(lane)).sum();
        if self.due.taken.swap(taken, Ordering::AcqRel) != taken {
            return;
        }
        let mut after = After::default();
        {
            let _ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            let stuck = inbox.searching > 0 && inbox.gate.dispatches();
            if stuck && !inbox.idle.is_empty() {
                self.rouse_one(&mut inbox, &mut after);
            }
        }
        self.after(after);
    }
}

impl<J: ?Sized + Envelope> Ticks for Plane<J> {
    /// On the real clock all pools share the thread that ticks: what one has is worked off in passes, and the timer comes back at once
    /// as long as something is due. On a settable clock everything is worked off, in whoever advances it.
    fn tick(&self, now: Timestamp) {
        let mut done = 0_usize;
        while let Some(what) = self.due.pop(now) {
            self.work_off(what, now);
            done += 1;
            if done.is_multiple_of(CLOCK_EVERY) && self.clock.now().since(now) >= PASS {
                break;
            }
        }
        if self.due.watch_at.load(Ordering::Acquire) <= now.as_nanos() {
            self.see_that_work_moves(now);
        }
        self.feel_pressure();
    }
}

const _: () = assert!(GRANT_PATIENCE.as_millis() > TICK.as_millis());

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    const FAR: Timestamp = Timestamp::from_nanos(1_000_000);

    fn alarm() -> (Arc<Alarm>, What) {
        let alarm = Arc::new(Alarm::default());
        (alarm.clone(), What::Reply(alarm))
    }

    #[test]
    fn a_calendar_whose_entries_die_stays_short_and_sweeps_a_few_at_a_time() {
        let mut calendar = Calendar::default();
        let kept: Vec<_> = (0..100).map(|_| alarm()).map(|(alarm, what)| (alarm, calendar.add(FAR, what))).collect();
        let (mut longest, mut most) = (0, 0);
        for _ in 0..100_000 {
            let swept = calendar.add(FAR, alarm().1);
            most = most.max(swept.0.len());
            longest = longest.max(calendar.entries.len());
        }
        assert!(longest <= 4 * SWEEP_FROM && most <= STEP, "{longest} entries, {most} swept at once");
        drop(calendar.add(Timestamp::default(), What::Control));
        assert!(matches!(calendar.pop(Timestamp::default()), Some(What::Control)), "in the order of their time");
        assert!(calendar.pop(Timestamp::default()).is_none(), "the others are not due");
        let due = std::iter::from_fn(|| calendar.pop(FAR)).filter(What::matters).count();
        assert_eq!(due, kept.len(), "none that matters was swept");
    }
}
