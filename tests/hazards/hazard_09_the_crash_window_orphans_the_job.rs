//! A child dies at the worst moment, and the job hangs, or everybody's fails: cpython#94777, cpython#105829, pebble#163.
//!
//! It is killed before its start is over, during its job, after dispatch and before it has acknowledged, between jobs that it was handed together, and in the middle of
//! 100 MB either way. Every handle resolves, with one attributed outcome, and siblings do not notice: while the large ones are under way, one is busy beside them from
//! before the kill until after it. What goes by memory files is written in `process::large`, byte for byte; here both ways are tried with the same kills.

use std::time::{Duration, Instant};

use millpond::process::ChildOptions;
use millpond::{
    DeathCause, Exit, JobError, JobHandle, JobId, JoinError, Limits, PoolExecutor, ProcessPool, Restart, RestartPolicy,
    Select, SlotHistory, TimeLimit, Timestamp,
};

use crate::children::{
    Marks, builder, death_of, exists, failure, mark, patient_kill, pids, pool, pool_with, python, python_with, signal,
    state_of, until,
};
use crate::patience::{Noise, scaled};

/// "Within a second", with what a busy machine may add.
const SOON: Duration = Duration::from_secs(10);
const LARGE: usize = 100 << 20;

fn sleep_for_ever(_: ()) {
    std::thread::sleep(Duration::from_secs(3_600));
}

/// Stops a process, and waits until all of its threads stand still: the signal alone lets each run on for a while.
#[track_caller]
fn freeze(pid: u32) {
    signal(pid, "STOP");
    until("it stands still", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
        let threads = threads.map(|thread| thread.expect("it is listed").file_name().into_string().expect("a number"));
        threads.into_iter().all(|thread| state_of(format!("{pid}/task/{thread}")).as_deref() == Some("T"))
    });
}

/// The child that has this job in hand.
fn holder_of(pool: &dyn PoolExecutor, job: JobId) -> Option<u32> {
    let rows = pool.inventory_now().workers;
    rows.iter().find(|row| row.job.as_ref().is_some_and(|held| held.id == job)).and_then(|row| row.facts.pid)
}

/// A child that is busy until it is told, beside one that is killed.
struct Sibling<T: 'static> {
    pid: u32,
    told: Marks,
    handle: JobHandle<T>,
}

impl<T: std::fmt::Debug + 'static> Sibling<T> {
    /// Has that job, which ends once `told` is there.
    #[track_caller]
    fn of(pool: &dyn PoolExecutor, told: Marks, handle: JobHandle<T>) -> Self {
        let mut pid = None;
        until("it is busy", || {
            pid = holder_of(pool, handle.id());
            pid.is_some()
        });
        Self { pid: pid.expect("it was found"), told, handle }
    }

    /// The one other child, once it is up.
    #[track_caller]
    fn other(&self, pool: &dyn PoolExecutor) -> u32 {
        let both = pids(pool, 2);
        assert!(both.contains(&self.pid), "{} is not among {both:?}", self.pid);
        both[usize::from(both[0] == self.pid)]
    }

    /// It has its job still, and ends it in the process in which it began. What it says.
    #[track_caller]
    fn has_not_noticed(self, pool: &dyn PoolExecutor) -> T {
        assert_eq!(holder_of(pool, self.handle.id()), Some(self.pid));
        mark(&self.told.path());
        let said = self.handle.join().expect("nothing has happened to it");
        let up = pool.inventory_now().workers;
        assert!(up.iter().any(|row| row.facts.pid == Some(self.pid)), "it goes on");
        said
    }
}

fn sibling(pool: &ProcessPool, name: &str) -> Sibling<u32> {
    let told = Marks::new(name);
    let busy = |path: String| {
        while !std::path::Path::new(&path).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::process::id()
    };
    let handle = pool.submit_blocking(busy, told.path()).unwrap();
    Sibling::of(pool, told, handle)
}

#[track_caller]
fn assert_has_not_noticed(sibling: Sibling<u32>, pool: &ProcessPool) {
    let pid = sibling.pid;
    assert_eq!(sibling.has_not_noticed(pool), pid);
}

