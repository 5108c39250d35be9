//! What somebody else asked the pool for: a resize or retune, a termination. The veto is in the reply.

use std::time::Duration;

use ractor::RpcReplyPort;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::control::retune::{Asker, Retune};
use crate::control::supervisor::Supervision;
use crate::control::target::{Ladder, Targets};
use crate::error::ControlError;
use crate::hook::{Doomed, Question};
use crate::id::By;
use crate::snapshot::{Fate, Target, TargetReport, TerminationReport, Veto};

/// A change that hooks are asked about.
pub(super) struct Wanted {
    /// `None` until it is put.
    question: Option<u64>,
    asker: Asker,
}

impl<B: Backend> Supervision<B> {
    /// A resize or retune, if the hooks allow it: they are asked about limits alone. One that could be made takes the place of another that
    /// is asked about, or delayed.
    pub(in crate::control) fn ask_retune(&mut self, change: Retune, asker: Asker) {
        if let Err(refused) = self.check(&change, &asker) {
            return asker.answer(Err(refused));
        }
        self.supersede();
        let Some(to) = change.limits.filter(|_| self.hooks.are_asked()) else {
            return self.retune(change, asker);
        };
        let from = self.plane().limits();
        let question = Question::of_limits(from, to);
        let by = asker.by.clone();
        self.hooks.wanted = Some(Wanted { question: None, asker });
        let question = self.ask_hooks(question, by, move |supervision, ruling| {
            let Some(Wanted { asker, .. }) = supervision.hooks.wanted.take() else { return };
            match ruling {
                Ruling::Allowed => supervision.retune(change, asker),
                Ruling::Denied(Veto { by, reason }) => {
                    let (pool, operation) = (supervision.plane().config.name.clone(), asker.operation());
                    asker.answer(Err(ControlError::Vetoed { pool, operation, by, reason }));
                }
            }
        });
        // Unless it has been ruled upon at once, and the reply is gone.
        if let Some(wanted) = &mut self.hooks.wanted {
            wanted.question = question;
        }
    }

    /// Whoever waits for a ruling is told that another's change has taken the place of theirs.
    fn supersede(&mut self) {
        let Some(Wanted { question, asker }) = self.hooks.wanted.take() else { return };
        question.into_iter().for_each(|question| self.withdraw_question(question));
        let (pool, operation) = (self.plane().config.name.clone(), asker.operation());
        asker.answer(Err(ControlError::Superseded { pool, operation }));
    }

    /// A termination, if the hooks allow it. One that begins with a kill is nobody's to refuse.
    pub(in crate::control) fn ask_terminate(
        &mut self,
        targets: Targets,
        ladder: Ladder,
        by: By,
        reply: RpcReplyPort<TerminationReport>,
    ) {
        let began = self.now();
        if ladder.is_forced() || targets.is_empty() || self.ending.is_some() || !self.hooks.are_asked() {
            return self.terminate(targets, &ladder, by, reply, began);
        }
        let question = Question::Terminate { targets: targets.iter().map(doomed).collect() };
        self.ask_hooks(question, by.clone(), move |supervision, ruling| match ruling {
            Ruling::Allowed => supervision.terminate(targets, &ladder, by, reply, began),
            Ruling::Denied(veto) => {
                let took = supervision.now().since(began);
                drop(reply.send(vetoed(&targets, veto, took)));
            }
        });
    }
}

fn doomed(target: &Target) -> Doomed {
    match *target {
        Target::Worker(worker) => Doomed::new(Some(worker), None),
        Target::Claim { worker, job, .. } => Doomed::new(Some(worker), Some(job)),
        Target::Queued(job) => Doomed::new(None, Some(job)),
    }
}

fn vetoed(targets: &Targets, veto: Veto, took: Duration) -> TerminationReport {
    let row = |target: &Target| {
        let job = doomed(target).job;
        TargetReport { target: *target, fate: Fate::Vetoed, rung: None, took, job, outcome: None }
    };
    TerminationReport { targets: targets.iter().map(row).collect(), veto: Some(veto) }
}
