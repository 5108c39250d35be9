//! Calls, and what one job leaves for the next, on every engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::interpreter::{Crossing, Script};
use millpond::{
    Exit, GuestFault, InterpreterPool, JobContext, JobError, JobOptions, JobStatus, KillReach, Ladder, PoolEvent,
    PoolExecutor, Recycle, RecycleReason, Select,
};

use crate::kinds::Kind;
use crate::rig::{LIMIT, Outcome, ask, builder, failure, fault, pool, put, until, until_busy};

on_every_engine! {
    an_instance_is_kept_from_job_to_job,
    an_instance_that_trapped_is_replaced,
    a_fresh_instance_knows_of_no_other_job,
    a_trap_says_which_job_and_where,
    a_function_that_is_not_there_costs_nobody_an_instance,
    a_guest_calls_into_this_process,
    a_function_of_this_process_that_panics_is_a_job_that_panicked,
    what_a_script_goes_on_after_is_no_other_jobs_fault,
    a_script_may_call_again_after_a_fault_of_this_processs,
    who_has_used_up_its_fuel_has_none_for_another_call,
    a_guest_sees_that_it_is_to_stop,
    a_script_that_says_that_it_was_interrupted_has_failed_and_its_worker_goes_on,
    what_is_not_there_after_a_call_is_no_job_that_never_began,
    an_instance_whose_drop_takes_for_ever_leaves_no_job_without_an_outcome,
    the_same_job_uses_the_same_fuel,
    what_a_start_uses_is_no_jobs_fuel,
    a_job_without_any_fuel_builds_no_pool,
    the_inventory_shows_what_a_guest_has,
    a_guest_that_has_grown_is_replaced,
    it_says_how_far_its_kill_reaches,
}

fn an_instance_is_kept_from_job_to_job<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    for count in 1..=3 {
        assert_eq!(ask(&pool, "count").join()?, count);
    }
    Ok(())
}

fn an_instance_that_trapped_is_replaced<K: Kind>() -> Outcome {
    for (restarts, restarting) in [(0, false), (1, true)] {
        let builder = builder(K::plugin());
        let pool = if restarting { builder.restart_after_trap() } else { builder }.build()?;
        assert_eq!(ask(&pool, "count").join()?, 1);
        assert!(matches!(fault(ask(&pool, "trap")), GuestFault::Trapped { .. }));
        assert_eq!(ask(&pool, "count").join()?, 1, "what the other had counted is gone with it");
        assert_eq!(pool.inventory_now().workers[0].restarts, restarts);
    }
    Ok(())
}

fn a_fresh_instance_knows_of_no_other_job<K: Kind>() -> Outcome {
    let pool = pool(K::plugin().fresh());
    for _ in 0..3 {
        assert_eq!(ask(&pool, "count").join()?, 1);
        assert!(matches!(fault(ask(&pool, "trap")), GuestFault::Trapped { .. }));
    }
    assert_eq!(pool.inventory_now().workers[0].restarts, 0, "nothing is left that would have to be replaced");
    Ok(())
}

fn a_trap_says_which_job_and_where<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    let handle = pool.with(JobOptions::new().label("risky")).try_submit(K::call("trap", 0))?;
    let error = failure(handle);
    let text = error.to_string();
    for part in ["risky", "calls.rs", "0.1", "it trapped", "trap"] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    let JobError::Guest(failed) = error else { panic!("{text}") };
    let GuestFault::Trapped { backtrace: Some(backtrace), .. } = failed.fault else { panic!("{text}") };
    assert!(backtrace.contains("trap"), "{backtrace}");
    Ok(())
}

fn a_function_that_is_not_there_costs_nobody_an_instance<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    assert_eq!(ask(&pool, "count").join()?, 1);
    for name in ["none", "number"] {
        let fault = fault(ask(&pool, name));
        assert!(matches!(&fault, GuestFault::Unfit(why) if why.contains(name)), "{fault}");
    }
    assert_eq!(ask(&pool, "count").join()?, 2);
    assert_eq!(pool.snapshot().ledger.not_started, 2);
    Ok(())
}

fn a_guest_calls_into_this_process<K: Kind>() -> Outcome {
    let told = Arc::new(AtomicU64::new(0));
    let tell = told.clone();
    let pool = pool(K::calling(Arc::new(move || {
        let job = JobContext::current().expect("a job calls");
        assert!(Crossing::here().is_some(), "this is its worker's thread");
        tell.store(job.job_id().get(), Ordering::Relaxed);
        Ok(())
    })));
    let handle = ask(&pool, "call");
    let id = handle.id().get();
    assert_eq!(handle.join()?, 1);
    assert_eq!(told.load(Ordering::Relaxed), id);
    Ok(())
}

