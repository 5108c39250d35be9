//! What goes in, and what comes out.

use millpond::interpreter::{Wasi, WasiCommand};
use millpond::{BuildError, GuestFault, JobError, JobOptions, KillReach, PoolExecutor};

use super::{bare, builder, command, exit_code, fault, module, pool, put, run, said, text, tool};
use crate::rig::{Outcome, failure};

#[test]
fn input_goes_in_and_output_comes_out() -> Outcome {
    let pool = bare();
    for input in [b"".to_vec(), b"a trout\n".to_vec(), (0..=255).collect(), vec![7; 300_000]] {
        let output = put(pool, command(["echo"]).stdin(input.clone())).join()?;
        assert_eq!((output.exit_code, output.stdout, output.stderr), (0, input, Vec::new()));
    }
    Ok(())
}

#[test]
fn arguments_come_after_the_pools_name() {
    let pool = bare();
    let expected = format!("{}\nargs\n--of\n\nthree words here\nü\n", pool.name());
    assert_eq!(said(pool, ["args", "--of", "", "three words here", "ü"]), expected);
    assert_eq!(text(&run(pool, [])), format!("{}\n", pool.name()), "none were given");
}

#[test]
fn an_exit_code_is_no_failure() {
    let pool = pool(tool());
    for code in [0, 1, 3, 125, 126, 255, 256] {
        assert_eq!(run(&pool, ["exit", &code.to_string()]).exit_code, code);
    }
    assert_eq!(exit_code("(i32.const -1)"), u32::MAX);
    let output = run(&pool, ["dance"]);
    assert_eq!(output.exit_code, 2);
    assert_eq!(output.stderr, b"it knows nothing of that\n");
    let ledger = pool.snapshot().ledger;
    assert_eq!((ledger.completed, ledger.panicked), (8, 0), "a command that says no has run");
}

/// A command whose start function does this, before there is a `_start` to be called.
fn starting(body: &str) -> Wasi {
    Wasi::new(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "the ice broke")
            (func $say (param $to i32)
                (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 13))
                (drop (call $write (local.get $to) (i32.const 16) (i32.const 1) (i32.const 24))))
            (func $early {body})
            (start $early)
            (func (export "_start") (call $exit (i32.const 99))))"#
    ))
}

#[test]
fn an_exit_as_it_starts_is_no_failure_either() -> Outcome {
    for code in [0, 7, 300] {
        let pool = pool(starting(&format!("(call $say (i32.const 1)) (call $exit (i32.const {code}))")));
        let output = put(&pool, WasiCommand::new()).join()?;
        assert_eq!((output.exit_code, output.stdout.as_slice()), (code, b"the ice broke".as_slice()));
        assert_eq!(pool.snapshot().ledger.completed, 1);
    }
    Ok(())
}

#[test]
fn a_trap_as_it_starts_is_told_like_any_other() {
    let pool = pool(starting("(call $say (i32.const 2)) unreachable"));
    let error = failure(put(&pool, WasiCommand::new()));
    assert!(matches!(&error, JobError::Guest(failed) if failed.began), "its code has run: {error}");
    let JobError::Guest(failed) = error else { panic!("{error}") };
    let GuestFault::Trapped { message, backtrace: Some(backtrace) } = failed.fault else { panic!("{}", failed.fault) };
    assert!(message.contains("unreachable") && message.contains("the ice broke"), "{message}");
    assert!(backtrace.contains("early"), "{backtrace}");
}

#[test]
fn each_command_has_an_instance_of_its_own() -> Outcome {
    let count = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (global $runs (mut i32) (i32.const 0))
        (func (export "_start")
            (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 10)))
            (call $exit (i32.add (global.get $runs) (i32.load (i32.const 8))))))"#;
    let pool = pool(Wasi::new(count));
    for _ in 0..3 {
        assert_eq!(put(&pool, WasiCommand::new()).join()?.exit_code, 11);
    }
    Ok(())
}

#[test]
fn a_start_that_returns_is_an_exit_with_zero() -> Outcome {
    let pool = pool(Wasi::new(r#"(module (memory (export "memory") 1) (func (export "_start")))"#));
    assert_eq!(put(&pool, WasiCommand::new()).join()?, Default::default());
    Ok(())
}

#[test]
fn a_trap_says_what_the_command_said_last() -> Outcome {
    let pool = pool(tool());
    let handle = pool.with(JobOptions::new().label("risky")).try_submit(command(["panic"]))?;
    let text = failure(handle).to_string();
    for part in ["risky", "commands.rs", "unreachable", "it was all too much", "wasm backtrace"] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    assert_eq!(text.matches("it was all too much").count(), 1);
    assert_eq!(run(&pool, ["exit", "4"]).exit_code, 4, "the next one has another instance");
    assert_eq!(pool.inventory_now().workers[0].restarts, 0);
    Ok(())
}

#[test]
fn an_argument_that_would_end_early_is_refused() {
    let pool = pool(tool());
    let fault = fault(put(&pool, command(["args", "harmless\0--force"])));
    assert!(matches!(&fault, GuestFault::Unfit(why) if why.contains("argument 2")), "{fault}");
    assert_eq!(pool.snapshot().ledger.not_started, 1);
}

#[test]
fn what_is_no_command_builds_no_pool() {
    let memory = r#"(memory (export "memory") 1)"#;
    let cases = [
        (format!("(module {memory})"), "_start"),
        (format!(r#"(module {memory} (func (export "_start") (param i32)))"#), "_start"),
        (format!(r#"(module {memory} (func (export "_start") (result i32) (i32.const 0)))"#), "_start"),
        (format!(r#"(module {memory} (global (export "_start") i32 (i32.const 0)))"#), "_start"),
        (format!(r#"(module {memory} (func (export "_initialize")))"#), "_start"),
        (r#"(module (func (export "_start")))"#.to_owned(), "memory"),
        (
            format!(
                r#"(module (import "wasi_unstable" "proc_exit" (func (param i32))) {memory} (func (export "_start")))"#
            ),
            "wasi_unstable",
        ),
        (
            format!(r#"(module (import "wasi_snapshot_preview1" "fork" (func)) {memory} (func (export "_start")))"#),
            "fork",
        ),
        ("no module at all".to_owned(), "expected"),
    ];
    for (module, what) in cases {
        let error = builder(Wasi::new(module.clone())).build().expect_err(&module);
        assert!(matches!(error, BuildError::Interpreter { .. }), "{error}");
        assert!(error.to_string().contains(what), "{module}: {error}");
    }
}

#[test]
fn what_nobody_can_be_granted_builds_no_pool() {
    for (wasi, what) in [
        (tool().grant_env("", "x"), "environment"),
        (tool().grant_env("a=b", "x"), "environment"),
        (tool().grant_env("a", "x\0b=c"), "environment"),
        (tool().grant_read_only("/nowhere/at/all", "/data"), "/nowhere/at/all"),
        (tool().memory_limit(0), "memory"),
    ] {
        let error = builder(wasi).build().expect_err(what);
        assert!(matches!(&error, BuildError::Interpreter { .. }) && error.to_string().contains(what), "{error}");
    }
}

#[test]
fn it_says_what_it_is_and_how_far_its_kill_reaches() {
    let capabilities = pool(module("(i32.const 0)")).capabilities();
    assert_eq!((capabilities.kind, capabilities.kill), ("wasi pool", KillReach::InGuest));
    assert!(capabilities.death_confirmed && capabilities.memory_limited);
}
