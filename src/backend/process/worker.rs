//! The life of a child, as its thread leads it: started, greeted, given jobs one at a time, dismissed or buried.

use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Children;
use super::bell::Bell;
use super::frame::{self, Frame, Kind};
use super::freight::{Freight, Terms, Unsendable};
use super::grip::Grip;
use super::identity::Executable;
use super::link::{Breach, Event, Link};
use super::memory::{self, Lost};
use super::parcel::{Carried, Load, ProcessJob, Reply};
use super::sys::AtParentsDeath;
use super::wire::{self, Hello, Panicked, VERSION, Welcome};
use crate::error::{DeathCause, Payload, StartError, TransferFault};
use crate::job::{ClaimKey, JobContext, Ran};
use crate::plane::{Claim, WorkerContext};
use crate::policy::Exit;
use crate::snapshot::Facts;
use crate::sync::{Arc, Clock, Timestamp};

/// A job that takes longer than this is worth a waker for its cancellation. One that does not is looked at when this is over.
const SHORT: Duration = Duration::from_millis(2);

type Job = dyn ProcessJob;

/// What it takes to look after a child.
pub(super) struct Hand {
    pub(super) children: Children,
    /// What the child has to be, if it is to be the same executable.
    pub(super) identity: Option<&'static Executable>,
    pub(super) grip: Arc<Grip>,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Clock,
}

/// Why a child that was expected to say something has not.
pub(super) enum Failure {
    Ended,
    Late,
    Breach(Breach),
    /// What it said is not what it should be.
    Wrong(String),
}

impl From<Breach> for Failure {
    fn from(breach: Breach) -> Self {
        Self::Breach(breach)
    }
}

/// What a child that idles does next.
enum Next {
    Job,
    Leave,
    Died(Option<Breach>),
}

impl Hand {
    /// The whole of it. The context is dropped last, when the child has been reaped.
    pub(super) fn look_after(self, mut cx: WorkerContext<Job>, command: Command) {
        let (options, waker) = (&self.children.options, self.bell.waker());
        let parts = (self.grip.clone(), self.bell.clone(), self.clock.clone());
        // A child of this executable sees to its group itself.
        let death = if self.identity.is_some() { AtParentsDeath::EndGroup } else { AtParentsDeath::Kill };
        let mut link = match Link::open(command, death, options, parts, (cx.pool(), cx.worker())) {
            Ok(link) => link,
            Err(error) => return cx.failed(StartError::Refused(error)),
        };
        cx.set_facts(Facts { pid: Some(link.tag.pid), ..Facts::default() });
        if let Err(failure) = self.greet(&mut link, patience(cx.start_limit())) {
            return self.give_up(link, &failure, &mut cx);
        }
        loop {
            match self.next(&mut cx, &mut link, &waker) {
                Next::Job => {}
                Next::Leave => return self.dismiss(link),
                Next::Died(breach) => {
                    let (death, _) = link.bury(breach.as_ref());
                    // One that was killed is not put down to what killed it.
                    let asked = cx.facts_cell().lock().leave.is_some();
                    if !asked {
                        cx.leave(Exit::Died(death));
                    }
                    return;
                }
            }
            let Some(claim) = cx.next_blocking() else { return self.dismiss(link) };
            let kept_out = |job: &Job, key: &mut ClaimKey| self.saved(job, key);
            let Some(claim) = claim.unless_kept_out_saving(kept_out) else { continue };
            let panicked = match self.carry(claim, &mut link, &waker) {
                Ok(panicked) => panicked,
                Err((claim, begun, breach)) => return self.lose(claim, begun, link, breach.as_ref()),
            };
            if panicked && self.children.restart_after_panic {
                cx.condemn();
                return self.dismiss(link);
            }
        }
    }

    /// The child died under a job. Reaped first, so that whoever learns of the outcome finds nothing left of it, and that the job is nowhere running when it is
    /// delivered again. One that was killed by order, or whose death nobody has seen, is not put down to its job.
    fn lose(&self, claim: Claim<'_, Job>, begun: bool, link: Link, breach: Option<&Breach>) {
        let cell = claim.worker_cell();
        let (death, _) = link.bury(breach);
        let confirmed = death.cause != DeathCause::Unknown && !self.grip.lingers();
        let exit = Exit::Died(death);
        if begun && confirmed && !self.grip.was_killed() {
            return claim.lost_saving(&exit, |job, key| self.saved(job, key));
        }
        cell.lock().leave.get_or_insert(exit);
        if begun {
            drop(claim);
        } else {
            claim.put_back();
        }
    }

    /// The payload of a job that is not delivered any more, for its letter: no more than could be sent.
    fn saved(&self, job: &Job, key: &mut ClaimKey) -> Option<Payload> {
        let mut bytes = Vec::new();
        let at = frame::begin(&mut bytes, Kind::Job, job.header().id().get());
        let terms = Terms { limit: self.children.options.frame_limit, shares: false, pool: "" };
        let mut freight = Freight::new(&mut bytes, at, terms);
        let saved = job.parcel().0.save(key, &mut freight);
        freight.end().ok().filter(|_| saved)?;
        Some(Payload::new(bytes.split_off(frame::HEADER)))
    }

