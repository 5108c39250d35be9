//! The policies in pools with threads, where what they answer has to have its effect.

use std::time::Duration;

use millpond::{Health, Limits, PoolEvent, PoolExecutor, RejectReason, Restart, RestartPolicy, ThreadPool, WorkerId};
use millpond_supervisors::{Backoff, Breaker, Never, OneForOne};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn pool(name: &str, workers: usize, policy: impl RestartPolicy) -> Result<ThreadPool, millpond::BuildError> {
    let builder = ThreadPool::builder(name).limits(Limits::fixed(workers));
    builder.restart_after_panic().restart_policy(policy).build()
}

fn crash(pool: &ThreadPool) -> Outcome {
    let error = pool.submit_blocking(|| panic!("a bug"))?.join().map(|(): ()| "it returned");
    assert!(error.is_err());
    Ok(())
}

/// The next decision; `None` if the pool ended before one was made.
fn decision(events: &mut millpond::EventStream) -> Option<(WorkerId, Restart)> {
    loop {
        if let PoolEvent::RestartDecided { worker, restart } = events.next_blocking()? {
            return Some((worker, restart));
        }
    }
}

#[test]
fn never_leaves_the_slot_empty_and_the_rest_at_work() -> Outcome {
    let pool = pool("never", 2, Never)?;
    let mut events = pool.events();
    crash(&pool)?;
    let (worker, restart) = decision(&mut events).expect("the pool lives");
    assert_eq!(restart, Restart::Never);
    assert_eq!(pool.submit_blocking(|| 6 * 7)?.join()?, 42);
    assert!(matches!(pool.snapshot().health, Health::Degraded { missing: 1, .. }));
    assert!(pool.inventory_now().workers.iter().all(|row| row.worker.slot != worker.slot));
    Ok(())
}

#[test]
fn one_for_one_restarts_until_it_gives_the_pool_up() -> Outcome {
    let pool = pool("one_for_one", 1, OneForOne::new(1, Duration::from_secs(60)))?;
    let mut events = pool.events();
    crash(&pool)?;
    assert_eq!(decision(&mut events).expect("the pool lives").1, Restart::After(Duration::ZERO));
    crash(&pool)?;
    while events.next_blocking().is_some() {}
    let refused = pool.try_submit(|| ()).expect_err("the pool was given up");
    assert!(matches!(refused.reason(), RejectReason::Closed { .. }));
    assert!(refused.to_string().contains("2 workers failed within 60s"), "{refused}");
    Ok(())
}

#[test]
fn backoff_delays_from_the_second_failure_on() -> Outcome {
    let pool = pool("backoff", 1, Backoff::new(Duration::from_millis(5), Duration::from_millis(50)))?;
    let mut events = pool.events();
    for failure in 1..=4 {
        crash(&pool)?;
        let Some((_, Restart::After(delay))) = decision(&mut events) else { panic!("a back-off only delays") };
        assert_eq!(delay.is_zero(), failure == 1);
    }
    assert_eq!(pool.submit_blocking(|| 6 * 7)?.join()?, 42);
    Ok(())
}

/// Longer than a loaded machine keeps this test from its next crash.
const HEALTHY_AFTER: Duration = Duration::from_secs(3);

#[test]
fn breaker_opens_tries_a_probe_and_closes() -> Outcome {
    let millis = Duration::from_millis;
    let breaker = Breaker::new(2, millis(20)).without_jitter().healthy_after(HEALTHY_AFTER);
    let pool = pool("breaker", 1, breaker)?;
    let mut events = pool.events();
    crash(&pool)?;
    assert_eq!(decision(&mut events).expect("the pool lives").1, Restart::After(Duration::ZERO));
    crash(&pool)?;
    assert_eq!(decision(&mut events).expect("the pool lives").1, Restart::CoolDown(millis(20)), "open");
    // A job that comes meanwhile waits for the probe, and is run by it.
    let (_never, word) = std::sync::mpsc::sync_channel::<()>(1);
    let probe = pool.submit_blocking(move || word.recv_timeout(HEALTHY_AFTER + millis(50)))?;
    assert!(probe.join()?.is_err(), "up for longer than it takes to be healthy");
    crash(&pool)?;
    assert_eq!(decision(&mut events).expect("the pool lives").1, Restart::After(Duration::ZERO), "closed");
    Ok(())
}
