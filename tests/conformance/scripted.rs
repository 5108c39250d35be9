//! Faults, on the scripted backend, whose workers take, finish, panic and die when they are told to and not otherwise.

use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    CloseReason, Ended, Exit, Fate, Health, JobError, JobStatus, Ladder, Lane, Limits, Pool, PoolBuilder, PoolEvent,
    PoolExecutor, RejectReason, Restart, Rung, Select, StartError, ThreadPool, WorkerId, WorkerState,
};
use std::sync::atomic::Ordering;
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    pool: Pool<Scripted>,
    script: Script,
    clock: SettableClock,
}

fn stage(
    what: &str,
    killable: bool,
    limits: Limits,
    shape: impl FnOnce(PoolBuilder<Scripted>, &Script) -> PoolBuilder<Scripted>,
) -> Stage {
    let ((backend, script), clock) = (Scripted::new(killable), SettableClock::new());
    let builder = PoolBuilder::new(&named::<OnThreads>(what), backend).limits(limits).clock(clock.clock());
    let pool = shape(builder, &script).build().expect("it is built");
    Stage { pool, script, clock }
}

fn plain(what: &str, killable: bool, limits: Limits) -> Stage {
    stage(what, killable, limits, |builder, _| builder)
}

impl Stage {
    fn submit(&self, job: u64) -> millpond::JobHandle<u64> {
        millpond::Executor::try_submit(&self.pool, job).expect("there is a place")
    }

    /// The worker of this slot, once it is up.
    fn worker(&self, slot: u32, generation: u32) -> WorkerId {
        let worker = WorkerId { slot, generation };
        until("the worker is up", || self.script.alive().contains(&worker));
        worker
    }

    /// Has the worker take a job, as soon as there is one for it.
    fn take(&self, worker: WorkerId) -> u64 {
        let mut taken = None;
        until("it gets a job", || {
            taken = self.script.take(worker);
            taken.is_some()
        });
        taken.expect("it got one")
    }
}

/// `DESIGN.md`, section 4, last row: it keeps its turn.
#[test]
fn a_job_that_was_not_begun_goes_back_to_the_front_of_its_lane() {
    let stage = plain("put-back", true, Limits::fixed(1));
    let first = stage.worker(0, 1);
    until("it idles", || stage.pool.saturation().idle == 1);
    let busy = stage.submit(10);
    assert_eq!(stage.take(first), 10);
    let (one, two) = (stage.submit(11), stage.submit(12));
    // Ending its job, the worker claims the next one at once; it dies before it begins it.
    assert!(stage.script.finish(first, 1));
    assert_eq!(soon(busy).unwrap(), 1);
    assert_eq!(one.status(), JobStatus::Running);
    stage.script.die(first);
    let second = stage.worker(0, 2);
    assert_eq!(stage.take(second), 11, "the front of the lane");
    assert!(stage.script.finish(second, 2));
    assert_eq!(stage.take(second), 12);
    assert!(stage.script.finish(second, 3));
    assert_eq!((soon(one).unwrap(), soon(two).unwrap()), (2, 3));
    at_rest(&stage.pool);
    assert_eq!(stage.pool.snapshot().ledger.completed, 3);
}

