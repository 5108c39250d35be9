//! How many shares a job has, and who gave back the last one. `loom.rs` compiles this file a second time, on loom's atomics: in all other models
//! loom need not permute it.

use super::atomics::{AtomicU32, Ordering, fence};

/// Of so many shares at once a program has lost count: each is a word, and they would not fit into memory.
const MOST: u32 = u32::MAX / 2;

/// The count is what `Arc`'s is, but that the only share is given back without a step.
#[derive(Debug)]
pub(super) struct Shares(AtomicU32);

impl Shares {
    /// Of so many.
    #[inline]
    pub(super) fn new(shares: u32) -> Self {
        Self(AtomicU32::new(shares))
    }

    /// True if the caller's share is the only one: nobody else is there to make another.
    #[inline]
    pub(super) fn is_one(&self) -> bool {
        // Acquire pairs with the Release of those who gave theirs back.
        self.0.load(Ordering::Acquire) == 1
    }

    /// One more is made, of one that is there.
    #[inline]
    pub(super) fn add(&self) {
        // Relaxed: that one is there, so that nobody frees the job meanwhile.
        if self.0.fetch_add(1, Ordering::Relaxed) > MOST {
            // As `Arc` does: one more might free what is in use.
            std::process::abort();
        }
    }

    /// The caller gives its share back. True if it was the last one: then all that the others did to the job is done, and the caller frees it.
    #[inline]
    pub(super) fn give_back(&self) -> bool {
        if self.is_one() {
            return true;
        }
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // Pairs with the Release of the others.
        fence(Ordering::Acquire);
        true
    }
}
