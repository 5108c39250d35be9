//! Frames: a length, a kind, a job's number, a body. `docs/protocol.md` is the page for those who write workers.
//!
//! Pure: bytes in, frames out. What a decoder holds grows with what has arrived, never with what a header promises.

use std::ops::Range;
use std::os::fd::OwnedFd;

use super::memory::Descriptor;

/// Of a header.
pub(super) const HEADER: usize = 16;
/// What is read in one go at least.
pub(super) const CHUNK: usize = 64 << 10;

/// What a frame is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Welcome = 1,
    Job = 2,
    Cancel = 3,
    Stop = 4,
    Recall = 5,
    Hello = 129,
    Ready = 130,
    Ack = 131,
    Beat = 132,
    Result = 133,
    Failure = 134,
    Panic = 135,
    Log = 136,
    Goodbye = 137,
    Recalled = 138,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Welcome,
            2 => Self::Job,
            3 => Self::Cancel,
            4 => Self::Stop,
            5 => Self::Recall,
            129 => Self::Hello,
            130 => Self::Ready,
            131 => Self::Ack,
            132 => Self::Beat,
            133 => Self::Result,
            134 => Self::Failure,
            135 => Self::Panic,
            136 => Self::Log,
            137 => Self::Goodbye,
            138 => Self::Recalled,
            _ => return None,
        })
    }

    /// True if its frame has no body.
    fn is_bare(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::Stop
                | Self::Ready
                | Self::Ack
                | Self::Beat
                | Self::Goodbye
                | Self::Recall
                | Self::Recalled
        )
    }

    /// True if its frame may be about this job; 0: about none.
    fn may_be_about(self, job: u64) -> bool {
        match self {
            Self::Welcome | Self::Stop | Self::Hello | Self::Ready | Self::Goodbye => job == 0,
            Self::Log => true,
            Self::Job
            | Self::Cancel
            | Self::Ack
            | Self::Beat
            | Self::Result
            | Self::Failure
            | Self::Panic
            | Self::Recall
            | Self::Recalled => job != 0,
        }
    }
}

/// What is not a frame. There is no way to go on after it: where the next one begins is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Garbage {
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    #[error("a frame of {length} bytes, where {limit} are allowed")]
    TooLong { length: u32, limit: u32 },
    #[error("a frame header that is not zero where it should be")]
    Reserved,
    #[error("a {kind:?} frame about job #{job}")]
    About { kind: Kind, job: u64 },
    #[error("a {kind:?} frame with a body of {length} bytes, where there is none")]
    NotBare { kind: Kind, length: u32 },
    #[error("more than one descriptor")]
    Descriptors,
    #[error("a descriptor that belongs to no frame")]
    Stray,
    #[error("a frame that speaks of a descriptor, which did not come")]
    Unaccompanied,
}

/// One frame. Its body lies in the decoder: [`Decoder::body`].
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) job: u64,
    /// In a JOB: how many of its deliveries were lost before.
    pub(super) lost: u16,
    /// A JOB that is handed over before the one in hand is over.
    pub(super) early: bool,
    /// What came with it: its payload is in there, and the body has how long that is in its place.
    pub(super) enclosed: Option<Descriptor>,
    body: Range<usize>,
}

/// In the header of a JOB or RESULT whose payload is in a memory file.
const ENCLOSED: u8 = 1;
/// In that of a JOB that is handed over early.
const EARLY: u8 = 2;

/// A frame's kind, job, lost deliveries, whether it is early, whether something came with it, and how long its body is.
#[cfg(any(test, fuzzing))]
pub(super) type Apart = (Kind, u64, u16, bool, bool, usize);

impl Frame {
    pub(super) fn is(&self, kind: Kind, job: u64) -> bool {
        self.kind == kind && self.job == job
    }

    /// The frame without its place in a decoder, to be compared.
    #[cfg(any(test, fuzzing))]
    pub(super) fn apart(&self) -> Apart {
        (self.kind, self.job, self.lost, self.early, self.enclosed.is_some(), self.body.len())
    }
}

/// Begins a frame at the end of `out`; what is appended until [`end`] is its body. Gives where it begins.
pub(super) fn begin(out: &mut Vec<u8>, kind: Kind, job: u64) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8, 0, 0, 0]);
    out.extend_from_slice(&job.to_le_bytes());
    at
}

