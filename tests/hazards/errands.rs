//! Work of a pool of processes: a child's job asks this process, over a socket, to do the work on its behalf, and waits for that.
//!
//! So works share latches and meters with their tests on every kind of pool; what they say (a beat) and are told (a cancellation) is passed
//! on. When the child ends, its work does, as far as it can be seen from here: whatever it waits for.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millpond::process::RemoteCall;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::desk;
use crate::work::{Host, Output, Work};

/// What a child is sent: where to ask, and for which work.
#[derive(Debug, Serialize, Deserialize)]
pub struct Errand {
    number: u64,
    desk: PathBuf,
}

/// A job of a pool of processes.
pub type Call = RemoteCall<Errand, Output>;

static WORKS: Mutex<Option<HashMap<u64, Work>>> = parking_lot::const_mutex(None);

fn take(number: u64) -> Option<Work> {
    WORKS.lock().as_mut()?.remove(&number)
}

impl Drop for Errand {
    fn drop(&mut self) {
        // In a child there is none. Here it is a job that will not run, or has begun, which has taken it.
        let work = take(self.number);
        drop(work);
    }
}

pub fn call(work: Work) -> Call {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    WORKS.lock().get_or_insert_default().insert(number, work);
    RemoteCall::new(ask, Errand { number, desk: desk().clone() })
}

/// What a job gives, but for what cannot leave its process.
impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { value: u64::deserialize(deserializer)?, cargo: None })
    }
}

/// Where works are asked for.
fn desk() -> &'static PathBuf {
    static DESK: OnceLock<PathBuf> = OnceLock::new();
    DESK.get_or_init(|| desk::open(serve))
}

/// The child that a work is done for.
struct Child {
    socket: UnixStream,
    cancelled: AtomicBool,
    gone: AtomicBool,
}

impl Child {
    fn listen(&self) {
        let mut word = [0];
        match (&self.socket).read(&mut word) {
            Ok(1) => self.cancelled.store(true, Ordering::Release),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.gone.store(true, Ordering::Release),
        }
    }
}

impl Host for Child {
    fn beat(&self) {
        // A child that was killed does not want it any more.
        let _ = (&self.socket).write_all(&[desk::BEAT]);
    }

    fn is_cancelled(&self) -> bool {
        self.listen();
        self.cancelled.load(Ordering::Acquire)
    }

    fn is_gone(&self) -> bool {
        self.listen();
        self.gone.load(Ordering::Acquire)
    }
}

/// Does one work on behalf of a child.
fn serve(caller: UnixStream, number: u64) {
    let Some(work) = take(number) else { return };
    let socket = caller.try_clone().expect("a descriptor");
    socket.set_nonblocking(true).expect("it is open");
    let child = Child { socket, cancelled: AtomicBool::new(false), gone: AtomicBool::new(false) };
    let done = catch_unwind(AssertUnwindSafe(|| work.run_for(&child)));
    desk::answer(caller, done.map(|output| output.value));
}

/// In the child.
fn ask(errand: Errand) -> Output {
    Output { value: desk::ask(&errand.desk, errand.number), cargo: None }
}
