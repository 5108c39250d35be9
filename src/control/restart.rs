//! What becomes of a slot whose worker ended by a fault: the restart policy is asked, on a side thread, and may take its time up to
//! a limit.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::PoolEvent;
use super::message::Command;
use super::side::{self, Aside};
use super::slots::{Outage, SlotState};
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::id::WorkerId;
use crate::job::catch;
use crate::policy::{Exit, PoolHistory, Restart, RestartPolicy, SlotBackoff, SlotHistory};
use crate::sync::{Arc, Timestamp};

/// How long a restart policy may think, from the moment when it is asked.
pub(super) const POLICY_LIMIT: Duration = Duration::from_secs(1);
/// The longest delay that makes sense.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// Questions to the policy. One is out at a time: a policy that hangs holds one side thread, and is asked nothing more.
#[derive(Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    out: Option<Out>,
    /// How many were put.
    asked: u64,
    /// The faults of all slots.
    pool: PoolHistory,
    /// How many there have been.
    faults: u64,
}

/// A worker ended by a fault.
#[derive(Debug)]
pub(super) struct Fault {
    worker: WorkerId,
    /// Let go of aside: what it carries may be the user's.
    exit: Aside<Exit>,
    at: Timestamp,
    /// The pool's how manieth fault it was.
    number: u64,
    /// What was decided about it is a cool-down.
    cooled: bool,
}

/// What a policy says.
#[derive(Debug)]
pub(crate) struct Decision {
    restart: Restart,
    /// With the fault in it.
    history: SlotHistory,
    /// The policy's own.
    healthy_after: Duration,
}

/// What a policy is asked.
struct Question {
    fault: Fault,
    /// It is in the slot's history already: another policy has decided about it before.
    known: bool,
}

/// The question that was put last and has no answer yet.
struct Out {
    /// Its number.
    number: u64,
    question: Question,
    /// When the policy is late; `NEVER` until a side thread has come to the question: what others take is not the policy's fault.
    until: Timestamp,
}

impl<B: Backend> Supervision<B> {
    /// Has the policy asked about a slot, which is `Ruling`, then `Deciding`, until that is answered.
    pub(super) fn ask(&mut self, worker: WorkerId, exit: Exit, at: Timestamp) {
        self.plane().note_fault(worker, &exit);
        let questions = &mut self.questions;
        questions.pool.fault(at);
        questions.faults += 1;
        let fault = Fault { worker, exit: Aside::new(Arc::new(exit)), at, number: questions.faults, cooled: false };
        questions.waiting.push_back(Question { fault, known: false });
        self.ask_next();
    }

    /// Another policy is in force: what is out is put to it as well, and so is what its predecessor decided about slots that are still empty.
    pub(super) fn ask_again(&mut self) {
        if let Some(out) = self.questions.out.take() {
            self.questions.waiting.push_front(out.question);
        }
        self.reopen();
        self.ask_next();
    }

    /// What was decided about slots that are still empty is to be decided anew: by another policy, which has nothing to do with what that one's
    /// predecessor said.
    fn reopen(&mut self) {
        for index in self.slots.decided() {
            let slot = &mut self.slots[index];
            if let Some(fault) = slot.fault.take() {
                if let Some(history) = slot.history.as_mut().filter(|_| fault.cooled) {
                    history.cool_downs = history.cool_downs.saturating_sub(1);
                }
                // It is missing already, and stays so until the new policy says otherwise.
                self.slots.set(index, SlotState::Deciding);
                self.questions.waiting.push_back(Question { fault, known: true });
            }
        }
        // No seat is given up for good meanwhile.
        self.update_cooling();
    }

