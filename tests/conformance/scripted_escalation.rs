//! Escalation on the scripted backend: a pool that is given up starts nobody.

use millpond::testing::Scripted;
use millpond::{CloseReason, Executor, JobError, Limits, PoolBuilder, PoolExecutor, Restart, WorkerId};

use crate::faults::By;
use crate::rig::{named, soon, until};
use crate::subject::OnThreads;

/// What is queued is not run by a worker that is started on the way out.
#[test]
fn an_escalation_starts_no_other_worker() {
    let (backend, script) = Scripted::new(true);
    let builder = PoolBuilder::new(&named::<OnThreads>("gives-up"), backend).limits(Limits::fixed(1));
    let pool = builder.restart_policy(By(|| Restart::Escalate("enough".to_owned()))).build().expect("it is built");
    let worker = WorkerId { slot: 0, generation: 1 };
    until("the worker is up", || pool.saturation().idle == 1);
    let mut events = pool.events();
    let (first, queued) = (pool.try_submit(1).expect("a place"), pool.try_submit(2).expect("a place"));
    until("it has the first", || script.take(worker) == Some(1));
    script.die(worker);
    assert!(soon(first).is_err());
    let error = soon(queued).expect_err("the pool was given up");
    let escalated =
        matches!(&error, JobError::NotStarted(why) if why.reason == CloseReason::Escalated("enough".into()));
    assert!(escalated, "{error}");
    while soon(events.next()).is_some() {}
    assert_eq!(script.started(), [worker]);
}
