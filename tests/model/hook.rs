//! A hook of the pond: asked about whatever a pool asks hooks about.

use millpond::{Hook, HookContext, HookSpec, Limits, Verdict};

use crate::pond::{PATIENCE, Pond};

/// Its name.
pub(crate) const HOOK: &str = "hook";

/// Allows everything but, if it is strict, other limits.
struct Watcher {
    strict: bool,
}

impl Hook for Watcher {
    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        if self.strict { Verdict::deny("it is strict") } else { Verdict::Allow }
    }
}

impl Pond {
    pub(crate) fn set_hook(&mut self, strict: bool) {
        let hook = HookSpec::new(HOOK, Watcher { strict });
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
