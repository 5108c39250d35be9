//! What an autoscaler wants is asked about as a resize is: a veto leaves the limit what it is, and what comes after something newer does
//! nothing. On a clock that the test moves.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    By, EventStream, HookOptions, HookSpec, Lane, LaneChange, Limits, PoolEvent, PoolExecutor, Question, Retune,
    Verdict,
};

use crate::answers::{Answers, Seen};
use crate::autoscale::Told;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, soon, until};
use crate::subject::Subject;
use crate::task::Gate;

conform! {
    what_is_denied_stays_and_is_asked_for_again_next_period,
    it_is_not_asked_while_hooks_are,
    a_late_answer_does_nothing_after_a_resize_by_hand,
    a_late_answer_does_nothing_after_a_swap_of_the_autoscaler,
    what_is_not_wanted_any_more_when_its_delay_is_over_is_not_done,
    what_is_wanted_still_when_its_delay_is_over_is_done_as_far_as_hooks_were_asked,
    growth_does_not_wait_for_a_shrink_that_is_delayed,
    what_was_allowed_for_other_reserves_is_done_as_far_as_they_are_kept,
    hooks_are_not_asked_about_the_end_of_an_autoscaler,
    a_shutdown_resizes_nothing_any_more,
}

/// Many of them are less than an autoscaler has for an answer: when the test has seen that it was asked, control may not have its answer yet.
const PERIOD: Duration = Duration::from_millis(100);
const DELAY: Duration = Duration::from_millis(500);
const HOUR: Duration = Duration::from_secs(3600);

/// A pool of two workers whose autoscaler wants two and has been asked once, with a hook that is asked from then on.
struct Rig<S: Subject> {
    pool: PoolOf<S>,
    clock: SettableClock,
    told: Told,
    seen: Seen,
    events: EventStream,
}

fn rig<S: Subject>(what: &str, (hook, seen): (Answers, Seen)) -> Rig<S> {
    let (clock, told) = (SettableClock::new(), Told::default());
    told.wants(2);
    let pool = build::<S>(what, |builder| {
        let builder = builder.limits(Limits::new(2, 4)).lane(Lane::new("dns"));
        builder.autoscaler(told.clone(), PERIOD).clock(clock.clock())
    });
    until("it is up, and asked as it begins", || (pool.saturation().idle, told.asked()) == (2, 1));
    let hook = HookSpec::new("budget", hook).options(HookOptions::new().limit(HOUR * 24));
    soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    let events = pool.events();
    Rig { pool, clock, told, seen, events }
}

impl<S: Subject> Rig<S> {
    /// Lets a period pass, and waits until the autoscaler has been asked in it.
    #[track_caller]
    fn next_period(&self) {
        after_control(&self.pool);
        let asked = self.told.asked();
        self.clock.advance(PERIOD);
        until("it is asked", || self.told.asked() > asked);
    }

    /// The next of the events about what it wants.
    fn next(&mut self) -> PoolEvent {
        loop {
            let event = soon(self.events.next()).expect("the pool is there");
            if matches!(event, PoolEvent::Vetoed { .. } | PoolEvent::Scaled { .. } | PoolEvent::PolicyReplaced { .. }) {
                return event;
            }
        }
    }

    /// More workers are wanted, and allowed at once.
    #[track_caller]
    fn grows(&mut self, to: usize) {
        self.told.wants(to);
        self.next_period();
        assert!(matches!(self.next(), PoolEvent::Scaled { to: max, .. } if max == to), "growth is allowed");
    }

