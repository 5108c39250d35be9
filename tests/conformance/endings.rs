//! How workers end that are many, slow, or do not: on the scripted backend and on a clock that the test moves.

use std::time::Duration;

use millpond::testing::{Scripted, SettableClock};
use millpond::{Fate, Ladder, Lane, Limits, PoolBuilder, PoolExecutor, Rung, Select};
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

/// What a termination costs must not grow faster than it has to: each of these ends in an event of its own, at which all look.
#[test]
fn two_thousand_workers_that_end_one_by_one_are_one_termination() {
    const MANY: usize = 2000;
    let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
    let lane = Lane::new("default").capacity(MANY);
    let builder = PoolBuilder::new(&named::<OnThreads>("many"), backend).default_lane(lane);
    let pool = builder.limits(Limits::new(0, MANY)).clock(clock.clock()).build().expect("it is built");
    let handles: Vec<_> =
        (0..MANY as u64).map(|job| millpond::Executor::try_submit(&pool, job).expect("there is a place")).collect();
    until("all are busy", || pool.saturation().active == MANY);
    let inventory = pool.inventory_now();
    assert!(inventory.workers.is_sorted_by_key(|row| row.worker), "by slot");

    let ladder = Ladder::new().then(Rung::Stop, Duration::from_secs(60));
    let mut reply = spawn(pool.terminate(Select::all(), ladder, LIMIT));
    assert_pending!(reply.poll());
    after_control(&pool);
    for worker in script.started() {
        assert!(script.take(worker).is_some() && script.finish(worker, 1));
        script.die(worker);
        // Control has looked at each of them before the next one ends.
        soon(pool.resume(LIMIT)).expect("it is open");
    }
    let report = soon(reply).expect("it answers");
    assert_eq!(report.targets.len(), MANY);
    assert!(report.targets.iter().all(|row| row.fate == Fate::Stopped), "{report}");
    assert!(handles.into_iter().all(|handle| soon(handle).is_ok()));
    until("all are gone", || pool.inventory_now().workers.is_empty());
    at_rest(&pool);
}
