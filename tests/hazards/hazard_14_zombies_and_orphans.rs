//! What is killed leaves grandchildren, zombies and descriptors; what kills dies itself: claude-mem#1325, cpython#111873, gt4py#2870.
//!
//! A grandchild ignores SIGTERM: the group is gone, and the child reaped, before the slot is used again. Ten thousand kills leave no defunct process. The parent
//! is killed, also while it spawns: nothing survives it. (What a program of another kind has started may: `docs/protocol.md`.)

use std::process::{Child, Command};
use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{JobError, Ladder, Limits, PoolExecutor, ProgramPool, Select, TimeLimit};

use crate::children::{exists, failure, patient_kill, pids, pool, runs, until};
use crate::patience::scaled;

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

fn sleep_for_ever(_: ()) {
    std::thread::sleep(Duration::from_secs(3_600));
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
    let report = pool.blocking().terminate(Select::Job(handle.id()), patient_kill(), LIMIT).unwrap();
    assert!(report.to_string().contains("killed") || format!("{report:?}").contains("Killed"), "{report:?}");
    assert!(matches!(failure(handle), JobError::Killed(_)));
    assert!(!exists(child) && !runs(grandchild), "both are gone before the outcome is there");
    assert_eq!(pool.submit_blocking(|n: u32| n, 4).unwrap().join().unwrap(), 4);
}

/// Ten thousand at full length. In a process of its own, where no other test opens any.
#[test]
fn kills_leave_no_zombie_and_no_descriptor() {
    if std::env::var_os(VICTIM).is_none() {
        let mut alone = start("kills_leave_no_zombie_and_no_descriptor", &format!("{}-kills", std::process::id()));
        assert!(alone.wait().expect("it runs").success(), "it has said why");
        return;
    }
    let kills = usize::try_from(scaled(Duration::from_millis(10_000)).as_millis()).expect("not so many");
    let pool = pool("kills", 2);
    pids(&pool, 2);
    let before = descriptors();
    for n in 0..kills {
        let handle = pool.submit_blocking(sleep_for_ever, ()).unwrap();
        until("it runs", || pool.saturation().active > 0);
        let report = pool.blocking().terminate(Select::Job(handle.id()), patient_kill(), LIMIT);
        drop(report.unwrap());
        assert!(matches!(failure(handle), JobError::Killed(_)), "kill {n}");
    }
    pids(&pool, 2);
    // A look at a worker's files may have one open for a moment.
    until("there are no more than before", || descriptors() <= before);
    until("nothing is defunct", || zombies().is_empty());
}

const VICTIM: &str = "MILLPOND_TEST_VICTIM";

/// A parent that does nothing but start children, give them grandchildren, and have them killed. A test of its own process alone.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let pool = pool("victim", 3);
    loop {
        let grandchild = |()| drop(Command::new("/bin/sleep").arg("1000").spawn().unwrap().wait());
        let handle = pool.submit_blocking(grandchild, ()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        // It may be over: then there is nobody to kill.
        let _ = pool.blocking().terminate(Select::Job(handle.id()), Ladder::kill(), TimeLimit(Duration::from_secs(30)));
    }
}

/// A parent of a program that hears of nothing, and runs as another user if it can.
#[test]
fn victim_with_a_program() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let options =
        if rustix::process::getuid().is_root() { ChildOptions::new().user(65_534) } else { ChildOptions::new() };
    let pool = ProgramPool::builder("victim", "/bin/sleep").arg("1000").child(options).limits(Limits::fixed(1));
    let _pool = pool.build().expect("it is built");
    loop {
        std::thread::park();
    }
}

fn start(test: &str, mark: &str) -> Child {
    let exe = std::env::current_exe().expect("it is known");
    let mut command = Command::new(exe);
    command
        .args([&format!("hazard_14_zombies_and_orphans::{test}"), "--exact", "--nocapture"])
        .env(VICTIM, mark)
        .stdout(std::process::Stdio::null());
    command.spawn().expect("it starts")
}

/// Processes whose environment has the mark; it is passed on to all that are started.
fn marked(mark: &str) -> Vec<u32> {
    let mark = format!("{VICTIM}={mark}");
    let mut found = processes();
    found.retain(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    });
    found
}

#[test]
fn nothing_survives_a_parent_that_is_killed_while_it_spawns() {
    for round in 0_u64..12 {
        let mark = format!("{}-{round}", std::process::id());
        let mut victim = start("victim", &mark);
        until("it has children", || marked(&mark).len() > 2);
        std::thread::sleep(Duration::from_millis(7 * round));
        victim.kill().expect("it runs");
        victim.wait().expect("it was killed");
        until("nothing of it is left", || marked(&mark).is_empty());
    }
}

/// A change of the user forgets what was asked of the system for a parent's death before it.
#[test]
fn a_program_of_another_user_does_not_survive_its_parent() {
    let mark = format!("{}-program", std::process::id());
    let mut victim = start("victim_with_a_program", &mark);
    let is_program = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("/bin/sleep"))
    };
    let mut program = None;
    until("it has a child", || {
        program = marked(&mark).into_iter().find(is_program);
        program.is_some()
    });
    victim.kill().expect("it runs");
    victim.wait().expect("it was killed");
    until("its child is gone", || !program.is_some_and(runs));
}

/// Zombies among this process's children.
fn zombies() -> Vec<u32> {
    let me = std::process::id();
    let mut zombies = processes();
    zombies.retain(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        words.next() == Some("Z") && words.next() == Some(&me.to_string())
    });
    zombies
}

/// Every process.
fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("there is /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("there is /proc").count()
}
