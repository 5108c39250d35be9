//! Jobs that are [lent](super::lend), for whoever is not the lender: their record, and what becomes of them when the worker is taken from them. States and the
//! argument: DESIGN.md, section 15.

use super::{After, Condemned, Plane, Ready, Signal};
use crate::error::{JobError, KilledJob};
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::job::{Envelope, Owed, Owner, Share};
use crate::policy::Exit;
use crate::slot::Cell;
use crate::sync::{Arc, Timestamp};

/// The record of a loan. Whoever takes it out ends the loan, and nobody else does; the lender keeps the payload in any case.
pub(super) struct Lent<J: ?Sized + Envelope> {
    pub(super) job: Share<J>,
    /// Control waits until it is taken out.
    pub(super) awaited: bool,
}

/// What came of a blow that is aimed at one job, and at no other that its worker was lent.
pub(crate) enum Aimed {
    /// Its worker was lent another one. Whoever aims is told, by a tick, when that is over.
    Spared,
    Hit(Condemned),
    /// It is over.
    Missed,
}

/// What an operator finds of a job that no worker has in hand.
pub(crate) enum Found {
    /// It was queued, and is not any more.
    Withdrawn,
    /// It is lent: nobody can tell yet.
    Lent(Share<dyn Envelope>),
    /// A worker has it, or it has ended.
    Gone,
}

impl<J: ?Sized + Envelope> Plane<J> {
    /// Takes out the record of what this worker was lent, and with it the right, and the duty, to end the loan. Under the ready lock.
    pub(super) fn take_lent(&self, ready: &mut Ready<J>, worker: WorkerId) -> Option<Lent<J>> {
        let lent = ready.lent.remove(&worker)?;
        self.lane(lent.job.header().lane()).end_loan();
        Some(lent)
    }

    /// With nothing held: whoever waits for the end of a loan is told.
    pub(super) fn tell_returned(&self, awaited: bool) {
        if awaited {
            self.port.signal(Signal::Tick);
        }
    }

    /// Condemns a worker with the job of `claim`, and with no other: it has to hold no loan, unless that `goes_along`. The look and the condemning are one hold of
    /// the lock under which loans are made, so that none comes in between; and whoever is condemned is lent nothing more.
    pub(crate) fn condemn_alone(&self, cell: &Arc<Cell>, claim: ClaimNo, exit: &Exit, goes_along: bool) -> Aimed {
        let mut ready = self.ready.lock();
        if let Some(lent) = ready.lent.get_mut(&cell.id).filter(|_| !goes_along) {
            lent.awaited = true;
            return Aimed::Spared;
        }
        self.condemn(cell, Some(claim), exit).map_or(Aimed::Missed, Aimed::Hit)
    }

    pub(super) fn find_lent(&self, ready: &Ready<J>, job: JobId) -> Option<Share<dyn Envelope>> {
        let lent = ready.lent.values().find(|lent| lent.job.header().id() == job)?;
        Some(lent.job.clone().erase())
    }

    /// A job that was lent ends as its worker does: it may have begun. With nothing held.
    pub(super) fn end_lent(
        &self,
        lent: Lent<J>,
        cell: &Cell,
        exit: &Exit,
        now: Timestamp,
        error: impl FnOnce(Box<KilledJob>) -> JobError,
    ) {
        let Lent { job, awaited } = lent;
        let (header, erased) = (job.header(), job.clone().erase());
        // It is a worker's job that ends; nobody else moves it on, since nobody has the record.
        let begun = header.begin_loan();
        debug_assert!(begun, "the record goes with the state");
        let error = error(Box::new(self.killed_job(&erased, cell, exit, now, now)));
        let settlement = erased.settle_error(error, Some(Owner::Worker));
        self.lane(header.lane()).withdraw();
        let owed = settlement.map(|settlement| {
            self.count(settlement.ended);
            Owed::new(job.sealed().0, settlement)
        });
        let mut after = After::default();
        {
            let (mut ready, mut inbox) = (self.ready.lock(), self.inbox.lock());
            self.rouse(&mut ready, &mut inbox, &mut after);
            self.note_quiet(&inbox, &mut after);
        }
        self.after(after);
        drop(owed);
        self.tell_returned(awaited);
    }
}
