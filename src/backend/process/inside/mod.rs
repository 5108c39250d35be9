//! In the child: how a worker process of this executable lives.
//!
//! One thread runs the jobs, and reads the socket while it has none. A second one, the *ear*, listens while a job runs that takes longer
//! than a moment: for its cancellation, for STOP, and for the parent's end. Short jobs never wake it.

mod ear;
mod elsewhere;
mod post;
#[cfg(test)]
mod tests;
mod trace;

use std::os::unix::net::UnixStream;
use std::process::Command;

use self::ear::Ear;
#[cfg(any(test, fuzzing))]
pub(super) use self::elsewhere::Elsewhere;
use self::post::{Inbound, Job, Post};
use super::call::{Called, Named};
use super::frame::{self, Kind};
use super::freight::{Freight, Unsendable};
use super::identity::Executable;
use super::sys;
use super::wire::{self, Why};
use crate::job::{inside, want_backtraces};
use crate::sync::{Arc, AtomicBool, Ordering};

/// Says that this process is to be a worker, if the socket of `MILLPOND_FD` is its parent's.
const MARK: &str = "MILLPOND_WORKER";
/// The test that is a worker's `main` in a test executable; see `process_test_entry!`.
const TEST: &str = "millpond_entry::worker";

/// Where a child of this executable begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    in_test: bool,
}

impl Entry {
    /// In `main`, which begins with [`init`]. The default.
    pub const fn main() -> Self {
        Self { in_test: false }
    }

    /// In the test that [`process_test_entry!`](crate::process_test_entry) defines: for tests, whose `main` is not theirs.
    pub const fn test() -> Self {
        Self { in_test: true }
    }

    pub(super) fn shape(self, command: &mut Command) {
        command.env(MARK, "1");
        if self.in_test {
            command.args([TEST, "--exact", "--nocapture", "--test-threads=1"]);
        }
    }
}

/// Lets tests have a [`ProcessPool`](crate::ProcessPool) whose children are the test executable: put it once at the root of the test crate, and build
/// pools with `.entry(Entry::test())`.
#[macro_export]
macro_rules! process_test_entry {
    () => {
        #[cfg(test)]
        mod millpond_entry {
            /// Where worker processes begin; in the test run itself it does nothing.
            #[test]
            fn worker() {
                $crate::process::init();
            }
        }
    };
}

/// A program is no worker of this executable, unless its pool's options say so after this.
pub(super) fn unmark(command: &mut Command) {
    command.env_remove(MARK);
}

static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// The socket's number, in a process that was started to be a worker.
fn meant_to_be_worker() -> Option<std::os::fd::RawFd> {
    std::env::var_os(MARK)?;
    std::env::var("MILLPOND_FD").ok()?.parse().ok()
}

/// True in a process that was started to be a worker and runs as something else, because [`init`] was not called. Were it to have a pool, each
/// of its children would have one.
pub(super) fn has_missed_init() -> bool {
    let is_ours = |number| sys::is_parents_socket(number);
    !IS_WORKER.load(Ordering::Relaxed) && meant_to_be_worker().is_some_and(is_ours)
}

