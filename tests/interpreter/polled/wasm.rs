//! With WebAssembly.

use millpond::GuestFault;
use millpond::interpreter::wasmtime::{Caller, Linker};
use millpond::interpreter::{Guest, Script, Wasm, WasmInstance};

use super::{Polled, Poller};

const MODULE: &str = r#"(module
    (import "suite" "poll" (func $poll (result i32)))
    (memory 1)
    (func (export "run") (loop $again (br_if $again (i32.eqz (call $poll)))))
    (func (export "trap") unreachable)
    (func (export "spin") (loop $again (br $again)))
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))"#;

/// An interpreter that does such jobs.
pub fn engine() -> Wasm {
    Wasm::new(MODULE).host(poll)
}

/// The same, of a module whose start function calls `begin` here.
#[allow(dead_code, reason = "one of the suites that have this has starts that hang")]
pub fn starting(begin: impl Fn() + Clone + Send + Sync + 'static) -> Wasm {
    let begins = r#"(import "suite" "begin" (func $begin)) (memory 1) (start $begin)"#;
    let engine = Wasm::new(MODULE.replacen("(memory 1)", begins, 1)).host(poll);
    engine.host(move |linker: &mut Linker<Guest>| linker.func_wrap("suite", "begin", begin.clone()).map(drop))
}

fn poll(linker: &mut Linker<Guest>) -> millpond::interpreter::wasmtime::Result<()> {
    let poll = |mut caller: Caller<'_, Guest>| {
        let poller = caller.data_mut().get_mut::<Poller>().expect("its job has put one there");
        Ok(i32::from(super::poll(poller)?))
    };
    linker.func_wrap("suite", "poll", poll).map(drop)
}

impl<T: Send + 'static> Script<Wasm> for Polled<T> {
    type Output = T;

    fn run(self, instance: &mut WasmInstance) -> Result<T, GuestFault> {
        let (poller, output) = self.poller();
        instance.store_mut().data_mut().set(poller);
        let ran = instance.call::<(), ()>("run", ());
        // The future goes before its outcome is known.
        drop(instance.store_mut().data_mut().take::<Poller>());
        ran.map(|()| output.try_recv().expect("the guest ends when it is ready"))
    }
}