    fn ask_next(&mut self) {
        if self.questions.out.is_some() {
            return;
        }
        let Some(question) = self.questions.waiting.pop_front() else { return };
        let Fault { worker, at, number, .. } = question.fault;
        let (exit, known) = (Aside::new(question.fault.exit.clone()), question.known);
        let history = self.slots.get(worker.slot as usize).and_then(|slot| slot.history.clone());
        let mut history = history.unwrap_or_else(|| SlotHistory::new(worker, at));
        history.pool = self.pool_at(worker, number);
        self.questions.asked += 1;
        let number = self.questions.asked;
        self.questions.out = Some(Out { number, question, until: Timestamp::NEVER });
        let (policy, myself, clock) = (self.policy.clone(), self.myself.clone(), self.plane().clock.clone());
        side::ask_policy(move || {
            // A pool that has ended meanwhile needs no decision: here and below.
            let now = clock.now();
            let _ = myself.cast(Command::Asked { question: number, since: now }.into());
            let decision = catch(|| {
                let healthy_after = policy.healthy_after();
                if !known {
                    history.fault(at, healthy_after);
                }
                let restart = policy.decide(if known { now } else { at }, &history, &exit);
                Decision { restart, history, healthy_after }
            });
            let decision = decision.map_err(|caught| caught.message);
            let _ = myself.cast(Command::Decided { question: number, decision }.into());
        });
    }

    /// The pool, as it was at the fault of this number.
    fn pool_at(&self, worker: WorkerId, number: u64) -> PoolHistory {
        let later = usize::try_from(self.questions.faults - number).unwrap_or(usize::MAX);
        let (slots, empty) = (self.plane().max(), self.slots.empty_beside(worker.slot as usize));
        PoolHistory { slots, empty, ..self.questions.pool.before(later) }
    }

    /// A side thread has come to this question.
    pub(super) fn on_asked(&mut self, question: u64, since: Timestamp) {
        if let Some(out) = self.questions.out.as_mut().filter(|out| out.number == question) {
            out.until = since.after(POLICY_LIMIT);
        }
    }

    pub(super) fn on_decided(&mut self, question: u64, decision: Result<Decision, String>) {
        // Otherwise it is too late: the default, or a policy that was set meanwhile, decides.
        let Some(out) = self.questions.out.take_if(|out| out.number == question) else { return };
        let sane = decision.map_err(|message| format!("it panicked: {message}")).and_then(|decision| {
            match &decision.restart {
                Restart::After(delay) | Restart::CoolDown(delay) if *delay > LONGEST_DELAY => {
                    Err(format!("it asked for a delay of {delay:?}"))
                }
                _ => Ok(decision),
            }
        });
        match sane {
            Ok(Decision { restart, mut history, healthy_after }) => {
                history.pool = PoolHistory::default();
                self.take_history(out.question.fault.worker, history);
                self.decide(out.question, restart, healthy_after);
            }
            Err(reason) => self.replace_policy(out.question, reason),
        }
        self.ask_next();
    }

    /// From now on the default decides: at once what its predecessor gave no answer to, and then about the slots that wait for what that said.
    fn replace_policy(&mut self, question: Question, reason: String) {
        self.tell(PoolEvent::PolicyReplaced { reason });
        self.policy = Aside::new(Arc::new(SlotBackoff::default()));
        self.reopen();
        let (default, worker) = (SlotBackoff::default(), question.fault.worker);
        // How long the policy took is not the worker's uptime.
        let (at, now) = (question.fault.at, if question.known { self.now() } else { question.fault.at });
        let slot = &self.slots[worker.slot as usize];
        let mut history = slot.history.clone().unwrap_or_else(|| SlotHistory::new(worker, slot.started_at));
        if !question.known {
            history.fault(at, default.healthy_after());
        }
        let restart = default.decide(now, &history, &question.fault.exit);
        self.take_history(worker, history);
        self.decide(question, restart, default.healthy_after());
    }

    /// What a slot has been through, with its latest fault. If it was a probe's that had been up for long enough by then, and nobody has told that
    /// yet, that comes first.
    fn take_history(&mut self, worker: WorkerId, history: SlotHistory) {
        let slot = &mut self.slots[worker.slot as usize];
        let before = slot.history.replace(history);
        if let Some(before) = before.filter(|before| before.is_probe())
            && slot.history.as_ref().is_some_and(|history| !history.is_probe())
        {
            self.tell_probe(&before);
        }
    }

