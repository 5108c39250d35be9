//! The parent is killed, also while it spawns: nothing survives it.

use std::process::{Child, Command};
use std::time::Duration;

use millpond::{Ladder, Select, TimeLimit};

use crate::rig::{pool, processes, until};

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

fn start(mark: &str) -> Child {
    let exe = std::env::current_exe().expect("it is known");
    let mut command = Command::new(exe);
    command.args(["orphans::victim", "--exact", "--nocapture"]).env(VICTIM, mark).stdout(std::process::Stdio::null());
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
        let mut victim = start(&mark);
        until("it has children", || marked(&mark).len() > 2);
        std::thread::sleep(Duration::from_millis(7 * round));
        victim.kill().expect("it runs");
        victim.wait().expect("it was killed");
        until("nothing of it is left", || marked(&mark).is_empty());
    }
}
