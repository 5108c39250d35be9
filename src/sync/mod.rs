//! Primitives: `std`/`parking_lot`, or loom's under `--cfg millpond_loom`; the clock; parking; prefetching.

mod clock;
#[cfg(not(millpond_loom))]
mod latch;
mod park;
mod prefetch;

#[cfg(feature = "testing")]
pub(crate) use clock::Settable;
pub(crate) use clock::Ticks;
pub use clock::{Clock, Timestamp};
#[cfg(not(millpond_loom))]
pub(crate) use latch::{Latch, LatchGuard};
pub(crate) use park::{Parker, thread_waker};
#[cfg(not(millpond_loom))]
pub(crate) use park::{block_on, block_on_within};
pub(crate) use prefetch::prefetch;

pub(crate) use std::sync::{Arc, OnceLock, Weak};

/// A counter for statistics: it orders nothing and nobody waits for it, so loom need not permute it.
pub(crate) use std::sync::atomic::AtomicU64 as Tally;

/// A flag that no worker or submitter waits for, so that loom need not permute it either.
pub(crate) use std::sync::atomic::AtomicBool as Flag;

/// What is set under the locks of all who have to agree about it. loom permutes the locks, and need not permute this as well.
pub(crate) use std::sync::atomic::AtomicU64 as Setting;

/// A count that changes under a lock, of which whoever reads it without that lock expects no more than how it was at some moment. loom permutes the lock,
/// and need not permute this as well; that those who change it do hold a lock is what [`Alone`] has it see.
pub(crate) use std::sync::atomic::AtomicUsize as Count;

#[cfg(not(millpond_loom))]
mod imp {
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
    #[cfg(any(test, feature = "testing"))]
    pub(crate) use std::sync::atomic::AtomicUsize;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

    /// Stands for what one thread at a time may change, since it holds a lock. Nothing, but under loom.
    #[derive(Debug, Default)]
    pub(crate) struct Alone(());

    impl Alone {
        #[inline]
        pub(crate) fn change(&self) {}
    }

    /// `std`'s cell behind loom's interface, so that unsafe code is written once.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }
    }
}

#[cfg(millpond_loom)]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// Who waits for a latch looks again and again, which a model is not to.
    pub(crate) type Latch<T> = Mutex<T>;
    pub(crate) type LatchGuard<'a, T> = MutexGuard<'a, T>;

    /// Stands for what one thread at a time may change, since it holds a lock: loom reports two that no lock keeps apart.
    #[derive(Debug)]
    pub(crate) struct Alone(loom::cell::UnsafeCell<()>);

    // SAFETY: there is nothing in it.
    unsafe impl Sync for Alone {}

    impl Default for Alone {
        fn default() -> Self {
            Self(loom::cell::UnsafeCell::new(()))
        }
    }

    impl Alone {
        pub(crate) fn change(&self) {
            self.0.with_mut(|_| ());
        }
    }

    /// A cell whose accesses loom tracks, those through `&mut` excepted: what gave that, std's `Arc` for one, loom does not see.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T> {
        accesses: loom::cell::UnsafeCell<()>,
        value: std::cell::UnsafeCell<T>,
    }

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { accesses: loom::cell::UnsafeCell::new(()), value: std::cell::UnsafeCell::new(value) }
        }

        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.accesses.with_mut(|_| f(self.value.get()))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.value.get_mut()
        }
    }

    /// loom's mutex with `parking_lot`'s interface: a model that panics has failed already, so poison says nothing.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("the model has panicked before")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("the model has panicked before")
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("the model has panicked before")
        }
    }
}

pub(crate) use imp::*;

/// Keeps what one thread writes often off the cache line that another reads often.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
