//! Two jobs that a child is handed together are two jobs: each is its own, has an outcome of its own, and is told of in its turn.
//!
//! As in [`early`](crate::early), the clock stands still, so that the first job of a child goes alone, and then they go in pairs.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    DeathCause, Fate, JobContext, JobError, JobHandle, JobId, JobOptions, JobStatus, Ladder, Lane, Limits,
    PoolExecutor, ProcessPool, Redelivery, Rung, Select, TimeLimit, WorkerState,
};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::early::{Gate, LIMIT, Stuck, at_once, done, is_at_rest, pool, same, wait};
use crate::rig::{Marks, builder, death_of, failure, mark, pids, until};

/// A pool of one worker, and the clock that it goes by.
fn pool_and_clock(name: &str, lane: Lane) -> (ProcessPool, SettableClock) {
    let clock = SettableClock::new();
    let builder = builder(name).limits(Limits::fixed(1)).clock(clock.clock()).start_limit(LIMIT.0 * 1_000);
    let pool = builder.default_lane(lane).build().unwrap();
    // A job is lent where no worker is on its way for it: the one that there can be is up, and control has seen it before it quiesces the pool.
    pids(&pool, 1);
    (pool, clock)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What comes of it, which takes that something is done meanwhile.
#[track_caller]
fn once_ready<F: Future>(mut future: Pin<&mut F>, mut meanwhile: impl FnMut()) -> F::Output {
    let mut ready = None;
    until("it is reported", || {
        meanwhile();
        if let Poll::Ready(done) = poll(future.as_mut()) {
            ready = Some(done);
        }
        ready.is_some()
    });
    ready.expect("it was there")
}

/// In a child, the first time: begins, and takes that along when there is a file of that name.
fn crash((marks, door): (String, String)) {
    if JobContext::current().expect("a job has a context").delivery() == 1 {
        wait((marks, door));
        std::process::abort();
    }
}

/// A job that takes its child along, by itself, while its worker is to leave after the job before it. The door has to stay.
fn crashes_behind_one_that_is_stopped(
    name: &str,
    options: JobOptions,
) -> (JobHandle<()>, ProcessPool, SettableClock, Gate) {
    let (pool, clock) = pool_and_clock(name, Lane::new("default"));
    let (began, gate) = (Marks::new(&format!("{name}-began")), Gate::new(name));
    let (marks, door) = (Marks::new(name), Gate::new(&format!("{name}-door")));
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let stuck = pool.submit_blocking(Stuck::back, Stuck::parts(&began, &gate)).unwrap();
        (quick, stuck, pool.with(options).submit_call_blocking(crash, (marks.path(), door.path())).unwrap())
    };
    let (quick, stuck, crashes) = at_once(&pool, submit);
    done(quick);
    until("its result is read", || !began.pids().is_empty());
    until("the next one has begun", || !marks.pids().is_empty());
    let stop = Ladder::new().then(Rung::Stop, LIMIT.0 * 1_000);
    let job = Select::job(stuck.id());
    let terminates = pool.clone();
    let mut report = pin!(terminates.terminate(job, stop, TimeLimit(LIMIT.0 * 1_000)));
    assert!(poll(report.as_mut()).is_pending());
    // Its child has so long to say what became of the second one, which the thread that is to hear of it does not.
    until("it is to leave", || {
        clock.advance(Duration::from_millis(10));
        pool.inventory_now().workers.iter().any(|row| row.state == WorkerState::Condemned)
    });
    door.open();
    gate.open();
    let report = once_ready(report.as_mut(), || clock.advance(Duration::from_millis(10))).unwrap();
    // Looked at while the next one ran, or after that.
    assert!(matches!(report.targets[0].fate, Fate::Finished | Fate::Stopped), "{report}");
    done(stuck);
    (crashes, pool, clock, door)
}

#[test]
fn one_that_takes_its_child_along_is_lost_though_the_one_before_it_was_stopped() {
    let (crashes, pool, _clock, _door) = crashes_behind_one_that_is_stopped("crash-early", JobOptions::new());
    assert_eq!(death_of(&failure(crashes)), DeathCause::Signalled(6), "nobody asked for its end");
    is_at_rest(&pool);
}

#[test]
fn one_that_may_be_delivered_again_is_though_the_one_before_it_was_stopped() {
    let options = JobOptions::new().redeliver(Redelivery::new(2).back_off(LIMIT.0, LIMIT.0));
    let (again, pool, clock, _door) = crashes_behind_one_that_is_stopped("crash-again", options);
    until("it is delivered again", || {
        clock.advance(LIMIT.0 / 10);
        again.status() == JobStatus::Done
    });
    assert_eq!(again.lost_deliveries(), 1);
    done(again);
    is_at_rest(&pool);
}

/// Notes, whenever it is woken, which jobs are over by then.
struct Notes {
    jobs: Arc<Mutex<Vec<JobHandle<u64>>>>,
    over: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        let over = self.jobs.lock().iter().filter(|job| job.status() == JobStatus::Done).count();
        self.over.lock().push(over);
    }
}

