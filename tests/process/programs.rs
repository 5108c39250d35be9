//! Programs of another language, and broken ones.

use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{DeathCause, Exit, JobError, JobOptions, JobStatus, Limits, PoolEvent, PoolExecutor, ProgramPool};

use crate::rig::{exists, failure, open_files, pids, pool, python, python_with, until};

#[test]
fn a_worker_in_another_language_does_its_jobs() {
    let Some(pool) = python("examples/polyglot_worker/worker.py", &[], 2) else { return };
    let ask = |request: &str| pool.submit_blocking(request.as_bytes().to_vec()).unwrap();
    assert_eq!(ask("upper so be it").join().unwrap().unwrap(), b"SO BE IT");
    let failed = ask("fly").join().unwrap().expect_err("it cannot");
    assert_eq!(failed.to_string(), "ValueError: I do not know how to fly");
    assert_eq!(ask("log hello").join().unwrap().unwrap(), b"logged");
    let waits = ask("wait");
    until("it beats", || {
        let rows = pool.inventory_now().workers;
        rows.iter().filter_map(|row| row.job.as_ref()).any(|job| job.last_beat.is_some())
    });
    waits.cancel();
    assert_eq!(waits.join().unwrap().unwrap(), b"cancelled");
    let error = failure(ask("die"));
    assert!(matches!(&error, JobError::Lost(lost) if lost.death.as_ref().unwrap().cause == DeathCause::Signalled(9)));
    assert_eq!(ask("upper again").join().unwrap().unwrap(), b"AGAIN");
    let large = pool.submit_blocking([b"upper ".to_vec(), vec![b'x'; 900_000]].concat()).unwrap();
    assert_eq!(large.join().unwrap().unwrap().len(), 900_000);
    let both = pids(&pool, 2);
    drop(pool);
    until("both have left", || !both.iter().any(|pid| exists(*pid)));
}

#[test]
fn a_worker_in_another_language_cuts_what_it_says() {
    let options = ChildOptions::new().frame_limit(4 << 10);
    let Some(pool) = python_with("examples/polyglot_worker/worker.py", &["brief"], 1, options) else { return };
    let failed = pool.submit_blocking(vec![b'x'; (4 << 10) - 2]).unwrap().join().unwrap().expect_err("it cannot");
    assert!(failed.message.starts_with("ValueError: I do not know how to xxx"), "{failed}");
}

/// A parent that greets it, sends what is no frame, and waits for its end.
const BROKEN_PARENT: &str = r#"
import os, socket, struct, subprocess, sys
ours, theirs = socket.socketpair()
environment = dict(os.environ, MILLPOND_FD=str(theirs.fileno()))
worker = subprocess.Popen([sys.executable, sys.argv[1]], env=environment, pass_fds=[theirs.fileno()], start_new_session=True)
theirs.close()
ours.recv(64)
ours.sendall(struct.pack("<IBBHQHBBIII", 16, 1, 0, 0, 0, 1, 0, 0, 4096, 0, 1))
ours.recv(16, socket.MSG_WAITALL)
ours.sendall(struct.pack("<IBBHQ", 1 << 30, 2, 0, 0, 1))
try:
    print(worker.wait(20))
except subprocess.TimeoutExpired:
    worker.kill()
    print("it goes on")
"#;

#[test]
fn a_worker_in_another_language_exits_when_its_parent_breaks_the_protocol() {
    let worker = format!("{}/examples/polyglot_worker/worker.py", env!("CARGO_MANIFEST_DIR"));
    // A machine without Python tests the rest.
    let Ok(said) = std::process::Command::new("python3").args(["-c", BROKEN_PARENT, &worker]).output() else { return };
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "1", "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn the_inventory_shows_whether_a_job_was_acknowledged() {
    let Some(pool) = python("tests/process/hostile.py", &["reserved"], 1) else { return };
    let job = pool.submit_blocking(b"say nothing until you are asked to stop".to_vec()).unwrap();
    until("it is carried there", || job.status() == JobStatus::Running);
    assert_eq!(pool.inventory_now().workers[0].facts.acknowledged, None);
    let id = job.id();
    job.cancel();
    assert_eq!(job.join().unwrap().unwrap(), b"after all");
    assert_eq!(pool.inventory_now().workers[0].facts.acknowledged, Some(id));
}

