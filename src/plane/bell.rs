//! How control learns of what it only counts: rejections, limits that passed in the queue, seats that are all taken.

use super::{ControlPort, Plane, Signal};
use crate::id::WorkerId;
use crate::job::Envelope;
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::{DelayedStarts, Ended, VetoedStarts, WorkerState};
use crate::sync::{Arc, Flag, Mutex, Ordering, Timestamp};

/// Rings control once, until control has looked and arms it again. Without hooks it is never armed, and costs whoever would ring a load.
#[derive(Default)]
pub(super) struct Bell(Flag);

impl Bell {
    #[inline]
    pub(super) fn ring(&self, port: &dyn ControlPort) {
        // SeqCst, as in `arm` and where control reads what was counted: either the ringer sees the bell armed, or control, which
        // reads after it armed, sees what was counted before this.
        if self.0.load(Ordering::SeqCst) && self.0.swap(false, Ordering::SeqCst) {
            port.signal(Signal::Rung);
        }
    }

    fn is_armed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker that has idled for too long.
pub(crate) struct Overstays {
    pub(crate) worker: WorkerId,
    /// How many jobs it had claimed by then: another number, and it has worked since.
    pub(crate) claims: u64,
    pub(crate) since: Timestamp,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// From now on, tells control once when something is counted, or never.
    pub(crate) fn arm_bell(&self, armed: bool) {
        self.bell.0.store(armed, Ordering::SeqCst);
    }

    /// Jobs turned away so far, and jobs of which a limit passed.
    pub(crate) fn turned_away(&self) -> (u64, u64) {
        let expired = self.all_shards().map(|shard| shard.ended[Ended::Expired.index()].load(Ordering::SeqCst)).sum();
        (self.rejected.load(Ordering::SeqCst), expired)
    }

    /// Every seat is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.counts.busy() >= self.seats()
    }

    /// Every seat is taken, and work waits.
    pub(crate) fn is_pressed(&self) -> bool {
        let waits = |lane: usize| self.queued_awake(lane) > 0 || self.lanes[lane].waiting.load(Ordering::Acquire) > 0;
        self.is_full() && (0..self.lanes.len()).any(waits)
    }

    /// Part of a tick.
    pub(super) fn feel_pressure(&self) {
        if self.bell.is_armed() && self.is_pressed() {
            self.bell.ring(&*self.port);
        }
    }

    /// How many workers may leave because they idle, if that leaves `min` and the `kept`, and which have idled for too long, the longest first: with the lock of those that submit free
    /// between two bites of them, and with no other held. Who comes and goes meanwhile may be missed, until the next look.
    pub(crate) fn overstaying(&self, now: Timestamp, kept: usize) -> (usize, Vec<Overstays>) {
        let limits = self.limits();
        let Some(timeout) = limits.idle_timeout else { return (0, Vec::new()) };
        let (mut found, mut last) = (Vec::new(), None::<Arc<Cell>>);
        loop {
            let (above, bite) = {
                let inbox = self.inbox.lock();
                let bite = inbox.idle.bite(last.as_deref(), |since| since.after(timeout) <= now);
                (self.idle_to_spare(&inbox, &limits, kept), bite)
            };
            let idle = |cell: &Arc<Cell>| {
                let state = cell.lock();
                let (worker, claims, since) = (cell.id, state.claims(), state.since);
                (state.state == WorkerState::Idle).then_some(Overstays { worker, claims, since })
            };
            found.extend(bite.iter().filter_map(idle).filter(|idler| idler.since.after(timeout) <= now));
            last = bite.last().cloned();
            if above == 0 || last.is_none() {
                return (above, found);
            }
        }
    }

    /// Retires a worker that was found idle for too long, unless a job has taken it since, it would be one too few, or it may idle for longer by the timeout in
    /// force: whichever comes first under the locks counts. True if it leaves.
    pub(crate) fn retire_overstaying(&self, worker: WorkerId, claims: u64, now: Timestamp, kept: usize) -> bool {
        let mut after = super::After::default();
        let found = self.cell(worker);
        let retired = {
            let _ready = self.ready.lock();
            let mut inbox = self.inbox.lock();
            let limits = *self.limits.lock();
            let is_the_one = |cell: &Arc<Cell>| {
                let state = cell.lock();
                let overstays = limits.idle_timeout.is_some_and(|timeout| state.since.after(timeout) <= now);
                cell.id == worker && state.claims() == claims && state.state == WorkerState::Idle && overstays
            };
            // One that was woken to look for work is not in the list: it is wanted.
            let may_go = self.idle_to_spare(&inbox, &limits, kept) > 0;
            let found = found.filter(|cell| may_go && is_the_one(cell) && inbox.idle.remove(cell));
            if let Some(cell) = &found {
                self.retire(cell, Exit::IdleTimeout, &mut after);
            }
            found.is_some()
        };
        self.after(after);
        retired
    }

    /// Notes which slots are empty because a hook denied a start, for errors and snapshots to say.
    pub(crate) fn set_vetoed(&self, vetoed: Option<VetoedStarts>) {
        self.learn(&self.vetoed, vetoed);
    }

    pub(crate) fn vetoed(&self) -> Option<VetoedStarts> {
        self.vetoed.lock().clone()
    }

    /// Notes which slots are empty because a hook has put a start off, for the same.
    pub(crate) fn set_delayed(&self, delayed: Option<DelayedStarts>) {
        self.learn(&self.delayed, delayed);
    }

    /// What errors say changes with it, if it is new.
    fn learn<T: PartialEq>(&self, known: &Mutex<Option<T>>, now: Option<T>) {
        let differs = {
            let mut known = known.lock();
            let differs = *known != now;
            *known = now;
            differs
        };
        if differs {
            self.change_scene();
        }
    }

    pub(crate) fn delayed(&self) -> Option<DelayedStarts> {
        self.delayed.lock().clone()
    }
}
