//! A worker's place: its socket, the job in its hands, and what that job can ask of it.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::End;
use super::elsewhere::Elsewhere;
use crate::backend::process::bell::Bell;
use crate::backend::process::frame::{self, Decoder, Kind};
use crate::backend::process::freight::Terms as Freights;
use crate::backend::process::memory::{self, Lost, Mapping};
use crate::backend::process::{
    sys,
    wire::{self, VERSION, Welcome},
};
use crate::id::{ClaimNo, JobId, LaneId, WorkerId};
use crate::job::{
    InHand, JobCell, JobContext, Origin, PoolNo, Redeliveries, Registered, Runs, Share, Submission, Terms,
};
use crate::snapshot::Lineage;
use crate::sync::{Arc, AtomicBool, AtomicU64, Clock, Mutex, Ordering, Weak};

/// No two beats are sent within this: the parent gains nothing by more.
const BEAT: Duration = Duration::from_millis(5);

/// What the parent says.
#[derive(Debug)]
pub(super) enum Inbound {
    Job(Job),
    /// A job whose payload is there, and this process lacks what it takes to read it.
    Unreadable {
        number: u64,
        said: String,
    },
    Cancel(u64),
    /// A job that was handed over early is wanted back.
    Recall(u64),
    Stop,
}

/// A job, as it came.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) lost: u16,
    pub(super) label: String,
    pub(super) payload: Payload,
    /// It came before the one in hand was over, and is acknowledged before it begins.
    pub(super) early: bool,
}

/// A payload, where it lies.
#[derive(Debug)]
pub(super) enum Payload {
    Copied(Vec<u8>),
    Mapped(Mapping),
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Mapped(mapping) => mapping,
        }
    }
}

/// What comes in.
#[derive(Debug)]
struct Incoming {
    decoder: Decoder,
    /// What the ear was handed early, for the thread that runs jobs.
    early: Option<Job>,
}

/// What goes out, in the order in which it is said. What is put off goes with the next that is not.
#[derive(Debug, Default)]
struct Outbound {
    put_off: Vec<u8>,
}

type InHands = (Share<JobCell<(), ()>>, ClaimNo);

/// See the module.
pub(super) struct Post {
    socket: UnixStream,
    incoming: Mutex<Incoming>,
    outbound: Mutex<Outbound>,
    welcome: Welcome,
    job: Mutex<Option<InHands>>,
    /// The claim that runs; 0: none.
    running: AtomicU64,
    claims: AtomicU64,
    stopped: AtomicBool,
    beaten_at: AtomicU64,
    clock: Clock,
    number: PoolNo,
    _number: Registered,
}

impl Post {
    /// HELLO and WELCOME.
    pub(super) fn greet(socket: UnixStream, identity: &[u8]) -> Result<Arc<Self>, End> {
        let mut hello = Vec::new();
        wire::put_hello(&mut hello, identity, memory::IS_THERE);
        (&socket).write_all(&hello)?;
        let mut decoder = Decoder::new(4 << 10);
        let frame = loop {
            if let Some(frame) = decoder.next().map_err(broken)? {
                break frame;
            }
            read(&socket, &mut decoder)?;
        };
        if frame.kind != Kind::Welcome {
            return Err(End::Broken(format!("it sent {:?} instead of a welcome", frame.kind)));
        }
        let welcome = Welcome::read(decoder.body(&frame)).map_err(broken)?;
        if welcome.version != VERSION {
            return Err(End::Broken(format!("it speaks version {}", welcome.version)));
        }
        decoder.set_limit(welcome.limit);
        decoder.share(welcome.shares && memory::IS_THERE);
        // A number that no pool here has: the job's own is in another process.
        let registered = Registered::new(Weak::<Elsewhere>::new());
        Ok(Arc::new(Self {
            socket,
            incoming: Mutex::new(Incoming { decoder, early: None }),
            outbound: Mutex::default(),
            welcome,
            job: Mutex::new(None),
            running: AtomicU64::new(0),
            claims: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            beaten_at: AtomicU64::new(0),
            clock: Clock::uncalibrated(),
            number: registered.number(),
            _number: registered,
        }))
    }

    /// How many jobs have begun.
    pub(super) fn begun(&self) -> u64 {
        self.claims.load(Ordering::Relaxed)
    }

