//! Control for synchronous callers.

use super::{PoolExecutor, TimeLimit};
use crate::config::Limits;
use crate::control::{
    HookRow, HookSpec, Ladder, NewRestartPolicy, ResizeReport, Retune, RetuneReport, Select, ShutdownReport,
};
use crate::error::ControlError;
use crate::hook::HookChange;
use crate::snapshot::{Inventory, TerminationReport};
use crate::sync::block_on;

/// The control operations for synchronous callers; see [`PoolExecutor`] for what each does.
///
/// Each waits on the calling thread, at most for its limit: on a runtime, `await` the other form.
#[derive(Clone, Copy)]
pub struct Blocking<'a>(pub(crate) &'a dyn PoolExecutor);

impl Blocking<'_> {
    /// See [`PoolExecutor::inventory`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn inventory(self, limit: TimeLimit) -> Result<Inventory, ControlError> {
        block_on(self.0.inventory(limit))
    }

    /// See [`PoolExecutor::resize`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn resize(self, limits: Limits, limit: TimeLimit) -> Result<ResizeReport, ControlError> {
        block_on(self.0.resize(limits, limit))
    }

    /// See [`PoolExecutor::retune`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn retune(self, change: Retune, limit: TimeLimit) -> Result<RetuneReport, ControlError> {
        block_on(self.0.retune(change, limit))
    }

    /// See [`PoolExecutor::terminate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn terminate(self, select: Select, how: Ladder, limit: TimeLimit) -> Result<TerminationReport, ControlError> {
        block_on(self.0.terminate(select, how, limit))
    }

    /// See [`PoolExecutor::quiesce`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn quiesce(self, limit: TimeLimit) -> Result<(), ControlError> {
        block_on(self.0.quiesce(limit))
    }

    /// See [`PoolExecutor::resume`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn resume(self, limit: TimeLimit) -> Result<(), ControlError> {
        block_on(self.0.resume(limit))
    }

    /// See [`PoolExecutor::drain`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn drain(self, limit: TimeLimit) -> Result<(), ControlError> {
        block_on(self.0.drain(limit))
    }

    /// See [`PoolExecutor::set_restart_policy`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_restart_policy(self, policy: NewRestartPolicy, limit: TimeLimit) -> Result<(), ControlError> {
        block_on(self.0.set_restart_policy(policy, limit))
    }

    /// See [`PoolExecutor::set_hook`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_hook(self, hook: HookSpec, limit: TimeLimit) -> Result<HookChange, ControlError> {
        block_on(self.0.set_hook(hook, limit))
    }

    /// See [`PoolExecutor::remove_hook`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn remove_hook(self, name: &str, limit: TimeLimit) -> Result<(), ControlError> {
        block_on(self.0.remove_hook(name, limit))
    }

    /// See [`PoolExecutor::hooks`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn hooks(self, limit: TimeLimit) -> Result<Vec<HookRow>, ControlError> {
        block_on(self.0.hooks(limit))
    }

    /// See [`PoolExecutor::shutdown`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn shutdown(self, limit: TimeLimit) -> Result<ShutdownReport, ControlError> {
        block_on(self.0.shutdown(limit))
    }
}

impl std::fmt::Debug for Blocking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blocking").field(&self.0.name()).finish()
    }
}
