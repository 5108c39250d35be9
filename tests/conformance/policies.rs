//! Restart policies that misbehave: one that panics, passes its limit or answers nonsense is replaced by the default, which is told
//! with a reason. On a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{EventStream, Exit, Limits, PoolEvent, PoolExecutor, Restart, RestartPolicy, SlotHistory, Timestamp};
use parking_lot::Mutex;

use crate::faults::{By, Faulty, with_faults};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::task::Gate;

with_faults! {
    a_policy_that_panics_is_replaced,
    a_policy_that_panics_when_asked_for_healthy_after_is_replaced,
    a_policy_that_asks_for_an_absurd_delay_is_replaced,
    a_policy_that_asks_for_an_endless_cool_down_is_replaced,
    a_policy_that_hangs_is_replaced_at_its_limit,
    a_question_is_no_absence_until_it_takes_long,
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// What a policy may take, by its documentation.
const POLICY_LIMIT: Duration = Duration::from_secs(1);

fn ruled<S: Faulty>(what: &str, policy: impl RestartPolicy) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    let pool = build::<S>(what, |builder| {
        S::shape(builder).limits(Limits::fixed(2)).restart_policy(policy).clock(clock.clock())
    });
    until("both are up", || pool.saturation().idle == 2);
    (pool, clock)
}

/// One worker ends by a fault.
fn fault<S: Faulty>(pool: &PoolOf<S>) {
    assert!(soon(S::lay(pool).light()).is_err());
}

/// The next event that says what became of a policy or a slot.
fn verdict(events: &mut EventStream) -> PoolEvent {
    loop {
        let event = soon(events.next()).expect("the pool is there");
        if matches!(event, PoolEvent::PolicyReplaced { .. } | PoolEvent::RestartDecided { .. }) {
            return event;
        }
    }
}

fn control_answers<S: Faulty>(pool: &PoolOf<S>) {
    soon(pool.inventory(LIMIT)).expect("inventory is answered");
    soon(pool.resize(Limits::fixed(3), LIMIT)).expect("a resize is answered");
    soon(pool.resize(Limits::fixed(2), LIMIT)).expect("a resize is answered");
    soon(pool.quiesce(LIMIT)).expect("quiesce is answered");
    soon(pool.resume(LIMIT)).expect("resume is answered");
}

/// The policy was replaced, for a reason that says `what` it did, and a replacement worker runs jobs.
fn recovers<S: Faulty>(pool: &PoolOf<S>, events: &mut EventStream, what: &str) {
    match verdict(events) {
        PoolEvent::PolicyReplaced { reason } => assert!(reason.contains(what), "{reason}"),
        other => panic!("before the policy was replaced came {other:?}"),
    }
    match verdict(events) {
        PoolEvent::RestartDecided { restart, .. } => assert_eq!(restart, Restart::After(Duration::ZERO)),
        other => panic!("instead of the default's decision came {other:?}"),
    }
    control_answers::<S>(pool);
    until("both are up again", || pool.saturation().idle == 2);
    let gate = Gate::new();
    let held = hold::<S>(pool, &gate, 2);
    assert!(pool.inventory_now().workers.iter().any(|row| row.worker.generation > 1), "one is a replacement");
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
}

/// From now on the default decides.
fn is_by_the_default<S: Faulty>(pool: &PoolOf<S>, clock: &SettableClock, events: &mut EventStream) {
    fault::<S>(pool);
    let event = verdict(events);
    assert!(matches!(event, PoolEvent::RestartDecided { .. }), "the default is not replaced: {event:?}");
    // So that the advance finds the delay in force.
    after_control(pool);
    clock.advance(Duration::from_secs(5));
    until("both are up once more", || pool.saturation().idle == 2);
    at_rest(pool);
}

fn is_replaced<S: Faulty>(name: &str, policy: impl RestartPolicy, what: &str) {
    let (pool, clock) = ruled::<S>(name, policy);
    let mut events = pool.events();
    fault::<S>(&pool);
    control_answers::<S>(&pool);
    recovers::<S>(&pool, &mut events, what);
    is_by_the_default::<S>(&pool, &clock, &mut events);
}