/// A worker that was called in vain has idled all the time, and is not taken for one that has just begun to.
#[test]
fn who_has_idled_for_longest_leaves_first_though_it_was_called_in_vain() {
    let stage = plain("longest-idle", true, Limits::new(0, 2).idle_timeout(SECOND * 8));
    let jobs = [stage.submit(10), stage.submit(11)];
    let (first, second) = (stage.worker(0, 1), stage.worker(1, 1));
    let taken = [stage.take(first), stage.take(second)];
    assert!(taken.contains(&10) && taken.contains(&11));
    assert!(stage.script.finish(first, 1));
    stage.clock.advance(SECOND * 5);
    // The first one is called, and has not looked when there is nothing to be found any more.
    stage.submit(12).cancel();
    assert!(stage.script.finish(second, 2));
    assert_eq!(stage.script.take(first), None);
    for job in jobs {
        soon(job).expect("it was run");
    }
    let leaves = |worker: WorkerId| {
        let row = |row: &millpond::WorkerRow| row.worker == worker && row.state == WorkerState::Leaving;
        stage.pool.inventory_now().workers.iter().any(row)
    };
    stage.clock.advance(SECOND * 3);
    until("the first one is told to leave", || leaves(first));
    stage.script.die(first);
    stage.clock.advance(SECOND * 4);
    after_control(&stage.pool);
    assert_eq!(stage.pool.saturation().idle, 1, "the second one has a second left");
    stage.clock.advance(SECOND);
    until("it is told to leave as well", || leaves(second));
    stage.script.die(second);
    at_rest(&stage.pool);
}

/// Invariant 1: a worker that dies with a job in hand does not take its outcome along; nor is the job delivered again.
#[test]
fn a_job_whose_worker_dies_under_it_has_an_outcome_and_is_not_run_again() {
    let stage = plain("dies", true, Limits::fixed(1));
    let first = stage.worker(0, 1);
    let handle = stage.submit(10);
    assert_eq!(stage.take(first), 10);
    stage.script.die(first);
    let error = soon(handle).expect_err("its worker is gone");
    assert!(matches!(error.ended(), Some(Ended::Killed | Ended::Lost)), "{error}");
    let second = stage.worker(0, 2);
    assert_eq!(stage.script.take(second), None);
    at_rest(&stage.pool);
}

/// A start that fails costs time, not jobs: with a queue the job waits for the next one.
#[test]
fn a_refused_start_keeps_the_queue_and_is_tried_again() {
    let stage = plain("refused", true, Limits::new(0, 1));
    let mut events = stage.pool.events();
    stage.script.refuse_next_start();
    let handle = stage.submit(10);
    until("the refusal is told", || {
        matches!(events.try_next(), Some(PoolEvent::WorkerGone { exit: Exit::FailedToStart(_), .. }))
    });
    let worker = stage.worker(0, 2);
    assert_eq!(stage.take(worker), 10);
    assert!(stage.script.finish(worker, 5));
    assert_eq!(soon(handle).unwrap(), 5);
    at_rest(&stage.pool);
}

/// What a script says of several starts holds for them in turn.
#[test]
fn starts_go_as_the_script_said_in_that_order() {
    let stage = stage("in-turn", true, Limits::fixed(2), |builder, script| {
        script.refuse_next_start();
        script.hang_next_start();
        builder
    });
    until("the second one hangs", || stage.script.started().contains(&WorkerId { slot: 1, generation: 1 }));
    let worker = stage.worker(0, 2);
    let handle = stage.submit(10);
    assert_eq!(stage.take(worker), 10, "the one whose slot was refused first");
    assert!(stage.script.finish(worker, 5));
    assert_eq!((soon(handle).unwrap(), stage.pool.saturation().starting), (5, 1));
}

