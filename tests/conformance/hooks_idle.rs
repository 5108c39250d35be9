//! Idle exits that hooks are asked about, on a clock that the test moves: what is asked, what becomes of it while jobs come and limits change, and that
//! nothing of it is left over.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{HookOptions, HookSpec, Ladder, Limits, Notice, PoolExecutor, Question, Select, Verdict};

use crate::answers::{Answers, Seen};
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::Gate;

conform! {
    a_worker_may_be_kept_from_its_idle_exit,
    a_job_that_comes_ends_the_question_about_an_idle_exit,
    an_idle_exit_that_is_allowed_late_leaves_min_alone,
    questions_about_idling_that_is_over_are_out_no_more,
    an_idle_exit_that_is_allowed_late_goes_by_the_timeout_of_then,
    a_denied_idle_exit_is_asked_about_again_by_the_timeout_in_force,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(8);

/// So many workers have a job each, and idle then.
fn all_work<S: Subject>(pool: &PoolOf<S>, workers: usize) {
    let busy = Gate::new();
    let held = hold::<S>(pool, &busy, workers);
    busy.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("all idle", || pool.saturation().idle == workers);
}

/// Workers above `min` that idle, with a hook that answers behind `gate`.
struct Idlers<S: Subject> {
    pool: PoolOf<S>,
    clock: SettableClock,
    seen: Seen,
    gate: Gate,
}

fn idlers<S: Subject>(what: &str, limits: Limits, answer: Verdict) -> Idlers<S> {
    let gate = Gate::new();
    let (hook, seen) = Answers::new(move |word| if word == "idle exit" { answer.clone() } else { Verdict::Allow });
    let clock = SettableClock::new();
    let limits = limits.idle_timeout(TIMEOUT);
    let pool = build::<S>(what, |builder| builder.limits(limits).clock(clock.clock()));
    all_work::<S>(&pool, limits.max);
    let hook = HookSpec::new("keeper", hook.behind(gate.other())).options(HookOptions::new().limit(SECOND * 600));
    soon(pool.set_hook(hook, LIMIT)).expect("there is room");
    Idlers { pool, clock, seen, gate }
}

impl<S: Subject> Idlers<S> {
    /// Control looks often enough to be late by a quarter at most.
    fn advance(&self, by: Duration) {
        for _ in 0..by.as_secs() / 2 {
            after_control(&self.pool);
            self.clock.advance(SECOND * 2);
        }
        after_control(&self.pool);
    }

    /// Hooks are asked about so many idle exits by now, and have answered.
    #[track_caller]
    fn asked(&self, times: usize) {
        let asked = || self.seen.asked().iter().filter(|word| **word == "idle exit").count();
        until("it is asked", || asked() >= times);
        until("it has answered", || soon(self.pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
        after_control(&self.pool);
        assert_eq!(asked(), times);
    }

    /// How many idle exits it was told are allowed, of all that was decided so far.
    #[track_caller]
    fn allowed(&self) -> usize {
        after_control(&self.pool);
        until("it is told", || soon(self.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
        let is_exit = |question: &Question| matches!(question, Question::IdleExit { .. });
        self.seen.count(|notice| matches!(notice, Notice::Allowed { question, .. } if is_exit(question)))
    }

    #[track_caller]
    fn resize(&self, limits: Limits) {
        soon(self.pool.resize(limits, LIMIT)).expect("it is allowed");
    }
}

fn a_worker_may_be_kept_from_its_idle_exit<S: Subject>() {
    let idlers = idlers::<S>("keep-idle", Limits::new(0, 1), Verdict::deny("it is warm"));
    let Idlers { pool, seen, gate, .. } = &idlers;
    gate.open();
    idlers.advance(SECOND * 10);
    until("it is asked", || seen.asked() == ["idle exit"]);
    until("it is denied", || soon(pool.hooks(LIMIT)).expect("it answers")[0].denied == 1);
    idlers.advance(SECOND * 4);
    assert_eq!((seen.asked().len(), pool.saturation().idle), (1, 1), "it is left alone for a while");
    idlers.advance(TIMEOUT);
    until("it is asked again", || seen.asked().len() == 2);
    soon(pool.remove_hook("keeper", LIMIT)).expect("it is there");
    idlers.advance(SECOND * 10);
    until("it leaves", || pool.saturation().workers == 0);
    at_rest(pool);
}

fn a_job_that_comes_ends_the_question_about_an_idle_exit<S: Subject>() {
    let idlers = idlers::<S>("race-idle", Limits::new(0, 1), Verdict::Allow);
    let Idlers { pool, seen, gate, .. } = &idlers;
    idlers.advance(SECOND * 10);
    until("it is asked", || seen.asked() == ["idle exit"]);
    let worker = pool.inventory_now().workers[0].worker;
    let busy = Gate::new();
    let held = hold::<S>(pool, &busy, 1).pop().expect("it is taken by the job at once");
    assert_eq!(worker_of(pool, &held), worker);
    gate.open();
    until("its answer is in", || soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
    after_control(pool);
    busy.open();
    assert_eq!(soon(held).unwrap(), 0);
    until("it idles", || pool.saturation().idle == 1);
    after_control(pool);
    assert_eq!(pool.inventory_now().workers[0].worker, worker, "the answer was about another stretch of idling");
    at_rest(pool);
}

fn an_idle_exit_that_is_allowed_late_leaves_min_alone<S: Subject>() {
    let idlers = idlers::<S>("late-idle", Limits::new(1, 3), Verdict::Delay(SECOND * 60));
    let Idlers { pool, seen, gate, .. } = &idlers;
    gate.open();
    idlers.advance(SECOND * 10);
    until("as many are asked about as may leave", || seen.asked() == ["idle exit"; 2]);
    until("it is answered", || soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
    after_control(pool);
    let workers = || pool.inventory_now().workers.iter().map(|row| row.worker).collect::<Vec<_>>();
    let before = workers();
    soon(pool.resize(Limits::fixed(3).idle_timeout(TIMEOUT), LIMIT)).expect("it is allowed");
    idlers.advance(SECOND * 70);
    assert_eq!(workers(), before, "by now nobody is one too many");
    assert_eq!(seen.asked().iter().filter(|word| **word == "idle exit").count(), 2);
    soon(pool.resize(Limits::new(0, 3).idle_timeout(TIMEOUT), LIMIT)).expect("it is allowed");
    until("all leave in the end", || {
        idlers.advance(SECOND * 2);
        pool.saturation().workers == 0
    });
    at_rest(pool);
}

/// Of each worker one is out at most, and none of one that has left, however long the hook wants to put it off.
fn questions_about_idling_that_is_over_are_out_no_more<S: Subject>() {
    let idlers = idlers::<S>("idle-again", Limits::new(0, 2), Verdict::Delay(HOUR));
    let Idlers { pool, clock, gate, .. } = &idlers;
    gate.open();
    for round in 1..=3 {
        idlers.advance(SECOND * 10);
        idlers.asked(2 * round);
        all_work::<S>(pool, 2);
    }
    // Control has looked by then.
    idlers.advance(SECOND * 4);
    clock.advance(HOUR);
    idlers.asked(8);
    assert_eq!((idlers.allowed(), pool.saturation().idle), (0, 2), "what is asked about by now is not over");
    soon(pool.terminate(Select::All, Ladder::kill(), LIMIT)).expect("it answers");
    until("they are gone", || pool.saturation().workers == 0);
    at_rest(pool);
    after_control(pool);
    clock.advance(HOUR);
    assert_eq!(idlers.allowed(), 0, "nobody is there who could leave");
}

fn an_idle_exit_that_is_allowed_late_goes_by_the_timeout_of_then<S: Subject>() {
    let idlers = idlers::<S>("late-timeout", Limits::new(0, 1), Verdict::Delay(SECOND * 60));
    let Idlers { pool, clock, gate, .. } = &idlers;
    gate.open();
    idlers.advance(SECOND * 10);
    idlers.asked(1);
    idlers.resize(Limits::new(0, 1).idle_timeout(HOUR));
    idlers.advance(SECOND * 70);
    assert_eq!((idlers.allowed(), pool.saturation().idle), (1, 1), "it has idled for a minute, and may for an hour");
    clock.advance(HOUR);
    idlers.asked(2);
    clock.advance(SECOND * 60);
    until("it leaves", || pool.saturation().workers == 0);
    at_rest(pool);
}

fn a_denied_idle_exit_is_asked_about_again_by_the_timeout_in_force<S: Subject>() {
    let idlers = idlers::<S>("kept-timeout", Limits::new(0, 1), Verdict::deny("it is warm"));
    let Idlers { clock, gate, .. } = &idlers;
    gate.open();
    idlers.resize(Limits::new(0, 1).idle_timeout(HOUR));
    clock.advance(HOUR);
    idlers.asked(1);
    idlers.resize(Limits::new(0, 1).idle_timeout(TIMEOUT));
    idlers.advance(SECOND * 4);
    idlers.asked(1);
    idlers.advance(SECOND * 6);
    idlers.asked(2);
    // And the other way round.
    idlers.resize(Limits::new(0, 1).idle_timeout(SECOND * 80));
    idlers.advance(SECOND * 70);
    idlers.asked(2);
    idlers.advance(SECOND * 40);
    idlers.asked(3);
}
