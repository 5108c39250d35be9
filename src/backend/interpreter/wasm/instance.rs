//! One instance of a module, with its store.

use std::any::Any;
use std::marker::PhantomData;

use wasmtime::{CallHook, Instance, InstancePre, Store, Trap, UpdateDeadline, WasmBacktrace, WasmParams, WasmResults};

use super::limits::Limits;
use crate::backend::StartContext;
use crate::backend::interpreter::{Brake, Crossing};
use crate::error::GuestFault;

/// What an instance has on this side: the data of its store, which functions of [`Wasm::host`](super::Wasm::host) get by their `Caller`.
pub struct Guest {
    brake: Brake,
    started: StartContext,
    limits: Limits,
    value: Option<Box<dyn Any + Send>>,
}

impl Guest {
    pub(super) fn new(brake: Brake, started: StartContext, limits: Limits) -> Self {
        Self { brake, started, limits, value: None }
    }

    /// The pool and the worker.
    pub fn started(&self) -> &StartContext {
        &self.started
    }

    /// What stops this instance. A function of this process's that does nothing but wait has its [`Crossing`] [enter the guest](Crossing::enter_guest) for that
    /// time, and [leave](Crossing::leave_guest) it after: so the end of the pool finds that nothing of the job runs.
    pub fn brake(&self) -> &Brake {
        &self.brake
    }

    /// Keeps a value for the functions that the guest calls, in place of the one before.
    pub fn set<V: Send + 'static>(&mut self, value: V) {
        self.value = Some(Box::new(value));
    }

    /// The value, if there is one and it is a `V`.
    pub fn get_mut<V: 'static>(&mut self) -> Option<&mut V> {
        self.value.as_mut()?.downcast_mut()
    }

    /// Takes the value out, if there is one and it is a `V`.
    pub fn take<V: 'static>(&mut self) -> Option<V> {
        let value = self.value.take()?.downcast().map_err(|other| self.value = Some(other)).ok()?;
        Some(*value)
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("started", &self.started).finish_non_exhaustive()
    }
}

/// One instance of a module: what a [`Script`](crate::interpreter::Script) of yours runs in.
pub struct WasmInstance {
    store: Store<Guest>,
    instance: Instance,
    fuel: Option<u64>,
    /// It stays on its worker's thread, as its crossing does.
    stays: PhantomData<Crossing>,
}