/// Ends the frame that begins at `at`, unless its body is longer than `limit`: then it is taken back, and its length is the error.
pub(super) fn end(out: &mut Vec<u8>, at: usize, limit: u32) -> Result<(), usize> {
    let length = out.len() - at - HEADER;
    match u32::try_from(length) {
        Ok(fits) if fits <= limit => out[at..at + 4].copy_from_slice(&fits.to_le_bytes()),
        _ => {
            out.truncate(at);
            return Err(length);
        }
    }
    Ok(())
}

/// Ends the frame that begins at `at`, whose payload of `length` bytes is in a memory file.
pub(super) fn enclose(out: &mut Vec<u8>, at: usize, length: u64) {
    out[at + 5] = ENCLOSED;
    out.extend_from_slice(&length.to_le_bytes());
    end(out, at, u32::MAX).expect("a short body");
}

/// Marks the JOB that begins at `at` as handed over early.
pub(super) fn mark_early(out: &mut [u8], at: usize) {
    out[at + 5] = EARLY;
}

/// Appends a frame with a body that is short.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, job: u64, body: &[u8]) {
    let at = begin(out, kind, job);
    out.extend_from_slice(body);
    end(out, at, u32::MAX).expect("a short body");
}

/// Bytes that have arrived, and the frames in them.
#[derive(Debug)]
pub(super) struct Decoder {
    limit: u32,
    /// What has arrived and is not used up: from `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// Memory files may come along.
    shares: bool,
    /// One that has, and whose frame has not been taken.
    came: Option<Descriptor>,
    too_many: bool,
}

