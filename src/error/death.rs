//! How a worker's process ended.

use std::fmt;

use crate::sync::Arc;

/// A child process that died unasked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Death {
    /// Which process it was.
    pub pid: u32,
    /// What it died of.
    pub cause: DeathCause,
    /// The last that it printed on standard error, if that was captured: at most 4 KiB, and 20 lines.
    pub last_words: Arc<str>,
}

/// What a child process died of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeathCause {
    /// It exited, with this code.
    Exited(i32),
    /// It was ended by this signal. Also one that ran out of something, where nothing tells of that.
    Signalled(i32),
    /// It wanted more memory than it may have, or than there is. Two things tell of that: it aborted after Rust's standard library had said so on its standard
    /// error, if that is [captured](crate::process::Output::Captured); or it was ended by SIGKILL, not of millpond's, and the kernel has killed for want of memory
    /// in this process's control group (of version 2) since the child was started. One such kill is put down to one child, and none to a child that dies ten seconds after the last one was
    /// seen, which they are as any child is started or dies of SIGKILL. Those in groups below count only where the kernel (before 5.2) does not tell them apart. Which process
    /// it was the kernel does not say: had it been another one of the group, say a grandchild, the next child that somebody kills is taken for it, unless it was seen before that.
    /// And a child that was moved to another group is not known to have run out: its cause is [`Signalled`](Self::Signalled).
    OutOfMemory,
    /// It used up the processor time that it may have ([`ChildOptions::cpu_time`](crate::process::ChildOptions::cpu_time)): it was ended by SIGXCPU, or by
    /// SIGKILL, not of millpond's, when it had used so much.
    OutOfCpuTime,
    /// It broke the protocol, and was killed for that: also one that closed its socket and 100 ms later was not about to end (on Linux; elsewhere that is [`Signalled`](Self::Signalled)).
    BrokeProtocol(Arc<str>),
    /// Somebody else of this process reaped it.
    Unknown,
}

impl Death {
    pub(crate) fn new(pid: u32, cause: DeathCause, last_words: Arc<str>) -> Self {
        Self { pid, cause, last_words }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {}", self.pid, self.cause)?;
        match self.last_words.lines().next_back() {
            Some(last) => write!(f, "; its last words: {last}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signalled(signal) => match name_of(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::OutOfCpuTime => f.write_str("ran out of processor time"),
            Self::BrokeProtocol(how) => write!(f, "broke the protocol: {how}"),
            Self::Unknown => f.write_str("ended, and nobody knows how"),
        }
    }
}

/// The signals whose numbers are the same everywhere.
fn name_of(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}
