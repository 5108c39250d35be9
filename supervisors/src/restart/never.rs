//! Nobody is replaced.

use millpond::{Exit, Restart, RestartPolicy, SlotHistory, Timestamp};

/// A slot whose worker failed stays empty for good, and the pool is degraded from then on. OTP calls such a child *temporary*.
///
/// For workers whose failure needs a person to look at it first. When every slot is empty the pool is unavailable: jobs wait until
/// one of their limits passes, so give them one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Never;

impl RestartPolicy for Never {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restart::simulated::Pool;

    #[test]
    fn no_fault_is_followed_by_a_restart() {
        let mut pool = Pool::new(Never, 3);
        for slot in [0, 1, 2, 0] {
            pool.ready(slot);
            assert_eq!(pool.fault(slot), Restart::Never);
        }
    }
}
