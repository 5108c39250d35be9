//! Workers that do not get through what they do last, the drop of their state or their `stop`: nobody waits for them for longer than
//! the grace, and they are counted until they have ended.

use std::sync::Arc;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    ActorPool, Fate, JobContext, JobError, Ladder, Limits, Pool, PoolBuilder, PoolEvent, PoolExecutor, Restart, Rung,
    Select, StartContext, StartError, TargetReport, ThreadPool, Threads, TimeLimit, Worker, WorkerState, orphans,
};
use tokio_test::{assert_pending, task::spawn};

use crate::faults::By;
use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::{OnActors, OnThreads, runtime};
use crate::task::{Gate, Task};

const SECOND: Duration = Duration::from_secs(1);

/// Does not end before the gate opens.
struct Clings(Arc<Gate>);

impl Drop for Clings {
    fn drop(&mut self) {
        Task::blocking(&self.0).run();
    }
}

/// An actor that stops when the gate opens; it blocks its thread until then, or waits for it.
struct Stops {
    gate: Arc<Gate>,
    blocks: bool,
}

impl Worker for Stops {
    type Job = u64;
    type Output = u64;
    type State = ();

    async fn start(&self, _cx: &StartContext) -> Result<(), StartError> {
        Ok(())
    }

    async fn handle(&self, job: u64, _state: &mut (), _cx: &JobContext) -> u64 {
        job
    }

    async fn stop(&self, _state: ()) {
        let task = if self.blocks { Task::blocking(&self.gate) } else { Task::deaf(&self.gate) };
        task.run_async().await;
    }
}

/// A pool whose workers do not leave before the gate opens, on a clock of its own.
struct Stage {
    pool: Arc<dyn PoolExecutor>,
    gate: Arc<Gate>,
    clock: SettableClock,
}

fn threads(gate: &Arc<Gate>, clock: &SettableClock, workers: usize) -> ThreadPool {
    threads_with(gate, clock, workers, |builder| builder)
}

fn threads_with(
    gate: &Arc<Gate>,
    clock: &SettableClock,
    workers: usize,
    shape: impl FnOnce(PoolBuilder<Threads>) -> PoolBuilder<Threads>,
) -> ThreadPool {
    let gate = gate.clone();
    let builder = ThreadPool::builder(named::<OnThreads>("clings"))
        .limits(Limits::fixed(workers))
        .clock(clock.clock())
        .initializer(move |_| Ok(Clings(gate.clone())))
        .restart_after_panic();
    shape(builder).build().expect("it is built")
}

fn actors(gate: &Arc<Gate>, clock: &SettableClock, workers: usize, blocks: bool) -> ActorPool<Stops> {
    ActorPool::builder(named::<OnActors>("clings"), Stops { gate: gate.clone(), blocks })
        .limits(Limits::fixed(workers))
        .clock(clock.clock())
        .runtime(runtime().handle().clone())
        .build()
        .expect("it is built")
}

impl Stage {
    fn new<B: millpond::Backend>(build: impl FnOnce(&Arc<Gate>, &SettableClock) -> Pool<B>, workers: usize) -> Self {
        let (gate, clock) = (Arc::new(Gate::new()), SettableClock::new());
        let pool = Arc::new(build(&gate, &clock));
        until("they are up", || pool.saturation().idle == workers);
        Self { pool, gate, clock }
    }

    /// One of each kind, with so many workers.
    fn of_each_kind(workers: usize) -> [Self; 3] {
        [
            Self::new(|gate, clock| threads(gate, clock, workers), workers),
            Self::new(|gate, clock| actors(gate, clock, workers, true), workers),
            Self::new(|gate, clock| actors(gate, clock, workers, false), workers),
        ]
    }

    fn in_state(&self, state: WorkerState) -> usize {
        self.pool.inventory_now().workers.iter().filter(|row| row.state == state).count()
    }

    fn orphans(&self) -> usize {
        orphans().into_iter().filter(|orphan| *orphan.pool == *self.pool.name()).count()
    }

    fn terminate(&self, ladder: Ladder, passes: Duration) -> TargetReport {
        let mut reply = spawn(self.pool.terminate(Select::all(), ladder, LIMIT));
        assert_pending!(reply.poll());
        until("it is on its way out", || self.gate.entered() == 1);
        after_control(&*self.pool);
        self.clock.advance(passes);
        soon(reply).expect("it answers").targets[0]
    }

    /// Everybody gets through, and nothing is left of it.
    fn ends(self) {
        self.gate.open();
        until("nobody is abandoned", || self.pool.saturation().abandoned == 0);
        at_rest(&*self.pool);
    }
}

/// A shrink tells one of two to leave, and it does not get through.
#[test]
fn a_slot_goes_on_without_a_worker_that_does_not_leave() {
    for stage in Stage::of_each_kind(2) {
        let report = soon(stage.pool.resize(Limits::fixed(1), LIMIT)).expect("it answers");
        until("it is on its way out", || stage.gate.entered() == 1);
        let mut settled = spawn(report.settled());
        assert_pending!(settled.poll());
        // Control has heard that it leaves, and looks again when the grace is over.
        after_control(&*stage.pool);
        stage.clock.advance(SECOND / 2);
        after_control(&*stage.pool);
        assert_eq!((stage.in_state(WorkerState::Leaving), stage.pool.saturation().abandoned), (1, 0), "it has a grace");
        assert_pending!(settled.poll());
        stage.clock.advance(SECOND / 2);
        soon(settled);
        let seen = stage.pool.saturation();
        assert_eq!((seen.abandoned, seen.workers, stage.in_state(WorkerState::Abandoned)), (1, 1, 1), "{seen}");
        soon(stage.pool.resize(Limits::fixed(2), LIMIT)).expect("it answers");
        until("its slot has another", || stage.pool.saturation().idle == 2);
        stage.ends();
    }
}

