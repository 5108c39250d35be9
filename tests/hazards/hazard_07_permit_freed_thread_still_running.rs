//! 7. Permit freed, thread still running: twenty jobs that overrun their 50 ms and do not listen, in a pool of two.
//!
//! Each that is given up makes room for one more, but only as far as the abandoned cap goes; then the pool says why it is full.

use std::time::Duration;

use millpond::{Executor, JobError, Lane, LimitKind, Limits, PoolExecutor, RejectReason, TimeLimit};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, on_fresh_instances};
use crate::latch::Meter;
use crate::patience::{at_rest, eventually, scaled};

const LIMIT: usize = 2;
const CAP: usize = 2;
const RUN_LIMIT: Duration = Duration::from_millis(50);

on_every_kind!(in_this_process: bodies_never_exceed_the_limit_and_the_cap);
on_fresh_instances!(bodies_never_exceed_the_limit_and_the_cap);

fn bodies_never_exceed_the_limit_and_the_cap<K: Kind>() {
    let ground = Ground::new();
    let (stuck, bodies) = (ground.latch(), Meter::default());
    let pool = K::builder("h07", &ground)
        .limits(Limits::fixed(LIMIT))
        .abandoned_cap(CAP)
        .kill_grace(scaled(RUN_LIMIT))
        .default_lane(Lane::new("default").run_limit(scaled(RUN_LIMIT)))
        .build()
        .expect("the configuration is sound");
    let work = || K::job(Work::value(1).counted(&bodies).block(&stuck));
    let jobs: Vec<_> = (0..20).filter_map(|_| pool.try_submit(work()).ok()).collect();
    assert!(jobs.len() >= LIMIT + CAP, "there is a queue");

    // One that is kept from its job until it is given up leaves it unbegun, and gives its seat back.
    let is_full = || bodies.inside() == LIMIT + CAP && pool.snapshot().health.is_unavailable();
    eventually("the cap is passed", is_full);
    assert_eq!(pool.saturation().abandoned, LIMIT + CAP);
    let refused = pool.try_submit(work()).expect_err("no seat is left");
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { cap: CAP, .. }), "{refused}");
    let waited = pool.submit_blocking(work()).expect_err("nor is there anything to wait for");
    assert!(matches!(waited.reason(), RejectReason::SaturatedByAbandoned { .. }), "{waited}");
    // Twenty more looks of the supervisor start nobody.
    for _ in 0..20 {
        let seen = pool.blocking().inventory(TimeLimit::default()).expect("it answers").saturation;
        assert_eq!((seen.workers, seen.abandoned), (0, LIMIT + CAP));
    }
    assert_eq!(bodies.inside(), LIMIT + CAP);

    stuck.open();
    let outcomes: Vec<_> = jobs.into_iter().map(|job| job.join().map(|output| output.value)).collect();
    let expired = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(expired >= LIMIT + CAP, "those that overran are told so: {expired}");
    at_rest(&pool);
    assert!(bodies.most() <= LIMIT + CAP, "{} bodies at once", bodies.most());
    a_late_result_is_dropped::<K>(&pool, &ground);
}

/// The permit comes back with the thread, and what it brings along is nobody's.
fn a_late_result_is_dropped<K: Kind>(pool: &millpond::Pool<K::Backend>, ground: &Ground) {
    let stuck = ground.latch();
    let job = pool.try_submit(K::job(Work::value(9).block(&stuck))).expect("there is a place");
    let JobError::TimedOut(error) = failure(job) else { panic!("not a time limit") };
    assert_eq!(error.limit, LimitKind::Run);
    assert!(error.worker.is_some());
    stuck.open();
    at_rest(pool);
    assert_eq!(pool.saturation().workers, LIMIT);
}