impl Decoder {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, bytes: Vec::new(), start: 0, shares: false, came: None, too_many: false }
    }

    /// From now on memory files may come along, if so.
    pub(super) fn share(&mut self, shares: bool) {
        self.shares = shares;
    }

    pub(super) fn shares(&self) -> bool {
        self.shares
    }

    /// Takes what came along with bytes, of which one is used. `lacking`: more came than this process was given.
    pub(super) fn take_in(&mut self, descriptors: impl IntoIterator<Item = OwnedFd>, lacking: bool) {
        let mut came = descriptors.into_iter().map(Descriptor::Here).peekable();
        let no_room = (lacking && came.peek().is_none()).then_some(Descriptor::NoRoom);
        self.too_many |= lacking && no_room.is_none();
        for descriptor in came.chain(no_room) {
            self.too_many |= self.came.is_some();
            self.came.get_or_insert(descriptor);
        }
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// As much as a frame, and what may be on its way after it.
    pub(super) fn enough(&self) -> usize {
        HEADER + self.limit as usize + (1 << 20)
    }

    /// True if what has arrived and is not used up is more than that.
    pub(super) fn holds_enough(&self) -> bool {
        self.bytes.len() - self.start > self.enough()
    }

    /// Where to append what arrives; it has room, for no more than has arrived so far and a chunk.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            // A large frame's memory is not kept for small ones.
            self.bytes.shrink_to(4 * CHUNK);
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let missing = self.missing();
        self.bytes.reserve_exact(missing.clamp(CHUNK, self.bytes.len().max(CHUNK)));
        &mut self.bytes
    }

    /// How many bytes the frame that has begun to arrive lacks.
    fn missing(&self) -> usize {
        let rest = &self.bytes[self.start..];
        let Some(header) = rest.first_chunk::<HEADER>() else { return 0 };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        (HEADER + length.min(self.limit) as usize).saturating_sub(rest.len())
    }

    /// The next frame, if all of it is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Garbage> {
        if self.too_many {
            return Err(Garbage::Descriptors);
        }
        let rest = &self.bytes[self.start..];
        if rest.is_empty() && self.came.is_some() {
            return Err(Garbage::Stray);
        }
        let Some(&[l0, l1, l2, l3, kind, r0, r1, r2, ref job @ ..]) = rest.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        // Judged by the header alone: nobody waits for four gigabytes to find out.
        let kind = Kind::of(kind).ok_or(Garbage::Kind(kind))?;
        if length > self.limit {
            return Err(Garbage::TooLong { length, limit: self.limit });
        }
        let lost = u16::from_le_bytes([r1, r2]);
        let encloses = r0 == ENCLOSED && self.shares && matches!(kind, Kind::Job | Kind::Result);
        let early = r0 == EARLY && kind == Kind::Job;
        if r0 != 0 && !encloses && !early || lost != 0 && kind != Kind::Job {
            return Err(Garbage::Reserved);
        }
        let job = u64::from_le_bytes(*job);
        if !kind.may_be_about(job) {
            return Err(Garbage::About { kind, job });
        }
        if kind.is_bare() && length > 0 {
            return Err(Garbage::NotBare { kind, length });
        }
        let begin = self.start + HEADER;
        let body = begin..begin + length as usize;
        if self.bytes.len() < body.end {
            return Ok(None);
        }
        self.start = body.end;
        let enclosed = if encloses { Some(self.came.take().ok_or(Garbage::Unaccompanied)?) } else { None };
        Ok(Some(Frame { kind, job, lost, early, enclosed, body }))
    }

    /// True if what has arrived and is not used up has those bytes in it, whatever they are there.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        self.bytes[self.start..].windows(bytes.len()).any(|window| window == bytes)
    }

    /// What it has reserved.
    #[cfg(any(test, fuzzing))]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The body of a frame, until more is read.
    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        &self.bytes[frame.body.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u32 = 1 << 20;

    fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<(Kind, u64, Vec<u8>)>, Garbage> {
        decoder.room().extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next()? {
            frames.push((frame.kind, frame.job, decoder.body(&frame).to_vec()));
        }
        Ok(frames)
    }

    fn kinds() -> Vec<Kind> {
        (0..=u8::MAX).filter_map(Kind::of).collect()
    }

    fn one(kind: Kind, job: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind, job, body);
        out
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec((0_usize..15, 1..=u64::MAX, prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            cuts in prop::collection::vec(1_usize..97, 1..50),
        ) {
            let fits = |(kind, job, body): (usize, u64, Vec<u8>)| {
                let kind = kinds()[kind];
                let job = if kind.may_be_about(job) { job } else { 0 };
                (kind, job, if kind.is_bare() { Vec::new() } else { body })
            };
            let sent: Vec<_> = frames.into_iter().map(fits).collect();
            let mut bytes: Vec<u8> = sent.iter().flat_map(|(kind, job, body)| one(*kind, *job, body)).collect();
            let (mut decoder, mut got, mut cuts) = (Decoder::new(LIMIT), Vec::new(), cuts.into_iter().cycle());
            while !bytes.is_empty() {
                let rest = bytes.split_off(cuts.next().expect("a cycle").min(bytes.len()));
                got.extend(decode(&mut decoder, &bytes).expect("frames"));
                bytes = rest;
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn any_bytes_are_frames_or_garbage_and_cost_no_more_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let mut decoder = Decoder::new(LIMIT);
            for piece in bytes.chunks(61) {
                if decode(&mut decoder, piece).is_err() {
                    break;
                }
                prop_assert!(decoder.bytes.capacity() <= 2 * bytes.len() + 2 * CHUNK);
            }
        }
    }

    #[test]
    fn a_promise_of_four_gigabytes_is_refused_by_its_header() {
        let mut bytes = one(Kind::Result, 7, b"");
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = Decoder::new(LIMIT);
        assert_eq!(decode(&mut decoder, &bytes), Err(Garbage::TooLong { length: u32::MAX, limit: LIMIT }));
        assert!(decoder.bytes.capacity() <= 2 * CHUNK);
    }

    #[test]
    fn a_promise_within_the_limit_reserves_nothing_that_has_not_come() {
        let mut decoder = Decoder::new(u32::MAX);
        let mut bytes = one(Kind::Result, 7, b"");
        bytes[..4].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
        assert_eq!(decode(&mut decoder, &bytes), Ok(vec![]));
        decoder.room();
        assert!(decoder.bytes.capacity() <= 4 * CHUNK, "{}", decoder.bytes.capacity());
    }

    #[test]
    fn unknown_kinds_and_reserved_bytes_are_garbage() {
        for kind in [0_u8, 6, 128, 139, 255] {
            let mut bytes = one(Kind::Ack, 1, b"");
            bytes[4] = kind;
            assert_eq!(decode(&mut Decoder::new(LIMIT), &bytes), Err(Garbage::Kind(kind)));
        }
        for reserved in 5..8 {
            let mut bytes = one(Kind::Ack, 1, b"");
            bytes[reserved] = 1;
            assert_eq!(decode(&mut Decoder::new(LIMIT), &bytes), Err(Garbage::Reserved));
        }
    }

    /// Of each kind: what its header may say, and what it may not.
    #[test]
    fn a_header_says_what_its_kind_allows_and_nothing_else() {
        use Kind::{
            Ack, Beat, Cancel, Failure, Goodbye, Hello, Job, Log, Panic, Ready, Recall, Recalled, Result, Stop, Welcome,
        };
        let table = [
            // Kind, may be about no job, may be about one, may have a body, may speak of lost deliveries, of a memory file.
            (Welcome, true, false, true, false, false),
            (Job, false, true, true, true, true),
            (Cancel, false, true, false, false, false),
            (Stop, true, false, false, false, false),
            (Recall, false, true, false, false, false),
            (Hello, true, false, true, false, false),
            (Ready, true, false, false, false, false),
            (Ack, false, true, false, false, false),
            (Beat, false, true, false, false, false),
            (Result, false, true, true, false, true),
            (Failure, false, true, true, false, false),
            (Panic, false, true, true, false, false),
            (Log, true, true, true, false, false),
            (Goodbye, true, false, false, false, false),
            (Recalled, false, true, false, false, false),
        ];
        assert_eq!(table.map(|row| row.0).to_vec(), kinds());
        for (kind, none, one_job, body, lost, file) in table {
            let verdict = |job: u64, body: &[u8], change: &[(usize, u8)]| {
                let mut bytes = one(kind, job, body);
                change.iter().for_each(|(at, byte)| bytes[*at] = *byte);
                let mut decoder = Decoder::new(LIMIT);
                decoder.share(true);
                decode(&mut decoder, &bytes).err()
            };
            let job = u64::from(one_job);
            let unless = |fits: bool, garbage| (!fits).then_some(garbage);
            assert_eq!(verdict(0, b"", &[]), unless(none, Garbage::About { kind, job: 0 }), "{kind:?}");
            assert_eq!(verdict(9, b"", &[]), unless(one_job, Garbage::About { kind, job: 9 }), "{kind:?}");
            assert_eq!(verdict(job, b"x", &[]), unless(body, Garbage::NotBare { kind, length: 1 }), "{kind:?}");
            for at in [6, 7] {
                assert_eq!(verdict(job, b"", &[(at, 1)]), unless(lost, Garbage::Reserved), "{kind:?}");
            }
            // One that may speak of a file is believed that one comes along.
            let spoke = if file { Garbage::Unaccompanied } else { Garbage::Reserved };
            assert_eq!(verdict(job, b"", &[(5, 1)]), Some(spoke), "{kind:?}");
            // A job alone may be handed over early.
            assert_eq!(verdict(job, b"", &[(5, 2)]), unless(kind == Job, Garbage::Reserved), "{kind:?}");
            assert_eq!(verdict(job, b"", &[(5, 3)]), Some(Garbage::Reserved), "{kind:?}");
        }
    }

    #[test]
    fn half_a_frame_is_none() {
        let bytes = one(Kind::Result, 9, b"0123456789");
        let mut decoder = Decoder::new(LIMIT);
        for byte in &bytes[..bytes.len() - 1] {
            assert_eq!(decode(&mut decoder, &[*byte]), Ok(vec![]));
        }
        assert_eq!(decode(&mut decoder, b"9"), Ok(vec![(Kind::Result, 9, b"0123456789".to_vec())]));
    }

    #[test]
    fn a_body_over_the_limit_is_not_sent() {
        let mut out = one(Kind::Ack, 1, b"");
        let at = begin(&mut out, Kind::Result, 1);
        out.extend_from_slice(&[0; 11]);
        assert_eq!(end(&mut out, at, 10), Err(11));
        assert_eq!(out, one(Kind::Ack, 1, b""), "and what was there before it still is");
    }

    #[test]
    fn the_memory_of_a_large_frame_is_given_back() {
        let mut decoder = Decoder::new(LIMIT);
        assert_eq!(decode(&mut decoder, &one(Kind::Result, 1, &[1; LIMIT as usize])).map(|got| got.len()), Ok(1));
        decoder.room();
        assert!(decoder.bytes.capacity() <= 5 * CHUNK, "{}", decoder.bytes.capacity());
    }
}
