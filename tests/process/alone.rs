//! What takes a process of its own, since it is about something that all of one shares: its signals, its descriptors.

use std::fs::File;
use std::process::Command;

use millpond::process::ChildOptions;
use millpond::{DeathCause, JobError, PoolExecutor, TransferFault};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::rig::{Marks, death_of, failure, mark, pids, pool, pool_with, signal, until};

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

/// Signals of a line of the status of this thread, a bit each. The main thread of a child of tests may be starting the one that is asked, with all blocked.
fn signals(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("there is /proc");
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

/// More than what goes by the socket.
const LARGE: usize = 1 << 20;

/// In a child: takes as long as there is a file of that name.
fn large_after(file: String) -> Vec<u8> {
    until("it may go on", || !std::path::Path::new(&file).exists());
    vec![7; LARGE]
}

/// Opens as much as this process may have open.
fn all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn an_answer_that_there_is_no_descriptor_for_is_its_jobs_error_and_the_worker_goes_on() {
    if !is_alone("an_answer_that_there_is_no_descriptor_for_is_its_jobs_error_and_the_worker_goes_on", &[]) {
        return;
    }
    let (pool, marks) = (pool("no-room-here", 1), Marks::new("no-room-here"));
    let before = pids(&pool, 1);
    mark(&marks.path());
    let handle = pool.submit_blocking(large_after, marks.path()).unwrap();
    until("it runs", || pool.saturation().active == 1);
    let most = Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, most).expect("less is always allowed");
    let all = all_descriptors();
    std::fs::remove_file(marks.path()).expect("it is there");
    let error = failure(handle);
    drop(all);
    let JobError::Transfer(failed) = &error else { panic!("{error}") };
    assert!(
        matches!(&failed.fault, TransferFault::ResultUnknown(why) if why.contains("as many descriptors")),
        "{error}"
    );
    assert_eq!(pool.submit_blocking(large_after, marks.path()).unwrap().join().unwrap().len(), LARGE);
    assert_eq!(pids(&pool, 1), before, "the worker goes on");
}

/// What a child holds from one job to the next.
static HELD: parking_lot::Mutex<Vec<File>> = parking_lot::const_mutex(Vec::new());

/// The child has a process of its own in any case.
#[test]
fn arguments_that_their_child_has_no_descriptor_for_are_their_jobs_error_and_the_worker_goes_on() {
    let pool = pool_with("no-room-there", 1, ChildOptions::new().open_files(64));
    let before = pids(&pool, 1);
    let length = |bytes: Vec<u8>| bytes.len();
    pool.submit_blocking(|()| *HELD.lock() = all_descriptors(), ()).unwrap().join().unwrap();
    let error = failure(pool.submit_blocking(length, vec![7; LARGE]).unwrap());
    let JobError::Transfer(failed) = &error else { panic!("{error}") };
    let fault = &failed.fault;
    assert!(matches!(fault, TransferFault::ArgumentsUnknown(why) if why.contains("as many descriptors")), "{error}");
    pool.submit_blocking(|()| HELD.lock().clear(), ()).unwrap().join().unwrap();
    assert_eq!(pool.submit_blocking(length, vec![7; LARGE]).unwrap().join().unwrap(), LARGE);
    assert_eq!(pids(&pool, 1), before, "the worker goes on");
}
