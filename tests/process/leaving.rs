//! Children that are told to leave, and children that are to be killed while nobody listens.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{Fate, JobId, Ladder, Limits, PoolExecutor, Rung, Select, TimeLimit};
use serde::{Deserialize, Serialize};

use crate::rig::{Marks, builder, exists, mark, pids, pool, pool_with, python, python_with, runs, signal, until};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

fn stop() -> Ladder {
    Ladder::new().then(Rung::Stop, LIMIT.0)
}

/// Its job ends only once it is told; whatever it hears after that, it would mark.
#[test]
fn a_stop_reaches_a_program_that_has_a_job() {
    let Some(pool) = python("tests/process/hostile.py", &["polite"], 1) else { return };
    let marks = Marks::new("polite");
    let handle = pool.submit_blocking(marks.path().into_bytes()).unwrap();
    until("it has the job", || !marks.pids().is_empty());
    let pid = marks.pids()[0];
    let report = pool.blocking().terminate(Select::Job(handle.id()), stop(), LIMIT).unwrap();
    assert_eq!(report.targets[0].fate, Fate::Stopped, "{report}");
    assert_eq!(handle.join().unwrap().unwrap(), b"told 4", "it is STOP");
    assert!(!exists(pid));
    assert_eq!(marks.pids().len(), 1, "it was told once");
    assert!(!pids(&pool, 1).contains(&pid), "and its slot has another");
}

#[test]
fn a_child_that_is_told_to_stop_leaves_after_its_job() {
    let (pool, marks) = (pool("told", 1), Marks::new("told"));
    let pid = pids(&pool, 1)[0];
    let job = |path: String| {
        mark(&path);
        // Until the test has said so, which it does by a second line.
        while std::fs::read_to_string(&path).is_ok_and(|marks| marks.lines().count() < 2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::process::id()
    };
    let handle = pool.submit_blocking(job, marks.path()).unwrap();
    until("it runs", || !marks.pids().is_empty());
    let report = std::thread::scope(|scope| {
        let told = std::thread::Builder::new()
            .spawn_scoped(scope, || pool.blocking().terminate(Select::Job(handle.id()), stop(), LIMIT));
        until("it is condemned", || {
            pool.inventory_now().workers.iter().any(|row| format!("{}", row.state) == "condemned")
        });
        mark(&marks.path());
        told.unwrap().join().unwrap().unwrap()
    });
    assert_eq!(report.targets[0].fate, Fate::Stopped, "{report}");
    assert_eq!(handle.join().unwrap(), pid, "it has done its job");
    assert!(!exists(pid));
}

/// It says something all the time, so the time that it has to leave has to be looked at whatever comes; and it does not heed SIGTERM.
#[test]
fn a_program_that_floods_instead_of_leaving_is_killed() {
    let options = ChildOptions::new().leave_grace(Duration::from_millis(20)).term_grace(Duration::from_millis(20));
    let Some(pool) = python_with("tests/process/hostile.py", &["floods"], 1, options) else { return };
    let pid = pids(&pool, 1)[0];
    let worker = pool.inventory_now().workers[0].worker;
    let report = pool.blocking().terminate(Select::worker(worker), stop(), LIMIT).unwrap();
    assert_eq!(report.targets[0].fate, Fate::Stopped, "{report}");
    assert!(!exists(pid));
}

static OPEN: AtomicBool = AtomicBool::new(false);
static READING: AtomicBool = AtomicBool::new(false);

/// Takes as long to be read as the test likes.
#[derive(Debug, Serialize)]
struct Slow;

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        READING.store(true, Ordering::SeqCst);
        until("it is let through", || OPEN.load(Ordering::SeqCst));
        <()>::deserialize(from).map(|()| Self)
    }
}

/// The thread that looks after the child reads its answer, and sends no signal meanwhile. Somebody else does.
#[test]
fn a_kill_is_seen_through_while_an_answer_is_read() {
    let (pool, marks) =
        (pool_with("reads", 1, ChildOptions::new().term_grace(Duration::from_millis(20))), Marks::new("reads"));
    let leaves_a_child = |path: String| {
        // It outlives its job, and SIGTERM.
        let script = format!("trap '' TERM; echo $$ >> {path}; while :; do sleep 1; done");
        #[expect(clippy::zombie_processes, reason = "that is the point")]
        let _ = Command::new("/bin/sh").arg("-c").arg(script).spawn().expect("there is a shell");
        until("it ignores SIGTERM", || std::fs::read_to_string(&path).is_ok_and(|marks| marks.ends_with('\n')));
        Slow
    };
    let handle = pool.submit_blocking(leaves_a_child, marks.path()).unwrap();
    until("its answer is read", || READING.load(Ordering::SeqCst));
    let grandchild = marks.pids()[0];
    assert!(runs(grandchild));
    std::thread::scope(|scope| {
        let kill = std::thread::Builder::new()
            .spawn_scoped(scope, || pool.blocking().terminate(Select::Job(handle.id()), Ladder::kill(), LIMIT));
        until("it is gone", || !runs(grandchild));
        OPEN.store(true, Ordering::SeqCst);
        kill.unwrap().join().unwrap().unwrap();
    });
    match handle.join() {
        Ok(Slow) => {}
        Err(error) => assert!(error.to_string().contains("killed"), "{error}"),
    }
}

