//! What a child prints: read as it comes, cut into lines, passed on with a bound, and its last words kept.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::sync::{Arc, Clock, Timestamp};

/// No longer line is passed on.
const LINE: usize = 1 << 10;
/// What is kept of standard error.
const LAST_LINES: usize = 20;
const LAST_BYTES: usize = 4 << 10;
/// So many lines of one child a second are passed on.
const LINES_A_SECOND: u32 = 1_000;

/// Bounds what a child's output and log cost others.
#[derive(Debug)]
pub(super) struct Allowance {
    clock: Clock,
    since: Timestamp,
    spent: u32,
    dropped: u64,
}

impl Allowance {
    pub(super) fn new(clock: Clock) -> Self {
        Self { since: clock.now(), clock, spent: 0, dropped: 0 }
    }

    /// True if one more line may be passed on. Says first how many were not, if their second is over.
    pub(super) fn spend(&mut self, dropped: impl FnOnce(u64)) -> bool {
        let now = self.clock.now();
        if now >= self.over() {
            (self.since, self.spent) = (now, 0);
            self.settle(dropped);
        }
        let may = self.spent < LINES_A_SECOND;
        self.spent = self.spent.saturating_add(1);
        self.dropped += u64::from(!may);
        may
    }

    /// When it is to be said how many lines were not passed on, whether or not more come. Never while all were.
    pub(super) fn due(&self) -> Timestamp {
        if self.dropped == 0 { Timestamp::NEVER } else { self.over() }
    }

    /// Says how many lines were not passed on, if that has not been said.
    pub(super) fn settle(&mut self, dropped: impl FnOnce(u64)) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            lines => dropped(lines),
        }
    }

    fn over(&self) -> Timestamp {
        self.since.after(Duration::from_secs(1))
    }
}

/// One of a child's two streams.
#[derive(Debug)]
pub(super) struct Stream<R> {
    from: Option<R>,
    /// A line that has begun; what is beyond [`LINE`] of it is thrown away.
    line: Vec<u8>,
}

impl<R: Read + AsFd> Stream<R> {
    pub(super) fn new(from: Option<R>) -> Self {
        // A pipe of ours: setting this cannot fail.
        if let Some(pipe) = &from {
            let _ = rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK);
        }
        Self { from, line: Vec::new() }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there, at most a pipe's worth, and hands on the lines that are whole.
    pub(super) fn read(&mut self, mut each: impl FnMut(&str)) {
        let mut chunk = [0; 4096];
        for _ in 0..16 {
            let Some(from) = &mut self.from else { return };
            match from.read(&mut chunk) {
                Ok(0) => self.close(&mut each),
                Ok(n) => self.cut(&chunk[..n], &mut each),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.close(&mut each),
            }
        }
    }

    fn close(&mut self, each: &mut impl FnMut(&str)) {
        self.from = None;
        if !self.line.is_empty() {
            each(&String::from_utf8_lossy(&std::mem::take(&mut self.line)));
        }
    }

    fn cut(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            each(String::from_utf8_lossy(&self.line).trim_end_matches('\r'));
            self.line.clear();
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The end of what a child printed on standard error.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: VecDeque<String>,
    memory: bool,
}

impl LastWords {
    pub(super) fn push(&mut self, line: &str) {
        // What std says before it aborts for want of memory; a backtrace may follow.
        self.memory |= line.starts_with("memory allocation of ") && line.ends_with(" bytes failed");
        let Self { lines, .. } = self;
        lines.push_back(line.to_owned());
        while lines.len() > LAST_LINES || lines.iter().map(|line| line.len() + 1).sum::<usize>() > LAST_BYTES {
            lines.pop_front();
        }
    }

    /// It said that it has no memory.
    pub(super) fn told_of_memory(&self) -> bool {
        self.memory
    }

    pub(super) fn text(&self) -> Arc<str> {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        Arc::from(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_the_last_words_are_bounded() {
        let (mut stream, mut lines) = (Stream::<std::fs::File>::new(None), Vec::new());
        let mut each = |line: &str| lines.push(line.to_owned());
        stream.cut(b"one\ntw", &mut each);
        stream.cut(b"o\r\n", &mut each);
        stream.cut(&[b'x'; 3 * LINE], &mut each);
        stream.cut(b"\nhalf", &mut each);
        stream.close(&mut each);
        assert_eq!(
            (lines[0].as_str(), lines[1].as_str(), lines[2].len(), lines[3].as_str()),
            ("one", "two", LINE, "half")
        );
        let mut last = LastWords::default();
        for n in 0..100 {
            last.push(&format!("{n} {}", "y".repeat(500)));
        }
        assert!(last.text().len() <= LAST_BYTES && last.text().lines().next_back().unwrap().starts_with("99 "));
    }

    /// Whatever a child prints, and however many lines that is, it is one line that is kept of it, and that of a thousand bytes.
    #[test]
    fn a_stream_keeps_no_more_than_a_line() {
        let (mut stream, mut lines) = (Stream::<std::fs::File>::new(None), 0);
        for _ in 0..1_000 {
            stream.cut(&[b'\n'; 4096], &mut |_| lines += 1);
            stream.cut(&[b'x'; 4096], &mut |_| lines += 1);
        }
        assert_eq!(lines, 1_000 * 4096);
        assert!(stream.line.capacity() <= 2 * LINE, "{}", stream.line.capacity());
    }

    #[test]
    #[cfg(feature = "testing")]
    fn of_a_second_the_first_lines_are_passed_on_and_how_many_were_not_is_said_once() {
        let time = Arc::new(crate::sync::Settable::default());
        let mut allowance = Allowance::new(Clock::settable(time.clone()));
        let second = Duration::from_secs(1);
        let nothing = |lines: u64| panic!("{lines} were dropped");
        for _ in 0..LINES_A_SECOND {
            assert!(allowance.spend(nothing));
        }
        assert_eq!(allowance.due(), Timestamp::NEVER);
        allowance.settle(nothing);
        for _ in 0..7 {
            assert!(!allowance.spend(nothing));
        }
        assert_eq!(allowance.due(), Timestamp::default().after(second), "it is said then, if no more come");
        time.advance(second);
        let mut said = Vec::new();
        assert!(allowance.spend(|lines| said.push(lines)));
        assert_eq!((said.as_slice(), allowance.due()), (&[7][..], Timestamp::NEVER));
        for n in 1..LINES_A_SECOND + 3 {
            assert_eq!(allowance.spend(nothing), n < LINES_A_SECOND);
        }
        allowance.settle(|lines| said.push(lines));
        assert_eq!((said.as_slice(), allowance.due()), (&[7, 3][..], Timestamp::NEVER));
    }
}
