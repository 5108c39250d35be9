//! A hook of the pond: asked about whatever a pool asks hooks about.

use std::time::Duration;

use millpond::{Hook, HookContext, HookSpec, Limits, RecycleReason, Verdict, WorkerId};

use crate::command::Manner;
use crate::pond::{PATIENCE, Pond};

/// Its name.
pub(crate) const HOOK: &str = "hook";

const DELAYED: Verdict = Verdict::Delay(Duration::from_millis(crate::DELAY));

struct Watcher(Manner);

impl Watcher {
    fn deny_if(&self, manner: Manner) -> Verdict {
        if self.0 == manner { Verdict::deny("that is its manner") } else { Verdict::Allow }
    }
}

impl Hook for Watcher {
    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.deny_if(Manner::DeniesLimits)
    }

    async fn start(&self, _cx: &HookContext, _worker: WorkerId) -> Verdict {
        match self.0 {
            Manner::DelaysStarts => DELAYED,
            _ => self.deny_if(Manner::DeniesStarts),
        }
    }

    async fn recycle(&self, _cx: &HookContext, _worker: WorkerId, _reason: RecycleReason) -> Verdict {
        match self.0 {
            Manner::DelaysRecycling => DELAYED,
            _ => self.deny_if(Manner::DeniesRecycling),
        }
    }

    async fn idle_exit(&self, _cx: &HookContext, _worker: WorkerId, _idle_for: Duration) -> Verdict {
        self.deny_if(Manner::DeniesExits)
    }
}

impl Pond {
    pub(crate) fn set_hook(&mut self, manner: Manner) {
        let hook = HookSpec::new(HOOK, Watcher(manner));
        self.pool.blocking().set_hook(hook, PATIENCE).expect("there is room");
        self.hooked = true;
    }

    pub(crate) fn remove_hook(&mut self) {
        self.pool.blocking().remove_hook(HOOK, PATIENCE).expect("there is one");
        self.hooked = false;
    }

    /// The hook has answered all that it was asked.
    pub(crate) fn nobody_is_asked(&self) -> bool {
        if !self.hooked {
            return true;
        }
        let hooks = self.pool.blocking().hooks(PATIENCE).expect("control answers");
        assert!(hooks.iter().all(|hook| hook.defaulted == 0), "it answers: {hooks:?}");
        hooks.iter().all(|hook| hook.unanswered == 0)
    }
}
