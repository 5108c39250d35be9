//! What handles hold of the plane: a lease, shared by the handles of a few threads.

use std::cell::Cell;

use super::Plane;
use crate::job::{Envelope, Recalls};
use crate::sync::{Arc, AtomicUsize, Ordering, Padded};

/// More copies than this buy nothing.
const LEASES: usize = 8;

/// A share in the plane.
pub(crate) struct Lease<J: ?Sized> {
    plane: Arc<Plane<J>>,
}

impl<J: ?Sized + Envelope> Recalls for Lease<J> {
    fn recall(&self, job: &Arc<dyn Envelope>) {
        self.plane.recall(job);
    }

    fn would_block(&self) -> bool {
        self.plane.would_block()
    }
}

/// Leases by thread: with one count for all handles, submitters on several threads would pass its line to and fro for each job.
pub(crate) struct Leases<J: ?Sized>(Box<[Padded<Arc<Lease<J>>>]>);

impl<J: ?Sized> Leases<J> {
    pub(crate) fn new(plane: &Arc<Plane<J>>) -> Self {
        Self((0..LEASES).map(|_| Padded(Arc::new(Lease { plane: plane.clone() }))).collect())
    }

    /// This thread's.
    pub(crate) fn lend(&self) -> Arc<Lease<J>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let index = INDEX.try_with(|index| {
            if index.get() == usize::MAX {
                index.set(NEXT.fetch_add(1, Ordering::Relaxed) % LEASES);
            }
            index.get()
        });
        // A thread that is being torn down has lost its index: any lease will do.
        self.0[index.unwrap_or(0)].clone()
    }
}
