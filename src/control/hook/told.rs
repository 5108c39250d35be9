//! What hooks are told: each event of the pool that concerns them, as long as they take it.

use ractor::ActorRef;

use super::credit::{Leave, Receipt};
use super::message::HookMessage;
use super::registry::Registered;
use crate::backend::Backend;
use crate::control::event::PoolEvent;
use crate::control::supervisor::Supervision;
use crate::hook::Notice;
use crate::id::By;

/// What a hook is told of an event; `None`: nothing.
fn notice_of(event: &PoolEvent) -> Option<Notice> {
    Some(match event {
        PoolEvent::WorkerReady { worker, start_delay } => {
            Notice::WorkerStarted { worker: *worker, start_delay: *start_delay }
        }
        PoolEvent::WorkerGone { worker, exit } => Notice::WorkerGone { worker: *worker, exit: exit.clone() },
        PoolEvent::WorkerAbandoned { worker } => Notice::WorkerAbandoned { worker: *worker },
        PoolEvent::RestartDecided { worker, restart } => {
            Notice::RestartDecided { worker: *worker, restart: restart.clone() }
        }
        PoolEvent::ProbeSucceeded { worker, cool_downs, out_for } => {
            Notice::ProbeSucceeded { worker: *worker, cool_downs: *cool_downs, out_for: *out_for }
        }
        PoolEvent::PolicyReplaced { reason } => Notice::PolicyReplaced { reason: reason.clone() },
        PoolEvent::Resized { from, to, bounds_from, bounds, .. } => {
            Notice::Resized { from: *from, to: *to, bounds_from: *bounds_from, bounds: *bounds }
        }
        PoolEvent::Retuned(retuned) => Notice::Retuned(retuned.clone()),
        PoolEvent::Scaled { from, to } => Notice::Scaled { from: *from, to: *to },
        PoolEvent::RestartPolicySet { .. } => Notice::RestartPolicySet,
        PoolEvent::Overrun { worker, claim } => Notice::Overrun { worker: *worker, claim: *claim },
        PoolEvent::Gate { state, .. } => Notice::Gate(state),
        PoolEvent::Health(health) => Notice::Health(health.clone()),
        PoolEvent::RecycleDue { worker, reason } => Notice::RecycleDue { worker: *worker, reason: *reason },
        PoolEvent::Overdue { worker, claim, job, silent_for } => {
            Notice::Overdue { worker: *worker, claim: *claim, job: *job, silent_for: *silent_for }
        }
        PoolEvent::LetOff { worker, claim, job, silent_for } => {
            Notice::LetOff { worker: *worker, claim: *claim, job: *job, silent_for: *silent_for }
        }
        PoolEvent::Redelivered { job, label, lost, rests_for } => {
            Notice::Redelivered { job: *job, label: label.clone(), lost: lost.clone(), rests_for: *rests_for }
        }
        PoolEvent::DeadLettered(letter) => Notice::DeadLettered(letter.clone()),
        PoolEvent::Quarantined(why) => Notice::Quarantined(why.clone()),
        PoolEvent::Released { label } => Notice::Released { label: label.clone() },
        PoolEvent::OverdueRung { worker, claim, job, rung, silent_for } => {
            Notice::OverdueRung { worker: *worker, claim: *claim, job: *job, rung: *rung, silent_for: *silent_for }
        }
        PoolEvent::Terminated { report, .. } => Notice::Terminated(report.clone()),
        PoolEvent::Hook { name, change, .. } => Notice::Hook { name: name.clone(), change: *change },
        PoolEvent::HookFault { hook, question, fault, verdict } => {
            Notice::HookFault { hook: hook.clone(), question, fault: fault.clone(), verdict: verdict.clone() }
        }
        PoolEvent::Delayed { question, delay, .. } => {
            Notice::Delayed { question: question.clone(), delay: delay.clone() }
        }
        PoolEvent::Deadlock(deadlock) => Notice::Deadlock(deadlock.clone()),
        // Hooks are told more of a ruling; and what a reader of events missed.
        PoolEvent::Vetoed { .. } | PoolEvent::Missed(_) => return None,
    })
}

impl<B: Backend> Supervision<B> {
    /// Tells the hooks of an event.
    pub(in crate::control) fn tell_hooks_of(&self, event: &PoolEvent) {
        if !self.hooks.registered.is_empty()
            && let Some(notice) = notice_of(event)
        {
            self.tell_hooks(&notice, &event.by());
        }
    }

    pub(super) fn tell_hooks(&self, notice: &Notice, by: &By) {
        self.hooks.registered.iter().for_each(|hook| self.tell_one(hook, notice, by));
    }

    /// Tells one of them, what the others know.
    pub(super) fn tell_hook(&self, id: u64, notice: &Notice, by: &By) {
        self.hooks.registered.iter().filter(|hook| hook.id == id).for_each(|hook| self.tell_one(hook, notice, by));
    }

    fn tell_one(&self, hook: &Registered, notice: &Notice, by: &By) {
        // Before it is given credit: what has to be sent then cannot be lost.
        let Some(actor) = hook.actor(&self.plane().config.name, self.now()) else { return hook.line.miss() };
        let Some(Leave { missed, receipt }) = hook.line.tell() else { return };
        if let Some((notices, receipt)) = missed {
            self.send(hook, actor, self.missed(notices), &By::Pool, receipt);
        }
        self.send(hook, actor, notice.clone(), by, receipt);
    }

    /// A hook that missed something has caught up: so it learns of that though nothing else happens.
    pub(in crate::control) fn on_caught_up(&mut self, id: u64) {
        let Some(hook) = self.hooks.registered.iter().find(|hook| hook.id == id) else { return };
        // Whoever has caught up had messages, and so an actor.
        let Some(actor) = hook.actor(&self.plane().config.name, self.now()) else { return };
        if let Some((notices, receipt)) = hook.line.caught_up() {
            self.send(hook, actor, self.missed(notices), &By::Pool, receipt);
        }
    }

    fn missed(&self, notices: u64) -> Notice {
        let saturated_since = self.hooks.pressure.saturated_since();
        Notice::Missed { notices, saturation: self.plane().saturation(), saturated_since }
    }

    fn send(&self, hook: &Registered, actor: &ActorRef<HookMessage>, notice: Notice, by: &By, receipt: Receipt) {
        // One that is gone is told nothing.
        let _ = actor.cast(HookMessage::Told { context: self.context(&hook.name, by), notice, receipt });
    }
}
