//! Where a command waits, and how a kill finds it there.

use std::time::Duration;

use millpond::interpreter::{Wasi, WasiCommand};
use millpond::{Fate, JobError, JobOptions, Ladder, Limits, PoolExecutor, Select};

use super::{WasiPool, builder, command, exit_code, pool, put, run, tool};
use crate::rig::{LIMIT, Outcome, failure, patient_kill, until};

/// An hour, in nanoseconds.
const LONG: &str = "3600000000000";

fn until_busy(pool: &WasiPool, workers: usize) {
    until("the commands run", || pool.saturation().active == workers);
}

/// A command that says when it sleeps: its job beats just before.
pub(super) fn sleeper() -> Wasi {
    let module = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "millpond" "beat" (func $beat))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 3600000000000))
            (call $beat)
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    Wasi::new(module).grant_clocks()
}

pub(super) fn until_asleep(pool: &WasiPool) {
    until("it goes to sleep", || {
        pool.inventory_now().workers.iter().filter_map(|row| row.job.as_ref()).any(|job| job.last_beat.is_some())
    });
}

#[test]
fn a_kill_ends_a_loop_and_a_sleep() -> Outcome {
    let pool = pool(tool().grant_clocks());
    for arguments in [["spin", ""], ["sleep", LONG]] {
        let handle = put(&pool, command(arguments));
        until_busy(&pool, 1);
        let report = pool.blocking().terminate(Select::job(handle.id()), patient_kill(), LIMIT)?;
        assert_eq!(report.targets[0].fate, Fate::Killed, "{arguments:?}");
        let error = failure(handle);
        assert!(matches!(error, JobError::Killed(_)), "{error}");
        assert_eq!(run(&pool, ["exit", "7"]).exit_code, 7);
    }
    Ok(())
}

/// Whether it is about to sleep as the kill comes, or does: it ends, and is not abandoned.
#[test]
fn no_sleeper_is_missed() -> Outcome {
    let pool = builder(sleeper()).limits(Limits::fixed(2)).build()?;
    // Each kill wakes this one, too.
    let other = put(&pool, WasiCommand::new());
    for round in 0..100 {
        let handle = put(&pool, WasiCommand::new());
        until_busy(&pool, 2);
        if round % 2 == 0 {
            until_asleep(&pool);
        }
        let report = pool.blocking().terminate(Select::job(handle.id()), patient_kill(), LIMIT)?;
        assert_eq!(report.targets[0].fate, Fate::Killed);
    }
    drop(other);
    assert_eq!(pool.saturation().active, 1, "it sleeps on");
    Ok(())
}

#[test]
fn a_pool_that_is_aborted_wakes_its_sleepers() {
    let pool = pool(sleeper());
    let handle = put(&pool, WasiCommand::new());
    until_asleep(&pool);
    pool.abort();
    let error = failure(handle);
    assert!(matches!(error, JobError::Killed(_) | JobError::Abandoned(_)), "{error}");
    until("its thread has ended", || pool.inventory_now().workers.is_empty());
}

#[test]
fn a_run_limit_ends_a_sleep() -> Outcome {
    let pool = builder(sleeper()).kill_grace(Duration::from_millis(10)).build()?;
    let options = JobOptions::new().run_limit(Duration::from_millis(20));
    let error = failure(pool.with(options).try_submit(WasiCommand::new())?);
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    until("its thread has ended", || pool.saturation().abandoned == 0);
    Ok(())
}

/// Subscriptions are written at 256 and read at 48 bytes each; what was found at 1024, 32 bytes each; how many at 16.
fn polling(subscriptions: &str, count: u32, answer: &str) -> u32 {
    exit_code(&format!(
        "(block (result i32) {subscriptions}
            (if (result i32) (call $poll (i32.const 256) (i32.const 1024) (i32.const {count}) (i32.const 16))
                (then (i32.const 28)) (else {answer})))"
    ))
}

