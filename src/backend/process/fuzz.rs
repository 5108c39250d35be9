//! What must hold of any bytes that a child may send, however they are cut: for the fuzzer (`fuzz/`), and for tests, which run what it has found.
//!
//! An input is three bytes and what they say: which state the parent is in and whether payloads may come by memory files, which limit it has set, how many sizes of pieces
//! follow; then those sizes, one byte each, and then what the child sends, cut into pieces of these sizes, again and again.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};

use super::ahead::Sent;
use super::bell::Bell;
use super::carry::reply_of;
use super::death::Evidence;
use super::frame::{self, Apart, Decoder, Frame, Garbage, Kind};
use super::grip::Grip;
use super::identity::Executable;
use super::link::{Breach, Event, Link, Tag};
use super::wire::{self, Log, Panicked, Welcome};
use super::worker::{Failure, Hand};
use super::{ChildOptions, Children};
use crate::id::{ClaimNo, JobId, LaneId, WorkerId};
use crate::job::{InHand, JobCell, JobContext, PoolNo, Registered, Share, Submission, Terms};
use crate::sync::{Arc, Clock, Timestamp, Weak};

/// More pieces than this are one.
const PIECES: usize = 64;
/// More is not looked at: it has to fit into a socket.
const MOST: usize = 60_000;
const JOB: u64 = 7;

/// An input, taken apart.
#[derive(Debug)]
struct Script<'a> {
    state: u8,
    /// Payloads may come by memory files. None does: a frame that speaks of one speaks in vain.
    shares: bool,
    limit: u32,
    sizes: &'a [u8],
    sent: &'a [u8],
}

impl<'a> Script<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        let (&[state, limit, sizes], rest) = input.split_first_chunk()?;
        let (sizes, sent) = rest.split_at_checked(usize::from(sizes % 32))?;
        let limit = [16, 200, 1 << 10, 1 << 16][usize::from(limit % 4)];
        Some(Self { state: state % 3, shares: state & 0x80 != 0, limit, sizes, sent: &sent[..sent.len().min(MOST)] })
    }

    fn pieces(&self) -> Vec<&'a [u8]> {
        let (mut rest, mut pieces) = (self.sent, Vec::new());
        let sizes = self.sizes.iter().map(|size| usize::from(*size).max(1));
        for size in sizes.cycle().take(PIECES) {
            let Some((piece, left)) = rest.split_at_checked(size) else { break };
            pieces.push(piece);
            rest = left;
        }
        pieces.extend((!rest.is_empty()).then_some(rest));
        pieces
    }
}

/// The frame decoder: no panic; no more memory than what has arrived, and than two frames of the limit; what comes out is what went in; and all
/// of that however it is cut.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzzer is outside"))]
pub fn frames(input: &[u8]) {
    let Some(script) = Script::of(input) else { return };
    let decoded = |pieces: &[&[u8]]| decoded(script.limit, script.shares, pieces);
    let whole = decoded(&[script.sent]);
    assert_eq!(decoded(&script.pieces()), whole);
    let bytes: Vec<_> = script.sent.chunks(1).collect();
    assert_eq!(decoded(&bytes), whole);
}

