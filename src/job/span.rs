//! A job's span, for whoever listens: `millpond.job`, at level `DEBUG`, of target `millpond::job`. Its parent is the span that its submitter
//! was in, so that context goes through the queue to the worker.

use tracing::dispatcher::{Dispatch, has_been_set, with_default};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Span};

use super::Header;
use super::panics::catch;
use crate::id::WorkerId;

/// True if somebody wants spans of jobs. While nobody listens at that level, one load and no more.
#[inline]
pub(super) fn is_wanted() -> bool {
    LevelFilter::DEBUG <= STATIC_MAX_LEVEL && LevelFilter::DEBUG <= LevelFilter::current() && is_enabled()
}

#[inline(never)]
fn is_enabled() -> bool {
    tracing::span_enabled!(target: "millpond::job", Level::DEBUG)
}

/// The span that is current where a job is submitted, if it will be asked for.
pub(super) fn of_submitter() -> Option<Span> {
    if is_wanted() { Some(Span::current()).filter(|span| !span.is_none()) } else { None }
}

/// The span for a job to run in, if somebody wants it. Its submitter's span is let go of, unless the job may be delivered again.
#[inline]
pub(crate) fn span_of<'a>(
    header: &Header,
    worker: WorkerId,
    place: impl FnOnce() -> (&'a str, &'a str),
) -> Option<Span> {
    if is_wanted() { Some(new_span(header, worker, place(), header.redeliveries().is_some())) } else { None }
}

/// The same for a job that is to run on that worker, and may go back yet: its submitter's span is kept, for [`forget_submitter`].
#[cfg(any(feature = "process", millpond_loom))]
pub(crate) fn span_ahead<'a>(
    header: &Header,
    worker: WorkerId,
    place: impl FnOnce() -> (&'a str, &'a str),
) -> Option<Span> {
    if is_wanted() { Some(new_span(header, worker, place(), true)) } else { None }
}

/// Lets go of the submitter's span, as [`span_of`] does.
#[cfg(any(feature = "process", millpond_loom))]
pub(crate) fn forget_submitter(header: &Header) {
    tell_end(header.origin().and_then(|origin| origin.submitter(header.redeliveries().is_some())));
}

#[cold]
fn new_span(header: &Header, worker: WorkerId, (pool, lane): (&str, &str), keeps_submitter: bool) -> Span {
    let submitter = header.origin().and_then(|origin| origin.submitter(keeps_submitter));
    let parent = submitter.as_ref().and_then(Span::id);
    let (job, label) = (header.id().get(), header.label().map(|label| &**label));
    // `None` for a parent is no parent at all, and not whatever span the worker is in.
    tracing::debug_span!(target: "millpond::job", parent: parent, "millpond.job", pool, lane, job, %worker, label)
}

/// Has the subscriber told that a job has left its span, or let go of it. That is the subscriber's code, and it may panic just when the job's outcome
/// is won and not published: neither the outcome nor the worker is to be lost to that.
#[cold]
pub(crate) fn tell_end<T>(span: T) {
    // Whoever hooks panics has heard of it; the one who would be told here is the one that panicked.
    let _ = catch(|| drop(span));
}

/// Does something in nobody's span: what is started for one submitter goes on for others. ractor has a message's handler run in the span
/// of its sender.
pub(crate) fn outside_spans<R>(f: impl FnOnce() -> R) -> R {
    // Nobody listens; and to set a default would end what `tracing` does for programs that only have the `log` crate.
    if has_been_set() { with_default(&Dispatch::none(), f) } else { f() }
}
