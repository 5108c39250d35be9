//! For whom changed limits, spans and policies hold, on a clock that the test moves. `DESIGN.md`, section 14.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ControlError, EventStream, Executor, JobError, JobHandle, JobStatus, Ladder, Lane, LaneChange, LimitKind, Limits,
    PoolEvent, PoolExecutor, RejectReason, Retune, Rung, Watchdog,
};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::rig::{LIMIT, PoolOf, after_control, at_rest, build, hold, put, soon, until};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_job_keeps_the_queue_limit_that_it_was_admitted_under,
    a_run_limit_holds_for_jobs_taken_from_then_on,
    who_waits_at_the_gate_keeps_the_limit_that_he_came_with,
    a_shorter_span_makes_running_jobs_overdue,
    a_longer_span_lets_off_who_was_warned,
    a_crowd_that_was_warned_is_let_off_at_once,
    another_watchdog_is_there_for_jobs_that_were_warned_about,
    without_a_watchdog_nothing_follows_until_there_is_one_again,
    a_ladder_that_has_begun_ends_where_no_watchdog_is_left,
    what_has_changed_while_hooks_are_asked_is_looked_at_again,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

struct Rig<S: Subject> {
    pool: PoolOf<S>,
    clock: SettableClock,
    events: EventStream,
}

impl<S: Subject> Rig<S> {
    fn new(what: &str, lane: Lane, watchdog: Watchdog) -> Self {
        Self::of(1, what, lane, watchdog)
    }

    fn of(workers: usize, what: &str, lane: Lane, watchdog: Watchdog) -> Self {
        let clock = SettableClock::new();
        let pool = build::<S>(what, |builder| {
            builder.limits(Limits::fixed(workers)).default_lane(lane).watchdog(watchdog).clock(clock.clock())
        });
        // A worker that comes up while the clock is moved may have read it before.
        until("it is up", || pool.saturation().idle == workers);
        let events = pool.events();
        Self { pool, clock, events }
    }

    /// Control has heard of it when this returns.
    fn advance(&self, span: Duration) {
        self.clock.advance(span);
        after_control(&self.pool);
    }

    fn retune(&self, change: Retune) {
        soon(self.pool.retune(change, LIMIT)).expect("it can be done");
        after_control(&self.pool);
    }

    fn lane(&self, change: impl FnOnce(LaneChange) -> LaneChange) {
        self.retune(Retune::new().lane(change(LaneChange::new("default"))));
    }

    fn said(&mut self) -> Vec<Said> {
        let said = |event| match event {
            PoolEvent::Overdue { silent_for, .. } => Some(Said::Warned(silent_for)),
            PoolEvent::OverdueRung { rung, silent_for, .. } => Some(Said::Took(rung, silent_for)),
            PoolEvent::LetOff { silent_for, .. } => Some(Said::LetOff(silent_for)),
            _ => None,
        };
        std::iter::from_fn(|| self.events.try_next()).filter_map(said).collect()
    }
}

/// What the watchdog said.
#[derive(Clone, PartialEq, Debug)]
enum Said {
    Warned(Duration),
    Took(Rung, Duration),
    LetOff(Duration),
}

fn lane() -> Lane {
    Lane::new("default")
}

#[track_caller]
fn timed_out(handle: JobHandle<u64>) -> (LimitKind, Duration) {
    match soon(handle).expect_err("its limit has passed") {
        JobError::TimedOut(error) => (error.limit, error.after),
        other => panic!("{other}"),
    }
}

fn a_job_keeps_the_queue_limit_that_it_was_admitted_under<S: Subject>() {
    let rig = Rig::<S>::new("queue-limit", lane().queue_limit(SECOND * 10), Watchdog::default());
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    let queued = || put::<S>(&rig.pool, Task::value(1));
    let ten = queued();
    rig.lane(|lane| lane.queue_limit(SECOND));
    let one = queued();
    rig.lane(|lane| lane.queue_limit(None));
    let never = queued();
    rig.lane(|lane| lane.queue_limit(SECOND * 20));
    let twenty = queued();
    rig.advance(SECOND - MILLI);
    assert_eq!(one.status(), JobStatus::Queued);
    rig.advance(MILLI);
    assert_eq!(timed_out(one), (LimitKind::Queue, SECOND));
    rig.advance(SECOND * 9 - MILLI);
    assert_eq!(ten.status(), JobStatus::Queued);
    rig.advance(MILLI);
    assert_eq!(timed_out(ten), (LimitKind::Queue, SECOND * 10));
    rig.advance(SECOND * 10);
    assert_eq!(timed_out(twenty), (LimitKind::Queue, SECOND * 20));
    // A worker that comes for it finds no limit passed.
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    assert_eq!(soon(never).unwrap(), 1);
    at_rest(&rig.pool);
}

