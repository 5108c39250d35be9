//! What hooks are told of the flow of jobs, and what becomes of notices that a hook does not take. On a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ControlError, HookFault, HookOptions, HookSpec, JobOptions, Lane, Limits, Notice, PoolBuilder, PoolEvent,
    PoolExecutor, Verdict,
};

use crate::answers::Answers;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, offer, put, put_with, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    saturation_is_told_at_its_edges,
    who_is_added_to_a_saturated_pool_is_told_at_once,
    rejections_and_expiries_are_told_by_number,
    what_a_slow_hook_misses_is_counted,
    what_a_hook_without_a_thread_misses_is_counted_and_its_default_counts,
    who_missed_an_edge_is_told_on_which_side_of_it_the_pool_is,
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

/// Nothing but a look ten times a second; no job is touched.
fn saturation_is_told_at_its_edges<S: Subject>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let (pool, clock) = clocked::<S>("edges", Limits::fixed(1), |builder| builder.hook("alarm", hook));
    until("it is up", || pool.saturation().idle == 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = put::<S>(&pool, Task::value(1));
    let step = || {
        clock.advance(MILLI * 100);
        after_control(&pool);
    };
    let saturated = || seen.count(|notice| matches!(notice, Notice::Saturated { .. }));
    let relieved = || seen.count(|notice| matches!(notice, Notice::Relieved { .. }));
    let flushed =
        || until("it has dealt with that", || soon(pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    step();
    flushed();
    assert_eq!(saturated(), 0, "a moment is no saturation");
    (0..20).for_each(|_| step());
    flushed();
    assert_eq!((saturated(), relieved()), (1, 0), "once, however long it lasts");
    gate.open();
    held.into_iter().chain([queued]).for_each(|handle| drop(soon(handle)));
    until("it idles", || pool.saturation().idle == 1);
    (0..5).for_each(|_| step());
    // Pressed again before it was at ease for long: that is no edge.
    let again = Gate::new();
    let held = hold::<S>(&pool, &again, 1);
    let queued = put::<S>(&pool, Task::value(1));
    (0..5).for_each(|_| step());
    again.open();
    held.into_iter().chain([queued]).for_each(|handle| drop(soon(handle)));
    until("it idles", || pool.saturation().idle == 1);
    flushed();
    assert_eq!((saturated(), relieved()), (1, 0));
    (0..15).for_each(|_| step());
    flushed();
    assert_eq!((saturated(), relieved()), (1, 1));
    at_rest(&pool);
}

/// The edge was another's news: who comes after it, under whatever name, has missed it.
fn who_is_added_to_a_saturated_pool_is_told_at_once<S: Subject>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let (pool, clock) = clocked::<S>("late-comer", Limits::fixed(1), |builder| builder.hook("first", hook));
    until("it is up", || pool.saturation().idle == 1);
    let since_of = |seen: &crate::answers::Seen| {
        let since = |notice: &Notice| if let Notice::Saturated { since, .. } = notice { Some(*since) } else { None };
        seen.told().iter().filter_map(since).collect::<Vec<_>>()
    };
    let dealt_with = || {
        let is_done = |row: &millpond::HookRow| row.outstanding == 0;
        until("they have dealt with that", || soon(pool.hooks(LIMIT)).expect("it answers").iter().all(is_done));
    };
    let add = |name: &str| {
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        soon(pool.set_hook(HookSpec::new(name, hook), LIMIT)).expect("there is room");
        dealt_with();
        seen
    };
    let at_ease = add("early");
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let queued = put::<S>(&pool, Task::value(1));
    for _ in 0..3 {
        clock.advance(MILLI * 100);
        after_control(&pool);
    }
    dealt_with();
    let since = since_of(&seen);
    assert_eq!((since.len(), since_of(&at_ease)), (1, since.clone()));
    // Nothing else happens meanwhile: the clock stands still.
    assert_eq!(since_of(&add("second")), since, "it is told, and since when");
    assert_eq!(since_of(&add("first")), since, "so is one that takes the place of another");
    assert_eq!(since_of(&seen), since, "who knows is not told again");
    gate.open();
    held.into_iter().chain([queued]).for_each(|handle| drop(soon(handle)));
    until("it idles", || pool.saturation().idle == 1);
    for _ in 0..15 {
        clock.advance(MILLI * 100);
        after_control(&pool);
    }
    assert_eq!(since_of(&add("third")), [], "it is relieved by now");
    at_rest(&pool);
}

fn rejections_and_expiries_are_told_by_number<S: Subject>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let lane = Lane::new("default").capacity(3).reject_when_full();
    let (pool, clock) =
        clocked::<S>("counted", Limits::fixed(1), |builder| builder.default_lane(lane).hook("audit", hook));
    until("it is up", || pool.saturation().idle == 1);
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let options = || JobOptions::new().queue_limit(SECOND);
    let queued: Vec<_> = (0..3).map(|_| put_with::<S>(&pool, options(), Task::value(1))).collect();
    (0..50).for_each(|_| assert!(offer::<S>(&pool, Task::value(2)).is_err()));
    clock.advance(SECOND);
    queued.into_iter().for_each(|handle| assert!(soon(handle).is_err()));
    let sums = || {
        let (mut rejected, mut expired, mut notices) = (0, 0, 0);
        for notice in seen.told() {
            match notice {
                Notice::Rejected { jobs } => (rejected, notices) = (rejected + jobs, notices + 1),
                Notice::Expired { jobs } => (expired, notices) = (expired + jobs, notices + 1),
                _ => {}
            }
        }
        (rejected, expired, notices)
    };
    until("all are told", || {
        clock.advance(MILLI * 100);
        after_control(&pool);
        let (rejected, expired, _) = sums();
        (rejected, expired) == (50, 3)
    });
    assert!(sums().2 <= 6, "{:?} notices of 53 jobs", sums());
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&pool);
}

