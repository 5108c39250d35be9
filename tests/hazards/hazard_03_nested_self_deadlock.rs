//! 3. Nested self-deadlock: jobs hold every worker and wait for jobs that need one.
//!
//! Each such knot is cut at once, by an error of one wait that names those who wait; whatever can still move is left alone.

use std::sync::Arc;

use millpond::{
    Deadlock, EventStream, Executor, Exit, JobError, JobHandle, JobOptions, JoinError, Ladder, Lane, Limits,
    NewRestartPolicy, Pool, PoolEvent, PoolExecutor, RejectReason, Restart, RestartPolicy, Select, SlotHistory,
    TimeLimit, Timestamp, WaitsFor,
};
use parking_lot::Mutex;

use crate::kinds::{Ground, Kind, OnThreads, Output, Work, failure, on_every_kind, put, put_labelled, value};
use crate::latch::{Latch, Meter};
use crate::patience::{FOREVER, at_rest, eventually};
use crate::work::Then;

// A child has no handle of a pool of its parent's, so no job there can submit to one and wait. What is written to it may.
on_every_kind!(
    where_handles_are:
    within_one_pool,
    a_pool_of_one,
    two_pools_in_a_cycle,
    three_pools_in_a_cycle,
    through_a_job_that_runs,
    at_the_gate,
    behind_a_reserve,
    a_shrink_that_takes_the_last_free_worker,
    a_wait_with_a_limit,
    several_at_once,
    a_free_worker_is_no_deadlock,
    a_running_job_is_no_deadlock,
    a_place_that_is_only_tried_for_is_no_wait,
);

/// What a job submits to, from inside.
pub type There<K> = Arc<Pool<<K as Kind>::Backend>>;

/// Why the wait of a job failed, for the test to look at: it is the job's own business.
#[derive(Clone, Default)]
pub struct Failures(pub Arc<Mutex<Vec<Arc<Deadlock>>>>);

impl Failures {
    /// What a job gives: what it waited for, or 0 if its wait was ended.
    pub fn value(&self, outcome: Result<Output, JobError>) -> u64 {
        match outcome {
            Ok(output) => output.value,
            Err(JobError::Deadlock(deadlock)) => self.note(deadlock),
            Err(other) => panic!("{other}"),
        }
    }

    fn note(&self, deadlock: Arc<Deadlock>) -> u64 {
        self.0.lock().push(deadlock);
        0
    }

    /// The one that there is.
    #[track_caller]
    fn one(&self) -> Arc<Deadlock> {
        let failures = self.0.lock();
        assert_eq!(failures.len(), 1, "{failures:?}");
        failures[0].clone()
    }

    #[track_caller]
    pub fn none(&self) {
        assert!(self.0.lock().is_empty(), "{:?}", self.0.lock());
    }
}

fn join(handle: JobHandle<Output>) -> Result<Output, JobError> {
    handle.join().map_err(|error| match error {
        JoinError::Job(error) => error,
        other => panic!("{other}"),
    })
}

/// Submits `inner` from inside a job, and waits for it.
pub fn submits<K: Kind>(there: &There<K>, inner: Work, failures: &Failures) -> Then {
    submits_job::<K>(there, Arc::new(Mutex::new(Some(inner))), failures)
}

/// `inner` is taken by whichever of the two forms runs.
fn submits_job<K: Kind>(there: &There<K>, inner: Arc<Mutex<Option<Work>>>, failures: &Failures) -> Then {
    let job = move || K::job(inner.lock().take().expect("one of the two forms runs"));
    let options = || JobOptions::new().label("inner");
    let (pool, noted, inner) = (there.clone(), failures.clone(), job.clone());
    let block = move || {
        let submitted = pool.with(options()).submit_blocking(inner());
        match submitted.map_err(|rejected| rejected.into_reason()) {
            Ok(handle) => noted.value(join(handle)),
            Err(RejectReason::Deadlock(deadlock)) => noted.note(deadlock),
            Err(other) => panic!("{other}"),
        }
    };
    let (pool, noted) = (there.clone(), failures.clone());
    let wait = async move {
        let submitted = pool.with(options()).submit(job()).await;
        match submitted.map_err(|rejected| rejected.into_reason()) {
            Ok(handle) => noted.value(handle.await),
            Err(RejectReason::Deadlock(deadlock)) => noted.note(deadlock),
            Err(other) => panic!("{other}"),
        }
    };
    Then { block: Box::new(block), wait: Box::pin(wait) }
}

