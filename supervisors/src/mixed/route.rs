//! Which member a job goes to.

use std::sync::Arc;

use millpond::{Capabilities, Health, KillReach, Saturation};

use super::error::{Attempt, Refusal};

/// Decides which member a job is offered to next. It touches nothing, and answers at once: it is asked on the submitter's thread or on one of the mixed
/// pool's for users' code, where others may wait for it.
///
/// One that panics, or names a member that there is not or that has refused the job just now, has no say from then on: [`FallBack`] decides instead, which is an error in
/// the log, and [`MixedPool::route_fault`](super::MixedPool::route_fault) says so.
pub trait Route: Send + Sync + 'static {
    /// What is to become of `job`, which no member has. Asked again, with the refusal added, when a member does not take it; when it has waited; and when
    /// an attempt failed whose job may be given to somebody else. Jobs of one label are taken to be alike: one that waits has those behind it wait.
    fn route(&self, job: &Routed<'_>, members: &[MemberView]) -> Step;
}

/// A function is a route.
impl<F> Route for F
where
    F: Fn(&Routed<'_>, &[MemberView]) -> Step + Send + Sync + 'static,
{
    fn route(&self, job: &Routed<'_>, members: &[MemberView]) -> Step {
        self(job, members)
    }
}

/// What a route answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Offer it to this member, by its place in the order in which they were given.
    To(usize),
    /// Let it wait, and ask again soon. Where all members have closed, that is to give up.
    Wait,
    /// It goes to nobody: it is handed back, or ends as its last attempt did.
    GiveUp,
}

/// A job about which a route is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Routed<'a> {
    /// What its submitter called it.
    pub label: Option<&'a str>,
    /// What was tried, in that order.
    pub attempts: &'a [Attempt],
    /// Who has refused it since it was last let wait.
    pub refusals: &'a [Refusal],
}

impl<'a> Routed<'a> {
    /// For tests of routes.
    pub fn new(label: Option<&'a str>, attempts: &'a [Attempt], refusals: &'a [Refusal]) -> Self {
        Self { label, attempts, refusals }
    }

    /// True if this member has had it.
    pub fn was_tried(&self, member: usize) -> bool {
        self.attempts.iter().any(|attempt| attempt.member == member)
    }

    /// What this member has said, if it refused it.
    pub fn refusal(&self, member: usize) -> Option<&Refusal> {
        self.refusals.iter().find(|refusal| refusal.member == member)
    }
}

/// A member, as a route sees it: nearly, not exactly, of one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberView {
    /// Its name.
    pub name: Arc<str>,
    /// How far its kind of pool goes.
    pub capabilities: Capabilities,
    /// How full it is.
    pub saturation: Saturation,
    /// Whether it can do its work.
    pub health: Health,
    /// Its gate, as a word: open, quiesced, draining or closed.
    pub gate: &'static str,
}

impl MemberView {
    /// A healthy, open pool in which nothing is, to fill in: for tests of routes.
    pub fn empty(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            capabilities: Capabilities::new("a pool", KillReach::None),
            saturation: Saturation::default(),
            health: Health::Healthy,
            gate: "open",
        }
    }

    /// True if what it is given is worked off: it is open, and has a worker or can have one.
    pub fn works(&self) -> bool {
        self.gate == "open" && !self.health.is_unavailable()
    }

    /// True if it takes no jobs any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.gate, "draining" | "closed")
    }
}

/// The first that takes it. A job whose attempt failed goes to nobody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InOrder;

/// The first that takes it and has not had it: after an attempt that failed too, as far as the job's submitter allows
/// ([`again_if_not_begun`](super::MixedSubmitter::again_if_not_begun), [`repeatable`](super::MixedSubmitter::repeatable)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FallBack;

/// As [`FallBack`], in the order of how full they are: by jobs running and queued for each worker that there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeastLoaded;

impl Route for InOrder {
    fn route(&self, job: &Routed<'_>, members: &[MemberView]) -> Step {
        if job.attempts.is_empty() { FallBack.route(job, members) } else { Step::GiveUp }
    }
}

