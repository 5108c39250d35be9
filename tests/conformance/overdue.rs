//! The watchdog, on a clock that the test moves: to the tick, with beats at moments of the test's choosing.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    EventStream, Exit, JobContext, JobError, JobHandle, JobOptions, Ladder, Lane, Limits, PoolEvent, PoolExecutor,
    Rung, Watchdog, WorkerRow,
};

use crate::rig::{PoolOf, after_control, at_rest, build, put, put_with, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{ASKED, Gate, Task};

conform! {
    ;
    in_this_process:
    a_job_that_heeds_the_question_keeps_its_worker,
    a_job_that_beats_is_not_overdue,
    a_job_that_beats_after_the_warning_is_let_off,
    a_job_that_beats_after_the_question_is_let_off,
    a_job_that_beats_after_its_worker_was_told_is_let_off_and_its_worker_leaves,
    a_warning_alone_is_repeated,
    a_ladder_that_ends_nobody_begins_anew,
    a_job_is_not_held_to_account_for_the_one_before_it,
    a_job_of_its_own_span_is_not_bound_by_its_lanes,
    a_job_that_its_run_limit_ended_is_not_overdue,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
/// How long a job may be silent here.
pub(crate) const SPAN: Duration = Duration::from_secs(10);

/// Four seconds after the warning it asks, after three more it tells, after two more it takes.
pub(crate) fn watchdog() -> Watchdog {
    let ladder = Ladder::new().then(Rung::Cancel, SECOND * 3).then(Rung::Stop, SECOND * 2).then(Rung::Kill, SECOND);
    Watchdog::new(SECOND * 4, ladder)
}

pub(crate) struct Rig<S: Subject> {
    pub(crate) pool: PoolOf<S>,
    clock: SettableClock,
    pub(crate) events: EventStream,
}

/// What the watchdog said.
#[derive(PartialEq, Debug)]
pub(crate) enum Said {
    Warned(Duration),
    Took(Rung, Duration),
    LetOff(Duration),
}

impl<S: Subject> Rig<S> {
    pub(crate) fn new(what: &str, watchdog: Watchdog) -> Self {
        let clock = SettableClock::new();
        let lane = Lane::new("io").overdue_after(SPAN);
        let pool = build::<S>(what, |builder| {
            builder.limits(Limits::fixed(1)).default_lane(lane).watchdog(watchdog).clock(clock.clock())
        });
        // A worker that comes up while the clock is moved may have read it before.
        until("it is up", || pool.saturation().idle == 1);
        let events = pool.events();
        Self { pool, clock, events }
    }

    /// Control has heard of it when this returns.
    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
        after_control(&self.pool);
    }

    pub(crate) fn said(&mut self) -> Vec<Said> {
        let said = |event| match event {
            PoolEvent::Overdue { silent_for, .. } => Some(Said::Warned(silent_for)),
            PoolEvent::OverdueRung { rung, silent_for, .. } => Some(Said::Took(rung, silent_for)),
            PoolEvent::LetOff { silent_for, .. } => Some(Said::LetOff(silent_for)),
            _ => None,
        };
        std::iter::from_fn(|| self.events.try_next()).filter_map(said).collect()
    }

    /// A job that runs, and the means to beat for it.
    pub(crate) fn run(&self, options: JobOptions, hold: impl FnOnce(Task) -> Task) -> (JobHandle<u64>, JobContext) {
        let (tell, told) = sync_channel(1);
        let task = Task::call(move || {
            tell.send(JobContext::current().expect("a job has a context")).expect("the test waits for it");
            7
        });
        let handle = put_with::<S>(&self.pool, options, hold(task));
        (handle, told.recv().expect("it runs"))
    }

    fn row(&self) -> WorkerRow {
        self.pool.inventory_now().workers.remove(0)
    }

    pub(crate) fn next_job_runs(&self) {
        assert_eq!(soon(put::<S>(&self.pool, Task::value(9))).unwrap(), 9);
    }
}

fn a_job_that_heeds_the_question_keeps_its_worker<S: Subject>() {
    let mut rig = Rig::<S>::new("heeds", watchdog());
    let gate = Gate::new();
    let (handle, _job) = rig.run(JobOptions::new(), |task| task.then_polite(&gate));
    let worker = worker_of(&rig.pool, &handle);
    rig.advance(SPAN);
    rig.advance(SECOND * 4);
    assert_eq!(soon(handle).unwrap(), ASKED);
    assert_eq!(rig.said(), [Said::Warned(SPAN), Said::Took(Rung::Cancel, SECOND * 14)]);
    rig.advance(SECOND * 60);
    rig.next_job_runs();
    assert_eq!((rig.row().worker, rig.said()), (worker, vec![]));
    at_rest(&rig.pool);
}

fn a_job_that_beats_is_not_overdue<S: Subject>() {
    let mut rig = Rig::<S>::new("beats", watchdog());
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    for _ in 0..6 {
        rig.advance(SPAN - MILLI);
        job.beat();
    }
    rig.advance(SPAN - MILLI);
    assert_eq!(rig.said(), [], "six times its span is no matter for one that beats");
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SPAN)], "to the tick, although no beat touches a timer");
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_job_that_beats_after_the_warning_is_let_off<S: Subject>() {
    let mut rig = Rig::<S>::new("let-off", watchdog());
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    rig.advance(SPAN);
    rig.advance(SECOND * 3);
    job.beat();
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::Warned(SPAN), Said::LetOff(SECOND * 13)]);
    assert!(!job.is_cancelled() && !rig.row().job.expect("it runs").overdue);
    // From the beat on it has its whole span again, and no more.
    rig.advance(SPAN - SECOND - MILLI);
    assert_eq!(rig.said(), []);
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SPAN)]);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_job_that_beats_after_the_question_is_let_off<S: Subject>() {
    let mut rig = Rig::<S>::new("let-off-asked", watchdog());
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    let worker = worker_of(&rig.pool, &handle);
    rig.advance(SPAN);
    rig.advance(SECOND * 4);
    rig.advance(SECOND * 2);
    job.beat();
    rig.advance(SECOND);
    let said = [Said::Warned(SPAN), Said::Took(Rung::Cancel, SECOND * 14), Said::LetOff(SECOND * 16)];
    assert_eq!(rig.said(), said);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    rig.next_job_runs();
    assert_eq!(rig.row().worker, worker);
    at_rest(&rig.pool);
}

