//! What a group does as its [`Course`] says. It waits for nobody: what takes time runs beside it and comes back as a message.

use std::time::Duration;

use millpond::{Clock, PoolMessage, ShutdownReport, Timestamp};
use ractor::{ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, concurrency};

use super::Group;
use super::course::{Act, Course, End, Fatal, Rules};
use super::member::Newcomer;
use super::message::{GroupMessage, Step};

/// How long after a start that failed the next one comes.
const AGAIN: Duration = Duration::from_millis(100);

/// A shutdown that waits for a start to end.
#[derive(Debug)]
struct Late {
    member: usize,
    until: Timestamp,
    reply: RpcReplyPort<ShutdownReport>,
}

/// A group that is there.
#[derive(Debug)]
pub struct Supervision {
    course: Course<ActorRef<PoolMessage>>,
    late: Vec<Late>,
}

impl Supervision {
    pub(super) fn pool(&self, member: usize) -> Option<ActorRef<PoolMessage>> {
        self.course.pool(member).cloned()
    }

    pub(super) fn restarts(&self, member: usize) -> u64 {
        self.course.restarts(member)
    }

    /// From here on nobody is started.
    pub(super) const fn end(&mut self) {
        self.course.end();
    }

    /// What members that come up from here on are to do. One that is up is told by [`tell`](Self::tell).
    pub(super) const fn set_quiesced(&mut self, quiesced: bool) {
        self.course.set_quiesced(quiesced);
    }

    /// Sends this to the member's pool. If it has none, or one that has ended, the port goes with the message, and that is the answer.
    pub(super) fn tell(&self, member: usize, message: PoolMessage) {
        if let Some(actor) = self.course.pool(member) {
            let _ = actor.cast(message);
        }
    }

    /// Shuts the member's pool down, one that is just coming up when it is there.
    pub(super) fn shut_down(&mut self, member: usize, limit: Duration, reply: RpcReplyPort<ShutdownReport>) {
        if self.course.is_starting(member) {
            self.late.push(Late { member, until: now().after(limit), reply });
        } else {
            self.tell(member, PoolMessage::Shutdown(limit, reply));
        }
    }

    /// If its start has ended, what came up goes down again, in what is left of the time of those who have shut the group down.
    fn shut_down_late(&mut self, member: usize) {
        if self.course.is_starting(member) {
            return;
        }
        let its: Vec<_> = self.late.extract_if(.., |late| late.member == member).collect();
        for Late { until, reply, .. } in its {
            self.tell(member, PoolMessage::Shutdown(until.since(now()), reply));
        }
    }
}

impl Group {
    pub(super) fn supervision(&self) -> Supervision {
        let (strategy, intensity, start_limit) = (self.strategy, self.intensity, self.start_limit);
        let names = self.members.iter().map(|member| member.name.clone());
        Supervision { course: Course::new(Rules { strategy, intensity, start_limit }, names), late: Vec::new() }
    }

    /// Something has come back.
    pub(super) fn step(
        &self,
        myself: &ActorRef<GroupMessage>,
        step: Step,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        let (course, now) = (&mut state.course, now());
        let went = match step {
            Step::Start => {
                course.start_due(now);
                Ok(())
            }
            Step::Started { member, generation, started } => {
                let went = course.on_started((member, generation), started.map(Newcomer::taken), now);
                state.shut_down_late(member);
                went
            }
            Step::Overdue { member, generation } => course.on_overdue((member, generation), now),
            Step::Rested { member } => {
                course.on_rested(member, now);
                Ok(())
            }
            Step::StillThere { actor } => course.on_still_there(actor, now),
            Step::Gone { actor } => course.on_gone(actor, now),
            Step::Over => {
                myself.stop(Some("shut down".to_owned()));
                Ok(())
            }
        };
        self.go_on(myself, state, went)
    }

    /// A pool has ended.
    pub(super) fn on_end(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        actor: ActorId,
        end: End,
    ) -> Result<(), ActorProcessingErr> {
        let went = state.course.on_end(actor, end, now());
        self.go_on(myself, state, went)
    }

    fn go_on(
        &self,
        myself: &ActorRef<GroupMessage>,
        state: &mut Supervision,
        went: Result<(), Fatal>,
    ) -> Result<(), ActorProcessingErr> {
        went?;
        for act in state.course.take_acts() {
            match act {
                Act::Start { member, generation } => self.start(myself, member, generation),
                Act::Rest { member } => later(myself, AGAIN, Step::Rested { member }),
                Act::Stop { pool, why } => {
                    pool.stop(Some(why));
                    later(myself, self.stop_limit, Step::StillThere { actor: pool.get_id() });
                }
                Act::Kill { pool } => {
                    pool.kill();
                    later(myself, self.stop_limit, Step::StillThere { actor: pool.get_id() });
                }
                Act::Quiesce { pool } => self.quiesce(&pool),
                Act::Await { pool } => {
                    let group = myself.clone();
                    beside(async move {
                        // It has no limit, and so no error.
                        let _ = pool.wait(None).await;
                        let _ = group.cast(Step::Gone { actor: pool.get_id() }.into());
                    });
                }
            }
        }
        Ok(())
    }

    /// Its pool has come up while the group is quiesced.
    fn quiesce(&self, pool: &ActorRef<PoolMessage>) {
        let (port, answer) = concurrency::oneshot();
        // If it has ended, the port goes with the message.
        let _ = pool.cast(PoolMessage::Quiesce(port.into()));
        let (pool, limit) = (pool.get_id(), self.limit);
        beside(async move {
            match concurrency::timeout(limit, answer).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(%pool, "a pool that came up in a quiesced group is not: {error}"),
                // It has ended.
                Ok(Err(_)) => {}
                Err(_) => {
                    tracing::warn!(%pool, "a pool that came up in a quiesced group does not say whether it is, for {limit:?}");
                }
            }
        });
    }

    fn start(&self, myself: &ActorRef<GroupMessage>, member: usize, generation: u64) {
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
}

/// Of the group's own clock: its members are pools, each of which may have another.
fn now() -> Timestamp {
    Clock::real().now()
}

/// Has the group sent this when so much time has passed. One that is gone takes its pools with it.
fn later(group: &ActorRef<GroupMessage>, span: Duration, step: Step) {
    let group = group.clone();
    beside(async move {
        pause(span).await;
        let _ = group.cast(step.into());
    });
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
