//! How a thread that waits for a child is woken for something else.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::task::{Wake, Waker};

use crate::sync::{Arc, AtomicBool, Ordering};

/// Rung by anybody; heard by one thread, whose `poll` it ends. Rung any number of times, it costs one system call until it is heard.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    rope: UnixStream,
    clapper: UnixStream,
}

impl Bell {
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let (rope, clapper) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        clapper.set_nonblocking(true)?;
        Ok(Arc::new(Self { rung: AtomicBool::new(false), rope, clapper }))
    }

    pub(super) fn ring(&self) {
        // AcqRel pairs with `hear`: whoever finds it rung did so before the hearer cleared it, and the hearer looks after that.
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when a byte lies there, which does as well.
            let _ = (&self.rope).write(&[1]);
        }
    }

    /// Takes note; what it was rung for is to be looked at after this.
    pub(super) fn hear(&self) {
        // The byte first: were it taken after the clearing, it could be a later ringer's, which nobody would hear then.
        let _ = (&self.clapper).read(&mut [0; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.clapper.as_fd()
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
