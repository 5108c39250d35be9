//! 3. Nested self-deadlock, the other side: a wait that can end is never cut short, and none that cannot is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::{Executor, JobError, JobHandle, JobOptions, JoinError, Ladder, Limits, PoolExecutor, Select, TimeLimit};

use crate::hazard_03_nested_self_deadlock::{Failures, There, parent, pool, submits};
use crate::kinds::{Ground, Kind, Output, Work, failure, on_every_kind, put, put_labelled, value};
use crate::latch::{Latch, Meter};
use crate::patience::{FOREVER, Noise, at_rest, eventually, scaled};
use crate::work::Then;

// A child has no handle of a pool of its parent's, so no job there can submit to one and wait. What is written to it may.
on_every_kind!(
    where_handles_are:
    what_waits_for_something_else_too_is_left_alone,
    a_wait_that_was_given_up_is_none,
    a_job_whose_worker_was_taken_holds_nobody_up,
    a_worker_that_can_be_started_is_no_deadlock,
    a_wait_that_is_not_seen_ends_by_its_limit,
    layers_never_wait_in_vain,
    whatever_jobs_wait_for_they_all_end,
);

/// The job holds the only worker, and waits for a job that needs it, or for a latch: that may open.
fn what_waits_for_something_else_too_is_left_alone<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, open, waits) =
        (pool::<K>("h03-else", &ground, 1), Failures::default(), ground.latch(), ground.latch());
    let either = |pool: There<K>, noted: Failures, open: Latch, waits: Latch| async move {
        let handle = put::<K>(&pool, Work::value(7));
        waits.open();
        tokio::select! {
            () = open.wait() => 1,
            outcome = handle => noted.value(outcome),
        }
    };
    let wait = either(there.clone(), failures.clone(), open.clone(), waits.clone());
    // A thread that blocks in somebody else's way is not seen at all.
    let (future, runtime) = (either(there.clone(), failures.clone(), open.clone(), waits.clone()), ground.handle());
    let block = move || runtime.block_on(future);
    let handle = put::<K>(&there, Work::value(0).then(Then { block: Box::new(block), wait: Box::pin(wait) }));
    waits.block();
    // Three looks of whoever looks again.
    for _ in 0..3 {
        there.blocking().resize(Limits::fixed(1), TimeLimit::default()).expect("it answers");
    }
    open.open();
    assert_eq!(value(handle), 1);
    failures.none();
    at_rest(&there);
}

/// It waited for a while, and then holds its worker for a reason of its own, with the handle in its hands.
fn a_wait_that_was_given_up_is_none<K: Kind>() {
    const SHORT: Duration = Duration::from_millis(2);
    let ground = Ground::new();
    let (there, failures, running) = (pool::<K>("h03-given-up", &ground, 2), Failures::default(), Meter::default());
    let (go, given_up, done) = (ground.latch(), ground.latch(), ground.latch());
    let (pool, told, until) = (there.clone(), given_up.clone(), done.clone());
    let block = move || {
        let mut handle = put::<K>(&pool, Work::value(7));
        assert!(matches!(handle.join_timeout(SHORT), Err(JoinError::NotYet { .. })));
        told.open();
        until.block();
        drop(handle);
        1
    };
    let (pool, told, until) = (there.clone(), given_up.clone(), done.clone());
    let wait = async move {
        let mut handle = put::<K>(&pool, Work::value(7));
        assert!(tokio::time::timeout(SHORT, &mut handle).await.is_err());
        told.open();
        until.wait().await;
        drop(handle);
        1
    };
    let second = put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    eventually("it runs", || running.inside() == 1);
    let first = put::<K>(&there, Work::value(0).then(Then { block: Box::new(block), wait: Box::pin(wait) }));
    given_up.block();
    go.open();
    eventually("the other one waits", || there.saturation().queued == 2);
    there.blocking().resize(Limits::fixed(2), TimeLimit::default()).expect("it answers");
    failures.none();
    done.open();
    assert_eq!((value(first), value(second)), (1, 7));
    failures.none();
    at_rest(&there);
}

/// A thread goes on waiting when its worker was taken from it; its seat has somebody else by then.
fn a_job_whose_worker_was_taken_holds_nobody_up<K: Kind>() {
    let ground = Ground::new();
    let (there, failures, running) = (pool::<K>("h03-taken", &ground, 2), Failures::default(), Meter::default());
    let (go, stuck) = (ground.latch(), ground.latch());
    let first = put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7).until(&stuck), &failures));
    go.open();
    eventually("it waits for one that runs", || there.saturation().active == 2);
    let by_it = Select::Job(first.id());
    there.blocking().terminate(by_it, Ladder::kill(), TimeLimit::default()).expect("it answers");
    let second = put::<K>(&there, Work::value(0).then(submits::<K>(&there, Work::value(8), &failures)));
    eventually("it waits", || there.saturation().queued == 1);
    failures.none();
    stuck.open();
    assert_eq!(value(second), 8);
    drop(first);
    failures.none();
    at_rest(&there);
}

fn a_worker_that_can_be_started_is_no_deadlock<K: Kind>() {
    let (ground, failures, running) = (Ground::new(), Failures::default(), Meter::default());
    let go = ground.latch();
    let there = K::builder("h03-startable", &ground).limits(Limits::new(0, 3)).build();
    let there: There<K> = Arc::new(there.expect("the configuration is sound"));
    let outer = || put::<K>(&there, parent::<K>(&running, &go, &there, Work::value(7), &failures));
    let handles = [outer(), outer()];
    eventually("both run", || running.inside() == 2);
    assert_eq!(there.saturation().workers, 2);
    go.open();
    assert_eq!(handles.map(value), [7, 7]);
    failures.none();
    at_rest(&there);
}

