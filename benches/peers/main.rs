//! millpond beside its peers: `cargo bench --bench peers [-- [--json] [--quick] [--hooks <number>] [row or peer ...]]`.
//!
//! Both sides of a row run in this process with the same number of workers, by turns, each on a runtime of its own of the
//! same kind. Shown are both medians and the median of the rounds' ratios, above 1 where millpond is ahead. What is asked
//! of millpond a thousand times and more is shown as its p99, against the peer's median of five.
//!
//! With `--hooks 10` each of millpond's pools has ten hooks, hosted, asked about everything and told of everything, and there are rows whose peer is the
//! same pool without any, `no_hooks`. No job waits for a hook; a worker that is started does, up to the hooks' limit.
//!
//! With the feature `process` there are rows about child processes, two on each side: millpond's, procspawn's, and those of CPython's
//! `ProcessPoolExecutor`, if there is a `python3`. One thread keeps 64 small jobs on their way; large ones go one at a time.
//!
//! With the feature `interpreter` there are rows about WebAssembly: a call beside the same one to a thread with an instance behind a channel, what a fresh
//! instance adds to a job beside a bare one, and the kill of a loop. With `lua`: a call beside the same one to a thread with a state behind a channel. With `wasi`: a
//! command beside a bare run of it.
//!
//! `control_burning` is no goal but a caution: with every core burning in somebody's code, no thread's p99 can be promised.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "benchmarks measure, sleep and start threads")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

#[cfg(any(feature = "interpreter", feature = "lua"))]
mod channel;
#[cfg(feature = "process")]
mod cpython;
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(feature = "interpreter")]
mod interpreters;
#[cfg(feature = "lua")]
mod lua;
mod millpond;
#[cfg(feature = "process")]
mod processes;
#[cfg(feature = "process")]
mod procspawn;
mod ractor_actor;
mod ractor_factory;
mod rayon;
mod rows;
mod spawn_blocking;
mod threadpool;
mod tokio_semaphore;
#[cfg(feature = "wasi")]
mod wasi;

use std::env;
use std::process::ExitCode;

use harness::memory::{self, CHILD};
use harness::{Measured, Options, Plan, Side};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// A row: its name, its peer, and what measures both.
type Row = (&'static str, &'static str, fn(&Plan) -> Measured);

/// So often all rows are gone through that are measured in rounds. A machine has moods that last for longer than a row does: with its rounds at a stretch a row
/// would be measured in one of them.
const PASSES: usize = 5;

/// The peer of rows that only a run with hooks has.
const NO_HOOKS: &str = "no_hooks";

