//! Work of a pool of processes: a child's job asks this process, over a socket, to do the work on its behalf, and waits for that.
//!
//! So works share latches and meters with their tests on every kind of pool; what they say (a beat) and are told (a cancellation) is passed
//! on. When the child ends, its work does, as far as it can be seen from here: whatever it waits for.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millpond::JobContext;
use millpond::process::RemoteCall;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// Words from here to the child.
const BEAT: u8 = 2;
const PANIC: u8 = 1;
const VALUE: u8 = 0;

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
    DESK.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("millpond-hazards-{}", std::process::id()));
        // Left over from a process of the same number.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a place for the socket");
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                std::thread::spawn(move || serve(caller));
            }
        });
        path
    })
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
        let _ = (&self.socket).write_all(&[BEAT]);
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
fn serve(mut caller: UnixStream) {
    let mut number = [0; 8];
    if caller.read_exact(&mut number).is_err() {
        return;
    }
    let Some(work) = take(u64::from_le_bytes(number)) else { return };
    let socket = caller.try_clone().expect("a descriptor");
    socket.set_nonblocking(true).expect("it is open");
    let child = Child { socket, cancelled: AtomicBool::new(false), gone: AtomicBool::new(false) };
    let done = catch_unwind(AssertUnwindSafe(|| work.run_for(&child)));
    caller.set_nonblocking(false).expect("it is open");
    let answer = match done {
        Ok(output) => [&[VALUE], &output.value.to_le_bytes()[..]].concat(),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or(panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default();
            [&[PANIC], said.as_bytes()].concat()
        }
    };
    // A child that was killed does not want it any more. One that lives closes first, or what it said meanwhile would cost it the answer.
    let _ = caller.write_all(&answer).and_then(|()| caller.shutdown(Shutdown::Write));
    let _ = std::io::copy(&mut caller, &mut std::io::sink());
}

/// In the child.
fn ask(errand: Errand) -> Output {
    let mut desk = UnixStream::connect(&errand.desk).expect("somebody is there");
    desk.write_all(&errand.number.to_le_bytes()).expect("somebody listens");
    desk.set_read_timeout(Some(Duration::from_millis(2))).expect("it is open");
    let (me, mut told, mut answer) = (JobContext::current().expect("a job has a context"), false, Vec::new());
    loop {
        if me.is_cancelled() && !std::mem::replace(&mut told, true) {
            // Too late if the work has ended.
            let _ = desk.write_all(&[1]);
        }
        let mut chunk = [0; 256];
        match desk.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
        while answer.first() == Some(&BEAT) {
            answer.remove(0);
            me.beat();
        }
    }
    match answer.split_first() {
        Some((&VALUE, value)) => Output { value: u64::from_le_bytes(value.try_into().expect("a number")), cargo: None },
        Some((_, said)) => panic!("{}", String::from_utf8_lossy(said)),
        None => panic!("there is no such work"),
    }
}