/// To be called first in the `main` of a program that has a [`ProcessPool`](crate::ProcessPool).
///
/// In a worker process it runs jobs until the worker is to end, and does not return. In any other it returns at once.
///
/// It must come before the program opens files or starts threads. What it costs a program that is no worker is a look at its environment.
pub fn init() {
    let Some(number) = meant_to_be_worker() else { return };
    match sys::inherited_socket(number) {
        // A worker's own child, which inherited the environment and not the socket.
        Ok(None) => {}
        Err(()) => leave(1),
        Ok(Some(socket)) => {
            IS_WORKER.store(true, Ordering::Relaxed);
            leave(serve(UnixStream::from(socket)));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a worker has no main to return to")]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// Why a worker ends before it is told to.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("its parent is gone")]
    ParentGone,
    #[error("its parent broke the protocol: {0}")]
    Broken(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs the worker; gives its exit code.
fn serve(socket: UnixStream) -> i32 {
    match live(socket) {
        Ok(()) => 0,
        // What it leaves behind is to go with it.
        Err(End::ParentGone) => {
            sys::kill_own_group();
            1
        }
        Err(end) => {
            complain(&end);
            1
        }
    }
}

#[expect(clippy::print_stderr, reason = "the parent reads it, and tells it as the worker's last words")]
fn complain(end: &End) {
    eprintln!("millpond worker: {end}");
}

fn live(socket: UnixStream) -> Result<(), End> {
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    sys::take_group_along()?;
    want_backtraces();
    let executable = Executable::own().map_err(|error| End::Broken(error.to_owned()))?;
    let post = Post::greet(socket, executable.identity())?;
    trace::install(&post);
    let ear = Ear::start(&post)?;
    post.say(|out| frame::put(out, Kind::Ready, 0, &[]))?;
    loop {
        match post.next()? {
            Inbound::Job(job) => {
                let mut next = (job, false);
                while let Some(early) = run(executable, &post, &ear, &next)? {
                    next = (early, true);
                }
                if post.is_stopped() {
                    break;
                }
            }
            Inbound::Unreadable { number, said } => {
                post.say(|out| wire::put_failure(out, number, Why::PayloadUnknown, &said, post.terms().limit))?;
            }
            // It has ended meanwhile.
            Inbound::Cancel(_) | Inbound::Recall(_) => {}
            Inbound::Stop => break,
        }
    }
    post.say(|out| frame::put(out, Kind::Goodbye, 0, &[]))?;
    Ok(())
}

/// Runs a job, which may be acknowledged by now, and answers. Gives the next one, if that came early: it is acknowledged, and so is to be run.
fn run(executable: &Executable, post: &Arc<Post>, ear: &Ear, next: &(Job, bool)) -> Result<Option<Job>, End> {
    let (job, is_acknowledged) = (&next.0, next.1);
    let named = Named::read(executable, &job.payload);
    let (line, lineage) = named.as_ref().map_or((None, None), |named| (named.line, named.lineage.clone()));
    let running = post.begin(job, (line, lineage), is_acknowledged);
    if job.early && !is_acknowledged {
        // Not begun before that is said: until then it can go to another worker.
        post.say_put_off()?;
    }
    ear.attend();
    let number = job.number;
    // The acknowledgement goes with the answer, or when the ear finds that the job takes longer.
    let mut answer = Vec::new();
    let at = frame::begin(&mut answer, Kind::Result, number);
    let terms = post.terms();
    let limit = terms.limit;
    let mut freight = Freight::new(&mut answer, at, terms);
    let called = match named {
        Ok(named) => inside(&running, || named.call(&mut freight)),
        Err(what) => Called::Failed(Why::PayloadUnknown, what.to_owned()),
    };
    post.end();
    ear.let_go();
    let enclosed = match called {
        Called::Done => match freight.end() {
            Ok(enclosed) => enclosed,
            Err(unsendable) => {
                let (why, said) = why_of(&unsendable, limit);
                wire::put_failure(&mut answer, number, why, &said, limit);
                None
            }
        },
        Called::Failed(why, said) => {
            answer.clear();
            wire::put_failure(&mut answer, number, why, &said, limit);
            None
        }
        Called::Panicked(panicked) => {
            answer.clear();
            panicked.put(&mut answer, number, limit);
            None
        }
    };
    let early = post.next_early()?;
    post.answer(&answer, enclosed.as_ref(), early.as_ref().map(|job| job.number))?;
    Ok(early)
}

fn why_of(unsendable: &Unsendable, limit: u32) -> (Why, String) {
    match unsendable {
        Unsendable::TooLarge(bytes) => (Why::ResultTooLarge, format!("{bytes} bytes, where {limit} are allowed")),
        Unsendable::Refused(error) => (Why::ResultUnsendable, format!("there is no memory for it: {error}")),
    }
}