    /// Fewer workers are wanted, and allowed after a while.
    #[track_caller]
    fn is_put_off(&self, to: usize) {
        let asked = self.seen.asked().len();
        self.told.wants(to);
        self.next_period();
        until("it is asked about", || self.seen.asked().len() > asked);
        assert!(self.seen.asked().ends_with(&["shrink"]), "{:?}", self.seen.asked());
        until("it is delayed", || soon(self.pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
    }

    /// The delay is over, and the autoscaler has been asked since.
    #[track_caller]
    fn after_the_delay(&self) {
        after_control(&self.pool);
        let asked = self.told.asked();
        self.clock.advance(DELAY);
        until("it is asked anew", || self.told.asked() > asked);
        after_control(&self.pool);
    }

    /// What it came to, so far as that has happened.
    fn scaled(&mut self) -> Vec<usize> {
        let events = std::iter::from_fn(|| self.events.try_next());
        events.filter_map(|event| if let PoolEvent::Scaled { to, .. } = event { Some(to) } else { None }).collect()
    }
}

fn what_is_denied_stays_and_is_asked_for_again_next_period<S: Subject>() {
    let mut rig = rig::<S>("scaled-veto", Answers::denying("resize"));
    rig.told.wants(3);
    for _ in 0..2 {
        rig.next_period();
        let PoolEvent::Vetoed { question, veto, by } = rig.next() else { panic!("nothing else happens") };
        assert_eq!(question, Question::Resize { from: Limits::new(2, 2), to: Limits::new(2, 3) });
        assert_eq!((&*veto.by, &*veto.reason, by), ("budget", "no resize today", By::Autoscaler));
        after_control(&rig.pool);
        assert_eq!(rig.pool.saturation().limit, 2);
    }
    assert_eq!(rig.seen.asked(), ["resize"; 2]);
    soon(rig.pool.remove_hook("budget", LIMIT)).expect("it is there");
    rig.next_period();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 2, to: 3 }), "nobody denies it any more");
    at_rest(&rig.pool);
}

fn it_is_not_asked_while_hooks_are<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = rig::<S>("scaled-waits", (hook.behind(gate.other()), seen));
    rig.told.wants(3);
    rig.next_period();
    until("hooks are asked", || rig.seen.asked() == ["resize"]);
    let asked = rig.told.asked();
    for _ in 0..5 {
        after_control(&rig.pool);
        rig.clock.advance(PERIOD);
    }
    after_control(&rig.pool);
    assert_eq!((rig.told.asked(), rig.pool.saturation().limit), (asked, 2));
    gate.open();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 2, to: 3 }));
    until("its period is long over", || rig.told.asked() > asked);
    rig.told.wants(2);
    rig.next_period();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 3, to: 2 }));
    assert_eq!(rig.seen.asked(), ["resize", "shrink"]);
    at_rest(&rig.pool);
}

/// Has a shrink wait for a while, and allows everything else.
fn delays_shrinks() -> (Answers, Seen) {
    Answers::new(|word| if word == "shrink" { Verdict::Delay(DELAY) } else { Verdict::Allow })
}

/// Four workers may be there, and hooks have been asked about two, with an answer that comes after a while.
fn delayed<S: Subject>(what: &str) -> Rig<S> {
    let mut rig = rig::<S>(what, delays_shrinks());
    rig.grows(4);
    rig.is_put_off(2);
    rig
}

fn a_late_answer_does_nothing_after_a_resize_by_hand<S: Subject>() {
    let mut rig = delayed::<S>("scaled-fenced");
    rig.told.wants(6);
    soon(rig.pool.resize(Limits::new(2, 6), LIMIT)).expect("that is growth");
    rig.next_period();
    after_control(&rig.pool);
    rig.clock.advance(DELAY);
    after_control(&rig.pool);
    assert_eq!((rig.scaled(), rig.pool.saturation().limit), (vec![], 6));
    at_rest(&rig.pool);
}

fn a_late_answer_does_nothing_after_a_swap_of_the_autoscaler<S: Subject>() {
    let mut rig = delayed::<S>("scaled-swapped");
    let other = Told::default();
    other.wants(4);
    let change = Retune::new().autoscaler(other.clone(), PERIOD);
    soon(rig.pool.retune(change, LIMIT)).expect("it can be done");
    rig.clock.advance(PERIOD);
    until("the other one is asked", || other.asked() == 1);
    after_control(&rig.pool);
    rig.clock.advance(DELAY);
    after_control(&rig.pool);
    assert_eq!((rig.scaled(), rig.pool.saturation().limit), (vec![], 4));
    at_rest(&rig.pool);
}

