//! A job as the thread of an instance sees it.

use super::{Brake, Engine};
use crate::error::{GuestFailed, GuestFault, JobError};
use crate::id::WorkerId;
use crate::job::{ClaimKey, Envelope, JobCell, Owner, Ran, catch};
use crate::sync::Arc;

/// What an instance is asked to do: a call, a program's text, a request.
pub trait Script<E: Engine>: Send + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Has it done, on the worker's thread. Code of this process in it runs like a thread pool's job: it cannot be stopped.
    ///
    /// # Errors
    ///
    /// How the guest failed; [`GuestFault::Interrupted`] if its [`Brake`](super::Brake) was pulled.
    fn run(self, instance: &mut E::Instance) -> Result<Self::Output, GuestFault>;
}

/// A script as it lies in its cell.
#[derive(Debug)]
pub struct Scripted<S>(pub(super) S);

/// A job that an engine's instances can do.
pub trait InterpreterJob<E: Engine>: Envelope {
    #[doc(hidden)]
    fn scripted(&self) -> Erased<'_, E>;
}

/// What only millpond does with such a job.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "a view of a trait object, never shown")]
pub struct Erased<'a, E: Engine>(pub(super) &'a dyn Runs<E>);

/// Where a job runs.
pub(super) struct Place<'a> {
    pub(super) pool: &'a str,
    pub(super) worker: WorkerId,
    pub(super) brake: &'a Brake,
}

/// The type-erased half.
pub(super) trait Runs<E: Engine> {
    /// Runs it in that instance, if there is one, and writes its outcome; `None`: it was interrupted, and has none yet.
    fn run(&self, key: &mut ClaimKey, instance: Result<&mut E::Instance, GuestFault>, place: &Place<'_>)
    -> Option<Ran>;
}

impl<E: Engine, S: Script<E>> InterpreterJob<E> for JobCell<Scripted<S>, S::Output> {
    fn scripted(&self) -> Erased<'_, E> {
        Erased(self)
    }
}

impl<E: Engine, S: Script<E>> Runs<E> for JobCell<Scripted<S>, S::Output> {
    fn run(
        &self,
        key: &mut ClaimKey,
        instance: Result<&mut E::Instance, GuestFault>,
        place: &Place<'_>,
    ) -> Option<Ran> {
        let Some(Scripted(script)) = self.take(key) else {
            key.ended(false);
            return Some(Ran::NOTHING);
        };
        let done = catch(|| instance.and_then(|instance| script.run(instance)));
        match done {
            Ok(Err(GuestFault::Interrupted)) => None,
            // A panic as what was interrupted is let go of adds nothing.
            Err(_) if place.brake.is_pulled() => None,
            Ok(Err(fault)) => {
                key.ended(fault.spoils_instance());
                Some(self.failed(fault, place))
            }
            Ok(Ok(output)) => {
                key.ended(false);
                Some(self.finish_caught(Ok(output)))
            }
            Err(caught) => {
                key.ended(true);
                Some(self.finish_caught(Err(caught)))
            }
        }
    }
}

impl<S, T: Send + 'static> JobCell<Scripted<S>, T>
where
    Scripted<S>: Send + 'static,
{
    fn failed(&self, fault: GuestFault, place: &Place<'_>) -> Ran {
        let (header, panicked) = (self.header(), fault.spoils_instance());
        let failed = GuestFailed {
            pool: Arc::from(place.pool),
            worker: place.worker,
            job: header.id(),
            label: header.label().cloned(),
            submitted_from: header.submitted_from(),
            fault,
        };
        let settled = self.sealed().0.settle_error(JobError::Guest(Box::new(failed)), Some(Owner::Worker));
        Ran { panicked, settled }
    }
}