/// Children that have children that have children would take the machine.
#[test]
fn a_worker_whose_main_forgot_init_cannot_have_a_pool() {
    let this = std::env::current_exe().expect("it is known");
    let builder =
        ProgramPool::builder("forgetful", this).arg("calls::many_jobs_go_through_few_children").arg("--exact");
    let options = ChildOptions::new().env("MILLPOND_WORKER", "1").env("RUST_BACKTRACE", "0");
    let pool = builder.child(options).limits(Limits::fixed(1)).build().expect("it is built here");
    let mut events = pool.events();
    let exit = loop {
        let event = events.next_timeout(Duration::from_secs(30)).expect("it is told").expect("the pool goes on");
        if let PoolEvent::WorkerGone { exit: Exit::FailedToStart(why), .. } = event {
            break format!("{why:?}");
        }
    };
    assert!(exit.contains("exited with code 101"), "{exit}");
}

/// A program may be one that is a worker if it is told so, and this one is told nothing of the kind.
#[test]
fn a_program_that_a_worker_starts_is_not_told_that_it_is_a_worker_of_this_executable() {
    let pool = pool("outer", 1);
    let started = |()| {
        let says = r#"echo "told [$MILLPOND_WORKER], and a socket: [${MILLPOND_FD:+yes}]" >&2; exit 3"#;
        let inner = ProgramPool::builder("inner", "/bin/sh").arg("-c").arg(says);
        let inner = inner.limits(Limits::fixed(1)).build().expect("it is built");
        let mut said = String::new();
        until("it is told", || {
            said = format!("{:?}", inner.snapshot().health);
            said.contains("told [")
        });
        said
    };
    let said = pool.submit_blocking(started, ()).unwrap().join().unwrap();
    assert!(said.contains("told [], and a socket: [yes]"), "{said}");
}

/// Each costs its own job and itself, with what it did as the reason.
#[track_caller]
fn costs_its_job_and_itself(cases: &[(&str, &str)]) {
    for (how, words) in cases {
        let Some(pool) = python("tests/process/hostile.py", &[how], 1) else { return };
        let pid = pids(&pool, 1)[0];
        let error = failure(pool.submit_blocking(b"job".to_vec()).unwrap());
        let JobError::Lost(lost) = &error else { panic!("{how}: {error}") };
        assert!(lost.death.is_some() && error.to_string().contains(words), "{how}: {error}");
        until("it is gone", || !exists(pid));
        assert_eq!(open_files(&format!("python-{how}")), 0, "{how}");
        assert!(pool.snapshot().ledger.balances());
    }
}

#[test]
fn a_worker_that_breaks_the_protocol_costs_its_job_and_itself() {
    costs_its_job_and_itself(&[
        ("garbage", "broke the protocol"),
        ("gigabytes", "a frame of 4294967295 bytes, where 1048576 are allowed"),
        ("other", "it sent Result about job"),
        ("parents", "it sent Job about job"),
        ("malformed", "a FAILURE frame whose body is not one"),
        ("bodied", "a Beat frame with a body of 3 bytes, where there is none"),
        ("flagged", "a frame header that is not zero where it should be"),
        ("closes", "broke the protocol: it closed its socket and lived on"),
    ]);
}

/// Whatever it does with a memory file: no descriptor of it is left here.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_misuses_memory_files_costs_its_job_and_itself() {
    costs_its_job_and_itself(&[
        ("memory-unsealed", "a payload in a file that is not sealed memory"),
        ("memory-shrinks", "a payload in a file that is not sealed memory"),
        ("memory-writable", "a payload in a file that is not sealed memory"),
        ("memory-socket", "a payload in a file that is not sealed memory"),
        ("memory-none", "a frame that speaks of a descriptor, which did not come"),
        ("memory-two", "more than one descriptor"),
        ("memory-many", "more than one descriptor"),
        ("memory-stray", "a descriptor that belongs to no frame"),
        ("memory-wrong", "a payload in a file of 10 bytes, where it said 11"),
        ("memory-vast", "a payload of 1099511627776 bytes in a file, where 1048576 are allowed"),
        ("memory-large", "a payload of 1048577 bytes in a file, where 1048576 are allowed"),
        ("memory-beat", "a frame header that is not zero where it should be"),
        ("unasked-flag", "a frame header that is not zero where it should be"),
        ("memory-malformed", "a JOB or RESULT frame whose body is not one"),
        ("memory-half", "SIGKILL"),
    ]);
}

