//! Hooks on a clock that the test moves: limits, defaults, delays, the strictest verdict, and starts.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ControlError, Fate, Health, HookFault, HookOptions, HookSpec, JobError, JobOptions, Ladder, Limits, Notice,
    PoolBuilder, PoolEvent, PoolExecutor, Rung, Select, Verdict,
};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::faults::Faulty;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    no_answer_in_time_takes_the_default,
    a_hook_that_takes_the_place_of_another_has_its_own_limit_and_default,
    hooks_that_replace_each_other_again_and_again_put_nothing_off,
    the_strictest_verdict_counts,
    a_delay_is_waited_for_and_not_asked_again,
    a_delay_ends_with_its_hook_and_that_of_another_goes_on,
    an_absurd_delay_counts_as_the_default,
    a_later_resize_takes_the_place_of_one_that_is_asked_about,
    a_shutdown_waits_for_no_hook,
    a_denied_start_leaves_the_slot_empty_and_errors_say_by_whom,
    a_slow_hook_makes_no_second_start_of_one,
    a_delayed_termination_is_fenced,
}

mod after_faults {
    use super::a_restart_after_a_crash_is_not_asked_about;
    crate::faults::with_faults! { a_restart_after_a_crash_is_not_asked_about }
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

type BuilderOf<S> = PoolBuilder<<S as Subject>::Backend>;

fn clocked<S: Subject>(
    what: &str,
    limits: Limits,
    shape: impl FnOnce(BuilderOf<S>) -> BuilderOf<S>,
) -> (PoolOf<S>, SettableClock) {
    let clock = SettableClock::new();
    (build::<S>(what, |builder| shape(builder.limits(limits).clock(clock.clock()))), clock)
}

fn fault_in(events: &mut millpond::EventStream) -> Option<(HookFault, Verdict)> {
    std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
        PoolEvent::HookFault { fault, verdict, .. } => Some((fault, verdict)),
        _ => None,
    })
}

fn no_answer_in_time_takes_the_default<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let options = HookOptions::new().limit(SECOND * 3).default_verdict(Verdict::deny("it sleeps"));
    let hook = HookSpec::new("slow", hook.behind(gate.other())).options(options);
    let (pool, clock) = clocked::<S>("hook-late", Limits::new(0, 1), |builder| builder.hook_spec(hook));
    let mut events = pool.events();
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    until("it is asked", || seen.asked() == ["resize"]);
    clock.advance(SECOND * 3 - MILLI);
    after_control(&pool);
    assert_pending!(resize.poll());
    assert_eq!(fault_in(&mut events), None, "it has three seconds");
    clock.advance(MILLI);
    let error = soon(resize).expect_err("its default denies it");
    assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"it sleeps"), "{error}");
    assert_eq!(fault_in(&mut events), Some((HookFault::Late(SECOND * 3), Verdict::deny("it sleeps"))));
    // What it says in the end counts for nothing.
    gate.open();
    until("it is through", || soon(pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    assert_eq!(pool.snapshot().limits, Limits::new(0, 1));
    at_rest(&pool);
}

fn a_hook_that_takes_the_place_of_another_has_its_own_limit_and_default<S: Subject>() {
    let gate = Gate::new();
    let hangs = |why: &str, limit| {
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        let options = HookOptions::new().limit(limit).default_verdict(Verdict::deny(why));
        (HookSpec::new("one", hook.behind(gate.other())).options(options), seen)
    };
    let (pool, clock) = clocked::<S>("hook-replaced", Limits::new(0, 1), |builder| builder);
    let (before, seen) = hangs("the first one sleeps", SECOND * 3);
    soon(pool.set_hook(before, LIMIT)).expect("there is room");
    let mut events = pool.events();
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    until("it is asked", || seen.asked() == ["resize"]);
    clock.advance(SECOND * 2);
    let (after, seen) = hangs("the second one sleeps", SECOND * 5);
    soon(pool.set_hook(after, LIMIT)).expect("it takes its place");
    until("the other one is asked", || seen.asked() == ["resize"]);
    clock.advance(SECOND * 5 - MILLI);
    after_control(&pool);
    assert_pending!(resize.poll());
    assert_eq!(fault_in(&mut events), None, "it has five seconds");
    clock.advance(MILLI);
    let error = soon(resize).expect_err("its default denies it");
    assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"the second one sleeps"), "{error}");
    assert_eq!(fault_in(&mut events).map(|(fault, _)| fault), Some(HookFault::Late(SECOND * 5)));
    gate.open();
    at_rest(&pool);
}

