//! What somebody else asked the pool for: a resize, a termination. The veto is in the reply.

use std::time::Duration;

use ractor::RpcReplyPort;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::config::{Limits, check_limits};
use crate::control::report::{Fate, ResizeReport, TargetReport, TerminationReport};
use crate::control::supervisor::Supervision;
use crate::control::target::{Ladder, Target, Targets};
use crate::error::ControlError;
use crate::hook::{Doomed, Question};
use crate::snapshot::Veto;

/// A resize that hooks are asked about.
pub(super) struct Wanted {
    /// `None` until it is put.
    question: Option<u64>,
    reply: RpcReplyPort<Result<ResizeReport, ControlError>>,
}

impl<B: Backend> Supervision<B> {
    /// A resize, if the hooks allow it. One that comes while another is asked about, or delayed, takes its place.
    pub(in crate::control) fn ask_resize(
        &mut self,
        limits: Limits,
        reply: RpcReplyPort<Result<ResizeReport, ControlError>>,
    ) {
        if let Some(Wanted { question, reply }) = self.hooks.wanted.take() {
            question.into_iter().for_each(|question| self.withdraw_question(question));
            let pool = self.plane().config.name.clone();
            // Whoever asked may have gone: that is their affair, here and below.
            let _ = reply.send(Err(ControlError::Superseded { pool, operation: "resize" }));
        }
        let unasked = self.ending.is_some() || !self.hooks.are_asked();
        if unasked || check_limits(&limits, &self.plane().config.lanes).is_err() {
            return self.resize(limits, reply);
        }
        let from = self.plane().limits();
        let question = match limits.max < from.max {
            true => Question::Shrink { from, to: limits },
            false => Question::Resize { from, to: limits },
        };
        self.hooks.wanted = Some(Wanted { question: None, reply });
        let question = self.ask_hooks(question, move |supervision, ruling| {
            let Some(Wanted { reply, .. }) = supervision.hooks.wanted.take() else { return };
            match ruling {
                Ruling::Allowed => supervision.resize(limits, reply),
                Ruling::Denied(Veto { by, reason }) => {
                    let pool = supervision.plane().config.name.clone();
                    drop(reply.send(Err(ControlError::Vetoed { pool, operation: "resize", by, reason })));
                }
            }
        });
        // Unless it has been ruled upon at once, and the reply is gone.
        if let Some(wanted) = &mut self.hooks.wanted {
            wanted.question = question;
        }
    }

    /// A termination, if the hooks allow it. One that begins with a kill is nobody's to refuse.
    pub(in crate::control) fn ask_terminate(
        &mut self,
        targets: Targets,
        ladder: Ladder,
        reply: RpcReplyPort<TerminationReport>,
    ) {
        let began = self.now();
        if ladder.is_forced() || targets.is_empty() || self.ending.is_some() || !self.hooks.are_asked() {
            return self.terminate(targets, &ladder, reply, began);
        }
        let question = Question::Terminate { targets: targets.iter().map(doomed).collect() };
        self.ask_hooks(question, move |supervision, ruling| match ruling {
            Ruling::Allowed => supervision.terminate(targets, &ladder, reply, began),
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
