//! Mixed pools, of `millpond-supervisors`: several pools behind one admission and one route. Workers are scripted and the clock is set, but in `real`.

#![cfg(feature = "testing")]
#![allow(missing_docs, reason = "nobody outside calls a test")]
#![allow(clippy::disallowed_methods, reason = "tests spawn, and pause between two looks at a condition")]

mod again;
mod blocked;
mod ends;
mod gate;
mod histories;
#[cfg(all(feature = "process", feature = "interpreter", unix))]
mod real;
mod rig;
mod routes;
mod seen;

#[cfg(all(feature = "process", unix))]
millpond::process_test_entry!();
