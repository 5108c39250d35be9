//! What is traced: the span of each job, and what control decides. A program of its own, since a subscriber is the process's.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

#[cfg(all(feature = "process", feature = "testing", unix))]
mod children;
mod decisions;
mod listener;
mod operator;
#[cfg(feature = "interpreter")]
#[path = "../interpreter/polled/mod.rs"]
#[expect(unreachable_pub, reason = "the hazards' kinds, which have it too, are public")]
#[allow(dead_code, reason = "one engine stands for all")]
mod polled;
mod spans;
#[cfg(all(feature = "process", unix))]
mod words;

#[cfg(all(feature = "process", unix))]
millpond::process_test_entry!();
