//! Code of the user's that blocks where a job ends: between its last line and its outcome, or in the drop of what it made.

use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ActorPool, Interceptor, JobContext, JobError, JobHandle, JobOptions, JobStatus, Ladder, Lane, Limits, PoolExecutor,
    Select, StartContext, StartError, ThreadPool, Worker,
};
use parking_lot::Mutex;

use crate::rig::{LIMIT, after_control, build, named, soon, until};
use crate::subject::{Intercepted, OnActors, OnTasks, OnThreads, runtime};
use crate::task::{Gate, Task};

const SECOND: Duration = Duration::from_secs(1);

/// Blocks after each job until the gate is opened.
struct BlocksAfter(Arc<Gate>);

impl Interceptor for BlocksAfter {
    fn after(&self, _job: &JobContext, _panicked: bool) {
        self.0.pass();
    }
}

/// The job is over and its outcome not written: its limit, a kill and the pool's end write one all the same.
fn an_interceptor_that_blocks_keeps_no_outcome_from_being_written<S: Intercepted>() {
    let (gate, clock) = (Arc::new(Gate::new()), SettableClock::new());
    let pool = build::<S>("blocks-after", |builder| {
        let lane = Lane::new("default").run_limit(SECOND);
        let builder = builder.limits(Limits::fixed(2)).default_lane(lane).clock(clock.clock());
        S::interceptor(builder, BlocksAfter(gate.clone()))
    });
    until("both are up", || pool.saturation().idle == 2);
    let put = || pool.with(JobOptions::new()).try_submit(S::job(Task::value(1))).expect("there is a place");
    let first = put();
    until("it is over", || gate.entered() == 1);
    clock.advance(SECOND);
    let error = soon(first).expect_err("its limit has passed");
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    let second = put();
    until("it is over", || gate.entered() == 2);
    pool.abort();
    let error = soon(second).expect_err("the pool has ended");
    assert!(matches!(error, JobError::Abandoned(_) | JobError::Killed(_)), "{error}");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    gate.open();
}

mod on_threads {
    #[test]
    fn an_interceptor_that_blocks_keeps_no_outcome_from_being_written() {
        super::an_interceptor_that_blocks_keeps_no_outcome_from_being_written::<super::OnThreads>();
    }
}

mod on_tasks {
    #[test]
    fn an_interceptor_that_blocks_keeps_no_outcome_from_being_written() {
        super::an_interceptor_that_blocks_keeps_no_outcome_from_being_written::<super::OnTasks>();
    }
}

mod on_actors {
    #[test]
    fn an_interceptor_that_blocks_keeps_no_outcome_from_being_written() {
        super::an_interceptor_that_blocks_keeps_no_outcome_from_being_written::<super::OnActors>();
    }
}

/// Blocks its drop until the other end of its channel is gone.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

/// Nobody reads it, so its worker drops it: for no longer than the job may run.
#[test]
fn an_output_whose_drop_blocks_costs_no_seat_beyond_the_run_limit() {
    let clock = SettableClock::new();
    let name = named::<OnThreads>("stuck-output");
    let pool = ThreadPool::builder(&name)
        .limits(Limits::fixed(1))
        .default_lane(Lane::new("default").run_limit(SECOND))
        .kill_grace(SECOND)
        .clock(clock.clock())
        .build()
        .expect("it is sound");
    let (release, stuck) = sync_channel(1);
    let (begun, told) = sync_channel(1);
    let unread = pool.try_submit(move || {
        begun.send(()).expect("the test waits");
        Stuck(stuck)
    });
    drop(unread.expect("there is a place"));
    told.recv().expect("it runs");
    let next = pool.try_submit(|| 2).expect("there is a place");
    // The limit, the grace of the cancel, the grace of the kill; each is heard of before the next one counts.
    let mut rounds = 0;
    while next.status() != JobStatus::Done {
        assert!(rounds < 2_000, "the seat is not given to the next job: {}", pool.inventory_now());
        rounds += 1;
        after_control(&pool);
        clock.advance(SECOND / 4);
    }
    assert_eq!(soon(next).unwrap(), 2);
    drop(release);
}

/// Notes in its drop whether the job that it belongs to has an outcome by then.
struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    handle: Option<JobHandle<()>>,
    status: Option<JobStatus>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let mut seen = self.0.lock();
        seen.status = seen.handle.as_ref().map(JobHandle::status);
    }
}

struct Waits;

impl Worker for Waits {
    type Job = Arc<Mutex<Seen>>;
    type Output = ();
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, seen: Arc<Mutex<Seen>>, _state: &mut (), _cx: &JobContext) {
        let _witness = Witness(seen);
        pending().await
    }
}

/// `Killed` means that the job's code runs no more, its destructors included.
#[test]
fn a_killed_actor_jobs_future_is_gone_before_its_outcome_is_there() {
    let name = named::<OnActors>("witness");
    let builder = ActorPool::builder(&name, Waits).limits(Limits::fixed(1)).runtime(runtime().handle().clone());
    let pool = builder.build().expect("it is sound");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handle = pool.try_submit(seen.clone()).expect("there is a place");
    until("it runs", || handle.status() == JobStatus::Running);
    seen.lock().handle = Some(handle);
    soon(pool.terminate(Select::all(), Ladder::kill(), LIMIT)).expect("it answers");
    until("it is dropped", || seen.lock().status.is_some());
    let mut seen = seen.lock();
    assert_eq!(seen.status, Some(JobStatus::Running));
    assert!(matches!(soon(seen.handle.take().expect("it is there")), Err(JobError::Killed(_))));
}
