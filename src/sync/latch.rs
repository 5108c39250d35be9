//! A lock for a moment.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use super::{AtomicBool, Ordering};

/// Up to so many looks, whoever finds it taken looks again at once, and up to so many more lets other threads go first; then it sleeps between two.
const SPINS: u32 = 64;
const YIELDS: u32 = 128;
const NAP: Duration = Duration::from_micros(50);

/// A lock that one thread takes again and again, and others hardly ever. It knows of nobody who waits, so that a plain store is enough to let
/// go of it: half the price of a lock that has to look. Who finds it taken looks again until it is free.
///
/// For what is over in some tens of nanoseconds: nothing that waits, and no code of a user's, under it.
#[derive(Debug)]
pub(crate) struct Latch<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through the guard alone, of which there is one at a time: whoever made `taken` true, until it is false again.
// So it passes from thread to thread, which `T: Send` allows.
unsafe impl<T: Send> Sync for Latch<T> {}

impl<T> Latch<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> LatchGuard<'_, T> {
        // Acquire pairs with the guard's Release: what the last holder wrote is seen.
        if self.taken.swap(true, Ordering::Acquire) {
            self.wait();
        }
        LatchGuard { latch: self, holds: PhantomData }
    }

    #[cold]
    #[expect(
        clippy::disallowed_methods,
        reason = "the holder knows of nobody who waits, and tells nobody when it is done"
    )]
    fn wait(&self) {
        let mut looks = 0;
        // A plain load first: who only looks must not own the line that the holder is to write.
        while self.taken.load(Ordering::Relaxed) || self.taken.swap(true, Ordering::Acquire) {
            looks += 1;
            // The holder may have lost its core in the middle of it.
            if looks <= SPINS {
                spin_loop();
            } else if looks <= YIELDS {
                thread::yield_now();
            } else {
                thread::sleep(NAP);
            }
        }
    }
}

/// Holds a [`Latch`] until it is dropped.
#[derive(Debug)]
pub(crate) struct LatchGuard<'a, T> {
    latch: &'a Latch<T>,
    /// It is shared between threads, and sent, only where a `&mut T` is.
    holds: PhantomData<&'a mut T>,
}

impl<T> Deref for LatchGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the one guard there is, and it is borrowed for as long as the value.
        unsafe { &*self.latch.value.get() }
    }
}

impl<T> DerefMut for LatchGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and it is borrowed exclusively.
        unsafe { &mut *self.latch.value.get() }
    }
}

impl<T> Drop for LatchGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.latch.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it_even_if_it_holds_it_for_long() {
        const EACH: u64 = 2_000;
        let latch = Latch::new((0_u64, 0_u64));
        let hold = &|number: u64| {
            for turn in 0..EACH {
                let mut both = latch.lock();
                both.0 += 1;
                if turn % 500 == number {
                    // As if it had lost its core: the others come to sleep.
                    (0..1_000).for_each(|_| thread::yield_now());
                }
                both.1 += 1;
            }
        };
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || hold(number));
            }
        });
        assert_eq!(*latch.lock(), (4 * EACH, 4 * EACH));
    }

    #[test]
    fn whoever_panics_lets_go_of_it() {
        let latch = Latch::new(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = latch.lock();
            panic!("on purpose");
        }));
        assert!(caught.is_err());
        assert_eq!(*latch.lock(), 1);
    }
}
