//! Recycling with workers that do what they are told: after each step what must be so is so, to the worker.

use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    Executor, Exit, Limits, Pool, PoolBuilder, PoolEvent, PoolExecutor, Recycle, Restart, WorkerId, WorkerState,
};

use crate::faults::By;
use crate::rig::{after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

const SECOND: Duration = Duration::from_secs(1);

fn pool(limits: Limits, recycle: Recycle) -> (Pool<Scripted>, Script, SettableClock) {
    let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
    let pool = PoolBuilder::new(&named::<OnThreads>("recycled"), backend)
        .limits(limits.idle_timeout(None))
        .recycle(recycle)
        .restart_policy(By(|| Restart::After(SECOND)))
        .clock(clock.clock())
        .build()
        .expect("it is built");
    until("min is up", || pool.saturation().idle == limits.min);
    (pool, script, clock)
}

/// Lets the workers that are to go go: they look when they are told to.
fn settle(pool: &Pool<Scripted>, script: &Script) {
    let mut quiet = 0;
    // Twice: what one that came up has told control came before the second look.
    while quiet < 2 {
        after_control(pool);
        let rows = pool.inventory_now().workers;
        let leaving = rows.iter().find(|row| row.state == WorkerState::Leaving);
        leaving.iter().for_each(|row| script.die(row.worker));
        let coming = rows.iter().any(|row| row.state == WorkerState::Starting);
        quiet = if coming || leaving.is_some() { 0 } else { quiet + 1 };
    }
}

/// SplitMix64.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("it is below a usize")
    }
}

/// Jobs come, are taken and ended, and time passes, in any order: at every step the workers that `min` asks for hold their seats, or all that
/// could be up but one; and every job has one outcome.
#[test]
fn whatever_happens_no_step_is_below_min_and_no_job_is_lost() {
    for seed in 0..24 {
        let mut noise = Noise(seed);
        let min = 1 + noise.below(3);
        let limits = Limits::new(min, min + noise.below(3));
        let rule = Recycle::new().after_jobs(1 + noise.below(4) as u64).after_age(SECOND * 40).after_idle(SECOND * 25);
        let (pool, script, clock) = pool(limits, rule);
        let mut events = pool.events();
        let least = if limits.max > min { min } else { min - 1 };
        let (mut handles, mut recycled) = (Vec::new(), 0);
        for step in 0..300 {
            match noise.below(8) {
                0..=2 => handles.extend(pool.try_submit(step)),
                7 => clock.advance(SECOND * 3),
                _ => {
                    let alive = script.alive();
                    let worker = alive[noise.below(alive.len())];
                    if !script.finish(worker, step) {
                        script.take(worker);
                    }
                }
            }
            let seen = pool.saturation();
            assert!(seen.workers >= least, "seed {seed}, step {step}: {seen}\n{}", pool.inventory_now());
            settle(&pool, &script);
            let seen = pool.saturation();
            assert!((min..=limits.max).contains(&seen.workers), "seed {seed}, step {step}: {seen}");
            while let Some(event) = events.try_next() {
                match event {
                    PoolEvent::WorkerGone { exit: Exit::Recycled(_), .. } => recycled += 1,
                    PoolEvent::WorkerReady { .. } | PoolEvent::RecycleDue { .. } => {}
                    other => panic!("seed {seed}, step {step}: {other:?}"),
                }
            }
        }
        assert!(recycled > 0, "seed {seed}");
        let mut left = handles.len() as u64 - pool.snapshot().ledger.completed;
        while left > 0 {
            for worker in script.alive() {
                script.take(worker);
                left -= u64::from(script.finish(worker, 0));
            }
            settle(&pool, &script);
        }
        handles.into_iter().for_each(|handle| assert!(soon(handle).is_ok(), "seed {seed}"));
        at_rest(&pool);
    }
}

/// Who is due stays as long as the one that is to take its place does not come up; that one's slot has its policy.
#[test]
fn a_spare_that_does_not_come_up_costs_nobody_its_place() {
    let (pool, script, clock) = pool(Limits::new(1, 2), Recycle::new().after_jobs(1));
    let old = WorkerId { slot: 0, generation: 1 };
    let mut events = pool.events();
    script.refuse_next_start();
    let handle = pool.try_submit(5).expect("a place");
    until("it has it", || script.take(old) == Some(5));
    assert!(script.finish(old, 6));
    assert_eq!(soon(handle).unwrap(), 6);
    until("the policy has decided", || {
        std::iter::from_fn(|| events.try_next()).any(|event| matches!(event, PoolEvent::RestartDecided { .. }))
    });
    after_control(&pool);
    assert_eq!((pool.saturation().workers, script.alive(), script.started().len()), (1, vec![old], 1));
    clock.advance(SECOND);
    until("the spare is up, and the old one was let go", || {
        after_control(&pool);
        script.started().len() == 2 && pool.saturation().workers == 1 && pool.saturation().starting == 0
    });
    settle(&pool, &script);
    assert_eq!(script.alive().len(), 1);
    assert_ne!(script.alive(), [old]);
    at_rest(&pool);
}
