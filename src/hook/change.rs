//! What becomes of hooks themselves: who came and went, and who did not answer.

use std::fmt;
use std::time::Duration;

/// What became of a pool's hooks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HookChange {
    /// There is one more.
    Added,
    /// It took the place of one of that name.
    Replaced,
    /// It is gone.
    Removed,
}

impl fmt::Display for HookChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
        })
    }
}

/// Why a hook's default counted instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HookFault {
    /// It did not answer within its limit.
    Late(Duration),
    /// It panicked, with this message.
    Panicked(String),
    /// It dropped the question, or its actor is gone, or the system gave it no thread.
    NoAnswer,
    /// It asked for a delay of over a day.
    AbsurdDelay(Duration),
    /// It has not dealt with 1,024 questions that lie in its mailbox. It is asked nothing more until it has dealt with some of them.
    Choked,
}

impl fmt::Display for HookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(limit) => write!(f, "it did not answer within {limit:?}"),
            Self::Panicked(message) => write!(f, "it panicked: {message}"),
            Self::NoAnswer => f.write_str("it gave no answer"),
            Self::AbsurdDelay(delay) => write!(f, "it asked for a delay of {delay:?}"),
            Self::Choked => f.write_str("it has not dealt with 1,024 questions in its mailbox"),
        }
    }
}
