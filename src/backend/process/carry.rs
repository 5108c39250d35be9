//! A job on its way to a child and back, and what becomes of it when the child dies.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use super::ahead::{self, Sent};
use super::frame::{self, Frame, Kind};
use super::freight::{Freight, Terms, Unsendable};
use super::link::{Breach, Event, Link};
use super::memory::{self, Lost};
use super::parcel::{Carried, Load, Reply};
use super::wire::{self, Panicked};
use super::worker::{Hand, Job, unexpected};
use crate::error::{DeathCause, Payload, TransferFault};
use crate::job::{ClaimKey, JobContext, Ran};
use crate::plane::{Claim, Lends, Loan};
use crate::policy::Exit;
use crate::sync::Timestamp;

/// A job that takes longer than this is worth a waker for its cancellation. One that does not is looked at when this is over; and what was handed over
/// early waits behind it for no longer.
const SHORT: Duration = Duration::from_millis(2);

/// So many children may end unasked while a job is being written to them; then it is taken for what ends them, though none of them had begun it.
const TORN: u8 = 3;

/// A job whose child died under it: its claim; its frame; whether it may have begun; how the child broke the protocol, if it did.
pub(super) type LostJob<'a> = (Claim<'a, Job>, Option<Sent>, bool, Option<Breach>);

/// What was handed over early: its frame, and its loan.
pub(super) type Next<'a> = (&'a mut Option<Sent>, &'a mut Option<Loan<Job>>);

