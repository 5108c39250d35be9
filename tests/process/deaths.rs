//! Children that die, at every stage, and what is said of it.

use std::time::{Duration, Instant};

use millpond::process::ChildOptions;
use millpond::{
    DeathCause, EventStream, Exit, JobError, Ladder, Limits, PoolEvent, PoolExecutor, ProgramPool, Select, TimeLimit,
};

use crate::rig::{builder, descriptors, exists, failure, pids, pool, pool_with, signal, until, zombies};

/// "Within a second", with what a busy machine may add.
const SOON: Duration = Duration::from_secs(10);
const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));
const LARGE: usize = 100 << 20;

fn sleep_for_ever(_: ()) {
    std::thread::sleep(Duration::from_secs(3_600));
}

fn death_of(error: &JobError) -> DeathCause {
    let JobError::Lost(lost) = error else { panic!("{error}") };
    lost.death.as_ref().unwrap_or_else(|| panic!("{error}")).cause.clone()
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
    signal(pid.expect("it was found"), "KILL");
    match handle.join() {
        Ok(n) => assert_eq!(n, 5),
        Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
    }
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
    let pool = pool_with("half-sent", 2, ChildOptions::new().frame_limit(256 << 20));
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

#[test]
fn a_child_that_is_killed_while_it_answers_has_answered_or_not() {
    let pool = pool_with("half-answered", 2, ChildOptions::new().frame_limit(256 << 20));
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

#[test]
fn a_child_that_does_not_come_up_says_why() {
    let pool = ProgramPool::builder("stillborn", "/bin/sh").arg("-c").arg("echo no luck >&2; exit 4");
    let pool = pool.limits(Limits::fixed(1)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("exited with code 4") && reason.contains("no luck"), "{reason}");
    let pool = ProgramPool::builder("silent", "/bin/sh").arg("-c").arg("echo waiting >&2; sleep 100");
    let pool = pool.limits(Limits::fixed(1)).start_limit(Duration::from_secs(1)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("not ready within") && reason.contains("waiting"), "{reason}");
    let pool = ProgramPool::builder("nowhere", "/no/such/program").limits(Limits::fixed(1)).build().unwrap();
    let reason = failed_start_of(&pool);
    assert!(reason.contains("os error 2"), "{reason}");
}

#[test]
fn a_kill_takes_a_child_that_ignores_sigterm_and_its_grandchild() {
    let pool = pool("group", 1);
    let marker = std::env::temp_dir().join(format!("millpond-grandchild-{}", std::process::id()));
    let handle = pool.submit_blocking(
        |marker: std::path::PathBuf| {
            let script =
                format!("trap '' TERM; echo $$ > {}.new; mv {0}.new {0}; while :; do sleep 1; done", marker.display());
            let mut shell = std::process::Command::new("/bin/sh").arg("-c").arg(script).spawn().unwrap();
            shell.wait().unwrap();
        },
        marker.clone(),
    );
    let handle = handle.unwrap();
    until("the grandchild is there", || marker.exists());
    let grandchild: u32 = std::fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    std::fs::remove_file(&marker).unwrap();
    let child = pids(&pool, 1)[0];
    let report = pool.blocking().terminate(Select::Job(handle.id()), Ladder::kill(), LIMIT).unwrap();
    assert!(report.to_string().contains("killed") || format!("{report:?}").contains("Killed"), "{report:?}");
    assert!(matches!(failure(handle), JobError::Killed(_)));
    assert!(!exists(child) && !runs(grandchild), "both are gone before the outcome is there");
    assert_eq!(pool.submit_blocking(|n: u32| n, 4).unwrap().join().unwrap(), 4);
}

/// A zombie that its new parent has not reaped runs no more.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().next().is_some_and(|state| state != "Z")
}

/// As many as `MILLPOND_KILLS` says; ten thousand take some minutes.
#[test]
fn kills_leave_no_zombie_and_no_descriptor() {
    let kills: usize = std::env::var("MILLPOND_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let pool = pool("kills", 2);
    pids(&pool, 2);
    let before = descriptors();
    for n in 0..kills {
        let handle = pool.submit_blocking(sleep_for_ever, ()).unwrap();
        until("it runs", || pool.saturation().active > 0);
        let report = pool.blocking().terminate(Select::Job(handle.id()), Ladder::kill(), LIMIT);
        drop(report.unwrap());
        assert!(matches!(failure(handle), JobError::Killed(_)), "kill {n}");
    }
    pids(&pool, 2);
    // Other tests of this process come and go meanwhile: what is leaked is there for each kill.
    assert!(descriptors() < before + kills / 2 + 40, "{} after {before}", descriptors());
    until("nothing is defunct", || zombies().is_empty());
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