fn decoded(limit: u32, shares: bool, pieces: &[&[u8]]) -> (Vec<Apart>, Vec<u8>, Option<Garbage>) {
    let (mut decoder, mut frames, mut again) = (Decoder::new(limit), Vec::new(), Vec::new());
    decoder.share(shares);
    let (mut arrived, mut garbage) = (0, None);
    for piece in pieces {
        decoder.room().extend_from_slice(piece);
        arrived += piece.len();
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
    let sent: Vec<u8> = pieces.concat();
    assert!(sent.starts_with(&again), "frames that were not sent");
    (frames, again, garbage)
}

fn put_again(out: &mut Vec<u8>, frame: &Frame, body: &[u8]) {
    let at = frame::begin(out, frame.kind, frame.job);
    out[at + 6..at + 8].copy_from_slice(&frame.lost.to_le_bytes());
    if frame.early {
        frame::mark_early(out, at);
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
    let whole: Vec<_> = (!script.sent.is_empty()).then_some(script.sent).into_iter().collect();
    let end = led(&script, &whole, false);
    assert_eq!(led(&script, &script.pieces(), false), end, "cut into pieces");
    assert_eq!(led(&script, &script.pieces(), true), end, "of one that has died");
}

/// What became of a child that sends these and then ends its stream.
fn led(script: &Script<'_>, pieces: &[&[u8]], has_died: bool) -> String {
    led_as(script, pieces, has_died, None)
}

/// The same of a child that has to be of this build, if so.
fn led_as(script: &Script<'_>, pieces: &[&[u8]], has_died: bool, identity: Option<&'static Executable>) -> String {
    // Such a socket gives out pieces as they went in; the parent reads it as it reads its own.
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair().expect("there are sockets");
    for piece in pieces {
        send(&theirs, piece, SendFlags::empty()).expect("it has room");
    }
    shutdown(&theirs, Shutdown::Write).expect("it is open");
    let bell = Bell::new().expect("there are sockets");
    let clock = Clock::real();
    let grip = Grip::new(bell.clone(), clock.clone(), Duration::ZERO);
    let options = ChildOptions::new().frame_limit(script.limit);
    let tag = Tag { pool: Arc::from("fuzzed"), worker: WorkerId { slot: 0, generation: 1 }, pid: 0, job: None };
    let ours = UnixStream::from(ours);
    ours.set_nonblocking(true).expect("it can be");
    let parts = (grip.clone(), bell.clone(), clock.clone());
    let mut link = Link::over((ours, has_died.then(ended)), parts, tag, (None, None), Evidence::default());
    link.share(script.shares);
    let hand = Hand { children: Children { options, ..Children::default() }, identity, grip, bell, clock };
    let end = match script.state {
        0 => comes_up(&hand, &mut link),
        1 => idles(&hand, &mut link, script.limit),
        _ => has_a_job(&hand, &mut link, script.limit),
    };
    drop(theirs);
    end
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

fn has_a_job(hand: &Hand, link: &mut Link, limit: u32) -> String {
    link.set_limit(limit);
    let at = wire::begin_job(&mut link.out, JOB, "label", 0);
    link.out.extend_from_slice(b"payload");
    frame::end(&mut link.out, at, u32::MAX).expect("it is short");
    let mut sent = Sent::last_of(link, JOB, at);
    match hand.exchange(&mut sent, (&mut None, &mut None), link, &context(), Waker::noop()) {
        Ok(frame) => match reply_of(link, &frame).map(|reply| format!("{reply:?}")) {
            Ok(reply) => format!("{reply}, {}", rests(hand, link)),
            Err(breach) => breach.to_string(),
        },
        Err((begun, breach)) => {
            assert!(begun, "it had all of its job");
            breach.map_or_else(|| "lost".to_owned(), |breach| breach.to_string())
        }
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
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Runs what the fuzzer has found, each of which goes another way than the others.
    fn run(corpus: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/corpus").join(corpus);
        let files: Vec<_> =
            std::fs::read_dir(&folder).expect("it is there").map(|file| file.expect("it is").path()).collect();
        assert!(files.len() > 20, "{} is nearly empty", folder.display());
        for file in files {
            let input = std::fs::read(&file).expect("it can be read");
            let held = std::panic::catch_unwind(|| property(&input));
            assert!(held.is_ok(), "{} does not hold", file.display());
        }
    }

    #[test]
    fn what_was_found_for_the_decoder_holds() {
        run("frames", frames);
    }

    #[test]
    fn what_was_found_for_the_parent_holds() {
        run("session", session);
    }

    /// What a child sends that comes up, idles, or has job 7, and what the parent says of it; each costs the child its life.
    #[test]
    fn whatever_is_not_as_the_protocol_says_is_a_breach() {
        let framed = |kind, job, body: &[u8]| {
            let mut out = Vec::new();
            frame::put(&mut out, kind, job, body);
            out
        };
        let changed = |kind, job, at: usize| {
            let mut out = framed(kind, job, b"");
            out[at] = 1;
            out
        };
        let hello = |flags: &[u8]| framed(Kind::Hello, 0, &[b"MPND\x01\0", flags].concat());
        let zero = "a frame header that is not zero where it should be";
        let panicked = [&[0; 12][..], b"x"].concat();
        let table = [
            (0, hello(&[2, 0]), "a HELLO frame whose body is not one"),
            (0, hello(&[0, 1]), "a HELLO frame whose body is not one"),
            (0, hello(&[0]), "a HELLO frame whose body is not one"),
            (0, changed(Kind::Hello, 0, 8), "a Hello frame about job #1"),
            (
                0,
                [hello(&[0, 0]), framed(Kind::Ready, 0, b"x")].concat(),
                "a Ready frame with a body of 1 bytes, where there is none",
            ),
            (0, [hello(&[0, 0]), changed(Kind::Ready, 0, 8)].concat(), "a Ready frame about job #1"),
            (1, changed(Kind::Log, 0, 7), zero),
            (1, framed(Kind::Log, 0, &[0, 0, 0]), "a LOG frame whose body is not one"),
            (1, framed(Kind::Goodbye, 0, b"x"), "a Goodbye frame with a body of 1 bytes, where there is none"),
            (2, changed(Kind::Ack, JOB, 5), zero),
            (2, changed(Kind::Beat, JOB, 6), zero),
            (2, changed(Kind::Result, JOB, 5), zero),
            (2, framed(Kind::Ack, JOB, b"x"), "a Ack frame with a body of 1 bytes, where there is none"),
            (2, framed(Kind::Beat, JOB, b"xy"), "a Beat frame with a body of 2 bytes, where there is none"),
            (2, framed(Kind::Beat, 0, b""), "a Beat frame about job #0"),
            (2, framed(Kind::Result, 0, b"x"), "a Result frame about job #0"),
            (2, framed(Kind::Failure, JOB, b""), "a FAILURE frame whose body is not one"),
            (2, framed(Kind::Panic, JOB, &panicked), "a PANIC frame whose body is not one"),
        ];
        for (state, sent, words) in table {
            let script = Script { state, shares: false, limit: 1 << 10, sizes: &[], sent: &sent };
            assert_eq!(led(&script, &[&sent], false), words, "{sent:?}");
            assert_eq!(led(&script, &[&sent], true), words, "{sent:?}");
        }
    }

    #[test]
    fn a_child_of_another_build_does_not_come_up() {
        let own = Executable::own().expect("it is there");
        let hello = |identity: &[u8]| {
            let mut out = Vec::new();
            frame::put(&mut out, Kind::Hello, 0, &[b"MPND\x01\0\0\0", identity].concat());
            frame::put(&mut out, Kind::Ready, 0, &[]);
            out
        };
        let mut other = own.identity().to_vec();
        other[20] ^= 1;
        for (identity, words) in [
            (own.identity(), "came up, ended"),
            (&other, "it is another build of this executable"),
            (&own.identity()[1..], "it is another build of this executable"),
            (&[], "it is another build of this executable"),
        ] {
            let sent = hello(identity);
            let script = Script { state: 0, shares: false, limit: 1 << 10, sizes: &[], sent: &sent };
            assert_eq!(led_as(&script, &[&sent], false, Some(own)), words);
        }
    }

    /// What is garbage where nobody shares is a payload that did not come where both do; and it is so however it is cut.
    #[test]
    fn a_frame_that_speaks_of_a_memory_file_in_vain_is_a_breach() {
        let mut sent = Vec::new();
        frame::put(&mut sent, Kind::Result, JOB, &7_u64.to_le_bytes());
        sent[5] = 1;
        for (state, words) in [
            (2, "a frame header that is not zero where it should be"),
            (0x80 | 2, "a frame that speaks of a descriptor, which did not come"),
        ] {
            let input = [&[state, 2, 1, 5][..], &sent].concat();
            frames(&input);
            session(&input);
            let script = Script::of(&input).expect("it is one");
            assert_eq!(led(&script, &[&sent], false), words);
        }
    }

    /// Frames that are nearly right.
    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let kinds = (1_u8..6).chain(129..139).chain([0, 6, 200]).collect::<Vec<_>>();
        let body = prop_oneof![
            3 => Just(Vec::new()),
            1 => Just(b"MPND\x01\0\0\0who".to_vec()),
            2 => prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..9, any::<u8>()], 0..40),
        ];
        let job = prop_oneof![4 => Just(JOB), 2 => Just(0), 1 => any::<u64>()];
        let frame = (prop::sample::select(kinds), job, body, prop::option::weighted(0.05, (0_usize..16, any::<u8>())));
        let frame = frame.prop_map(|(kind, job, body, wrong)| {
            let mut bytes = Vec::new();
            frame::put(&mut bytes, Kind::Ack, job, &body);
            bytes[4] = kind;
            if let Some((at, byte)) = wrong {
                bytes[at] = byte;
            }
            bytes
        });
        prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
    }

    proptest! {
        #[test]
        fn frames_that_are_nearly_right_hold(
            (state, limit) in any::<(u8, u8)>(),
            sizes in prop::collection::vec(any::<u8>(), 0..8),
            sent in sent(),
        ) {
            let input = [&[state, limit, sizes.len() as u8][..], &sizes, &sent].concat();
            frames(&input);
            session(&input);
        }
    }
}