/// A job that, once `go` opens, submits `inner` to `there` and waits for it.
pub fn parent<K: Kind>(running: &Meter, go: &Latch, there: &There<K>, inner: Work, failures: &Failures) -> Work {
    Work::value(0).counted(running).until(go).then(submits::<K>(there, inner, failures))
}

pub fn pool<K: Kind>(name: &str, ground: &Ground, workers: usize) -> There<K> {
    Arc::new(K::pool(name, ground, workers))
}

/// The pool's own word for it.
fn told(events: &mut EventStream) -> Arc<Deadlock> {
    loop {
        match events.next_timeout(FOREVER).expect("it is told") {
            Some(PoolEvent::Deadlock(deadlock)) => return deadlock,
            Some(_) => {}
            None => panic!("the pool has ended"),
        }
    }
}

/// One wait fails, and everything else completes: of two that wait for 7 each, one gets it.
#[track_caller]
fn one_of_two_fails(handles: [JobHandle<Output>; 2], failures: &Failures) -> Arc<Deadlock> {
    let mut values = handles.map(value);
    values.sort_unstable();
    assert_eq!(values, [0, 7]);
    failures.one()
}

fn within_one_pool<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, running, go) =
        (pool::<K>("h03-one", &ground, 2), Failures::default(), Meter::default(), ground.latch());
    let mut events = there.events();
    let handles = ["left", "right"]
        .map(|label| put_labelled::<K>(&there, label, parent::<K>(&running, &go, &there, Work::value(7), &failures)));
    let ids = [handles[0].id(), handles[1].id()];
    eventually("both run", || running.inside() == 2);
    go.open();
    let deadlock = one_of_two_fails(handles, &failures);

    assert_eq!((deadlock.waits.len(), deadlock.more), (2, 0), "{deadlock}");
    for wait in &deadlock.waits {
        let which = if wait.label.as_deref() == Some("left") { 0 } else { 1 };
        assert_eq!((&*wait.pool, wait.job), (there.name(), ids[which]), "{deadlock}");
        assert!(wait.submitted_from.file().ends_with(file!()), "{deadlock}");
        let [WaitsFor::Job { pool, label, runs: false, .. }] = &*wait.waits_for else { panic!("{deadlock}") };
        assert_eq!((&**pool, label.as_deref()), (there.name(), Some("inner")));
    }
    assert_ne!(deadlock.waits[0].worker, deadlock.waits[1].worker);
    for name in ["`left`", "`right`", "`inner`", there.name(), "on worker 0.1", "on worker 1.1"] {
        assert!(deadlock.to_string().contains(name), "{name} in: {deadlock}");
    }
    assert_eq!(told(&mut events), deadlock);
    // What was waited for stayed queued, and has run by now.
    at_rest(&there);
    assert_eq!(there.snapshot().ledger.completed, 4);
}

fn a_pool_of_one<K: Kind>() {
    let ground = Ground::new();
    let (there, failures) = (pool::<K>("h03-single", &ground, 1), Failures::default());
    let work = Work::value(0).then(submits::<K>(&there, Work::value(7), &failures));
    assert_eq!(value(put::<K>(&there, work)), 0);
    assert_eq!(failures.one().waits.len(), 1);
    at_rest(&there);
}

/// Each job's inner job is one of the next pool's, which is taken by a job that waits in its turn.
fn around<K: Kind>(pools: &[There<K>], ground: &Ground) {
    let (failures, running, go) = (Failures::default(), Meter::default(), ground.latch());
    let mut events: Vec<_> = pools.iter().map(|pool| pool.events()).collect();
    let handles: Vec<_> = (0..pools.len())
        .map(|at| {
            let next = &pools[(at + 1) % pools.len()];
            put_labelled::<K>(&pools[at], "outer", parent::<K>(&running, &go, next, Work::value(7), &failures))
        })
        .collect();
    eventually("all run", || running.inside() == pools.len());
    go.open();
    let values: Vec<_> = handles.into_iter().map(value).collect();
    assert_eq!(values.iter().filter(|&&value| value == 0).count(), 1, "{values:?}");
    let deadlock = failures.one();
    assert_eq!(deadlock.waits.len(), pools.len(), "{deadlock}");
    for (pool, events) in pools.iter().zip(&mut events) {
        assert!(deadlock.waits.iter().any(|wait| &*wait.pool == pool.name()), "{deadlock}");
        assert_eq!(told(events), deadlock);
        at_rest(pool);
    }
}

