//! A child, seen from the thread that looks after it: one place to wait for all that it says, prints, and comes to.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smallvec::SmallVec;

use super::bell::Bell;
use super::death::{Evidence, attribute};
use super::frame::{self, Decoder, Frame, Garbage, Kind};
use super::grip::Grip;
use super::memory::Unfit;
use super::options::{ChildOptions, Output};
use super::output::{Allowance, LastWords, Stream};
use super::sys::AtParentsDeath;
use super::wire::{Log, Malformed};
use super::{spawner, sys};
use crate::error::{Death, DeathCause};
use crate::id::WorkerId;
use crate::sync::{Arc, Clock, Timestamp};

/// The longest body of a frame of a child that has not said who it is.
const UNGREETED: u32 = 4 << 10;

/// What says that there is something to be read, or never will be.
const COME: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);

/// What the thread was waiting for, or had to see to.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame, whose body is to be had from [`Link::body`].
    Frame(Frame),
    /// The bell was rung.
    Bell,
    /// The child has died, and all that it wrote before has been taken.
    Ended,
    TimedOut,
}

/// How a child broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum Breach {
    #[error(transparent)]
    Garbage(#[from] Garbage),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("{0}")]
    Unexpected(String),
    #[error("it closed its socket and lived on")]
    HungUp,
}

/// Who a line of log or output is of.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) pool: Arc<str>,
    pub(super) worker: WorkerId,
    pub(super) pid: u32,
    /// The job in hand.
    pub(super) job: Option<u64>,
}

/// A child and the way to it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) grip: Arc<Grip>,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Clock,
    pub(super) tag: Tag,
    socket: UnixStream,
    /// All that is waited for but the socket, as one descriptor.
    others: Option<OwnedFd>,
    /// Readable once the child has died. Elsewhere than on Linux the end of the socket says so.
    dead: Option<OwnedFd>,
    /// The stream has ended: nothing comes any more that anybody would read.
    cut: bool,
    /// It has died, or cannot be written to any more: so much of what it wrote is read yet at most. A child of its own may have the socket, and write for ever.
    rest: Option<usize>,
    decoder: Decoder,
    /// What is to be written, and how much of it is.
    pub(super) out: Vec<u8>,
    written: usize,
    /// How much was ever written.
    sent: u64,
    /// It has been told to leave.
    dismissed: bool,
    /// What goes with the bytes from there on.
    enclosed: Option<(usize, OwnedFd)>,
    printed: Stream<ChildStdout>,
    complained: Stream<ChildStderr>,
    last_words: LastWords,
    allowance: Allowance,
    evidence: Evidence,
}