fn a_function_of_this_process_that_panics_is_a_job_that_panicked<K: Kind>() -> Outcome {
    let pool = pool(K::calling(Arc::new(|| panic!("the host is out of sorts"))));
    for _ in 0..2 {
        let error = failure(ask(&pool, "call"));
        assert!(matches!(&error, JobError::Panicked(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("the host is out of sorts") && text.contains("calls.rs"), "{text}");
    }
    assert_eq!(ask(&pool, "fine").join()?, 1);
    Ok(())
}

/// Such as one that asks another function if the first has no answer. Its instance goes on, and with it the next job.
fn what_a_script_goes_on_after_is_no_other_jobs_fault<K: Kind>() -> Outcome {
    let out_of_fuel = pool(K::plugin().fuelled(10_000));
    assert_eq!(ask(&out_of_fuel, "count").join()?, 1);
    for count in 2..=3 {
        assert_eq!(put(&out_of_fuel, K::despite("spin", None)).join()?, 0);
        assert_eq!(ask(&out_of_fuel, "count").join()?, count, "in the same instance");
        assert_eq!(put(&out_of_fuel, K::call("turns", 100)).join()?, 0);
    }
    assert_eq!(fault(ask(&out_of_fuel, "spin")), GuestFault::OutOfFuel { fuel: 10_000 });

    let failed = pool(K::calling(Arc::new(|| Err(GuestFault::NoRoom { bytes: 7 }))));
    assert_eq!(put(&failed, K::despite("call", None)).join()?, 0);
    assert_eq!(ask(&failed, "fine").join()?, 1);
    assert_eq!(fault(ask(&failed, "call")), GuestFault::NoRoom { bytes: 7 });
    Ok(())
}

fn a_script_may_call_again_after_a_fault_of_this_processs<K: Kind>() -> Outcome {
    let pool = pool(K::calling(Arc::new(|| Err(GuestFault::NoRoom { bytes: 7 }))).fuelled(10_000));
    assert_eq!(put(&pool, K::despite("call", Some("fine"))).join()?, 1);
    assert_eq!(fault(put(&pool, K::despite("fine", Some("call")))), GuestFault::NoRoom { bytes: 7 });
    Ok(())
}

fn who_has_used_up_its_fuel_has_none_for_another_call<K: Kind>() -> Outcome {
    let pool = pool(K::plugin().fuelled(10_000));
    assert_eq!(fault(put(&pool, K::despite("spin", Some("fine")))), GuestFault::OutOfFuel { fuel: 10_000 });
    assert_eq!(ask(&pool, "fine").join()?, 1);
    Ok(())
}

fn a_guest_sees_that_it_is_to_stop<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    let handle = ask(&pool, "until_cancelled");
    until_busy(&pool, 1);
    handle.cancel();
    assert_eq!(handle.join()?, 5);
    Ok(())
}

/// Says that it was interrupted, which nobody did.
struct Odd;

impl<K: Kind> Script<K> for Odd {
    type Output = i64;

    fn run(self, _instance: &mut K::Instance) -> Result<i64, GuestFault> {
        Err(GuestFault::Interrupted)
    }
}

fn a_script_that_says_that_it_was_interrupted_has_failed_and_its_worker_goes_on<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    assert_eq!(fault(put(&pool, Odd)), GuestFault::Interrupted);
    assert_eq!(ask(&pool, "count").join()?, 1);
    assert_eq!(pool.inventory_now().workers[0].restarts, 0);
    Ok(())
}

fn what_is_not_there_after_a_call_is_no_job_that_never_began<K: Kind>() -> Outcome {
    let pool = pool(K::plugin());
    let error = failure(put(&pool, K::count_and_miss()));
    assert!(matches!(&error, JobError::Guest(failed) if failed.began), "{error}");
    assert!(!error.to_string().contains("never began"), "{error}");
    assert_eq!(ask(&pool, "count").join()?, 1, "its instance had been used, and is gone");
    assert_eq!(pool.snapshot().ledger.panicked, 1);
    Ok(())
}

/// A value whose drop waits.
struct Slow(Arc<AtomicU64>);

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.store(1, Ordering::Release);
        until("it is let go", || self.0.load(Ordering::Acquire) == 2);
    }
}

fn an_instance_whose_drop_takes_for_ever_leaves_no_job_without_an_outcome<K: Kind>() -> Outcome {
    let pool = builder(K::plugin().fresh()).kill_grace(Duration::from_millis(10)).build()?;
    let state = Arc::new(AtomicU64::new(0));
    let handle = put(&pool, K::keep(Box::new(Slow(state.clone()))));
    until("its instance is dropped", || state.load(Ordering::Acquire) == 1);
    pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    let error = failure(handle);
    assert!(matches!(error, JobError::Abandoned(_)), "{error}");
    state.store(2, Ordering::Release);
    Ok(())
}

