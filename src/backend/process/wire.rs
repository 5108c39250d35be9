//! The bodies of frames, as `docs/protocol.md` has them.

use super::frame::{self, Kind};

pub(super) const VERSION: u16 = 1;
const MAGIC: &[u8; 4] = b"MPND";

/// A body that is not as its kind says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a {0} frame whose body is not one")]
pub(super) struct Malformed(pub(super) &'static str);

/// Takes apart what was put together, and never looks beyond its end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A byte that says yes or no.
    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            SHARES => Some(true),
            _ => None,
        }
    }

    /// Nothing comes after what was taken.
    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn short_text(&mut self) -> Option<String> {
        let length = self.u16()?;
        self.take(length.into()).map(text)
    }

    fn long_text(&mut self) -> Option<String> {
        let length = self.u32()?;
        self.take(length as usize).map(text)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The longest text of a FAILURE or LOG, and of a PANIC. What one says beyond that helps nobody.
const TEXT: usize = 64 << 10;
const LONG_TEXT: usize = 1 << 20;

/// As much of `text` as there is room for, cut between characters.
fn cut(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

/// As much of `text` as a `u16` can say, and as there is room for.
fn put_short(out: &mut Vec<u8>, text: &str, room: usize) {
    let cut = cut(text, room.min(u16::MAX.into()));
    out.extend_from_slice(&u16::try_from(cut.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(cut.as_bytes());
}

fn put_long(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The highest level of a log.
const TRACING: u8 = 5;

/// In a log's level: the names of spans come before the text.
const SPANS: u8 = 0x80;
/// The most that is said of the spans of an event, in bytes.
const PATH: usize = 1 << 10;

/// In HELLO: the worker can send and take memory files. In WELCOME: both sides may.
const SHARES: u8 = 1;

/// What a worker says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello<'a> {
    pub(super) version: u16,
    /// It can send and take memory files.
    pub(super) shares: bool,
    /// What tells it from others.
    pub(super) identity: &'a [u8],
}

pub(super) fn put_hello(out: &mut Vec<u8>, identity: &[u8], shares: bool) {
    let at = frame::begin(out, Kind::Hello, 0);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[u8::from(shares) * SHARES, 0]);
    out.extend_from_slice(identity);
    frame::end(out, at, u32::MAX).expect("an identity is short");
}

pub(super) fn read_hello(body: &[u8]) -> Result<Hello<'_>, Malformed> {
    let mut bytes = Bytes(body);
    let parts = (|| {
        let (magic, version, can) = (bytes.take(4)?, bytes.u16()?, bytes.take(2)?);
        // What another version means by these two nobody here knows: it is told apart by its number.
        let shares = if version == VERSION { Bytes(can).flag()? } else { false };
        let is_one = magic == MAGIC && (version != VERSION || can[1] == 0);
        is_one.then_some(Hello { version, shares, identity: bytes.0 })
    })();
    parts.ok_or(Malformed("HELLO"))
}

/// What a worker is told about its parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Welcome {
    pub(super) version: u16,
    pub(super) level: u8,
    /// Memory files may be sent.
    pub(super) shares: bool,
    pub(super) limit: u32,
    pub(super) pool: String,
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Welcome {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let at = frame::begin(out, Kind::Welcome, 0);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[self.level, u8::from(self.shares) * SHARES]);
        out.extend_from_slice(&self.limit.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(self.pool.as_bytes());
        frame::end(out, at, u32::MAX).expect("a pool's name is short");
    }

    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(body);
        let parts = (|| {
            let (version, level, shares, limit) = (bytes.u16()?, bytes.u8()?, bytes.flag()?, bytes.u32()?);
            let (slot, generation) = (bytes.u32()?, bytes.u32()?);
            (level <= TRACING).then_some(())?;
            Some(Self { version, level, shares, limit, slot, generation, pool: text(bytes.0) })
        })();
        parts.ok_or(Malformed("WELCOME"))
    }
}

/// Begins a JOB of which so many deliveries were lost; what is appended until [`frame::end`] is its payload. Gives where it begins.
pub(super) fn begin_job(out: &mut Vec<u8>, job: u64, label: &str, lost: u16) -> usize {
    let at = frame::begin(out, Kind::Job, job);
    out[at + 6..at + 8].copy_from_slice(&lost.to_le_bytes());
    put_short(out, label, usize::MAX);
    at
}

