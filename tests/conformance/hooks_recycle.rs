//! Hooks are asked whether a worker is to be recycled, on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    EventStream, Exit, HookOptions, HookSpec, Ladder, Limits, PoolEvent, PoolExecutor, Question, Recycle,
    RecycleReason, Select, Verdict, WorkerId,
};

use crate::answers::{Answers, Seen};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    one_whose_recycling_is_denied_works_on_and_is_asked_about_again,
    a_worker_takes_jobs_while_its_recycling_is_asked_about,
    a_delayed_recycling_comes_then_and_not_before,
    a_job_ends_the_question_about_a_worker_that_idles,
    nobody_is_asked_about_the_one_that_takes_its_place,
    nor_if_the_one_that_went_was_in_a_slot_beyond_a_lowered_limit,
    no_answer_about_a_recycling_in_time_takes_the_default,
    a_hook_that_is_removed_holds_up_no_recycling,
    a_hook_that_denies_every_start_holds_up_no_recycling,
    a_pool_that_vetoes_keep_below_min_recycles_nobody_until_they_lift,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const OLD: WorkerId = first(0);

const fn first(slot: u32) -> WorkerId {
    WorkerId { slot, generation: 1 }
}

struct Rig<S: Subject> {
    pool: PoolOf<S>,
    clock: SettableClock,
    events: EventStream,
}

impl<S: Subject> Rig<S> {
    /// The hook is not asked about the workers that come up first, and has an hour for each answer.
    fn new(what: &str, limits: Limits, recycle: Recycle, hook: Answers) -> Self {
        Self::with(what, limits, recycle, hook, HookOptions::new().limit(MINUTE * 60))
    }

    fn with(what: &str, limits: Limits, recycle: Recycle, hook: Answers, options: HookOptions) -> Self {
        let clock = SettableClock::new();
        let pool =
            build::<S>(what, |builder| builder.limits(limits.idle_timeout(None)).recycle(recycle).clock(clock.clock()));
        until("all are up", || pool.saturation().idle == limits.min);
        soon(pool.set_hook(HookSpec::new("keeper", hook).options(options), LIMIT)).expect("there is room");
        let events = pool.events();
        Self { pool, clock, events }
    }

    fn advance(&self, span: Duration) {
        self.clock.advance(span);
        after_control(&self.pool);
    }

    /// So many jobs, one after another, each for a worker that idles; control has heard of them.
    fn run(&self, jobs: u64) {
        for n in 0..jobs {
            until("a worker idles", || self.pool.saturation().idle > 0);
            assert_eq!(soon(put::<S>(&self.pool, Task::value(n))).unwrap(), n);
        }
        until("a worker idles", || self.pool.saturation().idle > 0);
        after_control(&self.pool);
    }

