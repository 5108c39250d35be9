//! What is put off until no lock is held: whoever is to be woken or told, and what is to be dropped.

use super::tick::Swept;
use super::{Plane, Signal};
use crate::gate::Waiter;
use crate::id::WorkerId;
use crate::job::{Envelope, Share, wake_guarded};
use crate::lane::Line;
use crate::slot::Cell;
use crate::sync::Arc;

/// So many workers are woken in one pass.
const WAKES: usize = 256;

/// What has to be done once the locks are free: user code and system calls run under none of them.
pub(super) struct After<J: ?Sized + Envelope> {
    pub(super) wake: Option<Arc<Cell>>,
    pub(super) demand: bool,
    pub(super) quiet: bool,
    /// A worker leaves, and control has not brought that about.
    pub(super) leaves: bool,
    /// What a turnover or a submission seldom leaves behind.
    pub(super) rare: Seldom<J>,
}

pub(super) type Seldom<J> = Option<Box<Rare<J>>>;

pub(super) struct Rare<J: ?Sized + Envelope> {
    pub(super) wake_more: Vec<Arc<Cell>>,
    pub(super) waiters: Vec<Arc<Waiter>>,
    pub(super) sent_away: Vec<Line<Arc<Waiter>>>,
    /// Has run as many jobs as it is to run.
    pub(super) worn: Option<WorkerId>,
    /// Too few workers idle.
    pub(super) demand: bool,
    /// What a worker was lent is its claim, for which control waits.
    pub(super) returned: bool,
    /// Found expired when a worker came for them.
    pub(super) expired: Vec<Share<J>>,
    pub(super) swept: Vec<Share<J>>,
    pub(super) due: Vec<Swept>,
}

impl<J: ?Sized + Envelope> Default for Rare<J> {
    fn default() -> Self {
        Self {
            wake_more: Vec::new(),
            waiters: Vec::new(),
            sent_away: Vec::new(),
            worn: None,
            demand: false,
            returned: false,
            expired: Vec::new(),
            swept: Vec::new(),
            due: Vec::new(),
        }
    }
}

impl<J: ?Sized + Envelope> Default for After<J> {
    fn default() -> Self {
        Self { wake: None, demand: false, quiet: false, leaves: false, rare: None }
    }
}

impl<J: ?Sized + Envelope> After<J> {
    pub(super) fn rare(&mut self) -> &mut Rare<J> {
        self.rare.get_or_insert_default()
    }

    /// Entries of the timer that are to be dropped.
    pub(super) fn forget(&mut self, swept: Swept) {
        if !swept.is_empty() {
            self.rare().due.push(swept);
        }
    }

    /// Calls a worker, under the inbox lock; it is woken when that is free.
    pub(super) fn call(&mut self, cell: Arc<Cell>) {
        cell.parker.call();
        if self.wake.is_none() {
            self.wake = Some(cell);
        } else {
            self.rare().wake_more.push(cell);
        }
    }
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Does what was put off until the locks were free; where there is more work than workers, mostly nothing was.
    #[inline]
    pub(super) fn after(&self, after: After<J>) {
        let After { wake, demand, quiet, leaves, rare } = &after;
        if wake.is_some() || rare.is_some() || *demand || *quiet || *leaves {
            self.after_some(after);
        }
    }

    fn after_some(&self, after: After<J>) {
        let After { wake, demand, quiet, leaves, rare } = after;
        if let Some(cell) = wake {
            wake_worker(&cell);
        }
        if let Some(rare) = rare {
            self.after_all(*rare);
        }
        if demand {
            self.port.signal(Signal::Demand);
        }
        if quiet {
            self.port.signal(Signal::Quiet);
        }
        if leaves {
            self.port.signal(Signal::Leaves);
        }
    }

    #[cold]
    pub(super) fn after_all(&self, rare: Rare<J>) {
        let Rare { wake_more, waiters, sent_away, worn, demand, returned, expired, swept, due } = rare;
        self.wake_all(wake_more);
        for waiter in waiters {
            waiter.wake();
        }
        if !sent_away.is_empty() {
            self.tell_sent_away(sent_away);
        }
        if !expired.is_empty() {
            self.expire_found(expired);
        }
        if let Some(worker) = worn {
            self.port.signal(Signal::Worn(worker));
        }
        if demand {
            self.port.signal(Signal::Demand);
        }
        self.tell_returned(returned);
        drop((swept, due));
    }

    /// Wakes workers; a crowd of them in passes, as each costs its runtime's lock.
    fn wake_all(&self, mut cells: Vec<Arc<Cell>>) {
        let mut wake_some = move || {
            let rest = cells.len().saturating_sub(WAKES);
            cells.drain(rest..).for_each(|cell| wake_worker(&cell));
            !cells.is_empty()
        };
        if wake_some() {
            self.port.in_passes(Box::new(wake_some));
        }
    }
}

/// A worker's waker is its executor's code: one that panics reaches nobody who submits, finishes a job or is woken after it, and not control.
fn wake_worker(cell: &Cell) {
    wake_guarded(|| cell.parker.wake());
}
