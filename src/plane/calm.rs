//! The turnover of a pool that has no more jobs than workers: under the inbox lock alone.
//!
//! *Calm* is a pool of one lane in which whoever asks for work finds all that it has to know in the inbox: see [`Ready::is_calm`] and
//! DESIGN.md, section 1.

use super::turnover::{Spent, Turn, Turned};
use super::{Inbox, Plane, Ready};
use crate::gate::Gate;
use crate::job::Envelope;
use crate::slot::{Cell, Taken, transition};
use crate::snapshot::WorkerState;
use crate::sync::{Arc, Ordering, Timestamp};

impl<J: ?Sized + Envelope> Ready<J> {
    /// True if there is nothing here that a worker would have to look at.
    pub(super) fn is_calm(&self) -> bool {
        // Nobody has to look at what rests or is lent: it comes back by itself.
        let Self { lanes, moved: _, cursor: _, dispatches, waiters, in_debt, lets_one_go, resting: _, lent: _ } = self;
        *dispatches && !waiters && !in_debt && !lets_one_go && lanes.iter().all(|line| line.is_empty())
    }
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Whoever changes [`Ready`] to what is not calm says so, under both locks.
    pub(super) fn disturb(&self) {
        self.calm.store(false, Ordering::Relaxed);
    }

    /// Looks whether it is calm again. Under both locks.
    pub(super) fn calm_down(&self, ready: &Ready<J>, inbox: &Inbox<J>) {
        if self.lanes.len() == 1 && !self.has_reserves() && inbox.gate == Gate::Open && ready.is_calm() {
            self.calm.store(true, Ordering::Relaxed);
        }
    }

    /// True if it may be calm: what is seen without the inbox lock is to be looked at again under it.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// A turnover of a worker that idles or has run its job. `None`: nothing was done, since it is not calm, or more than one job waits.
    pub(super) fn turn_calmly(
        &self,
        cell: &Arc<Cell>,
        now: Timestamp,
        spent: Option<&Spent>,
        taken: &mut Option<Taken<J>>,
    ) -> Option<Turned<J>> {
        let mut rare = None;
        let mut inbox = self.inbox.lock();
        let line = &mut inbox.lanes[0].jobs;
        // One job is soonest taken from where it is; for more of them, submitters are not to be kept out one by one.
        if !self.is_calm() || line.len() > 1 {
            return None;
        }
        let mut state = cell.lock();
        if state.departs() || state.state == WorkerState::Starting {
            return None;
        }
        if let Some(spent) = spent {
            self.note_spent(&self.calmly.shard, cell, spent, now, &mut rare);
        }
        // Each job's end comes here, mostly to find nothing, and a look is less than a call.
        let waiting = if line.is_empty() { None } else { line.pop() };
        let job = waiting.and_then(|job| {
            let queue_limit = self.lanes[0].spec.queue_limit_of(job.header().id());
            self.claim(job, queue_limit, now, &mut rare)
        });
        let turn = match job {
            Some(job) => {
                // A plain store: the inbox lock makes this the only writer. Release pairs with the load in `taken`.
                let count = &self.calmly.taken;
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
                self.seat(&self.calmly.shard, &mut state, job, now, taken)
            }
            None => {
                transition(&self.counts, &mut state, WorkerState::Idle, now);
                // One that was called in vain goes back to where it stood.
                inbox.idle.add(cell.clone(), state.since);
                Turn::Wait
            }
        };
        drop(state);
        self.stop_searching(&mut inbox, cell);
        if spent.is_none() && turn == Turn::Run && self.lacks_spares(&mut inbox) {
            rare.get_or_insert_default().demand = true;
        }
        Some(Turned { turn, called: false, more: false, rare })
    }
}
