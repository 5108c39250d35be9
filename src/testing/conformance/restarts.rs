//! How workers come up and go: what is a fault, who is asked about it, and what becomes of the slot.

use std::time::Duration;

use super::rig::{Rig, SECOND};
use super::tether::Hold;
use super::{AfterCrash, Subject};
use crate::config::{Lane, Limits};
use crate::control::{PoolEvent, Select};
use crate::executor::PoolExecutor;
use crate::policy::{Exit, Restart, RestartPolicy, SlotHistory};
use crate::snapshot::{Health, WorkerState};
use crate::sync::{Arc, Mutex, Timestamp};

/// What a policy was asked.
type Asked = Arc<Mutex<Vec<(SlotHistory, Exit)>>>;

/// Says the same about every fault, and remembers what they were.
struct Always {
    restart: Restart,
    asked: Asked,
}

impl Always {
    fn new(restart: Restart) -> (Self, Asked) {
        let asked = Asked::default();
        (Self { restart, asked: asked.clone() }, asked)
    }
}

impl RestartPolicy for Always {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart {
        self.asked.lock().push((slot.clone(), exit.clone()));
        self.restart.clone()
    }
}

/// It is idle, and says how long it took; a start that only looks like one is not.
pub(super) fn a_worker_that_was_started_comes_up<S: Subject>(rig: Rig<'_, S>) {
    let (policy, asked) = Always::new(Restart::After(Duration::ZERO));
    let pond = rig.build("comes-up", |builder| builder.limits(Limits::fixed(1)).restart_policy(policy));
    rig.until("it is up", || pond.saturation().idle == 1 || !asked.lock().is_empty());
    let faults: Vec<_> = asked.lock().iter().map(|(_, exit)| exit.to_string()).collect();
    assert_eq!(faults, [""; 0], "none of the workers that were started before it came up");
    let row = pond.inventory_now().workers.remove(0);
    assert_eq!((row.state, row.worker.generation), (WorkerState::Idle, 1));
    assert!(row.start_delay.is_some());
}

/// No worker that works is without a slot, as it would be if a start fails and the worker is there all the same.
pub(super) fn a_pool_has_the_workers_that_it_shows<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("shown", 2, Lane::new("default"));
    // Longer than a slot that is empty may take to be missed.
    clock.advance(SECOND);
    pond.after_control();
    assert_eq!((pond.snapshot().health, pond.saturation().missing), (Health::Healthy, 0));
    let hold = Hold::new();
    let held = pond.hold(&hold, 2);
    let mut slots: Vec<_> = held.iter().map(|handle| pond.worker_of(handle).slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1]);
    hold.let_go();
    rig.returns(held);
    pond.at_rest();
}

/// What is said of a crash is so: the same worker takes the next job, or another one does, in its slot.
pub(super) fn a_crash_does_to_the_worker_what_was_said<S: Subject>(rig: Rig<'_, S>) {
    let (policy, asked) = Always::new(Restart::After(Duration::ZERO));
    let pond = rig.build("crashes", |builder| builder.limits(Limits::fixed(1)).restart_policy(policy));
    rig.until("it is up", || pond.saturation().idle == 1);
    let before = pond.workers()[0];
    rig.fails(pond.put(rig.0.crashes()));
    let hold = Hold::new();
    let held = pond.hold_one(&hold);
    let after = pond.worker_of(&held);
    let ended = u32::from(rig.0.after_crash() == AfterCrash::EndsWorker);
    assert_eq!((after.slot, after.generation), (before.slot, before.generation + ended), "{:?}", rig.0.after_crash());
    assert_eq!(asked.lock().len(), ended as usize, "one crash is one fault, or none");
    hold.let_go();
    rig.returns([held]);
    pond.at_rest();
}