/// A worker that was told to leave does, but not before a job that has come alive again is over.
fn a_job_that_beats_after_its_worker_was_told_is_let_off_and_its_worker_leaves<S: Subject>() {
    let mut rig = Rig::<S>::new("let-off-told", watchdog());
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    let worker = worker_of(&rig.pool, &handle);
    for span in [SPAN, SECOND * 4, SECOND * 3, SECOND] {
        rig.advance(span);
    }
    job.beat();
    rig.advance(SECOND);
    assert_eq!(rig.said().pop(), Some(Said::LetOff(SECOND * 18)));
    rig.advance(SECOND * 5);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7, "it was not taken");
    rig.next_job_runs();
    let exit = loop {
        match soon(rig.events.next()).expect("the pool is there") {
            PoolEvent::WorkerGone { worker: gone, exit } if gone == worker => break exit,
            _ => {}
        }
    };
    assert!(matches!(exit, Exit::Stuck { silent_for, rung: Rung::Stop } if silent_for == SECOND * 17), "{exit}");
    at_rest(&rig.pool);
}

fn a_warning_alone_is_repeated<S: Subject>() {
    let mut rig = Rig::<S>::new("warn", Watchdog::warn());
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    for times in 1..=3 {
        rig.advance(SPAN - MILLI);
        assert_eq!(rig.said(), []);
        rig.advance(MILLI);
        assert_eq!(rig.said(), [Said::Warned(SPAN * times)]);
    }
    assert!(!job.is_cancelled());
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_ladder_that_ends_nobody_begins_anew<S: Subject>() {
    let mut rig = Rig::<S>::new("anew", Watchdog::new(SECOND, Ladder::cooperative(SECOND)));
    let gate = Gate::new();
    let (handle, _job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    for rounds in 0..2 {
        let before = (SPAN + SECOND * 2) * rounds;
        rig.advance(SPAN);
        rig.advance(SECOND);
        let said = [Said::Warned(before + SPAN), Said::Took(Rung::Cancel, before + SPAN + SECOND)];
        assert_eq!(rig.said(), said);
        rig.advance(SECOND);
    }
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_job_is_not_held_to_account_for_the_one_before_it<S: Subject>() {
    let mut rig = Rig::<S>::new("successor", watchdog());
    let (first, second) = (Gate::new(), Gate::new());
    let (handle, _) = rig.run(JobOptions::new(), |task| task.then_deaf(&first));
    rig.advance(SECOND * 6);
    first.open();
    assert_eq!(soon(handle).unwrap(), 7);
    let (handle, _) = rig.run(JobOptions::new(), |task| task.then_deaf(&second));
    rig.advance(SECOND * 9);
    assert_eq!(rig.said(), []);
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::Warned(SPAN)]);
    second.open();
    assert_eq!(soon(handle).unwrap(), 7);
    // The ladder that was about to begin finds that the job is over.
    rig.advance(SECOND * 4);
    rig.next_job_runs();
    assert_eq!(rig.said(), []);
    at_rest(&rig.pool);
}

fn a_job_of_its_own_span_is_not_bound_by_its_lanes<S: Subject>() {
    let mut rig = Rig::<S>::new("own-span", watchdog());
    // The lane's span is in the calendar when the shorter one comes.
    rig.next_job_runs();
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new().overdue_after(SECOND), |task| task.then_deaf(&gate));
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::Warned(SECOND)]);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new().overdue_after(SPAN * 2), |task| task.then_deaf(&gate));
    rig.advance(SPAN * 2 - MILLI);
    assert_eq!(rig.said(), []);
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Warned(SPAN * 2)]);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

/// Two ladders at one worker would be one too many.
fn a_job_that_its_run_limit_ended_is_not_overdue<S: Subject>() {
    let mut rig = Rig::<S>::new("both", watchdog());
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new().run_limit(SECOND * 9), |task| task.then_blocking(&gate));
    rig.advance(SECOND * 9);
    assert!(matches!(soon(handle), Err(JobError::TimedOut(_))));
    rig.advance(SECOND);
    rig.advance(SECOND * 4);
    assert_eq!(rig.said(), []);
    gate.open();
    rig.next_job_runs();
    at_rest(&rig.pool);
}
