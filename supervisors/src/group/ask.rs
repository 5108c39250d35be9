//! What a group asks its members: all at once, the last one first.

use std::time::Duration;

use millpond::{ControlError, PoolMessage};
use ractor::{ActorRef, RpcReplyPort, concurrency};

use super::Group;
use super::message::{GroupMessage, MemberReply, MemberReport, MemberStatus, Step};
use super::supervision::{Supervision, beside, spawned};

/// Added to a shutdown's limit before a pool is taken to answer nothing.
const GRACE: Duration = Duration::from_secs(1);

/// A member that was asked something.
struct Asked<T> {
    member: usize,
    name: String,
    answer: concurrency::JoinHandle<Option<T>>,
}

impl Group {
    pub(super) fn status(&self, state: &Supervision, reply: RpcReplyPort<Vec<MemberStatus>>) {
        let asked = self.ask(self.limit, |member, port| state.tell(member, PoolMessage::Snapshot(port)));
        let known = |asked: Asked<_>| (state.pool(asked.member), state.restarts(asked.member), asked);
        let asked: Vec<_> = asked.into_iter().map(known).collect();
        beside(async move {
            let mut members = Vec::new();
            for (actor, restarts, Asked { name, answer, .. }) in asked {
                members.push(MemberStatus { name, actor, restarts, snapshot: answer.await.ok().flatten() });
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
        let asked = self.ask(self.limit, |member, port| state.tell(member, message(port)));
        beside(async move {
            let mut members = Vec::new();
            for Asked { name, answer, .. } in asked {
                members.push(MemberReply { name, reply: answer.await.ok().flatten() });
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
        state.end();
        let asked = self.ask(limit.saturating_add(GRACE), |member, port| state.shut_down(member, limit, port));
        let group = myself.clone();
        beside(async move {
            let mut members = Vec::new();
            for Asked { name, answer, .. } in asked {
                members.push(MemberReport { name, report: answer.await.ok().flatten() });
            }
            let _ = reply.send(members);
            let _ = group.cast(Step::Over.into());
        });
    }

    /// Asks every member, by what sends it the port; each has this long for its answer.
    fn ask<T: Send + 'static>(&self, limit: Duration, mut send: impl FnMut(usize, RpcReplyPort<T>)) -> Vec<Asked<T>> {
        let mut asked: Vec<_> = (0..self.members.len())
            .rev()
            .map(|member| {
                let (port, answer) = concurrency::oneshot();
                send(member, port.into());
                let answer = spawned(async move { concurrency::timeout(limit, answer).await.ok()?.ok() });
                Asked { member, name: self.members[member].name.clone(), answer }
            })
            .collect();
        asked.reverse();
        asked
    }
}
