//! What may come between a worker that is due and the one that takes its place: with workers that do what they are told.

use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    EventStream, Executor, Exit, HookOptions, HookSpec, JobHandle, Ladder, Limits, Pool, PoolBuilder, PoolEvent,
    PoolExecutor, Recycle, RecycleReason, Restart, Rung, Select, TimeLimit, Verdict, WorkerId, WorkerState,
};
use tokio_test::{assert_pending, task::spawn};

use crate::answers::Answers;
use crate::faults::By;
use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const fn worker(slot: u32, generation: u32) -> WorkerId {
    WorkerId { slot, generation }
}

const OLD: WorkerId = worker(0, 1);

struct Stage {
    pool: Pool<Scripted>,
    script: Script,
    clock: SettableClock,
    events: EventStream,
}

impl Stage {
    /// A start may take a minute, and one that fails is tried again after a second.
    fn new(limits: Limits, recycle: Recycle) -> Self {
        let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
        let pool = PoolBuilder::new(&named::<OnThreads>("succeeded"), backend)
            .limits(limits)
            .recycle(recycle)
            .start_limit(MINUTE)
            .restart_policy(By(|| Restart::After(SECOND)))
            .clock(clock.clock())
            .build()
            .expect("it is built");
        until("min is up", || pool.saturation().idle == limits.min);
        after_control(&pool);
        let events = pool.events();
        Self { pool, script, clock, events }
    }

    fn state(&self, worker: WorkerId) -> Option<WorkerState> {
        let rows = self.pool.inventory_now().workers;
        rows.iter().find(|row| row.worker == worker).map(|row| row.state)
    }

    #[track_caller]
    fn until_state(&self, worker: WorkerId, state: WorkerState) {
        until("it gets that far", || self.state(worker) == Some(state));
    }

    /// Who was started last is up, and control has heard of it.
    #[track_caller]
    fn until_up(&self, worker: WorkerId) {
        until("it is up", || self.script.started().contains(&worker) && self.pool.saturation().starting == 0);
        after_control(&self.pool);
        after_control(&self.pool);
    }

    /// The job is in this worker's hands.
    #[track_caller]
    fn give(&self, worker: WorkerId, job: u64) -> JobHandle<u64> {
        let handle = self.pool.try_submit(job).expect("there is a place");
        until("it has it", || self.script.take(worker) == Some(job));
        handle
    }

    /// The worker's job is done, and control has heard of it.
    #[track_caller]
    fn finish(&self, worker: WorkerId, handle: JobHandle<u64>) {
        assert!(self.script.finish(worker, 1));
        assert_eq!(soon(handle).unwrap(), 1);
        after_control(&self.pool);
    }

    /// Has those leave who are told to, until this one has, and says why.
    #[track_caller]
    fn until_gone(&mut self, worker: WorkerId) -> Exit {
        let mut why = None;
        until("it is gone", || {
            self.let_go();
            while let Some(event) = self.events.try_next() {
                match event {
                    PoolEvent::WorkerGone { worker: gone, exit } if gone == worker => why = Some(exit),
                    _ => {}
                }
            }
            why.is_some()
        });
        after_control(&self.pool);
        why.expect("it is gone")
    }

    /// Control has looked who idles for too long, hooks have answered, and who is told to leave has left.
    fn idle_for(&self, span: Duration) {
        self.clock.advance(span);
        let hooks = || soon(self.pool.hooks(LIMIT)).expect("it answers");
        until("nobody is asked", || hooks().iter().all(|hook| hook.unanswered == 0));
        after_control(&self.pool);
        self.let_go();
        after_control(&self.pool);
    }

    fn let_go(&self) {
        let rows = self.pool.inventory_now().workers;
        let leaving = rows.iter().filter(|row| row.state == WorkerState::Leaving);
        leaving.for_each(|row| self.script.die(row.worker));
    }
}

fn after_a_job() -> Recycle {
    Recycle::new().after_jobs(1)
}

