//! Hooks that misbehave.

use std::sync::Arc;
use std::time::Duration;

use millpond::{
    Doomed, Hook, HookContext, HookOptions, HookSpec, JobId, Limits, Notice, RecycleReason, Verdict, WorkerId,
};

use crate::alive::Alive;
use crate::plan::{HOOKS, Habit, Patience};
use crate::site::{FOREVER, Latch, Shared};

/// Does what it is wont to, whatever it is asked or told.
pub struct Wont {
    habit: Habit,
    latch: Latch,
    shared: Arc<Shared>,
    _alive: Alive,
}

pub fn spec(name: usize, habit: Habit, patience: Patience, shared: &Arc<Shared>) -> HookSpec {
    let limit = match patience {
        Patience::Short => Duration::from_millis(4),
        Patience::Endless => FOREVER * 10,
    };
    let hook = Wont { habit, latch: shared.latch(), shared: shared.clone(), _alive: shared.alive.hooks.one() };
    let default = if name == 0 { Verdict::deny("it gave no answer") } else { Verdict::Allow };
    HookSpec::new(HOOKS[name], hook).options(HookOptions::new().limit(limit).default_verdict(default))
}

impl Wont {
    async fn asked(&self, word: &str) -> Verdict {
        self.shared.tally.note_hook(word, "asked");
        self.shared.tally.note_hook(word, &format!("asked, {:?}", self.habit));
        self.answer().await
    }

    async fn answer(&self) -> Verdict {
        self.shared.tally.note(format!("hook does: {:?}", self.habit));
        match self.habit {
            Habit::Allows => {}
            Habit::Denies => return Verdict::deny("on principle"),
            Habit::Delays => return Verdict::Delay(Duration::from_millis(3)),
            // Not by `panic!`: to print a backtrace, where one is wanted, may take longer than the hook has.
            Habit::Panics => std::panic::resume_unwind(Box::new("as it was told")),
            Habit::Hangs => std::future::pending().await,
            Habit::Blocks => self.latch.block(),
            Habit::CallsBack => self.shared.look(),
        }
        Verdict::Allow
    }
}

impl Hook for Wont {
    /// A start that is denied leaves its slot empty for a second: not too often, or nothing else would happen.
    async fn start(&self, _cx: &HookContext, worker: WorkerId) -> Verdict {
        match self.habit {
            Habit::Denies if !worker.generation.is_multiple_of(8) => Verdict::Allow,
            _ => self.asked("start").await,
        }
    }

    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.asked("resize").await
    }

    async fn idle_exit(&self, _cx: &HookContext, _worker: WorkerId, _idle_for: Duration) -> Verdict {
        self.asked("idle exit").await
    }

    async fn terminate(&self, _cx: &HookContext, _targets: &[Doomed]) -> Verdict {
        self.asked("terminate").await
    }

    async fn recycle(&self, _cx: &HookContext, _worker: WorkerId, _reason: RecycleReason) -> Verdict {
        self.asked("recycle").await
    }

    async fn overdue(&self, _cx: &HookContext, _worker: WorkerId, _job: JobId, _silent_for: Duration) -> Verdict {
        self.asked("overdue").await
    }

    async fn told(&self, _cx: &HookContext, notice: &Notice) {
        if let Notice::Allowed { question, answers } = notice
            && answers.iter().any(|answer| matches!(answer.verdict, Verdict::Delay(_)))
        {
            self.shared.tally.note_hook(question.word(), "delayed");
        }
        if self.habit != Habit::Denies && self.habit != Habit::Delays {
            self.answer().await;
        }
    }
}
