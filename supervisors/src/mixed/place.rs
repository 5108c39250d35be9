//! A job that no member has, and the search for one that takes it.

use std::sync::Arc;
use std::time::Duration;

use millpond::{LimitKind, Timestamp};

use super::error::{Attempt, Refusal, RefusalReason, Traces};
use super::guard::catch;
use super::member::{Left, NotTaken, Run};
use super::pool::Shared;
use super::route::{FallBack, MemberView, Route, Routed, Step};
use super::submit::{Again, Terms};

/// What there is to be done, and how far it has come.
pub(super) struct Errand<J> {
    pub(super) terms: Arc<Terms>,
    pub(super) again: Again<J>,
    /// While no member has it; and, if it may be given to another one, a copy while one has.
    pub(super) job: Option<J>,
    /// A copy, made for a member that then refused it.
    spare: Option<J>,
    /// From when on its queue limit counts: its admission, or the end of an attempt that had begun.
    pub(super) since: Timestamp,
    pub(super) attempts: Vec<Attempt>,
}

/// What a search has come to.
pub(super) enum Placed<T> {
    /// It is in that member's pool.
    With(usize, Box<dyn Run<T>>),
    /// It is to wait.
    Waits,
    /// It goes to nobody.
    GivesUp(Vec<Refusal>),
    /// A limit has passed.
    Expired(LimitKind),
    /// A panic took it, in that member's hands.
    Broke(usize, String),
}

impl<J> Errand<J> {
    pub(super) fn new(job: J, terms: Arc<Terms>, again: Again<J>, since: Timestamp) -> Self {
        Self { terms, again, job: Some(job), spare: None, since, attempts: Vec::new() }
    }

    /// From when on it must not begin, and by which limit.
    pub(super) fn expires_at(&self) -> (Timestamp, LimitKind) {
        let queue = self.terms.queue_limit.map_or(Timestamp::NEVER, |limit| self.since.after(limit));
        let deadline = self.terms.deadline;
        if deadline <= queue { (deadline, LimitKind::Deadline) } else { (queue, LimitKind::Queue) }
    }

    /// A limit because of which it must not begin now, or could not: one of no time at all has passed before the job comes.
    pub(super) fn passed(&self, now: Timestamp) -> Option<LimitKind> {
        let (expires, limit) = self.expires_at();
        let cannot_run = self.terms.run_limit == Some(Duration::ZERO);
        (now >= expires).then_some(limit).or(cannot_run.then_some(LimitKind::Run))
    }

    /// True if the job may be given to another member after its last attempt.
    pub(super) fn may_go_on(&self) -> bool {
        let traces = self.attempts.last().map_or(Traces::None, |attempt| attempt.traces);
        self.job.is_some()
            && match self.again {
                Again::Never => false,
                Again::IfNotBegun(_) => traces == Traces::None,
                Again::Repeatable(_) => traces != Traces::Final,
            }
    }

    /// Notes an attempt that failed at `now`.
    pub(super) fn failed(&mut self, attempt: Attempt, now: Timestamp) {
        if !attempt.never_began() {
            self.since = now;
        }
        self.attempts.push(attempt);
    }

    /// What of it is the user's to drop.
    pub(super) fn into_jobs(self) -> [Option<J>; 2] {
        [self.job, self.spare]
    }

    /// The job for a member, with a copy kept if it may be needed again.
    fn take(&mut self) -> Result<J, String> {
        if let (Some(job), None, Some(copy)) = (&self.job, &self.spare, self.again.copy()) {
            self.spare = Some(catch(|| copy(job))?);
        }
        self.job.take().ok_or_else(|| "the job was not there".to_owned())
    }
}

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    /// Offers the job to one member after the other, as the route says; each is asked once.
    pub(super) fn place(&self, errand: &mut Errand<J>) -> Placed<T> {
        let views: Vec<_> = self.members.iter().map(|member| member.view()).collect();
        let mut refusals = Vec::new();
        loop {
            let now = self.clock.now();
            if let Some(limit) = errand.passed(now) {
                return Placed::Expired(limit);
            }
            match self.ask(errand, &views, &refusals) {
                Step::To(member) => match self.offer(errand, member, now) {
                    Ok(run) => return Placed::With(member, run),
                    // One that finds a limit passed has read the clock later. If none of the job's is, it is one that this member has of its own.
                    Err(Offered::Refused(reason)) => refusals.push(self.members[member].refusal(member, reason)),
                    Err(Offered::Broke(message)) => return Placed::Broke(member, message),
                },
                Step::Wait if views.iter().all(MemberView::is_closed) => return Placed::GivesUp(refusals),
                Step::Wait => return Placed::Waits,
                Step::GiveUp => return Placed::GivesUp(refusals),
            }
        }
    }

    fn offer(&self, errand: &mut Errand<J>, member: usize, now: Timestamp) -> Result<Box<dyn Run<T>>, Offered> {
        let queue_left = errand.terms.queue_limit.map(|limit| errand.since.after(limit).since(now));
        let copied = errand.take();
        let job = copied.map_err(|message| Offered::Refused(RefusalReason::Adapter(message)))?;
        let mut left = Left::new();
        let taken = self.members[member].submit(job, &errand.terms, queue_left, &mut left);
        if !left.is_empty() {
            self.hands.let_go(left);
        }
        match taken {
            Ok(run) => {
                errand.job = errand.spare.take();
                Ok(run)
            }
            Err(NotTaken::Refused(job, reason)) => {
                errand.job = Some(job);
                Err(Offered::Refused(reason))
            }
            Err(NotTaken::Broke(message)) => {
                self.hands.let_go(errand.spare.take());
                Err(Offered::Broke(message))
            }
        }
    }

    /// What the route says, or the default in its place.
    fn ask(&self, errand: &Errand<J>, views: &[MemberView], refusals: &[Refusal]) -> Step {
        let job = Routed { label: errand.terms.label.as_deref(), attempts: &errand.attempts, refusals };
        if self.route_fault.get().is_none() {
            match catch(|| self.route.route(&job, views)) {
                Ok(Step::To(member)) if member >= views.len() => {
                    self.depose(&format!("it named member {member}, and there are {}", views.len()));
                }
                Ok(Step::To(member)) if job.refusal(member).is_some() => {
                    self.depose(&format!("it named member {member}, which had just refused the job"));
                }
                Ok(step) => return step,
                Err(message) => self.depose(&format!("it panicked: {message}")),
            }
        }
        FallBack.route(&job, views)
    }

    fn depose(&self, fault: &str) {
        if self.route_fault.set(Arc::from(fault)).is_ok() {
            tracing::error!(
                pool = &*self.name,
                "the route of a mixed pool has no say any more, and `FallBack` decides: {fault}"
            );
        }
    }

    /// How long a job has waited that expires now.
    pub(super) fn waited(&self, errand: &Errand<J>) -> Duration {
        self.clock.now().since(errand.since)
    }
}

enum Offered {
    Refused(RefusalReason),
    Broke(String),
}