/// Somebody else waits in the job's place: the limit of what it waits for ends that, and says who held the worker.
fn a_wait_that_is_not_seen_ends_by_its_limit<K: Kind>() {
    let (ground, failures) = (Ground::new(), Failures::default());
    let there = pool::<K>("h03-unseen", &ground, 1);
    let submit = |pool: There<K>| {
        let options = JobOptions::new().queue_limit(scaled(Duration::from_secs(1)));
        pool.with(options).try_submit(K::job(Work::value(7))).expect("there is a place")
    };
    let names_the_parent = |error: JobError| {
        let JobError::TimedOut(error) = error else { panic!("{error}") };
        let longest = error.scene.longest.as_ref().expect("somebody had the worker");
        assert_eq!(longest.label.as_deref(), Some("outer"), "{error}");
        1
    };
    let pool = there.clone();
    let block = move || {
        let handle = submit(pool);
        let joined = std::thread::spawn(move || failure(handle)).join();
        names_the_parent(joined.expect("it fails as it should"))
    };
    let (pool, runtime) = (there.clone(), ground.handle());
    let wait = async move {
        let outcome = runtime.spawn(submit(pool)).await.expect("nobody aborts it");
        names_the_parent(outcome.map(|output| output.value).expect_err("there is no worker for it"))
    };
    let then = Then { block: Box::new(block), wait: Box::pin(wait) };
    assert_eq!(value(put_labelled::<K>(&there, "outer", Work::value(0).then(then))), 1);
    failures.none();
    at_rest(&there);
}

/// A job that waits for another, which waits for another, so many deep; here and there one does not wait.
fn nest<K: Kind>(pools: &dyn Fn(usize) -> There<K>, depth: usize, noise: &mut Noise, failures: &Failures) -> Work {
    let work = Work::value(1);
    if depth == 0 {
        return work;
    }
    let inner = nest::<K>(pools, depth - 1, noise, failures);
    let there = pools(depth);
    match noise.below(4) {
        // Detached: it waits for nobody.
        0 => work.begin(move || drop(there.try_submit(K::job(inner)))),
        _ => work.then(submits::<K>(&there, inner, failures)),
    }
}

/// Submits many nests from outside, with resizes beside them, and waits for all.
fn run_nests<K: Kind>(pools: &[There<K>], jobs: Vec<(usize, Work)>) {
    let done = Arc::new(AtomicBool::new(false));
    let resizer = {
        let (done, pools) = (done.clone(), pools.to_vec());
        std::thread::spawn(move || {
            for round in 0.. {
                if done.load(Ordering::Acquire) {
                    break;
                }
                for pool in &pools {
                    let limits = Limits::fixed(1 + round % 3);
                    pool.blocking().resize(limits, TimeLimit::default()).expect("it answers");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let handles: Vec<JobHandle<Output>> =
        jobs.into_iter().map(|(at, work)| pools[at].submit_blocking(K::job(work)).expect("there is a place")).collect();
    for mut handle in handles {
        drop(handle.join_timeout(FOREVER).expect("it ends"));
    }
    done.store(true, Ordering::Release);
    resizer.join().expect("it ends");
    // Nobody holds the detached ones, and they may submit from one pool to another while these are looked at in turn.
    let left = || {
        let ledgers = pools.iter().map(|pool| pool.snapshot().ledger);
        ledgers.fold((0, 0), |(offered, left), it| (offered + it.offered, left + it.pending + it.waiting))
    };
    eventually("the detached ones end too", || {
        let (offered, pending) = left();
        pending == 0 && left() == (offered, 0)
    });
    pools.iter().for_each(|pool| at_rest(pool));
}

/// How many jobs there are to be: some of them have their worker replaced.
fn few<K: Kind>(jobs: usize) -> usize {
    if K::STARTS_ARE_DEAR { jobs / 20 } else { jobs }
}

/// Each job waits for jobs of the next layer only, so that the last layer always moves.
fn layers_never_wait_in_vain<K: Kind>() {
    let (ground, mut noise, failures) = (Ground::new(), Noise::new(), Failures::default());
    let pools = ["h03-l0", "h03-l1", "h03-l2", "h03-l3"].map(|name| pool::<K>(name, &ground, 2));
    let below = |depth: usize| pools[4 - depth].clone();
    let jobs = (0..few::<K>(200)).map(|_| (0, nest::<K>(&below, 3, &mut noise, &failures))).collect();
    run_nests::<K>(&pools, jobs);
    failures.none();
}

/// Each waits for whichever pool's it likes.
fn whatever_jobs_wait_for_they_all_end<K: Kind>() {
    let (ground, mut noise, failures) = (Ground::new(), Noise::new(), Failures::default());
    let pools = ["h03-r0", "h03-r1", "h03-r2"].map(|name| pool::<K>(name, &ground, 2));
    let jobs = (0..few::<K>(300))
        .map(|nth| {
            let at = noise.below(3);
            let any = |depth: usize| pools[(at + nth * depth) % 3].clone();
            (at, nest::<K>(&any, 1 + nth % 4, &mut noise, &failures))
        })
        .collect();
    run_nests::<K>(&pools, jobs);
}
