//! What grows with the size of a pool, and what stays flat: `cargo bench --bench growth [-- [--json] [--quick] [queued | workers | crowd]]`.
//!
//! Three axes: jobs in the queue of a `ThreadPool` of four, workers of a `TaskPool`, and what others feel while so many workers come
//! or go. Each size is measured several times,
//! by turns with the others; shown are medians, and at the end the last size's figure over the first's. `inventory` walks
//! every worker and may grow with them; nothing else should.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "benchmarks measure, sleep and start threads")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod crowd;
#[path = "../harness/mod.rs"]
mod harness;
mod queued;
mod table;
mod workers;

use std::env;
use std::process::ExitCode;

use harness::Options;
use table::Axis;

fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)) {
        Ok(options) => run(&options),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    if options.hooks > 0 {
        eprintln!("--hooks: for the bench `peers` alone");
        return ExitCode::from(2);
    }
    let turns = if options.quick { 3 } else { 7 };
    let axes = [
        Axis {
            name: "queued",
            columns: queued::COLUMNS,
            sizes: &[1_000, 100_000, 1_000_000],
            measure: queued::measure,
        },
        Axis { name: "workers", columns: workers::COLUMNS, sizes: &[1, 100, 10_000], measure: workers::measure },
        Axis { name: "crowd", columns: crowd::COLUMNS, sizes: &[1, 100, 10_000], measure: crowd::measure },
    ];
    let wanted: Vec<&Axis> = axes.iter().filter(|axis| options.wants(&[axis.name])).collect();
    for axis in &wanted {
        let figures = axis.run(turns);
        if options.json { axis.print_json(&figures) } else { axis.print(&figures) }
    }
    if wanted.is_empty() {
        eprintln!("no axis of that name: queued, workers, crowd");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}
