//! What must hold of any bytes that a child may send, however they are cut: for the fuzzer (`fuzz/`), and for tests, which run what it has found.
//!
//! An input is three bytes and what they say: which state the parent is in, whether payloads may come by memory files, whether descriptors do, and whether the child has a second
//! job; which limit the parent has set; how many sizes of pieces follow. Then those sizes, one byte each, and then what the child sends, cut into pieces of these sizes, again
//! and again.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use smallvec::SmallVec;

use super::ahead::Sent;
use super::bell::Bell;
use super::carry::reply_of;
use super::death::Evidence;
use super::frame::{self, Apart, Decoder, Frame, Garbage, HEADER, Kind};
use super::grip::Grip;
use super::identity::Executable;
use super::link::{Breach, Event, Link, Tag};
use super::memory::{self, Lost};
use super::sys;
use super::wire::{self, Log, Panicked, Welcome};
use super::worker::{Failure, Hand};
use super::{ChildOptions, Children};
use crate::id::{ClaimNo, JobId, LaneId, WorkerId};
use crate::job::{InHand, JobCell, JobContext, PoolNo, Registered, Share, Submission, Terms};
use crate::slot::InProcess;
use crate::sync::{Arc, Clock, Timestamp, Weak};

/// More pieces than this are one.
const PIECES: usize = 64;
/// More is not looked at: it has to fit into a socket.
const MOST: usize = 60_000;
/// More descriptors do not come.
const FILES: usize = 16;
const JOB: u64 = 7;
/// The one that is handed over together with it.
const NEXT: u64 = 8;

/// An input, taken apart.
#[derive(Debug)]
struct Script<'a> {
    state: u8,
    /// Payloads may come by memory files.
    shares: bool,
    /// With a frame that speaks of a descriptor comes one; otherwise it speaks in vain.
    accompanied: bool,
    /// The child that has a job has the next one, too.
    pair: bool,
    limit: u32,
    sizes: &'a [u8],
    sent: &'a [u8],
}

/// What is sent in one go, and what with it.
type Piece<'a> = (&'a [u8], Option<&'a OwnedFd>);