pub(super) fn a_crash_that_ends_its_worker_is_a_fault_and_the_policy_decides<S: Subject>(rig: Rig<'_, S>) {
    let (policy, asked) = Always::new(Restart::After(Duration::ZERO));
    let pond = rig.build("fault", |builder| builder.limits(Limits::fixed(1)).restart_policy(policy));
    rig.until("it is up", || pond.saturation().idle == 1);
    let (first, mut events) = (pond.workers()[0], pond.events());
    rig.fails(pond.put(rig.0.crashes()));
    let exit = rig.event(&mut events, |event| match event {
        PoolEvent::WorkerGone { worker, exit } if worker == first => Some(exit),
        _ => None,
    });
    assert!(exit.is_fault(), "{exit}");
    rig.event(&mut events, |event| match event {
        PoolEvent::RestartDecided { worker, restart } if worker == first => {
            assert_eq!(restart, Restart::After(Duration::ZERO));
            Some(())
        }
        _ => None,
    });
    rig.until("another one is up", || pond.saturation().idle == 1);
    let row = pond.inventory_now().workers.remove(0);
    assert_eq!((row.worker.slot, row.worker.generation, row.restarts), (first.slot, first.generation + 1, 1));
    let told: Vec<_> = asked.lock().iter().map(|(slot, exit)| (slot.worker, exit.to_string())).collect();
    assert_eq!(told, [(first, exit.to_string())]);
    assert_eq!(rig.answer(pond.put(rig.value(1))), 1);
    pond.at_rest();
}

/// The pool says which seats it has lost to that; its other workers go on.
pub(super) fn a_slot_that_is_given_up_is_missing<S: Subject>(rig: Rig<'_, S>) {
    let (policy, _) = Always::new(Restart::Never);
    let pond = rig.build("given-up", |builder| builder.limits(Limits::fixed(2)).restart_policy(policy));
    rig.until("both are up", || pond.saturation().idle == 2);
    assert_eq!(pond.snapshot().health, Health::Healthy);
    rig.fails(pond.put(rig.0.crashes()));
    rig.until("one seat is missing", || pond.saturation().missing == 1);
    rig.until("and the pool says so", || pond.snapshot().health.is_degraded());
    assert_eq!(rig.answer(pond.put(rig.value(1))), 1);
    assert_eq!(pond.saturation().workers, 1);
    rig.fails(pond.put(rig.0.crashes()));
    rig.until("none is left", || pond.snapshot().health.is_unavailable());
}

/// Its jobs end with it, and whoever supervises it decides.
pub(super) fn a_policy_may_give_up_the_pool<S: Subject>(rig: Rig<'_, S>) {
    let (policy, _) = Always::new(Restart::Escalate("enough".to_owned()));
    let pond = rig.build("escalates", |builder| builder.limits(Limits::fixed(1)).restart_policy(policy));
    let mut events = pond.events();
    rig.fails(pond.put(rig.0.crashes()));
    let mut gates = Vec::new();
    while let Some(event) = rig.soon(events.next()) {
        if let PoolEvent::Gate { state, .. } = event {
            gates.push(state);
        }
    }
    assert_eq!(gates, ["closed"]);
    assert!(pond.offer(rig.value(1)).is_err(), "it takes no more jobs");
}

/// Somebody wanted it: the policy is not asked, the seat is filled at once, and the exit says who it was.
pub(super) fn whoever_was_told_to_go_is_no_fault<S: Subject>(rig: Rig<'_, S>) {
    let (policy, asked) = Always::new(Restart::Never);
    let pond = rig.build("no-fault", |builder| builder.limits(Limits::fixed(2)).restart_policy(policy));
    let mut events = pond.events();
    for ladder in [rig.stop(), rig.kill()] {
        rig.until("both are up", || pond.saturation().idle == 2);
        let worker = pond.workers()[0];
        pond.terminate(Select::worker(worker), ladder);
        let exit = gone(rig, &mut events, worker);
        let by_whom = matches!(&exit, Exit::Stopped(by) | Exit::Killed(by) if by.contains("operator"));
        assert!(by_whom && !exit.is_fault(), "{exit}");
    }
    rig.until("both are up again", || pond.saturation().idle == 2);
    let before = pond.workers();
    rig.soon(pond.resize(Limits::fixed(1), rig.limit())).expect("it answers");
    rig.until("one has left", || pond.workers().len() == 1);
    let left = before.into_iter().find(|worker| !pond.workers().contains(worker)).expect("one of them");
    let exit = gone(rig, &mut events, left);
    assert!(matches!(exit, Exit::Retired), "{exit}");
    assert_eq!(asked.lock().len(), 0);
    pond.at_rest();
}

fn gone<S: Subject>(rig: Rig<'_, S>, events: &mut crate::control::EventStream, who: crate::id::WorkerId) -> Exit {
    rig.event(events, |event| match event {
        PoolEvent::WorkerGone { worker, exit } if worker == who => Some(exit),
        _ => None,
    })
}
