//! How a group moves on: what has happened goes in, with `now`, and what is to be done comes out. Nothing here runs, waits or reads a clock.

mod ends;
#[cfg(test)]
mod simulated;

use std::time::Duration;

use millpond::Timestamp;
use ractor::{ActorId, ActorStatus};

use super::Strategy;
use super::intensity::{Failures, Intensity};
use super::standing::{Known, Leaving, Standing, State};
pub(super) use ends::End;

/// What a group was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) start_limit: Duration,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Act<P> {
    /// Start this member, by the number of this start; tell how that ends, and when it is past its limit.
    Start { member: usize, generation: u64 },
    /// After a pause, tell that the member has rested.
    Rest { member: usize },
    /// Tell the pool to stop, for this reason; and tell when it has had its time.
    Stop { pool: P, why: String },
    /// The same by force.
    Kill { pool: P },
    /// Tell when it is gone.
    Await { pool: P },
    /// Have it dispatch nothing: it has come up while the group is quiesced.
    Quiesce { pool: P },
}

/// Why the group fails.
pub(super) type Fatal = String;

/// Where a group stands.
#[derive(Debug)]
pub(super) struct Course<P> {
    rules: Rules,
    members: Vec<Standing<P>>,
    failures: Failures,
    /// How pools have ended that no member had: those that ended before their start told of them.
    early: Vec<(ActorId, End)>,
    /// It is being shut down: nobody is started any more.
    ending: bool,
    /// Members were told last to dispatch nothing, and not to go on.
    quiesced: bool,
    acts: Vec<Act<P>>,
}

impl<P: Known> Course<P> {
    pub(super) fn new(rules: Rules, members: impl Iterator<Item = String>) -> Self {
        let members = members.map(Standing::new).collect();
        let (failures, early, acts) = (Failures::default(), Vec::new(), Vec::new());
        Self { rules, members, failures, early, ending: false, quiesced: false, acts }
    }

    /// What is to be done, in this order, since this was asked for last.
    pub(super) fn take_acts(&mut self) -> Vec<Act<P>> {
        std::mem::take(&mut self.acts)
    }

    pub(super) const fn pool(&self, member: usize) -> Option<&P> {
        match &self.members.as_slice()[member].state {
            State::Up(pool) => Some(pool),
            _ => None,
        }
    }

    pub(super) fn restarts(&self, member: usize) -> u64 {
        self.members[member].restarts
    }

    /// Whether a start of the member is under way, and waited for.
    pub(super) fn is_starting(&self, member: usize) -> bool {
        self.members[member].is_starting()
    }

    /// From here on nobody is started.
    pub(super) const fn end(&mut self) {
        self.ending = true;
    }

    /// Whoever comes up from here on is to dispatch nothing, or as it comes up. Those that are up are told by whoever says this.
    pub(super) const fn set_quiesced(&mut self, quiesced: bool) {
        self.quiesced = quiesced;
    }

    /// Has whoever is due started.
    pub(super) fn start_due(&mut self, now: Timestamp) {
        for member in 0..self.members.len() {
            if !self.ending && self.is_due(member) {
                let standing = &mut self.members[member];
                standing.state = State::Starting;
                standing.generation += 1;
                standing.failed_starts.get_or_insert((0, now));
                self.acts.push(Act::Start { member, generation: standing.generation });
            }
        }
    }

    /// Whether this member is to be started now. One for one, members wait for those before them at their first start alone. Otherwise each
    /// comes up after those before it, and nobody before all who were stopped are gone; an unwanted start holds up its own member and
    /// those after it, since those before it may be what it waits for.
    fn is_due(&self, member: usize) -> bool {
        let (before, it) = (&self.members[..member], &self.members[member]);
        let may_start = match self.rules.strategy {
            Strategy::OneForOne => it.generation > 0 || before.iter().all(Standing::was_tried),
            Strategy::OneForAll | Strategy::RestForOne => {
                before.iter().all(Standing::is_settled) && self.members.iter().all(|member| member.leaving.is_empty())
            }
        };
        matches!(it.state, State::Down) && it.leaving.is_empty() && may_start
    }