/// A place comes free when a job begins. Whoever is woken for it finds the one before that done.
#[test]
fn whoever_waits_at_the_gate_is_woken_when_the_one_before_is_over() {
    let (pool, _clock) = pool_and_clock("woken-early", Lane::new("default").capacity(2));
    // One that idles has room for a job more than the queue has.
    let (jobs, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let waker = Waker::from(Arc::new(Notes { jobs: jobs.clone(), over: over.clone() }));
    let waiting = at_once(&pool, || {
        *jobs.lock() = (0..3).map(|n| pool.submit_blocking(same, n).unwrap()).collect();
        let mut waiting: Vec<_> = (0..2).map(|n| Box::pin(pool.submit(same, n))).collect();
        for submission in &mut waiting {
            assert!(submission.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "there is no place");
        }
        waiting
    });
    until("both are woken", || over.lock().len() == 2);
    assert_eq!(*over.lock(), [1, 2], "as the second job begins, and as the third does, which was handed over with it");
    drop(waiting);
    let jobs = std::mem::take(&mut *jobs.lock());
    jobs.into_iter().for_each(|job| _ = done(job));
    is_at_rest(&pool);
}

/// A waker that does not return before it may, unless it is control that would have to wait: then that was the one who ended the job.
#[derive(Default)]
struct Slow {
    woken: AtomicBool,
    may_return: Mutex<bool>,
    told: Condvar,
}

impl Slow {
    fn release(&self) {
        *self.may_return.lock() = true;
        self.told.notify_all();
    }
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if std::thread::current().name().is_some_and(|name| name.starts_with("millpond-control")) {
            return;
        }
        self.told.wait_while(&mut self.may_return.lock(), |may_return| !*may_return);
    }
}

/// It is terminated while it is in its child's hands, and its outcome is won as it comes back, and not published for as long as somebody is woken for its place.
#[test]
fn one_that_is_about_to_end_as_it_comes_back_is_withdrawn() {
    let (pool, clock) = pool_and_clock("about-to-end", Lane::new("default").capacity(3));
    let (began, gate, marks) =
        (Marks::new("about-to-end-began"), Gate::new("about-to-end"), Marks::new("about-to-end"));
    let submit = || {
        let quick = pool.submit_blocking(same, 1).unwrap();
        let long = pool.submit_blocking(wait, (began.path(), gate.path())).unwrap();
        (quick, long, pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap())
    };
    let (quick, long, next) = at_once(&pool, submit);
    done(quick);
    until("it has begun", || !began.pids().is_empty());
    let fill: Vec<_> = (0..2).map(|n| pool.submit_blocking(same, n).unwrap()).collect();
    let slow = Arc::new(Slow::default());
    let mut waiting = Box::pin(pool.submit(same, 3));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(slow.clone()))).is_pending());
    let mut report = pin!(pool.terminate(Select::job(next.id()), Ladder::kill(), LIMIT));
    // Each of them has control look at all that it is to terminate.
    let control_looks = || drop(pool.blocking().inventory(LIMIT).unwrap());
    assert!(poll(report.as_mut()).is_pending());
    (0..3).for_each(|_| control_looks());
    // Now it is worth asking its child for.
    clock.advance(Duration::from_millis(3));
    until("somebody is woken for its place", || slow.woken.load(Ordering::SeqCst));
    (0..3).for_each(|_| control_looks());
    // As a rule nobody knows yet.
    let early = poll(report.as_mut());
    slow.release();
    let report = match early {
        Poll::Ready(report) => report.unwrap(),
        Poll::Pending => once_ready(report, control_looks).unwrap(),
    };
    assert_eq!(report.targets[0].fate, Fate::Withdrawn, "{report}");
    assert!(matches!(failure(next), JobError::Cancelled(_)));
    drop(waiting);
    gate.open();
    done(long);
    fill.into_iter().for_each(|job| _ = done(job));
    assert_eq!(marks.pids().len(), 0);
    is_at_rest(&pool);
}

/// Notes, as it is put together here, in the name of which job that is.
#[derive(Clone, Default, Debug)]
struct Named(Arc<Mutex<Vec<Option<JobId>>>>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.lock().push(JobContext::current().map(|job| job.job_id()));
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        Ok(Self::default())
    }
}

#[test]
fn the_arguments_of_each_are_put_together_in_its_own_name() {
    let pool = pool("named-early", 1);
    let named: Vec<_> = (0..21).map(|_| Named::default()).collect();
    let submit =
        || named.iter().map(|named| pool.submit_blocking(|_: Named| (), named.clone()).unwrap()).collect::<Vec<_>>();
    let handles = at_once(&pool, submit);
    let ids: Vec<_> = handles.iter().map(JobHandle::id).collect();
    handles.into_iter().for_each(done);
    for (named, id) in named.iter().zip(ids) {
        assert_eq!(*named.0.lock(), [Some(id)]);
    }
    is_at_rest(&pool);
}