    /// How results may travel.
    pub(super) fn terms(&self) -> Freights<'_> {
        let Welcome { limit, shares, pool, .. } = &self.welcome;
        Freights { limit: *limit, shares: *shares && memory::IS_THERE, pool }
    }

    pub(super) fn level(&self) -> u8 {
        self.welcome.level
    }

    /// The next frame, waited for.
    pub(super) fn next(&self) -> Result<Inbound, End> {
        let mut incoming = self.incoming.lock();
        let Incoming { decoder, early } = &mut *incoming;
        if let Some(job) = early.take() {
            return Ok(Inbound::Job(job));
        }
        loop {
            if let Some(inbound) = take(decoder, self.welcome.limit)? {
                return Ok(inbound);
            }
            wait(&self.socket);
            read(&self.socket, decoder)?;
        }
    }

    /// A job is over: the one after it, if it was handed over early and is there. It is acknowledged with the answer, and can be taken back no more.
    pub(super) fn next_early(&self) -> Result<Option<Job>, End> {
        let mut incoming = self.incoming.lock();
        let Incoming { decoder, early } = &mut *incoming;
        while !self.is_stopped() {
            if early.is_some() {
                return Ok(early.take());
            }
            match take(decoder, self.welcome.limit)? {
                None => break,
                Some(inbound) => self.hear(inbound, early)?,
            }
        }
        Ok(None)
    }

    /// What comes while a job runs, or has just run and is not answered for.
    fn hear(&self, inbound: Inbound, early: &mut Option<Job>) -> Result<(), End> {
        match inbound {
            Inbound::Cancel(number) => self.cancel(number),
            Inbound::Stop => self.stop(),
            Inbound::Job(job) if job.early && early.is_none() => *early = Some(job),
            Inbound::Recall(number) => {
                // Under the lock under which it would be taken to be begun; otherwise it has been, and its acknowledgement says so.
                if early.take_if(|job| job.number == number).is_some() {
                    self.say(|out| frame::put(out, Kind::Recalled, number, &[]))?;
                }
            }
            Inbound::Job(_) | Inbound::Unreadable { .. } => {
                return Err(End::Broken("it sent a job to one that has one".to_owned()));
            }
        }
        Ok(())
    }

    /// For the ear: sees to what comes, until the bell rings and this is not wanted any more.
    pub(super) fn listen(&self, bell: &Bell, wanted: impl Fn() -> bool) -> Result<(), End> {
        let mut incoming = self.incoming.lock();
        let Incoming { decoder, early } = &mut *incoming;
        while wanted() {
            if let Some(inbound) = take(decoder, self.welcome.limit)? {
                self.hear(inbound, early)?;
                continue;
            }
            let mut fds =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::from_borrowed_fd(bell.fd(), PollFlags::IN)];
            // Interrupted is as good as nothing.
            let _ = poll(&mut fds, None);
            let (readable, rung) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if rung {
                bell.hear();
            } else if readable {
                read(&self.socket, decoder)?;
            }
        }
        Ok(())
    }

    /// A job begins, which comes from that line and that job. Its acknowledgement is put off, unless it `is_acknowledged`.
    pub(super) fn begin(
        self: &Arc<Self>,
        job: &Job,
        (line, lineage): (Option<&'static Location<'static>>, Option<Lineage>),
        is_acknowledged: bool,
    ) -> Running {
        let Job { number, lost, ref label, .. } = *job;
        let claim = self.claims.fetch_add(1, Ordering::Relaxed) + 1;
        let terms = (lost > 0 || !label.is_empty() || lineage.is_some()).then(|| {
            let mut terms = Terms::of_origin(lineage.map(Origin::elsewhere));
            terms.label = Some(Arc::from(&**label)).filter(|label: &Arc<str>| !label.is_empty());
            terms.redeliveries = (lost > 0).then(|| Box::new(Redeliveries::after(lost)));
            Box::new(terms)
        });
        let job = Share::alone(
            (),
            Submission { lane: LaneId::DEFAULT, site: line.unwrap_or_else(|| Location::caller()), terms },
        );
        job.header().admit(JobId(number), self.clock.now());
        let in_hand = (job, ClaimNo(claim));
        *self.job.lock() = Some(in_hand.clone());
        if !is_acknowledged {
            frame::put(&mut self.outbound.lock().put_off, Kind::Ack, number, &[]);
        }
        self.beaten_at.store(0, Ordering::Relaxed);
        // SeqCst here, and in `end` and the ear: either the ear sees that the job is over, or whoever ends it sees the ear listen.
        self.running.store(claim, Ordering::SeqCst);
        Running { post: self.clone(), in_hand }
    }

    pub(super) fn end(&self) {
        self.running.store(0, Ordering::SeqCst);
        let job = self.job.lock().take();
        drop(job);
    }

    pub(super) fn running(&self) -> u64 {
        self.running.load(Ordering::SeqCst)
    }

    /// Asks the job in hand to stop, if it is that one.
    pub(super) fn cancel(&self, number: u64) {
        let job = self.job.lock().as_ref().map(|(job, _)| job.clone());
        if let Some(job) = job.filter(|job| job.header().id() == JobId(number)) {
            job.header().cancel();
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Says something now, with what was put off before.
    pub(super) fn say(&self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), End> {
        let mut outbound = self.outbound.lock();
        put(&mut outbound.put_off);
        self.flush(&mut outbound)
    }

    /// Says what was put off.
    pub(super) fn say_put_off(&self) -> Result<(), End> {
        self.say(|_| ())
    }

    fn flush(&self, outbound: &mut Outbound) -> Result<(), End> {
        let bytes = std::mem::take(&mut outbound.put_off);
        write(&self.socket, &bytes)?;
        outbound.put_off = bytes;
        outbound.put_off.clear();
        Ok(())
    }

    /// The same for what ends a job, with what is to be sent along, and then the acknowledgement of the job that begins next, if it came early.
    pub(super) fn answer(&self, frame: &[u8], enclosed: Option<&OwnedFd>, next: Option<u64>) -> Result<(), End> {
        let mut outbound = self.outbound.lock();
        if enclosed.is_none() && frame.len() <= 16 << 10 {
            outbound.put_off.extend_from_slice(frame);
        } else {
            self.flush(&mut outbound)?;
            let sent = enclosed.map_or(Ok(0), |file| send_with(&self.socket, frame, file))?;
            write(&self.socket, &frame[sent..])?;
        }
        if let Some(next) = next {
            frame::put(&mut outbound.put_off, Kind::Ack, next, &[]);
        }
        self.flush(&mut outbound)
    }

    /// The number of the job that runs, for its log.
    pub(super) fn job_number(&self) -> u64 {
        self.job.lock().as_ref().map_or(0, |(job, _)| job.header().id().get())
    }
}

/// A job that runs here.
pub(super) struct Running {
    post: Arc<Post>,
    in_hand: InHands,
}

impl Runs for Running {
    fn context(&self) -> JobContext {
        let (job, claim) = &self.in_hand;
        JobContext::new(job.clone().erase(), self.post.clone(), *claim)
    }
}

impl InHand for Post {
    fn worker(&self) -> WorkerId {
        WorkerId { slot: self.welcome.slot, generation: self.welcome.generation }
    }

    fn pool(&self) -> PoolNo {
        self.number
    }

    fn pool_name(&self) -> Option<Arc<str>> {
        Some(Arc::from(&*self.welcome.pool))
    }

    fn is_busy_with(&self, claim: ClaimNo) -> bool {
        self.running() == claim.0
    }

    /// A child that is told to end ends.
    fn is_abandoned_with(&self, _claim: ClaimNo) -> bool {
        false
    }

    fn beat(&self, claim: ClaimNo) {
        let now = self.clock.now().as_nanos();
        let last = self.beaten_at.load(Ordering::Relaxed);
        let soon = last != 0 && now.saturating_sub(last) < BEAT.as_nanos() as u64;
        if soon || self.running() != claim.0 {
            return;
        }
        self.beaten_at.store(now, Ordering::Relaxed);
        let number = self.job_number();
        // A parent that is gone is seen by who reads. A job's answer comes after the end of the job, under the same lock: so a beat of another thread's
        // that comes late is not said behind it, when it would be about a job that this worker does not hold.
        let _ = self.say(|out| {
            if self.running() == claim.0 {
                frame::put(out, Kind::Beat, number, &[]);
            }
        });
    }
}

/// Takes the next frame out of what has arrived.
fn take(decoder: &mut Decoder, limit: u32) -> Result<Option<Inbound>, End> {
    let Some(mut frame) = decoder.next().map_err(broken)? else { return Ok(None) };
    let enclosed = frame.enclosed.take();
    let (body, number) = (decoder.body(&frame), frame.job);
    Ok(Some(match frame.kind {
        Kind::Job => {
            let (label, payload) = wire::read_job(body).map_err(broken)?;
            let payload = match enclosed.map(|came| memory::open(came, payload, limit)) {
                None => Payload::Copied(payload.to_vec()),
                Some(Ok(mapping)) => Payload::Mapped(mapping),
                Some(Err(Lost::Refused(said))) => return Ok(Some(Inbound::Unreadable { number, said })),
                Some(Err(Lost::Unfit(unfit))) => return Err(broken(unfit)),
            };
            Inbound::Job(Job { number, lost: frame.lost, label, payload, early: frame.early })
        }
        Kind::Cancel => Inbound::Cancel(number),
        Kind::Recall => Inbound::Recall(number),
        Kind::Stop => Inbound::Stop,
        other => return Err(End::Broken(format!("it sent {other:?}"))),
    }))
}

fn broken(error: impl std::fmt::Display) -> End {
    End::Broken(error.to_string())
}

/// Until there is something to read. Not left to the reading: on Linux a thread that sleeps in the `recvmsg` of a stream socket is also woken
/// whenever the other side takes what was written, here with each answer; one that sleeps in `poll` is woken by what it polls for alone.
fn wait(socket: &UnixStream) {
    // What fails here fails in the reading, and is told there.
    let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], None);
}

fn read(socket: &UnixStream, decoder: &mut Decoder) -> Result<(), End> {
    match sys::receive(socket, decoder) {
        Ok(0) => Err(End::ParentGone),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => Err(End::ParentGone),
        Err(error) => Err(End::Io(error.into())),
    }
}

fn write(mut socket: &UnixStream, bytes: &[u8]) -> Result<(), End> {
    socket.write_all(bytes).map_err(unwritten)
}

fn send_with(socket: &UnixStream, bytes: &[u8], file: &OwnedFd) -> Result<usize, End> {
    loop {
        match sys::send_with(socket, bytes, file) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done.map_err(unwritten),
        }
    }
}

fn unwritten(error: std::io::Error) -> End {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => End::ParentGone,
        _ => End::Io(error),
    }
}