/// Without a queue it was let in for this one worker, and there is nowhere to wait for another.
#[test]
fn a_job_that_was_handed_to_a_start_that_fails_shares_its_fate() {
    let stage = stage("shared-fate", true, Limits::new(0, 1), |builder, script| {
        script.refuse_next_start();
        builder.default_lane(Lane::new("default").capacity(0))
    });
    let error = soon(stage.submit(10)).expect_err("there was nobody to run it");
    let JobError::StartFailed(why) = &error else { panic!("{error}") };
    assert!(matches!(*why.source, StartError::Refused(_)), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    at_rest(&stage.pool);
    assert_eq!(stage.pool.snapshot().ledger.not_started, 1);
}

/// A worker that never comes up is dealt with as one whose job never ends.
#[test]
fn a_start_that_hangs_is_given_up_at_the_start_limit() {
    for killable in [true, false] {
        let stage = stage("hangs", killable, Limits::fixed(1), |builder, script| {
            script.hang_next_start();
            builder.start_limit(SECOND).kill_grace(SECOND)
        });
        let first = stage.worker(0, 1);
        let handle = stage.submit(10);
        after_control(&stage.pool);
        assert_eq!(stage.pool.saturation().starting, 1);
        stage.clock.advance(SECOND);
        until("another one is started", || stage.script.started().len() == 2);
        // Once more, if its keeper ends before it is quite gone.
        let kills = stage.script.kills();
        assert!(!kills.is_empty() && kills.iter().all(|killed| *killed == first), "{kills:?}");
        let second = stage.worker(0, 2);
        assert_eq!(stage.take(second), 10);
        assert!(stage.script.finish(second, 6));
        assert_eq!(soon(handle).unwrap(), 6);
        stage.script.die(first);
        until("nobody is abandoned", || stage.pool.saturation().abandoned == 0);
        at_rest(&stage.pool);
    }
}

/// Invariant 4, at the instant of the kill: the ladder never reaches the worker's next job.
#[test]
fn a_kill_reaches_the_worker_while_it_holds_the_claim_and_not_after() {
    let stage = plain("fence", true, Limits::fixed(1));
    let worker = stage.worker(0, 1);
    let first = stage.submit(10);
    assert_eq!(stage.take(worker), 10);
    let targets = stage.pool.select(&Select::job(first.id())).expect("it runs");
    assert!(stage.script.finish(worker, 1));
    let second = stage.submit(11);
    assert_eq!(stage.take(worker), 11);
    let report = soon(stage.pool.terminate(targets.into(), Ladder::kill(), LIMIT)).expect("it answers");
    assert_eq!(report.targets[0].fate, Fate::Finished);
    assert_eq!((stage.script.kills(), second.status()), (vec![], JobStatus::Running));
    let report = soon(stage.pool.terminate(Select::job(second.id()), Ladder::kill(), LIMIT)).expect("it answers");
    assert_eq!((report.targets[0].fate, report.targets[0].rung), (Fate::Killed, Some(Rung::Kill)));
    // More than once, if its keeper ends before it is quite gone.
    let kills = stage.script.kills();
    assert!(!kills.is_empty() && kills.iter().all(|killed| *killed == worker), "{kills:?}");
    assert!(soon(first).is_ok() && matches!(soon(second), Err(JobError::Killed(_))));
    at_rest(&stage.pool);
}

/// "Make it bigger" helps also a pool that lost its seats: the default cap goes along.
#[test]
fn the_default_cap_grows_with_the_pool_and_does_not_shrink_below_what_it_was_built_with() {
    let stage = plain("default-cap", false, Limits::fixed(1));
    for generation in 1..=2 {
        let worker = stage.worker(0, generation);
        let handle = stage.submit(10);
        assert_eq!(stage.take(worker), 10);
        soon(stage.pool.terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)).expect("it answers");
        assert!(soon(handle).is_err());
    }
    after_control(&stage.pool);
    let refused = millpond::Executor::try_submit(&stage.pool, 11).expect_err("no seat is left");
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { cap: 1, .. }), "{refused}");
    soon(stage.pool.resize(Limits::fixed(3), LIMIT)).expect("it answers");
    until("all three seats are there", || stage.pool.saturation().idle == 3);
    assert_eq!(stage.pool.snapshot().health, Health::Healthy);
    soon(stage.pool.resize(Limits::fixed(1), LIMIT)).expect("it answers");
    until("one is left", || stage.pool.saturation().workers == 1);
    assert_eq!(stage.pool.snapshot().health, Health::Healthy);
}

