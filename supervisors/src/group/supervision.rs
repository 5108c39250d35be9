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
    /// To be started when it is its turn, and whatever of it leaves is gone. Exit: `Starting`.
    Down,
    /// Its start is under way. Exits: `Up`, `Unwanted`, `Resting`.
    Starting,
    /// Its start is under way, and another one failed, which it goes with: what comes up is stopped. Exit: `Down`.
    Unwanted,
    /// Its start failed, or took too long; the next one is not to come at once. Exit: `Down`.
    Resting,
    /// Exits: `Down`, `Done`.
    Up(ActorRef<PoolMessage>),
    /// It was shut down by somebody, and is left alone.
    Done,
}

/// A pool that was told to stop, and has not ended.
#[derive(Debug)]
struct Leaving {
    actor: ActorRef<PoolMessage>,
    since: Timestamp,
    why: String,
    killed: Option<Timestamp>,
}

/// What is known of a member.
#[derive(Debug)]
struct Standing {
    state: State,
    /// Numbers its starts; 0: none has begun.
    generation: u64,
    restarts: u64,
    /// What it had before, and what came up late.
    leaving: Vec<Leaving>,
    /// So many starts in a row have failed, and when the first of them began.
    failed_starts: Option<(usize, Timestamp)>,
}

impl Standing {
    const fn new() -> Self {
        Self { state: State::Down, generation: 0, restarts: 0, leaving: Vec::new(), failed_starts: None }
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

    /// This pool, if it was told to stop: its member's index, and what is known of it.
    fn take_leaving(&mut self, actor: ActorId) -> Option<(usize, Leaving)> {
        self.members.iter_mut().enumerate().find_map(|(member, standing)| {
            let index = standing.leaving.iter().position(|leaving| leaving.actor.get_id() == actor)?;
            Some((member, standing.leaving.swap_remove(index)))
        })
    }

    /// Whether this member is to be started now. One for one, members wait for those before them at their first start alone. Otherwise each
    /// comes up after those before it, and nobody before all who were stopped are gone; an unwanted start holds up its own member and
    /// those after it, since those before it may be what it waits for.
    fn is_due(&self, member: usize, strategy: Strategy) -> bool {
        let (before, it) = (&self.members[..member], &self.members[member]);
        let may_start = match strategy {
            Strategy::OneForOne => it.generation > 0 || before.iter().all(Standing::was_tried),
            Strategy::OneForAll | Strategy::RestForOne => {
                before.iter().all(Standing::is_settled) && self.members.iter().all(|member| member.leaving.is_empty())
            }
        };
        matches!(it.state, State::Down) && it.leaving.is_empty() && may_start
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
        standing.failed_starts.get_or_insert_with(|| (0, Clock::real().now()));
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
        let awaited = state.members[member].awaits(generation);
        match started.map(Newcomer::taken) {
            // The start was given up.
            Ok(actor) if !awaited => {
                let why = "it came up when its group no longer waited for it";
                self.stop_late(myself, &mut state.members[member], actor, why);
                Ok(())
            }
            Err(_) if !awaited => Ok(()),
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
        standing.failed_starts = None;
        if matches!(standing.state, State::Unwanted) {
            tracing::info!(member = name, "a pool of the group is up too late, and is stopped");
            standing.state = State::Down;
            standing.restarts += 1;
            self.stop_late(myself, standing, actor, "it came up after the failure of a pool that it goes with");
            self.start_due(myself, state);
            return Ok(());
        }
        tracing::info!(member = name, pool = ?actor.get_name(), "a pool of the group is up");
        standing.state = State::Up(actor.clone());
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
            self.count_start(&mut state.members[member], name, why)?;
            let group = myself.clone();
            beside(async move {
                pause(AGAIN).await;
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
        if state.take_leaving(actor).is_some() {
            self.start_due(myself, state);
            return Ok(());
        }
        let is = |member: &Standing| matches!(&member.state, State::Up(pool) if pool.get_id() == actor);
        let Some(member) = state.members.iter().position(is) else { return Ok(()) };
        let standing = &mut state.members[member];
        let Some(failure) = failure.filter(|_| !state.ending) else {
            standing.state = State::Done;
            return Ok(());
        };
        standing.state = State::Down;
        standing.restarts += 1;
        let name = &self.members[member].name;
        tracing::error!(member = name, "a pool of the group failed: {failure}");
        self.count_failure(state, name, &failure)?;
        self.stop_those_that_go_with(myself, state, member);
        self.start_due(myself, state);
        Ok(())
    }

    /// Tells a pool to stop, which is no member's any more, and sees to it that it does.
    fn stop(&self, myself: &ActorRef<GroupMessage>, standing: &mut Standing, actor: ActorRef<PoolMessage>, why: &str) {
        actor.stop(Some(why.to_owned()));
        self.look_after(myself, actor.get_id());
        standing.leaving.push(Leaving { actor, since: Clock::real().now(), why: why.to_owned(), killed: None });
    }

    /// The same for one that was never up: its end may have been told of before this if it is stopping already, and then its name is free.
    fn stop_late(&self, myself: &ActorRef<GroupMessage>, late: &mut Standing, actor: ActorRef<PoolMessage>, why: &str) {
        if actor.get_status() < ActorStatus::Stopping {
            self.stop(myself, late, actor, why);
        }
    }

    fn look_after(&self, myself: &ActorRef<GroupMessage>, actor: ActorId) {
        let (group, limit) = (myself.clone(), self.stop_limit);
        beside(async move {
            pause(limit).await;
            // A group that is gone takes its pools with it.
            let _ = group.cast(Step::StillThere { actor }.into());
        });
    }

    /// A pool that was told to stop has had its time: it is killed, and if it has been, the group fails.
    pub(super) fn on_still_there(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        actor: ActorId,
    ) -> Result<(), ActorProcessingErr> {
        let Some((member, mut leaving)) = state.take_leaving(actor) else { return Ok(()) };
        let (name, now) = (&self.members[member].name, Clock::real().now());
        if state.ending || leaving.actor.get_status() == ActorStatus::Stopped {
            // A group that ends takes it along. Of one that was not linked under the group nobody tells that it has ended.
            self.start_due(myself, state);
            return Ok(());
        }
        let told = format!("was told to stop {:?} ago, as {}", now.since(leaving.since), leaving.why);
        if let Some(killed) = leaving.killed {
            let killed = now.since(killed);
            return Err(format!("pool `{name}` {told}, was killed {killed:?} ago, and is still there").into());
        }
        tracing::warn!(member = name, "a pool of the group {told}, and is killed");
        leaving.actor.kill();
        leaving.killed = Some(now);
        state.members[member].leaving.push(leaving);
        self.look_after(myself, actor);
        Ok(())
    }

    fn stop_those_that_go_with(&self, myself: &ActorRef<GroupMessage>, state: &mut Supervision, failed: usize) {
        let goes = |member: usize| match self.strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => member != failed,
            Strategy::RestForOne => member > failed,
        };
        for member in (0..state.members.len()).rev().filter(|&member| goes(member)) {
            let standing = &mut state.members[member];
            match &standing.state {
                State::Up(actor) => {
                    let actor = actor.clone();
                    standing.state = State::Down;
                    standing.restarts += 1;
                    let why = format!("`{}` failed, which it goes with", self.members[failed].name);
                    self.stop(myself, standing, actor, &why);
                }
                State::Starting => standing.state = State::Unwanted,
                State::Down | State::Unwanted | State::Resting | State::Done => (),
            }
        }
    }

    /// One more start of a member that failed; an error if that is one too many in a row: however far they lie apart, since they may take long.
    fn count_start(&self, standing: &mut Standing, name: &str, why: &str) -> Result<(), ActorProcessingErr> {
        let now = Clock::real().now();
        let (starts, since) = standing.failed_starts.get_or_insert((0, now));
        *starts += 1;
        if *starts <= self.intensity.most {
            return Ok(());
        }
        let since = now.since(*since);
        Err(format!("`{name}` has not come up for {since:?}: {starts} starts in a row failed, the last one: {why}")
            .into())
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
async fn pause(span: Duration) {
    concurrency::sleep(span).await;
}
