//! Another restart policy for a pool that runs.

use super::event::PoolEvent;
use super::side::Aside;
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::id::By;
use crate::policy::{RestartPolicy, SlotBackoff};
use crate::sync::Arc;

/// A restart policy on its way to a pool. The default is that of a pool that was told nothing.
///
/// However it ends, also undelivered, the policy is dropped on a thread of its own, where that holds up nobody.
pub struct NewRestartPolicy(Aside<dyn RestartPolicy>);

impl NewRestartPolicy {
    /// This one.
    pub fn new(policy: impl RestartPolicy) -> Self {
        Self(Aside::new(Arc::new(policy)))
    }
}

impl Default for NewRestartPolicy {
    fn default() -> Self {
        Self::new(SlotBackoff::default())
    }
}

impl std::fmt::Debug for NewRestartPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRestartPolicy").finish_non_exhaustive()
    }
}

impl<B: Backend> Supervision<B> {
    /// From now on `policy` decides: also what is being asked, and about the slots that wait for what its predecessor said.
    pub(super) fn swap_policy(&mut self, policy: NewRestartPolicy, by: By) {
        self.policy = policy.0;
        self.tell(PoolEvent::RestartPolicySet { by });
        self.ask_again();
    }
}