fn a_run_limit_holds_for_jobs_taken_from_then_on<S: Subject>() {
    let rig = Rig::<S>::new("run-limit", lane(), Watchdog::default());
    let (first, second) = (Gate::new(), Gate::new());
    let runs = hold::<S>(&rig.pool, &first, 1);
    let queued = put::<S>(&rig.pool, Task::deaf(&second));
    rig.lane(|lane| lane.run_limit(SECOND));
    rig.advance(SECOND * 2);
    assert_eq!(runs[0].status(), JobStatus::Running);
    first.open();
    runs.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    until("the other is taken", || second.entered() == 1);
    rig.advance(SECOND);
    assert_eq!(timed_out(queued), (LimitKind::Run, SECOND));
    second.open();
    rig.advance(SECOND * 5);
    at_rest(&rig.pool);
}

fn who_waits_at_the_gate_keeps_the_limit_that_he_came_with<S: Subject>() {
    let rig = Rig::<S>::new("admission-limit", lane().capacity(0).admission_limit(SECOND * 5), Watchdog::default());
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    let waits = || {
        let mut waiter = spawn(Box::pin(rig.pool.submit(S::job(Task::value(1)))));
        assert_pending!(waiter.poll());
        waiter
    };
    let mut five = waits();
    rig.lane(|lane| lane.admission_limit(SECOND));
    let one = waits();
    rig.advance(SECOND);
    let passed = |rejected: millpond::Rejected<S::Job>| match rejected.reason() {
        RejectReason::AdmissionTimedOut { limit, .. } => *limit,
        other => panic!("{other}"),
    };
    assert_eq!(passed(soon(one).expect_err("its limit has passed")), SECOND);
    assert_pending!(five.poll());
    rig.advance(SECOND * 4);
    assert_eq!(passed(soon(five).expect_err("its limit has passed")), SECOND * 5);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

/// A ladder that only asks, ten seconds after the warning.
fn asks_after(grace: Duration) -> Watchdog {
    Watchdog::new(grace, Ladder::new().then(Rung::Cancel, SECOND * 1000))
}

fn a_shorter_span_makes_running_jobs_overdue<S: Subject>() {
    let mut rig = Rig::<S>::new("shorter-span", lane(), Watchdog::warn());
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    rig.advance(SECOND * 15);
    assert_eq!(rig.said(), []);
    rig.lane(|lane| lane.overdue_after(SECOND * 20));
    rig.advance(SECOND * 5 - MILLI);
    assert_eq!(rig.said(), []);
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 20)]);
    // It has been silent for longer than this one already.
    let late = hold_after::<S>(&mut rig, held, gate);
    rig.advance(SECOND * 15);
    rig.lane(|lane| lane.overdue_after(SECOND * 10));
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 15 + MILLI)]);
    late.1.open();
    late.0.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

/// Ends these jobs and begins another.
fn hold_after<S: Subject>(rig: &mut Rig<S>, held: Vec<JobHandle<u64>>, gate: Gate) -> (Vec<JobHandle<u64>>, Gate) {
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    let gate = Gate::new();
    let next = hold::<S>(&rig.pool, &gate, 1);
    (next, gate)
}

fn a_longer_span_lets_off_who_was_warned<S: Subject>() {
    let mut rig = Rig::<S>::new("longer-span", lane().overdue_after(SECOND * 5), asks_after(SECOND * 10));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    rig.advance(SECOND * 5);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 5)]);
    rig.advance(SECOND);
    rig.lane(|lane| lane.overdue_after(SECOND * 60));
    assert_eq!(rig.said(), [Said::LetOff(SECOND * 6)]);
    rig.advance(SECOND * 54 - MILLI);
    assert_eq!(rig.said(), []);
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 60)]);
    rig.advance(SECOND * 10);
    assert_eq!(rig.said(), [Said::Took(Rung::Cancel, SECOND * 70)]);
    // Who may be silent for ever is not overdue.
    rig.lane(|lane| lane.overdue_after(None));
    assert_eq!(rig.said(), [Said::LetOff(SECOND * 70)]);
    rig.advance(SECOND * 1000);
    assert_eq!(rig.said(), []);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