    /// This start of the member has ended: with a pool, or for this reason without one.
    pub(super) fn on_started(
        &mut self,
        (member, generation): (usize, u64),
        started: Result<P, String>,
        now: Timestamp,
    ) -> Result<(), Fatal> {
        let standing = &mut self.members[member];
        let went = if standing.awaits(generation) {
            match started {
                Ok(pool) => self.on_up(member, pool, now),
                Err(why) => self.on_no_start(member, why, now),
            }
        } else {
            standing.given_up.retain(|(given_up, _)| *given_up != generation);
            if let Ok(pool) = started {
                self.stop_late(member, pool, "it came up when its group no longer waited for it", now);
            }
            Ok(())
        };
        if !self.members.iter().any(Standing::has_a_start_out) {
            self.early.clear();
        }
        went
    }

    fn on_up(&mut self, member: usize, pool: P, now: Timestamp) -> Result<(), Fatal> {
        let standing = &mut self.members[member];
        let (name, is_wanted) = (&standing.name, !matches!(standing.state, State::Unwanted) || self.ending);
        standing.failed_starts = None;
        if !is_wanted {
            tracing::info!(member = name, "a pool of the group is up too late, and is stopped");
            standing.state = State::Down;
            standing.restarts += 1;
            self.stop_late(member, pool, "it came up after the failure of a pool that it goes with", now);
            self.start_due(now);
            return Ok(());
        }
        tracing::info!(member = name, pool = ?pool.id(), "a pool of the group is up");
        standing.state = State::Up(pool.clone());
        if let Some(end) = self.take_early(pool.id()) {
            return self.on_end(pool.id(), end, now);
        }
        if pool.status() >= ActorStatus::Stopping {
            // Its end is told of by its event, unless it was not linked.
            self.acts.push(Act::Await { pool });
        } else if self.quiesced && !self.ending {
            self.acts.push(Act::Quiesce { pool });
        }
        self.start_due(now);
        Ok(())
    }

    /// A start is past its limit: it counts as failed, and whatever it comes to is of no use any more.
    pub(super) fn on_overdue(&mut self, (member, generation): (usize, u64), now: Timestamp) -> Result<(), Fatal> {
        let standing = &mut self.members[member];
        if self.ending || !standing.awaits(generation) {
            return Ok(());
        }
        let went = self.on_no_start(member, format!("it did not come up within {:?}", self.rules.start_limit), now);
        self.members[member].given_up.push((generation, now));
        went
    }

    fn on_no_start(&mut self, member: usize, mut why: String, now: Timestamp) -> Result<(), Fatal> {
        let standing = &mut self.members[member];
        let name = &standing.name;
        if let Some((_, given_up)) = standing.given_up.first() {
            let ago = now.since(*given_up);
            why += &format!(
                "; a start of it that was given up {ago:?} ago has not ended, and may hold what this one needs, its name for one"
            );
        }
        if self.ending {
            standing.state = State::Down;
        } else if matches!(standing.state, State::Unwanted) {
            tracing::info!(member = name, "a pool of the group, unwanted by now, does not come up: {why}");
            standing.state = State::Down;
        } else {
            tracing::error!(member = name, "a pool of the group does not come up: {why}");
            standing.state = State::Resting;
            self.count_failure(member, &why, now)?;
            self.count_start(member, &why, now)?;
            self.acts.push(Act::Rest { member });
        }
        self.start_due(now);
        Ok(())
    }

    /// A member whose start failed may be started again.
    pub(super) fn on_rested(&mut self, member: usize, now: Timestamp) {
        self.members[member].state = State::Down;
        self.start_due(now);
    }

    /// One more start of a member that failed; an error if that is one too many in a row: however far they lie apart, since they may take long.
    fn count_start(&mut self, member: usize, why: &str, now: Timestamp) -> Result<(), Fatal> {
        let Standing { name, failed_starts, .. } = &mut self.members[member];
        let (starts, since) = failed_starts.get_or_insert((0, now));
        *starts += 1;
        if *starts <= self.rules.intensity.most {
            return Ok(());
        }
        let since = now.since(*since);
        Err(format!("`{name}` has not come up for {since:?}: {starts} starts in a row failed, the last one: {why}"))
    }

    /// One more failure; an error if that is one too many.
    fn count_failure(&mut self, member: usize, why: &str, now: Timestamp) -> Result<(), Fatal> {
        let intensity = self.rules.intensity;
        let Some(failures) = intensity.exceeded_by(&mut self.failures, now) else { return Ok(()) };
        let (within, name) = (intensity.within, &self.members[member].name);
        Err(format!("{failures} pools failed within {within:?}, the last one `{name}`: {why}"))
    }
}
