//! Plugins that mean no good: each gets a typed error within its limits, and its siblings do not notice, on every engine.

use std::time::Duration;

use millpond::{BuildError, GuestFault, JobError, JobOptions, JobStatus, Limits, PoolEvent, PoolExecutor};

use crate::kinds::{Kind, Never};
use crate::rig::{Outcome, ask, builder, failure, fault, pool, until, until_busy};

on_every_engine! {
    recursion_without_end_is_a_trap,
    memory_that_grows_without_end_is_refused,
    a_start_that_never_ends_is_a_start_that_fails,
    a_start_that_never_ends_is_a_job_that_times_out,
    a_start_that_traps_says_so,
    siblings_do_not_notice,
    limits_of_nothing_build_no_pool,
}

/// What one plugin may do to another is within so much memory.
const MEMORY: usize = 4 << 20;

fn hostile<K: Kind>() -> [K; 2] {
    [K::plugin().memory(MEMORY), K::plugin().memory(MEMORY).fresh()]
}

fn recursion_without_end_is_a_trap<K: Kind>() -> Outcome {
    // Where the stack is of the instance's memory, it has to find room there.
    let plugin = || K::plugin().memory(128 << 20);
    for engine in [plugin(), plugin().fresh()] {
        let pool = pool(engine);
        let fault = fault(ask(&pool, "recurse"));
        assert!(matches!(&fault, GuestFault::Trapped { message, .. } if message.contains("stack")), "{fault}");
        assert_eq!(ask(&pool, "fine").join()?, 1);
    }
    Ok(())
}

fn memory_that_grows_without_end_is_refused<K: Kind>() -> Outcome {
    for engine in hostile::<K>() {
        let pool = pool(engine);
        assert_eq!(fault(ask(&pool, "eat")), GuestFault::OutOfMemory { limit: MEMORY });
        assert_eq!(ask(&pool, "fine").join()?, 1);
        // Who takes no for an answer goes on.
        let pieces = ask(&pool, "eat_politely").join()?;
        assert!((48..=64).contains(&pieces), "{pieces} times 64 KiB of 4 MiB");
    }
    Ok(())
}

fn a_start_that_never_ends_is_a_start_that_fails<K: Kind>() -> Outcome {
    let pool = builder(K::never_made(Never::Ends)).start_limit(Duration::from_millis(50)).build()?;
    let mut events = pool.events();
    let limit = loop {
        match events.next_blocking() {
            Some(PoolEvent::WorkerGone { exit, .. }) => break exit.to_string(),
            Some(_) => {}
            None => panic!("the pool ended"),
        }
    };
    assert!(limit.contains("start limit"), "{limit}");
    Ok(())
}

fn a_start_that_never_ends_is_a_job_that_times_out<K: Kind>() -> Outcome {
    let pool = pool(K::never_made(Never::Ends).fresh());
    let options = JobOptions::new().run_limit(Duration::from_millis(50));
    let error = failure(pool.with(options).try_submit(K::call("fine", 0))?);
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    Ok(())
}

fn a_start_that_traps_says_so<K: Kind>() -> Outcome {
    let kept = pool(K::never_made(Never::Succeeds));
    until("the start fails", || format!("{:?}", kept.inventory_now().health).contains("unreachable"));
    let fresh = pool(K::never_made(Never::Succeeds).fresh());
    let fault = fault(ask(&fresh, "fine"));
    assert!(matches!(&fault, GuestFault::NoInstance(why) if why.contains("unreachable")), "{fault}");
    Ok(())
}

fn siblings_do_not_notice<K: Kind>() -> Outcome {
    for engine in hostile::<K>() {
        let pool = builder(engine).limits(Limits::fixed(4)).build()?;
        let spins = pool.with(JobOptions::new().label("spin")).try_submit(K::call("spin", 0))?;
        until_busy(&pool, 1);
        for _ in 0..10 {
            let bad = ["recurse", "eat", "trap", "none"].map(|function| ask(&pool, function));
            assert_eq!(ask(&pool, "fine").join()?, 1);
            bad.into_iter().for_each(|bad| drop(fault(bad)));
        }
        assert!(spins.status() == JobStatus::Running);
    }
    Ok(())
}

fn limits_of_nothing_build_no_pool<K: Kind>() -> Outcome {
    let error = builder(K::plugin().memory(0)).build().expect_err("nothing can run in it");
    assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
    Ok(())
}