fn the_same_job_uses_the_same_fuel<K: Kind>() -> Outcome {
    for engine in [K::plugin(), K::plugin().fresh()] {
        let pool = pool(engine.fuelled(10_000));
        let mut turns = (1..10_000).rev().step_by(100);
        let fits = turns.find(|turns| put(&pool, K::call("turns", *turns)).join().is_ok());
        let fits = fits.expect("some of them fit");
        // Each job has as much, whatever those before it used.
        for _ in 0..3 {
            assert_eq!(put(&pool, K::call("turns", fits)).join()?, 0);
            assert_eq!(fault(put(&pool, K::call("turns", fits + 100))), GuestFault::OutOfFuel { fuel: 10_000 });
        }
    }
    Ok(())
}

/// Whoever made the instance, and whichever job comes first in it.
fn what_a_start_uses_is_no_jobs_fuel<K: Kind>() -> Outcome {
    let alone = pool(K::plugin().fuelled(10_000));
    let mut turns = (1..10_000).rev().step_by(100);
    let fits = turns.find(|turns| put(&alone, K::call("turns", *turns)).join().is_ok()).expect("some of them fit");
    // Twice as much is more than there is at once.
    let most = fits * 6 / 10;
    for engine in [K::starting(most), K::starting(most).fresh()] {
        let pool = pool(engine.fuelled(10_000));
        for _ in 0..2 {
            assert_eq!(put(&pool, K::call("turns", most)).join()?, 0, "in an instance that was made before it");
            assert_eq!(fault(put(&pool, K::call("turns", 2 * most))), GuestFault::OutOfFuel { fuel: 10_000 });
            assert_eq!(put(&pool, K::call("turns", most)).join()?, 0, "in one that is made for it");
            assert!(matches!(fault(ask(&pool, "trap")), GuestFault::Trapped { .. }));
        }
    }
    Ok(())
}

fn a_job_without_any_fuel_builds_no_pool<K: Kind>() -> Outcome {
    let error = builder(K::plugin().fuelled(0)).build().expect_err("nothing can run on it").to_string();
    assert!(error.contains("fuel"), "{error}");
    Ok(())
}

const GROWTH: u64 = 1 << 20;

/// What the only worker's guest has in use.
fn memory<K: Kind>(pool: &InterpreterPool<K>) -> Option<u64> {
    pool.inventory_now().workers[0].facts.guest_memory
}

fn the_inventory_shows_what_a_guest_has<K: Kind>() -> Outcome {
    let pool = builder(K::plugin().memory(8 << 20)).build()?;
    assert_eq!(ask(&pool, "fine").join()?, 1);
    let small = memory(&pool).expect("it has an instance");
    assert!((1..GROWTH).contains(&small), "{small}");
    assert_eq!(put(&pool, K::call("grow", 32)).join()?, 1);
    let large = memory(&pool).expect("it is kept");
    assert!((2 * GROWTH..8 << 20).contains(&large), "{large}");
    drop(fault(ask(&pool, "trap")));
    assert_eq!(memory(&pool), None, "nothing is left of it");

    // Also while a job has it.
    let handle = ask(&pool, "grow_and_wait");
    until("it has grown", || memory(&pool) > Some(2 * GROWTH));
    assert_eq!(handle.status(), JobStatus::Running);
    handle.cancel();
    assert_eq!(handle.join()?, 5);
    Ok(())
}

fn a_guest_that_has_grown_is_replaced<K: Kind>() -> Outcome {
    let pool = builder(K::plugin().memory(8 << 20)).recycle(Recycle::new().above_memory(GROWTH)).build()?;
    assert_eq!(ask(&pool, "count").join()?, 1);
    let mut events = pool.events();
    assert_eq!(put(&pool, K::call("grow", 32)).join()?, 1);
    let bytes = loop {
        match events.next_blocking() {
            Some(PoolEvent::WorkerGone { exit: Exit::Recycled(RecycleReason::Memory(bytes)), .. }) => break bytes,
            Some(PoolEvent::WorkerGone { exit, .. }) => panic!("{exit}"),
            Some(_) => {}
            None => panic!("the pool ended"),
        }
    };
    assert!(bytes > 2 * GROWTH, "{bytes}");
    assert_eq!(ask(&pool, "count").join()?, 1, "another instance took its place");
    Ok(())
}

fn it_says_how_far_its_kill_reaches<K: Kind>() -> Outcome {
    let capabilities = pool(K::plugin()).capabilities();
    assert_eq!(capabilities.kill, KillReach::InGuest);
    assert!(capabilities.death_confirmed && capabilities.memory_limited);
    Ok(())
}