/// Of so many, control looks at a few with each message: these are looked at anew.
fn a_crowd_that_was_warned_is_let_off_at_once<S: Subject>() {
    const CROWD: usize = 220;
    let lane = lane().overdue_after(SECOND * 5);
    let mut rig = Rig::<S>::of(CROWD, "many-warned", lane, asks_after(SECOND * 1_000));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, CROWD);
    rig.events = rig.pool.events();
    rig.advance(SECOND * 5);
    assert_eq!(rig.said(), vec![Said::Warned(SECOND * 5); CROWD]);
    rig.retune(Retune::new().no_watchdog());
    assert_eq!(rig.said(), vec![Said::LetOff(SECOND * 5); CROWD]);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

fn another_watchdog_is_there_for_jobs_that_were_warned_about<S: Subject>() {
    let mut rig = Rig::<S>::new("other-dog", lane().overdue_after(SECOND * 5), asks_after(SECOND * 100));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    rig.advance(SECOND * 5);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 5)]);
    rig.retune(Retune::new().watchdog(asks_after(SECOND * 10)));
    rig.advance(SECOND * 10 - MILLI);
    assert_eq!(rig.said(), []);
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Took(Rung::Cancel, SECOND * 15)]);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

fn without_a_watchdog_nothing_follows_until_there_is_one_again<S: Subject>() {
    let mut rig = Rig::<S>::new("no-dog", lane().overdue_after(SECOND * 5), asks_after(SECOND * 10));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    rig.advance(SECOND * 5);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 5)]);
    rig.retune(Retune::new().no_watchdog());
    assert_eq!(rig.said(), [Said::LetOff(SECOND * 5)]);
    for _ in 0..10 {
        rig.advance(SECOND * 7);
    }
    assert_eq!(rig.said(), []);
    assert!(rig.pool.inventory_now().workers[0].job.as_ref().expect("it runs").overdue, "it can be seen all the same");
    rig.retune(Retune::new().watchdog(asks_after(SECOND)));
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 75 + MILLI)]);
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::Took(Rung::Cancel, SECOND * 76 + MILLI)]);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

/// A job that nobody is to take any more is not taken.
fn a_ladder_that_has_begun_ends_where_no_watchdog_is_left<S: Subject>() {
    let ladder = Ladder::new().then(Rung::Cancel, SECOND * 10).then(Rung::Kill, SECOND);
    let mut rig = Rig::<S>::new("dog-off", lane().overdue_after(SECOND * 5), Watchdog::new(SECOND, ladder));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1);
    rig.advance(SECOND * 5);
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::Warned(SECOND * 5), Said::Took(Rung::Cancel, SECOND * 6)]);
    rig.retune(Retune::new().no_watchdog());
    assert_eq!(rig.said(), [Said::LetOff(SECOND * 6)]);
    rig.advance(SECOND * 20);
    assert_eq!(rig.said(), []);
    assert_eq!(held[0].status(), JobStatus::Running);
    gate.open();
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
    at_rest(&rig.pool);
}

/// Nothing that was seen at the question is used at the ruling.
fn what_has_changed_while_hooks_are_asked_is_looked_at_again<S: Subject>() {
    let (hook, seen) = Answers::new(|word| match word {
        "start" => millpond::Verdict::Allow,
        _ => millpond::Verdict::Delay(SECOND * 5),
    });
    let clock = SettableClock::new();
    let pool = build::<S>("retune-delayed", |builder| {
        builder.limits(Limits::fixed(2)).clock(clock.clock()).hook("later", hook)
    });
    let change = Retune::new().limits(Limits::fixed(3)).lane(LaneChange::new("default").capacity(5));
    let mut delayed = spawn(pool.retune(change, LIMIT));
    assert_pending!(delayed.poll());
    until("it has answered", || {
        seen.asked().contains(&"resize") && soon(pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0
    });
    soon(pool.quiesce(LIMIT)).expect("it is open");
    after_control(&pool);
    assert_pending!(delayed.poll());
    let mut drained = spawn(pool.drain(LIMIT));
    let _ = drained.poll();
    after_control(&pool);
    clock.advance(SECOND * 5);
    let error = soon(delayed).expect_err("it drains by now");
    assert!(matches!(error, ControlError::TooLate { operation: "retune", .. }), "{error}");
    assert_eq!((pool.snapshot().limits, pool.snapshot().lanes[0].capacity), (Limits::fixed(2), 1024));
}