#[test]
fn a_child_that_is_killed_during_its_job_costs_that_job_alone() {
    let pool = pool("during", 2);
    let both = pids(&pool, 2);
    let marks = Marks::new("during");
    let sibling = pool.submit_blocking(
        |path: String| {
            until("the other one is lost", || std::path::Path::new(&path).exists());
            std::process::id()
        },
        marks.path(),
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
    mark(&marks.path());
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

/// A program, as one of this executable says that it has begun together with its answer. That it has read all of its job, it tells in a file.
#[test]
fn a_child_that_is_killed_between_dispatch_and_acknowledgement_loses_the_job_once() {
    let Some(pool) = python("tests/process/hostile.py", &["silent"], 1) else { return };
    let marks = Marks::new("unacknowledged");
    let handle = pool.submit_blocking(marks.path().into_bytes()).unwrap();
    until("it has the job", || !marks.pids().is_empty());
    signal(marks.pids()[0], "KILL");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(9));
    pids(&pool, 1);
    assert_eq!(marks.pids().len(), 1, "and nobody else had it");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.lost == 1, "{ledger}");
}

/// Whether its job has been written by then is the machine's business: it runs once or never, and its handle says which.
#[test]
fn a_job_of_a_child_that_is_killed_while_it_is_handed_over_runs_once_or_is_lost() {
    let (pool, mut pid) = (pool("handed-over", 1), 0);
    for round in 0_u64..8 {
        let (marks, last) = (Marks::new("handed-over"), pid);
        // The last one is shown until its thread has ended, which may be after its job has.
        until("another is up", || {
            pid = pids(&pool, 1)[0];
            pid != last
        });
        freeze(pid);
        let handle = pool.submit_blocking(|path: String| mark(&path), marks.path()).unwrap();
        until("it is dispatched", || pool.saturation().active == 1);
        std::thread::sleep(Duration::from_millis(round));
        signal(pid, "KILL");
        match handle.join() {
            Ok(()) => assert!(marks.pids().len() == 1 && marks.pids()[0] != pid, "round {round}"),
            Err(error) => {
                assert!(error.to_string().contains("SIGKILL"), "{error}");
                assert!(marks.pids().is_empty(), "round {round}: it ran, and was lost");
            }
        }
    }
    assert!(pool.snapshot().ledger.balances());
}

/// Half a frame cannot have begun: another child gets the job.
#[test]
fn a_child_that_is_killed_while_its_job_is_being_written_loses_nothing() {
    let pool = pool_with("half-sent", 3, ChildOptions::new().frame_limit(256 << 20).shared_memory(false));
    let all = pids(&pool, 3);
    let sibling = sibling(&pool, "half-sent");
    let both: Vec<u32> = all.into_iter().filter(|pid| *pid != sibling.pid).collect();
    for pid in &both {
        freeze(*pid);
    }
    let handle = pool.submit_blocking(|text: String| text.len(), "x".repeat(LARGE)).unwrap();
    until("it is dispatched", || holder_of(&pool, handle.id()).is_some());
    std::thread::sleep(Duration::from_millis(50));
    let holder = holder_of(&pool, handle.id()).expect("one has it");
    let other = both.iter().find(|pid| **pid != holder).expect("two");
    signal(*other, "CONT");
    signal(holder, "KILL");
    assert_eq!(handle.join().unwrap(), LARGE);
    assert_has_not_noticed(sibling, &pool);
    assert!(pool.snapshot().ledger.balances());
    assert_eq!(pool.snapshot().ledger.lost, 0);
}