impl Link {
    /// Starts a child.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn open(
        mut command: Command,
        at_parents_death: AtParentsDeath,
        options: &ChildOptions,
        (grip, bell, clock): (Arc<Grip>, Arc<Bell>, Clock),
        (pool, worker): (&str, WorkerId),
    ) -> std::io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let stdio = || match options.output {
            Output::Captured => Stdio::piped(),
            Output::Inherited => Stdio::inherit(),
            Output::Discarded => Stdio::null(),
        };
        command.stdin(Stdio::null()).stdout(stdio()).stderr(stdio());
        command.env("MILLPOND_FD", sys::number_of(&theirs).to_string());
        sys::confine(&mut command, sys::number_of(&theirs), options.before_exec(at_parents_death));
        let evidence = Evidence::before(options, clock.now());
        let mut child = spawner::spawn(command)?;
        drop(theirs);
        let printed = (child.stdout.take(), child.stderr.take());
        let tag = Tag { pool: Arc::from(pool), worker, pid: child.id(), job: None };
        let dead = grip.take_hold(child).and_then(sys::pidfd);
        Ok(Self::over((socket, dead), (grip, bell, clock), tag, printed, evidence))
    }

    /// A child that has been started, whose death `dead` tells of.
    pub(super) fn over(
        (socket, dead): (UnixStream, Option<OwnedFd>),
        (grip, bell, clock): (Arc<Grip>, Arc<Bell>, Clock),
        tag: Tag,
        (printed, complained): (Option<ChildStdout>, Option<ChildStderr>),
        evidence: Evidence,
    ) -> Self {
        let (printed, complained) = (Stream::new(printed), Stream::new(complained));
        let others = sys::watch_all(&[Some(bell.fd()), dead.as_ref().map(AsFd::as_fd), printed.fd(), complained.fd()]);
        Self {
            grip,
            bell,
            tag,
            socket,
            others,
            dead,
            cut: false,
            rest: None,
            // Until it has said who it is, a child has no business with more.
            decoder: Decoder::new(UNGREETED),
            out: Vec::new(),
            written: 0,
            sent: 0,
            dismissed: false,
            enclosed: None,
            printed,
            complained,
            last_words: LastWords::default(),
            allowance: Allowance::new(clock.clone()),
            clock,
            evidence,
        }
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.decoder.set_limit(limit);
    }

    /// Memory files may be sent from now on, either way, if so.
    pub(super) fn share(&mut self, shares: bool) {
        self.decoder.share(shares);
    }

    pub(super) fn shares(&self) -> bool {
        self.decoder.shares()
    }

    /// Sends that with the frame that begins at `at` of what is to be written.
    pub(super) fn enclose(&mut self, at: usize, file: OwnedFd) {
        self.enclosed = Some((at, file));
    }

    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        self.decoder.body(frame)
    }

    /// True while something is to be written yet.
    fn is_writing(&self) -> bool {
        self.written < self.out.len()
    }

    /// Where what is to be written by now ends in all that is ever written.
    pub(super) fn end_of_out(&self) -> u64 {
        self.sent + (self.out.len() - self.written) as u64
    }

    /// True if something goes along with what is to be written.
    pub(super) fn encloses(&self) -> bool {
        self.enclosed.is_some()
    }

    /// The child is dead: true if that frame, without a body, may be in what it sent and nobody has read.
    pub(super) fn has_said(&mut self, kind: Kind, job: u64) -> bool {
        self.read_all();
        let mut said = Vec::new();
        frame::put(&mut said, kind, job, &[]);
        self.decoder.holds_enough() || self.decoder.holds(&said)
    }

    /// True once all up to there is written.
    pub(super) fn has_written(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// Tells it to leave once its job is over, if it has one. Told twice, it hears it once.
    pub(super) fn dismiss(&mut self) {
        if !std::mem::replace(&mut self.dismissed, true) {
            frame::put(&mut self.out, Kind::Stop, 0, &[]);
        }
    }

    /// Waits for what comes first; at `until` for nothing any more. Writes, and reads what is printed, meanwhile.
    pub(super) fn wait(&mut self, until: Timestamp) -> Result<Event, Breach> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Event::Frame(frame));
            }
            self.write();
            // Read and looked at by turns: of what comes along with frames, there is room for that of one.
            if self.rest.is_some() && self.read_rest() {
                continue;
            }
            if self.cut && self.dead.is_none() {
                return Ok(Event::Ended);
            }
            let seen = self.poll(until.min(self.allowance.due()));
            self.tell_of_dropped();
            if seen.died {
                self.dead = None;
                self.rest.get_or_insert(self.decoder.enough());
                continue;
            }
            if seen.readable {
                self.read();
            }
            if seen.rung {
                self.bell.hear();
                return Ok(Event::Bell);
            }
            if !seen.readable && self.clock.now() >= until {
                return Ok(Event::TimedOut);
            }
        }
    }

    fn poll(&mut self, until: Timestamp) -> Seen {
        let interest = if self.is_writing() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut timeout = (until < Timestamp::NEVER).then(|| timespec(until.since(self.clock.now())));
        let mut is_said = false;
        if let Some(others) = self.others.as_ref().filter(|_| !self.cut) {
            // The others seldom have something, and to wait for two is cheaper than for five.
            let mut fds = [PollFd::new(&self.socket, interest), PollFd::new(others, PollFlags::IN)];
            let _ = poll(&mut fds, timeout.as_ref());
            if fds[1].revents().is_empty() {
                return Seen { readable: fds[0].revents().intersects(COME), rung: false, died: false };
            }
            (timeout, is_said) = (Some(Timespec { tv_sec: 0, tv_nsec: 0 }), true);
        }
        let sources = [
            (!self.cut).then(|| self.socket.as_fd()),
            Some(self.bell.fd()),
            self.dead.as_ref().map(AsFd::as_fd),
            self.printed.fd(),
            self.complained.fd(),
        ];
        let mut fds: SmallVec<[PollFd<'_>; 5]> = SmallVec::new();
        for (at, fd) in sources.iter().enumerate() {
            if let Some(fd) = fd {
                fds.push(PollFd::from_borrowed_fd(*fd, if at == 0 { interest } else { PollFlags::IN }));
            }
        }
        // Interrupted is as good as nothing.
        let _ = poll(&mut fds, timeout.as_ref());
        let mut polled = fds.iter();
        let ready = sources.map(|fd| {
            let polled = fd.and_then(|_| polled.next());
            polled.is_some_and(|fd| fd.revents().intersects(COME))
        });
        drop(fds);
        let [readable, rung, died, printed, complained] = ready;
        if is_said && !(rung || died || printed || complained) {
            // One of them is closed here, and somebody who was forked has a copy of it: that one would be told of for ever.
            self.others = None;
        }
        if printed || complained {
            self.listen();
        }
        Seen { readable, rung, died }
    }

    /// Passes on what the child has printed.
    fn listen(&mut self) {
        let Self { printed, complained, allowance, tag, last_words, .. } = self;
        printed.read(|line| print_line(allowance, tag, "stdout", line));
        complained.read(|line| {
            last_words.push(line);
            print_line(allowance, tag, "stderr", line);
        });
    }

    /// Says how many lines were dropped once their second is over, though none follows.
    fn tell_of_dropped(&mut self) {
        let due = self.allowance.due();
        if due < Timestamp::NEVER && self.clock.now() >= due {
            self.allowance.settle(|lines| tell_dropped(&self.tag, lines));
        }
    }

    /// Writes as much as goes.
    pub(super) fn write(&mut self) {
        while self.is_writing() && !self.cut && self.rest.is_none() {
            match self.write_once() {
                Ok(n) => {
                    self.written += n;
                    self.sent += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It is dying: what it wrote is still read.
                Err(_) => return self.end_stream(),
            }
        }
        if !self.is_writing() && !self.out.is_empty() {
            self.out.clear();
            self.written = 0;
            // A large frame's memory is not kept for small ones.
            self.out.shrink_to(256 << 10);
        }
    }

    /// The descriptor goes with the first byte of its frame, and is closed here as soon as that is written.
    fn write_once(&mut self) -> std::io::Result<usize> {
        let rest = &self.out[self.written..];
        let Some((at, file)) = &self.enclosed else { return (&self.socket).write(rest) };
        if *at > self.written {
            return (&self.socket).write(&rest[..at - self.written]);
        }
        let n = sys::send_with(&self.socket, rest, file)?;
        self.enclosed = None;
        Ok(n)
    }

    /// The child cannot be talked to any more, so it is to die, if it does not already.
    fn end_stream(&mut self) {
        self.rest = Some(self.decoder.enough());
        self.see_it_die();
    }

    /// It has ended the stream: as a rule it is dying, and what of is to be found out. If it is not, it is killed.
    fn see_it_die(&self) {
        if self.dead.is_some() {
            self.grip.kill_soon();
        } else {
            self.grip.kill_now();
        }
    }

    /// Reads once. False when nothing is there, or comes any more.
    fn read(&mut self) -> bool {
        if self.cut {
            return false;
        }
        match sys::receive(&self.socket, &mut self.decoder) {
            Ok(n @ 1..) => {
                self.rest = self.rest.map(|rest| rest.saturating_sub(n));
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.cut = true;
                // Otherwise that is seen to, or done.
                if self.rest.is_none() {
                    self.see_it_die();
                }
                false
            }
        }
    }

    /// What a child wrote before it died is what it said: a result among it counts. Reads once. False: there is no more of it, or nobody wants more.
    fn read_rest(&mut self) -> bool {
        let more = self.rest != Some(0) && self.read();
        self.cut |= !more;
        more
    }

    /// All that a dead child wrote, as bytes that are looked through and are frames no more, so that nothing that comes along is lacked.
    fn read_all(&mut self) {
        while !self.decoder.holds_enough() && self.read() {}
    }

    /// Reports a line of the child's log.
    pub(super) fn log(&mut self, frame: &Frame) -> Result<(), Breach> {
        let log = Log::read(self.decoder.body(frame))?;
        if self.allowance.spend(|lines| tell_dropped(&self.tag, lines)) {
            emit(&self.tag, &log);
        }
        Ok(())
    }

    /// What it has printed on standard error until now.
    pub(super) fn last_words(&mut self) -> Arc<str> {
        self.listen();
        self.last_words.text()
    }

    /// Ends the child, whatever it does, and says what it died of.
    pub(super) fn bury(&mut self, breach: Option<&Breach>) -> (Arc<Death>, Option<ExitStatus>) {
        let was_doomed = self.grip.is_doomed();
        let remains = self.grip.reap();
        self.listen();
        self.allowance.settle(|lines| tell_dropped(&self.tag, lines));
        let last_words = self.last_words.text();
        let hung_up = (self.grip.lived_on() && remains.was_killed()).then_some(&Breach::HungUp);
        let cause = match breach.or(hung_up) {
            Some(breach) => DeathCause::BrokeProtocol(Arc::from(breach.to_string())),
            None => {
                let (told_of_memory, now) = (self.last_words.told_of_memory(), self.clock.now());
                attribute(&remains, told_of_memory, &self.evidence, was_doomed, now)
            }
        };
        (Arc::new(Death::new(self.tag.pid, cause, last_words)), remains.status)
    }
}

impl Drop for Link {
    /// Whatever way its thread goes, nothing is left of the child. After [`Link::bury`] there is nothing to do.
    fn drop(&mut self) {
        self.grip.reap();
    }
}

/// What [`Link::poll`] saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    readable: bool,
    rung: bool,
    died: bool,
}

