//! Hooks that come, go, hang and panic. What they are asked and told is in the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use millpond::{
    ControlError, HookChange, HookContext, HookFault, HookOptions, HookSpec, Limits, Notice, PoolEvent, PoolExecutor,
    Verdict,
};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::rig::{LIMIT, after_control, at_rest, build, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_shrink_is_asked_apart_from_other_resizes,
    hooks_are_added_replaced_and_removed_live,
    a_hook_that_panics_counts_as_its_default,
    each_question_has_the_panic_that_was_over_it,
    a_hook_that_takes_nothing_is_asked_no_more_than_it_can_hold,
    a_hook_that_is_removed_has_no_say_any_more,
    a_hook_that_hangs_gives_way_to_another,
    what_a_hook_has_answered_stands_when_it_is_replaced,
    one_that_is_not_asked_has_no_say_in_the_place_of_another,
    one_that_is_told_only_is_not_waited_for,
    a_hook_outlives_no_pool,
}

const MINUTE: Duration = Duration::from_secs(60);

/// So patient that no answer is late, however loaded the machine.
fn patient() -> HookOptions {
    HookOptions::new().limit(MINUTE)
}

fn spec(name: &str, hook: Answers) -> HookSpec {
    HookSpec::new(name, hook).options(patient())
}

fn a_shrink_is_asked_apart_from_other_resizes<S: Subject>() {
    let (hook, seen) = Answers::denying("shrink");
    let pool = build::<S>("veto-shrink", |builder| builder.limits(Limits::fixed(1)).hook_spec(spec("keep", hook)));
    soon(pool.resize(Limits::fixed(2), LIMIT)).expect("growth is another question");
    let error = soon(pool.resize(Limits::fixed(1), LIMIT)).expect_err("the hook denies it");
    assert!(matches!(error, ControlError::Vetoed { .. }), "{error}");
    assert_eq!(pool.saturation().limit, 2);
    assert!(seen.asked().ends_with(&["shrink"]) || seen.asked().contains(&"shrink"), "{:?}", seen.asked());
    at_rest(&pool);
}

fn hooks_are_added_replaced_and_removed_live<S: Subject>() {
    let pool = build::<S>("live", |builder| builder.limits(Limits::fixed(1)));
    until("it is up", || pool.saturation().idle == 1);
    let (first, _) = Answers::denying("resize");
    assert_eq!(soon(pool.set_hook(spec("one", first), LIMIT)), Ok(HookChange::Added));
    assert!(soon(pool.resize(Limits::fixed(2), LIMIT)).is_err());
    let (second, seen) = Answers::new(|_| Verdict::Allow);
    assert_eq!(soon(pool.set_hook(spec("one", second), LIMIT)), Ok(HookChange::Replaced));
    soon(pool.resize(Limits::fixed(2), LIMIT)).expect("the other one allows it");
    assert_eq!(seen.asked().first(), Some(&"resize"));
    let rows = pool.blocking().hooks(LIMIT).expect("it answers");
    assert_eq!((rows.len(), &*rows[0].name, rows[0].hosted, rows[0].denied), (1, "one", true, 0));
    assert!(rows[0].asked >= 1 && rows[0].defaulted == 0, "{rows:?}");
    pool.blocking().remove_hook("one", LIMIT).expect("it is there");
    let error = pool.blocking().remove_hook("one", LIMIT).expect_err("it is gone");
    assert!(matches!(&error, ControlError::Unknown { what, .. } if what == "hook `one`"), "{error}");
    assert_eq!(soon(pool.hooks(LIMIT)), Ok(Vec::new()));
    // Options that make no sense are refused here as at build.
    let (third, _) = Answers::denying("start");
    let refused = soon(pool.set_hook(HookSpec::new("", third), LIMIT));
    assert!(matches!(refused, Err(ControlError::Config { .. })), "{refused:?}");
    at_rest(&pool);
}

fn a_hook_that_panics_counts_as_its_default<S: Subject>() {
    let (hook, _) = Answers::new(|word| if word == "resize" { panic!("no idea") } else { Verdict::Allow });
    let options = patient().default_verdict(Verdict::deny("unanswered"));
    let hook = HookSpec::new("shaky", hook).options(options);
    let pool = build::<S>("hook-panics", |builder| builder.limits(Limits::fixed(1)).hook_spec(hook));
    let mut events = pool.events();
    for _ in 0..2 {
        let error = soon(pool.resize(Limits::fixed(2), LIMIT)).expect_err("its default denies it");
        assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"unanswered"), "{error}");
    }
    let fault = loop {
        if let PoolEvent::HookFault { fault, .. } = soon(events.next()).expect("the pool is there") {
            break fault;
        }
    };
    assert_eq!(fault, HookFault::Panicked("no idea".to_owned()));
    let rows = soon(pool.hooks(LIMIT)).expect("it answers");
    assert_eq!((rows[0].defaulted, rows[0].denied), (2, 2));
    at_rest(&pool);
}