fn what_is_not_wanted_any_more_when_its_delay_is_over_is_not_done<S: Subject>() {
    let mut rig = delayed::<S>("scaled-stale");
    rig.told.wants(4);
    rig.after_the_delay();
    assert_eq!((rig.scaled(), rig.pool.saturation().limit), (vec![], 4));
    // What was said about it counts no more.
    rig.is_put_off(2);
    at_rest(&rig.pool);
}

fn what_is_wanted_still_when_its_delay_is_over_is_done_as_far_as_hooks_were_asked<S: Subject>() {
    let mut rig = rig::<S>("scaled-later", delays_shrinks());
    rig.grows(4);
    rig.is_put_off(3);
    // Still fewer: nobody is asked about that before the other is done, or its delay would begin anew each time.
    rig.told.wants(2);
    rig.next_period();
    after_control(&rig.pool);
    assert_eq!((rig.seen.asked(), rig.pool.saturation().limit), (vec!["resize", "shrink"], 4));
    rig.after_the_delay();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 4, to: 3 }), "without another question");
    assert_eq!(rig.seen.asked(), ["resize", "shrink"]);
    rig.is_put_off(2);
    rig.after_the_delay();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 3, to: 2 }));
    assert_eq!(rig.seen.asked(), ["resize", "shrink", "shrink"]);
    at_rest(&rig.pool);
}

fn growth_does_not_wait_for_a_shrink_that_is_delayed<S: Subject>() {
    let mut rig = rig::<S>("scaled-grows", delays_shrinks());
    rig.grows(3);
    rig.is_put_off(2);
    rig.grows(4);
    rig.after_the_delay();
    assert_eq!((rig.scaled(), rig.pool.saturation().limit), (vec![], 4));
    assert_eq!(rig.seen.asked(), ["resize", "shrink", "resize"]);
    at_rest(&rig.pool);
}

/// Hooks have allowed fewer than there may be now.
fn what_was_allowed_for_other_reserves_is_done_as_far_as_they_are_kept<S: Subject>() {
    let mut rig = delayed::<S>("scaled-reserves");
    // The other lane needs one as well.
    let change = Retune::new().lane(LaneChange::new("dns").reserve(2));
    soon(rig.pool.retune(change, LIMIT)).expect("four seats have room for it");
    rig.after_the_delay();
    assert!(matches!(rig.next(), PoolEvent::Scaled { from: 4, to: 3 }));
    assert_eq!(rig.pool.saturation().limit, 3);
    at_rest(&rig.pool);
}

/// The bounds were asked about when they were set.
fn hooks_are_not_asked_about_the_end_of_an_autoscaler<S: Subject>() {
    let rig = rig::<S>("scaled-ends-unasked", Answers::denying("resize"));
    assert_eq!(rig.pool.saturation().limit, 2);
    drop(soon(rig.pool.retune(Retune::new().no_autoscaler(), LIMIT)).expect("nobody can deny it"));
    assert_eq!((rig.seen.asked().len(), rig.pool.saturation().limit), (0, 4));
    let mut rig = self::rig::<S>("scaled-falls-unasked", Answers::denying("resize"));
    rig.told.wants(0);
    rig.next_period();
    assert!(matches!(rig.next(), PoolEvent::PolicyReplaced { .. }));
    after_control(&rig.pool);
    assert_eq!((rig.seen.asked().len(), rig.pool.saturation().limit), (0, 4));
}

fn a_shutdown_resizes_nothing_any_more<S: Subject>() {
    let mut rig = delayed::<S>("scaled-ends");
    soon(rig.pool.shutdown(LIMIT)).expect("it ends");
    assert_eq!(rig.scaled(), Vec::<usize>::new());
}
