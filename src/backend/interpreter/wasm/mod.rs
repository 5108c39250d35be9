//! WebAssembly, by wasmtime: a module is compiled once and shared, and each worker, or each job, has an instance of its own.

mod call;
mod instance;
mod limits;

pub use call::{WasmBytes, WasmCall};
pub(super) use instance::Unmade;
pub use instance::{Guest, WasmInstance};

use wasmtime::{
    Config, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolConcurrencyLimitError, PoolingAllocationConfig,
};

use super::{Crossing, Engine};
use crate::backend::StartContext;
use crate::error::GuestFault;
use crate::job::JobContext;

/// What an instance may have if nobody says.
const MEMORY: usize = 64 << 20;
const TABLE: usize = 10_000;
const STACK: usize = 512 << 10;
/// How many instances there can be at a time, if each job has one of its own and nobody says.
const INSTANCES: usize = 1_000;
/// In what WebAssembly counts memory.
const PAGE: usize = 64 << 10;
const MAX_STACK: usize = 64 << 20;
const HOST_STACK: usize = 2 << 20;
/// Each takes some of this process's memory, used or not.
const MAX_INSTANCES: usize = 100_000;
/// All that a 32-bit memory can be.
const MAX_MEMORY: usize = 4 << 30;

type HostFunctions = dyn Fn(&mut Linker<Guest>) -> wasmtime::Result<()> + Send + Sync;

/// A WebAssembly module, and what its instances may do and have.
///
/// They can do nothing but compute: there are no files, no network and no clock, but what [`host`](Self::host) adds. Each has at most 64 MiB of
/// memory, 10,000 elements of tables and 512 KiB of stack, unless it is given more or less here.
///
/// From the module `millpond` a guest may import `beat: [] -> []`, which says that the job makes progress, and `cancelled: [] -> [i32]`, which
/// is 1 once it is asked to stop.
pub struct Wasm {
    source: Vec<u8>,
    host: Vec<Box<HostFunctions>>,
    memory: usize,
    table: usize,
    stack: usize,
    instances: usize,
    fuel: Option<u64>,
    fresh: bool,
    compiled: Option<Compiled>,
}

/// What instances are made of, and what each of them may have.
#[derive(Clone)]
pub(super) struct Compiled {
    engine: wasmtime::Engine,
    module: InstancePre<Guest>,
    memory: usize,
    table: usize,
    instances: usize,
    fuel: Option<u64>,
}

impl Compiled {
    /// One instance; `prepare` is called before any code of it runs.
    pub(super) fn instance(
        &self,
        crossing: &Crossing,
        cx: &StartContext,
        prepare: impl FnOnce(&mut Guest),
    ) -> Result<WasmInstance, Unmade> {
        let mut guest = Guest::new(crossing.brake().clone(), cx.clone(), limits::Limits::new(self.memory, self.table));
        prepare(&mut guest);
        WasmInstance::new(&self.engine, &self.module, guest, self.fuel).map_err(|unmade| self.attributed(unmade))
    }

    fn attributed(&self, Unmade { fault, error }: Unmade) -> Unmade {
        let fault = match fault {
            GuestFault::Trapped { .. } if error.is::<PoolConcurrencyLimitError>() => {
                GuestFault::OutOfInstances { limit: self.instances }
            }
            other => other,
        };
        Unmade { fault, error }
    }

    #[cfg(feature = "wasi")]
    pub(super) fn module(&self) -> &Module {
        self.module.module()
    }
}

impl Wasm {
    /// A module, in WebAssembly's binary or text format. It is compiled, and found fit or not, when the pool is built.
    pub fn new(module: impl Into<Vec<u8>>) -> Self {
        Self {
            source: module.into(),
            host: Vec::new(),
            memory: MEMORY,
            table: TABLE,
            stack: STACK,
            instances: INSTANCES,
            fuel: None,
            fresh: false,
            compiled: None,
        }
    }