/// A JOB's label and payload.
pub(super) fn read_job(body: &[u8]) -> Result<(String, &[u8]), Malformed> {
    let mut bytes = Bytes(body);
    let label = bytes.short_text().ok_or(Malformed("JOB"))?;
    Ok((label, bytes.0))
}

/// How long a payload is that came in a memory file: what is in its place.
pub(super) fn read_length(in_place: &[u8]) -> Result<u64, Malformed> {
    in_place.try_into().map(u64::from_le_bytes).map_err(|_| Malformed("JOB or RESULT"))
}

/// Why a job failed without a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// In its own terms.
    Failed = 0,
    PayloadUnknown = 1,
    ResultUnsendable = 2,
    ResultTooLarge = 3,
}

/// Puts a FAILURE whose text is cut to what the body may be.
pub(super) fn put_failure(out: &mut Vec<u8>, job: u64, why: Why, said: &str, limit: u32) {
    let at = frame::begin(out, Kind::Failure, job);
    out.push(why as u8);
    let room = (limit as usize).saturating_sub(1);
    out.extend_from_slice(cut(said, room.min(TEXT)).as_bytes());
    frame::end(out, at, u32::MAX).expect("it was cut");
}

pub(super) fn read_failure(body: &[u8]) -> Result<(Why, String), Malformed> {
    let mut bytes = Bytes(body);
    let why = match bytes.u8() {
        Some(0) => Why::Failed,
        Some(1) => Why::PayloadUnknown,
        Some(2) => Why::ResultUnsendable,
        Some(3) => Why::ResultTooLarge,
        _ => return Err(Malformed("FAILURE")),
    };
    Ok((why, text(bytes.0)))
}

/// What a panic said, where it was, and how it came there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Panicked {
    pub(super) message: String,
    pub(super) location: Option<String>,
    pub(super) backtrace: Option<String>,
}

impl Panicked {
    /// Puts a PANIC whose texts are cut to what the body may be: the message goes before the backtrace, and the place, which is short, before both.
    pub(super) fn put(&self, out: &mut Vec<u8>, job: u64, limit: u32) {
        let at = frame::begin(out, Kind::Panic, job);
        let room = (limit as usize).saturating_sub(3 * size_of::<u32>());
        let location = cut(self.location.as_deref().unwrap_or_default(), LONG_TEXT.min(room / 4));
        let room = room - location.len();
        let message = cut(&self.message, LONG_TEXT.min(room));
        let backtrace = cut(self.backtrace.as_deref().unwrap_or_default(), LONG_TEXT.min(room - message.len()));
        for text in [message, location, backtrace] {
            put_long(out, text);
        }
        frame::end(out, at, u32::MAX).expect("it was cut");
    }

    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(body);
        let known = |text: String| (!text.is_empty()).then_some(text);
        let parts = (|| {
            let (message, location, backtrace) = (bytes.long_text()?, bytes.long_text()?, bytes.long_text()?);
            bytes.end()?;
            Some(Self { message, location: known(location), backtrace: known(backtrace) })
        })();
        parts.ok_or(Malformed("PANIC"))
    }
}

/// A line of a worker's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Log {
    pub(super) level: u8,
    pub(super) target: String,
    /// The names of the spans that it is in, the outermost first, with a colon between two; empty: none.
    pub(super) spans: String,
    pub(super) text: String,
}

