//! What takes a process of its own, since it is about something that all of one shares.

use std::process::Command;

use millpond::{DeathCause, PoolExecutor};

use crate::rig::{death_of, failure, pids, pool, signal, until};

/// Says to a process for which test it is there.
const ALONE: &str = "MILLPOND_TEST_ALONE";

/// True in the process that is there for this test. Elsewhere it starts one, by what is named, and has it pass.
fn is_alone(test: &str, by: &[&str]) -> bool {
    if std::env::var(ALONE).is_ok_and(|alone| alone == test) {
        return true;
    }
    let own = std::env::current_exe().expect("it is known");
    let mut command = match by {
        [] => Command::new(own),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(own);
            command
        }
    };
    let test_of_it = format!("alone::{test}");
    let done = command.args([&test_of_it, "--exact", "--nocapture"]).env(ALONE, test).output().expect("it starts");
    let (printed, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && printed.contains("1 passed"), "{printed}{complained}");
    false
}

/// Signals of a line of this process's status, a bit each.
fn signals(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("it is there");
    u64::from_str_radix(found.trim(), 16).expect("a number")
}

/// A service that takes its signals by `sigwait` blocks them before it does anything else.
#[test]
fn children_hear_what_their_parent_blocks_or_ignores() {
    let deaf = ["env", "--block-signal=TERM,XCPU", "--ignore-signal=TERM,XCPU"];
    let can = Command::new(deaf[0]).args(&deaf[1..]).arg("true").output();
    // A machine that has another `env` tests the rest.
    if !can.is_ok_and(|can| can.status.success())
        || !is_alone("children_hear_what_their_parent_blocks_or_ignores", &deaf)
    {
        return;
    }
    const BOTH: u64 = 1 << (libc::SIGTERM - 1) | 1 << (libc::SIGXCPU - 1);
    assert_eq!((signals("SigBlk:") & BOTH, signals("SigIgn:") & BOTH), (BOTH, BOTH), "here neither is heard");
    let pool = pool("hears", 1);
    let there = pool.submit_blocking(|()| (signals("SigBlk:"), signals("SigIgn:")), ()).unwrap().join().unwrap();
    assert_eq!((there.0, there.1 & BOTH), (0, 0));
    let handle = pool.submit_blocking(|()| std::thread::sleep(std::time::Duration::from_secs(3_600)), ()).unwrap();
    until("it runs", || pool.saturation().active == 1);
    signal(pids(&pool, 1)[0], "TERM");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(libc::SIGTERM));
}