/// Its turn had come, since there was one more than `min`, and it was busy. That one has left meanwhile, and the next one is not up yet.
#[test]
fn a_turn_that_nobody_has_taken_ends_as_another_worker_comes() {
    let mut stage = Stage::new(Limits::new(1, 2).idle_timeout(None), Recycle::new().after_age(HOUR));
    let handle = stage.give(OLD, 5);
    stage.clock.advance(HOUR);
    stage.until_up(worker(1, 1));
    stage.script.hang_next_start();
    let stop = Ladder::new().then(Rung::Stop, MINUTE);
    let pool = stage.pool.clone();
    let mut stopped = spawn(pool.terminate(Select::worker(worker(1, 1)), stop, LIMIT));
    assert_pending!(stopped.poll());
    // From here on control hears of nothing but that this one is gone.
    stage.until_state(worker(1, 1), WorkerState::Leaving);
    stage.script.die(worker(1, 1));
    until("another one is started", || stage.script.started().contains(&worker(1, 2)));
    assert!(stage.script.finish(OLD, 6));
    assert_eq!(soon(handle).unwrap(), 6);
    assert_eq!(stage.state(OLD), Some(WorkerState::Idle), "nobody else is up: {}", stage.pool.inventory_now());
    // What has hung is given up, and the next one comes up.
    stage.clock.advance(MINUTE);
    assert!(matches!(stage.until_gone(worker(1, 2)), Exit::FailedToStart(_)));
    at_rest(&stage.pool);
}

/// Else it would leave and another one come, again and again for as long as the job takes. Who is there beyond that leaves.
#[test]
fn a_spare_idles_for_as_long_as_the_one_that_is_due_is_busy() {
    for (hooked, others) in [(false, 0), (false, 2), (true, 0), (true, 2)] {
        let limits = Limits::new(1, 4).idle_timeout(SECOND * 8);
        let mut stage = Stage::new(limits, Recycle::new().after_age(HOUR));
        let (hook, seen) = Answers::new(|_| Verdict::Allow);
        if hooked {
            // Longer than the clock is moved by while it is asked.
            let hook = HookSpec::new("all", hook).options(HookOptions::new().limit(HOUR * 24));
            soon(stage.pool.set_hook(hook, LIMIT)).expect("there is room");
        }
        let long = stage.give(OLD, 5);
        stage.clock.advance(HOUR);
        stage.until_up(worker(1, 1));
        let short: Vec<_> = (0..=others).map(|job| stage.pool.try_submit(job).expect("there is a place")).collect();
        let up = || stage.pool.saturation().active == 2 + others as usize;
        until("each has a worker", || {
            for worker in stage.script.alive() {
                stage.script.take(worker);
            }
            up()
        });
        for worker in stage.script.alive().into_iter().filter(|worker| *worker != OLD) {
            stage.script.take(worker);
            assert!(stage.script.finish(worker, 1));
        }
        short.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 1));
        let exits = || seen.asked().iter().filter(|word| **word == "idle exit").count();
        for _ in 0..100 {
            stage.idle_for(SECOND * 2);
        }
        let started = 2 + others as usize;
        assert_eq!(stage.script.started().len(), started, "nobody comes in the place of one that has left");
        assert_eq!((stage.script.alive().len(), stage.pool.saturation().idle), (2, 1), "the others have left");
        assert_eq!(exits(), if hooked { others as usize } else { 0 });
        stage.finish(OLD, long);
        assert!(matches!(stage.until_gone(OLD), Exit::Recycled(RecycleReason::Age(_))));
        stage.idle_for(MINUTE);
        assert_eq!((stage.script.started().len(), stage.pool.saturation().idle), (started, 1));
        at_rest(&stage.pool);
    }
}

/// It costs nobody its place, and its slot has its policy.
#[test]
fn as_long_as_a_spare_hangs_the_one_that_is_due_stays() {
    let mut stage = Stage::new(Limits::new(1, 2).idle_timeout(None), after_a_job());
    stage.script.hang_next_start();
    let handle = stage.give(OLD, 5);
    stage.finish(OLD, handle);
    until("a spare is started", || stage.script.started().contains(&worker(1, 1)));
    for job in 0..3 {
        let handle = stage.give(OLD, job);
        stage.finish(OLD, handle);
        assert_eq!(stage.state(OLD), Some(WorkerState::Idle));
    }
    stage.clock.advance(MINUTE);
    assert!(matches!(stage.until_gone(worker(1, 1)), Exit::FailedToStart(_)));
    until("its slot waits", || stage.pool.snapshot().health.why().is_some());
    assert_eq!(stage.state(OLD), Some(WorkerState::Idle), "{}", stage.pool.inventory_now());
    stage.clock.advance(SECOND);
    stage.until_up(worker(1, 2));
    assert!(matches!(stage.until_gone(OLD), Exit::Recycled(RecycleReason::Jobs(4))));
    at_rest(&stage.pool);
}

