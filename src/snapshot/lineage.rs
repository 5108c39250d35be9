//! Where a job comes from that another job submitted.

use std::panic::Location;

use crate::id::JobId;
use crate::sync::Arc;

/// The job that submitted another one, as that one remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Lineage {
    /// The pool that ran the submitting job.
    pub pool: Arc<str>,
    /// The job that submitted.
    pub parent: JobId,
    /// What its own submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted *it*.
    pub submitted_from: &'static Location<'static>,
    /// How many jobs stand above the one that remembers this: 1 if its parent was submitted from outside any job.
    pub depth: u32,
}
