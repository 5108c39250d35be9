//! Hooks are asked about a change of what is in force as about one thing, and told of it. `DESIGN.md`, sections 10 and 14.

use std::time::Duration;

use millpond::{ControlError, HookSpec, Lane, Limits, NewRestartPolicy, Notice, PoolExecutor, Retune, Watchdog};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::retune::{lane, retune};
use crate::rig::{LIMIT, at_rest, build, fixed, soon, until};
use crate::subject::Subject;
use crate::task::Gate;

conform! {
    a_veto_is_one_of_all_of_it,
    hooks_are_asked_about_limits_alone_and_told_of_all,
    a_later_one_takes_the_place_of_one_that_is_asked_about,
}

const SECOND: Duration = Duration::from_secs(1);

fn a_veto_is_one_of_all_of_it<S: Subject>() {
    let (hook, seen) = Answers::denying("shrink");
    let pool = build::<S>("retune-veto", |builder| {
        builder.limits(Limits::fixed(3)).lane(Lane::new("dns").reserve(2)).hook("keep", hook)
    });
    let before = retune(&pool, Retune::new()).retuned.to.clone();
    let change = Retune::new().limits(Limits::fixed(2)).lane(lane("dns").reserve(1)).no_watchdog();
    let error = soon(pool.retune(change, LIMIT)).expect_err("the hook denies it");
    let ControlError::Vetoed { by, reason, operation, .. } = &error else { panic!("{error}") };
    assert_eq!((&**by, &**reason, *operation), ("keep", "no shrink today", "retune"));
    assert!(seen.asked().contains(&"shrink"));
    let report = retune(&pool, Retune::new());
    assert_eq!((&report.retuned.to, report.watchdog), (&before, Some(Watchdog::default())));
    at_rest(&pool);
}

fn hooks_are_asked_about_limits_alone_and_told_of_all<S: Subject>() {
    let (hook, seen) = Answers::new(|_| millpond::Verdict::Allow);
    let pool = build::<S>("retune-asked", |builder| builder.limits(Limits::fixed(2)).hook("asked", hook));
    retune(&pool, Retune::new().lane(lane("default").capacity(9)).no_watchdog());
    let asked =
        |seen: &crate::answers::Seen| -> Vec<_> { seen.asked().into_iter().filter(|word| *word != "start").collect() };
    assert_eq!(asked(&seen), Vec::<&str>::new());
    retune(&pool, Retune::new().limits(Limits::fixed(3)).lane(lane("default").capacity(8)));
    retune(&pool, Retune::new().limits(Limits::fixed(1)));
    assert_eq!(asked(&seen), ["resize", "shrink"]);
    until("it is told of each", || seen.count(|notice| matches!(notice, Notice::Retuned(_))) == 3);
    let told = seen.told();
    let capacities = told.iter().filter_map(|notice| match notice {
        Notice::Retuned(retuned) => Some(retuned.to.lanes[0].capacity),
        _ => None,
    });
    assert_eq!(capacities.collect::<Vec<_>>(), [9, 8, 8]);
    assert_eq!(seen.count(|notice| matches!(notice, Notice::Resized { .. })), 2);
    at_rest(&pool);
}

fn a_later_one_takes_the_place_of_one_that_is_asked_about<S: Subject>() {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(|_| millpond::Verdict::Allow);
    let pool = fixed::<S>("retune-later", 1);
    until("it is up", || pool.saturation().idle == 1);
    let hook = HookSpec::new("slow", hook.behind(gate.other()));
    let hook = hook.options(millpond::HookOptions::new().limit(SECOND * 600));
    soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    let sized = |max, capacity| Retune::new().limits(Limits::new(1, max)).lane(lane("default").capacity(capacity));
    let mut first = spawn(pool.retune(sized(4, 4), LIMIT));
    assert_pending!(first.poll());
    until("it is asked", || seen.asked() == ["resize"]);
    // One that is refused takes nobody's place.
    soon(pool.retune(sized(0, 1), LIMIT)).expect_err("it cannot be");
    soon(pool.set_restart_policy(NewRestartPolicy::default(), LIMIT)).expect("it is no business of the other's");
    assert_pending!(first.poll());
    let mut second = spawn(pool.retune(sized(3, 3), LIMIT));
    assert_pending!(second.poll());
    let error = soon(first).expect_err("another has taken its place");
    assert!(matches!(error, ControlError::Superseded { operation: "retune", .. }), "{error}");
    // Of a resize too, and by one that nobody is asked about.
    let mut third = spawn(pool.resize(Limits::new(1, 2), LIMIT));
    assert_pending!(third.poll());
    let error = soon(second).expect_err("another has taken its place");
    assert!(matches!(error, ControlError::Superseded { operation: "retune", .. }), "{error}");
    retune(&pool, Retune::new().lane(lane("default").capacity(6)));
    let error = soon(third).expect_err("another has taken its place");
    assert!(matches!(error, ControlError::Superseded { operation: "resize", .. }), "{error}");
    gate.open();
    let report = retune(&pool, sized(5, 5));
    assert_eq!((report.retuned.from.limits, report.retuned.from.lanes[0].capacity), (Limits::fixed(1), 6));
    assert_eq!((pool.snapshot().limits, pool.snapshot().lanes[0].capacity), (Limits::new(1, 5), 5));
    at_rest(&pool);
}