/// Where there is no room for a spare, one is missing from the one's end to the other's start, and not two.
#[test]
fn nobody_else_goes_until_the_successor_of_one_is_up() {
    for refused in [true, false] {
        let mut stage = Stage::new(Limits::fixed(2).idle_timeout(None), after_a_job());
        let workers = [OLD, worker(1, 1)];
        let handles = [stage.pool.try_submit(0).expect("a place"), stage.pool.try_submit(1).expect("a place")];
        until("both have one", || {
            workers.iter().filter(|worker| stage.script.take(**worker).is_some()).count() == 0
                && stage.pool.saturation().active == 2
        });
        if refused {
            stage.script.refuse_next_start();
        } else {
            stage.script.hang_next_start();
        }
        for (worker, handle) in workers.into_iter().zip(handles) {
            assert!(stage.script.finish(worker, 1));
            drop(handle);
            after_control(&stage.pool);
        }
        assert!(matches!(stage.until_gone(OLD), Exit::Recycled(RecycleReason::Jobs(1))));
        if !refused {
            until("it is started", || stage.script.started().contains(&worker(0, 2)));
        }
        for job in 0..3 {
            let handle = stage.give(worker(1, 1), job);
            stage.finish(worker(1, 1), handle);
            assert_eq!(stage.state(worker(1, 1)), Some(WorkerState::Idle), "the other one is not up");
        }
        if !refused {
            stage.clock.advance(MINUTE);
            assert!(matches!(stage.until_gone(worker(0, 2)), Exit::FailedToStart(_)));
        }
        until("its slot waits", || stage.pool.snapshot().health.why().is_some());
        assert_eq!(stage.state(worker(1, 1)), Some(WorkerState::Idle), "the other one is not up");
        stage.clock.advance(SECOND);
        until("the next one is up", || stage.script.alive().contains(&worker(0, 3)));
        assert!(matches!(stage.until_gone(worker(1, 1)), Exit::Recycled(RecycleReason::Jobs(4))));
        until("both are up", || stage.pool.saturation().idle == 2);
        at_rest(&stage.pool);
    }
}

/// The seat that the spare has taken is owed, and the one that idles pays: it leaves for the limit, and once.
#[test]
fn a_limit_that_is_lowered_as_a_spare_comes_up_is_paid_by_the_one_that_was_due() {
    let mut stage = Stage::new(Limits::new(1, 2).idle_timeout(None), after_a_job());
    stage.script.hang_next_start();
    let handle = stage.give(OLD, 5);
    stage.finish(OLD, handle);
    until("a spare is started", || stage.script.started().contains(&worker(1, 1)));
    let report = soon(stage.pool.resize(Limits::fixed(1).idle_timeout(None), LIMIT)).expect("it fits");
    assert_eq!(report.debt, 0);
    assert!(matches!(stage.until_gone(OLD), Exit::Retired));
    assert_eq!(soon(report.settled()), vec![OLD]);
    let seen = stage.pool.saturation();
    assert_eq!((seen.workers, seen.starting), (1, 1), "nobody is started beyond the limit: {seen}");
    // The spare is in a slot beyond the limit; what takes its place is not.
    stage.clock.advance(MINUTE);
    assert!(matches!(stage.until_gone(worker(1, 1)), Exit::FailedToStart(_)));
    until("another one is up", || stage.script.alive() == [worker(0, 2)] && stage.pool.saturation().idle == 1);
    at_rest(&stage.pool);
}

