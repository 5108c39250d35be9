//! A kill reaches guest code at any loop, and no call into this process, on every engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::{BuildError, Fate, JobError, JobOptions, JobStatus, Ladder, Limits, PoolExecutor, Select, WorkerState};

use crate::kinds::Kind;
use crate::rig::{LIMIT, Outcome, ask, builder, failure, is_killed, pool, until, until_busy};

on_every_engine! {
    a_loop_without_end_is_killed,
    no_kill_is_missed,
    a_run_limit_ends_a_loop,
    a_pool_that_is_aborted_stops_its_loops,
    a_call_that_blocks_this_process_is_abandoned_and_counted,
}

fn a_loop_without_end_is_killed<K: Kind>() -> Outcome {
    for function in ["spin", "branch"] {
        let pool = pool(K::plugin());
        let handle = ask(&pool, function);
        until_busy(&pool, 1);
        is_killed(&pool, handle)?;
        assert_eq!(ask(&pool, "fine").join()?, 1);
    }
    Ok(())
}

/// Whatever the instance is about to do as the kill comes: it stops.
fn no_kill_is_missed<K: Kind>() -> Outcome {
    let pool = builder(K::plugin()).limits(Limits::fixed(2)).build()?;
    // Each kill has the other instance look at its brake, too.
    let other = ask(&pool, "spin");
    until_busy(&pool, 1);
    for _ in 0..200 {
        let handle = ask(&pool, "spin");
        until_busy(&pool, 2);
        is_killed(&pool, handle)?;
    }
    assert!(other.status() == JobStatus::Running);
    Ok(())
}

fn a_run_limit_ends_a_loop<K: Kind>() -> Outcome {
    for engine in [K::plugin(), K::plugin().fresh()] {
        let pool = builder(engine).kill_grace(Duration::from_millis(10)).build()?;
        let options = JobOptions::new().run_limit(Duration::from_millis(20));
        let handle = pool.with(options).try_submit(K::call("spin", 0))?;
        let error = failure(handle);
        assert!(matches!(error, JobError::TimedOut(_)), "{error}");
        assert_eq!(ask(&pool, "fine").join()?, 1, "another instance took its place");
    }
    Ok(())
}

/// A job that runs is in the guest at some time, and then stays there. Nobody tells when: one that had not come so far is abandoned, and still ends.
fn a_pool_that_is_aborted_stops_its_loops<K: Kind>() -> Outcome {
    let ended_in_the_guest = || {
        let pool = builder(K::plugin()).limits(Limits::fixed(2)).build()?;
        let handles = [ask(&pool, "spin"), ask(&pool, "branch")];
        until_busy(&pool, 2);
        pool.abort();
        let killed = handles.map(|handle| match failure(handle) {
            JobError::Killed(_) => true,
            JobError::Abandoned(_) => false,
            other => panic!("{other}"),
        });
        until("its threads have ended", || pool.inventory_now().workers.is_empty());
        Ok::<_, BuildError>(killed == [true; 2])
    };
    for _ in 0..100 {
        if ended_in_the_guest()? {
            return Ok(());
        }
    }
    panic!("in none of a hundred pools were both jobs killed");
}

fn a_call_that_blocks_this_process_is_abandoned_and_counted<K: Kind>() -> Outcome {
    let [inside, open] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (entered, door) = (inside.clone(), open.clone());
    let engine = K::calling(Arc::new(move || {
        entered.store(true, Ordering::Release);
        until("it is let go", || door.load(Ordering::Acquire));
        Ok(())
    }));
    let pool = builder(engine).kill_grace(Duration::from_millis(10)).build()?;
    let handle = ask(&pool, "call_and_spin");
    until("it is in this process", || inside.load(Ordering::Acquire));
    let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    let error = failure(handle);
    assert!(matches!(error, JobError::Abandoned(_)), "{error}");
    assert_eq!(pool.saturation().abandoned, 1);
    assert_eq!(ask(&pool, "fine").join()?, 1, "its slot has another");

    open.store(true, Ordering::Release);
    // As the call returns, and not in the loop that follows it.
    until("it is gone", || pool.inventory_now().workers.iter().all(|row| row.state != WorkerState::Abandoned));
    assert_eq!(pool.saturation().abandoned, 0);
    Ok(())
}