const ROWS: &[Row] = &[
    ("async_64", "ractor_factory", |plan| {
        plan.throughput(millpond::asynchronous(64), ractor_factory::asynchronous(64))
    }),
    ("async_64", "tokio_semaphore", |plan| {
        plan.throughput(millpond::asynchronous(64), tokio_semaphore::asynchronous(64))
    }),
    ("async_1", "ractor_factory", |plan| plan.throughput(millpond::asynchronous(1), ractor_factory::asynchronous(1))),
    ("blocking_64", "spawn_blocking", |plan| plan.throughput(millpond::blocking(64), spawn_blocking::blocking(64))),
    ("blocking_1", "spawn_blocking", |plan| plan.throughput(millpond::blocking(1), spawn_blocking::blocking(1))),
    ("fire_and_forget", "rayon", |plan| plan.throughput(millpond::fire_and_forget(), rayon::fire_and_forget())),
    ("fire_and_forget", "threadpool", |plan| {
        plan.throughput(millpond::fire_and_forget(), threadpool::fire_and_forget())
    }),
    ("async_64", NO_HOOKS, |plan| beside_none(plan, || millpond::asynchronous(64))),
    ("async_1", NO_HOOKS, |plan| beside_none(plan, || millpond::asynchronous(1))),
    ("blocking_64", NO_HOOKS, |plan| beside_none(plan, || millpond::blocking(64))),
    ("blocking_1", NO_HOOKS, |plan| beside_none(plan, || millpond::blocking(1))),
    ("fire_and_forget", NO_HOOKS, |plan| beside_none(plan, millpond::fire_and_forget)),
    ("control_backlog", NO_HOOKS, |_| rows::beside_none("us", rows::inventory_p99)),
    ("inventory_now", NO_HOOKS, |_| rows::beside_none("us", rows::inventory_now)),
    ("saturation_read", NO_HOOKS, |_| rows::beside_none("ns", rows::saturation_read)),
    ("idle_worker", NO_HOOKS, |_| rows::beside_none("bytes", || rows::bytes("idle_worker"))),
    ("queued_job", NO_HOOKS, |_| rows::beside_none("bytes", || rows::bytes("queued_job"))),
    ("control_backlog", "ractor_factory", |_| rows::control_backlog()),
    ("control_burning", "ractor_ping", |_| rows::control_burning()),
    ("inventory_now", "none", |_| Measured::alone("us", rows::inventory_now())),
    ("saturation_read", "none", |_| Measured::alone("ns", rows::saturation_read())),
    ("idle_worker", "ractor_actor", |_| rows::idle_worker()),
    ("queued_job", "none", |_| rows::queued_job()),
    #[cfg(feature = "interpreter")]
    ("interpreter_call", "channel", |plan| plan.throughput(interpreters::calls(), interpreters::channel())),
    #[cfg(feature = "interpreter")]
    ("interpreter_fresh", "wasmtime", |plan| interpreters::fresh(plan.rounds)),
    #[cfg(feature = "interpreter")]
    ("interpreter_killed", "none", |plan| interpreters::killed(plan.rounds * 25)),
    #[cfg(feature = "lua")]
    ("lua_call", "channel", |plan| plan.throughput(lua::calls(), lua::channel())),
    #[cfg(feature = "wasi")]
    ("wasi_command", "wasmtime_wasi", |plan| plan.throughput(wasi::commands(), wasi::bare())),
    #[cfg(feature = "process")]
    ("process_small", cpython::NAME, |plan| plan.throughput(processes::small(), cpython::small())),
    #[cfg(feature = "process")]
    ("process_small", "procspawn", |plan| plan.throughput(processes::small(), procspawn::small())),
    #[cfg(feature = "process")]
    ("process_64mib", cpython::NAME, |plan| plan.throughput(processes::large(), cpython::large())),
    #[cfg(feature = "process")]
    ("process_replaced", "none", |plan| processes::replaced(plan.rounds * 25)),
];

fn beside_none<S: Side>(plan: &Plan, make: impl Fn() -> S) -> Measured {
    let (with, without) = millpond::with_and_without(make);
    plan.throughput(with, without)
}

fn main() -> ExitCode {
    #[cfg(feature = "process")]
    processes::init();
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|first| first == CHILD).is_some() {
        return rows::as_child(arguments);
    }
    match Options::parse(arguments) {
        Ok(options) => run(&options),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    let applies = |peer: &str| options.hooks > 0 || peer != NO_HOOKS;
    let mut wanted: Vec<&Row> =
        ROWS.iter().filter(|(row, peer, _)| applies(peer) && options.wants(&[row, peer])).collect();
    if wanted.is_empty() {
        eprintln!("no row of that name");
        return ExitCode::from(2);
    }
    wanted.retain(|(row, peer, _)| is_there(row, peer));
    millpond::have_hooks(options.hooks);
    if !options.json {
        if options.hooks > 0 {
            println!("with {} hooks at each of millpond's pools", options.hooks);
        }
        println!("{}", Measured::heading());
    }
    let plan = options.plan();
    let mut measured: Vec<Option<Measured>> = vec![None; wanted.len()];
    for pass in 1..=PASSES {
        for ((row, peer, measure), measured) in wanted.iter().zip(&mut measured) {
            let so_far = match measured.take() {
                None => measure(&plan),
                Some(before) if before.goes_on() => before.with(measure(&plan)),
                Some(once) => once,
            };
            if pass == PASSES {
                let (json, hooks) = (options.json, options.hooks);
                println!("{}", if json { so_far.json(row, peer, hooks) } else { so_far.line(row, peer) });
            }
            *measured = Some(so_far);
        }
    }
    ExitCode::SUCCESS
}

/// False if this machine has no such peer, which is told.
#[cfg_attr(not(feature = "process"), expect(unused_variables, reason = "all others are linked in"))]
fn is_there(row: &str, peer: &str) -> bool {
    #[cfg(feature = "process")]
    if peer == cpython::NAME && !cpython::is_there() {
        eprintln!("{row} {peer}: skipped, there is no python3");
        return false;
    }
    true
}
