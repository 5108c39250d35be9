//! The life of a child, as its thread leads it: started, greeted, given jobs one at a time, dismissed or buried.

use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Children;
use super::ahead::Pace;
use super::bell::Bell;
use super::frame::{Frame, Kind};
use super::grip::Grip;
use super::identity::Executable;
use super::link::{Breach, Event, Link};
use super::memory;
use super::parcel::ProcessJob;
use super::sys::AtParentsDeath;
use super::wire::{self, Hello, VERSION, Welcome};
use crate::error::StartError;
use crate::job::ClaimKey;
use crate::plane::WorkerContext;
use crate::policy::Exit;
use crate::snapshot::Facts;
use crate::sync::{Arc, Clock, Timestamp};

pub(super) type Job = dyn ProcessJob;

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
        let (mut ahead, mut pace) = (None, Pace::default());
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
            // One that was handed over early was looked at before that.
            let claim = match (&ahead, claim) {
                (Some(_), claim) => claim,
                (None, claim) => {
                    let kept_out = |job: &Job, key: &mut ClaimKey| self.saved(job, key);
                    let Some(claim) = claim.unless_kept_out_saving(kept_out) else { continue };
                    claim
                }
            };
            let lends = pace.is_quick(claim.since()) && self.identity.is_some() && self.children.take_jobs_early();
            let panicked = match self.carry(claim, (&mut ahead, lends), &mut link, &waker) {
                Ok(panicked) => panicked,
                Err(lost) => return self.lose(lost, ahead, link),
            };
            if panicked && self.children.restart_after_panic {
                cx.condemn();
                return self.dismiss(link);
            }
        }
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
                Event::Bell | Event::TimedOut => {}
                Event::Ended => return Err(Failure::Ended),
            }
            // Looked at whatever came: one that logs all the time does not time out.
            if self.clock.now() >= until {
                return Err(Failure::Late);
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

    /// The worker is to leave: asked to, and killed if it takes too long. It has no job by now, early or not.
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
                Ok(Event::Bell | Event::TimedOut) => {}
                Ok(Event::Ended) => break None,
                Err(breach) => break Some(breach),
            }
            // Looked at whatever came: one that says something all the time does not time out.
            if self.clock.now() >= until {
                self.grip.begin_kill();
                until = Timestamp::NEVER;
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

pub(super) fn unexpected(frame: &Frame, when: &str) -> Breach {
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