/// Nobody knows of one that was handed over whole whether it has begun.
#[test]
fn a_child_that_is_killed_in_the_middle_of_its_answer_loses_the_job() {
    let options = ChildOptions::new().frame_limit(256 << 20);
    let Some(pool) = python_with("tests/process/hostile.py", &["half-large"], 2, options) else { return };
    let told = Marks::new("half-answer-told");
    let busy = pool.submit_blocking(format!("{} be busy", told.path()).into_bytes()).unwrap();
    let sibling = Sibling::of(&pool, told, busy);
    let (pid, marks) = (sibling.pid, Marks::new("half-answer"));
    let handle = pool.submit_blocking(marks.path().into_bytes()).unwrap();
    until("half of it is sent", || !marks.pids().is_empty());
    signal(marks.pids()[0], "KILL");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(9));
    assert_eq!(sibling.has_not_noticed(&pool).unwrap(), pid.to_string().into_bytes());
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_child_that_is_killed_when_its_job_was_sent_by_memory_loses_that_job_at_most() {
    let pool = pool_with("sent-whole", 2, ChildOptions::new().frame_limit(256 << 20));
    let sibling = sibling(&pool, "sent-whole");
    for wait in [0, 20, 80, 160] {
        let handle = pool.submit_blocking(|text: String| text.len(), "x".repeat(LARGE)).unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        signal(sibling.other(&pool), "KILL");
        match handle.join() {
            Ok(length) => assert_eq!(length, LARGE),
            Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
        }
    }
    assert_has_not_noticed(sibling, &pool);
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_child_that_is_killed_while_it_answers_has_answered_or_not() {
    for (name, shared) in [("half-answered", true), ("half-answered-by-socket", false)] {
        let options = ChildOptions::new().frame_limit(256 << 20).shared_memory(shared);
        let pool = pool_with(name, 2, options);
        let sibling = sibling(&pool, name);
        for wait in [0, 5, 10, 20, 40, 80, 160] {
            let pid = sibling.other(&pool);
            let handle = pool.submit_blocking(|n: usize| "y".repeat(n), LARGE).unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            signal(pid, "KILL");
            match handle.join() {
                Ok(text) => assert_eq!(text.len(), LARGE),
                Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
            }
            until("another is up", || pool.submit_blocking(|n: u32| n, 1).unwrap().join().is_ok());
        }
        assert_has_not_noticed(sibling, &pool);
        assert!(pool.snapshot().ledger.balances());
    }
}

/// Whoever is lost is replaced, however many.
struct AtOnce;

impl RestartPolicy for AtOnce {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::After(Duration::ZERO)
    }
}

/// Kills a worker of the pool, if one is up: by itself, or as an operator has it done.
fn kill_one(pool: &ProcessPool, noise: &mut Noise) {
    let up: Vec<_> = pool.inventory_now().workers.into_iter().filter(|row| row.start_delay.is_some()).collect();
    let Some(row) = up.get(noise.below(up.len().max(1))) else { return };
    if noise.below(2) == 0 {
        let limit = TimeLimit(Duration::from_secs(30));
        drop(pool.blocking().terminate(Select::worker(row.worker), patient_kill(), limit).expect("it answers"));
    } else if let Some(pid) = row.facts.pid.and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)) {
        // It may be gone by now, but not be another's: its number was given to this pool's child a moment ago.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Small jobs go in pairs. A thousand kills at full length, each at some moment of a child that runs one after the other: each job has one outcome, one that
/// completed has run once, and no other more than once.
#[test]
fn children_that_are_killed_between_jobs_that_were_handed_over_together_lose_one_each_at_most() {
    let kills = scaled(Duration::from_millis(1_000)).as_millis() as usize;
    let pool = builder("pairs").limits(Limits::fixed(2)).restart_policy(AtOnce).build().unwrap();
    let (mut noise, mut lost) = (Noise::new(), 0);
    for kill in 0..kills {
        pids(&pool, 2);
        let marks: Vec<_> = (0..24).map(|n| Marks::new(&format!("pairs-{n}"))).collect();
        let job = |path: String| mark(&path);
        let mut handles: Vec<JobHandle<()>> =
            marks.iter().map(|marks| pool.submit_blocking(job, marks.path()).unwrap()).collect();
        // So many have run by then.
        let some = noise.below(20);
        until("some have run", || handles[some].status() == millpond::JobStatus::Done);
        kill_one(&pool, &mut noise);
        let mut taken = Vec::new();
        for (n, handle) in handles.iter_mut().enumerate() {
            let ended = handle.join_timeout(Duration::from_secs(30));
            let ran = marks[n].pids().len();
            match ended {
                Ok(()) => assert_eq!(ran, 1, "kill {kill}, job {n} completed"),
                Err(JoinError::Job(error @ (JobError::Lost(_) | JobError::Killed(_)))) => {
                    assert!(ran <= 1, "kill {kill}: job {n} ran {ran} times");
                    taken.push(error.to_string());
                }
                other => panic!("kill {kill}: job {n}: {other:?}"),
            }
        }
        lost += taken.len();
        // A child that was killed while it had none may be found to be dead under the next round's first job.
        assert!(
            lost <= kill + 1,
            "{lost} jobs went with {} children, each of which had begun one: {taken:#?}",
            kill + 1
        );
    }
    until("it is at rest", || pool.saturation().active == 0);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && ledger.pending == 0, "{ledger}");
    assert_eq!(ledger.lost + ledger.killed, lost as u64, "{ledger}");
}
