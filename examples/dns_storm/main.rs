//! The DNS storm: what happens to name look-ups when slow blocking calls share their threads, and the cure.
//!
//! ```text
//! cargo run --release --example dns_storm                       # looks up localhost: no network needed
//! cargo run --release --example dns_storm -- --json my.host     # your names; one JSON object on the last line
//! ```
//!
//! Both sides have six threads to block and ask the system's own resolver. It takes about half a minute.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]
#![allow(clippy::disallowed_methods, reason = "it measures with the machine's clock, and its slow calls sleep")]

mod arguments;
mod operator;
mod pond;
mod report;
mod rival;
mod stats;
mod storm;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use arguments::Arguments;
use report::Report;
use stats::Run;
use storm::Names;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("dns_storm: {problem}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dns_storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Also the warm-up: the first look-up of a process pays for loading the resolver's configuration.
    for name in arguments.names.iter() {
        storm::resolve(name).map_err(|error| format!("`{name}` cannot be looked up, storm or not: {error}"))?;
    }
    let mut report = Report::begin(&arguments.names);
    for (key, run) in rows() {
        report.row(key, run(Arc::clone(&arguments.names))?);
    }
    report.explain_rows();
    report.operator(operator::operate(Arc::clone(&arguments.names))?);
    if arguments.json {
        report.print_json();
    }
    Ok(())
}

/// Runs one row of the table from start to end, on a runtime of its own.
type Row = fn(Names) -> Result<Run, Box<dyn Error>>;

/// Every row, under the key that it has in the table and in the JSON.
fn rows() -> [(&'static str, Row); 5] {
    [
        ("tokio_idle", rival::idle),
        ("tokio_storm", rival::storm),
        ("tokio_bulkhead", rival::bulkhead),
        ("millpond_storm", pond::storm),
        ("millpond_unreserved", pond::unreserved),
    ]
}
