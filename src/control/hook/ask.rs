//! A question goes to all hooks at once; what is to follow happens when the strictest verdict is in, and nobody waits for it meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::Span;

use super::credit::Panic;
use super::message::HookMessage;
use crate::backend::Backend;
use crate::control::event::PoolEvent;
use crate::control::message::Command;
use crate::control::supervisor::Supervision;
use crate::control::timer;
use crate::hook::{Answer, HookContext, HookFault, LONGEST_DELAY, Notice, Question, Verdict};
use crate::id::By;
use crate::snapshot::{Delay, Veto};
use crate::sync::{Arc, Timestamp};

/// What the hooks say, taken together.
pub(in crate::control) enum Ruling {
    Allowed,
    Denied(Veto),
}

/// What follows a question, on the control thread.
type Then<B> = Box<dyn FnOnce(&mut Supervision<B>, Ruling) + Send>;

/// The questions that are out.
pub(super) struct Questions<B: Backend> {
    out: BTreeMap<u64, Pending<B>>,
    last: u64,
    /// When the next limit or delay is over; may be early.
    due: Timestamp,
}

impl<B: Backend> Default for Questions<B> {
    fn default() -> Self {
        Self { out: BTreeMap::new(), last: 0, due: Timestamp::NEVER }
    }
}

impl<B: Backend> Questions<B> {
    /// How many wait for this hook.
    pub(super) fn unanswered_by(&self, hook: u64) -> usize {
        self.out.values().filter(|pending| pending.waits.iter().any(|wait| wait.hook == hook)).count()
    }
}

/// A question that has no ruling yet, or whose delay is not over.
struct Pending<B: Backend> {
    question: Question,
    /// Who wants it.
    by: By,
    waits: Vec<Wait>,
    denied: Option<Veto>,
    /// By the hook's number.
    answers: Vec<(u64, Answer)>,
    /// Since when it has been ruled, and its delay counts.
    ruled: Option<Timestamp>,
    /// Until when it was told to be put off.
    put_off: Option<Timestamp>,
    then: Then<B>,
}

impl<B: Backend> Pending<B> {
    /// Once it is ruled: when what follows is to happen, after the longest delay that anybody asks for still.
    fn at(&self) -> Option<Timestamp> {
        let delay = self.longest().map_or(Duration::ZERO, |(_, delay)| delay);
        self.ruled.map(|ruled| ruled.after(delay))
    }

    /// The longest delay that anybody asks for still, and who does.
    fn longest(&self) -> Option<(&Arc<str>, Duration)> {
        let delays = self.answers.iter().filter_map(|(_, answer)| match answer.verdict {
            Verdict::Delay(delay) => Some((&answer.hook, delay)),
            Verdict::Allow | Verdict::Deny(_) => None,
        });
        delays.max_by_key(|(_, delay)| *delay)
    }
}

/// A hook that has not answered.
struct Wait {
    hook: u64,
    limit: Duration,
    until: Timestamp,
    /// It has the question from a hook that it replaced.
    handed_on: bool,
    _task: Option<Waiter>,
}