/// `DESIGN.md`, section 2, last table.
#[test]
fn abandoned_workers_beyond_the_cap_are_not_replaced_and_admission_says_so() {
    let stage = stage("cap", false, Limits::fixed(1), |builder, _| builder.abandoned_cap(1));
    let mut stuck = Vec::new();
    for generation in 1..=2 {
        let worker = stage.worker(0, generation);
        let handle = stage.submit(10);
        assert_eq!(stage.take(worker), 10);
        let report = soon(stage.pool.terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)).expect("it answers");
        assert_eq!(report.targets[0].fate, Fate::Abandoned);
        assert!(matches!(soon(handle), Err(JobError::Abandoned(_))));
        stuck.push(worker);
    }
    after_control(&stage.pool);
    let refused = millpond::Executor::try_submit(&stage.pool, 11).expect_err("no seat is left");
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { cap: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("saturated by 2 abandoned workers"), "{refused}");
    assert!(stage.pool.snapshot().health.is_unavailable());
    stage.script.die(stuck[0]);
    let third = stage.worker(0, 3);
    let handle = stage.submit(12);
    assert_eq!(stage.take(third), 12);
    assert!(stage.script.finish(third, 7));
    assert_eq!(soon(handle).unwrap(), 7, "its seat came back");
    assert_eq!(stage.pool.snapshot().health, Health::Healthy);
    stage.script.die(stuck[1]);
    until("nobody is abandoned", || stage.pool.saturation().abandoned == 0);
    at_rest(&stage.pool);
}

/// Who waits at the gate learns that no seat is left however the last one went: here with a worker that crashed, and was not to be replaced.
#[test]
fn who_waits_is_told_when_the_last_live_worker_crashes_beyond_the_cap() {
    let shape = |builder: PoolBuilder<Scripted>, _: &Script| {
        builder.abandoned_cap(0).default_lane(Lane::new("default").capacity(0).admission_limit(SECOND * 3600))
    };
    let stage = stage("cap-crash", false, Limits::fixed(2), shape);
    let workers = [stage.worker(0, 1), stage.worker(1, 1)];
    let jobs = [stage.submit(10), stage.submit(11)];
    // The one that is called first calls the other.
    let mut taken = [None, None];
    until("both have a job", || {
        for (worker, job) in workers.iter().zip(&mut taken) {
            *job = job.or_else(|| stage.script.take(*worker));
        }
        taken.iter().all(Option::is_some)
    });
    let stuck = if taken[0] == Some(10) { 0 } else { 1 };
    soon(stage.pool.terminate(Select::job(jobs[0].id()), Ladder::kill(), LIMIT)).expect("it answers");
    // The seat that is left is the other's, and is the only one: a shrink takes none that is used.
    soon(stage.pool.resize(Limits::fixed(1), LIMIT)).expect("it answers");
    let mut waits = spawn(millpond::Executor::submit(&stage.pool, 12));
    assert_pending!(waits.poll());
    stage.script.die(workers[1 - stuck]);
    let refused = soon(waits).expect_err("no seat is left");
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { cap: 0, .. }), "{refused}");
    stage.script.die(workers[stuck]);
    until("its seat came back", || stage.pool.saturation().idle == 1);
    at_rest(&stage.pool);
}

/// A spare is started as any worker is: its slot backs off, and is tried again.
#[test]
fn a_spare_whose_start_fails_waits_for_its_slot() {
    let stage = stage("spare-refused", true, Limits::new(0, 1).min_idle(1), |builder, script| {
        (0..2).for_each(|_| script.refuse_next_start());
        builder
    });
    until("its slot backs off", || {
        let seen = stage.pool.snapshot();
        seen.saturation.missing == 1 && seen.health.is_unavailable()
    });
    after_control(&stage.pool);
    assert!(stage.script.started().is_empty(), "it is not tried at once");
    until("it is up", || {
        stage.clock.advance(SECOND / 10);
        after_control(&stage.pool);
        stage.pool.saturation().idle == 1
    });
    assert_eq!(stage.script.alive(), [WorkerId { slot: 0, generation: 3 }]);
    at_rest(&stage.pool);
}