/// Keeps whoever wakes it, the control thread, until the gate opens.
struct HoldsUp(Gate);

impl Wake for HoldsUp {
    fn wake(self: Arc<Self>) {
        self.0.pass();
    }
}

/// It panics over two before the pool has looked at what became of the first.
fn each_question_has_the_panic_that_was_over_it<S: Subject>() {
    let (gate, starts) = (Gate::new(), AtomicUsize::new(0));
    let (hook, seen) = Answers::new(move |_| match starts.fetch_add(1, Ordering::Relaxed) {
        count @ 0..2 => panic!("panic {count}"),
        _ => Verdict::Allow,
    });
    let hook = spec("shaky", hook.behind(gate.other()));
    let pool = build::<S>("panics-twice", |builder| builder.limits(Limits::fixed(3)).hook_spec(hook));
    let mut events = pool.events();
    until("all are asked", || pool.blocking().hooks(LIMIT).expect("it answers")[0].asked == 3);
    let control = Gate::new();
    let waker = Waker::from(Arc::new(HoldsUp(control.other())));
    // Held up where it wakes whoever waits for an answer, unless that was there already.
    let mut answer = Box::pin(pool.inventory(LIMIT));
    while answer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
        answer = Box::pin(pool.inventory(LIMIT));
    }
    until("control is held up", || control.entered() == 1);
    gate.open();
    until("it is at the third question", || seen.asked().len() == 3);
    control.open();
    let mut panics = Vec::new();
    while panics.len() < 2 {
        if let PoolEvent::HookFault { fault, .. } = soon(events.next()).expect("the pool is there") {
            panics.push(fault);
        }
    }
    // In whatever order their answers come.
    panics.sort_by_key(HookFault::to_string);
    assert_eq!(panics, ["panic 0", "panic 1"].map(|message| HookFault::Panicked(message.to_owned())));
    at_rest(&pool);
}

/// Each question ends for the pool, and lies in the hook's mailbox all the same.
fn a_hook_that_takes_nothing_is_asked_no_more_than_it_can_hold<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let options = patient().default_verdict(Verdict::deny("it takes nothing"));
    let hook = HookSpec::new("full", hook.behind(gate.other())).options(options);
    let pool = build::<S>("choked", |builder| builder.limits(Limits::new(0, 1)).hook_spec(hook));
    let mut events = pool.events();
    // One takes the place of the other, so that nobody waits for an answer.
    let mut asks = Vec::new();
    for max in 0..1024 {
        let mut resize = spawn(pool.resize(Limits::new(0, 2 + max), LIMIT));
        assert_pending!(resize.poll());
        asks.push(resize);
        if max == 0 {
            // It hangs at this one from here on; those behind that nobody waits for any more it would pass over.
            until("it is asked", || seen.asked() == ["resize"]);
        }
    }
    let row = || soon(pool.hooks(LIMIT)).expect("it answers").remove(0);
    assert_eq!((row().asked, row().defaulted, row().unanswered), (1024, 0, 1));
    assert!(row().outstanding >= 1024, "{:?}", row());
    let error = soon(pool.resize(Limits::new(0, 2), LIMIT)).expect_err("its default denies it");
    assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"it takes nothing"), "{error}");
    let fault = loop {
        if let PoolEvent::HookFault { fault, verdict, .. } = soon(events.next()).expect("the pool is there") {
            break (fault, verdict);
        }
    };
    assert_eq!(fault, (HookFault::Choked, Verdict::deny("it takes nothing")));
    assert_eq!((row().defaulted, pool.saturation().limit), (1, 1));
    gate.open();
    until("it has dealt with all", || row().outstanding == 0);
    let asked = seen.asked().len();
    soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("it allows it");
    assert_eq!(seen.asked().len(), asked + 1, "it is asked again");
    at_rest(&pool);
}

fn a_hook_that_is_removed_has_no_say_any_more<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::denying("resize");
    let pool = build::<S>("excused", |builder| builder.limits(Limits::new(0, 1)));
    soon(pool.set_hook(spec("slow", hook.behind(gate.other())), LIMIT)).expect("it is added");
    std::thread::scope(|scope| {
        let resize = scope.spawn(|| pool.blocking().resize(Limits::new(0, 2), LIMIT));
        until("it is asked", || seen.asked() == ["resize"]);
        after_control(&pool);
        pool.blocking().remove_hook("slow", LIMIT).expect("it is there");
        let report = resize.join().expect("no panic").expect("nobody denies it");
        assert_eq!(report.to.max, 2);
    });
    gate.open();
    at_rest(&pool);
}

