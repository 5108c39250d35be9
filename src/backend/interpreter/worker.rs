//! The life of an instance, as its thread leads it.

use super::job::{Place, let_go};
use super::{Brake, Crossing, Engine, InterpreterJob};
use crate::backend::{Interceptors, StartContext};
use crate::error::{GuestFault, StartError};
use crate::job::{ClaimKey, Ran, catch};
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
        let lived = Crossing::live(self.brake.clone());
        let crossing = lived.crossing();
        let mut kept = None;
        if !self.engine.is_fresh_per_job() {
            match self.make(crossing, &begins) {
                Ok(instance) => kept = Some(instance),
                Err(error) => return give_up(error, &mut cx),
            }
            crossing.keep_memory();
        }
        loop {
            let Some(claim) = cx.next_blocking() else { break };
            match self.run(claim, crossing, &mut kept, &begins) {
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
    }

    fn make(&self, crossing: &Crossing, begins: &StartContext) -> Result<E::Instance, StartError> {
        match catch(|| self.engine.instance(crossing, begins)) {
            Ok(made) => made.map_err(|fault| StartError::failed(fault.to_string())),
            Err(caught) => Err(StartError::Panicked(caught.message)),
        }
    }

    fn run(
        &self,
        claim: Claim<'_, dyn InterpreterJob<E>>,
        crossing: &Crossing,
        kept: &mut Option<E::Instance>,
        begins: &StartContext,
    ) -> Ended {
        crossing.set_claim(Some(claim.number()));
        let place = Place { begins, crossing, fresh: self.engine.is_fresh_per_job() };
        let context = (!self.interceptors.is_empty()).then(|| claim.context());
        let ran = claim.attempt_here(|job, key| {
            if let Some(context) = &context {
                self.interceptors.around(context, key);
            }
            self.run_in(job, key, kept, &place)
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
        crossing.set_claim(None);
        ended
    }

    fn run_in(
        &self,
        job: &dyn InterpreterJob<E>,
        key: &mut ClaimKey,
        kept: &mut Option<E::Instance>,
        place: &Place<'_>,
    ) -> Option<Ran> {
        let &Place { begins, crossing, .. } = place;
        // Whoever has made it, and when: each job begins with the same.
        let ready = catch(|| {
            let instance = match kept {
                Some(instance) => instance,
                None => kept.insert(self.engine.instance(crossing, begins)?),
            };
            self.engine.begin(instance);
            Ok(())
        });
        crossing.forget_entry();
        let ready = ready.unwrap_or_else(|caught| {
            let_go(kept.take(), begins);
            Err(GuestFault::NoInstance(format!("it panicked: {}", caught.message)))
        });
        job.scripted().0.run(key, kept, ready, place)
    }
}

/// There is no instance: the context says why.
fn give_up<E: Engine>(error: StartError, cx: &mut WorkerContext<dyn InterpreterJob<E>>) {
    // One that was killed meanwhile has a reason already.
    let asked = cx.facts_cell().lock().leave.is_some();
    if !asked {
        cx.failed(error);
    }
}