fn two_pools_in_a_cycle<K: Kind>() {
    let ground = Ground::new();
    around::<K>(&["h03-a", "h03-b"].map(|name| pool::<K>(name, &ground, 1)), &ground);
}

fn three_pools_in_a_cycle<K: Kind>() {
    let ground = Ground::new();
    around::<K>(&["h03-c", "h03-d", "h03-e"].map(|name| pool::<K>(name, &ground, 1)), &ground);
}

/// The outer job waits for one that runs, and waits for one that the outer job's worker would have to take.
fn through_a_job_that_runs<K: Kind>() {
    let ground = Ground::new();
    let [first, second] = ["h03-first", "h03-second"].map(|name| pool::<K>(name, &ground, 1));
    let failures = Failures::default();
    let middle = Work::value(0).then(submits::<K>(&first, Work::value(7), &failures));
    let outer = put_labelled::<K>(&first, "outer", Work::value(0).then(submits::<K>(&second, middle, &failures)));
    value(outer);
    let deadlock = failures.one();
    let mut seen: Vec<_> = deadlock.waits.iter().map(|wait| (wait.label.as_deref(), &wait.waits_for[0])).collect();
    seen.sort_by_key(|(label, _)| *label);
    assert!(matches!(seen[0], (Some("inner"), WaitsFor::Job { runs: false, .. })), "{deadlock}");
    assert!(matches!(seen[1], (Some("outer"), WaitsFor::Job { runs: true, .. })), "{deadlock}");
    [first, second].iter().for_each(|pool| at_rest(pool));
}

/// A full pool, whose workers all wait for a place in it.
fn at_the_gate<K: Kind>() {
    let ground = Ground::new();
    let there = K::builder("h03-gate", &ground).limits(Limits::fixed(2));
    let there = there.default_lane(Lane::new("default").capacity(0)).build().expect("the configuration is sound");
    let (there, failures, running, go) = (Arc::new(there), Failures::default(), Meter::default(), ground.latch());
    let outer = || put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    let handles = [outer(), outer()];
    eventually("both run", || running.inside() == 2);
    go.open();
    let deadlock = one_of_two_fails(handles, &failures);
    for wait in &deadlock.waits {
        let [WaitsFor::Place { pool, lane }] = &*wait.waits_for else { panic!("{deadlock}") };
        assert_eq!((&**pool, &**lane), (there.name(), "default"));
    }
    at_rest(&there);
    let ledger = there.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.rejected), (3, 1), "{ledger}");
}

/// A worker idles, but its seat is another lane's: the inner job cannot have it.
fn behind_a_reserve<K: Kind>() {
    let ground = Ground::new();
    let there = K::builder("h03-reserve", &ground).limits(Limits::fixed(2)).lane(Lane::new("dns").reserve(1)).build();
    let (there, failures) = (Arc::new(there.expect("the configuration is sound")), Failures::default());
    let work = Work::value(0).then(submits::<K>(&there, Work::value(7), &failures));
    assert_eq!(value(put::<K>(&there, work)), 0);
    failures.one();
    at_rest(&there);
}

/// The deadlock comes about without anybody's beginning to wait.
fn a_shrink_that_takes_the_last_free_worker<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, running) = (pool::<K>("h03-shrink", &ground, 3), Failures::default(), Meter::default());
    let (go, busy) = (ground.latch(), ground.latch());
    let plain = put::<K>(&there, Work::value(1).counted(&running).until(&busy));
    let outer = || put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    let handles = [outer(), outer()];
    eventually("all run", || running.inside() == 3);
    go.open();
    eventually("both wait", || there.saturation().queued == 2);
    there.blocking().resize(Limits::fixed(2), TimeLimit::default()).expect("it answers");
    failures.none();
    busy.open();
    assert_eq!(value(plain), 1);
    one_of_two_fails(handles, &failures);
    at_rest(&there);
}

