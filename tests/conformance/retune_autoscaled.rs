//! Autoscalers come and go while the pool runs, on a clock that the test moves. `DESIGN.md`, sections 5 and 14.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Autoscaler, By, ControlError, HookSpec, Lane, LaneChange, Limits, Notice, PoolEvent, PoolExecutor, Retune,
    Snapshot, Verdict,
};
use parking_lot::Mutex;

use crate::answers::Answers;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, soon, until};
use crate::subject::Subject;
use crate::task::Gate;

conform! {
    an_autoscaler_that_is_set_begins_its_period_anew,
    an_autoscaler_that_is_removed_is_not_heard_any_more_and_what_was_set_is_in_force,
    a_reserve_that_is_raised_raises_the_limit_that_an_autoscaler_has_chosen,
    a_bound_that_is_lowered_is_kept_to_and_told,
}

const MILLI: Duration = Duration::from_millis(1);
const PERIOD: Duration = Duration::from_secs(10);

/// Wants so many, and counts how often it is asked; at its gate, if it has one.
#[derive(Clone, Default)]
struct Wants(Arc<(AtomicUsize, AtomicUsize, Mutex<Option<Gate>>)>);

impl Wants {
    fn new(workers: usize) -> Self {
        let wants = Self::default();
        wants.0.0.store(workers, Ordering::Release);
        wants
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::Acquire)
    }
}

impl Autoscaler for Wants {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        self.0.1.fetch_add(1, Ordering::AcqRel);
        let gate = self.0.2.lock().as_ref().map(Gate::other);
        if let Some(gate) = gate {
            gate.pass();
        }
        self.0.0.load(Ordering::Acquire)
    }
}

#[track_caller]
fn limit_becomes<S: Subject>(pool: &PoolOf<S>, limit: usize) {
    until("the limit is what is wanted", || pool.saturation().limit == limit);
}

fn an_autoscaler_that_is_set_begins_its_period_anew<S: Subject>() {
    let clock = SettableClock::new();
    let (first, second) = (Wants::new(2), Wants::new(3));
    let pool = build::<S>("scaler-set", |builder| builder.limits(Limits::new(1, 6)).clock(clock.clock()));
    let advance = |span| {
        clock.advance(span);
        after_control(&pool);
    };
    let set = |wants: &Wants| {
        let change = Retune::new().autoscaler(wants.clone(), PERIOD);
        soon(pool.retune(change, LIMIT)).expect("it can be done").retuned
    };
    let retuned = set(&first);
    assert_eq!((retuned.from.autoscaled_every, retuned.to.autoscaled_every), (None, Some(PERIOD)));
    advance(PERIOD - MILLI);
    assert_eq!((first.asked(), pool.saturation().limit), (0, 6), "it is asked when its period is over");
    advance(MILLI);
    limit_becomes::<S>(&pool, 2);
    after_control(&pool);
    advance(PERIOD - MILLI);
    let retuned = set(&second);
    assert!(retuned.autoscaler);
    assert_eq!((retuned.to.limits, retuned.to.bounds), (Limits::new(1, 2), Limits::new(1, 6)));
    advance(MILLI);
    advance(PERIOD - MILLI * 2);
    assert_eq!((first.asked(), second.asked()), (1, 0));
    advance(MILLI);
    limit_becomes::<S>(&pool, 3);
    // New limits beside it are its bounds.
    let third = Wants::new(9);
    let change = Retune::new().autoscaler(third.clone(), PERIOD).limits(Limits::new(1, 4));
    soon(pool.retune(change, LIMIT)).expect("it can be done");
    assert_eq!(pool.saturation().limit, 4);
    third.0.0.store(2, Ordering::Release);
    advance(PERIOD);
    limit_becomes::<S>(&pool, 2);
    at_rest(&pool);
}

fn an_autoscaler_that_is_removed_is_not_heard_any_more_and_what_was_set_is_in_force<S: Subject>() {
    let clock = SettableClock::new();
    let (slow, gate) = (Wants::new(5), Gate::new());
    let pool = build::<S>("scaler-gone", |builder| {
        builder.limits(Limits::new(1, 6)).clock(clock.clock()).autoscaler(slow.clone(), PERIOD)
    });
    limit_becomes::<S>(&pool, 5);
    after_control(&pool);
    *slow.0.2.lock() = Some(gate.other());
    clock.advance(PERIOD);
    until("it is asked", || slow.asked() == 2);
    slow.0.0.store(1, Ordering::Release);
    let retuned = soon(pool.retune(Retune::new().no_autoscaler(), LIMIT)).expect("it can be done").retuned;
    assert_eq!((retuned.to.autoscaled_every, retuned.to.limits, retuned.to.bounds), {
        (None, Limits::new(1, 6), Limits::new(1, 6))
    });
    // Another comes, and is asked its first question while the first one's answer is on its way.
    let other = Wants::new(3);
    soon(pool.retune(Retune::new().autoscaler(other.clone(), PERIOD), LIMIT)).expect("it can be done");
    let second = Gate::new();
    *other.0.2.lock() = Some(second.other());
    clock.advance(PERIOD);
    after_control(&pool);
    gate.open();
    until("the other is asked", || other.asked() == 1);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 6, "what the first one says is nobody's answer");
    second.open();
    limit_becomes::<S>(&pool, 3);
    at_rest(&pool);
}

