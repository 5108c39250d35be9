//! A desk at which children ask for work to be done here, in the process that they come from: the socket between the two, and what is said over
//! it. Included by the suites that run their bodies on processes, too.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millpond::JobContext;

/// Words to the child. After the first two comes what goes with them.
const VALUE: u8 = 0;
const PANIC: u8 = 1;
/// May come before them, any number of times.
#[allow(dead_code, reason = "one suite's works do not beat")]
pub(crate) const BEAT: u8 = 2;
/// The one word from the child, after the number of its work.
const CANCEL: u8 = 1;

/// Opens one, for this process: whoever comes is served on a thread of its own, by the number that it says.
pub(crate) fn open(serve: fn(UnixStream, u64)) -> PathBuf {
    let path = std::env::temp_dir().join(format!("millpond-desk-{}", std::process::id()));
    // Left over from a process of the same number.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a place for the socket");
    spawn(move || {
        for mut caller in listener.incoming().flatten() {
            spawn(move || {
                let mut number = [0; 8];
                if caller.read_exact(&mut number).is_ok() {
                    serve(caller, u64::from_le_bytes(number));
                }
            });
        }
    });
    path
}

#[expect(clippy::disallowed_methods, reason = "who does work on behalf of children")]
fn spawn(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(f);
}

/// Tells the child how its work has ended.
pub(crate) fn answer(mut caller: UnixStream, done: std::thread::Result<u64>) {
    caller.set_nonblocking(false).expect("it is open");
    let answer = match done {
        Ok(value) => [&[VALUE], &value.to_le_bytes()[..]].concat(),
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

/// In the child: has the work of this number done, and waits for that. Beats are passed on from there, a cancellation is passed on to there.
pub(crate) fn ask(desk: &Path, number: u64) -> u64 {
    let mut desk = UnixStream::connect(desk).expect("somebody is there");
    desk.write_all(&number.to_le_bytes()).expect("somebody listens");
    desk.set_read_timeout(Some(Duration::from_millis(2))).expect("it is open");
    let (me, mut told, mut answer) = (JobContext::current().expect("a job has a context"), false, Vec::new());
    loop {
        if me.is_cancelled() && !std::mem::replace(&mut told, true) {
            // Too late if the work has ended.
            let _ = desk.write_all(&[CANCEL]);
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
        Some((&VALUE, value)) => u64::from_le_bytes(value.try_into().expect("a number")),
        Some((_, said)) => panic!("{}", String::from_utf8_lossy(said)),
        None => panic!("there is no such work"),
    }
}
