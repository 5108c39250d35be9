//! How much may lie in a hook's mailbox: who does not take it gets no more, and learns how much it missed.

use ractor::ActorRef;

use crate::control::message::{Command, PoolMessage};
use crate::sync::{Arc, Mutex, OnceLock};

/// So many notices may be out at once.
const MOST_TOLD: usize = 64;
/// So many questions may be out at once. Each ends for the pool at its limit, but may lie in the mailbox of a hook that hangs for ever.
pub(super) const MOST_ASKED: usize = 1024;

/// The supervisor's line to one hook.
pub(super) struct Line {
    /// Which hook: a name may come to stand for another one.
    hook: u64,
    supervisor: ActorRef<PoolMessage>,
    credit: Mutex<Credit>,
}

#[derive(Default)]
struct Credit {
    told: usize,
    asked: usize,
    /// Notices that were not sent since.
    missed: u64,
    missed_ever: u64,
    /// The supervisor has been told that this hook has caught up, and has not looked yet.
    called: bool,
}

/// What a hook says by a panic over one question, for whoever waits for that answer.
pub(super) type Panic = Arc<OnceLock<String>>;

#[derive(Debug)]
enum What {
    Asked(Panic),
    Told,
}

/// Comes with each message to a hook, and when it is dropped, another message may come.
pub struct Receipt {
    line: Arc<Line>,
    what: What,
}

/// Leave to send a notice; first that so many were missed, if any were.
pub(super) struct Leave {
    pub(super) missed: Option<(u64, Receipt)>,
    pub(super) receipt: Receipt,
}

impl Line {
    pub(super) fn new(hook: u64, supervisor: ActorRef<PoolMessage>) -> Arc<Self> {
        Arc::new(Self { hook, supervisor, credit: Mutex::default() })
    }

    fn receipt(self: &Arc<Self>, what: What) -> Receipt {
        Receipt { line: self.clone(), what }
    }

    /// Leave to ask; `None`: it has not taken what it was asked long ago. What it panics with over this is left in `panic`.
    pub(super) fn ask(self: &Arc<Self>, panic: Panic) -> Option<Receipt> {
        let mut credit = self.credit.lock();
        if credit.asked >= MOST_ASKED {
            return None;
        }
        credit.asked += 1;
        Some(self.receipt(What::Asked(panic)))
    }

    /// Leave to tell; `None`: it is counted as missed.
    pub(super) fn tell(self: &Arc<Self>) -> Option<Leave> {
        let mut credit = self.credit.lock();
        let wanted = if credit.missed > 0 { 2 } else { 1 };
        if credit.told + wanted > MOST_TOLD {
            credit.missed += 1;
            credit.missed_ever += 1;
            return None;
        }
        credit.told += wanted;
        let missed = std::mem::take(&mut credit.missed);
        let missed = (missed > 0).then(|| (missed, self.receipt(What::Told)));
        Some(Leave { missed, receipt: self.receipt(What::Told) })
    }

    /// It cannot be told: it has no thread. Counted as missed, and told with the first notice that it gets.
    pub(super) fn miss(&self) {
        let mut credit = self.credit.lock();
        credit.missed += 1;
        credit.missed_ever += 1;
    }

    /// It has caught up: how much it missed, if that is still to be told.
    pub(super) fn caught_up(self: &Arc<Self>) -> Option<(u64, Receipt)> {
        let mut credit = self.credit.lock();
        credit.called = false;
        if credit.missed == 0 || credit.told >= MOST_TOLD {
            return None;
        }
        credit.told += 1;
        Some((std::mem::take(&mut credit.missed), self.receipt(What::Told)))
    }

    /// Messages that it has not dealt with, and notices that it ever missed.
    pub(super) fn backlog(&self) -> (usize, u64) {
        let credit = self.credit.lock();
        (credit.told + credit.asked, credit.missed_ever)
    }
}

impl Receipt {
    /// The hook panicked over this; said before its reply port is dropped.
    pub(super) fn panicked(&self, message: String) {
        if let What::Asked(panic) = &self.what {
            // The first one stands: a question is put once.
            let _ = panic.set(message);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let calls = {
            let mut credit = self.line.credit.lock();
            match self.what {
                What::Asked(_) => credit.asked -= 1,
                What::Told => credit.told -= 1,
            }
            let calls = credit.missed > 0 && credit.told <= MOST_TOLD / 2 && !credit.called;
            credit.called |= calls;
            calls
        };
        if calls {
            // A pool that is gone tells nothing more.
            let _ = self.line.supervisor.cast(Command::CaughtUp { hook: self.line.hook }.into());
        }
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Receipt").field(&self.what).finish()
    }
}
