//! What a job remembers of the place that submitted it.

use tracing::Span;

use super::context::{is_inside, lineage_here};
use super::span::{is_wanted, of_submitter};
use crate::snapshot::Lineage;
use crate::sync::Mutex;

/// Where a job comes from. Part of what few jobs have: one that is submitted from outside any job has none, unless somebody traces jobs.
#[derive(Debug)]
pub(crate) struct Origin(Box<Parts>);

#[derive(Debug)]
struct Parts {
    lineage: Option<Lineage>,
    /// The span that the submitter was in, until the job begins.
    submitter: Mutex<Option<Span>>,
}

impl Origin {
    /// The origin of a job that is submitted here. From outside any job, and with nobody listening, this is two looks.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        if is_inside() || is_wanted() { Self::from_here() } else { None }
    }

    #[cold]
    fn from_here() -> Option<Self> {
        let (lineage, submitter) = (lineage_here(), of_submitter());
        let known = lineage.is_some() || submitter.is_some();
        known.then(|| Self(Box::new(Parts { lineage, submitter: Mutex::new(submitter) })))
    }

    /// That of a job which was submitted in another process.
    #[cfg(feature = "process")]
    pub(crate) fn elsewhere(lineage: Lineage) -> Self {
        Self(Box::new(Parts { lineage: Some(lineage), submitter: Mutex::new(None) }))
    }

    /// The submitter's span, which is let go of unless it is to be `kept` for another delivery.
    pub(super) fn submitter(&self, kept: bool) -> Option<Span> {
        let mut submitter = self.0.submitter.lock();
        if kept { submitter.clone() } else { submitter.take() }
    }

    pub(super) fn lineage(&self) -> Option<&Lineage> {
        self.0.lineage.as_ref()
    }
}
