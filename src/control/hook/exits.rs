//! Whether a worker that idles for too long is to leave. It stays among the idle while that is asked: a job that takes it ends the
//! question, in the same hold of the locks in which it takes it; that is found by the next look, which withdraws it.

use std::collections::HashMap;
use std::time::Duration;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::control::supervisor::Supervision;
use crate::hook::Question;
use crate::id::{By, WorkerId};
use crate::plane::Overstays;
use crate::snapshot::WorkerState;
use crate::sync::Timestamp;

/// From one look at what has become of the workers that are asked about to the next: it may be as many as there are.
const LOOK: Duration = Duration::from_secs(1);

/// Workers that are asked about, or may stay for a while.
#[derive(Default)]
pub(super) struct Spared {
    workers: HashMap<WorkerId, Spare>,
    /// When it is looked again who of them idles no more.
    look_at: Timestamp,
}

struct Spare {
    /// How many jobs it had claimed by then.
    claims: u64,
    /// The question, while it is out.
    question: Option<u64>,
    /// When that was denied: it may stay for another timeout, of those that are in force by then. `None`: it is asked about.
    denied: Option<Timestamp>,
}

impl Spared {
    /// The stretch of idling that a worker was asked about after so many claims, unless something else has taken its place.
    fn of(&mut self, worker: WorkerId, claims: u64) -> Option<&mut Spare> {
        self.workers.get_mut(&worker).filter(|spare| spare.claims == claims)
    }
}

impl<B: Backend> Supervision<B> {
    /// True if idle workers do not leave without a question.
    pub(in crate::control) fn asks_before_exits(&self) -> bool {
        self.hooks.are_asked() && self.ending.is_none()
    }

    /// Asks about idle workers that have stayed for too long, as many as there are above `min`.
    pub(in crate::control) fn ask_idle_exits(&mut self, now: Timestamp) {
        let (above, overstaying) = self.plane().overstaying(now, self.kept_beyond_min(now));
        let Some(timeout) = self.plane().limits().idle_timeout.filter(|_| above > 0) else { return };
        let mut asked = 0;
        let mut ask = Vec::new();
        for idler in overstaying {
            if asked == above {
                break;
            }
            match self.hooks.spared.of(idler.worker, idler.claims).map(|spare| spare.denied) {
                Some(None) => asked += 1,
                Some(Some(denied)) if denied.after(timeout) > now => {}
                _ => {
                    asked += 1;
                    ask.push(idler);
                }
            }
        }
        ask.into_iter().for_each(|idler| self.ask_idle_exit(&idler, now));
    }

    fn ask_idle_exit(&mut self, idler: &Overstays, now: Timestamp) {
        let &Overstays { worker, claims, since } = idler;
        self.end_idle_question(worker);
        let asked = Spare { claims, question: None, denied: None };
        self.hooks.spared.workers.insert(worker, asked);
        let question = Question::IdleExit { worker, idle_for: now.since(since) };
        let question = self.ask_hooks(question, By::IdleTimeout, move |supervision, ruling| {
            supervision.on_idle_exit_ruled(worker, claims, &ruling);
        });
        // Unless it has been ruled upon at once.
        if let Some(spare) = self.hooks.spared.of(worker, claims) {
            spare.question = question;
        }
    }

    fn on_idle_exit_ruled(&mut self, worker: WorkerId, claims: u64, ruling: &Ruling) {
        let now = self.now();
        match ruling {
            Ruling::Allowed => {
                self.hooks.spared.workers.remove(&worker);
                // If it still idles for too long: other limits may be in force by now.
                let kept = self.kept_beyond_min(now);
                self.plane().retire_overstaying(worker, claims, now, kept);
            }
            Ruling::Denied(_) => {
                if let Some(spare) = self.hooks.spared.of(worker, claims) {
                    (spare.question, spare.denied) = (None, Some(now));
                }
            }
        }
    }

    /// A worker idles no more, or its idling is asked about anew: whatever hooks say to what they were asked is of no use any more.
    pub(in crate::control) fn end_idle_question(&mut self, worker: WorkerId) {
        let spare = self.hooks.spared.workers.remove(&worker);
        if let Some(question) = spare.and_then(|spare| spare.question) {
            self.withdraw_question(question);
        }
    }

    /// Withdraws what is asked about workers that have worked since, or are on their way out. Says when to look again: for those that may stay, never.
    pub(in crate::control) fn end_idle_questions(&mut self, now: Timestamp) -> Timestamp {
        let Spared { workers, look_at } = &self.hooks.spared;
        if workers.is_empty() {
            return Timestamp::NEVER;
        }
        if *look_at > now {
            return *look_at;
        }
        let still_idles = |worker, claims| {
            self.plane().cell(worker).is_some_and(|cell| {
                let state = cell.lock();
                state.state == WorkerState::Idle && state.claims() == claims
            })
        };
        let asked = |spare: &Spare| spare.question.is_some();
        let over = workers.iter().filter(|(worker, spare)| asked(spare) && !still_idles(**worker, spare.claims));
        let over: Vec<_> = over.map(|(worker, _)| *worker).collect();
        over.into_iter().for_each(|worker| self.end_idle_question(worker));
        let next = now.after(LOOK);
        self.hooks.spared.look_at = next;
        if self.hooks.spared.workers.values().any(asked) { next } else { Timestamp::NEVER }
    }
}
