//! The ledger and invariant 1: under load none of its terms ever goes down.

use std::sync::atomic::{AtomicBool, Ordering};

use millpond::{Executor, Lane, Ledger, Limits, PoolExecutor};

use crate::rig::{PoolOf, at_rest, build};
use crate::subject::Subject;
use crate::task::Task;

conform! {
    no_term_runs_backwards_under_load,
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
