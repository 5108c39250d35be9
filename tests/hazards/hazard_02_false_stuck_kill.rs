//! 2. False "stuck" kill: a heartbeat that queues behind the job takes a long job for a hung one; time alone, an idle worker.
//!
//! A job that is three times as long as the limit and reports progress survives; a silent one beside it is taken, and the reason says
//! so; a worker that has had nothing to do for as long is not touched. The limit is a second, at any scale: a beat that the machine
//! holds up for two of them in a row would fail the first.

use std::time::{Duration, Instant};

use millpond::{Exit, JobError, Ladder, Lane, Limits, PoolEvent, PoolExecutor, Watchdog};

use crate::kinds::{Ground, Kind, Work, failure, on_every_kind, put, put_labelled, value};
use crate::latch::Meter;
use crate::patience::{at_rest, eventually};

const LIMIT: Duration = Duration::from_secs(1);

on_every_kind!(who_progresses_survives_who_is_silent_is_taken_and_who_idles_is_left_alone);

fn who_progresses_survives_who_is_silent_is_taken_and_who_idles_is_left_alone<K: Kind>() {
    let ground = Ground::new();
    let pool = K::builder("h02", &ground)
        .limits(Limits::fixed(3))
        .default_lane(Lane::new("default").overdue_after(LIMIT))
        .watchdog(Watchdog::new(LIMIT, Ladder::kill()))
        .build()
        .expect("the configuration is sound");
    let mut events = pool.events();
    let (bodies, finish, hang) = (Meter::default(), ground.latch(), ground.latch());
    let began = Instant::now();
    let healthy = put_labelled::<K>(&pool, "healthy", Work::value(1).counted(&bodies).beating_until(&finish));
    let silent = put_labelled::<K>(&pool, "silent", Work::value(2).counted(&bodies).until(&hang));
    eventually("both run", || bodies.inside() == 2);
    let inventory = pool.inventory_now();
    let holder = |label| {
        let row = inventory
            .workers
            .iter()
            .find(|row| row.job.as_ref().is_some_and(|job| job.label.as_deref() == Some(label)));
        row.expect("it runs").worker
    };
    let (at_work, stuck) = (holder("healthy"), holder("silent"));
    let idle = inventory.workers.iter().map(|row| row.worker).find(|worker| ![at_work, stuck].contains(worker));

    let error = failure(silent);
    let (JobError::Killed(killed) | JobError::Abandoned(killed)) = &error else { panic!("{error}") };
    assert!(killed.silent_for.is_some_and(|span| span >= LIMIT * 2), "{error}");
    assert!(error.to_string().contains("stuck: no progress for"), "{error}");
    eventually("three times the limit has passed", || began.elapsed() > LIMIT * 3);
    hang.open();
    let alive: Vec<_> = pool.inventory_now().workers.iter().map(|row| row.worker).collect();
    assert!(alive.contains(&at_work), "it progressed all the time");
    assert!(idle.is_none_or(|idle| alive.contains(&idle)), "it had nothing to do");
    finish.open();
    assert_eq!(value(healthy), 1);
    assert_eq!(value(put::<K>(&pool, Work::value(4))), 4);

    let mut exits = Vec::new();
    eventually("the silent one's worker is gone", || {
        while let Some(event) = events.try_next() {
            if let PoolEvent::WorkerGone { worker, exit } = event {
                exits.push((worker, exit));
            }
        }
        !exits.is_empty()
    });
    assert!(matches!(&exits[..], [(worker, Exit::Stuck { .. })] if *worker == stuck), "{exits:?}");
    at_rest(&pool);
}
