//! Commands that mean no good: each gets a typed outcome within its limits.

use std::time::Duration;

use millpond::interpreter::{Wasi, WasiCommand};
use millpond::{GuestFault, JobError, JobOptions, JobStatus, JoinError, Limits};

use super::authority::Folder;
use super::waits::{sleeper, until_asleep};
use super::{bare, builder, command, fault, module, pool, put, run, tool};
use crate::rig::{Outcome, failure};

#[test]
fn a_flood_is_ended_at_its_limit() -> Outcome {
    let pool = pool(tool().output_limit(100_000));
    for (stream, arguments) in [("stdout", ["flood", ""]), ("stderr", ["flood", "stderr"])] {
        assert_eq!(fault(put(&pool, command(arguments))), GuestFault::OutOfOutput { stream, limit: 100_000 });
    }
    // To the byte.
    for (length, fits) in [(0, true), (99_999, true), (100_000, true), (100_001, false), (1_000_000, false)] {
        let handle = put(&pool, command(["echo"]).stdin(vec![b'x'; length]));
        match fits {
            true => assert_eq!(handle.join()?.stdout.len(), length),
            false => assert_eq!(fault(handle), GuestFault::OutOfOutput { stream: "stdout", limit: 100_000 }),
        }
    }
    Ok(())
}

#[test]
fn output_that_nobody_allowed_is_too_much() {
    let pool = pool(tool().output_limit(0));
    assert_eq!(run(&pool, ["exit", "0"]).exit_code, 0);
    assert_eq!(fault(put(&pool, command(["args"]))), GuestFault::OutOfOutput { stream: "stdout", limit: 0 });
}

#[test]
fn output_is_bounded_if_nobody_says() {
    let fault = fault(put(bare(), command(["flood", ""])));
    assert_eq!(fault, GuestFault::OutOfOutput { stream: "stdout", limit: 1 << 20 });
}

#[test]
fn input_may_be_larger_than_the_memory() -> Outcome {
    let pool = pool(tool().memory_limit(1 << 20));
    let output = put(&pool, command(["count"]).stdin(vec![1; 8 << 20])).join()?;
    assert_eq!(output.stdout, b"8388608\n");
    // Not read at all, it is in nobody's way.
    assert_eq!(put(&pool, command(["exit", "5"]).stdin(vec![1; 8 << 20])).join()?.exit_code, 5);
    Ok(())
}

#[test]
fn arguments_that_are_larger_than_the_memory_are_its_own_trouble() -> Outcome {
    let pool = pool(tool().memory_limit(1 << 20));
    let huge = "x".repeat(4 << 20);
    // The library finds no room for them, and gives up before `main`.
    let output = put(&pool, command(["args", &huge])).join()?;
    assert_ne!(output.exit_code, 0);
    assert!(output.stdout.is_empty());
    let many = WasiCommand::new().arg("args").args(std::iter::repeat_n("y", 200_000));
    assert_ne!(put(&pool, many).join()?.exit_code, 0);
    // One that asks for them to be put where there is no memory traps.
    let nowhere = super::pool(module("(call $args (i32.const 65532) (i32.const 65532))"));
    let fault = fault(put(&nowhere, command(["a", "b"])));
    assert!(matches!(fault, GuestFault::Trapped { .. }), "{fault}");
    Ok(())
}

#[test]
fn memory_is_limited() {
    let pool = pool(tool().memory_limit(4 << 20));
    assert_eq!(fault(put(&pool, command(["eat"]))), GuestFault::OutOfMemory { limit: 4 << 20 });
    assert_eq!(run(&pool, ["exit", "0"]).exit_code, 0);
}

#[test]
fn a_run_that_finds_no_instance_never_began() -> Outcome {
    let pool = builder(sleeper().instance_limit(1)).limits(Limits::fixed(2)).build()?;
    let first = put(&pool, WasiCommand::new());
    until_asleep(&pool);
    let error = failure(put(&pool, WasiCommand::new()));
    let JobError::Guest(failed) = &error else { panic!("{error}") };
    assert_eq!((&failed.fault, failed.began), (&GuestFault::OutOfInstances { limit: 1 }, false));
    assert_eq!(first.status(), JobStatus::Running);
    Ok(())
}

