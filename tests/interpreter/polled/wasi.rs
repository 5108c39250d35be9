//! With commands of WASI: a job is one of them after the other, each with an instance and streams of its own, until its future is ready.

use std::task::{Context, Waker};

use millpond::GuestFault;
use millpond::interpreter::{Script, Wasi, WasiCommand, WasiInstance};

use super::{LOOK, Polled};

/// Its input says what it is to do, in four letters, and has a number, which it writes when it has done that: `wait` takes as many nanoseconds, `trap` traps,
/// `grow` wants memory, and `spin` never ends.
const MODULE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "waittrapgrowspin")
    (func $is (param $word i32) (result i32) (i32.eq (i32.load (i32.const 64)) (i32.load (local.get $word))))
    (func $fine (param $error i32) (if (local.get $error) (then unreachable)))
    (func $buffer (param $at i32) (param $length i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $length)))
    (func (export "_start")
        (call $buffer (i32.const 64) (i32.const 12))
        (call $fine (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
        (if (call $is (i32.const 0)) (then
            (i32.store (i32.const 144) (i32.const 1))
            (i64.store (i32.const 152) (i64.load (i32.const 68)))
            (call $fine (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 24)))))
        (if (call $is (i32.const 4)) (then unreachable))
        (if (call $is (i32.const 8)) (then
            (call $fine (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)))))
        (if (call $is (i32.const 12)) (then (loop $again (br $again))))
        (call $buffer (i32.const 68) (i32.const 8))
        (call $fine (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#;

/// An interpreter that does such jobs. Its commands wait in real time.
pub fn engine() -> Wasi {
    Wasi::new(MODULE).grant_clocks()
}

/// Runs one command.
pub fn run(instance: &mut WasiInstance, what: &str, number: u64) -> Result<(), GuestFault> {
    let number = number.to_le_bytes();
    let output = WasiCommand::new().stdin([what.as_bytes(), &number].concat()).run(instance)?;
    assert_eq!((output.exit_code, &*output.stdout), (0, &number[..]), "it answers as it was told");
    Ok(())
}

impl<T: Send + 'static> Script<Wasi> for Polled<T> {
    type Output = T;

    fn run(self, instance: &mut WasiInstance) -> Result<T, GuestFault> {
        let (mut poller, output) = self.poller();
        let look = u64::try_from(LOOK.as_nanos()).expect("it is short");
        run(instance, "wait", 0)?;
        // No waker reaches a command: the future is asked after each of them.
        while !poller(&mut Context::from_waker(Waker::noop())) {
            run(instance, "wait", look)?;
        }
        Ok(output.try_recv().expect("it is ready"))
    }
}
