//! What a group remembers, and how it moves on. It waits for nobody: what takes time runs beside it and comes back as a message.

use std::pin::Pin;
use std::time::Duration;

use millpond::{Clock, ControlError, PoolMessage};
use ractor::{ActorId, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, concurrency};

use super::intensity::Failures;
use super::message::{GroupMessage, MemberReply, MemberReport, MemberStatus, Step};
use super::{Group, Strategy};

/// Added to a shutdown's limit before a pool is taken to answer nothing.
const GRACE: Duration = Duration::from_secs(1);
/// How long after a start that failed the next one comes.
const AGAIN: Duration = Duration::from_millis(100);

/// A member at the moment.
#[derive(Debug)]
enum State {
    /// To be started when it is its turn. Exit: `Starting`.
    Down,
    /// Its start is under way. Exits: `Up`, `Unwanted`, `Down`.
    Starting,
    /// Its start is under way, and another one failed, which it goes with: what comes up is stopped. Exits: `Stopping`, `Down`.
    Unwanted,
    /// Exits: `Stopping`, `Down`, `Done`.
    Up(ActorRef<PoolMessage>),
    /// Stopped since another one failed. Exit: `Down`.
    Stopping(ActorRef<PoolMessage>),
    /// It was shut down by somebody, and is left alone.
    Done,
}

#[derive(Debug)]
pub struct Supervision {
    members: Vec<State>,
    restarts: Vec<u64>,
    failures: Failures,
    ending: bool,
}

impl Supervision {
    pub(super) fn new(members: usize) -> Self {
        let down = || State::Down;
        Self {
            members: std::iter::repeat_with(down).take(members).collect(),
            restarts: vec![0; members],
            failures: Failures::default(),
            ending: false,
        }
    }

    fn pool(&self, member: usize) -> Option<ActorRef<PoolMessage>> {
        match &self.members[member] {
            State::Up(actor) => Some(actor.clone()),
            _ => None,
        }
    }
}

impl Group {
    /// Starts the first member that is not up, unless one is coming up or going: members come up in their order, one after the other.
    /// An unwanted start holds up its own member and those after it: those before it may be what it waits for.
    pub(super) fn start_next(&self, myself: &ActorRef<GroupMessage>, state: &mut Supervision) {
        let moves = |member: &State| matches!(member, State::Starting | State::Stopping(_));
        if state.ending || state.members.iter().any(moves) {
            return;
        }
        let waits = |member: &State| !matches!(member, State::Up(_) | State::Done);
        let next = state.members.iter().position(waits);
        let Some(next) = next.filter(|&next| matches!(state.members[next], State::Down)) else { return };
        state.members[next] = State::Starting;
        let (start, group) = (self.members[next].start(myself.get_cell()), myself.clone());
        beside(async move {
            let started = start.await.map_err(|error| error.to_string());
            // A group that is gone takes its pools with it.
            let _ = group.cast(Step::Started { member: next, started }.into());
        });
    }

