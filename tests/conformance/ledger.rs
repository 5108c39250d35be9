//! The ledger and invariant 1: whatever was done, it adds up at rest, and under load none of its terms ever goes down.

use std::sync::atomic::{AtomicBool, Ordering};

use millpond::{Executor, JobError, KillReach, Ladder, Lane, Ledger, Limits, PoolExecutor, Rung, Select};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, PoolOf, at_rest, build, fixed, hold, offer, put, soon};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    every_way_to_end_has_its_term,
    the_ledger_is_up_to_date_when_an_outcome_is_known,
    no_term_runs_backwards_under_load,
}

fn every_way_to_end_has_its_term<S: Subject>() {
    let pool =
        build::<S>("terms", |builder| builder.limits(Limits::fixed(1)).default_lane(Lane::new("default").capacity(3)));
    let abandons = pool.capabilities().kill == KillReach::None;
    assert_eq!(soon(put::<S>(&pool, Task::value(0))).unwrap(), 0);
    assert!(soon(put::<S>(&pool, Task::panics("as told"))).is_err());
    let gate = Gate::new();
    let victim = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let queued: Vec<_> = (0..3).map(|_| put::<S>(&pool, Task::value(0))).collect();
    assert!(offer::<S>(&pool, Task::value(0)).is_err());
    let mut leaves = spawn(pool.submit(S::job(Task::value(0))));
    assert_pending!(leaves.poll());
    drop(leaves);
    queued[0].cancel();
    soon(pool.terminate(Select::job(victim.id()), Ladder::new().then(Rung::Kill, LIMIT.0), LIMIT)).unwrap();
    let ends: Vec<_> = [victim].into_iter().chain(queued).map(|handle| soon(handle)).collect();
    assert!(matches!(ends[0], Err(JobError::Killed(_) | JobError::Abandoned(_))));
    gate.open();
    at_rest(&pool);
    let mut expected = Ledger::default();
    (expected.offered, expected.accepted, expected.rejected, expected.withdrawn) = (8, 6, 1, 1);
    (expected.completed, expected.panicked, expected.cancelled) = (3, 1, 1);
    (expected.killed, expected.abandoned) = if abandons { (0, 1) } else { (1, 0) };
    assert_eq!(pool.snapshot().ledger, expected);
    assert_eq!(expected.ended(), 6);
}

/// Whoever has awaited a job finds it in the ledger: the count comes before the outcome.
fn the_ledger_is_up_to_date_when_an_outcome_is_known<S: Subject>() {
    let pool = fixed::<S>("up-to-date", 2);
    for n in 1..=200 {
        soon(put::<S>(&pool, Task::value(n))).unwrap();
        let ledger = pool.snapshot().ledger;
        assert_eq!((ledger.completed, ledger.pending), (n, 0), "{ledger}");
    }
}

fn no_term_runs_backwards_under_load<S: Subject>() {
    let pool = build::<S>("backwards", |builder| {
        builder.limits(Limits::fixed(3)).default_lane(Lane::new("default").capacity(8))
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&pool, &over));
        let submitters: Vec<_> = (0..3)
            .map(|who| {
                scope.spawn({
                    let pool = &pool;
                    move || load::<S>(pool, who)
                })
            })
            .collect();
        submitters.into_iter().for_each(|submitter| submitter.join().expect("it ends"));
        over.store(true, Ordering::Release);
        assert!(reader.join().expect("no term ran backwards") > 0);
    });
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert_eq!(ledger.accepted, 1500, "{ledger}");
    assert_eq!(ledger.completed + ledger.panicked + ledger.cancelled, 1500, "{ledger}");
    assert!(ledger.panicked > 0, "{ledger}");
}

/// Reads again and again; says how often.
fn watch(pool: &dyn PoolExecutor, over: &AtomicBool) -> usize {
    let (mut before, mut reads) = (Ledger::default(), 0);
    while !over.load(Ordering::Acquire) {
        let now = pool.snapshot().ledger;
        assert!(now.balances(), "{now}");
        for (was, is) in terms(&before).into_iter().zip(terms(&now)) {
            assert!(was <= is, "a term ran backwards: {before} → {now}");
        }
        (before, reads) = (now, reads + 1);
    }
    reads
}

fn terms(ledger: &Ledger) -> [u64; 7] {
    let Ledger { accepted, rejected, withdrawn, completed, panicked, cancelled, .. } = *ledger;
    [accepted, rejected, withdrawn, completed, panicked, cancelled, ledger.ended()]
}

/// A thread that offers without waiting, one that waits, and one that cancels on top.
fn load<S: Subject>(pool: &PoolOf<S>, who: u64) {
    for n in 0..500 {
        let job = S::job(if n % 250 == 0 { Task::panics("as told") } else { Task::value(n) });
        let handle = match pool.try_submit(job) {
            Ok(handle) => handle,
            Err(refused) => pool.submit_blocking(refused.into_job()).expect("its turn comes"),
        };
        if who == 0 && n % 7 == 1 {
            handle.cancel();
        }
        drop(handle);
    }
}
