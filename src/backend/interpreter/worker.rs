//! The life of an instance, as its thread leads it.

use super::job::Place;
use super::{Brake, Engine, InterpreterJob};
use crate::backend::{Interceptors, StartContext};
use crate::error::{GuestFault, StartError};
use crate::job::{Caught, ClaimKey, Ran, catch};
use crate::plane::{Claim, WorkerContext};
use crate::sync::Arc;

/// What it takes to lead it.
pub(super) struct Seat<E: Engine> {
    pub(super) engine: Arc<E>,
    pub(super) interceptors: Interceptors,
    pub(super) brake: Brake,
    pub(super) restart_after_trap: bool,
}

/// How a job left its worker.
enum Ended {
    /// What it ran in can go on.
    Well,
    /// That stopped anywhere, and is gone.
    Spoilt,
    /// Its worker was taken under it.
    Interrupted,
}

impl<E: Engine> Seat<E> {
    /// The whole of it. The context is dropped last, when nothing of the guest is left.
    pub(super) fn work(self, mut cx: WorkerContext<dyn InterpreterJob<E>>) {
        let begins = StartContext::new(cx.pool(), cx.worker());
        let mut kept = None;
        if !self.engine.is_fresh_per_job() {
            match self.make(&begins) {
                Ok(instance) => kept = Some(instance),
                Err(error) => return self.give_up(error, &mut cx),
            }
        }
        loop {
            let Some(claim) = cx.next_blocking() else { break };
            match self.run(claim, &mut kept, &begins) {
                Ended::Spoilt if self.restart_after_trap => {
                    cx.condemn();
                    break;
                }
                // What it ran in is gone: the next job is given another.
                Ended::Well | Ended::Spoilt => {}
                Ended::Interrupted => break,
            }
        }
        let_go(kept, &begins);
        self.brake.release();
    }

    fn make(&self, begins: &StartContext) -> Result<E::Instance, StartError> {
        match catch(|| self.engine.instance(&self.brake, begins)) {
            Ok(made) => made.map_err(|fault| StartError::failed(fault.to_string())),
            Err(caught) => Err(StartError::Panicked(caught.message)),
        }
    }

    /// There is no instance: the context says why.
    fn give_up(&self, error: StartError, cx: &mut WorkerContext<dyn InterpreterJob<E>>) {
        self.brake.release();
        // One that was killed meanwhile has a reason already.
        let asked = cx.facts_cell().lock().leave.is_some();
        if !asked {
            cx.failed(error);
        }
    }

    fn run(
        &self,
        claim: Claim<'_, dyn InterpreterJob<E>>,
        kept: &mut Option<E::Instance>,
        begins: &StartContext,
    ) -> Ended {
        self.brake.set_claim(Some(claim.number()));
        let context = (!self.interceptors.is_empty()).then(|| claim.context());
        let ran = claim.attempt_here(|job, key| {
            if let Some(context) = &context {
                self.interceptors.around(context, key);
            }
            self.run_in(job, key, kept, begins)
        });
        let ended = match ran {
            Ok(false) => Ended::Well,
            Ok(true) => Ended::Spoilt,
            Err(claim) => {
                // Its outcome says who took the worker.
                drop(claim);
                Ended::Interrupted
            }
        };
        self.brake.set_claim(None);
        ended
    }

    fn run_in(
        &self,
        job: &dyn InterpreterJob<E>,
        key: &mut ClaimKey,
        kept: &mut Option<E::Instance>,
        begins: &StartContext,
    ) -> Option<Ran> {
        let place = Place { pool: begins.pool(), worker: begins.worker(), brake: &self.brake };
        if kept.is_none() {
            let made = catch(|| self.engine.instance(&self.brake, begins));
            let panicked = |caught: Caught| Err(GuestFault::NoInstance(format!("it panicked: {}", caught.message)));
            match made.unwrap_or_else(panicked) {
                Ok(instance) => *kept = Some(instance),
                Err(fault) => return job.scripted().0.run(key, Err(fault), &place),
            }
        }
        let instance = kept.as_mut()?;
        self.engine.begin(instance);
        let ran = job.scripted().0.run(key, Ok(instance), &place);
        // Before the outcome is there: whoever has that finds nothing of the job left.
        if self.engine.is_fresh_per_job() || ran.as_ref().is_none_or(|ran| ran.panicked) {
            let_go(kept.take(), begins);
        }
        ran
    }
}

/// An instance has values of its engine's user: its drop may panic, and the context is to be dropped after it all the same.
fn let_go<I>(instance: Option<I>, begins: &StartContext) {
    if let Err(caught) = catch(|| drop(instance)) {
        tracing::error!(pool = begins.pool(), worker = %begins.worker(), "an interpreter's instance panicked as it was dropped: {}", caught.message);
    }
}
