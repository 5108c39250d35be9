//! Recycling while jobs keep coming: none is lost, and the workers that were told to be up are.

use millpond::{Exit, Limits, PoolEvent, PoolExecutor, Recycle, RecycleReason};

use crate::rig::{after_control, at_rest, build, put, soon, until};
use crate::subject::Subject;
use crate::task::Task;

conform! {
    with_room_for_another_no_moment_is_below_min,
    without_room_for_another_one_at_a_time_is_missing,
}

const JOBS: u64 = 600;

fn with_room_for_another_no_moment_is_below_min<S: Subject>() {
    assert_eq!(fewest_up::<S>("load-room", Limits::new(2, 4)), 2);
}

fn without_room_for_another_one_at_a_time_is_missing<S: Subject>() {
    assert!(fewest_up::<S>("load-full", Limits::fixed(3)) >= 2);
}

/// How many workers were up at least, by what was told: control tells of one that is up before it lets another go.
fn fewest_up<S: Subject>(what: &str, limits: Limits) -> usize {
    let pool =
        build::<S>(what, |builder| builder.limits(limits.idle_timeout(None)).recycle(Recycle::new().after_jobs(5)));
    until("min is up", || pool.saturation().idle == limits.min);
    after_control(&pool);
    let mut events = pool.events();
    let (mut up, mut fewest, mut recycled) = (limits.min, limits.min, 0);
    let mut look = || {
        while let Some(event) = events.try_next() {
            match event {
                PoolEvent::WorkerReady { .. } => up += 1,
                PoolEvent::WorkerGone { exit: Exit::Recycled(RecycleReason::Jobs(5..)), .. } => {
                    (up, recycled) = (up - 1, recycled + 1);
                    fewest = fewest.min(up);
                }
                PoolEvent::RecycleDue { reason: RecycleReason::Jobs(5), .. } => {}
                other => panic!("{other:?}"),
            }
        }
        (fewest, recycled)
    };
    let mut handles = Vec::new();
    for n in 0..JOBS {
        handles.push((n, put::<S>(&pool, Task::value(n))));
        if n % 20 == 19 {
            handles.drain(..).for_each(|(n, handle)| assert_eq!(soon(handle).unwrap(), n));
            look();
        }
    }
    until("some were recycled", || {
        soon(put::<S>(&pool, Task::value(0))).expect("jobs go on");
        look().1 >= 3
    });
    at_rest(&pool);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.completed == ledger.accepted && ledger.completed >= JOBS, "{ledger}");
    look().0
}
