//! What becomes of pools that end, and of those that are to.

use millpond::Timestamp;
use ractor::{ActorId, ActorStatus};

use super::{Act, Course, Fatal, Known, Leaving, Standing, State};
use crate::group::Strategy;

/// How a pool has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::group) enum End {
    /// It was shut down, by whoever it was.
    Wanted,
    /// Nobody wanted that.
    Failed(String),
}

impl<P: Known> Course<P> {
    /// A pool has ended.
    pub(in crate::group) fn on_end(&mut self, pool: ActorId, end: End, now: Timestamp) -> Result<(), Fatal> {
        if self.take_leaving(pool).is_some() {
            self.start_due(now);
            return Ok(());
        }
        let Some(member) = self.members.iter().position(|member| member.has(pool)) else {
            // It may be what a start that is under way is about to tell of.
            if self.members.iter().any(Standing::has_a_start_out) {
                self.early.push((pool, end));
            }
            return Ok(());
        };
        let standing = &mut self.members[member];
        match end {
            End::Failed(failure) if !self.ending => {
                standing.state = State::Down;
                standing.restarts += 1;
                tracing::error!(member = standing.name, "a pool of the group failed: {failure}");
                self.count_failure(member, &failure, now)?;
                self.stop_those_that_go_with(member, now);
            }
            End::Failed(_) | End::Wanted => standing.state = State::Done,
        }
        self.start_due(now);
        Ok(())
    }

    /// A pool is gone that was on its way out as it came up. Events overtake messages: nobody has told how it ended, nor will.
    pub(in crate::group) fn on_gone(&mut self, pool: ActorId, now: Timestamp) -> Result<(), Fatal> {
        if self.members.iter().any(|member| member.has(pool)) {
            return self.on_end(pool, End::Failed("it ended as it came up".to_owned()), now);
        }
        Ok(())
    }

    fn stop_those_that_go_with(&mut self, failed: usize, now: Timestamp) {
        let strategy = self.rules.strategy;
        let goes = |member: usize| match strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => member != failed,
            Strategy::RestForOne => member > failed,
        };
        let why = format!("`{}` failed, which it goes with", self.members[failed].name);
        for member in (0..self.members.len()).rev().filter(|&member| goes(member)) {
            let standing = &mut self.members[member];
            match &standing.state {
                State::Up(pool) => {
                    let pool = pool.clone();
                    standing.state = State::Down;
                    standing.restarts += 1;
                    self.stop(member, pool, &why, now);
                }
                State::Starting => standing.state = State::Unwanted,
                State::Down | State::Unwanted | State::Resting | State::Done => (),
            }
        }
    }

    /// Has a pool stopped, which is no member's any more, and sees to it that it ends.
    fn stop(&mut self, member: usize, pool: P, why: &str, now: Timestamp) {
        self.acts.push(Act::Stop { pool: pool.clone(), why: why.to_owned() });
        self.members[member].leaving.push(Leaving { pool, since: now, why: why.to_owned(), killed: None });
    }

    /// The same for one that was never up. It may be on its way out already, and take its time; or its end was told of before this.
    pub(super) fn stop_late(&mut self, member: usize, pool: P, why: &str, now: Timestamp) {
        if self.take_early(pool.id()).is_none() && pool.status() != ActorStatus::Stopped {
            self.stop(member, pool, why, now);
        }
    }

    /// A pool that was told to stop has had its time: it is killed, and if it has been, the group fails.
    pub(in crate::group) fn on_still_there(&mut self, pool: ActorId, now: Timestamp) -> Result<(), Fatal> {
        let Some((member, mut leaving)) = self.take_leaving(pool) else { return Ok(()) };
        if self.ending || leaving.pool.status() == ActorStatus::Stopped {
            // A group that ends takes it along. Of one that was not linked under the group nobody tells that it has ended.
            self.start_due(now);
            return Ok(());
        }
        let standing = &mut self.members[member];
        let (name, told) = (&standing.name, now.since(leaving.since));
        let told = format!("was told to stop {told:?} ago, as {}", leaving.why);
        if let Some(killed) = leaving.killed {
            let killed = now.since(killed);
            return Err(format!("pool `{name}` {told}, was killed {killed:?} ago, and is still there"));
        }
        tracing::warn!(member = name, "a pool of the group {told}, and is killed");
        self.acts.push(Act::Kill { pool: leaving.pool.clone() });
        leaving.killed = Some(now);
        standing.leaving.push(leaving);
        Ok(())
    }

    /// This pool, if it was told to stop: its member, and what is known of it.
    fn take_leaving(&mut self, pool: ActorId) -> Option<(usize, Leaving<P>)> {
        self.members.iter_mut().enumerate().find_map(|(member, standing)| {
            let index = standing.leaving.iter().position(|leaving| leaving.pool.id() == pool)?;
            Some((member, standing.leaving.swap_remove(index)))
        })
    }

    /// How this pool has ended, if that was told of before its start was.
    pub(super) fn take_early(&mut self, pool: ActorId) -> Option<End> {
        let index = self.early.iter().position(|(early, _)| *early == pool)?;
        Some(self.early.swap_remove(index).1)
    }
}
