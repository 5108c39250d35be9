//! The one thread that sends the second signal of a kill: SIGKILL, when the grace after SIGTERM is over.
//!
//! Nobody else could be counted on. Control has other things to do, and the thread that looks after a child runs code of the user's: an answer is
//! decoded there, which may take for ever.

use std::io;
use std::thread::Thread;

use super::grip::Grip;
use crate::sync::{Clock, Mutex, OnceLock, Timestamp, Weak};

static KILLER: OnceLock<Thread> = OnceLock::new();
static STARTING: Mutex<()> = parking_lot::const_mutex(());
/// Children that were sent the first signal, and when the second follows. Few, and not for long.
static DUE: Mutex<Vec<(Timestamp, Weak<Grip>)>> = parking_lot::const_mutex(Vec::new());

/// Has it there. To be called before there is a child, so that a kill needs nothing that the system may refuse.
///
/// # Errors
///
/// If the system refuses the thread.
#[expect(clippy::disallowed_methods, reason = "the home of the killer")]
pub(super) fn start(clock: &Clock) -> io::Result<()> {
    if KILLER.get().is_some() {
        return Ok(());
    }
    let _starting = STARTING.lock();
    if KILLER.get().is_none() {
        let clock = clock.clone();
        let started = std::thread::Builder::new().name("millpond-killer".to_owned()).spawn(move || work(&clock))?;
        // Nobody else sets it: that takes the lock.
        let _ = KILLER.set(started.thread().clone());
    }
    Ok(())
}

/// Has the child looked at then.
pub(super) fn come_back(at: Timestamp, grip: Weak<Grip>) {
    DUE.lock().push((at, grip));
    if let Some(thread) = KILLER.get() {
        thread.unpark();
    }
}

fn work(clock: &Clock) {
    loop {
        let now = clock.now();
        let mut due = Vec::new();
        let next = {
            let mut waiting = DUE.lock();
            due.extend(waiting.extract_if(.., |(at, _)| *at <= now).map(|(_, grip)| grip));
            waiting.iter().map(|(at, _)| *at).min()
        };
        for grip in due.iter().filter_map(Weak::upgrade) {
            grip.escalate(now);
        }
        match next {
            Some(at) => std::thread::park_timeout(at.since(clock.now())),
            None => std::thread::park(),
        }
    }
}
