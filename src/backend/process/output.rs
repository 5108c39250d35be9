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

    /// True if one more line may be passed on. Says first how many were not, if there were any.
    pub(super) fn spend(&mut self, dropped: impl FnOnce(u64)) -> bool {
        let now = self.clock.now();
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.spent) = (now, 0);
            match std::mem::take(&mut self.dropped) {
                0 => {}
                lines => dropped(lines),
            }
        }
        let may = self.spent < LINES_A_SECOND;
        self.spent = self.spent.saturating_add(1);
        self.dropped += u64::from(!may);
        may
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
}
