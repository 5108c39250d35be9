//! What a group remembers, and how it moves on. It waits for nobody: what takes time runs beside it and comes back as a message.

use std::time::Duration;

use millpond::{Clock, PoolMessage, ShutdownReport, Timestamp};
use ractor::{ActorId, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, concurrency};

use super::intensity::Failures;
use super::member::Newcomer;
use super::message::{GroupMessage, Step};
use super::{Group, Strategy};

/// How long after a start that failed the next one comes.
const AGAIN: Duration = Duration::from_millis(100);

/// A member at the moment.
#[derive(Debug)]
enum State {
    /// To be started when it is its turn. Exit: `Starting`.
    Down,
    /// Its start is under way. Exits: `Up`, `Unwanted`, `Resting`.
    Starting,
    /// Its start is under way, and another one failed, which it goes with: what comes up is stopped. Exits: `Stopping`, `Down`.
    Unwanted,
    /// Its start failed, or took too long; the next one is not to come at once. Exit: `Down`.
    Resting,
    /// Exits: `Stopping`, `Down`, `Done`.
    Up(ActorRef<PoolMessage>),
    /// Stopped since another one failed. Exit: `Down`.
    Stopping(ActorRef<PoolMessage>),
    /// It was shut down by somebody, and is left alone.
    Done,
}

/// What is known of a member.
#[derive(Debug)]
struct Standing {
    state: State,
    /// Numbers its starts; 0: none has begun.
    generation: u64,
    restarts: u64,
}

impl Standing {
    const fn new() -> Self {
        Self { state: State::Down, generation: 0, restarts: 0 }
    }

    /// Whether its first start has ended, well or not.
    const fn was_tried(&self) -> bool {
        self.generation > 1 || self.generation == 1 && !matches!(self.state, State::Starting)
    }

    /// Whether it has what it is to have.
    const fn is_settled(&self) -> bool {
        matches!(self.state, State::Up(_) | State::Done)
    }

    /// Whether the start of this generation is under way, and not given up.
    fn awaits(&self, generation: u64) -> bool {
        self.generation == generation && matches!(self.state, State::Starting | State::Unwanted)
    }
}

/// A shutdown that waits for a start to end.
#[derive(Debug)]
struct Late {
    member: usize,
    until: Timestamp,
    reply: RpcReplyPort<ShutdownReport>,
}

#[derive(Debug)]
pub struct Supervision {
    members: Vec<Standing>,
    failures: Failures,
    /// It is being shut down: nobody is started any more.
    pub(super) ending: bool,
    late: Vec<Late>,
}

impl Supervision {
    pub(super) fn new(members: usize) -> Self {
        let members = std::iter::repeat_with(Standing::new).take(members).collect();
        Self { members, failures: Failures::default(), ending: false, late: Vec::new() }
    }

    pub(super) fn pool(&self, member: usize) -> Option<ActorRef<PoolMessage>> {
        match &self.members[member].state {
            State::Up(actor) => Some(actor.clone()),
            _ => None,
        }
    }

    pub(super) fn restarts(&self, member: usize) -> u64 {
        self.members[member].restarts
    }

    /// Sends this to the member's pool. If it has none, or one that has ended, the port goes with the message, and that is the answer.
    pub(super) fn tell(&self, member: usize, message: PoolMessage) {
        if let Some(actor) = self.pool(member) {
            let _ = actor.cast(message);
        }
    }

    /// Shuts the member's pool down, one that is just coming up when it is there.
    pub(super) fn shut_down(&mut self, member: usize, limit: Duration, reply: RpcReplyPort<ShutdownReport>) {
        match self.members[member].state {
            State::Starting | State::Unwanted => {
                self.late.push(Late { member, until: Clock::real().now().after(limit), reply });
            }
            _ => self.tell(member, PoolMessage::Shutdown(limit, reply)),
        }
    }