    /// HELLO, WELCOME, READY, within `patience`.
    pub(super) fn greet(&self, link: &mut Link, patience: Duration) -> Result<(), Failure> {
        let until = self.clock.now().after(patience);
        let hello = self.expect(link, Kind::Hello, until)?;
        let Hello { version, shares, identity } = wire::read_hello(link.body(&hello)).map_err(Breach::from)?;
        if version != VERSION {
            return Err(Failure::Wrong(format!("it speaks version {version} of the protocol, and not {VERSION}")));
        }
        if self.identity.is_some_and(|own| own.identity() != identity) {
            return Err(Failure::Wrong("it is another build of this executable".to_owned()));
        }
        let limit = self.children.options.frame_limit;
        let shares = shares && memory::IS_THERE && self.children.options.shared_memory;
        let welcome = Welcome {
            version: VERSION,
            level: level_of(tracing::level_filters::LevelFilter::current()),
            shares,
            limit,
            pool: link.tag.pool.to_string(),
            slot: link.tag.worker.slot,
            generation: link.tag.worker.generation,
        };
        welcome.put(&mut link.out);
        self.expect(link, Kind::Ready, until)?;
        link.set_limit(limit);
        link.share(shares);
        Ok(())
    }

    fn expect(&self, link: &mut Link, kind: Kind, until: Timestamp) -> Result<Frame, Failure> {
        loop {
            match link.wait(until)? {
                Event::Frame(frame) if frame.kind == kind && frame.job == 0 => return Ok(frame),
                Event::Frame(frame) if frame.kind == Kind::Log => link.log(&frame)?,
                Event::Frame(frame) => return Err(unexpected(&frame, "before it was ready").into()),
                Event::Bell => {}
                Event::Ended => return Err(Failure::Ended),
                Event::TimedOut => return Err(Failure::Late),
            }
        }
    }

    /// A child that did not come up: its context tells why.
    fn give_up(&self, mut link: Link, failure: &Failure, cx: &mut WorkerContext<Job>) {
        if let Failure::Late = failure {
            // Said before it is ended, and before control says less: the first stands.
            let (pid, words) = (link.tag.pid, link.last_words());
            let words = if words.is_empty() { "it printed nothing" } else { &words };
            let limit = patience(cx.start_limit());
            cx.failed(StartError::failed(format!(
                "process {pid} was not ready within {limit:?}; on standard error: {words}"
            )));
        }
        let breach = if let Failure::Breach(breach) = failure { Some(breach) } else { None };
        let (death, status) = link.bury(breach);
        let why = match failure {
            Failure::Ended | Failure::Breach(_) => format!("{death}, before it was ready"),
            Failure::Late => return,
            Failure::Wrong(why) => why.clone(),
        };
        tracing::debug!(target: "millpond::process", pool = cx.pool(), worker = %cx.worker(), ?status, "a child did not come up: {why}");
        // One that was killed meanwhile has a reason already.
        let asked = cx.facts_cell().lock().leave.is_some();
        if !asked {
            cx.failed(StartError::failed(why));
        }
    }

    /// Waits for a job, or for the child's end.
    fn next(&self, cx: &mut WorkerContext<Job>, link: &mut Link, waker: &Waker) -> Next {
        link.tag.job = None;
        loop {
            match cx.poll_take(&mut Context::from_waker(waker)) {
                Poll::Ready(true) => return Next::Job,
                Poll::Ready(false) => return Next::Leave,
                Poll::Pending => {}
            }
            if cx.spin() {
                continue;
            }
            match link.wait(Timestamp::NEVER) {
                Ok(Event::Bell | Event::TimedOut) => {}
                Ok(Event::Ended) => return Next::Died(None),
                Ok(Event::Frame(frame)) => match self.between(link, &frame) {
                    Ok(()) => {}
                    Err(breach) => return Next::Died(Some(breach)),
                },
                Err(breach) => return Next::Died(Some(breach)),
            }
        }
    }

    /// A frame that comes while the child has no job.
    pub(super) fn between(&self, link: &mut Link, frame: &Frame) -> Result<(), Breach> {
        match frame.kind {
            Kind::Log => link.log(frame),
            _ => Err(unexpected(frame, "while it had no job")),
        }
    }