    /// Control has so many answers.
    fn answered(&self, seen: &Seen, times: usize) {
        until("it is asked", || seen.asked() == vec!["recycle"; times]);
        until("it has answered", || soon(self.pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
    }

    fn workers(&self) -> Vec<WorkerId> {
        self.pool.inventory_now().workers.iter().map(|row| row.worker).collect()
    }

    #[track_caller]
    fn until_gone(&mut self, worker: WorkerId) -> RecycleReason {
        let mut why = None;
        until("it is recycled", || {
            while let Some(event) = self.events.try_next() {
                match event {
                    PoolEvent::WorkerGone { worker: gone, exit: Exit::Recycled(reason) } if gone == worker => {
                        why = Some(reason);
                    }
                    PoolEvent::WorkerGone { worker, exit } => panic!("{worker}: {exit}"),
                    _ => {}
                }
            }
            why.is_some()
        });
        why.expect("it is gone")
    }
}

fn one_whose_recycling_is_denied_works_on_and_is_asked_about_again<S: Subject>() {
    let (hook, seen) = Answers::denying("recycle");
    let mut rig = Rig::<S>::new("keep", Limits::fixed(1), Recycle::new().after_jobs(2), hook);
    rig.run(2);
    rig.answered(&seen, 1);
    let mut events = std::iter::from_fn(|| rig.events.try_next());
    let reason = RecycleReason::Jobs(2);
    let vetoed = |event: &PoolEvent| matches!(event, PoolEvent::Vetoed { question, veto, .. } if *question == Question::Recycle { worker: OLD, reason } && *veto.by == *"keeper");
    assert!(events.any(|event| vetoed(&event)), "it says whose recycling was denied");
    rig.run(3);
    rig.advance(MINUTE - MILLI);
    assert_eq!((seen.asked().len(), rig.workers()), (1, vec![OLD]), "it works on, and is left alone for a minute");
    rig.advance(MILLI);
    rig.answered(&seen, 2);
    rig.advance(MINUTE);
    rig.answered(&seen, 3);
    assert_eq!(rig.workers(), [OLD]);
    soon(rig.pool.remove_hook("keeper", LIMIT)).expect("it is there");
    rig.advance(MINUTE);
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(5));
    at_rest(&rig.pool);
}

fn nor_if_the_one_that_went_was_in_a_slot_beyond_a_lowered_limit<S: Subject>() {
    let (hook, seen) = Answers::denying("start");
    let mut rig = Rig::<S>::new("heir", Limits::fixed(2), Recycle::new().after_jobs(3), hook);
    let gates = [Gate::new(), Gate::new()];
    let jobs = gates.each_ref().map(|gate| put::<S>(&rig.pool, Task::deaf(gate)));
    until("both run", || gates.iter().all(|gate| gate.entered() == 1));
    let in_second = |row: &millpond::WorkerRow| row.worker == first(1) && row.job.is_some();
    let row = rig.pool.inventory_now().workers.into_iter().find(in_second).expect("it has a job");
    let stays = usize::from(row.job.is_some_and(|job| job.id == jobs[1].id()));
    gates[1 - stays].open();
    until("one is done", || rig.pool.saturation().idle == 1);
    soon(rig.pool.resize(Limits::fixed(1).idle_timeout(None), LIMIT)).expect("it fits");
    let leaves = |event| matches!(event, PoolEvent::WorkerGone { worker, exit: Exit::Retired } if worker == first(0));
    until("the idle one has left", || std::iter::from_fn(|| rig.events.try_next()).any(leaves));
    assert_eq!(rig.workers(), [first(1)]);
    gates[stays].open();
    for job in jobs {
        soon(job).expect("it returns");
    }
    rig.run(2);
    assert_eq!(rig.until_gone(first(1)), RecycleReason::Jobs(3));
    until("another one is up", || rig.pool.saturation().idle == 1);
    assert!(!seen.asked().contains(&"start"), "{:?}", seen.asked());
    at_rest(&rig.pool);
}

fn a_worker_takes_jobs_while_its_recycling_is_asked_about<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = Rig::<S>::new("asked", Limits::fixed(1), Recycle::new().after_jobs(2), hook.behind(answer.other()));
    rig.run(2);
    until("it is asked", || seen.asked() == ["recycle"]);
    rig.run(7);
    assert_eq!((seen.asked().len(), rig.workers()), (1, vec![OLD]));
    answer.open();
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(9));
    rig.run(1);
    at_rest(&rig.pool);
}

fn a_delayed_recycling_comes_then_and_not_before<S: Subject>() {
    let (hook, seen) = Answers::new(|_| Verdict::Delay(SECOND * 90));
    let mut rig = Rig::<S>::new("later", Limits::fixed(1), Recycle::new().after_jobs(1), hook);
    rig.run(1);
    rig.answered(&seen, 1);
    rig.advance(SECOND * 90 - MILLI);
    assert_eq!(rig.workers(), [OLD]);
    rig.advance(MILLI);
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(1));
    assert_eq!(seen.asked().len(), 1, "a delay is not asked about again");
    at_rest(&rig.pool);
}

fn a_job_ends_the_question_about_a_worker_that_idles<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig =
        Rig::<S>::new("idles", Limits::fixed(1), Recycle::new().after_idle(MINUTE), hook.behind(answer.other()));
    rig.advance(MINUTE / 2);
    rig.advance(MINUTE / 2);
    until("it is asked", || seen.asked() == ["recycle"]);
    rig.run(1);
    answer.open();
    rig.answered(&seen, 1);
    rig.advance(SECOND);
    assert_eq!(rig.workers(), [OLD], "the answer was about another stretch of idling");
    rig.advance(MINUTE / 2);
    rig.advance(MINUTE / 2);
    rig.answered(&seen, 2);
    assert!(matches!(rig.until_gone(OLD), RecycleReason::Idle(span) if span >= MINUTE));
    at_rest(&rig.pool);
}

/// Else a hook that allows the one and denies the other could keep the pool below `min`.
fn nobody_is_asked_about_the_one_that_takes_its_place<S: Subject>() {
    for (limits, new) in [(Limits::fixed(1), WorkerId { slot: 0, generation: 2 }), (Limits::new(1, 2), first(1))] {
        let (hook, seen) = Answers::denying("start");
        let mut rig = Rig::<S>::new("successor", limits, Recycle::new().after_jobs(1), hook);
        rig.run(1);
        assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(1));
        until("another is up", || rig.workers() == [new] && rig.pool.saturation().idle == 1);
        assert_eq!(seen.asked(), ["recycle"]);
        at_rest(&rig.pool);
    }
}

