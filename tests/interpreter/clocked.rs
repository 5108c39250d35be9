//! What waits for the pool's clock, which is set here.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{Exit, JobStatus, Limits, PoolEvent, PoolExecutor, Recycle, RecycleReason};

use crate::kinds::Kind;
use crate::rig::{LIMIT, Outcome, ask, builder, failure, put, until};

on_every_engine! {
    what_a_job_takes_and_gives_back_replaces_no_worker,
}

const GROWTH: u64 = 1 << 20;

/// Of two workers one has a guest that has grown for good, and one has a job that takes as much, and then has its instance go with it. One look sees both.
fn what_a_job_takes_and_gives_back_replaces_no_worker<K: Kind>() -> Outcome {
    let clock = SettableClock::new();
    let recycle = Recycle::new().above_memory(GROWTH);
    let builder = builder(K::plugin().memory(8 << 20)).limits(Limits::fixed(2)).recycle(recycle);
    let pool = builder.clock(clock.clock()).build()?;
    until("both are up", || pool.saturation().idle == 2);
    let mut events = pool.events();
    let passing = put(&pool, K::despite("grow_and_wait", Some("trap")));
    let memory = |of| pool.inventory_now().workers.iter().find(|row| row.worker == of)?.facts.guest_memory;
    let worker_of = |id| {
        let rows = pool.inventory_now().workers;
        rows.iter().find(|row| row.job.as_ref().is_some_and(|job| job.id == id)).map(|row| row.worker)
    };
    until("it runs", || passing.status() == JobStatus::Running && worker_of(passing.id()).is_some());
    let with_it = worker_of(passing.id()).expect("it runs");
    until("it has grown", || memory(with_it) > Some(2 * GROWTH));
    assert_eq!(put(&pool, K::call("grow", 32)).join()?, 1);
    until("the other idles", || pool.saturation().idle == 1);
    let grown = pool.inventory_now().workers.iter().map(|row| row.worker).find(|worker| *worker != with_it);
    let grown = grown.expect("there are two");
    let gone = loop {
        clock.advance(Duration::from_secs(1));
        // So control looks at the time.
        pool.blocking().inventory(LIMIT)?;
        match events.next_timeout(Duration::from_millis(20)) {
            Ok(Some(PoolEvent::RecycleDue { worker, .. })) => assert_eq!(worker, grown, "its job may give it back"),
            Ok(Some(PoolEvent::WorkerGone { worker, exit, .. })) => break (worker, exit),
            Ok(None) => panic!("the pool ended"),
            _ => {}
        }
    };
    assert!(matches!(gone, (worker, Exit::Recycled(RecycleReason::Memory(_))) if worker == grown), "{gone:?}");
    passing.cancel();
    drop(failure(passing));
    assert!(ask(&pool, "count").join()? > 0);
    assert!(pool.inventory_now().workers.iter().any(|row| row.worker == with_it), "it works on, in another instance");
    Ok(())
}
