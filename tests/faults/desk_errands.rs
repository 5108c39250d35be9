//! Errands of a pool of processes: what a child is sent is where to ask, and for which; the errand itself stays here, where the books are, and is done here as
//! long as the child is there. So a child that is killed is one whose job waits.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond::process::RemoteCall;
use millpond::{JobContext, WorkerId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::desk;
use crate::errand::Errand;

static ERRANDS: Mutex<Option<HashMap<u64, Errand>>> = parking_lot::const_mutex(None);

/// An errand that is to be asked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Slip {
    number: u64,
    desk: PathBuf,
}

impl Drop for Slip {
    fn drop(&mut self) {
        // In a child there is none. Here it is a job that will not run, or has begun, which has taken it.
        drop(take(self.number));
    }
}

/// Of what the child says, the lower half: who has the errand.
const WHO: u32 = 32;
const GENERATION: u32 = 24;

fn take(number: u64) -> Option<Errand> {
    ERRANDS.lock().as_mut()?.remove(&number)
}

pub fn call(errand: Errand) -> RemoteCall<Slip, u64> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    static DESK: OnceLock<PathBuf> = OnceLock::new();
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    ERRANDS.lock().get_or_insert_default().insert(number, errand);
    RemoteCall::new(ask, Slip { number, desk: DESK.get_or_init(|| desk::open(serve)).clone() })
}

/// In the child.
fn ask(slip: Slip) -> u64 {
    let WorkerId { slot, generation, .. } = JobContext::current().expect("a job has a context").worker_id();
    desk::ask(&slip.desk, slip.number << WHO | u64::from(slot) << GENERATION | u64::from(generation))
}

/// The child that asks.
pub struct Caller {
    socket: UnixStream,
    is_cancelled: Cell<bool>,
    is_gone: Cell<bool>,
}

impl Caller {
    fn look(&self) {
        // A byte is a cancellation; the end is the child's.
        match (&self.socket).read(&mut [0]) {
            Ok(0) => self.is_gone.set(true),
            Ok(_) => self.is_cancelled.set(true),
            Err(error) => self.is_gone.set(self.is_gone.get() || error.kind() != ErrorKind::WouldBlock),
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.look();
        self.is_cancelled.get()
    }

    /// It was killed, and its job with it.
    pub fn is_gone(&self) -> bool {
        self.look();
        self.is_gone.get()
    }
}

/// Does one errand on behalf of a child.
fn serve(socket: UnixStream, said: u64) {
    let Some(errand) = take(said >> WHO) else { return };
    let who = said & ((1 << WHO) - 1);
    let worker = WorkerId {
        slot: u32::try_from(who >> GENERATION).expect("a few slots"),
        generation: u32::try_from(who & ((1 << GENERATION) - 1)).expect("a few of them"),
    };
    socket.set_nonblocking(true).expect("it is open");
    let caller = Caller { socket, is_cancelled: Cell::new(false), is_gone: Cell::new(false) };
    let done = catch_unwind(AssertUnwindSafe(|| errand.run_for(&caller, worker)));
    desk::answer(caller.socket, done);
}