/// A ladder that reaches no further than to tell it leaves it alone; one that kills takes it, if it can be reached.
#[test]
fn a_worker_that_does_not_leave_is_taken_by_the_ladder() {
    for (stage, killed) in Stage::of_each_kind(1).into_iter().zip([false, false, true]) {
        let ladder = Ladder::new().then(Rung::Stop, SECOND / 4).then(Rung::Kill, SECOND / 4);
        let mut reply = spawn(stage.pool.terminate(Select::all(), ladder, LIMIT));
        assert_pending!(reply.poll());
        until("it is on its way out", || stage.gate.entered() == 1);
        after_control(&*stage.pool);
        stage.clock.advance(SECOND / 4);
        if !killed {
            after_control(&*stage.pool);
            assert_pending!(reply.poll());
            stage.clock.advance(SECOND / 4);
        }
        let row = soon(reply).expect("it answers").targets[0];
        assert_eq!((row.fate, row.rung), (if killed { Fate::Killed } else { Fate::Abandoned }, Some(Rung::Kill)));
        assert_eq!(stage.pool.saturation().abandoned, usize::from(!killed));
        until("its slot has another", || stage.pool.saturation().idle == 1);
        stage.ends();
    }
}

/// It was leaving before anybody wanted it dead.
#[test]
fn a_kill_reaches_a_worker_that_leaves() {
    for (stage, killed) in Stage::of_each_kind(1).into_iter().zip([false, false, true]) {
        let row = stage.terminate(Ladder::new().then(Rung::Stop, SECOND / 4), SECOND / 4);
        assert_eq!((row.fate, stage.in_state(WorkerState::Leaving)), (Fate::StillRunning, 1));
        let ladder = Ladder::new().then(Rung::Kill, SECOND / 4);
        // Time that passes before the kill is there would be held against it.
        let row = match killed {
            true => soon(stage.pool.terminate(Select::all(), ladder, LIMIT)).expect("it answers").targets[0],
            false => stage.terminate(ladder, SECOND / 4),
        };
        assert_eq!(row.fate, if killed { Fate::Killed } else { Fate::Abandoned });
        until("its slot has another", || stage.pool.saturation().idle == 1);
        stage.ends();
    }
}

/// At a shutdown they have until its limit, and no longer.
#[test]
fn a_shutdown_waits_for_those_that_leave_until_its_limit() {
    for (stage, killed) in Stage::of_each_kind(1).into_iter().zip([false, false, true]) {
        let mut end = spawn(stage.pool.shutdown(TimeLimit::secs(8)));
        assert_pending!(end.poll());
        until("it is on its way out", || stage.gate.entered() == 1);
        stage.clock.advance(SECOND * 7);
        after_control(&*stage.pool);
        assert_pending!(end.poll());
        assert_eq!(stage.pool.saturation().abandoned, 0, "nobody needs its slot");
        stage.clock.advance(SECOND);
        let report = soon(end).expect("by its limit");
        assert_eq!((report.took, report.jobs()), (SECOND * 8, 0), "{report}");
        if !killed {
            stage.clock.advance(SECOND);
            assert_eq!(stage.orphans(), 1, "it has not ended");
            stage.gate.open();
        }
        until("nobody is left", || stage.orphans() == 0 && stage.pool.inventory_now().workers.is_empty());
    }
}

/// A panic spoils the state, whose drop hangs: neither the job that its worker had taken next nor its slot hangs with it.
#[test]
fn a_job_does_not_wait_for_the_drop_of_a_state_that_a_panic_spoilt() {
    let (gate, clock, go) = (Arc::new(Gate::new()), SettableClock::new(), Gate::new());
    let pool = threads(&gate, &clock, 1);
    let task = Task::blocking(&go);
    let panics = pool
        .try_submit(move || {
            task.run();
            panic!("on purpose");
        })
        .expect("there is a place");
    let next = pool.try_submit(|| 7).expect("there is a place");
    until("it runs", || go.entered() == 1);
    go.open();
    assert!(matches!(soon(panics), Err(JobError::Panicked(_))));
    until("the state is being dropped", || gate.entered() == 1);
    after_control(&pool);
    assert_eq!((pool.saturation().queued, pool.saturation().active), (1, 0), "it is for another worker");
    clock.advance(SECOND);
    assert_eq!(soon(next).unwrap(), 7);
    gate.open();
    until("nobody is abandoned", || pool.saturation().abandoned == 0);
    at_rest(&pool);
}

/// That it then hangs does not make it a worker that was killed: its slot has had a fault, and the policy is asked.
#[test]
fn a_worker_that_panicked_and_does_not_leave_has_had_a_fault() {
    let (gate, clock) = (Arc::new(Gate::new()), SettableClock::new());
    let pool = threads_with(&gate, &clock, 1, |builder| builder.restart_policy(By(|| Restart::Never)));
    let mut events = pool.events();
    let panics = pool.try_submit(|| panic!("on purpose")).expect("there is a place");
    assert!(soon(panics).map(|(): ()| ()).is_err());
    until("the state is being dropped", || gate.entered() == 1);
    after_control(&pool);
    clock.advance(SECOND);
    let restart = loop {
        if let PoolEvent::RestartDecided { restart, .. } = soon(events.next()).expect("the pool is there") {
            break restart;
        }
    };
    assert_eq!(restart, Restart::Never);
    after_control(&pool);
    assert_eq!((pool.saturation().workers, pool.saturation().abandoned), (0, 1), "nobody is started in its slot");
    gate.open();
    until("it has ended", || pool.saturation().abandoned == 0);
}
