//! The ledger (invariant 1) while submitters wait at the gate and leave it: `offered` never runs backwards, and no term does but those
//! that say how many there are just now.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use millpond::{Executor, Lane, Ledger, Limits, PoolExecutor};

use crate::rig::{PoolOf, at_rest, build, soon};
use crate::subject::Subject;
use crate::task::Task;

conform! {
    no_term_runs_backwards_while_submitters_wait_and_leave,
}

const SUBMITTERS: u64 = 8;
const SAMPLES: usize = 2_000;

fn no_term_runs_backwards_while_submitters_wait_and_leave<S: Subject>() {
    let pool = build::<S>("at-the-gate", |builder| {
        builder.limits(Limits::fixed(2)).default_lane(Lane::new("default").capacity(1).admission_limit(None))
    });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|who| {
                let (pool, over) = (&pool, &over);
                scope.spawn(move || submits::<S>(pool, who, over))
            })
            .collect();
        let _over = Over(&over);
        sample(&pool, || submitters.iter().any(thread::ScopedJoinHandle::is_finished));
    });
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.withdrawn > 0 && ledger.rejected > 0, "{ledger}");
    assert_eq!(ledger.accepted, ledger.completed, "{ledger}");
}

/// Ends the submitters, also when the sampler fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Compares each snapshot with the one before, until there are enough of them and all that was to happen has happened.
fn sample(pool: &dyn PoolExecutor, stopped: impl Fn() -> bool) {
    let (mut before, mut samples, mut moved) = (Ledger::default(), 0, 0);
    while samples < SAMPLES || moved < SAMPLES / 8 || before.withdrawn < 100 || before.completed < 50 {
        assert!(!stopped(), "a submitter has failed");
        let now = pool.snapshot().ledger;
        assert!(now.balances(), "{now}");
        assert!(before.offered <= now.offered, "what was offered ran backwards:\n{before}\n{now}");
        for (was, is) in terms(&before).into_iter().zip(terms(&now)) {
            assert!(was <= is, "a term ran backwards:\n{before}\n{now}");
        }
        samples += 1;
        moved += usize::from(now.waiting > 0 && now != before);
        before = now;
        thread::yield_now();
    }
}

/// All but `offered`, `waiting` and `pending`.
fn terms(ledger: &Ledger) -> [u64; 12] {
    let Ledger { accepted, rejected, withdrawn, completed, panicked, cancelled, expired, .. } = *ledger;
    let Ledger { not_started, killed, abandoned, lost, .. } = *ledger;
    let ended = ledger.ended();
    [
        accepted,
        rejected,
        withdrawn,
        completed,
        panicked,
        cancelled,
        expired,
        not_started,
        killed,
        abandoned,
        lost,
        ended,
    ]
}

/// Offers without waiting, waits and leaves at once, waits and leaves later, waits to the end.
fn submits<S: Subject>(pool: &PoolOf<S>, who: u64, over: &AtomicBool) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut turn = who;
    while !over.load(Ordering::Acquire) {
        turn += 1;
        let job = || S::job(Task::value(turn));
        match turn % 4 {
            0 => drop(pool.try_submit(job())),
            1 => drop(pin!(pool.submit(job())).poll(&mut cx)),
            2 => {
                // Dropped while it waits, or while a place is promised to it.
                let mut waits = pin!(pool.submit(job()));
                if let Poll::Ready(admitted) = waits.as_mut().poll(&mut cx) {
                    drop(admitted);
                } else {
                    // Not until something happens: everybody else may be waiting just like this.
                    (0..10).for_each(|_| thread::yield_now());
                }
            }
            _ => {
                let handle = pool.submit_blocking(job()).expect("its turn comes");
                assert_eq!(soon(handle).expect("it runs"), turn);
            }
        }
    }
}