/// It may, as it has said that it can. One that has not may send what it likes: the system closes it.
#[test]
#[cfg(target_os = "linux")]
fn a_program_that_can_is_sent_payloads_by_memory_and_may_answer_so() {
    let Some(pool) = python("tests/process/hostile.py", &["memory-echo"], 1) else { return };
    let before = pids(&pool, 1);
    for length in [(512 << 10) - 1, 1_000_000, (1 << 20) - 2] {
        let request: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        assert!(pool.submit_blocking(request.clone()).unwrap().join().unwrap().unwrap() == request);
    }
    assert_eq!((pids(&pool, 1), open_files("python-memory-echo")), (before, 0));
    let Some(pool) = python("tests/process/hostile.py", &["unasked"], 1) else { return };
    assert_eq!(pool.submit_blocking(b"job".to_vec()).unwrap().join().unwrap().unwrap(), b"as ever");
    assert_eq!(open_files("python-unasked"), 0);
}

/// What it wrote before it died counts, and so does what it sent along.
#[test]
#[cfg(target_os = "linux")]
fn an_answer_by_memory_outlives_who_gave_it() {
    let Some(pool) = python("tests/process/hostile.py", &["memory-last"], 1) else { return };
    assert_eq!(pool.submit_blocking(b"job".to_vec()).unwrap().join().unwrap().unwrap(), b"last words");
    assert_eq!(open_files("python-memory-last"), 0);
}

#[test]
fn half_a_frame_and_silence_end_by_the_jobs_own_limit() {
    let Some(pool) = python("tests/process/hostile.py", &["half"], 1) else { return };
    pids(&pool, 1);
    let options = JobOptions::new().run_limit(Duration::from_millis(100));
    let error = failure(pool.with(options).submit_blocking(b"job".to_vec()).unwrap());
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
}

#[test]
fn a_flood_is_read_and_bounded() {
    for how in ["beats", "logs", "prints"] {
        let Some(pool) = python("tests/process/hostile.py", &[how], 1) else { return };
        let answer = pool.submit_blocking(b"job".to_vec()).unwrap().join().unwrap().unwrap();
        assert_eq!(answer, b"after a flood", "{how}");
    }
}

/// However one of them behaves, the other serves on.
#[test]
fn a_hostile_worker_is_nothing_to_the_other_one_of_its_pool() {
    for how in ["garbage", "beats", "logs", "prints"] {
        let Some(pool) = python("tests/process/hostile.py", &[how], 2) else { return };
        let before = pids(&pool, 2);
        let hostile = pool.submit_blocking(b"job".to_vec()).unwrap();
        for _ in 0..20 {
            let good = pool.submit_blocking(b"be good".to_vec()).unwrap();
            assert_eq!(good.join().unwrap().unwrap(), b"as you like", "{how}");
        }
        match hostile.join() {
            Ok(answer) => assert_eq!(answer.unwrap(), b"after a flood", "{how}"),
            Err(error) => assert!(how == "garbage" && error.to_string().contains("broke the protocol"), "{error}"),
        }
        let stay = if how == "garbage" { 1 } else { 2 };
        until("whoever has to go is gone", || before.iter().filter(|pid| exists(**pid)).count() <= stay);
        assert_eq!(before.iter().filter(|pid| exists(**pid)).count(), stay, "{how}");
        assert!(pool.snapshot().ledger.balances());
    }
}

/// The first answer counts; the second is about a job that it does not hold any more.
#[test]
fn a_second_answer_costs_the_worker_and_no_job() {
    let Some(pool) = python("tests/process/hostile.py", &["twice"], 1) else { return };
    let pid = pids(&pool, 1)[0];
    assert_eq!(pool.submit_blocking(b"job".to_vec()).unwrap().join().unwrap().unwrap(), b"once");
    until("it is gone", || !exists(pid));
}

#[test]
fn a_worker_that_is_wrong_from_the_start_never_comes_up() {
    for (how, words) in [
        ("stranger", "a HELLO frame whose body is not one"),
        ("vague", "a HELLO frame whose body is not one"),
        ("version", "it speaks version 9"),
        ("eager", "before it was ready"),
        // Whatever the pool's limit is, until it is ready it has 4 KiB.
        ("wordy", "a frame of 4097 bytes, where 4096 are allowed"),
        ("chatty", "a frame of 4097 bytes, where 4096 are allowed"),
    ] {
        let Some(pool) = python("tests/process/hostile.py", &[how], 1) else { return };
        let mut said = String::new();
        let words_are_there = |said: &str| said.contains(words);
        until("it is told", || {
            said = format!("{:?}", pool.snapshot().health);
            words_are_there(&said)
        });
    }
}
