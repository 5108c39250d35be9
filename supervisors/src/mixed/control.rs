//! What all members are asked at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond::{CloseReason, ControlError, Ledger, PoolExecutor, ShutdownReport, TimeLimit, Timestamp};

use super::MixedPool;
use super::guard::{Boxed, all, block_on, guarded};
use super::pool::{Gate, Shared};

/// What a member answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberReply<R> {
    /// The member's name.
    pub member: Arc<str>,
    /// Its pool's answer.
    pub reply: Result<R, ControlError>,
}

/// What a shutdown came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MixedReport {
    /// What each member says of its own jobs: an attempt of one of ours is one, and others' jobs are among them.
    pub members: Vec<MemberReply<ShutdownReport>>,
    /// What became of every job that was ever offered to the mixed pool.
    pub ledger: Ledger,
}

/// A drain that has not come to its end in time. It goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{pending} jobs have no outcome within {limit:.1?}; the mixed pool drains on")]
pub struct StillAtWork {
    /// Jobs without an outcome.
    pub pending: u64,
    /// The limit.
    pub limit: Duration,
}

impl<J: Send + 'static, T: Send + 'static> MixedPool<J, T> {
    /// Admits and gives nothing to members, which are quiesced too, all at once, until [`resume`](Self::resume). Each answers within `limit`. If the mixed pool drains, or was
    /// shut down, no member is asked, and each reply is [`ControlError::TooLate`].
    ///
    /// # Cancel safety
    ///
    /// Once polled, it takes its course; a dropped future leaves the replies unread.
    pub async fn quiesce(&self, limit: TimeLimit) -> Vec<MemberReply<()>> {
        self.shared().turn_all(Gate::Quiesced, "quiesce", |pool| Box::pin(pool.quiesce(limit))).await
    }

    /// Goes on, after a quiesce, and has all members go on. If the mixed pool drains, or was shut down, as for [`quiesce`](Self::quiesce).
    ///
    /// # Cancel safety
    ///
    /// As for [`quiesce`](Self::quiesce).
    pub async fn resume(&self, limit: TimeLimit) -> Vec<MemberReply<()>> {
        self.shared().turn_all(Gate::Open, "resume", |pool| Box::pin(pool.resume(limit))).await
    }

    /// Refuses new jobs, waits until those that were admitted have their outcomes, and then drains all members at once; all of it within `limit`. One way.
    ///
    /// # Errors
    ///
    /// If jobs have no outcome by then. It drains on, and the members were not asked.
    ///
    /// # Cancel safety
    ///
    /// Once polled, no job comes in any more. If the future is dropped before the jobs have ended, the members are not drained.
    pub async fn drain(&self, limit: TimeLimit) -> Result<Vec<MemberReply<()>>, StillAtWork> {
        let shared = self.shared();
        let until = shared.clock.now().after(limit.0);
        shared.turn_to(Gate::Draining);
        if !shared.rest(until).await {
            return Err(StillAtWork { pending: self.ledger().pending, limit: limit.0 });
        }
        let left = TimeLimit(until.since(shared.clock.now()));
        Ok(shared.ask_all(|pool| Box::pin(pool.drain(left))).await)
    }

    /// Ends it, and all its members, within `limit`. For three quarters of that, jobs go on as before, and new ones are refused; then what no member has ends
    /// as not started, and the members are shut down, all at once, in what is left. Members whose jobs are others', too, end with those.
    ///
    /// When this answers, every job has its outcome, unless a member does not answer: then the jobs there have it when that pool has ended. A job whose
    /// own route, copy or adapter blocks has it when that returns: this then answers up to five seconds after `limit`, and the ledger shows it as pending.
    ///
    /// # Cancel safety
    ///
    /// Once polled, no job comes in any more. If the future is dropped before the members were asked, they are not shut down.
    pub async fn shutdown(&self, limit: TimeLimit) -> MixedReport {
        let shared = self.shared();
        let now = shared.clock.now();
        let until = now.after(limit.0);
        shared.turn_to(Gate::Draining);
        shared.rest(now.after(limit.0 / 4 * 3)).await;
        shared.turn_to(Gate::Closed);
        let left = TimeLimit(until.since(shared.clock.now()));
        let members = shared.ask_all(|pool| Box::pin(pool.shutdown(left))).await;
        // A pool that has ended has written all outcomes, or does a moment later. One that does not answer has as long as a control reply may take.
        shared.rest(shared.clock.now().after(TimeLimit::default().0)).await;
        MixedReport { members, ledger: self.ledger() }
    }

