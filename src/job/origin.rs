//! What a job remembers of the place that submitted it.

use super::context::lineage_here;
use crate::snapshot::Lineage;

/// Where a job comes from. Part of what few jobs have: one that is submitted from outside any job has none.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    lineage: Option<Lineage>,
}

impl Origin {
    /// The origin of a job that is submitted here. From outside any job this is one look.
    pub(crate) fn here() -> Option<Self> {
        let lineage = lineage_here();
        lineage.is_some().then(|| Self(Box::new(Parts { lineage })))
    }

    pub(super) fn lineage(&self) -> Option<&Lineage> {
        self.0.lineage.as_ref()
    }
}