/// Each failure in a row makes that slot wait longer for its next start.
#[test]
fn a_slot_that_keeps_failing_backs_off() {
    let stage = plain("back-off", true, Limits::fixed(1));
    let mut events = stage.pool.events();
    stage.script.die(stage.worker(0, 1));
    stage.script.die(stage.worker(0, 2));
    let mut decided = Vec::new();
    until("both are decided", || {
        while let Some(event) = events.try_next() {
            if let PoolEvent::RestartDecided { restart, .. } = event {
                decided.push(restart);
            }
        }
        decided.len() == 2
    });
    assert_eq!(decided[0], Restart::After(Duration::ZERO));
    let Restart::After(delay) = decided[1] else { panic!("{decided:?}") };
    assert!(!delay.is_zero());
    after_control(&stage.pool);
    assert_eq!((stage.script.started().len(), stage.pool.snapshot().health.is_unavailable()), (2, true));
    stage.clock.advance(delay);
    stage.worker(0, 3);
    at_rest(&stage.pool);
}

/// Invariant 9, with a job that was claimed and not begun, and a queue.
#[test]
fn a_pool_whose_actor_is_killed_writes_every_outcome() {
    let stage = plain("aborts", false, Limits::fixed(1));
    let worker = stage.worker(0, 1);
    let running = stage.submit(10);
    assert_eq!(stage.take(worker), 10);
    let claimed = stage.submit(11);
    assert!(stage.script.finish(worker, 1));
    let queued = stage.submit(12);
    stage.pool.actor().kill();
    assert_eq!(soon(running).unwrap(), 1);
    let error = soon(queued).expect_err("the pool died");
    assert!(matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::ActorGone), "{error}");
    assert!(soon(claimed).is_err(), "it was in a worker's hands");
    stage.script.die(worker);
    let ledger = stage.pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
}

/// `DESIGN.md`, section 2, the second table.
#[test]
fn refused_threads_degrade_the_pool_and_are_started_again() {
    let clock = SettableClock::new();
    let builder = ThreadPool::builder(named::<OnThreads>("eagain")).limits(Limits::fixed(2)).clock(clock.clock());
    let refusals = builder.refusals();
    refusals.store(2, Ordering::Release);
    let pool = builder.build().expect("a refused thread is not the end of the pool");
    let handle = pool.try_submit(|| 4).expect("the queue is kept");
    let mut advanced = 0;
    until("both are up", || {
        clock.advance(SECOND / 10);
        advanced += 1;
        pool.saturation().idle == 2
    });
    assert_eq!((soon(handle).unwrap(), refusals.load(Ordering::Acquire)), (4, 0));
    assert_eq!(pool.snapshot().health, Health::Healthy);
    at_rest(&pool);
}

/// However many are on a ladder: the clock stands still, and what became of their targets is told all the same.
#[test]
fn a_crowd_of_ladders_goes_on_while_the_clock_stands_still() {
    const CROWD: usize = 500;
    let stage = plain("crowd-of-ladders", true, Limits::new(0, 1));
    let job = stage.submit(7);
    let worker = stage.worker(0, 1);
    assert_eq!(stage.take(worker), 7);
    let ladder = || Ladder::new().then(Rung::Stop, SECOND * 3600);
    let ask = |_| spawn(stage.pool.terminate(Select::worker(worker), ladder(), LIMIT));
    let mut replies: Vec<_> = (0..CROWD).map(ask).collect();
    replies.iter_mut().for_each(|reply| assert_pending!(reply.poll()));
    after_control(&stage.pool);
    assert!(stage.script.finish(worker, 70));
    stage.script.die(worker);
    for reply in replies {
        assert_eq!(soon(reply).expect("it answers").targets[0].fate, Fate::Stopped);
    }
    assert_eq!(soon(job).expect("it has run"), 70);
}
