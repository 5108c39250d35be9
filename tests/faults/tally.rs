//! What took effect, by replies, events, outcomes, and what misbehaving parts were asked. What was sent says nothing: it may have found nobody.

use std::collections::BTreeMap;

use millpond::{Exit, HookFault, PoolEvent, StartError};
use parking_lot::Mutex;

/// How often each thing happened.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub fn note(&self, what: impl Into<String>) {
        *self.0.lock().entry(what.into()).or_default() += 1;
    }

    /// What happens to a pool, as it says itself.
    pub fn note_event(&self, event: &PoolEvent) {
        match event {
            PoolEvent::WorkerGone { exit, .. } => self.note(format!("exit: {}", kind_of(exit))),
            PoolEvent::WorkerAbandoned { .. } => self.note("abandoned"),
            PoolEvent::RestartPolicySet { .. } => self.note("policy set"),
            PoolEvent::PolicyReplaced { reason } => {
                // Of an autoscaler, what becomes of the limit follows.
                let what = reason.split(';').next().unwrap_or_default();
                self.note(format!("replaced: {what}"));
            }
            PoolEvent::Scaled { .. } => self.note("scaled"),
            PoolEvent::Overrun { .. } => self.note("overrun"),
            PoolEvent::Overdue { .. } => self.note("overdue"),
            PoolEvent::OverdueRung { rung, .. } => self.note(format!("overdue rung: {rung}")),
            PoolEvent::LetOff { .. } => self.note("let off"),
            PoolEvent::Vetoed { question, .. } => self.note_hook(question.word(), "vetoed"),
            PoolEvent::HookFault { question, fault, .. } => self.note_hook(question, fault_of(fault)),
            PoolEvent::Gate { state: gate, .. } => self.note(format!("gate {gate}")),
            _ => {}
        }
    }

    /// What a hook did about a question, by its word.
    pub fn note_hook(&self, word: &str, what: &str) {
        self.note(format!("{word}: {what}"));
        self.note(format!("hook {what}"));
        // Each of the two alone is too seldom to be counted upon.
        if word == "recycle" || word == "overdue" {
            self.note(format!("recycle or overdue: {what}"));
        }
    }

    pub fn count(&self, what: &str) -> u64 {
        self.0.lock().get(what).copied().unwrap_or_default()
    }

    /// Kinds of fault that have not taken effect yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let seen = self.0.lock();
        NEEDED.iter().copied().filter(|what| !seen.contains_key(*what)).collect()
    }

    /// For whoever reads the output of a run.
    #[expect(clippy::print_stdout, reason = "what a seed came to")]
    pub fn print(&self, pool: &str) {
        println!("{pool}: {:#?}", *self.0.lock());
    }
}

fn kind_of(exit: &Exit) -> String {
    match exit {
        Exit::FailedToStart(error) => match &**error {
            StartError::Refused(_) => "refused".to_owned(),
            StartError::TimedOut(_) => "start too late".to_owned(),
            StartError::Gone => "dead before it was ready".to_owned(),
            other => other.to_string(),
        },
        Exit::Lost => "its actor was killed".to_owned(),
        Exit::Killed(by) => by.to_string(),
        Exit::Stopped(_) => "stopped".to_owned(),
        Exit::Recycled(_) => "recycled".to_owned(),
        Exit::Stuck { .. } => "stuck".to_owned(),
        other => other.to_string(),
    }
}

fn fault_of(fault: &HookFault) -> &'static str {
    match fault {
        HookFault::Late(_) => "late",
        HookFault::Panicked(_) => "panicked",
        _ => "silent",
    }
}

/// What a thousand faults must have come to.
const NEEDED: &[&str] = &[
    // Jobs.
    "fault: panicking job ran",
    "fault: silent job ran",
    "fault: stubborn job ran",
    "overdue",
    "overdue rung: cancel",
    "overdue rung: kill",
    "overrun",
    "abandoned",
    "a job passed its queue limit",
    "a job passed its run limit",
    "a job passed its deadline",
    "a job was cancelled by its handle",
    // Kills.
    "kill: taken",
    "kill: came too late",
    "ladder: Finished by cancel",
    "ladder: Stopped by stop",
    "ladder: taken",
    "ladder: Vetoed",
    "exit: its actor was killed",
    "exit: recycled",
    // Starts.
    "exit: refused",
    "exit: dead before it was ready",
    "exit: start too late",
    // Hooks.
    "hook does: Allows",
    "hook does: Denies",
    "hook does: Delays",
    "hook does: Panics",
    "hook does: Hangs",
    "hook does: Blocks",
    "hook does: CallsBack",
    "hook vetoed",
    "hook delayed",
    "hook late",
    "hook panicked",
    "start: asked",
    "resize: asked",
    "terminate: asked",
    "idle exit: asked",
    "idle exit: asked, Allows",
    "idle exit: asked, Denies",
    "idle exit: asked, Delays",
    "recycle: asked",
    "overdue: asked",
    "recycle or overdue: vetoed",
    "recycle or overdue: late",
    "recycle or overdue: asked, Delays",
    "a question lies with a hook",
    // Policies.
    "policy set",
    "restart policy asked: AtOnce",
    "restart policy asked: CoolsDown",
    "restart policy asked: GivesUp",
    "restart policy asked: Panics",
    "restart policy asked: Hangs",
    "restart policy asked: Nonsense",
    "restart policy asked: CallsBack",
    "replaced: it panicked: a restart policy, as it was told",
    "replaced: it asked for a delay of 3153600000s",
    "autoscaler asked: Wavers",
    "autoscaler asked: WantsAll",
    "autoscaler asked: Hangs",
    "autoscaler asked: CallsBack",
    "replaced: autoscaler: it panicked: an autoscaler, as it was told",
    "replaced: autoscaler: it wanted zero workers",
    "scaled",
    // What is in force.
    "resize: in force",
    "resize: in force, with debt",
    "resize: vetoed",
    "resize: superseded",
    "retune: Reserve",
    "retune: Room",
    "retune: RunLimit",
    "retune: Span",
    "retune: NoWatchdog",
    "retune: Scale",
    "retune: Together",
    "retune refused: Absurd",
    "gate quiesced",
    "gate open",
];