/// Each would have all its time, and so put off for ever what it is asked about.
fn hooks_that_replace_each_other_again_and_again_put_nothing_off<S: Subject>() {
    let gate = Gate::new();
    let hangs = |why: &str| {
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        let options = HookOptions::new().limit(SECOND * 3).default_verdict(Verdict::deny(why));
        (HookSpec::new("one", hook.behind(gate.other())).options(options), seen)
    };
    let (pool, _clock) = clocked::<S>("hook-replaces", Limits::new(0, 1), |builder| builder);
    let (first, seen) = hangs("the first one sleeps");
    soon(pool.set_hook(first, LIMIT)).expect("there is room");
    let mut events = pool.events();
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    until("it is asked", || seen.asked() == ["resize"]);
    let (second, seen) = hangs("the second one sleeps");
    soon(pool.set_hook(second, LIMIT)).expect("it takes its place");
    until("the other one is asked", || seen.asked() == ["resize"]);
    assert_pending!(resize.poll());
    let (third, seen) = hangs("the third one is not asked");
    soon(pool.set_hook(third, LIMIT)).expect("it takes its place");
    let error = soon(resize).expect_err("its default denies it");
    let why = "the third one is not asked";
    assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *why), "{error}");
    assert_eq!(fault_in(&mut events).map(|(fault, _)| fault), Some(HookFault::NoAnswer));
    assert!(seen.asked().is_empty());
    gate.open();
    at_rest(&pool);
}

fn the_strictest_verdict_counts<S: Subject>() {
    let delays = |span| move |_: &'static str| Verdict::Delay(span);
    let ((allows, _), (short, _), (long, _)) =
        (Answers::new(|_| Verdict::Allow), Answers::new(delays(SECOND)), Answers::new(delays(SECOND * 5)));
    let (pool, clock) = clocked::<S>("strictest", Limits::new(0, 1), |builder| {
        builder.hook("allows", allows).hook("short", short).hook("long", long)
    });
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    let answered =
        || soon(pool.hooks(LIMIT)).expect("it answers").iter().all(|row| row.asked == 1 && row.unanswered == 0);
    until("all have answered", answered);
    after_control(&pool);
    clock.advance(SECOND * 5 - MILLI);
    after_control(&pool);
    assert_pending!(resize.poll());
    clock.advance(MILLI);
    assert_eq!(soon(resize).expect("nobody denies it").to.max, 2);
    let (denies, _) = Answers::denying("resize");
    soon(pool.set_hook(HookSpec::new("denies", denies), LIMIT)).expect("there is room");
    let error = soon(pool.resize(Limits::new(0, 3), LIMIT)).expect_err("one denies it, and no delay is waited for");
    assert!(matches!(&error, ControlError::Vetoed { by, .. } if **by == *"denies"), "{error}");
    at_rest(&pool);
}

fn a_delay_is_waited_for_and_not_asked_again<S: Subject>() {
    let (hook, seen) = Answers::new(|word| if word == "start" { Verdict::Delay(SECOND * 4) } else { Verdict::Allow });
    let (pool, clock) = clocked::<S>("delayed", Limits::new(0, 1), |builder| builder.hook("later", hook));
    let job = put::<S>(&pool, Task::value(5));
    until("it has answered", || {
        seen.asked() == ["start"] && soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0
    });
    after_control(&pool);
    clock.advance(SECOND * 4 - MILLI);
    after_control(&pool);
    assert_eq!((pool.saturation().workers, pool.saturation().queued), (0, 1));
    clock.advance(MILLI);
    assert_eq!(soon(job).unwrap(), 5);
    assert_eq!(seen.asked(), ["start"]);
    at_rest(&pool);
}