fn a_reserve_that_is_raised_raises_the_limit_that_an_autoscaler_has_chosen<S: Subject>() {
    let (clock, wants) = (SettableClock::new(), Wants::new(5));
    let pool = build::<S>("scaler-reserve", |builder| {
        let builder = builder.limits(Limits::new(3, 6)).lane(Lane::new("dns")).clock(clock.clock());
        builder.autoscaler(wants.clone(), PERIOD)
    });
    limit_becomes::<S>(&pool, 5);
    // Each answer shows, so that no time passes while it is on its way.
    let next = |wanted, limit| {
        wants.0.0.store(wanted, Ordering::Release);
        after_control(&pool);
        clock.advance(PERIOD);
        limit_becomes::<S>(&pool, limit);
    };
    let change = |seats| Retune::new().lane(LaneChange::new("dns").reserve(seats));
    next(1, 3);
    let retuned = soon(pool.retune(change(3), LIMIT)).expect("it goes with what was set").retuned;
    assert_eq!((retuned.to.limits, retuned.to.bounds), (Limits::new(3, 4), Limits::new(3, 6)));
    let error = soon(pool.retune(change(4), LIMIT)).expect_err("three are kept up");
    assert!(matches!(error, ControlError::Config { .. }), "{error}");
    next(6, 6);
    next(1, 4);
    soon(pool.retune(change(1), LIMIT)).expect("it can be done");
    assert_eq!(pool.saturation().limit, 4, "it is the autoscaler's to lower it");
    next(1, 3);
    at_rest(&pool);
}

fn a_bound_that_is_lowered_is_kept_to_and_told<S: Subject>() {
    // Less than an autoscaler has for an answer: when the test has seen that it was asked, control may not have its answer yet.
    let period = MILLI * 100;
    let (clock, wants, wide, narrow) = (SettableClock::new(), Wants::new(5), Limits::new(1, 6), Limits::new(1, 3));
    let pool = build::<S>("scaler-bound", |builder| {
        builder.limits(wide).autoscaler(wants.clone(), period).clock(clock.clock())
    });
    limit_becomes::<S>(&pool, 5);
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    soon(pool.set_hook(HookSpec::new("all", hook), LIMIT)).expect("there is room");
    let next_period = |limit| {
        after_control(&pool);
        let asked = wants.asked();
        clock.advance(period);
        until("it is asked", || wants.asked() > asked);
        limit_becomes::<S>(&pool, limit);
        after_control(&pool);
    };
    let mut events = pool.events();
    let mut changes = || {
        let of_limits = |event: &PoolEvent| match event {
            PoolEvent::Resized { from, to, bounds_from, bounds, by: By::Operator(_) } => {
                Some((*from, *to, *bounds_from, *bounds))
            }
            PoolEvent::Resized { .. } | PoolEvent::PolicyReplaced { .. } => panic!("{event:?}"),
            _ => None,
        };
        std::iter::from_fn(|| events.try_next()).filter_map(|event| of_limits(&event)).collect::<Vec<_>>()
    };
    let told = |from, to, bounds_from, bounds| {
        let notice = Notice::Resized { from, to, bounds_from, bounds };
        until("the hook is told", || seen.count(|seen| format!("{seen:?}") == format!("{notice:?}")) == 1);
    };
    let set = |limits: Limits| soon(pool.retune(Retune::new().limits(limits), LIMIT)).expect("it is allowed").retuned;
    let retuned = set(narrow);
    assert_eq!((retuned.to.limits, retuned.to.bounds, pool.saturation().limit), (narrow, narrow, 3));
    assert_eq!(changes(), [(Limits::new(1, 5), narrow, wide, narrow)]);
    told(Limits::new(1, 5), narrow, wide, narrow);
    // It wants as many as before, and then fewer.
    (0..3).for_each(|_| next_period(3));
    wants.0.0.store(2, Ordering::Release);
    next_period(2);
    // Within bounds that have room for what it has chosen, what was set is in force until it has been asked.
    set(wide);
    assert_eq!(changes(), [(Limits::new(1, 2), wide, narrow, wide)]);
    told(Limits::new(1, 2), wide, narrow, wide);
    next_period(2);
    at_rest(&pool);
}