impl WasmInstance {
    pub(super) fn new(
        engine: &wasmtime::Engine,
        module: &InstancePre<Guest>,
        guest: Guest,
        fuel: Option<u64>,
    ) -> Result<Self, Unmade> {
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|cx| match cx.data().brake.is_pulled() {
            true => Err(GuestFault::Interrupted.into()),
            false => Ok(UpdateDeadline::Continue(1)),
        });
        store.call_hook(|_, at| {
            // The data of a store may be sent elsewhere; the crossing stays on the worker's thread, and on another the guest does not run.
            let crossed = Crossing::with_here(|crossing| match at {
                CallHook::CallingWasm | CallHook::ReturningFromHost => crossing.enter_guest(),
                CallHook::CallingHost | CallHook::ReturningFromWasm => crossing.leave_guest(),
            });
            Ok(crossed.unwrap_or(Err(GuestFault::Interrupted))?)
        });
        refuel(&mut store, fuel);
        match module.instantiate(&mut store) {
            Ok(instance) => Ok(Self { store, instance, fuel, stays: PhantomData }),
            Err(error) => Err(Unmade { fault: fault_of(&store, fuel, &error), error }),
        }
    }

    /// Another job, which has nothing to do with what was refused before it.
    pub(super) fn begin(&mut self) {
        self.store.data_mut().limits.forget();
        self.refuel();
    }

    /// What runs from here on may use all of the fuel.
    pub(in crate::backend::interpreter) fn refuel(&mut self) {
        refuel(&mut self.store, self.fuel);
    }

    /// The store, for what wasmtime can do beyond what is here.
    pub fn store_mut(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    /// The instance itself, which goes with the store.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Calls an exported function.
    ///
    /// # Errors
    ///
    /// [`GuestFault::Unfit`] if there is none of that name and type; and how the call failed.
    pub fn call<A: WasmParams, R: WasmResults>(&mut self, export: &str, arguments: A) -> Result<R, GuestFault> {
        let function = self.instance.get_typed_func::<A, R>(&mut self.store, export);
        let function = function.map_err(|error| unfit(export, &error))?;
        function.call(&mut self.store, arguments).map_err(|error| self.fault(&error))
    }

    /// Calls an exported function that takes bytes and gives bytes, by the convention of [`WasmBytes`](super::WasmBytes).
    ///
    /// # Errors
    ///
    /// [`GuestFault::Unfit`] if the module does not follow it; [`GuestFault::NoRoom`] if it has no room for the input; and how the call failed.
    pub fn call_bytes(&mut self, export: &str, input: &[u8]) -> Result<Vec<u8>, GuestFault> {
        let Some(memory) = self.instance.get_memory(&mut self.store, "memory") else {
            return Err(GuestFault::Unfit("it exports no memory called `memory`".to_owned()));
        };
        // Looked for before anything runs: what it lacks is then no fault of a job.
        let function = self.instance.get_typed_func::<(u32, u32), u64>(&mut self.store, export);
        let function = function.map_err(|error| unfit(export, &error))?;
        let length = u32::try_from(input.len())
            .map_err(|_| GuestFault::Unfit(format!("its input of {} bytes fits into no module", input.len())))?;
        let at = self.call::<u32, u32>("alloc", length)?;
        if at == 0 && length > 0 {
            return Err(self.blamed(GuestFault::NoRoom { bytes: length }));
        }
        if memory.write(&mut self.store, at as usize, input).is_err() {
            return Err(self.blamed(out_of_bounds("gave room for its input", at, length)));
        }
        let packed = function.call(&mut self.store, (at, length)).map_err(|error| self.fault(&error))?;
        let [at, length] =
            [packed >> 32, packed & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        let (start, end) = (at as usize, at as usize + length as usize);
        let output = memory.data(&self.store).get(start..end);
        output.map(<[u8]>::to_vec).ok_or_else(|| self.blamed(out_of_bounds("answered", at, length)))
    }

    /// What the guest got wrong, unless that is since it was refused something.
    fn blamed(&self, fault: GuestFault) -> GuestFault {
        self.store.data().limits.blame().unwrap_or(fault)
    }

    /// How a call of this instance's failed, for one that was made by the [store](Self::store_mut).
    pub fn fault(&self, error: &wasmtime::Error) -> GuestFault {
        fault_of(&self.store, self.fuel, error)
    }
}

/// Why there is no instance.
pub(in crate::backend::interpreter) struct Unmade {
    /// What wasmtime says, or a function of this process's that its start function has called.
    pub(in crate::backend::interpreter) error: wasmtime::Error,
    /// The same, as of a call.
    pub(in crate::backend::interpreter) fault: GuestFault,
}

impl Unmade {
    /// For a job that was to have the instance: none of it has run.
    pub(super) fn no_instance(self) -> GuestFault {
        match self.fault {
            GuestFault::Trapped { message, .. } => GuestFault::NoInstance(message),
            other => other,
        }
    }
}

fn fault_of(store: &Store<Guest>, fuel: Option<u64>, error: &wasmtime::Error) -> GuestFault {
    if store.data().brake.is_pulled() {
        return GuestFault::Interrupted;
    }
    // A function of this process's has said what it is.
    if let Some(fault) = error.downcast_ref::<GuestFault>() {
        return fault.clone();
    }
    if let (Some(Trap::OutOfFuel), Some(fuel)) = (error.downcast_ref::<Trap>(), fuel) {
        return GuestFault::OutOfFuel { fuel };
    }
    store.data().limits.blame().unwrap_or_else(|| {
        let backtrace = error.downcast_ref::<WasmBacktrace>().filter(|trace| !trace.frames().is_empty());
        let backtrace = backtrace.map(|trace| trace.to_string().trim_end().to_owned());
        GuestFault::Trapped { message: error.root_cause().to_string(), backtrace }
    })
}

fn refuel(store: &mut Store<Guest>, fuel: Option<u64>) {
    if let Some(fuel) = fuel {
        store.set_fuel(fuel).expect("an engine whose modules are compiled to use fuel");
    }
}

fn unfit(export: &str, error: &wasmtime::Error) -> GuestFault {
    GuestFault::Unfit(format!("its module's export `{export}` is not what is asked for: {error:#}"))
}

/// The guest's own fault, after its code has run.
fn out_of_bounds(what: &str, at: u32, length: u32) -> GuestFault {
    let message = format!("it {what} with {length} bytes at {at}, which is not within its memory");
    GuestFault::Trapped { message, backtrace: None }
}

impl std::fmt::Debug for WasmInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmInstance").field("guest", self.store.data()).finish_non_exhaustive()
    }
}
