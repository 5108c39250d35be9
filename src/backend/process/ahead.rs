//! What is on its way to a child: the job that it is to have in hand, and the one after that, which it is handed together with it.
//!
//! DESIGN.md, section 15, says why neither is lost, and neither run twice.

use std::time::Duration;

use super::frame::{self, Frame, Kind};
use super::freight::{Freight, Terms};
use super::link::Link;
use super::parcel::Load;
use super::wire;
use super::worker::Job;
use crate::job::Header;
use crate::plane::Loan;
use crate::sync::Timestamp;

/// The longest frame of a job that is handed over early.
const SMALL: u32 = 16 << 10;
/// Jobs that follow each other sooner are worth it.
const QUICK: Duration = Duration::from_millis(1);

/// A job's frame that was written, or is to be.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) job: u64,
    /// Where it begins in what is to be written, as long as none of that is; and where it ends in all that is ever written.
    at: usize,
    end: u64,
    bytes: usize,
    /// The child acknowledges it before it begins it.
    early: bool,
    acknowledged: bool,
    recalled: bool,
}

impl Sent {
    /// The frame that is the last of what is to be written, and begins there.
    pub(super) fn last_of(link: &Link, job: u64, at: usize) -> Self {
        Self {
            job,
            at,
            end: link.end_of_out(),
            bytes: link.out.len() - at,
            early: false,
            acknowledged: false,
            recalled: false,
        }
    }

    /// It is handed over early: the child says so before it begins it.
    pub(super) fn early(self) -> Self {
        Self { early: true, ..self }
    }

    /// True if the child may have begun it.
    pub(super) fn may_have_begun(&self, link: &Link) -> bool {
        if self.early { self.acknowledged } else { link.has_written(self.end) }
    }

    /// True if some of it is written and not all, so that it cannot have begun.
    pub(super) fn is_torn(&self, link: &Link) -> bool {
        link.has_written(self.end - self.bytes as u64 + 1) && !link.has_written(self.end)
    }

    /// True if another one may go with it.
    pub(super) fn is_small(&self, link: &Link) -> bool {
        self.bytes <= SMALL as usize && !link.encloses()
    }

    /// It is not to be sent, nor what was put behind it. For one of which nothing was written.
    pub(super) fn take_out(self, link: &mut Link) {
        link.out.truncate(self.at);
    }

    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = true;
    }

    /// Asks for it back, once.
    pub(super) fn recall(&mut self, link: &mut Link) {
        if !std::mem::replace(&mut self.recalled, true) {
            frame::put(&mut link.out, Kind::Recall, self.job, &[]);
        }
    }

    /// True if that gives it back.
    pub(super) fn is_returned_by(&self, frame: &Frame) -> bool {
        frame.is(Kind::Recalled, self.job) && self.recalled
    }

    /// Of a child that broke the protocol: whether that is put down to this job, `begun` or not. What was not handed over early may be the cause before
    /// all of it is written; what was is found out about once the child is [dead](Self::was_begun).
    pub(super) fn is_put_down_to_it(&self, begun: bool) -> bool {
        begun || !self.early
    }

    /// The child is dead: true if it began this job, which it was handed early. Looks at what it sent and nobody has read, too, as after garbage.
    pub(super) fn was_begun(&self, link: &mut Link) -> bool {
        self.acknowledged || link.has_said(Kind::Ack, self.job)
    }
}

/// Tells whether jobs are over soon after they began.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Timestamp>,
}

impl Pace {
    /// A job was claimed. True if the one before it was claimed a moment ago.
    pub(super) fn is_quick(&mut self, since: Timestamp) -> bool {
        self.last.replace(since).is_some_and(|last| since.since(last) < QUICK)
    }
}

/// Begins a job's frame: its number, and where the frame is.
pub(super) fn begin(out: &mut Vec<u8>, header: &Header) -> (u64, usize) {
    let id = header.id().get();
    let label = header.label().map_or("", |label| &**label);
    (id, wire::begin_job(out, id, label, header.lost_deliveries()))
}

/// Puts the frame of a job that is lent. `None`: it cannot be sent, or is no small one, and is lent no more.
pub(super) fn put(loan: &mut Option<Loan<Job>>, link: &mut Link, pool: &str, limit: u32) -> Option<Sent> {
    let put = loan.as_mut().and_then(|loan| {
        let sent = loan.as_job(|job, key| {
            let (header, parcel) = (job.header(), job.parcel().0);
            let (id, at) = begin(&mut link.out, header);
            let mut freight = Freight::new(&mut link.out, at, Terms { limit: SMALL.min(limit), shares: false, pool });
            freight.stop_when_full();
            let loaded = matches!(parcel.load(key, &mut freight), Load::Loaded);
            if !loaded || freight.end().is_err() {
                link.out.truncate(at);
                return None;
            }
            frame::mark_early(&mut link.out, at);
            Some(Sent::last_of(link, id, at).early())
        });
        sent.flatten().inspect(|_| loan.hand_over())
    });
    if put.is_none() {
        give_back(loan);
    }
    put
}

/// What was lent has not begun, and will not.
pub(super) fn give_back(loan: &mut Option<Loan<Job>>) {
    if let Some(loan) = loan.take() {
        loan.give_back();
    }
}
