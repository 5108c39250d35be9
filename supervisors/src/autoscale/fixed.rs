//! Always the same number of workers.

use millpond::{Autoscaler, Limits, Snapshot};

/// Wants the same number of workers whatever the load, as far as the pool's bounds allow: to hold a pool still without touching its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fixed(usize);

impl Fixed {
    /// So many workers; zero counts as one.
    pub const fn new(workers: usize) -> Self {
        Self(if workers == 0 { 1 } else { workers })
    }
}

impl Autoscaler for Fixed {
    fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wants_what_it_was_made_with_and_never_zero() {
        let seen = Snapshot::empty("fixed", millpond::Timestamp::default());
        let want = |workers| Fixed::new(workers).scale(&seen, Limits::new(1, 9));
        assert_eq!((want(0), want(1), want(7)), (1, 1, 7));
    }
}