impl Route for FallBack {
    fn route(&self, job: &Routed<'_>, members: &[MemberView]) -> Step {
        first(job, members, 0..members.len())
    }
}

impl Route for LeastLoaded {
    fn route(&self, job: &Routed<'_>, members: &[MemberView]) -> Step {
        let mut order: Vec<_> = (0..members.len()).collect();
        let load = |of: usize| (members[of].saturation.active + members[of].saturation.queued) as u128;
        let seats = |of: usize| members[of].saturation.limit.max(1) as u128;
        // By cross multiplication: no two are taken for alike that are not. It keeps the order of those that are.
        order.sort_by(|&one, &other| (load(one) * seats(other)).cmp(&(load(other) * seats(one))));
        first(job, members, order.into_iter())
    }
}

/// The first of these that may take it now; else it waits, if one of them may later.
fn first(job: &Routed<'_>, members: &[MemberView], order: impl Iterator<Item = usize> + Clone) -> Step {
    let mut left = order.filter(|&member| !job.was_tried(member));
    let now = left.clone().find(|&member| members[member].works() && job.refusal(member).is_none());
    if let Some(member) = now {
        return Step::To(member);
    }
    let later = |member: usize| !members[member].is_closed() && job.refusal(member).is_none_or(Refusal::may_pass);
    if left.any(later) { Step::Wait } else { Step::GiveUp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixed::error::{AttemptError, RefusalReason};

    fn members(count: usize) -> Vec<MemberView> {
        (0..count).map(|member| MemberView::empty(&member.to_string())).collect()
    }

    fn busy(of: &mut MemberView, active: usize, queued: usize, limit: usize) {
        (of.saturation.active, of.saturation.queued, of.saturation.limit) = (active, queued, limit);
    }

    fn never(member: usize) -> Refusal {
        Refusal::new(member, "a", RefusalReason::Adapter("no".to_owned()))
    }

    fn failed(member: usize) -> Attempt {
        Attempt::new(member, "a", AttemptError::Adapter("it broke".to_owned()))
    }

    #[test]
    fn in_order_passes_over_who_does_not_work_and_tries_nobody_twice() {
        let mut seen = members(3);
        let job = Routed::new(None, &[], &[]);
        assert_eq!(InOrder.route(&job, &seen), Step::To(0));
        seen[0].gate = "quiesced";
        assert_eq!(InOrder.route(&job, &seen), Step::To(1));
        let refused = [never(1)];
        let job = Routed::new(None, &[], &refused);
        assert_eq!(InOrder.route(&job, &seen), Step::To(2));
        seen[2].gate = "closed";
        assert_eq!(InOrder.route(&job, &seen), Step::Wait, "the first may be resumed");
        seen[0].gate = "draining";
        assert_eq!(InOrder.route(&job, &seen), Step::GiveUp);
        let attempts = [failed(0)];
        assert_eq!(InOrder.route(&Routed::new(None, &attempts, &[]), &members(2)), Step::GiveUp);
    }

    #[test]
    fn fall_back_goes_on_to_who_has_not_had_it() {
        let (seen, attempts) = (members(2), [failed(0), failed(1)]);
        assert_eq!(FallBack.route(&Routed::new(None, &attempts[..1], &[]), &seen), Step::To(1));
        assert_eq!(FallBack.route(&Routed::new(None, &attempts, &[]), &seen), Step::GiveUp);
    }

    #[test]
    fn the_least_loaded_is_so_for_its_size_and_the_order_decides_between_equals() {
        let mut seen = members(3);
        busy(&mut seen[0], 1, 1, 1);
        busy(&mut seen[1], 2, 1, 4);
        busy(&mut seen[2], 3, 0, 4);
        let job = Routed::new(None, &[], &[]);
        assert_eq!(LeastLoaded.route(&job, &seen), Step::To(1));
        busy(&mut seen[2], 2, 0, 4);
        assert_eq!(LeastLoaded.route(&job, &seen), Step::To(2));
        // A pool that may have no worker is no division by zero.
        busy(&mut seen[0], 0, 0, 0);
        assert_eq!(LeastLoaded.route(&job, &seen), Step::To(0));
    }
}
