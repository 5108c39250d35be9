//! Hooks: asked before the pool acts, told afterwards; a veto is in the reply of whoever asked.

use std::time::Duration;

use super::Subject;
use super::rig::Rig;
use super::tether::Hold;
use crate::config::{Lane, Limits};
use crate::control::{HookSpec, Ladder, PoolEvent, Select};
use crate::error::{ControlError, JobError, StartError};
use crate::executor::PoolExecutor;
use crate::hook::{Doomed, Hook, HookContext, HookOptions, Notice, Verdict};
use crate::id::WorkerId;
use crate::snapshot::Fate;
use crate::sync::{Arc, Mutex};

/// Denies what it was made to deny, and remembers what it was asked and told.
struct Guard {
    denies: &'static [&'static str],
    seen: Seen,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Vec<&'static str>, Vec<Notice>)>>);

impl Seen {
    fn asked(&self) -> Vec<&'static str> {
        self.0.lock().0.clone()
    }

    fn last_is_the_end(&self) -> bool {
        matches!(self.0.lock().1.last(), Some(Notice::Gate("closed")))
    }

    fn count(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        self.0.lock().1.iter().filter(|notice| wanted(notice)).count()
    }
}

impl Guard {
    /// So patient that no answer is late, however loaded the machine.
    fn spec<S: Subject>(rig: Rig<'_, S>, denies: &'static [&'static str]) -> (HookSpec, Seen) {
        let seen = Seen::default();
        let hook = Self { denies, seen: seen.clone() };
        (HookSpec::new("guard", hook).options(HookOptions::new().limit(rig.patience())), seen)
    }

    fn ask(&self, word: &'static str) -> Verdict {
        self.seen.0.lock().0.push(word);
        if self.denies.contains(&word) { Verdict::deny(format!("no {word} today")) } else { Verdict::Allow }
    }
}

impl Hook for Guard {
    async fn start(&self, _cx: &HookContext, _worker: WorkerId) -> Verdict {
        self.ask("start")
    }

    async fn shrink(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.ask("shrink")
    }

    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.ask("resize")
    }

    async fn idle_exit(&self, _cx: &HookContext, _worker: WorkerId, _idle_for: Duration) -> Verdict {
        self.ask("idle exit")
    }

    async fn terminate(&self, _cx: &HookContext, _targets: &[Doomed]) -> Verdict {
        self.ask("terminate")
    }

    async fn told(&self, _cx: &HookContext, notice: &Notice) {
        self.seen.0.lock().1.push(notice.clone());
    }
}

pub(super) fn a_veto_of_a_resize_is_in_its_reply<S: Subject>(rig: Rig<'_, S>) {
    let (hook, seen) = Guard::spec(rig, &["resize"]);
    let pond = rig.build("veto-resize", |builder| builder.limits(Limits::fixed(1)).hook_spec(hook));
    let mut events = pond.events();
    let error = rig.soon(pond.resize(Limits::fixed(4), rig.limit())).expect_err("the hook denies it");
    let ControlError::Vetoed { operation, by, reason, .. } = &error else { panic!("{error}") };
    assert_eq!((*operation, &**by, &**reason), ("resize", "guard", "no resize today"));
    assert!(error.to_string().contains("resize was vetoed by hook `guard`: no resize today"), "{error}");
    assert_eq!((pond.snapshot().limits, pond.saturation().limit), (Limits::fixed(1), 1), "nothing was changed");
    rig.event(&mut events, |event| match event {
        PoolEvent::Vetoed { question, veto, .. } if question.word() == "resize" && *veto.by == *"guard" => Some(()),
        _ => None,
    });
    // What is wrong in itself is not asked about.
    let wrong = rig.soon(pond.resize(Limits::fixed(0), rig.limit()));
    assert!(matches!(wrong, Err(ControlError::Config { .. })), "{wrong:?}");
    assert_eq!(seen.asked().iter().filter(|word| **word == "resize").count(), 1);
    pond.at_rest();
}

pub(super) fn a_vetoed_termination_leaves_its_targets_alone<S: Subject>(rig: Rig<'_, S>) {
    let (hook, _) = Guard::spec(rig, &["terminate"]);
    let pond = rig.build("veto-end", |builder| builder.limits(Limits::fixed(2)).hook_spec(hook));
    let hold = Hold::new();
    // Whoever asks one of them to stop ends it.
    let handles: Vec<_> = (0..2).map(|_| pond.put(rig.polite(&hold))).collect();
    rig.until("both run", || hold.begun() == 2);
    let report = pond.terminate(Select::all(), Ladder::graceful(rig.patience()));
    assert_eq!(report.targets.iter().map(|target| target.fate).collect::<Vec<_>>(), [Fate::Vetoed; 2]);
    let veto = report.veto.as_ref().expect("somebody denied it");
    assert_eq!((&*veto.by, &*veto.reason), ("guard", "no terminate today"));
    assert!(report.to_string().ends_with("vetoed by hook `guard`: no terminate today"), "{report}");
    assert_eq!(pond.saturation().active, 2, "nobody asked them to stop");
    hold.let_go();
    rig.returns(handles);
    pond.at_rest();
}