    /// Carries one job there, and what comes of it back. True if it panicked.
    ///
    /// # Errors
    ///
    /// The claim, if the child died under it; whether the job may have begun, and how the child broke the protocol, if it did.
    fn carry<'a>(
        &self,
        claim: Claim<'a, Job>,
        link: &mut Link,
        waker: &Waker,
    ) -> Result<bool, (Claim<'a, Job>, bool, Option<Breach>)> {
        let (pool, mut died) = (link.tag.pool.clone(), None);
        let context = claim.context();
        let carried = claim.attempt(|job, key| {
            let parcel = job.parcel().0;
            if !self.children.interceptors.is_empty() {
                self.children.interceptors.around(&context, key);
            }
            let id = job.header().id().get();
            let label = job.header().label().map_or("", |label| &**label);
            let at = wire::begin_job(&mut link.out, id, label, job.header().lost_deliveries());
            let limit = self.children.options.frame_limit;
            let terms = Terms { limit, shares: link.shares(), pool: &pool };
            let mut freight = Freight::new(&mut link.out, at, terms);
            match parcel.load(key, &mut freight) {
                Load::Loaded => {}
                Load::Over => {
                    link.out.truncate(at);
                    key.ended(false);
                    return Some(Ran::NOTHING);
                }
                Load::Unfit(fault) => {
                    link.out.truncate(at);
                    return Some(parcel.fail(key, &pool, fault));
                }
            }
            match freight.end() {
                Ok(Some(file)) => link.enclose(at, file),
                Ok(None) => {}
                Err(unsendable) => return Some(parcel.fail(key, &pool, fault_of(unsendable, limit))),
            }
            link.tag.job = Some(id);
            match self.exchange(id, link, &context, waker) {
                Ok(frame) => match conclude(link, frame, limit, parcel, key) {
                    Ok(ran) => Some(ran),
                    Err(breach) => {
                        died = Some((true, Some(breach)));
                        None
                    }
                },
                Err((begun, breach)) => {
                    died = Some((begun, breach));
                    None
                }
            }
        });
        carried.map_err(|claim| {
            let (begun, breach) = died.unwrap_or((true, None));
            (claim, begun, breach)
        })
    }

    /// Waits for the frame that ends the job.
    ///
    /// # Errors
    ///
    /// If the child died or is to die: whether the job may have begun, which takes all of its frame.
    pub(super) fn exchange(
        &self,
        job: u64,
        link: &mut Link,
        context: &JobContext,
        waker: &Waker,
    ) -> Result<Frame, (bool, Option<Breach>)> {
        // A cancellation that is to be written yet does not count: the job's own frame does.
        let (mut until, end) = (self.clock.now().after(SHORT), link.end_of_out());
        let (mut asked, mut cancelled) = (false, None);
        loop {
            let event = link.wait(until);
            let begun = link.has_written(end);
            match event {
                Ok(Event::Frame(frame)) => match frame.kind {
                    Kind::Result | Kind::Failure | Kind::Panic if frame.job == job && begun => return Ok(frame),
                    Kind::Ack if frame.job == job => self.grip.acknowledge(job),
                    Kind::Beat if frame.job == job => context.beat(),
                    Kind::Log => link.log(&frame).map_err(|breach| (begun, Some(breach)))?,
                    _ => return Err((true, Some(unexpected(&frame, &format!("while it had job #{job}"))))),
                },
                Ok(Event::Bell | Event::TimedOut) => {}
                Ok(Event::Ended) => return Err((begun, None)),
                Err(breach) => return Err((true, Some(breach))),
            }
            if self.grip.is_to_leave() {
                link.dismiss();
            }
            // Looked at whatever came: one that says something all the time does not time out.
            if cancelled.is_none() && self.clock.now() >= until {
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

    /// The worker is to leave: asked to, and killed if it takes too long.
    fn dismiss(&self, mut link: Link) {
        link.dismiss();
        let mut until = self.clock.now().after(self.children.options.leave_grace);
        let breach = loop {
            match link.wait(until) {
                Ok(Event::Frame(frame)) if frame.kind == Kind::Goodbye => {}
                Ok(Event::Frame(frame)) => match self.between(&mut link, &frame) {
                    Ok(()) => {}
                    Err(breach) => break Some(breach),
                },
                Ok(Event::Bell) => {}
                Ok(Event::TimedOut) => {
                    self.grip.begin_kill();
                    until = Timestamp::NEVER;
                }
                Ok(Event::Ended) => break None,
                Err(breach) => break Some(breach),
            }
        };
        let (death, _) = link.bury(breach.as_ref());
        tracing::trace!(target: "millpond::process", %death, "a child that was dismissed has ended");
    }
}

/// How long a child has to be ready: of the start's limit some is left for saying why it was not kept. Control's own limit follows.
fn patience(limit: Duration) -> Duration {
    limit - (limit / 4).min(Duration::from_secs(1))
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

fn unexpected(frame: &Frame, when: &str) -> Breach {
    let Frame { kind, job, .. } = frame;
    Breach::Unexpected(format!("it sent {kind:?} about job #{job} {when}"))
}

fn level_of(filter: tracing::level_filters::LevelFilter) -> u8 {
    use tracing::level_filters::LevelFilter;
    match filter {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        _ => 5,
    }
}
