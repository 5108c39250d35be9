//! A child dies at the worst moment, and the job hangs, or everybody's fails: cpython#94777, cpython#105829, pebble#163.
//!
//! It is killed before its start is over, during its job, after dispatch and before it has acknowledged, and in the middle of 100 MB either way. Every
//! handle resolves, with one attributed outcome, and siblings do not notice. What goes by memory files is written in `process::large`, byte for byte; here both
//! ways are tried with the same kills.

use std::time::{Duration, Instant};

use millpond::process::ChildOptions;
use millpond::{DeathCause, Limits, PoolExecutor};

use crate::children::{builder, death_of, exists, failure, pids, pool, pool_with, signal, until};

/// "Within a second", with what a busy machine may add.
const SOON: Duration = Duration::from_secs(10);
const LARGE: usize = 100 << 20;

fn sleep_for_ever(_: ()) {
    std::thread::sleep(Duration::from_secs(3_600));
}

#[test]
fn a_child_that_is_killed_during_its_job_costs_that_job_alone() {
    let pool = pool("during", 2);
    let both = pids(&pool, 2);
    let sibling = pool.submit_blocking(
        |()| {
            std::thread::sleep(Duration::from_millis(300));
            std::process::id()
        },
        (),
    );
    let sibling = sibling.unwrap();
    until("it runs", || pool.saturation().active == 1);
    let doomed = pool.submit_blocking(sleep_for_ever, ()).unwrap();
    until("both run", || pool.saturation().active == 2);
    let rows = pool.inventory_now().workers;
    let of = rows.iter().find(|row| row.job.as_ref().is_some_and(|job| job.id == doomed.id())).expect("it runs");
    let pid = of.facts.pid.expect("it is known");
    let began = Instant::now();
    signal(pid, "KILL");
    let error = failure(doomed);
    assert_eq!(death_of(&error), DeathCause::Signalled(9));
    assert!(began.elapsed() < SOON && !exists(pid), "and it was reaped by then");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    let other = sibling.join().unwrap();
    assert!(both.contains(&other) && other != pid);
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_child_that_is_killed_before_it_is_ready_costs_no_job() {
    let pool = builder("unborn").limits(Limits::fixed(1)).build().unwrap();
    let mut pid = None;
    until("there is a child", || {
        pid = pool.inventory_now().workers.iter().find_map(|row| row.facts.pid);
        pid.is_some()
    });
    let handle = pool.submit_blocking(|n: u32| n, 5).unwrap();
    // It may be ready by now, or even have the job.
    let pid = pid.expect("it was found");
    signal(pid, "KILL");
    match handle.join() {
        Ok(n) => assert_eq!(n, 5),
        Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
    }
    // Until then another job may still be handed to it.
    until("it is reaped", || !exists(pid));
    assert_eq!(pool.submit_blocking(|n: u32| n, 6).unwrap().join().unwrap(), 6);
}

#[test]
fn a_child_that_is_killed_between_dispatch_and_acknowledgement_loses_the_job_once() {
    let pool = pool("unacknowledged", 1);
    let pid = pids(&pool, 1)[0];
    signal(pid, "STOP");
    let handle = pool.submit_blocking(|n: u32| n, 5).unwrap();
    until("it is dispatched", || pool.saturation().active == 1);
    std::thread::sleep(Duration::from_millis(20));
    signal(pid, "KILL");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(9));
    assert_eq!(pool.submit_blocking(|n: u32| n, 6).unwrap().join().unwrap(), 6);
}

/// Half a frame cannot have begun: another child gets the job.
#[test]
fn a_child_that_is_killed_while_its_job_is_being_written_loses_nothing() {
    let pool = pool_with("half-sent", 2, ChildOptions::new().frame_limit(256 << 20).shared_memory(false));
    let both = pids(&pool, 2);
    for pid in &both {
        signal(*pid, "STOP");
    }
    let handle = pool.submit_blocking(|text: String| text.len(), "x".repeat(LARGE)).unwrap();
    until("it is dispatched", || pool.saturation().active == 1);
    std::thread::sleep(Duration::from_millis(50));
    let holder = pool.inventory_now().workers.iter().find(|row| row.job.is_some()).and_then(|row| row.facts.pid);
    let holder = holder.expect("one has it");
    let other = both.iter().find(|pid| **pid != holder).expect("two");
    signal(*other, "CONT");
    signal(holder, "KILL");
    assert_eq!(handle.join().unwrap(), LARGE);
    assert!(pool.snapshot().ledger.balances());
    assert_eq!(pool.snapshot().ledger.lost, 0);
}

/// Nobody knows of one that was handed over whole whether it has begun.
#[test]
fn a_child_that_is_killed_when_its_job_was_sent_by_memory_loses_that_job_at_most() {
    let pool = pool_with("sent-whole", 2, ChildOptions::new().frame_limit(256 << 20));
    for wait in [0, 20, 80, 160] {
        let handle = pool.submit_blocking(|text: String| text.len(), "x".repeat(LARGE)).unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        for pid in pids(&pool, 2) {
            signal(pid, "KILL");
        }
        match handle.join() {
            Ok(length) => assert_eq!(length, LARGE),
            Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
        }
    }
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_child_that_is_killed_while_it_answers_has_answered_or_not() {
    for (name, shared) in [("half-answered", true), ("half-answered-by-socket", false)] {
        let options = ChildOptions::new().frame_limit(256 << 20).shared_memory(shared);
        let pool = pool_with(name, 2, options);
        for wait in [0, 5, 10, 20, 40, 80, 160] {
            let pids = pids(&pool, 2);
            let handle = pool.submit_blocking(|n: usize| "y".repeat(n), LARGE).unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            for pid in pids {
                signal(pid, "KILL");
            }
            match handle.join() {
                Ok(text) => assert_eq!(text.len(), LARGE),
                Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
            }
            until("others are up", || pool.submit_blocking(|n: u32| n, 1).unwrap().join().is_ok());
        }
        assert!(pool.snapshot().ledger.balances());
    }
}