    /// A start has ended while the group is being shut down: what came up goes down again, in what is left of the time.
    fn on_late(&mut self, member: usize, pool: Option<ActorRef<PoolMessage>>) {
        self.members[member].state = pool.map_or(State::Down, State::Up);
        let late = std::mem::take(&mut self.late).into_iter();
        let (its, others): (Vec<_>, Vec<_>) = late.partition(|late| late.member == member);
        self.late = others;
        let now = Clock::real().now();
        for Late { until, reply, .. } in its {
            self.tell(member, PoolMessage::Shutdown(until.since(now), reply));
        }
    }

    /// Whether this member is to be started now. One for one, members wait for those before them at their first start alone. Otherwise each
    /// comes up after those before it, and nobody before all who were stopped are gone; an unwanted start holds up its own member and
    /// those after it, since those before it may be what it waits for.
    fn is_due(&self, member: usize, strategy: Strategy) -> bool {
        let (before, it) = (&self.members[..member], &self.members[member]);
        let may_start = match strategy {
            Strategy::OneForOne => it.generation > 0 || before.iter().all(Standing::was_tried),
            Strategy::OneForAll | Strategy::RestForOne => {
                let leaves = |member: &Standing| matches!(member.state, State::Stopping(_));
                before.iter().all(Standing::is_settled) && !self.members.iter().any(leaves)
            }
        };
        matches!(it.state, State::Down) && may_start
    }
}

impl Group {
    /// Starts whoever is due.
    pub(super) fn start_due(&self, myself: &ActorRef<GroupMessage>, state: &mut Supervision) {
        if state.ending {
            return;
        }
        for member in 0..self.members.len() {
            if state.is_due(member, self.strategy) {
                self.start(myself, &mut state.members[member], member);
            }
        }
    }

    fn start(&self, myself: &ActorRef<GroupMessage>, standing: &mut Standing, member: usize) {
        standing.state = State::Starting;
        standing.generation += 1;
        let generation = standing.generation;
        let mut start = spawned(self.members[member].start(myself.get_cell()));
        let (group, limit) = (myself.clone(), self.start_limit);
        beside(async move {
            let ended = if let Ok(ended) = concurrency::timeout(limit, &mut start).await {
                ended
            } else {
                // A group that is gone starts nobody, and stops what it is sent: here and below.
                let _ = group.cast(Step::Overdue { member, generation }.into());
                // It is not dropped: what it has begun may come up all the same, and nobody would know of it.
                start.await
            };
            let started = match ended {
                Ok(started) => started.map(Newcomer::new).map_err(|error| error.to_string()),
                Err(panicked) => Err(format!("its start did not return: {panicked}")),
            };
            let _ = group.cast(Step::Started { member, generation, started }.into());
        });
    }

    pub(super) fn on_started(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        (member, generation): (usize, u64),
        started: Result<Newcomer, String>,
    ) -> Result<(), ActorProcessingErr> {
        if !state.members[member].awaits(generation) {
            // It was given up: a newcomer is stopped as it is dropped.
            return Ok(());
        }
        match started.map(Newcomer::taken) {
            started if state.ending => {
                state.on_late(member, started.ok());
                Ok(())
            }
            Ok(actor) => self.on_up(myself, state, member, actor),
            Err(error) => self.on_no_start(myself, state, member, &error),
        }
    }

    fn on_up(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        member: usize,
        actor: ActorRef<PoolMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let (name, standing) = (&self.members[member].name, &mut state.members[member]);
        standing.state = if matches!(standing.state, State::Unwanted) {
            tracing::info!(member = name, "a pool of the group is up too late, and is stopped");
            actor.stop(Some("it came up after the failure of a pool that it goes with".to_owned()));
            State::Stopping(actor.clone())
        } else {
            tracing::info!(member = name, pool = ?actor.get_name(), "a pool of the group is up");
            State::Up(actor.clone())
        };
        // It may be ending already, and its event have come before this: then nobody would start it again.
        if actor.get_status() >= ActorStatus::Stopping {
            return self.on_end(myself, state, actor.get_id(), Some("it ended as it came up".to_owned()));
        }
        self.start_due(myself, state);
        Ok(())
    }