/// One that is due and has its turn leaves for the limit, if its seat is owed by then.
#[test]
fn a_seat_that_is_owed_is_paid_before_a_turn_is_taken() {
    let mut stage = Stage::new(Limits::new(1, 2).idle_timeout(None), Recycle::new().after_age(HOUR));
    let handle = stage.give(OLD, 5);
    stage.clock.advance(HOUR);
    stage.until_up(worker(1, 1));
    let other = stage.give(worker(1, 1), 6);
    let report = soon(stage.pool.resize(Limits::fixed(1).idle_timeout(None), LIMIT)).expect("it fits");
    assert_eq!(report.debt, 1);
    stage.finish(OLD, handle);
    assert!(matches!(stage.until_gone(OLD), Exit::Retired));
    stage.finish(worker(1, 1), other);
    assert_eq!(stage.state(worker(1, 1)), Some(WorkerState::Idle));
    assert_eq!(stage.script.started().len(), 2, "nobody takes its place");
    at_rest(&stage.pool);
}

/// From then on one worker less is one too few.
#[test]
fn whoever_is_due_stays_if_min_is_raised_until_so_many_are_up() {
    let mut stage = Stage::new(Limits::new(1, 3).idle_timeout(None), Recycle::new().after_age(HOUR));
    let handle = stage.give(OLD, 5);
    stage.clock.advance(HOUR);
    stage.until_up(worker(1, 1));
    stage.script.hang_next_start();
    let limits = Limits::new(3, 3).idle_timeout(None);
    soon(stage.pool.resize(limits, LIMIT)).expect("it fits");
    until("another one is started", || stage.script.started().contains(&worker(2, 1)));
    stage.finish(OLD, handle);
    assert_eq!(stage.state(OLD), Some(WorkerState::Idle), "{}", stage.pool.inventory_now());
    stage.clock.advance(MINUTE);
    assert!(matches!(stage.until_gone(worker(2, 1)), Exit::FailedToStart(_)));
    until("its slot waits", || stage.pool.snapshot().health.why().is_some());
    assert_eq!(stage.state(OLD), Some(WorkerState::Idle));
    stage.clock.advance(SECOND);
    assert!(matches!(stage.until_gone(OLD), Exit::Recycled(RecycleReason::Age(_))));
    until("all are up", || stage.pool.saturation().idle == 3);
    at_rest(&stage.pool);
}

/// What was admitted is run, and so one more worker is started for it.
#[test]
fn a_shutdown_amid_a_recycling_runs_what_was_admitted() {
    let mut stage = Stage::new(Limits::fixed(1).idle_timeout(None), after_a_job());
    let handle = stage.give(OLD, 5);
    stage.finish(OLD, handle);
    stage.until_state(OLD, WorkerState::Leaving);
    let queued = stage.pool.try_submit(6).expect("its place is there");
    let mut end = spawn(stage.pool.shutdown(TimeLimit::secs(600)));
    assert_pending!(end.poll());
    after_control(&stage.pool);
    stage.script.die(OLD);
    let next = worker(0, 2);
    until("its successor has the job", || stage.script.take(next) == Some(6));
    assert!(stage.script.finish(next, 7));
    assert_eq!(soon(queued).unwrap(), 7);
    stage.until_state(next, WorkerState::Leaving);
    stage.script.die(next);
    let report = soon(end).expect("it answers");
    assert_eq!((report.completed, report.jobs()), (1, 1), "{report}");
    assert_eq!(stage.script.started().len(), 2);
    let mut gone = std::iter::from_fn(|| stage.events.try_next());
    let recycled =
        |event| matches!(event, PoolEvent::WorkerGone { worker: OLD, exit: Exit::Recycled(RecycleReason::Jobs(1)) });
    assert!(gone.any(recycled), "the first reason stands");
}

/// Nobody waits for it beyond the limit, and the one that was due leaves with the pool.
#[test]
fn a_shutdown_does_not_wait_for_a_spare_that_hangs() {
    let stage = Stage::new(Limits::new(1, 2).idle_timeout(None), after_a_job());
    stage.script.hang_next_start();
    let handle = stage.give(OLD, 5);
    stage.finish(OLD, handle);
    until("a spare is started", || stage.script.started().contains(&worker(1, 1)));
    let mut end = spawn(stage.pool.shutdown(TimeLimit::secs(30)));
    assert_pending!(end.poll());
    stage.until_state(OLD, WorkerState::Leaving);
    stage.script.die(OLD);
    stage.clock.advance(SECOND * 30);
    let report = soon(end).expect("it answers");
    assert_eq!(report.jobs(), 0, "{report}");
    assert_eq!(stage.script.started().len(), 2, "nobody comes in its place");
    stage.script.die(worker(1, 1));
}