impl Log {
    /// Puts a LOG that is cut to what the body may be.
    pub(super) fn put(&self, out: &mut Vec<u8>, job: u64, limit: u32) {
        let at = frame::begin(out, Kind::Log, job);
        let room = (limit as usize).saturating_sub(1 + 2 * size_of::<u16>());
        let has_spans = !self.spans.is_empty();
        out.push(self.level | if has_spans { SPANS } else { 0 });
        put_short(out, &self.target, room / 4);
        if has_spans {
            put_short(out, &self.spans, PATH.min(room / 4));
        }
        let room = (limit as usize).saturating_sub(out.len() - at - frame::HEADER);
        out.extend_from_slice(cut(&self.text, room.min(TEXT)).as_bytes());
        frame::end(out, at, u32::MAX).expect("it was cut");
    }

    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(body);
        let parts = (|| {
            let (level, target) = (bytes.u8()?, bytes.short_text()?);
            let spans = if level & SPANS == 0 { String::new() } else { bytes.short_text()? };
            let level = level & !SPANS;
            (1..=TRACING).contains(&level).then(|| Self { level, target, spans, text: text(bytes.0) })
        })();
        parts.ok_or(Malformed("LOG"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::process::frame::HEADER;
    use proptest::prelude::*;

    /// More than anything has here.
    const LIMIT: u32 = 4 << 20;

    fn body(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out.split_off(HEADER)
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in(
            (a, b, c) in (".{0,40}", ".{1,40}", ".{1,40}"),
            level in 1..=TRACING,
            (limit, slot, generation) in any::<(u32, u32, u32)>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let welcome = Welcome { version: VERSION, level, shares: limit % 2 == 0, limit, slot, generation, pool: a.clone() };
            prop_assert_eq!(Welcome::read(&body(|out| welcome.put(out))), Ok(welcome));
            let panicked = Panicked { message: a.clone(), location: Some(b.clone()), backtrace: Some(c) };
            prop_assert_eq!(Panicked::read(&body(|out| panicked.put(out, 1, LIMIT))), Ok(panicked));
            for spans in [&a, &b] {
                let log = Log { level, target: a.clone(), spans: spans.clone(), text: b.clone() };
                prop_assert_eq!(Log::read(&body(|out| log.put(out, 1, LIMIT))), Ok(log));
            }
            let failure = body(|out| put_failure(out, 1, Why::PayloadUnknown, &b, LIMIT));
            prop_assert_eq!(read_failure(&failure), Ok((Why::PayloadUnknown, b)));
            for shares in [false, true] {
                let hello = body(|out| put_hello(out, &payload, shares));
                prop_assert_eq!(read_hello(&hello), Ok(Hello { version: VERSION, shares, identity: &payload }));
            }
            let job = body(|out| {
                let at = begin_job(out, 1, &a, slot as u16);
                out.extend_from_slice(&payload);
                frame::end(out, at, u32::MAX).expect("short");
            });
            prop_assert_eq!(read_job(&job), Ok((a, &payload[..])));
        }

        /// However long it is, it does not cost the worker that says it its life.
        #[test]
        fn what_a_worker_says_is_cut_to_the_limit_and_its_beginning_is_kept(
            limit in 4_u32 << 10..20 << 10,
            (message, location, backtrace) in ("[aé]{0,9000}", "[aé]{0,9000}", "[aé]{0,9000}"),
        ) {
            let fits = |body: &[u8]| body.len() <= limit as usize;
            let panicked = Panicked { message: message.clone(), location: Some(location.clone()), backtrace: Some(backtrace.clone()) };
            let bytes = body(|out| panicked.put(out, 1, limit));
            let read = Panicked::read(&bytes).expect("it is one");
            prop_assert!(fits(&bytes) && message.starts_with(&read.message));
            prop_assert!(read.message.len() >= message.len().min(2 << 10), "before what helps less");
            prop_assert!(location.starts_with(read.location.as_deref().unwrap_or_default()));
            prop_assert!(backtrace.starts_with(read.backtrace.as_deref().unwrap_or_default()));
            let log = Log { level: 1, target: location.clone(), spans: backtrace.clone(), text: message.clone() };
            let bytes = body(|out| log.put(out, 1, limit));
            let read = Log::read(&bytes).expect("it is one");
            prop_assert!(fits(&bytes) && location.starts_with(&read.target) && message.starts_with(&read.text));
            prop_assert!(backtrace.starts_with(&read.spans) && read.spans.len() >= backtrace.len().min(1 << 9));
            prop_assert!(read.text.len() >= message.len().min(2_000), "however long the target, and the spans");
            let bytes = body(|out| put_failure(out, 1, Why::Failed, &message, limit));
            let (_, read) = read_failure(&bytes).expect("it is one");
            prop_assert!(fits(&bytes) && message.starts_with(&read) && read.len() >= message.len().min(2 << 10));
        }

        #[test]
        fn any_bytes_are_a_body_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Welcome::read(&bytes), Panicked::read(&bytes), Log::read(&bytes));
            let _ = (read_failure(&bytes), read_hello(&bytes), read_job(&bytes), read_length(&bytes));
        }
    }