/// Its thread is left behind, and the one that has its name has a thread of its own: what was asked is its to answer.
fn a_hook_that_hangs_gives_way_to_another<S: Subject>() {
    let gate = Gate::new();
    let (hangs, seen) = Answers::new(|_| Verdict::Allow);
    let pool = build::<S>("gives-way", |builder| builder.limits(Limits::new(0, 1)));
    soon(pool.set_hook(spec("one", hangs.behind(gate.other())), LIMIT)).expect("there is room");
    std::thread::scope(|scope| {
        let resize = scope.spawn(|| pool.blocking().resize(Limits::new(0, 2), LIMIT));
        until("it is asked", || seen.asked() == ["resize"]);
        let (denies, instead) = Answers::denying("resize");
        assert_eq!(pool.blocking().set_hook(spec("one", denies), LIMIT), Ok(HookChange::Replaced));
        let error = resize.join().expect("no panic").expect_err("the other one is asked instead");
        assert!(matches!(&error, ControlError::Vetoed { reason, .. } if **reason == *"no resize today"), "{error}");
        assert_eq!(instead.asked(), ["resize"]);
    });
    assert_eq!(pool.saturation().limit, 1);
    let error = soon(pool.resize(Limits::new(0, 3), LIMIT)).expect_err("the other one denies it");
    assert!(matches!(error, ControlError::Vetoed { .. }), "{error}");
    soon(pool.shutdown(LIMIT)).expect("an end waits for no hook");
    assert_eq!(seen.asked(), ["resize"], "all that while it hangs");
}

fn what_a_hook_has_answered_stands_when_it_is_replaced<S: Subject>() {
    let gate = Gate::new();
    let ((quick, _), (slow, _)) = (Answers::new(|_| Verdict::Allow), Answers::new(|_| Verdict::Allow));
    let pool = build::<S>("answered", |builder| builder.limits(Limits::new(0, 1)));
    for hook in [spec("quick", quick), spec("slow", slow.behind(gate.other()))] {
        soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    }
    std::thread::scope(|scope| {
        let resize = scope.spawn(|| pool.blocking().resize(Limits::new(0, 2), LIMIT));
        let answered = |row: &millpond::HookRow| (row.asked, row.unanswered) == (1, 0);
        until("one has answered", || answered(&pool.blocking().hooks(LIMIT).expect("it answers")[0]));
        let (denies, instead) = Answers::denying("resize");
        assert_eq!(pool.blocking().set_hook(spec("quick", denies), LIMIT), Ok(HookChange::Replaced));
        gate.open();
        resize.join().expect("no panic").expect("both that were asked allowed it");
        assert_eq!(instead.asked(), [""; 0]);
    });
    at_rest(&pool);
}

fn one_that_is_not_asked_has_no_say_in_the_place_of_another<S: Subject>() {
    let gate = Gate::new();
    let (hangs, seen) = Answers::denying("resize");
    let pool = build::<S>("told-instead", |builder| builder.limits(Limits::new(0, 1)));
    soon(pool.set_hook(spec("one", hangs.behind(gate.other())), LIMIT)).expect("there is room");
    std::thread::scope(|scope| {
        let resize = scope.spawn(|| pool.blocking().resize(Limits::new(0, 2), LIMIT));
        until("it is asked", || seen.asked() == ["resize"]);
        let (told, _) = Answers::denying("resize");
        let told = HookSpec::new("one", told).options(HookOptions::told_only());
        assert_eq!(pool.blocking().set_hook(told, LIMIT), Ok(HookChange::Replaced));
        resize.join().expect("no panic").expect("nobody is left who could deny it");
    });
    gate.open();
    at_rest(&pool);
}

fn one_that_is_told_only_is_not_waited_for<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::deny("it is not asked"));
    let hook = HookSpec::new("audit", hook.behind(gate.other())).options(HookOptions::told_only());
    let pool = build::<S>("told-only", |builder| builder.limits(Limits::new(0, 2)).hook_spec(hook));
    assert_eq!(soon(put::<S>(&pool, Task::value(4))).unwrap(), 4);
    soon(pool.resize(Limits::new(0, 1), LIMIT)).expect("nobody is asked");
    until("it is told", || seen.told().len() >= 2);
    assert_eq!(seen.asked(), [""; 0]);
    at_rest(&pool);
}

/// Its value is dropped once its pool has ended, though its thread may still be at something.
fn a_hook_outlives_no_pool<S: Subject>() {
    struct Drops(std::sync::Arc<()>);
    impl millpond::Hook for Drops {
        async fn told(&self, _cx: &HookContext, _notice: &Notice) {
            assert!(std::sync::Arc::strong_count(&self.0) > 1);
        }
    }
    let watched = std::sync::Arc::new(());
    let pool = build::<S>("hook-ends", |builder| builder.limits(Limits::fixed(1)).hook("mine", Drops(watched.clone())));
    soon(put::<S>(&pool, Task::value(0))).unwrap();
    soon(pool.shutdown(LIMIT)).expect("it ends");
    drop(pool);
    until("the hook is dropped", || std::sync::Arc::strong_count(&watched) == 1);
}