fn a_delay_ends_with_its_hook_and_that_of_another_goes_on<S: Subject>() {
    let delays = |name, span| HookSpec::new(name, Answers::new(move |_| Verdict::Delay(span)).0);
    let (pool, clock) = clocked::<S>("undelayed", Limits::new(0, 1), |builder| {
        builder.hook_spec(delays("hour", SECOND * 3600)).hook_spec(delays("short", SECOND * 5))
    });
    let asked = |times| {
        until("all have answered", || {
            let rows = soon(pool.hooks(LIMIT)).expect("it answers");
            rows.iter().all(|row| row.asked == times && row.unanswered == 0)
        });
    };
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    asked(1);
    after_control(&pool);
    clock.advance(SECOND * 2);
    soon(pool.remove_hook("hour", LIMIT)).expect("it is there");
    clock.advance(SECOND * 3 - MILLI);
    after_control(&pool);
    assert_pending!(resize.poll());
    clock.advance(MILLI);
    assert_eq!(soon(resize).expect("nobody denies it").to.max, 2);
    // Nor has one a say that is told only. What a hook has answered is its successor's answer, if that is asked.
    let mut resize = spawn(pool.resize(Limits::new(0, 3), LIMIT));
    assert_pending!(resize.poll());
    asked(2);
    soon(pool.set_hook(delays("short", SECOND), LIMIT)).expect("it takes its place");
    after_control(&pool);
    clock.advance(SECOND);
    after_control(&pool);
    assert_pending!(resize.poll());
    let told = delays("short", SECOND).options(HookOptions::told_only());
    soon(pool.set_hook(told, LIMIT)).expect("it takes its place");
    assert_eq!(soon(resize).expect("nobody is left to put it off").to.max, 3);
    at_rest(&pool);
}

fn an_absurd_delay_counts_as_the_default<S: Subject>() {
    let century = SECOND * 100 * 365 * 24 * 3600;
    let (hook, _) = Answers::new(move |_| Verdict::Delay(century));
    let (pool, _clock) = clocked::<S>("century", Limits::new(0, 1), |builder| builder.hook("slow", hook));
    let mut events = pool.events();
    soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("its default allows it");
    assert_eq!(fault_in(&mut events), Some((HookFault::AbsurdDelay(century), Verdict::Allow)));
    at_rest(&pool);
}

fn a_later_resize_takes_the_place_of_one_that_is_asked_about<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let (pool, _clock) =
        clocked::<S>("supersede", Limits::new(0, 1), |builder| builder.hook("slow", hook.behind(gate.other())));
    let mut first = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(first.poll());
    until("it is asked", || !seen.asked().is_empty());
    let mut second = spawn(pool.resize(Limits::new(0, 3), LIMIT));
    assert_pending!(second.poll());
    let error = soon(first).expect_err("another has its place");
    assert!(matches!(error, ControlError::Superseded { operation: "resize", .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nothing of it was changed; look at what is in force"), "{text}");
    gate.open();
    assert_eq!(soon(second).expect("it is allowed").from, Limits::new(0, 1));
    at_rest(&pool);
}

fn a_shutdown_waits_for_no_hook<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::deny("never"));
    let (pool, _clock) =
        clocked::<S>("hook-end", Limits::new(0, 1), |builder| builder.hook("slow", hook.behind(gate.other())));
    // A start, a resize and a termination are asked about.
    let (job, doomed) = (put::<S>(&pool, Task::value(6)), put::<S>(&pool, Task::value(7)));
    let mut resize = spawn(pool.resize(Limits::new(0, 2), LIMIT));
    assert_pending!(resize.poll());
    let ladder = Ladder::new().then(Rung::Cancel, SECOND);
    let mut end = spawn(pool.terminate(Select::job(doomed.id()), ladder, LIMIT));
    assert_pending!(end.poll());
    until("it is asked", || !seen.asked().is_empty());
    let report = soon(pool.shutdown(LIMIT)).expect("it ends");
    assert!(matches!(soon(resize), Err(ControlError::TooLate { .. })));
    // It may have been quicker than that.
    let fate = soon(end).expect("it answers").targets[0].fate;
    assert!(matches!(fate, Fate::Withdrawn | Fate::Finished), "{fate}");
    assert_eq!((soon(job).unwrap(), report.not_started), (6, 0), "the queued job got its worker");
    assert_eq!(seen.asked().len(), 1, "and the hook is still at the first question");
}

