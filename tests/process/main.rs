//! Pools of child processes: what only they can do, and what only can happen to them.

#![cfg(all(feature = "process", unix))]
#![allow(missing_docs, reason = "nobody outside calls a test")]
#![allow(clippy::disallowed_methods, reason = "tests measure, spawn and pause between two looks at a condition")]

#[cfg(target_os = "linux")]
mod alone;
mod calls;
mod deaths;
#[cfg(feature = "testing")]
mod early;
#[cfg(feature = "testing")]
mod growth;
#[cfg(target_os = "linux")]
mod large;
mod leaving;
#[cfg(feature = "testing")]
mod pairs;
mod programs;
#[cfg(feature = "testing")]
mod quarantine;
mod redelivery;
#[cfg(feature = "testing")]
mod resting;
mod rig;
#[cfg(target_os = "linux")]
mod settings;

millpond::process_test_entry!();
