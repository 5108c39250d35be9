//! Another restart policy for a pool that runs. On a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ControlError, EventStream, Exit, Health, Limits, NewRestartPolicy, PoolEvent, PoolExecutor, Restart, RestartPolicy,
    SlotHistory, TimeLimit, Timestamp,
};
use parking_lot::Mutex;
use tokio_test::{assert_pending, task::spawn};

use crate::faults::{By, Faulty, with_faults};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::task::Gate;

with_faults! {
    a_policy_that_is_set_decides_from_then_on_and_about_slots_that_are_empty,
    a_policy_that_is_set_is_asked_what_its_predecessor_does_not_answer,
    a_policy_that_is_set_and_misbehaves_is_replaced,
    what_a_policy_has_said_goes_with_it_when_it_is_replaced,
    the_default_can_be_set,
    a_policy_is_let_go_of_aside,
    a_pool_that_ends_takes_no_policy,
}

const SECOND: Duration = Duration::from_secs(1);

fn ruled<S: Faulty>(what: &str, policy: impl RestartPolicy) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool = build::<S>(what, |builder| {
        S::shape(builder).limits(Limits::fixed(2)).restart_policy(policy).clock(clock.clock())
    });
    until("both are up", || pool.saturation().idle == 2);
    (pool, clock)
}

fn fault<S: Faulty>(pool: &PoolOf<S>) {
    assert!(soon(S::lay(pool).light()).is_err());
}

fn set(pool: &dyn PoolExecutor, policy: NewRestartPolicy) {
    pool.blocking().set_restart_policy(policy, LIMIT).expect("it answers");
}

/// The next event that is about a policy.
fn verdict(events: &mut EventStream) -> PoolEvent {
    use PoolEvent::{PolicyReplaced, RestartDecided, RestartPolicySet};
    loop {
        let event = soon(events.next()).expect("the pool is there");
        if matches!(event, PolicyReplaced { .. } | RestartDecided { .. } | RestartPolicySet { .. }) {
            return event;
        }
    }
}

#[track_caller]
fn decides(events: &mut EventStream, expected: &Restart) {
    match verdict(events) {
        PoolEvent::RestartDecided { restart, .. } => assert_eq!(restart, *expected),
        other => panic!("instead of a decision came {other:?}"),
    }
}

fn after(delay: Duration) -> Restart {
    Restart::After(delay)
}

/// That is what an operator wants who sets one: slots that were given up, or cool down for long, come back.
fn a_policy_that_is_set_decides_from_then_on_and_about_slots_that_are_empty<S: Faulty>() {
    let (pool, clock) = ruled::<S>("set", By(|| Restart::Never));
    let mut events = pool.events();
    fault::<S>(&pool);
    decides(&mut events, &Restart::Never);
    after_control(&pool);
    assert!(pool.snapshot().health.is_degraded());
    set(&pool, NewRestartPolicy::new(By(|| after(SECOND))));
    assert!(matches!(verdict(&mut events), PoolEvent::RestartPolicySet { .. }));
    decides(&mut events, &after(SECOND));
    after_control(&pool);
    clock.advance(SECOND);
    until("both are up", || pool.saturation().idle == 2);
    fault::<S>(&pool);
    decides(&mut events, &after(SECOND));
    after_control(&pool);
    clock.advance(SECOND);
    until("both are up again", || pool.saturation().idle == 2);
    after_control(&pool);
    assert_eq!(pool.snapshot().health, Health::Healthy);
    at_rest(&pool);
}

/// Hangs until the sender is dropped, which a test that fails does too.
struct Hangs {
    word: Mutex<Receiver<()>>,
    asked: Arc<AtomicBool>,
    answered: Arc<AtomicBool>,
}

impl RestartPolicy for Hangs {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.asked.store(true, Ordering::Release);
        assert!(self.word.lock().recv().is_err(), "nothing is sent");
        self.answered.store(true, Ordering::Release);
        Restart::Escalate("far too late".to_owned())
    }
}