/// Waits for one answer, on the control thread, until this is dropped.
struct Waiter(AbortHandle);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<B: Backend> Supervision<B> {
    /// Puts `question` to all hooks, on behalf of `by`. `then` is called with what they say: at once if there is none to be asked, or the pool is being shut down, or else when the last one
    /// has answered, one has denied, or limits have passed; after the longest delay that was asked for. It looks again at what it is
    /// about to do: the world has moved on.
    ///
    /// The number of the question, if it is out.
    pub(in crate::control) fn ask_hooks(
        &mut self,
        question: Question,
        by: By,
        then: impl FnOnce(&mut Self, Ruling) + Send + 'static,
    ) -> Option<u64> {
        if self.ending.is_some() || !self.hooks.are_asked() {
            then(self, Ruling::Allowed);
            return None;
        }
        // What follows belongs to whoever asked for it, although a hook's answer sets it going.
        let span = Span::current();
        let then = move |supervision: &mut Self, ruling| span.in_scope(|| then(supervision, ruling));
        self.hooks.questions.last += 1;
        let number = self.hooks.questions.last;
        let hooks: Vec<u64> = self.hooks.registered.iter().filter(|h| h.options.asked).map(|h| h.id).collect();
        let (mut waits, mut faults) = (Vec::new(), Vec::new());
        for hook in hooks {
            match self.put(number, hook, &question, &by) {
                Ok(wait) => waits.push(wait),
                Err(fault) => faults.push((hook, fault)),
            }
        }
        for wait in &waits {
            self.hooks.questions.due = self.hooks.questions.due.min(wait.until);
        }
        let (answers, then) = (Vec::new(), Box::new(then));
        let pending = Pending { question, by, waits, denied: None, answers, ruled: None, put_off: None, then };
        self.hooks.questions.out.insert(number, pending);
        for (hook, fault) in faults {
            self.take_default(number, hook, fault);
        }
        self.rule(number);
        self.hooks.questions.out.contains_key(&number).then_some(number)
    }

    /// Sends the question to one hook.
    fn put(&mut self, number: u64, hook: u64, question: &Question, by: &By) -> Result<Wait, HookFault> {
        let now = self.now();
        let (pool, myself) = (self.plane().config.name.clone(), self.myself.clone());
        let registered = self.hooks.find(hook).ok_or(HookFault::NoAnswer)?;
        registered.asked += 1;
        let actor = registered.actor(&pool, now).ok_or(HookFault::NoAnswer)?;
        let panic = Panic::default();
        let receipt = registered.line.ask(panic.clone()).ok_or(HookFault::Choked)?;
        let (sender, answer) = oneshot::channel();
        let context = HookContext::new(pool.clone(), registered.name.clone(), now, by.clone());
        let (question, reply) = (question.clone(), sender.into());
        let message = HookMessage::Asked { context, question, reply, receipt };
        actor.cast(message).map_err(|_| HookFault::NoAnswer)?;
        let runtime = timer::control_runtime().map_err(|_| HookFault::NoAnswer)?;
        #[expect(clippy::disallowed_methods, reason = "a home of spawning: the control plane")]
        let task = runtime.spawn(async move {
            // It lets go of the question after it has said what it panicked with.
            let verdict =
                answer.await.map_err(|_| panic.get().cloned().map_or(HookFault::NoAnswer, HookFault::Panicked));
            // A pool that has ended meanwhile needs no verdict.
            let _ = myself.cast(Command::Verdict { question: number, hook, verdict }.into());
        });
        let limit = registered.options.limit;
        Ok(Wait { hook, limit, until: now.after(limit), handed_on: false, _task: Some(Waiter(task.abort_handle())) })
    }

    /// A hook has answered, or has let go of the question.
    pub(in crate::control) fn on_verdict(&mut self, number: u64, hook: u64, verdict: Result<Verdict, HookFault>) {
        // Otherwise it is too late: the question is over, or its default has counted.
        let Some(pending) = self.hooks.questions.out.get_mut(&number) else { return };
        let Some(index) = pending.waits.iter().position(|wait| wait.hook == hook) else { return };
        drop(pending.waits.swap_remove(index));
        match verdict {
            Ok(Verdict::Delay(delay)) if delay > LONGEST_DELAY => {
                self.take_default(number, hook, HookFault::AbsurdDelay(delay));
            }
            Ok(verdict) => self.weigh(number, hook, verdict, false),
            Err(fault) => self.take_default(number, hook, fault),
        }
        self.rule(number);
    }

    fn take_default(&mut self, number: u64, hook: u64, fault: HookFault) {
        let Some(word) = self.hooks.questions.out.get(&number).map(|pending| pending.question.word()) else { return };
        let Some(registered) = self.hooks.find(hook) else { return };
        registered.defaulted += 1;
        let (name, verdict) = (registered.name.clone(), registered.options.default.clone());
        tracing::warn!(
            pool = &*self.plane().config.name,
            hook = &*name,
            "asked about {word}: {fault}; its default counts"
        );
        self.tell(PoolEvent::HookFault { hook: name, question: word, fault, verdict: verdict.clone() });
        self.weigh(number, hook, verdict, true);
    }