fn what_a_slow_hook_misses_is_counted<S: Subject>() {
    let told = Arc::new(AtomicBool::new(false));
    let gate = Gate::new();
    struct Slow(Gate, Arc<AtomicBool>, std::sync::mpsc::SyncSender<Notice>);
    impl millpond::Hook for Slow {
        async fn told(&self, _cx: &millpond::HookContext, notice: &Notice) {
            self.1.store(true, Ordering::Release);
            self.0.pass();
            self.2.send(notice.clone()).expect("the test listens");
        }
    }
    let (send, notices) = std::sync::mpsc::sync_channel(1024);
    let hook = Slow(gate.other(), told.clone(), send);
    let hook = HookSpec::new("slow", hook).options(HookOptions::told_only());
    let (pool, _clock) = clocked::<S>("missed", Limits::new(0, 1), |builder| builder);
    soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    // That it was added, and these.
    for _ in 0..100 {
        soon(pool.quiesce(LIMIT)).expect("it is open");
        soon(pool.resume(LIMIT)).expect("it is quiesced");
    }
    until("it is told", || told.load(Ordering::Acquire));
    let row = &soon(pool.hooks(LIMIT)).expect("it answers")[0];
    assert_eq!((row.outstanding, row.missed), (64, 137), "no more than that lie in its mailbox");
    gate.open();
    let mut kept = 0;
    let missed = loop {
        match notices.recv_timeout(SECOND * 30).expect("it is told, though nothing else happens") {
            Notice::Missed { notices, .. } => break notices,
            _ => kept += 1,
        }
    };
    assert_eq!((kept, missed), (64, 137), "each is told or counted");
    soon(pool.quiesce(LIMIT)).expect("it is open");
    let next = notices.recv_timeout(SECOND * 30).expect("it is told again");
    assert!(matches!(next, Notice::Gate("quiesced")), "{next:?}");
}