fn a_policy_that_is_set_is_asked_what_its_predecessor_does_not_answer<S: Faulty>() {
    let (asked, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (release, word) = sync_channel::<()>(1);
    let hangs = Hangs { word: Mutex::new(word), asked: asked.clone(), answered: answered.clone() };
    let (pool, clock) = ruled::<S>("set-instead", hangs);
    let mut events = pool.events();
    fault::<S>(&pool);
    until("it is asked", || asked.load(Ordering::Acquire));
    set(&pool, NewRestartPolicy::new(By(|| after(Duration::ZERO))));
    assert!(matches!(verdict(&mut events), PoolEvent::RestartPolicySet { .. }));
    decides(&mut events, &after(Duration::ZERO));
    until("both are up", || pool.saturation().idle == 2);
    // What the one that was set aside does by its limit, or says after it, is nobody's concern.
    clock.advance(SECOND);
    drop(release);
    until("it answers in the end", || answered.load(Ordering::Acquire));
    after_control(&pool);
    fault::<S>(&pool);
    decides(&mut events, &after(Duration::ZERO));
    until("both are up again", || pool.saturation().idle == 2);
    assert_eq!(pool.snapshot().gate, "open");
    at_rest(&pool);
}

fn a_policy_that_is_set_and_misbehaves_is_replaced<S: Faulty>() {
    for (what, policy) in [
        ("panicked: no idea", NewRestartPolicy::new(By(|| panic!("no idea")))),
        ("a delay of ", NewRestartPolicy::new(By(|| after(SECOND * 1_000_000_000)))),
    ] {
        let (pool, clock) = ruled::<S>("set-and-replaced", By(|| Restart::CoolDown(SECOND * 60)));
        let mut events = pool.events();
        fault::<S>(&pool);
        decides(&mut events, &Restart::CoolDown(SECOND * 60));
        after_control(&pool);
        set(&pool, policy);
        assert!(matches!(verdict(&mut events), PoolEvent::RestartPolicySet { .. }));
        match verdict(&mut events) {
            PoolEvent::PolicyReplaced { reason } => assert!(reason.contains(what), "{reason}"),
            other => panic!("instead of its replacement came {other:?}"),
        }
        decides(&mut events, &after(Duration::ZERO));
        until("both are up", || pool.saturation().idle == 2);
        clock.advance(SECOND);
        at_rest(&pool);
    }
}

/// Otherwise a pool that has had a fault of its policy's for a minute has half its workers for ever.
fn what_a_policy_has_said_goes_with_it_when_it_is_replaced<S: Faulty>() {
    for before in [Restart::Never, Restart::CoolDown(SECOND * 60), after(SECOND * 60)] {
        let (first, said) = (AtomicBool::new(true), before.clone());
        let policy = By(move || if first.swap(false, Ordering::AcqRel) { said.clone() } else { panic!("no idea") });
        let (pool, clock) = ruled::<S>("replaced-whole", policy);
        let mut events = pool.events();
        fault::<S>(&pool);
        decides(&mut events, &before);
        fault::<S>(&pool);
        assert!(matches!(verdict(&mut events), PoolEvent::PolicyReplaced { .. }));
        decides(&mut events, &after(Duration::ZERO));
        decides(&mut events, &after(Duration::ZERO));
        until("both are up", || pool.saturation().idle == 2);
        after_control(&pool);
        assert_eq!(pool.snapshot().health, Health::Healthy, "after {before:?}");
        clock.advance(SECOND);
        at_rest(&pool);
    }
}

fn the_default_can_be_set<S: Faulty>() {
    let (pool, _clock) = ruled::<S>("set-default", By(|| Restart::Never));
    let mut events = pool.events();
    set(&pool, NewRestartPolicy::default());
    assert!(matches!(verdict(&mut events), PoolEvent::RestartPolicySet { .. }));
    fault::<S>(&pool);
    decides(&mut events, &after(Duration::ZERO));
    until("both are up", || pool.saturation().idle == 2);
}

/// Its drop hangs until the gate opens.
struct Clings(Arc<Gate>);

impl RestartPolicy for Clings {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        after(Duration::ZERO)
    }
}

impl Drop for Clings {
    fn drop(&mut self) {
        crate::task::Task::blocking(&self.0).run();
    }
}

fn a_policy_is_let_go_of_aside<S: Faulty>() {
    let gate = Arc::new(Gate::new());
    let (pool, _clock) = ruled::<S>("set-clings", Clings(gate.clone()));
    for dropped in 1..=3 {
        set(&pool, NewRestartPolicy::new(Clings(gate.clone())));
        until("the one before is being dropped", || gate.entered() >= dropped);
    }
    pool.abort();
    // Undelivered, it is dropped aside as well.
    let answer = pool.blocking().set_restart_policy(NewRestartPolicy::new(Clings(gate.clone())), LIMIT);
    assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
    gate.open();
    until("all are", || gate.entered() == 5);
}

fn a_pool_that_ends_takes_no_policy<S: Faulty>() {
    let (pool, clock) = ruled::<S>("set-late", By(|| Restart::Never));
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let mut shutdown = spawn(pool.shutdown(TimeLimit::secs(60)));
    assert_pending!(shutdown.poll());
    after_control(&pool);
    let answer = soon(pool.set_restart_policy(NewRestartPolicy::default(), LIMIT));
    let Err(error @ ControlError::TooLate { operation: "set the restart policy", .. }) = answer else {
        panic!("{answer:?}")
    };
    assert!(error.to_string().contains("cannot set the restart policy"), "{error}");
    gate.open();
    soon(held).unwrap();
    clock.advance(SECOND);
    soon(shutdown).expect("it answers");
    let answer = soon(pool.set_restart_policy(NewRestartPolicy::default(), LIMIT));
    assert!(matches!(answer, Err(ControlError::Closed { .. })), "{answer:?}");
}