fn a_policy_that_panics_is_replaced<S: Faulty>() {
    is_replaced::<S>("policy-panics", By(|| panic!("no idea")), "panicked: no idea");
}

/// Sound in all but its second method.
struct Unhealthy;

impl RestartPolicy for Unhealthy {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::Never
    }

    fn healthy_after(&self) -> Duration {
        panic!("who is healthy?")
    }
}

fn a_policy_that_panics_when_asked_for_healthy_after_is_replaced<S: Faulty>() {
    is_replaced::<S>("policy-health", Unhealthy, "panicked: who is healthy?");
}

fn a_policy_that_asks_for_an_absurd_delay_is_replaced<S: Faulty>() {
    is_replaced::<S>("policy-absurd", By(|| Restart::After(CENTURY)), "a delay of 3153600000s");
}

fn a_policy_that_asks_for_an_endless_cool_down_is_replaced<S: Faulty>() {
    is_replaced::<S>("policy-endless", By(|| Restart::CoolDown(Duration::MAX)), "a delay of ");
}

fn a_policy_that_hangs_is_replaced_at_its_limit<S: Faulty>() {
    let (asked, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // Hangs until the sender is dropped, which a test that fails does too.
    let (release, hangs) = sync_channel::<()>(1);
    let (hangs, entered, left) = (Mutex::new(hangs), asked.clone(), answered.clone());
    let policy = By(move || {
        entered.store(true, Ordering::Release);
        assert!(hangs.lock().recv().is_err(), "nothing is sent");
        left.store(true, Ordering::Release);
        Restart::Escalate("far too late".to_owned())
    });
    let (pool, clock) = ruled::<S>("policy-hangs", policy);
    let mut events = pool.events();
    fault::<S>(&pool);
    until("the policy is asked", || asked.load(Ordering::Acquire));
    control_answers::<S>(&pool);
    let milli = Duration::from_millis(1);
    clock.advance(POLICY_LIMIT - milli);
    after_control(&pool);
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, PoolEvent::PolicyReplaced { .. }), "it has a second: {event:?}");
    }
    clock.advance(milli);
    recovers::<S>(&pool, &mut events, "did not answer within 1s");
    assert!(!answered.load(Ordering::Acquire), "all that while it hangs");
    drop(release);
    until("it answers in the end", || answered.load(Ordering::Acquire));
    is_by_the_default::<S>(&pool, &clock, &mut events);
    assert_eq!(pool.snapshot().gate, "open", "what it said so late counts for nothing");
}

/// A worker that is replaced at once is no change of the pool's health; one whose policy takes its time is.
fn a_question_is_no_absence_until_it_takes_long<S: Faulty>() {
    let (answer, answers) = sync_channel::<Restart>(1);
    let (asked, answers) = (Arc::new(AtomicBool::new(false)), Mutex::new(answers));
    let entered = asked.clone();
    let policy = By(move || {
        entered.store(true, Ordering::Release);
        answers.lock().recv().unwrap_or(Restart::Never)
    });
    let (pool, clock) = ruled::<S>("question", policy);
    let mut events = pool.events();
    let missing = || (pool.saturation().missing, pool.snapshot().health.is_degraded());

    for patient in [true, false] {
        asked.store(false, Ordering::Release);
        fault::<S>(&pool);
        until("the policy is asked", || asked.load(Ordering::Acquire));
        after_control(&pool);
        clock.advance(Duration::from_millis(99));
        after_control(&pool);
        assert_eq!(missing(), (0, false), "{}", pool.snapshot().health);
        if !patient {
            clock.advance(Duration::from_millis(1));
            after_control(&pool);
            assert_eq!(missing(), (1, true), "{}", pool.snapshot().health);
        }
        answer.send(Restart::After(Duration::ZERO)).expect("the policy listens");
        until("both are up", || pool.saturation().idle == 2);
        after_control(&pool);
        assert_eq!(missing(), (0, false));
        let mut told = 0;
        while let Some(event) = events.try_next() {
            told += usize::from(matches!(event, PoolEvent::Health(_)));
        }
        assert_eq!(told > 0, !patient, "{told} changes of health");
    }
    at_rest(&pool);
}