fn no_answer_about_a_recycling_in_time_takes_the_default<S: Subject>() {
    for (default, stays) in [(Verdict::Allow, false), (Verdict::deny("it sleeps"), true)] {
        let answer = Gate::new();
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        let options = HookOptions::new().limit(SECOND * 5).default_verdict(default);
        let rule = Recycle::new().after_jobs(1);
        let mut rig = Rig::<S>::with("late", Limits::fixed(1), rule, hook.behind(answer.other()), options);
        rig.run(1);
        until("it is asked", || seen.asked() == ["recycle"]);
        rig.advance(SECOND * 5 - MILLI);
        assert_eq!(rig.workers(), [OLD]);
        rig.advance(MILLI);
        let row = &soon(rig.pool.hooks(LIMIT)).expect("it answers")[0];
        assert_eq!((row.defaulted, row.denied), (1, u64::from(stays)));
        if stays {
            assert_eq!(rig.workers(), [OLD]);
        } else {
            assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(1));
        }
        answer.open();
        at_rest(&rig.pool);
    }
}

fn a_hook_that_is_removed_holds_up_no_recycling<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::denying("recycle");
    let mut rig =
        Rig::<S>::new("excused", Limits::new(1, 2), Recycle::new().after_jobs(1), hook.behind(answer.other()));
    rig.run(1);
    until("it is asked", || seen.asked() == ["recycle"]);
    soon(rig.pool.remove_hook("keeper", LIMIT)).expect("it is there");
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(1));
    answer.open();
    at_rest(&rig.pool);
}

fn starts(seen: &Seen) -> usize {
    seen.asked().iter().filter(|word| **word == "start").count()
}

/// It takes the slot whose start was denied; and who denies is not asked again and again for it.
fn a_hook_that_denies_every_start_holds_up_no_recycling<S: Subject>() {
    let (hook, seen) = Answers::denying("start");
    let mut rig = Rig::<S>::new("no-more", Limits::new(1, 2), Recycle::new().after_jobs(1), hook);
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let mut jobs = hold::<S>(&rig.pool, &gates[0], 1);
    jobs.extend(gates[1..].iter().map(|gate| put::<S>(&rig.pool, Task::deaf(gate))));
    let denied = |rig: &Rig<S>| rig.pool.snapshot().health.why().map_or(0, |why| why.vetoed);
    until("another worker is denied", || denied(&rig) == 1);
    // As long as jobs wait it is wanted, and denied, second by second.
    for times in 1..4 {
        until("it is denied", || starts(&seen) == times && denied(&rig) == 1);
        rig.advance(SECOND);
    }
    until("it is denied", || starts(&seen) == 4 && denied(&rig) == 1);
    // It goes on to the next one, and the spare to the one after that.
    gates[0].open();
    until("the spare is at work", || rig.workers().contains(&first(1)) && gates[2].entered() == 1);
    gates[1].open();
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(2));
    gates[2].open();
    jobs.into_iter().for_each(|job| assert!(soon(job).is_ok(), "it is run"));
    rig.run(0);
    assert!(rig.pool.saturation().workers >= 1);
    assert_eq!(starts(&seen), 4, "nobody is asked about those who take a place");
    soon(rig.pool.remove_hook("keeper", LIMIT)).expect("it is there");
    at_rest(&rig.pool);
}

fn a_pool_that_vetoes_keep_below_min_recycles_nobody_until_they_lift<S: Subject>() {
    let denies = Arc::new(AtomicBool::new(true));
    let asked = denies.clone();
    let (hook, seen) = Answers::new(move |word| {
        if word == "start" && asked.load(Ordering::Acquire) { Verdict::deny("not now") } else { Verdict::Allow }
    });
    let mut rig = Rig::<S>::new("below-min", Limits::fixed(2), Recycle::new().after_jobs(1), hook);
    let gone = first(1);
    soon(rig.pool.terminate(Select::worker(gone), Ladder::kill(), LIMIT)).expect("it answers");
    let denied = |rig: &Rig<S>| rig.pool.snapshot().health.why().map_or(0, |why| why.vetoed);
    until("its successor is denied", || denied(&rig) == 1);
    // Its job makes the one that is left due.
    assert_eq!(soon(put::<S>(&rig.pool, Task::value(3))).unwrap(), 3);
    until("it is due", || seen.asked().contains(&"recycle"));
    for times in 2..8 {
        rig.advance(SECOND);
        until("its successor is denied", || starts(&seen) == times && denied(&rig) == 1);
        for _ in 0..8 {
            after_control(&rig.pool);
        }
        assert_eq!((rig.workers(), starts(&seen)), (vec![OLD], times), "nobody leaves a pool that is short");
    }
    while rig.events.try_next().is_some() {}
    denies.store(false, Ordering::Release);
    rig.advance(SECOND);
    assert_eq!(rig.until_gone(OLD), RecycleReason::Jobs(1));
    until("both are up", || rig.pool.saturation().idle == 2);
    at_rest(&rig.pool);
}