    /// The strictest counts: one that denies, else the longest delay.
    fn weigh(&mut self, number: u64, hook: u64, verdict: Verdict, defaulted: bool) {
        let Some(registered) = self.hooks.find(hook) else { return };
        registered.denied += u64::from(matches!(verdict, Verdict::Deny(_)));
        let name = registered.name.clone();
        let Some(pending) = self.hooks.questions.out.get_mut(&number) else { return };
        if let Verdict::Deny(reason) = &verdict {
            pending.denied.get_or_insert_with(|| Veto::new(name.clone(), reason.clone()));
        }
        pending.answers.push((hook, Answer::new(name, verdict, defaulted)));
    }

    /// Has happen what follows, if the question has its ruling.
    fn rule(&mut self, number: u64) {
        let now = self.now();
        let questions = &mut self.hooks.questions;
        let Some(pending) = questions.out.get_mut(&number) else { return };
        if pending.denied.is_none() {
            if !pending.waits.is_empty() {
                return;
            }
            pending.ruled.get_or_insert(now);
            if let Some(at) = pending.at().filter(|at| *at > now) {
                questions.due = questions.due.min(at);
                return self.put_off(number, at);
            }
        }
        if let Some(pending) = questions.out.remove(&number) {
            self.follow_up(pending);
        }
    }

    /// Hooks allow it, but not before `at`: that is told, and again if it becomes another moment.
    fn put_off(&mut self, number: u64, at: Timestamp) {
        let Some(pending) = self.hooks.questions.out.get_mut(&number).filter(|it| it.put_off != Some(at)) else {
            return;
        };
        pending.put_off = Some(at);
        let Some((hook, delay)) = pending.longest() else { return };
        let delay = Delay::new(hook.clone(), delay, at);
        let (question, by) = (pending.question.clone(), pending.by.clone());
        if let Question::Start { worker } = &question {
            self.delay_start(worker.slot as usize, delay.clone());
        }
        self.tell(PoolEvent::Delayed { question, delay, by });
    }

    fn follow_up(&mut self, pending: Pending<B>) {
        let Pending { question, by, denied, answers, then, .. } = pending;
        let answers = answers.into_iter().map(|(_, answer)| answer).collect();
        match denied {
            Some(veto) => {
                self.tell(PoolEvent::Vetoed { question: question.clone(), veto: veto.clone(), by: by.clone() });
                self.tell_hooks(&Notice::Vetoed { question, veto: veto.clone(), answers }, &by);
                then(self, Ruling::Denied(veto));
            }
            None => {
                self.tell_hooks(&Notice::Allowed { question, answers }, &by);
                then(self, Ruling::Allowed);
            }
        }
    }

    /// Defaults count for hooks whose limit is over, and delays end.
    fn check_questions(&mut self, now: Timestamp) {
        if self.hooks.questions.due > now {
            return;
        }
        let mut moved = Vec::new();
        for (number, pending) in &mut self.hooks.questions.out {
            let late: Vec<_> = pending.waits.extract_if(.., |wait| wait.until <= now).collect();
            if !late.is_empty() || pending.at().is_some_and(|at| at <= now) {
                moved.push((*number, late));
            }
        }
        for (number, late) in moved {
            for Wait { hook, limit, .. } in late {
                self.take_default(number, hook, HookFault::Late(limit));
            }
            self.rule(number);
        }
        let due = |pending: &Pending<B>| {
            let limits = pending.waits.iter().map(|wait| wait.until).min();
            limits.into_iter().chain(pending.at()).min().unwrap_or(Timestamp::NEVER)
        };
        self.hooks.questions.due = self.hooks.questions.out.values().map(due).min().unwrap_or(Timestamp::NEVER);
    }

