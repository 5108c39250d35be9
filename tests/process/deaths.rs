//! Children that die, at every stage, and what is said of it.

use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{DeathCause, EventStream, Exit, JobError, Limits, PoolEvent, PoolExecutor, ProgramPool, TimeLimit};

use crate::rig::{death_of, exists, failure, pids, pool, pool_with, python_with, signal, until};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

fn sleep_for_ever(_: ()) {
    std::thread::sleep(Duration::from_secs(3_600));
}

/// The first exit to come that is such.
fn exit_of(events: &mut EventStream, is: impl Fn(&Exit) -> bool) -> Exit {
    loop {
        match events.next_timeout(LIMIT.0).expect("it is told").expect("the pool goes on") {
            PoolEvent::WorkerGone { exit, .. } if is(&exit) => return exit,
            _ => {}
        }
    }
}

fn failed_start_of(pool: &ProgramPool) -> String {
    exit_of(&mut pool.events(), |exit| matches!(exit, Exit::FailedToStart(_))).to_string()
}

#[test]
fn a_child_that_dies_idle_is_replaced_and_no_job_meets_it() {
    let pool = pool("idle", 1);
    let mut events = pool.events();
    let pid = pids(&pool, 1)[0];
    signal(pid, "KILL");
    until("it is reaped", || !exists(pid));
    assert_eq!(pool.submit_blocking(|n: u32| n, 4).unwrap().join().unwrap(), 4);
    let Exit::Died(death) = exit_of(&mut events, |exit| matches!(exit, Exit::Died(_))) else { unreachable!() };
    assert_eq!((death.pid, &death.cause), (pid, &DeathCause::Signalled(9)));
}

#[test]
#[expect(clippy::print_stderr, reason = "these are its last words")]
fn deaths_are_attributed_with_their_last_words() {
    let options = ChildOptions::new().memory(1 << 30);
    let pool = pool_with("causes", 1, options);
    let run = |job: fn(()) -> u64| failure(pool.submit_blocking(job, ()).unwrap());
    let error = run(|()| {
        eprintln!("so long");
        std::process::abort()
    });
    assert_eq!(death_of(&error), DeathCause::Signalled(6));
    assert!(error.to_string().contains("so long"), "{error}");
    assert_eq!(death_of(&run(|()| std::process::exit(3))), DeathCause::Exited(3));
    assert_eq!(death_of(&run(|()| vec![1_u8; 8 << 30].len() as u64)), DeathCause::OutOfMemory);
    assert_eq!(pool.submit_blocking(|n: u32| n, 4).unwrap().join().unwrap(), 4);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.lost, ledger.completed) == (3, 1), "{ledger}");
}

#[test]
fn processor_time_is_limited() {
    let pool = pool_with("cpu", 1, ChildOptions::new().cpu_time(Duration::from_secs(1)));
    let error = failure(
        pool.submit_blocking(
            |()| -> u64 {
                loop {
                    std::hint::spin_loop()
                }
            },
            (),
        )
        .unwrap(),
    );
    assert_eq!(death_of(&error), DeathCause::OutOfCpuTime);
}

/// It has used next to nothing, so that was somebody else.
#[test]
fn a_child_that_is_killed_with_time_left_was_killed() {
    let pool = pool_with("time-left", 1, ChildOptions::new().cpu_time(Duration::from_secs(1_000)));
    let handle = pool.submit_blocking(sleep_for_ever, ()).unwrap();
    until("it runs", || pool.saturation().active == 1);
    signal(pids(&pool, 1)[0], "KILL");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(9));
}

/// The signal that tells it so is ignored: a second later there is one that cannot be.
#[test]
fn a_program_that_does_not_heed_that_its_time_is_over_is_out_of_it() {
    let options = ChildOptions::new().cpu_time(Duration::from_secs(1));
    let Some(pool) = python_with("tests/process/hostile.py", &["spins"], 1, options) else { return };
    let error = failure(pool.submit_blocking(b"job".to_vec()).unwrap());
    assert_eq!(death_of(&error), DeathCause::OutOfCpuTime);
}

#[test]
fn a_child_that_does_not_come_up_says_why() {
    let pool = ProgramPool::builder("stillborn", "/bin/sh").arg("-c").arg("echo no luck >&2; exit 4");
    let pool = pool.limits(Limits::fixed(1)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("exited with code 4") && reason.contains("no luck"), "{reason}");
    let pool = ProgramPool::builder("silent", "/bin/sh").arg("-c").arg("echo waiting >&2; sleep 100");
    let pool = pool.limits(Limits::fixed(1)).start_limit(Duration::from_secs(5)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("not ready within") && reason.contains("waiting"), "{reason}");
    let pool = ProgramPool::builder("nowhere", "/no/such/program").limits(Limits::fixed(1)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("os error 2"), "{reason}");
}

#[test]
fn a_pool_that_is_dropped_leaves_no_child() {
    let pool = pool("dropped", 2);
    let both = pids(&pool, 2);
    drop(pool);
    until("both are gone", || !both.iter().any(|pid| exists(*pid)));
}

#[test]
fn a_pool_that_is_aborted_has_killed_by_then() {
    let pool = pool("aborted", 1);
    let handle = pool.submit_blocking(sleep_for_ever, ()).unwrap();
    until("it runs", || pool.saturation().active == 1);
    let pid = pids(&pool, 1)[0];
    pool.actor().get_cell().kill();
    assert!(matches!(failure(handle), JobError::Killed(_)));
    until("it is gone", || !exists(pid));
}