/// The system has no thread for it, and then has one. It is not asked for one with each message.
fn what_a_hook_without_a_thread_misses_is_counted_and_its_default_counts<S: Subject>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let options = HookOptions::new().default_verdict(Verdict::deny("there is nobody to ask"));
    let hook = HookSpec::new("threadless", hook).options(options);
    let refusals = hook.refusals();
    refusals.store(usize::MAX, Ordering::Release);
    let launches = || usize::MAX - refusals.load(Ordering::Acquire);
    let (pool, clock) = clocked::<S>("threadless", Limits::new(0, 1), |builder| builder);
    let mut events = pool.events();
    // That it was added, these two, and what becomes of the question: whose default counted, and that it was denied.
    soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    soon(pool.quiesce(LIMIT)).expect("it is open");
    soon(pool.resume(LIMIT)).expect("it is quiesced");
    let error = soon(pool.resize(Limits::new(0, 2), LIMIT)).expect_err("its default denies it");
    assert!(matches!(&error, ControlError::Vetoed { by, .. } if **by == *"threadless"), "{error}");
    let fault = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
        PoolEvent::HookFault { hook, question, fault, .. } => Some((hook.to_string(), question, fault)),
        _ => None,
    });
    assert_eq!(fault, Some(("threadless".to_owned(), "resize", HookFault::NoAnswer)));
    let row = &soon(pool.hooks(LIMIT)).expect("it answers")[0];
    assert_eq!((row.outstanding, row.missed, row.asked, row.defaulted), (0, 5, 1, 1), "each is counted");
    assert_eq!((seen.told().len(), seen.asked().len()), (0, 0));
    assert_eq!(launches(), 1, "once refused, it rests for a while");
    clock.advance(MILLI * 100);
    soon(pool.quiesce(LIMIT)).expect("it is open");
    soon(pool.resume(LIMIT)).expect("it is quiesced");
    assert_eq!(launches(), 2, "it is tried again, once");
    refusals.store(0, Ordering::Release);
    clock.advance(MILLI * 99);
    soon(pool.quiesce(LIMIT)).expect("it is open");
    soon(pool.resume(LIMIT)).expect("it is quiesced");
    let row = &soon(pool.hooks(LIMIT)).expect("it answers")[0];
    assert_eq!((row.outstanding, row.missed), (0, 9));
    clock.advance(MILLI);
    soon(pool.quiesce(LIMIT)).expect("it is open");
    until("it is told", || seen.told().len() == 2);
    let told = seen.told();
    assert!(matches!(told[0], Notice::Missed { notices: 9, .. }), "{told:?}");
    assert!(matches!(told[1], Notice::Gate("quiesced")), "{told:?}");
    soon(pool.resize(Limits::new(0, 2), LIMIT)).expect("it is there to be asked now");
    assert_eq!(seen.asked(), ["resize"]);
}

/// By the notice that says how much was missed.
fn who_missed_an_edge_is_told_on_which_side_of_it_the_pool_is<S: Subject>() {
    struct Slow(Gate, std::sync::mpsc::SyncSender<Notice>);
    impl millpond::Hook for Slow {
        async fn told(&self, _cx: &millpond::HookContext, notice: &Notice) {
            self.0.pass();
            self.1.send(notice.clone()).expect("the test listens");
        }
    }
    for relieved in [false, true] {
        let (gate, (send, notices)) = (Gate::new(), std::sync::mpsc::sync_channel(1024));
        let hook = HookSpec::new("slow", Slow(gate.other(), send)).options(HookOptions::told_only());
        let (pool, clock) = clocked::<S>("missed-edge", Limits::fixed(1), |builder| builder);
        until("it is up", || pool.saturation().idle == 1);
        soon(pool.set_hook(hook, LIMIT)).expect("there is room");
        for _ in 0..40 {
            soon(pool.quiesce(LIMIT)).expect("it is open");
            soon(pool.resume(LIMIT)).expect("it is quiesced");
        }
        let step = || {
            clock.advance(MILLI * 100);
            after_control(&pool);
        };
        let work = Gate::new();
        let held = hold::<S>(&pool, &work, 1);
        let queued = put::<S>(&pool, Task::value(1));
        let since = clock.now();
        (0..5).for_each(|_| step());
        if relieved {
            work.open();
            until("it idles", || pool.saturation().idle == 1);
            (0..15).for_each(|_| step());
        }
        gate.open();
        let told = loop {
            match notices.recv_timeout(SECOND * 30).expect("it is told, though nothing else happens") {
                Notice::Missed { saturation, saturated_since, .. } => break (saturation.queued, saturated_since),
                Notice::Saturated { .. } | Notice::Relieved { .. } => panic!("there was no room for it"),
                _ => {}
            }
        };
        match relieved {
            true => assert_eq!(told, (0, None)),
            false => {
                assert!(told.0 == 1 && told.1.is_some_and(|told| told >= since && told <= clock.now()), "{told:?}")
            }
        }
        work.open();
        held.into_iter().chain([queued]).for_each(|handle| drop(soon(handle)));
        at_rest(&pool);
    }
}