impl<'a> Script<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        let (&[state, limit, sizes], rest) = input.split_first_chunk()?;
        let (sizes, sent) = rest.split_at_checked(usize::from(sizes % 32))?;
        let limit = [16, 200, 1 << 10, 1 << 16][usize::from(limit % 4)];
        let [shares, accompanied, pair] = [0x80, 0x40, 0x20].map(|bit| state & bit != 0);
        Some(Self { state: state % 3, shares, accompanied, pair, limit, sizes, sent: &sent[..sent.len().min(MOST)] })
    }

    /// Where the frames are that a descriptor comes with.
    fn speaking(&self) -> Vec<Range<usize>> {
        let (mut speaking, mut at) = (Vec::new(), 0);
        while let Some(header) = self.sent.get(at..).and_then(<[u8]>::first_chunk::<HEADER>) {
            let [l0, l1, l2, l3, kind, flag, ..] = *header;
            let end = at.saturating_add(HEADER).saturating_add(u32::from_le_bytes([l0, l1, l2, l3]) as usize);
            if flag == 1 && [Kind::Job as u8, Kind::Result as u8].contains(&kind) {
                speaking.push(at..end);
            }
            at = end;
        }
        speaking.truncate(if self.shares && self.accompanied { FILES } else { 0 });
        speaking
    }

    /// Cut at these places, and wherever the system would: what is read in one go brings one descriptor, and ends before the next one, which is sent when all of the frame is of
    /// the one before.
    fn cut(&self, ends: impl Iterator<Item = usize>, file: &'a OwnedFd) -> Vec<Piece<'a>> {
        let (speaking, mut pieces, mut from) = (self.speaking(), Vec::new(), 0);
        for end in ends.chain([self.sent.len()]) {
            while from < end.min(self.sent.len()) {
                let first = speaking.partition_point(|frame| frame.start < from);
                let is_open = first.checked_sub(1).is_some_and(|before| speaking[before].end > from);
                let next = first + usize::from(!is_open);
                let to = speaking.get(next).map_or(end, |frame| frame.start.min(end)).min(self.sent.len());
                let comes = speaking.get(first).is_some_and(|frame| frame.start < to);
                pieces.push((&self.sent[from..to], comes.then_some(file)));
                from = to;
            }
        }
        pieces
    }

    fn pieces(&self, file: &'a OwnedFd) -> Vec<Piece<'a>> {
        let sizes = self.sizes.iter().map(|size| usize::from(*size).max(1)).cycle().take(PIECES);
        let ends = sizes.scan(0, |at, size| {
            *at += size;
            Some(*at)
        });
        self.cut(ends, file)
    }

    fn whole(&self, file: &'a OwnedFd) -> Vec<Piece<'a>> {
        self.cut(std::iter::empty(), file)
    }
}

/// The frame decoder: no panic; no more memory than what has arrived, and than two frames of the limit; what comes out is what went in; and all
/// of that however it is cut.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzzer is outside"))]
pub fn frames(input: &[u8]) {
    let Some(script) = Script::of(input) else { return };
    let decoded = |pieces: &[Piece<'_>]| decoded(script.limit, script.shares, pieces);
    let file = ended();
    let whole = decoded(&script.whole(&file));
    assert_eq!(decoded(&script.pieces(&file)), whole);
    assert_eq!(decoded(&script.cut(1..script.sent.len(), &file)), whole);
}

fn decoded(limit: u32, shares: bool, pieces: &[Piece<'_>]) -> (Vec<Apart>, Vec<u8>, Option<Garbage>) {
    let (mut decoder, mut frames, mut again) = (Decoder::new(limit), Vec::new(), Vec::new());
    decoder.share(shares);
    let (mut arrived, mut garbage) = (0, None);
    for (piece, file) in pieces {
        decoder.room().extend_from_slice(piece);
        arrived += piece.len();
        if file.is_some() {
            // As good as a descriptor, and cheaper.
            decoder.take_in([], true);
        }
        while garbage.is_none() {
            match decoder.next() {
                Ok(Some(frame)) => {
                    read_body(&frame, decoder.body(&frame));
                    put_again(&mut again, &frame, decoder.body(&frame));
                    frames.push(frame.apart());
                }
                Ok(None) => break,
                Err(what) => garbage = Some(what),
            }
        }
        let bound = arrived.min(frame::HEADER + limit as usize);
        assert!(decoder.capacity() <= 2 * bound + 5 * frame::CHUNK, "{} bytes after {arrived}", decoder.capacity());
        if garbage.is_some() {
            break;
        }
    }
    let sent: Vec<u8> = pieces.iter().flat_map(|(piece, _)| *piece).copied().collect();
    assert!(sent.starts_with(&again), "frames that were not sent");
    (frames, again, garbage)
}

fn put_again(out: &mut Vec<u8>, frame: &Frame, body: &[u8]) {
    let at = frame::begin(out, frame.kind, frame.job);
    out[at + 6..at + 8].copy_from_slice(&frame.lost.to_le_bytes());
    if frame.early {
        frame::mark_early(out, at);
    }
    if frame.enclosed.is_some() {
        out[at + 5] = 1;
    }
    out.extend_from_slice(body);
    frame::end(out, at, u32::MAX).expect("it was a frame");
}

/// Whatever the body is, whoever may have to read it can.
fn read_body(frame: &Frame, body: &[u8]) {
    match frame.kind {
        Kind::Welcome => drop(Welcome::read(body)),
        Kind::Job => drop(wire::read_job(body)),
        Kind::Hello => drop(wire::read_hello(body)),
        Kind::Failure => drop(wire::read_failure(body)),
        Kind::Panic => drop(Panicked::read(body)),
        Kind::Log => drop(Log::read(body)),
        _ => {}
    }
}

/// The parent, while a child comes up, idles, or has a job: whatever it sends, it comes to the same end however that is cut, and whether the child
/// lives on or has died by the time that anybody reads.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzzer is outside"))]
pub fn session(input: &[u8]) {
    let Some(script) = Script::of(input) else { return };
    let file = ended();
    let end = led(&script, &script.whole(&file), false);
    assert_eq!(led(&script, &script.pieces(&file), false), end, "cut into pieces");
    assert_eq!(led(&script, &script.pieces(&file), true), end, "of one that has died");
}

/// What became of a child that sends these and then ends its stream.
fn led(script: &Script<'_>, pieces: &[Piece<'_>], has_died: bool) -> String {
    led_as(script, pieces, has_died, None)
}

/// The same of a child that has to be of this build, if so.
fn led_as(script: &Script<'_>, pieces: &[Piece<'_>], has_died: bool, identity: Option<&'static Executable>) -> String {
    // Such a socket gives out pieces as they went in; the parent reads it as it reads its own.
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair().map(|(ours, theirs)| (ours, UnixStream::from(theirs))).expect("there are sockets");
    for (piece, file) in pieces {
        match file {
            Some(file) => sys::send_with(&theirs, piece, file).expect("it has room"),
            None => send(&theirs, piece, SendFlags::empty()).expect("it has room"),
        };
    }
    shutdown(&theirs, Shutdown::Write).expect("it is open");
    let (hand, mut link) = linked(UnixStream::from(ours), has_died, script, identity);
    let end = match script.state {
        0 => comes_up(&hand, &mut link),
        1 => idles(&hand, &mut link, script.limit),
        _ => has_a_job(&hand, &mut link, script),
    };
    drop(theirs);
    end
}

/// The parent's side of a child that is at the other end of that socket, as far as it lives.
fn linked(
    ours: UnixStream,
    has_died: bool,
    script: &Script<'_>,
    identity: Option<&'static Executable>,
) -> (Hand, Link) {
    let bell = Bell::new().expect("there are sockets");
    let clock = Clock::real();
    let grip = Grip::new(bell.clone(), clock.clone(), Duration::ZERO);
    let options = ChildOptions::new().frame_limit(script.limit);
    let tag = Tag { pool: Arc::from("fuzzed"), worker: WorkerId { slot: 0, generation: 1 }, pid: 0, job: None };
    ours.set_nonblocking(true).expect("it can be");
    let parts = (grip.clone(), bell.clone(), clock.clone());
    let mut link = Link::over((ours, has_died.then(ended)), parts, tag, (None, None), Evidence::default());
    link.share(script.shares);
    (Hand { children: Children { options, ..Children::default() }, identity, grip, bell, clock }, link)
}

/// Readable, as the descriptor of a process is that has died.
fn ended() -> OwnedFd {
    let (one, _) = UnixStream::pair().expect("there are sockets");
    one.into()
}

fn comes_up(hand: &Hand, link: &mut Link) -> String {
    match hand.greet(link, Duration::from_secs(3_600)) {
        Ok(()) => format!("came up, {}", rests(hand, link)),
        Err(Failure::Ended) => "ended".to_owned(),
        Err(Failure::Late) => "late".to_owned(),
        Err(Failure::Breach(breach)) => breach.to_string(),
        Err(Failure::Wrong(why)) => why,
    }
}

fn idles(hand: &Hand, link: &mut Link, limit: u32) -> String {
    link.set_limit(limit);
    rests(hand, link)
}

fn rests(hand: &Hand, link: &mut Link) -> String {
    let end: Result<(), Breach> = (|| loop {
        match link.wait(Timestamp::NEVER)? {
            Event::Frame(frame) => hand.between(link, &frame)?,
            Event::Ended => return Ok(()),
            Event::Bell | Event::TimedOut => {}
        }
    })();
    end.map_or_else(|breach| breach.to_string(), |()| "ended".to_owned())
}

fn put_job(link: &mut Link, job: u64) -> Sent {
    let at = wire::begin_job(&mut link.out, job, "label", 0);
    link.out.extend_from_slice(b"payload");
    frame::end(&mut link.out, at, u32::MAX).expect("it is short");
    Sent::last_of(link, job, at)
}

fn has_a_job(hand: &Hand, link: &mut Link, script: &Script<'_>) -> String {
    link.set_limit(script.limit);
    let (mut sent, mut ahead) = (put_job(link, JOB), None);
    if script.pair {
        ahead = Some(put_job(link, NEXT).early());
        // So that it is asked for at once, and not when the clock says so.
        hand.grip.leave();
        hand.bell.hear();
    }
    let (mut said, mut is_early) = (SmallVec::<[String; 3]>::new(), false);
    loop {
        match hand.exchange(&mut sent, (&mut ahead, &mut None), link, &context(), Waker::noop()) {
            Ok(frame) => match answer_of(link, frame, script.limit) {
                Ok(answer) => said.push(answer),
                Err(breach) => {
                    said.push(breach.to_string());
                    break;
                }
            },
            Err((begun, breach)) => {
                assert!(begun || is_early, "it had all of its job");
                said.push(breach.map_or_else(|| "lost".to_owned(), |breach| breach.to_string()));
                // Whether the early one had begun is known, too, however it was cut.
                let early = if is_early { Some(sent) } else { ahead };
                said.extend(early.filter(|early| early.was_begun(link)).map(|early| format!("with #{}", early.job)));
                break;
            }
        }
        match ahead.take() {
            Some(next) => (sent, is_early) = (next, true),
            None => {
                said.push(rests(hand, link));
                break;
            }
        }
    }
    said.join(", ")
}

/// As an outcome is made of it.
fn answer_of(link: &Link, mut frame: Frame, limit: u32) -> Result<String, Breach> {
    let Some(came) = frame.enclosed.take() else { return reply_of(link, &frame).map(|reply| format!("{reply:?}")) };
    match memory::open(came, link.body(&frame), limit) {
        Ok(payload) => Ok(format!("{} bytes of {:?}", payload.len(), payload.first())),
        Err(Lost::Refused(said)) => Ok(said),
        Err(Lost::Unfit(unfit)) => Err(unfit.into()),
    }
}

fn context() -> JobContext {
    let submission = Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None::<Box<Terms>> };
    let job: Share<JobCell<(), ()>> = Share::alone((), submission);
    job.header().admit(JobId(JOB), Timestamp::NEVER);
    let nobody = Nobody(Registered::new(Weak::<super::inside::Elsewhere>::new()));
    JobContext::new(job.erase(), Arc::new(nobody), ClaimNo(1))
}

/// Has the job in hand.
struct Nobody(Registered);

impl InHand for Nobody {
    fn worker(&self) -> WorkerId {
        WorkerId { slot: 0, generation: 1 }
    }

    fn pool(&self) -> PoolNo {
        self.0.number()
    }

    fn is_busy_with(&self, _claim: ClaimNo) -> bool {
        true
    }

    fn is_abandoned_with(&self, _claim: ClaimNo) -> bool {
        false
    }

    fn beat(&self, _claim: ClaimNo) {}
}

#[cfg(test)]
mod tests;
