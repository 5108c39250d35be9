//! WebAssembly: its plugin, and what it has alone.

mod calls;
mod hostile;

use std::sync::Arc;

use millpond::GuestFault;
use millpond::interpreter::wasmtime::Linker;
use millpond::interpreter::{Guest, Script, Wasm, WasmCall, WasmInstance};

use crate::kinds::{Host, Kind, Never};

const PLUGIN: &str = r#"(module
    (import "millpond" "cancelled" (func $cancelled (result i32)))
    (import "millpond" "beat" (func $beat))
    (memory 1)
    (global (export "number") i64 (i64.const 7))
    (global $count (mut i64) (i64.const 0))
    (func (export "fine") (param i64) (result i64) (i64.const 1))
    (func (export "count") (param i64) (result i64)
        (global.set $count (i64.add (global.get $count) (i64.const 1))) (global.get $count))
    (func $trap (export "trap") (param i64) (result i64) unreachable)
    (func (export "spin") (param i64) (result i64) (loop $again (br $again)) (i64.const 0))
    (func $deeper (param $n i64) (result i64)
        (if (result i64) (i64.eqz (local.get $n))
            (then (i64.const 1))
            (else (i64.add (call $deeper (i64.sub (local.get $n) (i64.const 1)))
                           (call $deeper (i64.sub (local.get $n) (i64.const 1)))))))
    (func (export "branch") (param i64) (result i64) (call $deeper (i64.const 60)))
    (func $recurse (export "recurse") (param i64) (result i64)
        (i64.add (call $recurse (local.get 0)) (i64.const 1)))
    (func (export "grow") (param $pieces i64) (result i64)
        (if (i32.eq (memory.grow (i32.wrap_i64 (local.get $pieces))) (i32.const -1)) (then unreachable))
        (i64.const 1))
    (func (export "grow_and_wait") (param i64) (result i64)
        (if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable))
        (call $until_cancelled (local.get 0)))
    (func (export "eat") (param i64) (result i64)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        unreachable)
    (func (export "eat_politely") (param i64) (result i64)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i64.extend_i32_u (memory.size)))
    (func $turns (export "turns") (param $n i64) (result i64)
        (loop $again
            (local.set $n (i64.sub (local.get $n) (i64.const 1)))
            (br_if $again (i32.wrap_i64 (local.get $n))))
        (local.get $n))
    (func $until_cancelled (export "until_cancelled") (param i64) (result i64)
        (loop $again (call $beat) (br_if $again (i32.eqz (call $cancelled))))
        (i64.const 5)))"#;

const CALLING: &str = r#"(module
    (import "host" "call" (func $call))
    (func (export "fine") (param i64) (result i64) (i64.const 1))
    (func (export "call") (param i64) (result i64) (call $call) (i64.const 1))
    (func (export "call_and_spin") (param i64) (result i64) (call $call) (loop $again (br $again)) (i64.const 1)))"#;

impl Kind for Wasm {
    type Call = WasmCall<i64, i64>;

    fn plugin() -> Self {
        Self::new(PLUGIN)
    }

    fn calling(host: Arc<Host>) -> Self {
        Self::new(CALLING).host(move |linker: &mut Linker<Guest>| {
            let host = host.clone();
            linker.func_wrap("host", "call", move || Ok(host()?)).map(drop)
        })
    }

    fn starting(turns: i64) -> Self {
        let plugin = PLUGIN.trim_end().strip_suffix(')').expect("it ends with its module");
        let start = format!("(func $start (drop (call $turns (i64.const {turns})))) (start $start)");
        Self::new(format!("{plugin} {start})"))
    }

    fn never_made(how: Never) -> Self {
        let start = match how {
            Never::Ends => "(loop $again (br $again))",
            Never::Succeeds => "unreachable",
        };
        let fine = r#"(func (export "fine") (param i64) (result i64) (i64.const 1))"#;
        Self::new(format!("(module (func $start {start}) (start $start) {fine})"))
    }

    fn call(function: &'static str, number: i64) -> WasmCall<i64, i64> {
        WasmCall::new(function, number)
    }

    fn keep(value: Box<dyn Send>) -> impl Script<Self, Output = i64> {
        Keep(value)
    }

    fn count_and_miss() -> impl Script<Self, Output = i64> {
        CountAndMiss
    }

    fn despite(first: &'static str, last: Option<&'static str>) -> impl Script<Self, Output = i64> {
        Despite(first, last)
    }

    fn fresh(self) -> Self {
        self.fresh_per_job()
    }

    fn memory(self, bytes: usize) -> Self {
        self.memory_limit(bytes)
    }

    fn fuelled(self, units: u64) -> Self {
        self.fuel(units)
    }
}

struct Keep(Box<dyn Send>);

impl Script<Wasm> for Keep {
    type Output = i64;

    fn run(self, instance: &mut WasmInstance) -> Result<i64, GuestFault> {
        instance.store_mut().data_mut().set(self.0);
        Ok(1)
    }
}

struct CountAndMiss;

impl Script<Wasm> for CountAndMiss {
    type Output = i64;

    fn run(self, instance: &mut WasmInstance) -> Result<i64, GuestFault> {
        instance.call::<i64, i64>("count", 0)?;
        instance.call::<i64, i64>("none", 0)
    }
}

struct Despite(&'static str, Option<&'static str>);

impl Script<Wasm> for Despite {
    type Output = i64;

    fn run(self, instance: &mut WasmInstance) -> Result<i64, GuestFault> {
        let Self(first, last) = self;
        let _whatever = instance.call::<i64, i64>(first, 0);
        last.map_or(Ok(0), |last| instance.call::<i64, i64>(last, 0))
    }
}
