//! What a restart policy is told of its slot and its pool. On a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    EventStream, Exit, HookOptions, HookSpec, Limits, NewRestartPolicy, Notice, PoolEvent, PoolExecutor, Restart,
    RestartPolicy, SlotHistory, Timestamp, Verdict,
};
use parking_lot::Mutex;

use crate::answers::Answers;
use crate::faults::{Faulty, with_faults};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::task::Gate;

with_faults! {
    a_policy_sees_the_faults_of_the_whole_pool,
    after_a_cool_down_one_worker_is_a_probe,
    a_probe_that_succeeded_is_told_with_how_long_its_slot_was_out,
    a_probe_that_is_healthy_by_a_new_policy_has_succeeded_before_its_fault,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Cools down whatever fails, and keeps what it was told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<SlotHistory>>>);

impl RestartPolicy for Notes {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.0.lock().push(slot.clone());
        Restart::CoolDown(SECOND * 60)
    }
}

fn noted<S: Faulty>(what: &str) -> (PoolOf<S>, SettableClock, Notes) {
    let (clock, notes) = (SettableClock::new(), Notes::default());
    let pool = build::<S>(what, |builder| {
        S::shape(builder).limits(Limits::fixed(2)).restart_policy(notes.clone()).clock(clock.clock())
    });
    until("both are up", || pool.saturation().idle == 2);
    (pool, clock, notes)
}

/// One worker ends by a fault, and what becomes of its slot is decided.
fn fault<S: Faulty>(pool: &PoolOf<S>, events: &mut EventStream) {
    assert!(soon(S::lay(pool).light()).is_err());
    while !matches!(soon(events.next()), Some(PoolEvent::RestartDecided { .. })) {}
    after_control(pool);
}

fn a_policy_sees_the_faults_of_the_whole_pool<S: Faulty>() {
    let (pool, clock, notes) = noted::<S>("whole-pool");
    let mut events = pool.events();
    let began = clock.now();
    fault::<S>(&pool, &mut events);
    clock.advance(SECOND);
    fault::<S>(&pool, &mut events);
    let notes = notes.0.lock();
    let [first, second] = &**notes else { panic!("{notes:?}") };
    assert_eq!((first.pool.slots, first.pool.empty, &*first.pool.faults), (2, 0, &[began][..]));
    assert_eq!((second.pool.slots, second.pool.empty), (2, 1));
    assert_eq!((&*second.pool.faults, second.faults.len()), (&[began, began.after(SECOND)][..], 1));
    assert_eq!(second.pool.faults_within(clock.now(), SECOND / 2), 1);
}

fn after_a_cool_down_one_worker_is_a_probe<S: Faulty>() {
    let (pool, clock, notes) = noted::<S>("probe");
    let mut events = pool.events();
    let told = || notes.0.lock().last().map(|slot| (slot.streak, slot.cool_downs, slot.is_probe()));
    // The same slot each time, so that it has a history: the other's worker is kept busy.
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let up_again = |clock: &SettableClock| {
        clock.advance(SECOND * 60);
        until("it is up again", || pool.saturation().idle == 1);
        after_control(&pool);
    };
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((1, 0, false)));
    up_again(&clock);
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((2, 1, true)), "the probe failed");
    up_again(&clock);
    clock.advance(SECOND * 10);
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((1, 0, false)), "it had been up for as long as is healthy");
    gate.open();
    soon(held).unwrap();
    clock.advance(SECOND * 60);
    until("both are up", || pool.saturation().idle == 2);
    at_rest(&pool);
}

fn successes(events: &mut EventStream) -> Vec<(u32, Duration)> {
    let told = |event| match event {
        PoolEvent::ProbeSucceeded { cool_downs, out_for, .. } => Some((cool_downs, out_for)),
        _ => None,
    };
    std::iter::from_fn(|| events.try_next()).filter_map(told).collect()
}

fn a_probe_that_succeeded_is_told_with_how_long_its_slot_was_out<S: Faulty>() {
    let (pool, clock, notes) = noted::<S>("back");
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    soon(pool.set_hook(HookSpec::new("audit", hook).options(HookOptions::told_only()), LIMIT)).expect("there is room");
    let (mut events, mut all) = (pool.events(), pool.events());
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let up_again = || {
        clock.advance(SECOND * 60);
        until("it is up again", || pool.saturation().idle == 1);
        after_control(&pool);
    };
    fault::<S>(&pool, &mut events);
    up_again();
    clock.advance(SECOND * 5);
    fault::<S>(&pool, &mut events);
    up_again();
    clock.advance(SECOND * 10 - MILLI);
    after_control(&pool);
    assert_eq!(successes(&mut all), [], "the first probe failed, and the second may yet");
    clock.advance(MILLI);
    after_control(&pool);
    assert_eq!(successes(&mut all), [(2, SECOND * 125)]);
    let succeeded = |notice: &Notice| matches!(notice, Notice::ProbeSucceeded { cool_downs: 2, .. });
    until("the hook is told", || seen.count(succeeded) == 1);
    fault::<S>(&pool, &mut events);
    assert_eq!(notes.0.lock().last().map(|slot| (slot.streak, slot.cool_downs)), Some((1, 0)));
    up_again();
    clock.advance(SECOND * 3600);
    after_control(&pool);
    assert_eq!(successes(&mut all), [(1, SECOND * 60)], "it begins anew, and is told once");
    gate.open();
    soon(held).unwrap();
    at_rest(&pool);
}

/// Cools down for a minute, and takes for healthy who has been up for a second.
struct Content;

impl RestartPolicy for Content {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::CoolDown(SECOND * 60)
    }

    fn healthy_after(&self) -> Duration {
        SECOND
    }
}

fn a_probe_that_is_healthy_by_a_new_policy_has_succeeded_before_its_fault<S: Faulty>() {
    let (pool, clock, _notes) = noted::<S>("content");
    let mut events = pool.events();
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    fault::<S>(&pool, &mut events);
    clock.advance(SECOND * 60);
    until("it is up again", || pool.saturation().idle == 1);
    after_control(&pool);
    soon(pool.set_restart_policy(NewRestartPolicy::new(Content), LIMIT)).expect("it is set");
    clock.advance(SECOND * 2);
    after_control(&pool);
    let mut all = pool.events();
    fault::<S>(&pool, &mut events);
    assert_eq!(successes(&mut all), [(1, SECOND * 60)]);
    gate.open();
    soon(held).unwrap();
    clock.advance(SECOND * 60);
    until("both are up", || pool.saturation().idle == 2);
    at_rest(&pool);
}
