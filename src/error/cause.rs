//! An error of the user's, which may be let go of anywhere.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use super::Chain;
use crate::sync::{Arc, OnceLock};

type Users = Box<dyn Error + Send + Sync>;

/// Where errors of users' are dropped.
static ASIDE: OnceLock<fn(Users)> = OnceLock::new();

/// An error of your own, as a [`StartError`](super::StartError) carries it.
///
/// Events, exits and errors of jobs share it, and the last of them may be let go of by a thread that must not wait for anybody. So whoever lets
/// go of it, its `Drop` runs on the thread of millpond's that is there for drops. Nor does whoever shows them read it: its text, and those of its sources, are
/// read once, where this is made of it. Of an initializer's error that is the worker's own thread, and what it takes there is part of the start.
pub struct Cause {
    error: Option<Users>,
    text: Arc<str>,
}

impl Cause {
    /// From now on, all of them are handed to `aside`.
    #[cfg(not(millpond_loom))]
    pub(crate) fn drop_with(aside: fn(Users)) {
        ASIDE.get_or_init(|| aside);
    }

    /// Made where nothing of a user's may be read, with what is known of it without that.
    pub(crate) fn unread(error: Users, text: &str) -> Self {
        Self { error: Some(error), text: Arc::from(text) }
    }

    /// What it said when this was made of it, with its sources, in one line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Users> for Cause {
    fn from(error: Users) -> Self {
        let text = Arc::from(Chain(&*error).to_string());
        Self { error: Some(error), text }
    }
}

impl Deref for Cause {
    type Target = dyn Error + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        self.error.as_deref().expect("it is there until it is dropped")
    }
}

impl Drop for Cause {
    fn drop(&mut self) {
        let error = self.error.take();
        // Before the first pool nobody shares it.
        if let (Some(aside), Some(error)) = (ASIDE.get(), error) {
            aside(error);
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
