//! What becomes of a slot whose worker ended by a fault: the restart policy is asked, on a side thread, and may take its time up to
//! a limit.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::PoolEvent;
use super::message::Command;
use super::side::{self, Aside};
use super::staff::SlotState;
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::id::WorkerId;
use crate::job::catch;
use crate::policy::{Exit, Restart, RestartPolicy, SlotBackoff, SlotHistory};
use crate::sync::{Arc, Timestamp};

/// How long a restart policy may think, from the moment when it is asked.
const POLICY_LIMIT: Duration = Duration::from_secs(1);
/// The longest delay that makes sense.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// Questions to the policy. One is out at a time: a policy that hangs holds one side thread, and is asked nothing more.
#[derive(Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    out: Option<Out>,
}

/// A worker ended by a fault, at that time.
struct Question {
    worker: WorkerId,
    exit: Exit,
    at: Timestamp,
}

/// The question that was put last and has no answer yet.
struct Out {
    worker: WorkerId,
    /// When the policy is late; `NEVER` until a side thread has come to the question: what others take is not the policy's fault.
    until: Timestamp,
}

impl<B: Backend> Supervision<B> {
    /// Has the policy asked about a slot, which is `Deciding` until then.
    pub(super) fn ask(&mut self, worker: WorkerId, exit: Exit, at: Timestamp) {
        self.questions.waiting.push_back(Question { worker, exit, at });
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if self.questions.out.is_some() {
            return;
        }
        let Some(Question { worker, exit, at }) = self.questions.waiting.pop_front() else { return };
        let history = self.slots.get(worker.slot as usize).and_then(|slot| slot.history.clone());
        let mut history = history.unwrap_or_else(|| SlotHistory::new(worker, at));
        self.questions.out = Some(Out { worker, until: Timestamp::NEVER });
        let (policy, myself, clock) = (self.policy.clone(), self.myself.clone(), self.plane().clock.clone());
        let plane = Arc::downgrade(&self.shared.plane);
        side::ask_policy(move || {
            // A pool that has ended meanwhile explains nothing any more. An error of the user's may panic as it is read.
            let _ = catch(|| plane.upgrade().map(|plane| plane.note_fault(worker, &exit)));
            // A pool that has ended meanwhile needs no decision: here and below.
            let _ = myself.cast(Command::Asked { worker, since: clock.now() }.into());
            let decision = catch(|| {
                history.fault(at, policy.healthy_after());
                let restart = policy.decide(at, &history, &exit);
                (restart, history)
            });
            let decision = decision.map_err(|caught| caught.message);
            let _ = myself.cast(Command::Decided { worker, decision }.into());
        });
    }

    /// A side thread has come to the question about `worker`.
    pub(super) fn on_asked(&mut self, worker: WorkerId, since: Timestamp) {
        if let Some(out) = self.questions.out.as_mut().filter(|out| out.worker == worker) {
            out.until = since.after(POLICY_LIMIT);
        }
    }

    pub(super) fn on_decided(&mut self, worker: WorkerId, decision: Result<(Restart, SlotHistory), String>) {
        // Otherwise it is too late: the default has decided.
        if self.questions.out.take_if(|out| out.worker == worker).is_none() {
            return;
        }
        let sane =
            decision.map_err(|message| format!("it panicked: {message}")).and_then(|decision| match &decision.0 {
                Restart::After(delay) | Restart::CoolDown(delay) if *delay > LONGEST_DELAY => {
                    Err(format!("it asked for a delay of {delay:?}"))
                }
                _ => Ok(decision),
            });
        match sane {
            Ok((restart, history)) => {
                self.slots[worker.slot as usize].history = Some(history);
                self.decide(worker, restart);
            }
            Err(reason) => self.replace_policy(worker, reason),
        }
        self.ask_next();
    }

    fn replace_policy(&mut self, worker: WorkerId, reason: String) {
        self.tell(PoolEvent::PolicyReplaced { reason });
        self.policy = Aside::new(Arc::new(SlotBackoff::default()));
        let (now, default) = (self.now(), SlotBackoff::default());
        let slot = &mut self.slots[worker.slot as usize];
        let history = slot.history.get_or_insert_with(|| SlotHistory::new(worker, slot.started_at));
        history.fault(now, default.healthy_after());
        let restart = default.decide(now, history, &Exit::Lost);
        self.decide(worker, restart);
    }

    fn decide(&mut self, worker: WorkerId, restart: Restart) {
        let now = self.now();
        self.tell(PoolEvent::RestartDecided { worker, restart: restart.clone() });
        let slot = &mut self.slots[worker.slot as usize];
        slot.restarts = slot.restarts.saturating_add(1);
        slot.state = match restart {
            Restart::After(Duration::ZERO) => SlotState::Vacant,
            Restart::After(delay) | Restart::CoolDown(delay) => SlotState::Waiting(now.after(delay)),
            Restart::Never => SlotState::Waiting(Timestamp::NEVER),
            Restart::Escalate(reason) => {
                self.escalated = Some(Arc::from(reason));
                SlotState::Waiting(Timestamp::NEVER)
            }
        };
        self.update_cooling();
        self.staff();
    }

    /// Slots whose delay is over are vacant again; a policy that thinks for too long is replaced. Says when to look again.
    pub(super) fn end_restarts(&mut self, now: Timestamp) -> Timestamp {
        if let Some(Out { worker, .. }) = self.questions.out.take_if(|out| out.until <= now) {
            self.replace_policy(worker, format!("it did not answer within {POLICY_LIMIT:?}"));
            self.ask_next();
        }
        let mut next = self.questions.out.as_ref().map_or(Timestamp::NEVER, |out| out.until);
        let mut over = false;
        for slot in &mut self.slots {
            match slot.state {
                SlotState::Waiting(until) if until <= now => {
                    slot.state = SlotState::Vacant;
                    over = true;
                }
                SlotState::Waiting(until) => next = next.min(until),
                SlotState::Vacant | SlotState::Filled | SlotState::Deciding => {}
            }
        }
        if over {
            self.update_cooling();
            self.staff();
        }
        next
    }
}
