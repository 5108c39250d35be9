//! A label whose jobs are kept out.

use std::fmt;
use std::time::Duration;

use super::Seconds;
use crate::sync::{Arc, Timestamp};

/// A label that is in quarantine: workers kept being lost under its jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Quarantined {
    /// The pool.
    pub pool: Arc<str>,
    /// The label.
    pub label: Arc<str>,
    /// So many workers were lost under its jobs,
    pub deaths: u32,
    /// within this time.
    pub within: Duration,
    /// Since when it is kept out, on the pool's clock.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// When this was said.
    pub at: Timestamp,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, label, deaths, within, since, until, at } = self;
        let (within, since, left) = (Seconds(*within), Seconds(at.since(*since)), Seconds(until.since(*at)));
        write!(
            f,
            "pool `{pool}`: label `{label}` is in quarantine since {since}, and for {left} more: {deaths} workers were lost under its jobs within {within}"
        )
    }
}