impl Hand {
    /// Carries one job there, unless that was done early, and what comes of it back. True if it panicked. `ahead`: what is on its way there; to be sent
    /// together with the next one, if so.
    ///
    /// # Errors
    ///
    /// If the child died under it.
    pub(super) fn carry<'a>(
        &self,
        claim: Claim<'a, Job>,
        (ahead, lends): (&mut Option<Sent>, bool),
        link: &mut Link,
        waker: &Waker,
    ) -> Result<bool, LostJob<'a>> {
        let mut died = None;
        let (context, mut handed) = (claim.context(), ahead.take());
        let lends = lends && handed.is_none();
        let carried = claim.attempt(|job, key, next| {
            let parcel = job.parcel().0;
            let mut sent = match handed.take().map_or_else(|| self.send(job, key, &context, link), Ok) {
                Ok(sent) => sent,
                Err(ran) => return Some(ran),
            };
            if lends && sent.is_small(link) {
                *ahead = self.send_next(next, link);
                // That is code of the user's. What passed meanwhile keeps this job from beginning.
                if job.header().is_done() {
                    sent.take_out(link);
                    *ahead = None;
                    ahead::give_back(next.loan);
                    return Some(Ran::NOTHING);
                }
            }
            link.tag.job = Some(sent.job);
            let ended = self.exchange(&mut sent, (ahead, next.loan), link, &context, waker);
            let limit = self.children.options.frame_limit;
            let ended = ended
                .and_then(|frame| conclude(link, frame, limit, parcel, key).map_err(|breach| (true, Some(breach))));
            ended.map_err(|(begun, breach)| died = Some((sent, begun, breach))).ok()
        });
        carried.map_err(|claim| match died {
            Some((sent, begun, breach)) => (claim, Some(sent), begun, breach),
            None => (claim, None, true, None),
        })
    }

    /// Puts the frame of the job that its worker would take next, behind that of the one in hand. None of either is written by then: the result of a job that
    /// runs does not wait for the code that puts this together.
    fn send_next(&self, next: &mut Lends<'_, Job>, link: &mut Link) -> Option<Sent> {
        next.lend();
        let pool = link.tag.pool.clone();
        ahead::put(next.loan, link, &pool, self.children.options.frame_limit)
    }

    /// Puts a job's frame.
    ///
    /// # Errors
    ///
    /// What it came to, if it cannot be sent, or has its outcome by now.
    fn send(&self, job: &Job, key: &mut ClaimKey, context: &JobContext, link: &mut Link) -> Result<Sent, Ran> {
        let (parcel, pool) = (job.parcel().0, link.tag.pool.clone());
        if !self.children.interceptors.is_empty() {
            self.children.interceptors.around(context, key);
        }
        let (id, at) = ahead::begin(&mut link.out, job.header());
        let limit = self.children.options.frame_limit;
        let terms = Terms { limit, shares: link.shares(), pool: &pool };
        let mut freight = Freight::new(&mut link.out, at, terms);
        match parcel.load(key, &mut freight) {
            Load::Loaded => {}
            Load::Over => {
                link.out.truncate(at);
                key.ended(false);
                return Err(Ran::NOTHING);
            }
            Load::Unfit(fault) => {
                link.out.truncate(at);
                return Err(parcel.fail(key, &pool, fault));
            }
        }
        match freight.end() {
            Ok(Some(file)) => link.enclose(at, file),
            Ok(None) => {}
            Err(unsendable) => return Err(parcel.fail(key, &pool, fault_of(unsendable, limit))),
        }
        Ok(Sent::last_of(link, id, at))
    }

    /// Waits for the frame that ends the job.
    ///
    /// # Errors
    ///
    /// If the child died or is to die: whether the job may have begun, which takes all of its frame, or its acknowledgement if it was handed over early.
    pub(super) fn exchange(
        &self,
        sent: &mut Sent,
        (ahead, loan): Next<'_>,
        link: &mut Link,
        context: &JobContext,
        waker: &Waker,
    ) -> Result<Frame, (bool, Option<Breach>)> {
        let (mut until, job) = (self.clock.now().after(SHORT), sent.job);
        let (mut asked, mut cancelled) = (false, None);
        loop {
            let event = link.wait(until);
            // A cancellation that is to be written yet does not count: the job's own frame does.
            let begun = sent.may_have_begun(link);
            match event {
                Ok(Event::Frame(frame)) => match frame.kind {
                    Kind::Result | Kind::Failure | Kind::Panic if frame.job == job && begun => return Ok(frame),
                    Kind::Ack if frame.job == job => {
                        sent.acknowledge();
                        self.grip.acknowledge(job);
                    }
                    Kind::Beat if frame.job == job => context.beat(),
                    Kind::Log => link.log(&frame).map_err(|breach| (begun, Some(breach)))?,
                    Kind::Recalled if ahead.as_ref().is_some_and(|ahead| ahead.is_returned_by(&frame)) => {
                        *ahead = None;
                        ahead::give_back(loan);
                    }
                    _ => {
                        // Not what it should say, but what it says: it has begun that.
                        if let Some(ahead) = ahead.as_mut().filter(|ahead| frame.is(Kind::Ack, ahead.job)) {
                            ahead.acknowledge();
                        }
                        let breach = unexpected(&frame, &format!("while it had job #{job}"));
                        return Err((sent.is_put_down_to_it(begun), Some(breach)));
                    }
                },
                Ok(Event::Bell | Event::TimedOut) => {}
                Ok(Event::Ended) => return Err((begun, None)),
                Err(breach) => return Err((sent.is_put_down_to_it(begun), Some(breach))),
            }
            let leaves = self.grip.is_to_leave();
            // Looked at whatever came: one that says something all the time does not time out.
            let is_long = cancelled.is_none() && self.clock.now() >= until;
            if let Some(ahead) = ahead.as_mut().filter(|_| leaves || is_long) {
                // Before it is told to leave, so that it answers.
                ahead.recall(link);
            }
            if leaves {
                link.dismiss();
            }
            if is_long {
                // It takes longer, so it is worth the while: from now on its cancellation rings the bell.
                until = Timestamp::NEVER;
                cancelled = Some(Box::pin(context.cancellation().cancelled_owned()));
            }
            if let Some(cancelled) = cancelled.as_mut().filter(|_| !asked)
                && pin!(cancelled).poll(&mut Context::from_waker(waker)).is_ready()
            {
                asked = true;
                frame::put(&mut link.out, Kind::Cancel, job, &[]);
            }
        }
    }

    /// The child died under a job. Reaped first, so that whoever learns of the outcome finds nothing left of it, and that the job is nowhere running when it is
    /// delivered again. One that was killed by order, or whose death nobody has seen, is not put down to its job.
    pub(super) fn lose(&self, (mut claim, sent, begun, breach): LostJob<'_>, ahead: Option<Sent>, mut link: Link) {
        let cell = claim.worker_cell();
        let (death, _) = link.bury(breach.as_ref());
        let confirmed = death.cause != DeathCause::Unknown && !self.grip.lingers();
        let (exit, killed) = (Exit::Died(death), self.grip.was_killed());
        let begun = begun
            || sent.is_some_and(|sent| {
                sent.was_begun(&mut link) || !killed && sent.is_torn(&link) && self.tears_once_more(&claim, &link)
            });
        let begun_early = ahead.is_some_and(|ahead| ahead.was_begun(&mut link));
        if let Some(loan) = claim.lends().loan.take() {
            if begun_early { loan.end_with(&exit, killed) } else { loan.give_back() }
        }
        // With what came along and was not taken.
        drop(link);
        if begun && !killed {
            return if confirmed {
                claim.lost_saving(&exit, |job, key| self.saved(job, key))
            } else {
                claim.lost_for_good(&exit)
            };
        }
        cell.lock().leave.get_or_insert(exit);
        if begun {
            drop(claim);
        } else {
            claim.put_back();
        }
    }

    /// A child ended unasked while this job was being written to it. True if it has had all the children that it gets in this way.
    fn tears_once_more(&self, claim: &Claim<'_, Job>, link: &Link) -> bool {
        let (header, tag) = (claim.job().header(), &link.tag);
        let torn = header.tear();
        let (pool, worker, pid, job) = (&*tag.pool, &tag.worker, tag.pid, header.id().get());
        tracing::warn!(
            target: "millpond::process", pool, %worker, pid, job,
            "a child ended before all of a job was written to it, which is number {torn} under this job; after {TORN} it counts as lost under each"
        );
        torn >= TORN
    }

    /// The payload of a job that is not delivered any more, for its letter: no more than could be sent.
    pub(super) fn saved(&self, job: &Job, key: &mut ClaimKey) -> Option<Payload> {
        let mut bytes = Vec::new();
        let at = frame::begin(&mut bytes, Kind::Job, job.header().id().get());
        let terms = Terms { limit: self.children.options.frame_limit, shares: false, pool: "" };
        let mut freight = Freight::new(&mut bytes, at, terms);
        let saved = job.parcel().0.save(key, &mut freight);
        freight.end().ok().filter(|_| saved)?;
        Some(Payload::new(bytes.split_off(frame::HEADER)))
    }
}

