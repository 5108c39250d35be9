//! Starts that hooks deny or put off, where nothing but `min` wants a worker: no job comes that would ask again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Health, HookSpec, JobOptions, Ladder, Limits, Notice, PoolEvent, PoolExecutor, Restart, Rung, Select, Verdict,
};

use crate::answers::Answers;
use crate::faults::{By, Faulty};
use crate::rig::{LIMIT, after_control, at_rest, build, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_start_for_min_that_was_denied_is_asked_about_again,
    a_start_that_a_shrink_left_behind_keeps_nobody_from_min,
    a_start_that_is_put_off_shows_in_health_and_errors,
    a_start_about_which_nobody_has_answered_yet_is_no_shortage,
}

mod after_faults {
    use super::a_start_that_no_fault_has_made_necessary_is_asked_about;
    crate::faults::with_faults! { a_start_that_no_fault_has_made_necessary_is_asked_about }
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Once its pause is over, and not before, also where another slot is free.
fn a_start_for_min_that_was_denied_is_asked_about_again<S: Subject>() {
    for limits in [Limits::new(1, 2), Limits::fixed(1)] {
        let denials = AtomicUsize::new(0);
        let (hook, seen) = Answers::new(move |_| match denials.fetch_add(1, Ordering::Relaxed) {
            0..2 => Verdict::deny("not yet"),
            _ => Verdict::Allow,
        });
        let clock = SettableClock::new();
        let pool = build::<S>("veto-min", |builder| builder.limits(limits).clock(clock.clock()).hook("cold", hook));
        for denied in 1..=2 {
            until("it is denied", || soon(pool.hooks(LIMIT)).expect("it answers")[0].denied == denied);
            after_control(&pool);
            clock.advance(SECOND - MILLI);
            after_control(&pool);
            let asked = soon(pool.hooks(LIMIT)).expect("it answers")[0].asked;
            assert_eq!((asked, pool.saturation().workers), (denied, 0), "{limits:?}");
            clock.advance(MILLI);
        }
        until("it is up", || pool.saturation().idle == 1);
        assert_eq!(seen.asked(), ["start"; 3], "{limits:?}");
        assert!(pool.snapshot().vetoed_starts.is_none());
        at_rest(&pool);
    }
}

/// It waits in a slot beyond the limit, where no worker comes, whatever is said of it.
fn a_start_that_a_shrink_left_behind_keeps_nobody_from_min<S: Subject>() {
    let starts = AtomicUsize::new(0);
    let (hook, seen) = Answers::new(move |word| match word {
        "start" if starts.fetch_add(1, Ordering::Relaxed) == 1 => Verdict::Delay(SECOND * 3600),
        _ => Verdict::Allow,
    });
    let clock = SettableClock::new();
    let pool =
        build::<S>("left-behind", |builder| builder.limits(Limits::fixed(2)).clock(clock.clock()).hook("later", hook));
    let answered = || soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0;
    until("one is up", || pool.saturation().idle == 1);
    until("the other one is put off", || seen.asked().len() == 2 && answered());
    soon(pool.resize(Limits::fixed(1), LIMIT)).expect("it is allowed");
    let ladder = Ladder::new().then(Rung::Kill, SECOND);
    let worker = pool.inventory_now().workers[0].worker;
    soon(pool.terminate(Select::worker(worker), ladder, LIMIT)).expect("nobody is asked about a kill");
    until("another one is up", || {
        let up = pool.inventory_now().workers;
        pool.saturation().idle == 1 && up.iter().all(|row| row.worker != worker)
    });
    clock.advance(SECOND * 3600);
    after_control(&pool);
    assert_eq!(pool.saturation().workers, 1, "the one beyond the limit is not started");
    at_rest(&pool);
}

/// Whoever waits for it learns who has put it off, for how long, and how much of that is left.
fn a_start_that_is_put_off_shows_in_health_and_errors<S: Subject>() {
    let clock = SettableClock::new();
    let (hook, seen) =
        Answers::new(|word| if word == "start" { Verdict::Delay(SECOND * 3600) } else { Verdict::Allow });
    let pool =
        build::<S>("put-off", |builder| builder.limits(Limits::new(0, 1)).clock(clock.clock()).hook("later", hook));
    let mut events = pool.events();
    let job = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND), Task::value(1));
    let (mut health, mut delayed) = (Vec::new(), None);
    while delayed.is_none() || health.is_empty() {
        match soon(events.next()).expect("the pool is there") {
            PoolEvent::Delayed { question, delay, .. } => delayed = Some((question.word(), delay)),
            PoolEvent::Health(is) => health.push(is),
            _ => {}
        }
    }
    let (word, delay) = delayed.expect("it was told");
    assert_eq!((word, &*delay.by, delay.delay), ("start", "later", SECOND * 3600));
    assert_eq!(delay.until, clock.now().after(SECOND * 3600));
    let why = health[0].why().expect("it is not healthy");
    assert!(health[0].is_unavailable() && (why.delayed, why.next_try) == (1, Some(delay.until)), "{}", health[0]);
    assert!(health[0].to_string().contains("1 slot without a worker as a hook put the start off"), "{}", health[0]);
    let known = pool.snapshot().delayed_starts.expect("it waits");
    assert_eq!((known.slots, known.delay), (1, delay.clone()));
    clock.advance(SECOND);
    let text = soon(job).expect_err("it has no worker").to_string();
    let said = "1 slot without a worker, its start put off by hook `later` for 3600.0 s, 3599.0 s of which are left";
    assert!(text.contains(said), "{text}");
    until("the hook is told", || seen.count(|notice| matches!(notice, Notice::Delayed { .. })) == 1);
    // It is as startable as before: a job that comes is let in, and has a worker when the delay is over.
    let job = put::<S>(&pool, Task::value(2));
    after_control(&pool);
    clock.advance(SECOND * 3599);
    assert_eq!(soon(job).unwrap(), 2);
    at_rest(&pool);
    after_control(&pool);
    let seen = pool.snapshot();
    assert_eq!((seen.health, seen.delayed_starts), (Health::Healthy, None));
}

