//! Whoever asks may say who it is: that is in what hooks are asked and told, in events, and in why a worker is gone.

use std::sync::Arc;
use std::time::Duration;

use millpond::{
    By, Doomed, EventStream, Exit, Hook, HookContext, HookOptions, HookSpec, Ladder, LaneChange, Limits,
    NewRestartPolicy, Notice, PoolEvent, PoolExecutor, PoolMessage, Retune, Rung, Select, Verdict, WorkerId,
};
use parking_lot::Mutex;

use crate::rig::{LIMIT, PoolOf, at_rest, build, hold, soon, until};
use crate::subject::Subject;
use crate::task::Gate;

conform! {
    hooks_are_asked_with_who_asks,
    a_veto_keeps_the_name,
    events_and_notices_say_who_asked,
    a_worker_is_gone_by_whom,
    a_message_says_who_sends_it,
}

type Said = Vec<(&'static str, By)>;

/// Notes on whose behalf it is asked and told; denies limits of four and more.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(Said, Said)>>);

impl Notes {
    fn asked(&self, word: &'static str, cx: &HookContext) -> Verdict {
        self.0.lock().0.push((word, cx.by.clone()));
        Verdict::Allow
    }

    fn spec(&self) -> HookSpec {
        HookSpec::new("notes", self.clone()).options(HookOptions::new().limit(Duration::from_secs(60)))
    }
}

impl Hook for Notes {
    async fn start(&self, cx: &HookContext, _worker: WorkerId) -> Verdict {
        self.asked("start", cx)
    }

    async fn shrink(&self, cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.asked("shrink", cx)
    }

    async fn resize(&self, cx: &HookContext, _from: Limits, to: Limits) -> Verdict {
        self.asked("resize", cx);
        if to.max < 4 { Verdict::Allow } else { Verdict::deny("too many") }
    }

    async fn terminate(&self, cx: &HookContext, _targets: &[Doomed]) -> Verdict {
        self.asked("terminate", cx)
    }

    async fn told(&self, cx: &HookContext, notice: &Notice) {
        let word = match notice {
            Notice::Resized { .. } => "resized",
            Notice::Retuned(_) => "retuned",
            Notice::RestartPolicySet => "policy",
            Notice::Gate(state) => state,
            Notice::Terminated(_) => "terminated",
            Notice::Hook { .. } => "hook",
            Notice::Allowed { question, .. } | Notice::Vetoed { question, .. } => question.word(),
            _ => return,
        };
        self.0.lock().1.push((word, cx.by.clone()));
    }
}

fn named(name: &str) -> By {
    By::Operator(Some(Arc::from(name)))
}

fn noted<S: Subject>(what: &str) -> (PoolOf<S>, Notes) {
    let notes = Notes::default();
    let pool = build::<S>(what, |builder| builder.limits(Limits::new(0, 1)));
    soon(pool.set_hook(notes.spec(), LIMIT)).expect("there is room");
    until("it is told that it is there", || notes.0.lock().1 == [("hook", By::Operator(None))]);
    notes.0.lock().1.clear();
    (pool, notes)
}

fn hooks_are_asked_with_who_asks<S: Subject>() {
    let (pool, notes) = noted::<S>("who-asks");
    soon(pool.by("ann").resize(Limits::new(0, 2), LIMIT)).expect("it is allowed");
    soon(pool.resize(Limits::new(0, 1), LIMIT)).expect("it is allowed");
    pool.by("ann").by("bob").blocking().resize(Limits::new(0, 2), LIMIT).expect("it is allowed");
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1);
    let ladder = Ladder::new().then(Rung::Stop, Duration::ZERO);
    let anyone: Arc<dyn PoolExecutor> = Arc::new(pool.clone());
    soon(anyone.by("cleaner").terminate(Select::all(), ladder, LIMIT)).expect("it answers");
    gate.open();
    held.into_iter().for_each(|job| assert_eq!(soon(job).unwrap(), 0));
    let expected = [
        ("resize", named("ann")),
        ("shrink", By::Operator(None)),
        ("resize", named("bob")),
        ("start", By::Pool),
        ("terminate", named("cleaner")),
    ];
    assert_eq!(notes.0.lock().0[..5], expected);
    // The rulings are told with the same.
    until("they are told", || expected.iter().all(|said| notes.0.lock().1.contains(said)));
    at_rest(&pool);
}

/// The next of the events that say who asked.
fn next_by(events: &mut EventStream) -> (&'static str, By) {
    loop {
        return match soon(events.next()).expect("the pool is there") {
            PoolEvent::Resized { by, .. } => ("resized", by),
            PoolEvent::Retuned(retuned) => ("retuned", retuned.by.clone()),
            PoolEvent::RestartPolicySet { by } => ("policy", by),
            PoolEvent::Gate { state, by } => (state, by),
            PoolEvent::Vetoed { question, by, .. } => (question.word(), by),
            PoolEvent::Hook { by, .. } => ("hook", by),
            _ => continue,
        };
    }
}

