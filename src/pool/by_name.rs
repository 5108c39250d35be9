//! A pool by its name, however often it is rebuilt.

use std::future::poll_fn;
use std::time::Duration;

use super::Pool;
use crate::backend::Backend;
use crate::control::alarm_after;
use crate::error::{AttachError, ControlError};
use crate::executor::TimeLimit;
use crate::sync::{Arc, Clock, Mutex, block_on};

/// How often [`ByName::wait`] looks: nothing tells of a name that is registered.
const LOOK: Duration = Duration::from_millis(5);

/// Finds the pool of a name, and its successor once a supervisor has rebuilt it.
///
/// A pool whose actor has ended is over: its handles answer `Closed` for good, and its jobs have their outcomes. A supervisor that starts another
/// one under the same name makes a new pool, with a queue and a ledger of its own. Ask for the pool each time it is used: while it is the
/// same one that costs a lock and a look at its actor.
///
/// ```
/// use millpond::{ByName, Limits, ThreadPool, Threads, TimeLimit};
///
/// let mail: ByName<Threads> = ByName::new("mail");
/// assert!(mail.get_blocking().is_err(), "nobody has built it yet");
/// let _pool = ThreadPool::builder("mail").limits(Limits::fixed(1)).build()?;
/// assert_eq!(mail.wait_blocking(TimeLimit::secs(5))?.submit_blocking(|| 6 * 7)?.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// A pool may end between `get` and the use of what it gave. Then a job comes back inside `Rejected`, with the reason `Closed`, and a control call
/// answers `Closed`: get the pool again, or [`wait`](Self::wait) for it. What was admitted before has an outcome, which says whether it ran.
pub struct ByName<B: Backend> {
    name: Arc<str>,
    /// The pool that was found last. Owns nothing.
    last: Mutex<Option<Pool<B>>>,
}

impl<B: Backend> ByName<B> {
    /// Whatever pool is, or will be, registered under this name. Looks for nothing yet.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self { name: Arc::from(name.as_ref()), last: Mutex::new(None) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pool that has the name now. The handle owns nothing.
    ///
    /// # Errors
    ///
    /// [`AttachError::Between`] if a pool of that name was found before, has ended, and has no successor yet;
    /// [`AttachError::NotRegistered`] if none was ever found; otherwise as [`Pool::from_actor`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn get(&self) -> Result<Pool<B>, AttachError> {
        // Cloned out of the lock. One that has ended is kept all the same: its successor takes its place.
        let last = self.last.lock().clone();
        if let Some(pool) = last.as_ref().filter(|pool| pool.is_there()) {
            return Ok(pool.clone());
        }
        match Pool::from_registry(&self.name).await {
            Ok(pool) => {
                let before = self.last.lock().replace(pool.clone());
                // The last share in a pool drops what its user gave it: with nothing held.
                drop((before, last));
                Ok(pool)
            }
            // The name is taken back before the actor has ended, or a moment after it ceased to answer.
            Err(AttachError::NotRegistered(name)) if last.is_some() => Err(AttachError::Between(name)),
            Err(AttachError::Control(ControlError::Closed { .. })) => Err(AttachError::Between(self.name.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The same, which waits for a pool that is not there yet, or not there again.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), when `limit` of real time is over. One that says that the name is another actor's, or another kind of pool's, comes at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn wait(&self, limit: TimeLimit) -> Result<Pool<B>, AttachError> {
        // Real time: whose clock it would be is not known yet.
        let clock = Clock::real();
        let end = clock.now().after(limit.0);
        loop {
            let found = self.get().await;
            let absent = matches!(found, Err(AttachError::Between(_) | AttachError::NotRegistered(_)));
            if !absent || clock.now() >= end {
                return found;
            }
            // Without the control thread there is no pool either.
            let Ok(look) = alarm_after(LOOK.min(end.since(clock.now()))) else { return found };
            poll_fn(|cx| look.poll(cx)).await;
        }
    }

    /// [`get`](Self::get) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_blocking(&self) -> Result<Pool<B>, AttachError> {
        block_on(self.get())
    }

    /// [`wait`](Self::wait) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_blocking(&self, limit: TimeLimit) -> Result<Pool<B>, AttachError> {
        block_on(self.wait(limit))
    }
}

impl<B: Backend> Pool<B> {
    /// Its actor has not ended, and is not about to.
    fn is_there(&self) -> bool {
        self.shared.actor.get().is_some_and(|actor| actor.get_status() < ractor::ActorStatus::Stopping)
    }
}

impl<B: Backend> std::fmt::Debug for ByName<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByName").field("name", &self.name).finish_non_exhaustive()
    }
}
