//! What stops the code of one state.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::hook;
use crate::backend::interpreter::{Brake, Crossing};
use crate::error::GuestFault;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering};

/// So many of Lua's instructions pass between two looks: some microseconds.
const SLICE: c_int = 1_000;

/// Knows whether the code of its state may go on. It is asked every so many instructions, and where a coroutine is made or left ([`hook`]). Once it said no, each instruction
/// fails that the code still comes to, so that nothing which catches errors keeps it running.
pub(super) struct Watch {
    /// There is none while a pool is being built: then nothing of the guest's runs.
    brake: Option<Brake>,
    fuel: Option<u64>,
    left: AtomicU64,
    stop: Mutex<Option<Stop>>,
    /// How deep this process and the guest call each other: 0 as this process's code runs by itself, such as what gives a state its functions; 1 in the guest's; and
    /// more in functions of this process's, one of which may call the guest, which may call another.
    depth: AtomicU32,
}

/// Why it must not go on.
pub(super) enum Stop {
    Fault(GuestFault),
    /// A function of this process's panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

impl Watch {
    pub(super) fn new(brake: Option<Brake>, fuel: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            brake,
            fuel,
            left: AtomicU64::new(fuel.unwrap_or(0)),
            stop: Mutex::new(None),
            depth: AtomicU32::new(0),
        })
    }

    /// Is asked from now on, and counts from here. Whatever was before is over.
    pub(super) fn begin(&self, lua: &mlua::Lua) -> mlua::Result<()> {
        drop(self.stop.lock().take());
        // The state's own thread alone writes and reads it.
        self.left.store(self.fuel.unwrap_or(0), Ordering::Relaxed);
        hook::every(lua, self.slice())
    }

    /// Why the code that has just ended had to stop, if it had to. What runs after it is other code: it may go on as far as brake and fuel allow, and pays a slice
    /// for what was not counted of this.
    pub(super) fn ended(&self, lua: &mlua::Lua) -> Option<Stop> {
        let stopped = self.stop.lock().take()?;
        self.spend(self.slice().unsigned_abs().into());
        // It sets a hook, for which nothing of the state's memory is needed.
        if let Err(error) = hook::every(lua, self.slice()) {
            tracing::error!("a Lua state could not be looked at anew: {error}");
        }
        Some(stopped)
    }

    /// What is counted at a time.
    fn slice(&self) -> c_int {
        self.fuel.and_then(|fuel| c_int::try_from(fuel).ok()).map_or(SLICE, |fuel| fuel.clamp(1, SLICE))
    }

    /// True if the code must not go on.
    pub(super) fn is_over(&self) -> bool {
        self.is_over_after(0)
    }

    /// The same, as a slice of instructions has passed.
    pub(super) fn is_over_after_slice(&self) -> bool {
        self.is_over_after(self.slice().unsigned_abs().into())
    }

    fn is_over_after(&self, spent: u64) -> bool {
        if self.brake.as_ref().is_some_and(Brake::is_pulled) {
            self.stop(Stop::Fault(GuestFault::Interrupted));
        }
        if let Some(fuel) = self.fuel
            && self.spend(spent) == 0
        {
            self.stop(Stop::Fault(GuestFault::OutOfFuel { fuel }));
        }
        self.must_stop()
    }

    /// What is left then.
    fn spend(&self, fuel: u64) -> u64 {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(fuel);
        self.left.store(left, Ordering::Relaxed);
        left
    }

    /// The first reason stands.
    fn stop(&self, why: Stop) {
        let late = {
            let mut stop = self.stop.lock();
            if stop.is_some() { Some(why) } else { stop.replace(why) }
        };
        // What a panic carried is a user's.
        drop(late);
    }

    /// True once it must not go on.
    pub(super) fn must_stop(&self) -> bool {
        self.stop.lock().is_some()
    }

    /// Why it had to stop, if it had to.
    pub(super) fn fault(&self) -> Option<GuestFault> {
        match &*self.stop.lock() {
            Some(Stop::Fault(fault)) => Some(fault.clone()),
            Some(Stop::Panicked(_)) | None => None,
        }
    }

    /// The guest is entered.
    pub(super) fn enter(&self) {
        // The state's own thread alone writes and reads it.
        self.depth.store(1, Ordering::Relaxed);
    }

    /// It is left, whatever unwinds from it.
    pub(super) fn leave(&self) {
        self.depth.store(0, Ordering::Relaxed);
    }

    /// Runs what the guest has called of this process's, which cannot be stopped. Whether it is called at all, and whether the guest goes on after it, the crossing says.
    /// If this process itself calls it, as what gives a state its functions may do, nothing is crossed: its worker, if it has one, is in the host before and after.
    pub(super) fn outside<R>(&self, lua: &mlua::Lua, f: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
        let depth = self.depth.load(Ordering::Relaxed);
        if depth == 0 {
            return f();
        }
        // As long as the outermost is under way, not all that runs can be stopped.
        let crossing = if depth == 1 { Crossing::here() } else { None };
        if let Some(crossing) = &crossing {
            self.crossed(lua, crossing.leave_guest())?;
        }
        self.depth.store(depth + 1, Ordering::Relaxed);
        let answer = catch_unwind(AssertUnwindSafe(f));
        self.depth.store(depth, Ordering::Relaxed);
        let back = crossing.map_or(Ok(()), |crossing| crossing.enter_guest());
        match answer {
            Ok(answer) => {
                self.crossed(lua, back)?;
                if let Some(fault) = answer.as_ref().err().and_then(|error| error.downcast_ref::<GuestFault>()) {
                    self.stop(Stop::Fault(fault.clone()));
                    self.end_if_stopped(lua)?;
                }
                answer
            }
            // What it captured may be torn: no script gets to catch that, and to call it again.
            Err(panic) => {
                self.stop(Stop::Panicked(panic));
                self.end_if_stopped(lua)?;
                Err(mlua::Error::external(GuestFault::Interrupted))
            }
        }
    }

    fn crossed(&self, lua: &mlua::Lua, crossed: Result<(), GuestFault>) -> mlua::Result<()> {
        if let Err(fault) = crossed {
            self.stop(Stop::Fault(fault));
        }
        self.end_if_stopped(lua)
    }

    fn end_if_stopped(&self, lua: &mlua::Lua) -> mlua::Result<()> {
        if self.must_stop() {
            hook::every(lua, 1)?;
            return Err(mlua::Error::external(GuestFault::Interrupted));
        }
        Ok(())
    }
}
