//! What an instance is asked for: a call with numbers, and one with bytes.

use std::marker::PhantomData;

use wasmtime::{WasmParams, WasmResults};

use super::{Wasm, WasmInstance};
use crate::backend::interpreter::Script;
use crate::error::GuestFault;
use crate::sync::Arc;

/// A call of a module's export with numbers: one, or a tuple of several, of `i32`, `i64`, `f32`, `f64`, and the unsigned ones.
///
/// ```
/// use millpond::interpreter::{Wasm, WasmCall};
/// use millpond::{InterpreterPool, Limits};
///
/// let module = r#"(module (func (export "add") (param i32 i32) (result i32)
///     local.get 0 local.get 1 i32.add))"#;
/// let pool = InterpreterPool::builder("sums", Wasm::new(module)).limits(Limits::fixed(1)).build()?;
/// let five = pool.submit_blocking(WasmCall::<_, i32>::new("add", (2, 3)))?.join()?;
/// assert_eq!(five, 5);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WasmCall<A, R> {
    export: Arc<str>,
    arguments: A,
    result: PhantomData<fn() -> R>,
}

impl<A, R> WasmCall<A, R> {
    /// A call of that export.
    pub fn new(export: impl Into<Arc<str>>, arguments: A) -> Self {
        Self { export: export.into(), arguments, result: PhantomData }
    }
}

impl<A, R> Script<Wasm> for WasmCall<A, R>
where
    A: WasmParams + Send + 'static,
    R: WasmResults + Send + 'static,
{
    type Output = R;

    fn run(self, instance: &mut WasmInstance) -> Result<R, GuestFault> {
        instance.call(&self.export, self.arguments)
    }
}

/// A call of a module's export with bytes, that gives bytes.
///
/// The convention: the module exports its memory as `memory`; a function `alloc: [i32] -> [i32]`, that is given a number of bytes and
/// answers where there is room for so many, or 0 if there is none, as C's `malloc` does; and the function that is called, `[i32, i32] -> [i64]`: it is given where the input lies and how long it is,
/// and answers with where its output lies in the upper half, and how long that is in the lower one. The output is copied before anything
/// else of the guest runs; room that was given is the guest's to reuse.
///
/// Where there is no room, nothing is written and nothing else is called: the job ends with [`GuestFault::OutOfMemory`] if the guest was refused memory in it, else with
/// [`GuestFault::NoRoom`]. An empty input needs none, and may be said to lie at 0.
#[derive(Clone, Debug)]
pub struct WasmBytes {
    export: Arc<str>,
    input: Vec<u8>,
}

impl WasmBytes {
    /// A call of that export with this input.
    pub fn new(export: impl Into<Arc<str>>, input: impl Into<Vec<u8>>) -> Self {
        Self { export: export.into(), input: input.into() }
    }
}

impl Script<Wasm> for WasmBytes {
    type Output = Vec<u8>;

    fn run(self, instance: &mut WasmInstance) -> Result<Vec<u8>, GuestFault> {
        instance.call_bytes(&self.export, &self.input)
    }
}