/// Or health would flap with each start.
fn a_start_about_which_nobody_has_answered_yet_is_no_shortage<S: Subject>() {
    let (clock, gate) = (SettableClock::new(), Gate::new());
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let hook = HookSpec::new("slow", hook.behind(gate.other()));
    let pool =
        build::<S>("unanswered", |builder| builder.limits(Limits::new(0, 1)).clock(clock.clock()).hook_spec(hook));
    let mut events = pool.events();
    let job = put::<S>(&pool, Task::value(1));
    until("it is asked", || seen.asked() == ["start"]);
    after_control(&pool);
    let looks = pool.snapshot();
    assert_eq!((looks.health, looks.delayed_starts, looks.saturation.missing), (Health::Healthy, None, 0));
    gate.open();
    assert_eq!(soon(job).unwrap(), 1);
    after_control(&pool);
    let told = std::iter::from_fn(|| events.try_next());
    assert_eq!(told.filter(|event| matches!(event, PoolEvent::Health(_) | PoolEvent::Delayed { .. })).count(), 0);
    at_rest(&pool);
}

/// No worker is wanted when one has crashed, be it at once or when its slot has backed off: what a job needs later is a start like any other.
fn a_start_that_no_fault_has_made_necessary_is_asked_about<S: Faulty>() {
    for delay in [Duration::ZERO, SECOND] {
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        let clock = SettableClock::new();
        let pool = build::<S>("unneeded", |builder| {
            let policy = By(move || Restart::After(delay));
            S::shape(builder).limits(Limits::new(0, 1)).clock(clock.clock()).restart_policy(policy).hook("audit", hook)
        });
        let mut events = pool.events();
        assert!(soon(S::lay(&pool).light()).is_err());
        let exit = loop {
            if let PoolEvent::WorkerGone { exit, .. } = soon(events.next()).expect("the pool is there") {
                break exit;
            }
        };
        while exit.is_fault() && !matches!(soon(events.next()), Some(PoolEvent::RestartDecided { .. })) {}
        after_control(&pool);
        clock.advance(delay);
        after_control(&pool);
        assert_eq!((pool.saturation().workers, seen.asked().len()), (0, 1));
        assert_eq!(soon(put::<S>(&pool, Task::value(5))).unwrap(), 5);
        assert_eq!(seen.asked(), ["start"; 2], "{delay:?}");
        at_rest(&pool);
    }
}