/// A thread that was abandoned beyond the cap blocks a seat until it returns, which it does not while it waits for somebody who needs that seat.
#[test]
fn an_abandoned_thread_that_waits() {
    let ground = Ground::new();
    let builder = OnThreads::builder("h03-abandoned", &ground).limits(Limits::fixed(2)).abandoned_cap(0);
    let there: There<OnThreads> = Arc::new(builder.build().expect("the configuration is sound"));
    let (failures, running) = (Failures::default(), Meter::default());
    let (first, second) = (ground.latch(), ground.latch());
    let outer = |label, go| {
        put_labelled::<OnThreads>(&there, label, parent::<OnThreads>(&running, go, &there, Work::value(7), &failures))
    };
    let (lost, other) = (outer("lost", &first), outer("other", &second));
    eventually("both run", || running.inside() == 2);
    there.blocking().terminate(Select::label("lost"), Ladder::kill(), TimeLimit::default()).expect("it answers");
    assert!(matches!(failure(lost), JobError::Abandoned(_)));
    first.open();
    eventually("it waits", || there.saturation().queued == 1);
    failures.none();
    second.open();
    // Nobody is left to run what they wait for. Who began to wait last is told; as a rule that is this one. (A job may be queued, and its
    // submitter not have come to wait for it yet.) If it is the lost one, its thread returns, and another worker does the rest.
    assert!([0, 7].contains(&value(other)));
    assert_eq!(failures.one().waits.len(), 2, "both are named");
    at_rest(&there);
    assert_eq!(there.snapshot().ledger.completed, 3);
}

struct GivesUp;

impl RestartPolicy for GivesUp {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::Never
    }
}

/// Nobody but an operator fills a slot again that is given up for good, be it given up before the wait begins or after that.
#[test]
fn a_seat_that_is_given_up_for_good() {
    for (waits_first, name) in [(false, "h03-given-up"), (true, "h03-given-up-meanwhile")] {
        let ground = Ground::new();
        let builder = OnThreads::builder(name, &ground).limits(Limits::fixed(2));
        let there: There<OnThreads> = Arc::new(
            builder.restart_after_panic().restart_policy(GivesUp).build().expect("the configuration is sound"),
        );
        let (failures, running) = (Failures::default(), Meter::default());
        let (go, crash) = (ground.latch(), ground.latch());
        let crashes = Work::value(0).counted(&running).until(&crash).panics();
        let crashes = put_labelled::<OnThreads>(&there, "crashes", crashes);
        let waits = parent::<OnThreads>(&running, &go, &there, Work::value(7), &failures);
        let waits = put_labelled::<OnThreads>(&there, "waits", waits);
        eventually("both run", || running.inside() == 2);
        if waits_first {
            go.open();
            eventually("it waits", || there.saturation().queued == 1);
        }
        failures.none();
        crash.open();
        assert!(matches!(failure(crashes), JobError::Panicked(_)));
        if !waits_first {
            eventually("its slot is given up", || there.snapshot().health.why().is_some_and(|why| why.given_up == 1));
        }
        go.open();
        assert_eq!(value(waits), 0);
        let deadlock = failures.one();
        assert_eq!((deadlock.waits.len(), deadlock.waits[0].label.as_deref()), (1, Some("waits")), "{deadlock}");
        // Its worker has run by now what it waited for.
        eventually("what it waited for has run", || there.snapshot().ledger.completed == 2);
    }
}

/// A pool that nobody's jobs hold up, and that has no worker left and gets none, is no better to wait for.
#[test]
fn a_pool_all_of_whose_seats_are_given_up_for_good() {
    let ground = Ground::new();
    let builder = OnThreads::builder("h03-all-given-up", &ground).limits(Limits::fixed(1));
    let builder = builder.restart_after_panic().restart_policy(GivesUp);
    let empty: There<OnThreads> = Arc::new(builder.build().expect("the configuration is sound"));
    let there = pool::<OnThreads>("h03-waits-for-that", &ground, 2);
    let (failures, running, go) = (Failures::default(), Meter::default(), ground.latch());
    let outer = parent::<OnThreads>(&running, &go, &empty, Work::value(7), &failures);
    let outer = put_labelled::<OnThreads>(&there, "outer", outer);
    assert!(matches!(failure(put::<OnThreads>(&empty, Work::value(0).panics())), JobError::Panicked(_)));
    go.open();
    assert_eq!(value(outer), 0);
    assert_eq!(failures.one().waits.len(), 1);
    at_rest(&there);
    // Whoever does not wait in a job waits on: an operator may see to it yet.
    assert_eq!(empty.saturation().queued, 1);
    empty.blocking().set_restart_policy(NewRestartPolicy::default(), TimeLimit::default()).expect("it answers");
    eventually("what it waited for has run", || empty.snapshot().ledger.completed == 1);
}