/// Writes the outcome that the frame makes which has ended the job.
fn conclude(
    link: &Link,
    mut frame: Frame,
    limit: u32,
    parcel: &dyn Carried,
    key: &mut ClaimKey,
) -> Result<Ran, Breach> {
    let pool = &*link.tag.pool;
    let Some(came) = frame.enclosed.take() else {
        return Ok(parcel.conclude(key, pool, reply_of(link, &frame)?));
    };
    match memory::open(came, link.body(&frame), limit) {
        Ok(payload) => Ok(parcel.conclude(key, pool, Reply::Result(&payload))),
        Err(Lost::Refused(said)) => Ok(parcel.fail(key, pool, TransferFault::ResultUnknown(said))),
        Err(Lost::Unfit(unfit)) => Err(unfit.into()),
    }
}

pub(super) fn reply_of<'a>(link: &'a Link, frame: &Frame) -> Result<Reply<'a>, Breach> {
    let body = link.body(frame);
    Ok(match frame.kind {
        Kind::Result => Reply::Result(body),
        Kind::Failure => {
            let (why, said) = wire::read_failure(body)?;
            Reply::Failure(why, said)
        }
        _ => Reply::Panic(Panicked::read(body)?),
    })
}

fn fault_of(unsendable: Unsendable, limit: u32) -> TransferFault {
    match unsendable {
        Unsendable::TooLarge(bytes) => TransferFault::ArgumentsTooLarge { bytes, limit },
        Unsendable::Refused(error) => TransferFault::Arguments(format!("there is no memory for them: {error}")),
    }
}