fn a_veto_keeps_the_name<S: Subject>() {
    let (pool, notes) = noted::<S>("who-was-denied");
    let mut events = pool.events();
    let change = Retune::new().limits(Limits::new(0, 4)).lane(LaneChange::new("default").capacity(7));
    soon(pool.by("night shift").retune(change, LIMIT)).expect_err("that is too many");
    soon(pool.by("day shift").resize(Limits::new(0, 5), LIMIT)).expect_err("that is too many");
    let expected = [("resize", named("night shift")), ("resize", named("day shift"))];
    assert_eq!([next_by(&mut events), next_by(&mut events)], expected);
    until("both are told", || notes.0.lock().1 == expected);
    assert_eq!(notes.0.lock().0, expected);
}

fn events_and_notices_say_who_asked<S: Subject>() {
    let (pool, notes) = noted::<S>("who-did");
    let mut events = pool.events();
    soon(pool.by("a").resize(Limits::new(0, 2), LIMIT)).expect("it is allowed");
    soon(pool.by("b").retune(Retune::new().lane(LaneChange::new("default").capacity(7)), LIMIT)).expect("it is sound");
    soon(pool.by("c").set_restart_policy(NewRestartPolicy::default(), LIMIT)).expect("it answers");
    soon(pool.by("d").quiesce(LIMIT)).expect("it is open");
    soon(pool.by("e").resume(LIMIT)).expect("it is quiesced");
    soon(pool.by("f").set_hook(HookSpec::new("other", Notes::default()), LIMIT)).expect("there is room");
    soon(pool.by("g").remove_hook("other", LIMIT)).expect("it is there");
    soon(pool.by("h").drain(LIMIT)).expect("nothing is left to run");
    soon(pool.by("i").shutdown(LIMIT)).expect("it ends");
    let expected = [
        ("resized", "a"),
        ("retuned", "b"),
        ("policy", "c"),
        ("quiesced", "d"),
        ("open", "e"),
        ("hook", "f"),
        ("hook", "g"),
        ("draining", "h"),
        ("draining", "i"),
        ("closed", "i"),
    ];
    for (word, name) in expected {
        assert_eq!(next_by(&mut events), (word, named(name)));
    }
    let told = expected.into_iter().map(|(word, name)| (word, named(name)));
    let told: Vec<_> = std::iter::once(("resize", named("a"))).chain(told).collect();
    until("all is told", || notes.0.lock().1 == told);
}

fn a_worker_is_gone_by_whom<S: Subject>() {
    let pool = build::<S>("who-killed", |builder| builder.limits(Limits::fixed(1)));
    until("it is up", || pool.saturation().idle == 1);
    let mut events = pool.events();
    let worker = pool.inventory_now().workers[0].worker;
    let answer = soon(pool.by("ann").terminate(Select::worker(worker), Ladder::kill(), LIMIT)).expect("it answers");
    let (mut gone, mut over) = (None, None);
    while gone.is_none() || over.is_none() {
        match soon(events.next()).expect("the pool is there") {
            PoolEvent::WorkerGone { exit, .. } => gone = Some(exit),
            PoolEvent::Terminated { report, by } => over = Some((report, by)),
            _ => {}
        }
    }
    assert!(matches!(&gone, Some(Exit::Killed(by)) if **by == *"terminated by ann"), "{gone:?}");
    assert_eq!(over, Some((Arc::new(answer), named("ann"))), "though no hook was asked");
    at_rest(&pool);
}

fn a_message_says_who_sends_it<S: Subject>() {
    let pool = build::<S>("who-sent", |builder| builder.limits(Limits::new(0, 1)));
    let mut events = pool.events();
    let long = format!("a{}", "\u{fc}".repeat(200));
    let names = [("ann", Some("ann")), ("", None), (&*long, Some(&long[..255]))];
    for (name, known) in names {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let message = PoolMessage::Resize(Limits::new(0, 2), reply.into()).by(name);
        pool.actor().cast(message).expect("it is there");
        soon(answer).expect("it answers").expect("it can be done");
        assert_eq!(next_by(&mut events), ("resized", By::Operator(known.map(Arc::from))));
    }
    // Who passes on what another has asked for does not take its name away.
    let (reply, _) = tokio::sync::oneshot::channel();
    pool.actor().cast(PoolMessage::Quiesce(reply.into()).by("ann").by("relay")).expect("it is there");
    assert_eq!(next_by(&mut events), ("quiesced", named("ann")));
    let (reply, answer) = tokio::sync::oneshot::channel();
    let deep = (0..200_000).fold(PoolMessage::Resume(reply.into()).by("ann"), |message, _| {
        PoolMessage::By(Arc::from(""), Box::new(message))
    });
    pool.actor().cast(deep).expect("it is there");
    soon(answer).expect("it answers, however often it was passed on").expect("it is quiesced");
    assert_eq!(next_by(&mut events), ("open", named("ann")));
    assert_eq!((named("ann").to_string(), By::Operator(None).to_string()), ("ann".to_owned(), "operator".to_owned()));
}
