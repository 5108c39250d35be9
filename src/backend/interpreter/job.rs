//! A job as the thread of an instance sees it.

use super::{Crossing, Engine};
use crate::backend::StartContext;
use crate::error::{GuestFailed, GuestFault, JobError};
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
    pub(super) begins: &'a StartContext,
    pub(super) crossing: &'a Crossing,
    /// What is left of an instance is of no use to the next job.
    pub(super) fresh: bool,
}

/// The type-erased half.
pub(super) trait Runs<E: Engine> {
    /// Runs it in that instance, which goes before the outcome is written unless it can be used again; or says why there is none. `None`: it was
    /// interrupted, and has no outcome yet.
    fn run(
        &self,
        key: &mut ClaimKey,
        instance: &mut Option<E::Instance>,
        made: Result<(), GuestFault>,
        place: &Place<'_>,
    ) -> Option<Ran>;
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
        instance: &mut Option<E::Instance>,
        made: Result<(), GuestFault>,
        place: &Place<'_>,
    ) -> Option<Ran> {
        let Some(Scripted(script)) = self.take(key) else {
            key.ended(false);
            return Some(Ran::NOTHING);
        };
        let no_instance = || GuestFault::NoInstance("there is none".to_owned());
        let done = catch(|| {
            made?;
            script.run(instance.as_mut().ok_or_else(no_instance)?)
        });
        let spoilt = match &done {
            Ok(Ok(_)) => false,
            Ok(Err(fault)) => place.crossing.was_entered() || fault.spoils_instance(),
            Err(_) => true,
        };
        if spoilt || place.fresh {
            // Now, while whoever takes the worker still can say so: it holds values of the user's, whose drop may take its time.
            let_go(instance.take(), place.begins);
        }
        if instance.is_none() {
            place.crossing.forget_memory();
        }
        place.crossing.keep_memory();
        if matches!(done, Ok(Err(GuestFault::Interrupted)) | Err(_)) && place.crossing.brake().has_stopped() {
            return None;
        }
        key.ended(spoilt);
        Some(match done {
            Ok(Ok(output)) => self.finish_caught(Ok(output)),
            Ok(Err(fault)) => self.failed(fault, spoilt, place),
            Err(caught) => self.finish_caught(Err(caught)),
        })
    }
}

impl<S, T: Send + 'static> JobCell<Scripted<S>, T>
where
    Scripted<S>: Send + 'static,
{
    /// `began`: code of the guest's has run for it.
    fn failed(&self, fault: GuestFault, began: bool, place: &Place<'_>) -> Ran {
        let header = self.header();
        let failed = GuestFailed {
            pool: Arc::from(place.begins.pool()),
            worker: place.begins.worker(),
            job: header.id(),
            label: header.label().cloned(),
            submitted_from: header.submitted_from(),
            began,
            fault,
        };
        let settled = self.sealed().0.settle_error(JobError::Guest(Box::new(failed)), Some(Owner::Worker));
        Ran { panicked: began, settled }
    }
}

/// An instance has values of its engine's user, whose drop may panic.
pub(super) fn let_go<I>(instance: Option<I>, begins: &StartContext) {
    if let Err(caught) = catch(|| drop(instance)) {
        tracing::error!(pool = begins.pool(), worker = %begins.worker(), "an interpreter's instance panicked as it was dropped: {}", caught.message);
    }
}