/// Nobody can refuse these.
pub(super) fn a_kill_and_a_shutdown_are_not_asked_about<S: Subject>(rig: Rig<'_, S>) {
    let (hook, seen) = Guard::spec(rig, &["shrink", "resize", "idle exit", "terminate"]);
    let pond = rig.build("unasked", |builder| builder.limits(Limits::fixed(1)).hook_spec(hook));
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let worker = pond.worker_of(&held);
    let row = pond.terminate_one(Select::worker(worker), rig.kill());
    assert_eq!(row.fate, rig.fate_of_a_kill());
    rig.fails(held);
    hold.let_go();
    rig.soon(pond.shutdown(rig.limit())).expect("it ends");
    assert!(seen.asked().iter().all(|word| *word == "start"), "{:?}", seen.asked());
}

/// Without a queue, whoever has the job learns at once; the backend is not asked for that worker.
pub(super) fn a_denied_start_is_the_outcome_of_a_job_that_was_handed_over_to_it<S: Subject>(rig: Rig<'_, S>) {
    let (hook, _) = Guard::spec(rig, &["start"]);
    let lane = Lane::new("default").capacity(0);
    let pond = rig.build("veto-direct", |builder| builder.limits(Limits::new(0, 1)).default_lane(lane).hook_spec(hook));
    let error = rig.fails(pond.put(rig.value(1)));
    let JobError::StartFailed(failed) = &error else { panic!("{error}") };
    assert!(matches!(&*failed.source, StartError::Vetoed(veto) if *veto.by == *"guard"), "{error}");
    assert_eq!(pond.workers(), []);
}

pub(super) fn what_happens_is_told<S: Subject>(rig: Rig<'_, S>) {
    let (hook, seen) = Guard::spec(rig, &[]);
    let pond = rig.build("told", |builder| builder.limits(Limits::fixed(1)).hook_spec(hook));
    rig.answer(pond.put(rig.value(0)));
    rig.soon(pond.resize(Limits::fixed(2), rig.limit())).expect("allowed");
    rig.soon(pond.quiesce(rig.limit())).expect("it is open");
    rig.soon(pond.resume(rig.limit())).expect("it is quiesced");
    let worker = pond.workers()[0];
    pond.terminate(Select::worker(worker), rig.kill());
    rig.until("all is told", || {
        seen.count(|notice| matches!(notice, Notice::WorkerStarted { .. })) >= 3
            && seen.count(|notice| matches!(notice, Notice::WorkerGone { worker: gone, .. } if *gone == worker)) == 1
    });
    assert_eq!(seen.count(|notice| matches!(notice, Notice::Resized { to, .. } if *to == Limits::fixed(2))), 1);
    for word in ["quiesced", "open"] {
        assert_eq!(seen.count(|notice| matches!(notice, Notice::Gate(gate) if *gate == word)), 1, "{word}");
    }
    rig.soon(pond.shutdown(rig.limit())).expect("it ends");
    rig.until("the end is told too", || seen.count(|notice| matches!(notice, Notice::Gate("closed"))) == 1);
}

/// Readers have it before their stream ends; a hook has it last.
pub(super) fn the_end_of_a_pool_is_told_once_whatever_ended_it<S: Subject>(rig: Rig<'_, S>) {
    for how in 0..4 {
        let (hook, seen) = Guard::spec(rig, &[]);
        let pond = rig.build("closed", |builder| builder.limits(Limits::fixed(1)).hook_spec(hook));
        let hold = Hold::new();
        // A shutdown waits for it.
        let held = (how > 0).then(|| pond.hold_one(&hold));
        let mut events = pond.events();
        match how {
            0 => assert!(rig.soon(pond.shutdown(rig.limit())).is_ok()),
            1 => pond.abort(),
            2 => pond.actor().stop(None),
            _ => pond.actor().kill(),
        }
        let mut gates = Vec::new();
        while let Some(event) = rig.soon(events.next()) {
            if let PoolEvent::Gate { state, .. } = event {
                gates.push(state);
            }
        }
        assert_eq!(gates.iter().filter(|gate| **gate == "closed").count(), 1, "{gates:?}");
        assert_eq!((gates.last(), pond.snapshot().gate), (Some(&"closed"), "closed"));
        rig.until("the hook is told", || seen.last_is_the_end());
        assert_eq!(seen.count(|notice| matches!(notice, Notice::Gate("closed"))), 1);
        hold.let_go();
        if let Some(held) = held {
            rig.fails(held);
        }
    }
}
