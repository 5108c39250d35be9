//! A job that kills each worker that it is given to takes the whole pool, one worker after the other, or is given out for ever: celery#9082.
//!
//! It has three deliveries under one number. On the third it is dead-lettered, and a hook is told of each; others progress meanwhile, and no slot pays for it.

use std::time::Duration;

use millpond::{
    Exit, Health, Hook, HookContext, JobError, JobOptions, Limits, Notice, PoolExecutor, Redelivery, Restart,
    RestartPolicy, SlotHistory, Timestamp,
};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::children::{Marks, builder, exists, failure, mark, pids, until};

const LABEL: &str = "poison";

/// Whoever is asked about a fault has no budget at all.
struct NoBudget;

impl RestartPolicy for NoBudget {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::Never
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Notice>>>);

impl Hook for Told {
    async fn told(&self, _cx: &HookContext, notice: &Notice) {
        if matches!(notice, Notice::Redelivered { .. } | Notice::DeadLettered(_) | Notice::RestartDecided { .. }) {
            self.0.lock().push(notice.clone());
        }
    }
}

#[test]
fn a_poison_job_is_dead_lettered_on_its_third_delivery_and_costs_no_budget() {
    let (told, marks) = (Told::default(), Marks::new("poison"));
    let builder = builder("poisoned").limits(Limits::fixed(2)).restart_policy(NoBudget).hook("told", told.clone());
    let pool = builder.build().unwrap();
    pids(&pool, 2);
    let rest = Duration::from_millis(20);
    let options = JobOptions::new().label(LABEL).redeliver(Redelivery::new(3).back_off(rest, rest));
    let poison = |path: String| {
        mark(&path);
        std::process::abort()
    };
    let poison = pool.with(options).submit_call_blocking::<_, ()>(poison, marks.path()).unwrap();
    let id = poison.id();
    let others: Vec<_> = (0..200_u32).map(|n| pool.submit_blocking(|n: u32| n + 1, n).unwrap()).collect();
    for (n, other) in (1..).zip(others) {
        assert_eq!(other.join().unwrap(), n);
    }
    let error = failure(poison);
    let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
    let numbers: Vec<_> = letter.deliveries.iter().map(|delivery| delivery.number).collect();
    assert_eq!((letter.job, letter.label.as_deref(), numbers), (id, Some(LABEL), vec![1, 2, 3]), "{error}");
    let processes: Vec<_> = letter.deliveries.iter().map(|delivery| delivery.pid.expect("it is known")).collect();
    assert_eq!(marks.pids(), processes, "and it was delivered no more than that");
    assert!(processes.iter().all(|pid| !exists(*pid)), "each was gone before the next one had the job");
    for pair in letter.deliveries.windows(2) {
        assert!(pair[1].began_at.since(pair[0].ended_at) >= rest / 2, "{error}");
    }
    // Both slots have a worker again, though a fault would have cost them theirs for good.
    pids(&pool, 2);
    let snapshot = pool.snapshot();
    assert!(matches!(snapshot.health, Health::Healthy), "{}", snapshot.health);
    assert!(snapshot.ledger.balances(), "{}", snapshot.ledger);
    assert_eq!((snapshot.ledger.completed, snapshot.ledger.dead_lettered), (200, 1));
    until("the hook is told", || told.0.lock().len() == 3);
    let told = told.0.lock();
    let is_told = |notice: &Notice, number: u16| match notice {
        Notice::Redelivered { job, lost, .. } => (*job, lost.number) == (id, number),
        // The payload is its submitter's alone.
        Notice::DeadLettered(told) => {
            let (told, had) = (&**told, &**letter);
            number == 3
                && (told.job, &told.deliveries, told.payload_bytes) == (had.job, &had.deliveries, had.payload_bytes)
        }
        _ => false,
    };
    assert!(told.iter().zip(1..).all(|(notice, number)| is_told(notice, number)), "{told:?}");
}