fn a_denied_start_leaves_the_slot_empty_and_errors_say_by_whom<S: Subject>() {
    let (hook, _) = Answers::denying("start");
    let (pool, clock) = clocked::<S>("veto-start", Limits::new(0, 1), |builder| builder.hook("cold", hook));
    let job = put_with::<S>(&pool, JobOptions::new().queue_limit(SECOND / 2), Task::value(1));
    until("the veto shows", || pool.snapshot().vetoed_starts.is_some());
    after_control(&pool);
    clock.advance(SECOND / 2);
    let error = soon(job).expect_err("it has no worker");
    let text = error.to_string();
    assert!(matches!(error, JobError::TimedOut(_)), "{text}");
    assert!(text.contains("1 slot without a worker, its start vetoed by hook `cold`: no start today"), "{text}");
    assert!(!text.contains("after faults"), "{text}");
    let seen = pool.snapshot();
    let vetoed = seen.vetoed_starts.expect("the pause is longer than that");
    assert_eq!((vetoed.slots, &*vetoed.veto.by), (1, "cold"));
    assert!(matches!(&seen.health, Health::Unavailable { why, .. } if why.vetoed == 1), "{}", seen.health);
    // It comes back by itself once nobody denies it.
    soon(pool.remove_hook("cold", LIMIT)).expect("it is there");
    let job = put::<S>(&pool, Task::value(2));
    after_control(&pool);
    clock.advance(SECOND / 2);
    assert_eq!(soon(job).unwrap(), 2);
    at_rest(&pool);
    let seen = pool.snapshot();
    assert_eq!((seen.health, seen.vetoed_starts), (Health::Healthy, None));
}

fn a_slow_hook_makes_no_second_start_of_one<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let (pool, _clock) =
        clocked::<S>("one-start", Limits::new(0, 4), |builder| builder.hook("slow", hook.behind(gate.other())));
    let job = put::<S>(&pool, Task::value(1));
    until("it is asked", || seen.asked() == ["start"]);
    for _ in 0..5 {
        soon(pool.quiesce(LIMIT)).expect("it is open");
        soon(pool.resume(LIMIT)).expect("it is quiesced");
    }
    let row = &soon(pool.hooks(LIMIT)).expect("it answers")[0];
    assert_eq!(row.asked, 1, "one worker is wanted, and one is asked about");
    gate.open();
    assert_eq!(soon(job).unwrap(), 1);
    assert_eq!(seen.asked(), ["start"]);
    at_rest(&pool);
}

/// What is done after a delay hits nobody else.
fn a_delayed_termination_is_fenced<S: Subject>() {
    let (hook, seen) =
        Answers::new(|word| if word == "terminate" { Verdict::Delay(SECOND * 9) } else { Verdict::Allow });
    let (pool, clock) = clocked::<S>("late-end", Limits::fixed(1), |builder| builder.hook("later", hook));
    let (first, second) = (Gate::new(), Gate::new());
    let held = hold::<S>(&pool, &first, 1).pop().expect("one");
    let ladder = Ladder::new().then(Rung::Cancel, SECOND).then(Rung::Kill, SECOND);
    let mut end = spawn(pool.terminate(Select::job(held.id()), ladder, LIMIT));
    assert_pending!(end.poll());
    until("it has answered", || {
        seen.asked().contains(&"terminate") && soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0
    });
    after_control(&pool);
    first.open();
    assert_eq!(soon(held).unwrap(), 0, "nobody asked it to stop");
    let next = hold::<S>(&pool, &second, 1).pop().expect("one");
    clock.advance(SECOND * 9);
    let report = soon(end).expect("it answers");
    assert_eq!((report.targets[0].fate, report.targets[0].took), (Fate::Finished, SECOND * 9));
    second.open();
    assert_eq!(soon(next).unwrap(), 0);
    at_rest(&pool);
}

/// A crash asks nobody, nor does what follows it.
fn a_restart_after_a_crash_is_not_asked_about<S: Faulty>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let (pool, _clock) = clocked::<S>("crash", Limits::fixed(1), |builder| S::shape(builder).hook("audit", hook));
    until("it is up", || pool.saturation().idle == 1);
    assert_eq!(seen.asked(), ["start"]);
    let before = pool.inventory_now().workers[0].worker;
    assert!(soon(S::lay(&pool).light()).is_err());
    until("another is up", || pool.inventory_now().workers.first().is_some_and(|row| row.worker != before));
    until("it idles", || pool.saturation().idle == 1);
    // A worker whose actor somebody killed has had no fault: the next one is started as any other.
    until("it was told of a restart, or asked about a start", || {
        seen.asked().len() + seen.count(|notice| matches!(notice, Notice::RestartDecided { .. })) == 2
    });
    at_rest(&pool);
}