/// The wait ends with the error, long before its limit; the handle can wait again.
fn a_wait_with_a_limit<K: Kind>() {
    let ground = Ground::new();
    let (there, failures) = (pool::<K>("h03-limit", &ground, 1), Failures::default());
    let (pool, noted) = (there.clone(), failures.clone());
    let block = move || {
        let mut handle = put::<K>(&pool, Work::value(7));
        for _ in 0..2 {
            match handle.join_timeout(FOREVER) {
                Err(JoinError::Job(JobError::Deadlock(deadlock))) => noted.note(deadlock),
                other => panic!("{:?}", other.map(|output| output.value)),
            };
        }
        1
    };
    let (pool, noted) = (there.clone(), failures.clone());
    let wait = async move {
        let mut handle = put::<K>(&pool, Work::value(7));
        for _ in 0..2 {
            noted.value((&mut handle).await);
        }
        1
    };
    let then = Then { block: Box::new(block), wait: Box::pin(wait) };
    assert_eq!(value(put::<K>(&there, Work::value(0).then(then))), 1);
    assert_eq!(failures.0.lock().len(), 2);
    at_rest(&there);
}

/// A job that waits for several jobs at once is told once for each of them; a thread waits for one after the other.
fn several_at_once<K: Kind>() {
    let ground = Ground::new();
    let (there, failures) = (pool::<K>("h03-several", &ground, 1), Failures::default());
    let (pool, noted) = (there.clone(), failures.clone());
    let block = move || {
        let handles = [7, 8].map(|value| put::<K>(&pool, Work::value(value)));
        handles.into_iter().map(|handle| noted.value(join(handle))).sum()
    };
    let (pool, noted) = (there.clone(), failures.clone());
    let wait = async move {
        let [left, right] = [7, 8].map(|value| put::<K>(&pool, Work::value(value)));
        let (left, right) = tokio::join!(left, right);
        noted.value(left) + noted.value(right)
    };
    let then = Then { block: Box::new(block), wait: Box::pin(wait) };
    assert_eq!(value(put::<K>(&there, Work::value(0).then(then))), 0);
    assert_eq!(failures.0.lock().len(), 2);
    at_rest(&there);
}

fn a_free_worker_is_no_deadlock<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, running, go) =
        (pool::<K>("h03-free", &ground, 3), Failures::default(), Meter::default(), ground.latch());
    let outer = || put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    let handles = [outer(), outer()];
    eventually("both run", || running.inside() == 2);
    go.open();
    assert_eq!(handles.map(value), [7, 7]);
    failures.none();
    at_rest(&there);
}

/// The third worker is busy for now, with a job that waits for nobody here.
fn a_running_job_is_no_deadlock<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, running) = (pool::<K>("h03-running", &ground, 3), Failures::default(), Meter::default());
    let (go, busy) = (ground.latch(), ground.latch());
    let plain = put::<K>(&there, Work::value(1).counted(&running).until(&busy));
    let outer = || put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    let handles = [outer(), outer()];
    eventually("all run", || running.inside() == 3);
    go.open();
    eventually("both wait", || there.saturation().queued == 2);
    // Whoever looks again finds the same.
    there.blocking().resize(Limits::fixed(3), TimeLimit::default()).expect("it answers");
    failures.none();
    busy.open();
    assert_eq!((value(plain), handles.map(value)), (1, [7, 7]));
    failures.none();
    at_rest(&there);
}

fn a_place_that_is_only_tried_for_is_no_wait<K: Kind>() {
    let ground = Ground::new();
    let there = K::builder("h03-try", &ground).limits(Limits::fixed(1));
    let there = there.default_lane(Lane::new("default").capacity(0)).build().expect("the configuration is sound");
    let there = Arc::new(there);
    let pool = there.clone();
    let tries = move || u64::from(pool.try_submit(K::job(Work::value(7))).is_err());
    let again = tries.clone();
    let then = Then { block: Box::new(tries), wait: Box::pin(async move { again() }) };
    let mut events = there.events();
    assert_eq!(value(put::<K>(&there, Work::value(0).then(then))), 1);
    at_rest(&there);
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, PoolEvent::Deadlock(_)), "{event:?}");
    }
    assert_eq!(there.snapshot().ledger.rejected, 1);
}