    /// A hook that was removed has no say any more, be it that it has asked for a delay that is not over.
    pub(super) fn excuse(&mut self, hook: u64) {
        let mut touched: Vec<u64> = self.stop_waiting_for(hook).into_iter().map(|(number, _)| number).collect();
        for (number, pending) in &mut self.hooks.questions.out {
            let puts_off =
                |(by, answer): &mut (u64, Answer)| *by == hook && matches!(answer.verdict, Verdict::Delay(_));
            touched.extend(pending.answers.extract_if(.., puts_off).map(|_| *number));
        }
        touched.into_iter().for_each(|number| self.rule(number));
    }

    /// What a hook that was replaced has not answered is put to the one in its place, with the time that this one has for an answer; what it has
    /// answered stands. One that is not asked has no say, as little as nobody. Handed on once: of those that replace each other again and again
    /// the default counts.
    pub(super) fn hand_on(&mut self, before: u64, to: u64) {
        if self.hooks.find(to).is_none_or(|hook| !hook.options.asked) {
            return self.excuse(before);
        }
        let answers = self.hooks.questions.out.values_mut().flat_map(|pending| &mut pending.answers);
        answers.filter(|(by, _)| *by == before).for_each(|(by, _)| *by = to);
        for (number, handed_on) in self.stop_waiting_for(before) {
            let pending = self.hooks.questions.out.get(&number);
            if let Some((question, by)) = pending.map(|pending| (pending.question.clone(), pending.by.clone())) {
                let put = if handed_on { Err(HookFault::NoAnswer) } else { self.put(number, to, &question, &by) };
                match put {
                    Ok(wait) => self.wait_for(number, Wait { handed_on: true, ..wait }),
                    Err(fault) => self.take_default(number, to, fault),
                }
            }
            self.rule(number);
        }
    }

    fn wait_for(&mut self, number: u64, wait: Wait) {
        let Questions { out, due, .. } = &mut self.hooks.questions;
        *due = (*due).min(wait.until);
        out.entry(number).and_modify(|pending| pending.waits.push(wait));
    }

    /// The questions that this hook has not answered, and for whose answers nobody waits from here on; and whether it had them from another.
    fn stop_waiting_for(&mut self, hook: u64) -> Vec<(u64, bool)> {
        let his = |pending: &mut Pending<B>| {
            let wait = pending.waits.extract_if(.., |wait| wait.hook == hook).last()?;
            Some(wait.handed_on)
        };
        let out = self.hooks.questions.out.iter_mut();
        out.filter_map(|(number, pending)| Some((*number, his(pending)?))).collect()
    }

    /// Hooks allow what this question is about, but not yet.
    pub(in crate::control) fn is_delayed(&self, number: u64) -> bool {
        self.hooks.questions.out.get(&number).is_some_and(|pending| pending.ruled.is_some())
    }

    /// Nobody is to follow up on this question any more.
    pub(in crate::control) fn withdraw_question(&mut self, number: u64) {
        drop(self.hooks.questions.out.remove(&number));
    }

    /// A shutdown asks nobody: what was asked is taken as allowed.
    pub(in crate::control) fn waive_questions(&mut self) {
        while let Some((_, pending)) = self.hooks.questions.out.pop_first() {
            self.follow_up(Pending { denied: None, ..pending });
        }
    }

    /// What hooks are waited for, and what they are told of later.
    pub(in crate::control) fn mind_hooks(&mut self, now: Timestamp) {
        self.check_questions(now);
        self.end_vetoes(now);
        self.feel_pressure(now);
    }

    /// When to look again.
    pub(in crate::control) fn hooks_due(&self) -> Timestamp {
        let next = self.hooks.questions.due.min(self.hooks.pressure.due());
        if self.hooks.last_veto.is_some() { next.min(self.next_pause_over()) } else { next }
    }

    pub(super) fn context(&self, hook: &Arc<str>, by: &By) -> HookContext {
        HookContext::new(self.plane().config.name.clone(), hook.clone(), self.now(), by.clone())
    }
}