/// Rounded up, so that a wait does not end a moment before its time.
fn timespec(span: Duration) -> Timespec {
    let span = span + Duration::from_micros(10);
    Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), tv_nsec: span.subsec_nanos().into() }
}

fn tell_dropped(tag: &Tag, lines: u64) {
    let Tag { pool, worker, pid, .. } = tag;
    tracing::warn!(target: "millpond::process", pool = &**pool, %worker, pid, "{lines} lines were too many for a second, and dropped");
}

fn print_line(allowance: &mut Allowance, tag: &Tag, stream: &str, line: &str) {
    if allowance.spend(|lines| tell_dropped(tag, lines)) {
        let Tag { pool, worker, pid, job } = tag;
        tracing::info!(target: "millpond::process", pool = &**pool, %worker, pid, job, stream, "{line}");
    }
}

fn emit(tag: &Tag, log: &Log) {
    let (Tag { pool, worker, pid, job }, Log { level, target: module, spans, text }) = (tag, log);
    // A field that has no value is left out.
    let span = (!spans.is_empty()).then_some(&**spans);
    match level {
        1 => tracing::error!(target: "millpond::process", pool = &**pool, %worker, pid, job, module, span, "{text}"),
        2 => tracing::warn!(target: "millpond::process", pool = &**pool, %worker, pid, job, module, span, "{text}"),
        3 => tracing::info!(target: "millpond::process", pool = &**pool, %worker, pid, job, module, span, "{text}"),
        4 => tracing::debug!(target: "millpond::process", pool = &**pool, %worker, pid, job, module, span, "{text}"),
        _ => tracing::trace!(target: "millpond::process", pool = &**pool, %worker, pid, job, module, span, "{text}"),
    }
}