    /// A start is past its limit: it counts as failed, and whatever it comes to is of no use any more.
    pub(super) fn on_overdue(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        (member, generation): (usize, u64),
    ) -> Result<(), ActorProcessingErr> {
        if state.ending || !state.members[member].awaits(generation) {
            return Ok(());
        }
        self.on_no_start(myself, state, member, &format!("it did not come up within {:?}", self.start_limit))
    }

    fn on_no_start(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        member: usize,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        let (name, standing) = (&self.members[member].name, &mut state.members[member]);
        if matches!(standing.state, State::Unwanted) {
            tracing::info!(member = name, "a pool of the group, unwanted by now, does not come up: {why}");
            standing.state = State::Down;
        } else {
            tracing::error!(member = name, "a pool of the group does not come up: {why}");
            standing.state = State::Resting;
            self.count_failure(state, name, why)?;
            let group = myself.clone();
            beside(async move {
                pause().await;
                let _ = group.cast(Step::Rested { member }.into());
            });
        }
        self.start_due(myself, state);
        Ok(())
    }

    /// A member whose start failed may be started again.
    pub(super) fn on_rested(&self, myself: &ActorRef<GroupMessage>, state: &mut Supervision, member: usize) {
        state.members[member].state = State::Down;
        self.start_due(myself, state);
    }

    /// A pool has ended; `failure` says why if nobody wanted that.
    pub(super) fn on_end(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        actor: ActorId,
        failure: Option<String>,
    ) -> Result<(), ActorProcessingErr> {
        let is = |member: &Standing| matches!(&member.state, State::Up(pool) | State::Stopping(pool) if pool.get_id() == actor);
        let Some(member) = state.members.iter().position(is) else { return Ok(()) };
        let standing = &mut state.members[member];
        let stopped = matches!(standing.state, State::Stopping(_));
        if state.ending || !stopped && failure.is_none() {
            standing.state = State::Done;
            return Ok(());
        }
        standing.state = State::Down;
        standing.restarts += 1;
        if let Some(failure) = failure.filter(|_| !stopped) {
            let name = &self.members[member].name;
            tracing::error!(member = name, "a pool of the group failed: {failure}");
            self.count_failure(state, name, &failure)?;
            self.stop_those_that_go_with(state, member);
        }
        self.start_due(myself, state);
        Ok(())
    }

    fn stop_those_that_go_with(&self, state: &mut Supervision, failed: usize) {
        let goes = |member: usize| match self.strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => member != failed,
            Strategy::RestForOne => member > failed,
        };
        for member in (0..state.members.len()).rev().filter(|&member| goes(member)) {
            let state = &mut state.members[member].state;
            match state {
                State::Up(actor) => {
                    let actor = actor.clone();
                    actor.stop(Some(format!("`{}` failed, which it goes with", self.members[failed].name)));
                    *state = State::Stopping(actor);
                }
                State::Starting => *state = State::Unwanted,
                State::Down | State::Unwanted | State::Resting | State::Stopping(_) | State::Done => (),
            }
        }
    }

    /// One more failure; an error if that is one too many.
    fn count_failure(&self, state: &mut Supervision, name: &str, why: &str) -> Result<(), ActorProcessingErr> {
        // Its members are pools, each of which may have a clock of its own.
        let Some(failures) = self.intensity.exceeded_by(&mut state.failures, Clock::real().now()) else {
            return Ok(());
        };
        let within = self.intensity.within;
        Err(format!("{failures} pools failed within {within:?}, the last one `{name}`: {why}").into())
    }
}

/// Runs beside the group, on its runtime.
#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
pub(super) fn beside(future: impl Future<Output = ()> + Send + 'static) {
    drop(concurrency::spawn(future));
}

/// The same for what somebody waits for: it goes on whether or not it is waited for.
#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
pub(super) fn spawned<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> concurrency::JoinHandle<T> {
    concurrency::spawn(future)
}

#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
async fn pause() {
    concurrency::sleep(AGAIN).await;
}