    /// Gives each job an instance of its own, which is dropped after it, instead of one to each worker: a job finds nothing of the one before. Instances
    /// come from a region of addresses that is reserved when the pool is built, and what they do not write to they share; there can be
    /// [so many](Self::instance_limit) at a time, of a module with one memory and one table at most.
    #[must_use]
    pub fn fresh_per_job(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// How many instances there can be at a time if each job has one of its own: 1,000 if nobody says, at most 100,000; zero builds no pool. It should be no less than the workers
    /// that the pool may ever have, after whatever resize, and those that it may abandon, who keep their instances: a job that finds none left never begins, and ends with
    /// [`GuestFault::OutOfInstances`]. Each reserves addresses of [its memory](Self::memory_limit) and some more; where the system has not so many, no pool is built.
    ///
    /// Instances that are kept are not counted.
    #[must_use]
    pub fn instance_limit(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// How much memory an instance may have, in bytes, at most 4 GiB; several memories count together. One that asks for more is told that there is none; a job that then fails
    /// ends with [`GuestFault::OutOfMemory`].
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// How many elements an instance's tables may have together; as for the memory.
    #[must_use]
    pub fn table_limit(mut self, elements: usize) -> Self {
        self.table = elements;
        self
    }

    /// How much stack the guest's calls may use, in bytes, at most 64 MiB. One that recurses beyond that traps.
    #[must_use]
    pub fn stack_limit(mut self, bytes: usize) -> Self {
        self.stack = bytes;
        self
    }

    /// What a job may use, in wasmtime's units of fuel, about one an instruction: the same job ends at the same place, on whatever machine. It costs
    /// the guest some of its speed. A start function may use as much again, of its own: each job has all of this, whatever ran before it. Zero builds no pool.
    #[must_use]
    pub fn fuel(mut self, units: u64) -> Self {
        self.fuel = Some(units);
        self
    }

    /// Adds functions of this process's that the guest may import. Called once, as the pool is built.
    ///
    /// They run on the worker's thread, where [`JobContext::current`] is the job's. A kill does not reach into them: one that blocks has its worker abandoned.
    /// A [`GuestFault`] that one fails with is the job's; any other error is a trap.
    #[must_use]
    pub fn host(mut self, define: impl Fn(&mut Linker<Guest>) -> wasmtime::Result<()> + Send + Sync + 'static) -> Self {
        self.host.push(Box::new(define));
        self
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.consume_fuel(self.fuel.is_some());
        config.max_wasm_stack(self.stack);
        // wasmtime-wasi has wasmtime compare the two, though no guest here is on such a stack.
        #[cfg(feature = "wasi")]
        config.async_stack_size(self.stack.max(2 << 20));
        if self.fresh {
            let mut pooling = PoolingAllocationConfig::new();
            pooling.max_memory_size(self.memory.next_multiple_of(PAGE));
            pooling.table_elements(self.table);
            let instances = u32::try_from(self.instances).unwrap_or(u32::MAX);
            pooling.total_core_instances(instances).total_memories(instances).total_tables(instances);
            config.memory_reservation(u64::try_from(self.memory.next_multiple_of(PAGE)).unwrap_or(u64::MAX));
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        }
        config
    }

    /// A module that begins with more than it may have will never have an instance.
    fn check(&self, module: &Module) -> wasmtime::Result<()> {
        let needs = module.resources_required();
        let memory = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE as u64);
        let table = needs.max_initial_table_size.unwrap_or(0);
        wasmtime::ensure!(
            memory <= self.memory as u64,
            "it needs {memory} bytes of memory, where {} are allowed",
            self.memory
        );
        wasmtime::ensure!(
            table <= self.table as u64,
            "it needs a table of {table} elements, where {} are allowed",
            self.table
        );
        Ok(())
    }

    fn compile(&self) -> wasmtime::Result<Compiled> {
        let engine = wasmtime::Engine::new(&self.config())?;
        let module = Module::new(&engine, &self.source)?;
        self.check(&module)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("millpond", "beat", || {
            if let Some(job) = JobContext::current() {
                job.beat();
            }
        })?;
        linker.func_wrap("millpond", "cancelled", || {
            i32::from(JobContext::current().is_some_and(|job| job.is_cancelled()))
        })?;
        for define in &self.host {
            define(&mut linker)?;
        }
        let module = linker.instantiate_pre(&module)?;
        let &Self { memory, table, instances, fuel, .. } = self;
        Ok(Compiled { engine, module, memory, table, instances, fuel })
    }

    /// What came of [`prepare`](Engine::prepare).
    pub(super) fn compiled(&self) -> Result<&Compiled, GuestFault> {
        self.compiled.as_ref().ok_or_else(|| GuestFault::NoInstance("its pool was not built".to_owned()))
    }
}

impl Engine for Wasm {
    type Instance = WasmInstance;

    fn kind(&self) -> &'static str {
        "wasm pool"
    }

    fn prepare(&mut self) -> Result<(), String> {
        for (given, what) in [(self.memory, "memory"), (self.stack, "stack")] {
            if given == 0 {
                return Err(format!("an instance without any {what} can do nothing"));
            }
        }
        if self.fuel == Some(0) {
            return Err("a job without any fuel can do nothing".to_owned());
        }
        if !(1..=MAX_INSTANCES).contains(&self.instances) {
            return Err(format!("a limit of {} instances makes no sense: 1 to {MAX_INSTANCES}", self.instances));
        }
        for (given, most, what) in [(self.memory, MAX_MEMORY, "memory"), (self.stack, MAX_STACK, "stack")] {
            if given > most {
                return Err(format!("{given} bytes of {what} are too much: at most {most}"));
            }
        }
        let compiled = self.compile().map_err(|error| format!("{error:#}"))?;
        self.compiled = Some(compiled);
        // It is not needed again.
        self.source = Vec::new();
        Ok(())
    }

    fn instance(&self, crossing: &Crossing, cx: &StartContext) -> Result<WasmInstance, GuestFault> {
        self.compiled()?.instance(crossing, cx, |_| {}).map_err(Unmade::no_instance)
    }

    fn stack_size(&self) -> Option<usize> {
        // This process's own calls, before and after the guest's, have as much as a thread usually has.
        Some(self.stack + HOST_STACK)
    }

    fn begin(&self, instance: &mut WasmInstance) {
        instance.begin();
    }

    fn is_fresh_per_job(&self) -> bool {
        self.fresh
    }

    fn is_memory_limited(&self) -> bool {
        true
    }

    fn prod(&self) {
        if let Some(compiled) = &self.compiled {
            compiled.engine.increment_epoch();
        }
    }
}

impl std::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { memory, table, stack, fuel, fresh, .. } = self;
        let mut shown = f.debug_struct("Wasm");
        shown.field("memory", memory).field("table", table).field("stack", stack).field("fuel", fuel);
        shown.field("fresh_per_job", fresh).finish_non_exhaustive()
    }
}
