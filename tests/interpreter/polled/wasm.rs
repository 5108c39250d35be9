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
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))"#;

/// An interpreter that does such jobs.
pub fn engine() -> Wasm {
    Wasm::new(MODULE).host(|linker: &mut Linker<Guest>| {
        let poll = |mut caller: Caller<'_, Guest>| {
            let poller = caller.data_mut().get_mut::<Poller>().expect("its job has put one there");
            Ok(i32::from(super::poll(poller)?))
        };
        linker.func_wrap("suite", "poll", poll).map(drop)
    })
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
