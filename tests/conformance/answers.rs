//! A hook that says what a test tells it to, and remembers what it was asked and told.

use std::sync::Arc;
use std::time::Duration;

use millpond::{ClaimNo, Doomed, Hook, HookContext, JobId, Limits, Notice, Question, RecycleReason, Verdict, WorkerId};
use parking_lot::Mutex;

use crate::task::Gate;

type Answer = dyn Fn(&'static str) -> Verdict + Send + Sync;

/// Answers each question by its word.
pub(crate) struct Answers {
    answer: Box<Answer>,
    before: Option<Gate>,
    seen: Seen,
}

/// What a hook was asked and told.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<(Vec<&'static str>, Vec<Notice>)>>);

impl Seen {
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.0.lock().0.clone()
    }

    pub(crate) fn told(&self) -> Vec<Notice> {
        self.0.lock().1.clone()
    }

    /// How many notices are as wanted.
    pub(crate) fn count(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        self.0.lock().1.iter().filter(|notice| wanted(notice)).count()
    }
}

impl Answers {
    pub(crate) fn new(answer: impl Fn(&'static str) -> Verdict + Send + Sync + 'static) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { answer: Box::new(answer), before: None, seen: seen.clone() }, seen)
    }

    /// Denies questions of this word.
    pub(crate) fn denying(word: &'static str) -> (Self, Seen) {
        Self::new(move |asked| if asked == word { Verdict::deny(format!("no {word} today")) } else { Verdict::Allow })
    }

    /// Blocks its thread at `gate` before each answer.
    pub(crate) fn behind(mut self, gate: Gate) -> Self {
        self.before = Some(gate);
        self
    }

    fn ask(&self, question: Question) -> Verdict {
        let word = question.word();
        self.seen.0.lock().0.push(word);
        if let Some(gate) = &self.before {
            gate.pass();
        }
        (self.answer)(word)
    }
}

impl Hook for Answers {
    async fn start(&self, _cx: &HookContext, worker: WorkerId) -> Verdict {
        self.ask(Question::Start { worker })
    }

    async fn shrink(&self, _cx: &HookContext, from: Limits, to: Limits) -> Verdict {
        self.ask(Question::Shrink { from, to })
    }

    async fn resize(&self, _cx: &HookContext, from: Limits, to: Limits) -> Verdict {
        self.ask(Question::Resize { from, to })
    }

    async fn idle_exit(&self, _cx: &HookContext, worker: WorkerId, idle_for: Duration) -> Verdict {
        self.ask(Question::IdleExit { worker, idle_for })
    }

    async fn terminate(&self, _cx: &HookContext, targets: &[Doomed]) -> Verdict {
        self.ask(Question::Terminate { targets: targets.into() })
    }

    async fn recycle(&self, _cx: &HookContext, worker: WorkerId, reason: RecycleReason) -> Verdict {
        self.ask(Question::Recycle { worker, reason })
    }

    async fn overdue(&self, _cx: &HookContext, worker: WorkerId, job: JobId, silent_for: Duration) -> Verdict {
        self.ask(Question::Overdue { worker, claim: ClaimNo::default(), job, silent_for })
    }

    async fn told(&self, _cx: &HookContext, notice: &Notice) {
        self.seen.0.lock().1.push(notice.clone());
    }
}
