//! The rows that are not throughput: control, reads and memory.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ::millpond::PoolExecutor;

use crate::harness::figures::{median, nanos_per_call, quantile, time_each};
use crate::harness::load::{self, Busy};
use crate::harness::{Measured, WORKERS, memory};
use crate::{millpond, ractor_actor, ractor_factory};

/// Jobs in the queue of `control_backlog` and `queued_job`.
const BACKLOG: u64 = 1_000_000;
/// Actors and workers over which `idle_worker` takes its mean.
const IDLE: usize = 2_000;

/// millpond's p99 over 1,500 inventories against the peer's median of five counts, by turns.
///
/// Each turn is the same on both sides: workers asleep in jobs, then the backlog sent, and asked at once. The peer is
/// asked once, since its first answer arrives when it has read the backlog from its mailbox, and no later one waits for it.
pub(crate) fn control_backlog() -> Measured {
    let (mut millpond, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        millpond.extend(inventories());
        peer.push(ractor_factory::count_behind(BACKLOG));
    }
    Measured::against("us", quantile(&millpond, 0.99), median(&peer))
}

fn inventories() -> Vec<f64> {
    millpond::inventories_behind(BACKLOG, 300)
}

/// The p99 of 300 of those inventories.
pub(crate) fn inventory_p99() -> f64 {
    quantile(&inventories(), 0.99)
}

/// An inventory by message beside a bare ping, p99 of both, while plain threads burn every core.
///
/// Each turn lasts for many slices of the scheduler, which favours for a while whoever has just slept.
pub(crate) fn control_burning() -> Measured {
    let (asked, pinged) = (millpond::Asked::start(), ractor_actor::Pinged::start());
    let _burning = Busy::start(WORKERS, load::burn);
    let (mut millpond, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        millpond.extend(asked.ask(5_000));
        peer.extend(pinged.ping(5_000));
    }
    Measured::against("us", quantile(&millpond, 0.99), quantile(&peer, 0.99))
}

/// The p99 of 10,000 inventories read in the caller, under load. A pause after every 50 lets the caches go cold.
pub(crate) fn inventory_now() -> f64 {
    let times = millpond::under_load(|pool| -> Vec<f64> {
        let burst = |_| {
            thread::sleep(Duration::from_millis(1));
            time_each(50, || pool.inventory_now())
        };
        (0..200).flat_map(burst).collect()
    });
    quantile(&times, 0.99)
}

/// A figure of millpond's, lower is better, by turns with hooks and without.
pub(crate) fn beside_none(unit: &'static str, figure: impl Fn() -> f64) -> Measured {
    Measured::lower_is_better(unit, (0..3).map(|_| millpond::with_and_without(&figure)).unzip())
}

/// One read of the counters under load.
pub(crate) fn saturation_read() -> f64 {
    millpond::under_load(|pool| nanos_per_call(501, || pool.saturation()))
}

/// An idle worker beside an idle bare actor.
pub(crate) fn idle_worker() -> Measured {
    let turn = |_| (bytes("idle_worker"), memory::in_child("ractor_actor", 0));
    Measured::lower_is_better("bytes", (0..3).map(turn).unzip())
}

/// A queued job, all included.
pub(crate) fn queued_job() -> Measured {
    let turns: Vec<f64> = (0..3).map(|_| bytes("queued_job")).collect();
    Measured::alone("bytes", median(&turns))
}

/// What that takes, measured in a child.
pub(crate) fn bytes(what: &str) -> f64 {
    memory::in_child(what, millpond::hooks())
}

/// What a child process does: measures one thing and prints its bytes.
pub(crate) fn as_child(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let what = arguments.next();
    millpond::have_hooks(arguments.next().and_then(|hooks| hooks.parse().ok()).unwrap_or(0));
    memory::start_counting();
    let bytes = match what.as_deref() {
        Some("idle_worker") => millpond::idle_bytes_each(IDLE),
        Some("ractor_actor") => ractor_actor::bytes_each(IDLE),
        Some("queued_job") => millpond::queued_bytes_each(BACKLOG),
        _ => return ExitCode::from(2),
    };
    println!("{bytes}");
    ExitCode::SUCCESS
}