    /// A probe has succeeded; as its history was just before that.
    fn tell_probe(&mut self, probe: &SlotHistory) {
        let slot = &mut self.slots[probe.worker.slot as usize];
        let Some(outage) = slot.outage.take() else { return };
        let out_for = probe.ready_at.unwrap_or(probe.started_at).since(outage.since);
        self.tell(PoolEvent::ProbeSucceeded { worker: probe.worker, cool_downs: probe.cool_downs, out_for });
    }

    /// Probes that have been up for long enough have succeeded: their slots are back. Says when to look again.
    fn look_at_probes(&mut self, now: Timestamp) -> Timestamp {
        while let Some(index) = self.slots.probed(now) {
            self.slots.end_probe(index);
            let slot = &self.slots[index];
            let Some(probe) = slot.history.clone() else { continue };
            // Of one that has ended, or is leaving, its exit tells what follows.
            if self.plane().cell(probe.worker).is_some_and(|cell| cell.lock().seated()) {
                self.slots[index].history = Some(probe.clone().recovered());
                self.tell_probe(&probe);
            }
        }
        self.slots.next_probed()
    }

    fn decide(&mut self, question: Question, restart: Restart, healthy_after: Duration) {
        let (now, Question { mut fault, known }) = (self.now(), question);
        let (worker, told) = (fault.worker, restart.clone());
        let index = worker.slot as usize;
        let slot = &mut self.slots[index];
        slot.restarts = slot.restarts.saturating_add(u32::from(!known));
        if let Some(history) = &mut slot.history {
            history.decided(&restart);
        }
        fault.cooled = matches!(restart, Restart::CoolDown(_));
        let since = slot.outage.map_or(fault.at, |outage| outage.since);
        let is_out = slot.history.as_ref().is_some_and(SlotHistory::is_probe);
        slot.outage = is_out.then_some(Outage { since, healthy_after });
        slot.fault = Some(fault);
        let state = match restart {
            Restart::After(Duration::ZERO) => SlotState::Vacant,
            Restart::After(delay) | Restart::CoolDown(delay) => SlotState::Waiting(now.after(delay)),
            Restart::Never => SlotState::Waiting(Timestamp::NEVER),
            Restart::Escalate(reason) => {
                // A pool that is being shut down ends in any case, with a report, and its parent is not to build another.
                if self.ending.is_none() {
                    self.escalated = Some(Arc::from(reason));
                }
                SlotState::Waiting(Timestamp::NEVER)
            }
        };
        self.slots.set(index, state);
        self.update_cooling();
        // Whoever is told finds it in force: the health that follows from it, and no worker that comes up by it yet.
        self.tell(PoolEvent::RestartDecided { worker, restart: told });
        if state == SlotState::Vacant {
            self.start_successor(index);
        }
        self.staff();
    }

    /// Slots whose delay is over are vacant again, and those whose probe has been up for long enough are back; a policy that thinks for too
    /// long is replaced. Says when to look again.
    pub(super) fn end_restarts(&mut self, now: Timestamp) -> Timestamp {
        if let Some(out) = self.questions.out.take_if(|out| out.until <= now) {
            self.replace_policy(out.question, format!("it did not answer within {POLICY_LIMIT:?}"));
            self.ask_next();
        }
        let mut over = false;
        // From now on it counts as missing.
        while let Some(slot) = self.slots.unruled(now) {
            self.slots.set(slot, SlotState::Deciding);
            over = true;
        }
        let pass = self.pass();
        while let Some(slot) = self.slots.rested(now) {
            self.slots.set(slot, SlotState::Vacant);
            // Its seat counts again.
            self.update_cooling();
            self.start_successor(slot);
            over = true;
            if pass.is_over() {
                self.go_on_later();
                break;
            }
        }
        if over {
            self.update_cooling();
            self.staff();
        }
        let late = self.questions.out.as_ref().map_or(Timestamp::NEVER, |out| out.until);
        late.min(self.slots.next_rested()).min(self.slots.next_unruled()).min(self.look_at_probes(now))
    }
}