/// The `index`th subscription to a clock: it is known to the guest as 100 and that index.
fn clock(index: u32, id: u32, nanos: u64, absolute: u32) -> String {
    let at = 256 + 48 * index;
    format!(
        "(i64.store (i32.const {at}) (i64.const {}))
         (i32.store (i32.const {}) (i32.const {id}))
         (i64.store (i32.const {}) (i64.const {nanos}))
         (i32.store16 (i32.const {}) (i32.const {absolute}))",
        100 + index,
        at + 16,
        at + 24,
        at + 40
    )
}

/// The `index`th subscription to a descriptor.
fn descriptor(index: u32, kind: u32, descriptor: u32) -> String {
    let at = 256 + 48 * index;
    format!(
        "(i64.store (i32.const {at}) (i64.const {}))
         (i32.store8 (i32.const {}) (i32.const {kind}))
         (i32.store (i32.const {}) (i32.const {descriptor}))",
        100 + index,
        at + 8,
        at + 16
    )
}

#[test]
fn a_poll_answers_what_comes_first() {
    const FOUND: &str = "(i32.load (i32.const 16))";
    let user = |event: u32| format!("(i32.load (i32.const {}))", 1024 + 32 * event);
    let (monotonic, wall) = (1, 0);

    let three = [clock(0, monotonic, 3_000, 0), clock(1, wall, 1_000, 0), clock(2, monotonic, 1_000, 1)].concat();
    assert_eq!(polling(&three, 3, FOUND), 2);
    assert_eq!(polling(&three, 3, &user(0)), 101);
    assert_eq!(polling(&three, 3, &user(1)), 102);
    // Time went on by as much as it waited.
    let then =
        "(block (result i32) (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (i32.load (i32.const 8)))";
    assert_eq!(polling(&three, 3, then), 1_000);
    assert_eq!(polling(&clock(0, monotonic, 0, 1), 1, then), 0, "what is over needs no wait");

    // A descriptor is ready, and so nobody waits for the clock.
    let mixed = [clock(0, monotonic, 5_000, 0), descriptor(1, 1, 0), descriptor(2, 2, 1)].concat();
    assert_eq!(polling(&mixed, 3, FOUND), 2);
    assert_eq!(polling(&mixed, 3, &user(0)), 101);
    assert_eq!(polling(&mixed, 3, "(i32.load8_u (i32.const 1034))"), 1, "it may be read");
    assert_eq!(polling(&mixed, 3, "(i32.load8_u (i32.const 1066))"), 2, "it may be written");
    assert_eq!(polling(&mixed, 3, then), 0);
}

#[test]
fn a_poll_that_makes_no_sense_is_invalid() {
    assert_eq!(polling("", 0, "(i32.const 0)"), 28, "it would wait for ever");
    assert_eq!(polling(&clock(0, 2, 1, 0), 1, "(i32.const 0)"), 28, "there is no clock of the processor's time");
    assert_eq!(polling(&descriptor(0, 3, 0), 1, "(i32.const 0)"), 28, "there is no such kind");
    assert_eq!(polling("", 1_025, "(i32.const 0)"), 28, "so many at once");
    assert_eq!(polling("", 1_000, "(i32.load (i32.const 16))"), 1_000);
}

/// What blocks this process is abandoned and counted, as a thread is.
#[cfg(unix)]
#[test]
fn a_file_that_blocks_is_abandoned() -> Outcome {
    let folder = super::authority::Folder::new("pipe");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    let wasi = tool().grant_read_only(folder.path(), "/data");
    let pool = builder(wasi).kill_grace(Duration::from_millis(10)).build()?;
    let handle = put(&pool, command(["cat", "/data/pipe"]));
    until_busy(&pool, 1);
    let report = pool.blocking().terminate(Select::job(handle.id()), Ladder::kill(), LIMIT)?;
    let killed_before_it_opened_the_pipe = report.targets[0].fate == Fate::Killed;
    assert!(killed_before_it_opened_the_pipe || report.targets[0].fate == Fate::Abandoned, "{report:?}");
    assert_eq!(run(&pool, ["exit", "8"]).exit_code, 8, "its slot has another");
    // Somebody writes to the pipe, if only for the moment.
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&pipe)?);
    until("it is gone", || pool.saturation().abandoned == 0);
    Ok(())
}