/// A ladder is the caller's, and not refused for what it leaves a child. They stand still, and so do not die of SIGTERM.
#[test]
fn a_ladder_that_gives_less_than_a_child_may_take_gives_it_up_and_one_that_kills_twice_ends_it() {
    // Longer than anybody here waits: what ends one is not that it is over.
    let (grace, moment) = (10 * LIMIT.0, Duration::from_millis(10));
    let options = ChildOptions::new().term_grace(grace);
    let pool = builder("impatient").limits(Limits::fixed(2)).child(options).kill_grace(2 * grace).build().unwrap();
    let both = pids(&pool, 2);
    let endless = |()| -> u32 {
        loop {
            std::thread::park();
        }
    };
    let jobs = [(), ()].map(|()| pool.submit_blocking(endless, ()).unwrap());
    until("both run", || pool.saturation().active == 2);
    both.iter().for_each(|pid| signal(*pid, "STOP"));
    let holder_of = |job: JobId| {
        let rows = pool.inventory_now().workers;
        rows.iter().find(|row| row.job.as_ref().is_some_and(|held| held.id == job)).and_then(|row| row.facts.pid)
    };
    let [(given_up, lives), (ended, dies)] = jobs.map(|job| {
        let pid = holder_of(job.id()).expect("it runs");
        (job, pid)
    });
    let once = Ladder::new().then(Rung::Kill, moment);
    let report = pool.blocking().terminate(Select::Job(given_up.id()), once.clone(), LIMIT).unwrap();
    assert_eq!(report.targets[0].fate, Fate::Abandoned, "{report}");
    assert!(runs(lives), "it has its grace");
    let report = pool.blocking().terminate(Select::Job(ended.id()), once.then(Rung::Kill, LIMIT.0), LIMIT).unwrap();
    assert_eq!(report.targets[0].fate, Fate::Killed, "{report}");
    assert!(!exists(dies));
    // The end of the pool takes the other one.
    drop(pool);
    until("nothing is left", || !exists(lives));
}

/// Run as root, it says what became of the child; run as anybody else, that it is refused.
#[test]
fn a_child_runs_as_the_user_and_group_that_are_set() {
    const NOBODY: u32 = 65_534;
    let is_root = status("Uid:") == [0; 4];
    let options = ChildOptions::new().user(NOBODY).group(NOBODY - 1);
    let pool = pool_with("nobody", 1, options);
    if is_root {
        let ids = pool.submit_blocking(|()| (status("Uid:"), status("Gid:"), status("Groups:")), ()).unwrap().join();
        let (user, group, groups) = ids.unwrap();
        assert_eq!((user, group), (vec![NOBODY; 4], vec![NOBODY - 1; 4]), "real, effective, saved, and of files");
        assert!(!groups.contains(&0), "and none of root's groups is left to it: {groups:?}");
    } else {
        let mut said = String::new();
        until("it is refused", || {
            said = format!("{:?}", pool.snapshot().health);
            said.contains("PermissionDenied") || said.contains("os error 1")
        });
    }
}

/// To be less nice takes privileges, which a child of another user has no more.
#[test]
fn a_child_of_another_user_can_be_less_nice_than_its_parent() {
    let said = Command::new("nice").args(["-n", "-5", "nice"]).output().expect("there is a `nice`");
    if status("Uid:") != [0; 4] || String::from_utf8_lossy(&said.stdout).trim() != "-5" {
        // Nobody here has them.
        return;
    }
    let pool = pool_with("less-nice", 1, ChildOptions::new().user(65_534).nice(-5));
    let look = |()| {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("there is /proc");
        let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).expect("it is there");
        (nice.to_owned(), status("Uid:"))
    };
    let mut handle = pool.submit_blocking(look, ()).unwrap();
    let (nice, user) = handle.join_timeout(LIMIT.0).expect("there is a child");
    assert_eq!((nice.as_str(), user), ("-5", vec![65_534; 4]));
}

/// Numbers of a line of this process's status.
fn status(line: &str) -> Vec<u32> {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("it is there");
    line.split_whitespace().map(|id| id.parse().expect("a number")).collect()
}
