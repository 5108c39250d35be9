//! The contract of what sizes a pool. Core asks and applies; `millpond-supervisors` has policies.

use crate::config::Limits;
use crate::snapshot::Snapshot;

/// Decides how many workers a pool may have, within the bounds that its [`Limits`] set. Asked once in each period, on a side thread, never
/// on the control thread.
///
/// A pool with an autoscaler begins with as few workers as its limits, and its lanes' reserves, allow. The answer becomes the limit in force, as
/// by a resize: a larger one wakes those who wait at once, a smaller one interrupts nobody. A resize by hand overrides it:
/// what it says is in force at once, and its `min` and `max` are the bounds from then on.
///
/// Hooks are asked about it as about a resize. While they are, the autoscaler is not asked again; if they deny it, the limit stays what it is,
/// and the autoscaler is asked again when its period is over. If they put it off, the autoscaler is asked in each period meanwhile: what it
/// does not want any more is dropped, what leads the other way is a question of its own, and when the delay is over what it wants then is
/// done, as far as hooks were asked about that. Workers within the limit in force are started all that time.
///
/// One that panics, takes longer than a second or answers zero is let go and reported as
/// [`PoolEvent::PolicyReplaced`](crate::PoolEvent::PolicyReplaced), with the reason. What it had chosen ends with it, as it does with one that is
/// taken away by [`Retune::no_autoscaler`](crate::Retune::no_autoscaler): the limits that were set last, its bounds, are in force, and hooks are
/// not asked about them again.
pub trait Autoscaler: Send + Sync + 'static {
    /// How many workers the pool may have from now on. What lies outside `bounds` is brought back to them.
    ///
    /// `snapshot.taken_at` is now, on the pool's clock: take the time from there, so that the policy can be tested on simulated time.
    /// `snapshot.saturation.limit` is what is in force.
    fn scale(&self, snapshot: &Snapshot, bounds: Limits) -> usize;
}
