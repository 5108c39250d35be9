//! For whom changed limits, spans and policies hold, on a clock that the test moves. `DESIGN.md`, section 14.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    Autoscaler, ControlError, EventStream, Executor, JobError, JobHandle, JobStatus, Ladder, Lane, LaneChange,
    LimitKind, Limits, PoolEvent, PoolExecutor, RejectReason, Retune, Rung, Snapshot, Watchdog,
};
use parking_lot::Mutex;
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
    an_autoscaler_that_is_set_begins_its_period_anew,
    an_autoscaler_that_is_removed_is_not_heard_any_more,
    a_reserve_that_is_raised_raises_the_limit_that_an_autoscaler_has_chosen,
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

const PERIOD: Duration = Duration::from_secs(10);

/// Wants so many, and counts how often it is asked; at its gate, if it has one.
#[derive(Clone, Default)]
struct Wants(Arc<(AtomicUsize, AtomicUsize, Mutex<Option<Gate>>)>);

impl Wants {
    fn new(workers: usize) -> Self {
        let wants = Self::default();
        wants.0.0.store(workers, Ordering::Release);
        wants
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::Acquire)
    }
}

impl Autoscaler for Wants {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        self.0.1.fetch_add(1, Ordering::AcqRel);
        let gate = self.0.2.lock().as_ref().map(Gate::other);
        if let Some(gate) = gate {
            gate.pass();
        }
        self.0.0.load(Ordering::Acquire)
    }
}

#[track_caller]
fn limit_becomes<S: Subject>(pool: &PoolOf<S>, limit: usize) {
    until("the limit is what is wanted", || pool.saturation().limit == limit);
}

fn an_autoscaler_that_is_set_begins_its_period_anew<S: Subject>() {
    let clock = SettableClock::new();
    let (first, second) = (Wants::new(2), Wants::new(3));
    let pool = build::<S>("scaler-set", |builder| builder.limits(Limits::new(1, 6)).clock(clock.clock()));
    let advance = |span| {
        clock.advance(span);
        after_control(&pool);
    };
    let set = |wants: &Wants| {
        let change = Retune::new().autoscaler(wants.clone(), PERIOD);
        soon(pool.retune(change, LIMIT)).expect("it can be done").retuned
    };
    let retuned = set(&first);
    assert_eq!((retuned.from.autoscaled_every, retuned.to.autoscaled_every), (None, Some(PERIOD)));
    advance(PERIOD - MILLI);
    assert_eq!((first.asked(), pool.saturation().limit), (0, 6), "it is asked when its period is over");
    advance(MILLI);
    limit_becomes::<S>(&pool, 2);
    after_control(&pool);
    advance(PERIOD - MILLI);
    let retuned = set(&second);
    assert!(retuned.autoscaler);
    assert_eq!((retuned.to.limits, retuned.to.bounds), (Limits::new(1, 2), Limits::new(1, 6)));
    advance(MILLI);
    advance(PERIOD - MILLI * 2);
    assert_eq!((first.asked(), second.asked()), (1, 0));
    advance(MILLI);
    limit_becomes::<S>(&pool, 3);
    // New limits beside it are its bounds.
    let third = Wants::new(9);
    let change = Retune::new().autoscaler(third.clone(), PERIOD).limits(Limits::new(1, 4));
    soon(pool.retune(change, LIMIT)).expect("it can be done");
    assert_eq!(pool.saturation().limit, 4);
    third.0.0.store(2, Ordering::Release);
    advance(PERIOD);
    limit_becomes::<S>(&pool, 2);
    at_rest(&pool);
}

fn an_autoscaler_that_is_removed_is_not_heard_any_more<S: Subject>() {
    let clock = SettableClock::new();
    let (slow, gate) = (Wants::new(5), Gate::new());
    let pool = build::<S>("scaler-gone", |builder| {
        builder.limits(Limits::new(1, 6)).clock(clock.clock()).autoscaler(slow.clone(), PERIOD)
    });
    limit_becomes::<S>(&pool, 5);
    after_control(&pool);
    *slow.0.2.lock() = Some(gate.other());
    clock.advance(PERIOD);
    until("it is asked", || slow.asked() == 2);
    slow.0.0.store(1, Ordering::Release);
    let retuned = soon(pool.retune(Retune::new().no_autoscaler(), LIMIT)).expect("it can be done").retuned;
    assert_eq!((retuned.to.autoscaled_every, retuned.to.limits, retuned.to.bounds), {
        (None, Limits::new(1, 5), Limits::new(1, 5))
    });
    // Another comes, and is asked its first question while the first one's answer is on its way.
    let other = Wants::new(3);
    soon(pool.retune(Retune::new().autoscaler(other.clone(), PERIOD), LIMIT)).expect("it can be done");
    let second = Gate::new();
    *other.0.2.lock() = Some(second.other());
    clock.advance(PERIOD);
    after_control(&pool);
    gate.open();
    until("the other is asked", || other.asked() == 1);
    after_control(&pool);
    assert_eq!(pool.saturation().limit, 5, "what the first one says is nobody's answer");
    second.open();
    limit_becomes::<S>(&pool, 3);
    at_rest(&pool);
}

fn a_reserve_that_is_raised_raises_the_limit_that_an_autoscaler_has_chosen<S: Subject>() {
    let (clock, wants) = (SettableClock::new(), Wants::new(5));
    let pool = build::<S>("scaler-reserve", |builder| {
        let builder = builder.limits(Limits::new(3, 6)).lane(Lane::new("dns")).clock(clock.clock());
        builder.autoscaler(wants.clone(), PERIOD)
    });
    limit_becomes::<S>(&pool, 5);
    // Each answer shows, so that no time passes while it is on its way.
    let next = |wanted, limit| {
        wants.0.0.store(wanted, Ordering::Release);
        after_control(&pool);
        clock.advance(PERIOD);
        limit_becomes::<S>(&pool, limit);
    };
    let change = |seats| Retune::new().lane(LaneChange::new("dns").reserve(seats));
    next(1, 3);
    let retuned = soon(pool.retune(change(3), LIMIT)).expect("it goes with what was set").retuned;
    assert_eq!((retuned.to.limits, retuned.to.bounds), (Limits::new(3, 4), Limits::new(3, 6)));
    let error = soon(pool.retune(change(4), LIMIT)).expect_err("three are kept up");
    assert!(matches!(error, ControlError::Config { .. }), "{error}");
    next(6, 6);
    next(1, 4);
    soon(pool.retune(change(1), LIMIT)).expect("it can be done");
    assert_eq!(pool.saturation().limit, 4, "it is the autoscaler's to lower it");
    next(1, 3);
    at_rest(&pool);
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
