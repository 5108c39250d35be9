//! CPython's `ProcessPoolExecutor`, as `python3` here has it: `cpython.py` does the work and says how long it took.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::harness::Side;
use crate::processes::{CHILDREN, LARGE, OUTSTANDING};

/// The peer's name in the table.
pub(crate) const NAME: &str = "cpython";

/// True if this machine has a `python3`.
pub(crate) fn is_there() -> bool {
    let asked = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Small jobs with a reply.
pub(crate) fn small() -> impl Side {
    Small(Interpreter::start())
}

/// Large jobs with as large a reply, one at a time.
pub(crate) fn large() -> impl Side {
    Large(Interpreter::start())
}

struct Small(Interpreter);

impl Side for Small {
    fn run(&mut self, jobs: u64) -> Duration {
        self.0.run("small", jobs)
    }
}

struct Large(Interpreter);

impl Side for Large {
    const FIRST: u64 = 1;

    fn run(&mut self, jobs: u64) -> Duration {
        self.0.run("large", jobs)
    }
}

struct Interpreter {
    process: Child,
    /// Its end is what ends the interpreter, and its workers.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Interpreter {
    fn start() -> Self {
        let arguments = [CHILDREN, OUTSTANDING, LARGE].map(|number| number.to_string());
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/cpython.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a python3");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, orders, answers }
    }

    fn run(&mut self, work: &str, jobs: u64) -> Duration {
        writeln!(self.orders.as_mut().expect("open until the end"), "{work} {jobs}").expect("a python3 that reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("a python3 that writes");
        let seconds = answer.trim().parse().expect("seconds, or what it has printed on standard error");
        Duration::from_secs_f64(seconds)
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.process.wait().expect("a python3 that ends");
    }
}