    /// Ends it, and all its members, at once, in the caller; see [`PoolExecutor::abort`]. The outcomes follow.
    pub fn abort(&self) {
        self.shared().turn_to(Gate::Closed);
        for member in &self.shared().members {
            member.pool.abort();
        }
    }

    /// [`quiesce`](Self::quiesce) for synchronous callers.
    pub fn quiesce_blocking(&self, limit: TimeLimit) -> Vec<MemberReply<()>> {
        block_on(self.quiesce(limit))
    }

    /// [`resume`](Self::resume) for synchronous callers.
    pub fn resume_blocking(&self, limit: TimeLimit) -> Vec<MemberReply<()>> {
        block_on(self.resume(limit))
    }

    /// [`drain`](Self::drain) for synchronous callers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn drain_blocking(&self, limit: TimeLimit) -> Result<Vec<MemberReply<()>>, StillAtWork> {
        block_on(self.drain(limit))
    }

    /// [`shutdown`](Self::shutdown) for synchronous callers.
    pub fn shutdown_blocking(&self, limit: TimeLimit) -> MixedReport {
        block_on(self.shutdown(limit))
    }
}

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    async fn ask_all<R>(
        &self,
        ask: impl Fn(&dyn PoolExecutor) -> Boxed<'_, Result<R, ControlError>>,
    ) -> Vec<MemberReply<R>> {
        let asked = self.members.iter().map(|member| ask(&*member.pool)).collect();
        let replies = all(asked).await.into_iter().zip(&self.members);
        replies.map(|(reply, member)| MemberReply { member: member.name.clone(), reply }).collect()
    }

    /// Turns the gate and tells all members, which hear of it in the order in which the gate was turned. A pool that drains does neither any more: that is one way.
    async fn turn_all(
        &self,
        gate: Gate,
        operation: &'static str,
        ask: impl Fn(&dyn PoolExecutor) -> Boxed<'_, Result<(), ControlError>>,
    ) -> Vec<MemberReply<()>> {
        let mut asked = pin!(self.ask_all(ask));
        let first = {
            let _told = self.telling.lock();
            let stands = self.turn_and_tell(gate);
            if stands >= Gate::Draining {
                return self.too_late(stands, operation);
            }
            // The message to each is sent as it is first polled; who waits is told by the polls after that.
            asked.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        match first {
            Poll::Ready(replies) => replies,
            Poll::Pending => asked.await,
        }
    }

    fn too_late(&self, stands: Gate, operation: &'static str) -> Vec<MemberReply<()>> {
        let reason = if stands == Gate::Draining { CloseReason::Draining } else { CloseReason::Shutdown };
        let late = || ControlError::TooLate { pool: self.name.clone(), operation, reason: reason.clone() };
        let members = self.members.iter().map(|member| member.name.clone());
        members.map(|member| MemberReply { member, reply: Err(late()) }).collect()
    }

    /// Waits until every job has ended; false if that is not so at `until`.
    async fn rest(&self, until: Timestamp) -> bool {
        let alarm = self.alarm(until);
        let mut told = pin!(self.book.next_rest());
        poll_fn(|cx| {
            // Woken by whoever writes the last outcome, whom it must not harm.
            let waker = guarded(cx.waker());
            let cx = &mut Context::from_waker(&waker);
            if told.as_mut().poll(cx).is_ready() || self.book.rests() {
                return Poll::Ready(true);
            }
            if alarm.poll(cx) { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }
}