#[test]
fn fuel_is_used_up() {
    let pool = pool(tool().fuel(1_000_000));
    for _ in 0..2 {
        assert_eq!(fault(put(&pool, command(["spin"]))), GuestFault::OutOfFuel { fuel: 1_000_000 });
        assert_eq!(run(&pool, ["exit", "0"]).exit_code, 0);
    }
}

#[test]
fn a_loop_without_end_passes_its_limit() -> Outcome {
    let pool = builder(tool()).kill_grace(Duration::from_millis(10)).build()?;
    let handle = pool.with(JobOptions::new().run_limit(Duration::from_millis(20))).try_submit(command(["spin"]))?;
    let error = failure(handle);
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    assert_eq!(run(&pool, ["exit", "6"]).exit_code, 6);
    Ok(())
}

/// They are this process's, which has only so many.
#[test]
fn files_that_are_opened_without_end_are_bounded() {
    let folder = Folder::new("many");
    std::fs::write(folder.path().join("a"), "").expect("a file can be written there");
    let pool = pool(tool().grant_read_only(folder.path(), "/data"));
    for _ in 0..20 {
        let fault = fault(put(&pool, command(["open_many", "/data/a"])));
        assert!(matches!(&fault, GuestFault::Trapped { message, .. } if message.contains("table")), "{fault}");
    }
}

#[test]
fn what_does_not_lie_in_its_memory_is_its_own_fault() {
    let beyond = "(i32.const 65530)";
    for body in [
        format!("(call $args_sizes {beyond} (i32.const 70000))"),
        format!("(call $environ_sizes (i32.const 65533) {beyond})"),
        format!("(call $read (i32.const 0) {beyond} (i32.const 1) (i32.const 0))"),
        format!("(call $write (i32.const 1) {beyond} (i32.const 1) (i32.const 0))"),
        format!("(call $poll {beyond} (i32.const 0) (i32.const 1) (i32.const 0))"),
        "(call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))".to_owned(),
        format!("(call $poll (i32.const 0) {beyond} (i32.const 1) (i32.const 0))"),
        "(call $poll (i32.const 0) (i32.const 0) (i32.const 1) (i32.const -1))".to_owned(),
        format!("(call $random {beyond} (i32.const 100))"),
        "(call $random (i32.const 0) (i32.const -1))".to_owned(),
        "(call $clock (i32.const 1) (i64.const 0) (i32.const -4))".to_owned(),
    ] {
        match put(&pool(module(&body)), WasiCommand::new()).join() {
            Ok(output) => assert_eq!(output.exit_code, 28, "{body}: refused as invalid"),
            Err(JoinError::Job(JobError::Guest(failed))) => {
                assert!(matches!(failed.fault, GuestFault::Trapped { .. }), "{body}: {failed}");
            }
            Err(other) => panic!("{body}: {other}"),
        }
    }
}

#[test]
fn siblings_do_not_notice() -> Outcome {
    let pool = builder(tool().output_limit(10_000).memory_limit(2 << 20)).limits(Limits::fixed(3)).build()?;
    let spins = put(&pool, command(["spin"]));
    for round in 0..10_u32 {
        let bad = [["flood", ""], ["eat", ""], ["panic", ""]].map(|deed| put(&pool, command(deed)));
        assert_eq!(run(&pool, ["exit", &round.to_string()]).exit_code, round);
        bad.into_iter().for_each(|bad| drop(fault(bad)));
    }
    assert_eq!(spins.status(), JobStatus::Running);
    Ok(())
}

#[test]
fn a_start_function_has_what_the_command_has() -> Outcome {
    // It runs as the instance is made, before `_start`.
    let module = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "a heron")
        (func $init
            (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 7))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
        (start $init)
        (func (export "_start")))"#;
    assert_eq!(put(&pool(Wasi::new(module)), WasiCommand::new()).join()?.stdout, b"a heron");
    let limited = pool(Wasi::new(module).output_limit(6));
    assert_eq!(fault(put(&limited, WasiCommand::new())), GuestFault::OutOfOutput { stream: "stdout", limit: 6 });
    Ok(())
}