    pub(super) fn on_started(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        member: usize,
        started: Result<ActorRef<PoolMessage>, String>,
    ) -> Result<(), ActorProcessingErr> {
        let name = &self.members[member].name;
        let unwanted = matches!(state.members[member], State::Unwanted);
        match started {
            Ok(actor) if state.ending => actor.stop(Some("its group has ended".to_owned())),
            Ok(actor) => {
                state.members[member] = if unwanted {
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
                self.start_next(myself, state);
            }
            Err(error) if unwanted => {
                tracing::info!(member = name, "a pool of the group, unwanted by now, does not come up: {error}");
                state.members[member] = State::Down;
                self.start_next(myself, state);
            }
            Err(error) => {
                tracing::error!(member = name, "a pool of the group does not come up: {error}");
                self.count_failure(state, name, &error)?;
                let group = myself.clone();
                beside(async move {
                    pause().await;
                    let _ = group.cast(Step::Start.into());
                });
                state.members[member] = State::Down;
            }
        }
        Ok(())
    }

    /// A pool has ended; `failure` says why if nobody wanted that.
    pub(super) fn on_end(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        actor: ActorId,
        failure: Option<String>,
    ) -> Result<(), ActorProcessingErr> {
        let is = |member: &State| matches!(member, State::Up(pool) | State::Stopping(pool) if pool.get_id() == actor);
        let Some(member) = state.members.iter().position(is) else { return Ok(()) };
        let stopped = matches!(state.members[member], State::Stopping(_));
        if state.ending || !stopped && failure.is_none() {
            state.members[member] = State::Done;
            return Ok(());
        }
        state.members[member] = State::Down;
        state.restarts[member] += 1;
        if let Some(failure) = failure.filter(|_| !stopped) {
            let name = &self.members[member].name;
            tracing::error!(member = name, "a pool of the group failed: {failure}");
            self.count_failure(state, name, &failure)?;
            self.stop_those_that_go_with(state, member);
        }
        self.start_next(myself, state);
        Ok(())
    }

    fn stop_those_that_go_with(&self, state: &mut Supervision, failed: usize) {
        let goes = |member: usize| match self.strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => member != failed,
            Strategy::RestForOne => member > failed,
        };
        for member in (0..state.members.len()).rev().filter(|&member| goes(member)) {
            match &state.members[member] {
                State::Up(actor) => {
                    let actor = actor.clone();
                    actor.stop(Some(format!("`{}` failed, which it goes with", self.members[failed].name)));
                    state.members[member] = State::Stopping(actor);
                }
                State::Starting => state.members[member] = State::Unwanted,
                State::Down | State::Unwanted | State::Stopping(_) | State::Done => (),
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

    pub(super) fn status(&self, state: &Supervision, reply: RpcReplyPort<Vec<MemberStatus>>) {
        let asked = self.ask(state, PoolMessage::Snapshot, self.limit);
        let restarts = state.restarts.clone();
        beside(async move {
            let mut members = Vec::new();
            for (Asked { name, actor, answer }, restarts) in asked.into_iter().zip(restarts) {
                members.push(MemberStatus { name, actor, restarts, snapshot: answer.await });
            }
            // Whoever asked may have gone: here and below.
            let _ = reply.send(members);
        });
    }

    pub(super) fn ask_all(
        &self,
        state: &Supervision,
        message: fn(RpcReplyPort<Result<(), ControlError>>) -> PoolMessage,
        reply: RpcReplyPort<Vec<MemberReply>>,
    ) {
        let asked = self.ask(state, message, self.limit);
        beside(async move {
            let mut members = Vec::new();
            for Asked { name, answer, .. } in asked {
                members.push(MemberReply { name, reply: answer.await });
            }
            let _ = reply.send(members);
        });
    }

    pub(super) fn shut_down(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        limit: Duration,
        reply: RpcReplyPort<Vec<MemberReport>>,
    ) {
        state.ending = true;
        let asked = self.ask(state, move |port| PoolMessage::Shutdown(limit, port), limit.saturating_add(GRACE));
        let group = myself.clone();
        beside(async move {
            let mut members = Vec::new();
            for Asked { name, answer, .. } in asked {
                members.push(MemberReport { name, report: answer.await });
            }
            let _ = reply.send(members);
            let _ = group.cast(Step::Over.into());
        });
    }

    /// Asks every pool at once, the last one first; each has this long for its answer.
    fn ask<T: Send + 'static>(
        &self,
        state: &Supervision,
        message: impl Fn(RpcReplyPort<T>) -> PoolMessage,
        limit: Duration,
    ) -> Vec<Asked<T>> {
        let mut asked: Vec<_> = (0..self.members.len())
            .rev()
            .map(|member| {
                let actor = state.pool(member);
                let (port, answer) = concurrency::oneshot();
                let sent = actor.as_ref().is_some_and(|actor| actor.cast(message(port.into())).is_ok());
                let answer = async move {
                    let timed = concurrency::timeout(limit, answer).await;
                    timed.ok().and_then(Result::ok).filter(|_| sent)
                };
                Asked { name: self.members[member].name.clone(), actor, answer: ended(answer) }
            })
            .collect();
        asked.reverse();
        asked
    }
}

/// A member that was asked something.
struct Asked<T> {
    name: String,
    actor: Option<ActorRef<PoolMessage>>,
    answer: Pin<Box<dyn Future<Output = Option<T>> + Send>>,
}

/// Runs beside the group, on its runtime.
#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
fn beside(future: impl Future<Output = ()> + Send + 'static) {
    drop(concurrency::spawn(future));
}

/// The same for what somebody waits for: its limit counts from now on.
#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
fn ended<T: Send + 'static>(
    answer: impl Future<Output = Option<T>> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Option<T>> + Send>> {
    let task = concurrency::spawn(answer);
    Box::pin(async move { task.await.ok().flatten() })
}

#[expect(clippy::disallowed_methods, reason = "a group lives on the runtime that its actor was spawned on")]
async fn pause() {
    concurrency::sleep(AGAIN).await;
}
