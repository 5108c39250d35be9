//! The one thread that has instances look at their brakes again, while one that was pulled has not stopped.
//!
//! Once would not do: an instance that has just looked, and is about to note until when it need not look again, would note a time that begins after
//! the prod. Nobody ticks while no brake is pulled.

use std::io;
use std::thread::Thread;
use std::time::Duration;

use super::brake::Pulled;
use crate::backend::Refusals;
use crate::job::catch;
use crate::sync::{Clock, Mutex, OnceLock, Timestamp};

/// The first prod after the one at the pull; each later one waits for longer, as an instance that is in a call of this process's stops by itself when that
/// returns.
const FIRST: Duration = Duration::from_millis(1);
const SLOWEST: Duration = Duration::from_millis(100);
/// So many prods follow at the first distance.
const QUICK: u32 = 20;

static TICKER: OnceLock<Thread> = OnceLock::new();
static STARTING: Mutex<()> = parking_lot::const_mutex(());
static WATCHED: Mutex<Vec<Watched>> = parking_lot::const_mutex(Vec::new());

struct Watched {
    brake: Pulled,
    prods: u32,
    at: Timestamp,
}

/// Has it there. To be called before there is an instance, so that a kill needs nothing that the system may refuse.
///
/// # Errors
///
/// If the system refuses the thread.
#[expect(clippy::disallowed_methods, reason = "the home of the ticker")]
pub(super) fn start(refusals: &Refusals) -> io::Result<()> {
    if TICKER.get().is_some() {
        return Ok(());
    }
    let _starting = STARTING.lock();
    if TICKER.get().is_none() {
        refusals.check()?;
        let started = std::thread::Builder::new().name("millpond-ticker".to_owned()).spawn(|| work(&Clock::real()))?;
        // Nobody else sets it: that takes the lock.
        let _ = TICKER.set(started.thread().clone());
    }
    Ok(())
}

/// Has its instance look again and again, until its worker has ended.
pub(super) fn watch(brake: Pulled) {
    WATCHED.lock().push(Watched { brake, prods: 0, at: Timestamp::default() });
    if let Some(thread) = TICKER.get() {
        thread.unpark();
    }
}

fn work(clock: &Clock) {
    loop {
        let now = clock.now();
        // An engine's prod is its author's code: it runs under no lock.
        let due: Vec<Watched> = WATCHED.lock().extract_if(.., |watched| watched.at <= now).collect();
        for Watched { brake, prods, .. } in due {
            // The last share in an engine may be dropped here.
            match catch(|| brake.prod().then_some(brake)) {
                Ok(Some(brake)) => {
                    WATCHED.lock().push(Watched { brake, prods: prods + 1, at: now.after(pause_after(prods)) });
                }
                Ok(None) => {}
                Err(caught) => tracing::error!("an interpreter panicked as it was prodded: {}", caught.message),
            }
        }
        let next = WATCHED.lock().iter().map(|watched| watched.at).min();
        match next {
            Some(at) => std::thread::park_timeout(at.since(clock.now())),
            None => std::thread::park(),
        }
    }
}

fn pause_after(prods: u32) -> Duration {
    FIRST.saturating_mul(prods.saturating_sub(QUICK).saturating_add(1)).min(SLOWEST)
}
