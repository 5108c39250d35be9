//! Ready-made policies and supervisors for millpond's pools. This crate knows millpond, never the reverse.
//!
//! A policy decides and touches nothing: it is handed `now` and what a slot has been through, and answers. None reads a clock, so
//! each is tested on simulated time.
//!
//! | restart policy | a worker that fails | gives the pool up |
//! |---|---|---|
//! | [`Never`] | leaves its slot empty | never |
//! | [`OneForOne`] | is restarted at once | past so many failures of the whole pool within a period |
//! | [`Backoff`] | is restarted after a delay that grows with its slot's streak of failures | never |
//! | [`Breaker`] | is restarted; after too many failures in a row its slot cools off, and then one worker is tried as a probe | never |
//!
//! | autoscaler | the limit in force |
//! |---|---|
//! | [`Fixed`] | always the same |
//! | [`SojournTarget`] | grows while jobs wait for longer than a target, shrinks to what was in use after a calm time |
//!
//! [`Group`] supervises several pools through their actors alone, whatever runs their jobs.
//!
//! [`mixed`] puts several pools behind one admission and one policy: a job goes to the first member that takes it, or to another when that failed.
//!
//! Without a restart policy, a pool backs off, keeps a budget for each slot on its own, and cools a slot down that is out of it, which suits most.
//!
//! | watchdog | a job that makes no progress is |
//! |---|---|
//! | [`watchdog::warn_only`] | warned about, again and again |
//! | [`watchdog::ask`] | asked to stop after a grace; nobody is taken |
//! | [`watchdog::patient`] | asked, its worker is told, its worker is taken, each after a grace |
//! | [`watchdog::strict`] | asked, and its worker is taken at once |
//!
//! | hook | is told, and |
//! |---|---|
//! | [`hook::AuditTrail`] | writes a line of JSON for each question and all that happens |
//! | [`hook::Tracing`] | writes to `tracing` what millpond itself does not |
//! | [`hook::Alarm`] | calls somebody when a pool is saturated for long, and when it is so no more |
//!
//! ```
//! use millpond::{Limits, ThreadPool};
//! use millpond_supervisors::OneForOne;
//! use std::time::Duration;
//!
//! let pool = ThreadPool::builder("parsers")
//!     .limits(Limits::fixed(2))
//!     .restart_after_panic()
//!     .restart_policy(OneForOne::new(3, Duration::from_secs(5)))
//!     .build()?;
//! assert_eq!(pool.submit_blocking(|| 6 * 7)?.join()?, 42);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod autoscale;
mod group;
pub mod hook;
pub mod mixed;
mod restart;
pub mod watchdog;

pub use autoscale::{Fixed, SojournTarget};
pub use group::{Group, GroupMessage, MemberReply, MemberReport, MemberStatus, Strategy};
pub use restart::{Backoff, Breaker, Never, OneForOne};