    /// Of each kind that has one: a body that is too short, one that is too long, and bytes that mean nothing.
    #[test]
    fn a_body_is_as_its_kind_says_or_malformed() {
        let welcome = |level: u8, may: u8| [&[1, 0, level, may][..], &[0; 12], b"pool"].concat();
        let hello = |magic: &[u8], can: u8, zero: u8| [magic, &[1, 0, can, zero], b"who"].concat();
        let panic = |lengths: [u32; 3], rest: &[u8]| [lengths.map(u32::to_le_bytes).concat(), rest.to_vec()].concat();
        let log = |level: u8, target: u16, rest: &[u8]| [&[level][..], &target.to_le_bytes(), rest].concat();
        let is_one = |kind: Kind, body: &[u8]| match kind {
            Kind::Welcome => Welcome::read(body).is_ok(),
            Kind::Job => read_job(body).is_ok(),
            Kind::Hello => read_hello(body).is_ok(),
            Kind::Result => read_length(body).is_ok(),
            Kind::Failure => read_failure(body).is_ok(),
            Kind::Panic => Panicked::read(body).is_ok(),
            _ => Log::read(body).is_ok(),
        };
        let good = [
            (Kind::Welcome, welcome(0, 0)),
            (Kind::Welcome, welcome(5, 1)),
            (Kind::Welcome, welcome(1, 0)[..16].to_vec()),
            (Kind::Job, b"\x02\0dnspayload".to_vec()),
            (Kind::Job, b"\0\0".to_vec()),
            (Kind::Hello, hello(b"MPND", 0, 0)),
            (Kind::Hello, hello(b"MPND", 1, 0)[..8].to_vec()),
            // Refused by its number, and not for what nobody here can read.
            (Kind::Hello, b"MPND\x02\0\xff\xff".to_vec()),
            (Kind::Result, vec![0; 8]),
            (Kind::Failure, b"\x03why".to_vec()),
            (Kind::Failure, b"\0".to_vec()),
            (Kind::Panic, panic([0; 3], b"")),
            (Kind::Log, log(1, 1, b"ttext")),
            (Kind::Log, log(5, 0, b"")),
            (Kind::Log, log(0x81, 1, b"t\x05\0outertext")),
            (Kind::Log, log(0x85, 0, b"\0\0")),
        ];
        for (kind, body) in &good {
            assert!(is_one(*kind, body), "{kind:?} {body:?}");
        }
        let bad = [
            (Kind::Welcome, welcome(1, 0)[..15].to_vec()),
            (Kind::Welcome, welcome(6, 0)),
            (Kind::Welcome, welcome(1, 2)),
            (Kind::Welcome, welcome(1, 3)),
            (Kind::Job, b"".to_vec()),
            (Kind::Job, b"\x04\0dns".to_vec()),
            (Kind::Hello, hello(b"MPND", 0, 0)[..7].to_vec()),
            (Kind::Hello, hello(b"MPNX", 0, 0)),
            (Kind::Hello, hello(b"MPND", 2, 0)),
            (Kind::Hello, hello(b"MPND", 3, 0)),
            (Kind::Hello, hello(b"MPND", 0, 1)),
            (Kind::Result, vec![0; 7]),
            (Kind::Result, vec![0; 9]),
            (Kind::Failure, b"".to_vec()),
            (Kind::Failure, b"\x04why".to_vec()),
            (Kind::Panic, panic([0; 3], b"")[..11].to_vec()),
            (Kind::Panic, panic([0; 3], b"x")),
            (Kind::Panic, panic([u32::MAX, 0, 0], b"x")),
            (Kind::Log, log(0, 0, b"text")),
            (Kind::Log, log(6, 0, b"text")),
            (Kind::Log, log(3, 6, b"text")),
            (Kind::Log, b"\x03\0".to_vec()),
            (Kind::Log, log(0x80, 0, b"\0\0")),
            (Kind::Log, log(0x86, 0, b"\0\0")),
            (Kind::Log, log(0x83, 0, b"\0")),
            (Kind::Log, log(0x83, 0, b"\x06\0outer")),
        ];
        for (kind, body) in &bad {
            assert!(!is_one(*kind, body), "{kind:?} {body:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_its_place_is_cut_between_characters() {
        let long = "é".repeat(40_000);
        let job = body(|out| {
            let at = begin_job(out, 1, &long, 0);
            frame::end(out, at, u32::MAX).expect("short");
        });
        let (label, payload) = read_job(&job).expect("a job");
        assert_eq!((label.len(), payload.len()), (65_534, 0));
    }
}
