//! The end of a pool: by request within a limit, or at once, however its actor dies.

use std::time::Duration;

use ractor::RpcReplyPort;

use super::event::PoolEvent;
use super::message::Command;
use super::reaper::{self, HeldJob};
use super::report::ShutdownReport;
use super::side::Aside;
use super::supervisor::{Shared, Supervision};
use super::timer;
use super::trace::trace_shutdown;
use crate::backend::{Backend, KillReach};
use crate::error::CloseReason;
use crate::gate::Gate;
use crate::id::By;
use crate::job::{Envelope, Header, Share, catch};
use crate::plane::{Left, Signal};
use crate::slot::Cell;
use crate::snapshot::{Ended, Ledger};
use crate::sync::{Arc, AtomicBool, Ordering, Timestamp};

/// A shutdown under way.
pub(super) struct Ending {
    /// Who asked for it first.
    by: By,
    began: Timestamp,
    /// From here on running jobs are asked to stop: the last quarter of the limit.
    cancel_at: Timestamp,
    deadline: Timestamp,
    before: Ledger,
    asked: Vec<Share<dyn Envelope>>,
    /// Once what runs is being ended: whether all of that has its outcome.
    aborted: Option<Arc<AtomicBool>>,
    phase: Phase,
    replies: Vec<RpcReplyPort<ShutdownReport>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Admitted jobs run. Exits: `Asked`, `Stopping`.
    Draining,
    /// Running jobs have been asked to stop. Exit: `Stopping`.
    Asked,
    /// Workers leave; none is started any more.
    Stopping,
    Over,
}

impl Ending {
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Over)
    }

    pub(super) fn reason(&self) -> CloseReason {
        if self.is_stopping() { CloseReason::Shutdown } else { CloseReason::Draining }
    }
}

/// The answer to a shutdown, given when this is dropped: ractor has freed the pool's name by the time that it drops, or stops, the
/// actor, so that a pool of that name can be built by whoever gets the answer.
pub(super) struct Answer {
    report: ShutdownReport,
    replies: Vec<RpcReplyPort<ShutdownReport>>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        for reply in self.replies.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(self.report);
        }
    }
}

impl<B: Backend> Supervision<B> {
    pub(super) fn shut_down(&mut self, limit: Duration, by: By, reply: Option<RpcReplyPort<ShutdownReport>>) {
        let now = self.now();
        if let Some(answer) = &mut self.answer {
            // It has ended, and is about to say so.
            answer.replies.extend(reply);
            return;
        }
        if let Some(ending) = &mut self.ending {
            // A second request may hurry the first, never delay it.
            ending.cancel_at = ending.cancel_at.min(now.after(limit / 4 * 3));
            ending.deadline = ending.deadline.min(now.after(limit));
            ending.replies.extend(reply);
            return;
        }
        self.ending = Some(Ending {
            by: by.clone(),
            began: now,
            cancel_at: now.after(limit / 4 * 3),
            deadline: now.after(limit),
            before: self.plane().ledger(),
            asked: Vec::new(),
            aborted: None,
            phase: Phase::Draining,
            replies: reply.into_iter().collect(),
        });
        // Draining already, or closed: either is what is wanted.
        let _ = self.plane().set_gate(Gate::Draining);
        self.tell(PoolEvent::Gate { state: "draining", by });
        self.waive_questions();
        self.staff();
    }

    /// Moves a shutdown on; says when to look again.
    pub(super) fn wind_down(&mut self, now: Timestamp) -> Timestamp {
        let Some(mut ending) = self.ending.take() else { return Timestamp::NEVER };
        if ending.phase == Phase::Draining && now >= ending.cancel_at && now < ending.deadline {
            ending.asked = self.plane().cancel_running();
            ending.phase = Phase::Asked;
        }
        if !ending.is_stopping() && self.plane().is_quiet() {
            ending.phase = Phase::Stopping;
            // Before the gate closes, after which nobody could say that they have run.
            self.settle_drains();
            // Nothing is left to run: whoever comes now is refused for good.
            let _ = self.plane().set_gate(Gate::Closed(CloseReason::Shutdown));
            self.plane().stop_all();
        }
        let over = now >= ending.deadline || ending.is_stopping() && self.has_only_abandoned();
        if over && ending.phase != Phase::Over && self.is_aborted(&mut ending) {
            self.end(&mut ending, now);
        }
        let next = match ending.phase {
            Phase::Draining => ending.cancel_at,
            Phase::Asked | Phase::Stopping => ending.deadline,
            Phase::Over => Timestamp::NEVER,
        };
        // What it waits for after that tells by a message.
        let next = if ending.aborted.is_some() { Timestamp::NEVER } else { next };
        self.ending = Some(ending);
        next
    }

    /// True once every job that ran has its outcome, so that it is in the report; has them ended in passes. The report does not wait for the
    /// outcomes of what is queued: nothing is taken any more, so that how many have not started is known.
    fn is_aborted(&self, ending: &mut Ending) -> bool {
        let aborted = ending.aborted.get_or_insert_with(|| {
            let aborted = Arc::new(AtomicBool::new(false));
            let (ended, myself) = (aborted.clone(), self.myself.clone());
            let ended = move || {
                ended.store(true, Ordering::Release);
                // An actor that is gone has left the rest to its guard.
                let _ = myself.cast(Command::Signal(Signal::Tick).into());
            };
            self.shared.abort_then(CloseReason::Shutdown, &Arc::from("the pool was shut down"), ended, || ());
            aborted
        });
        aborted.load(Ordering::Acquire)
    }

    fn has_only_abandoned(&self) -> bool {
        self.employed.len() <= self.plane().counts.abandoned()
    }

    fn end(&mut self, ending: &mut Ending, now: Timestamp) {
        ending.phase = Phase::Over;
        let completed = |job: &&Share<dyn Envelope>| job.header().ended() == Some(Ended::Completed);
        let asked = ending.asked.iter().filter(completed).count() as u64;
        // Read first: what is withdrawn in between is not started, or ended otherwise, but not missed.
        let queued = self.plane().all_queued();
        let after = self.plane().ledger();
        let report = ShutdownReport::between(&ending.before, &after, queued, asked, now.since(ending.began));
        trace_shutdown(&self.plane().config.name, &report);
        self.answer = Some(Answer { report, replies: std::mem::take(&mut ending.replies) });
        // Whoever still waits for a drain has waited for jobs that did not run to their end.
        self.drains.clear();
        self.tell_closed(ending.by.clone());
        self.myself.stop(Some("shut down".to_owned()));
    }

    /// The gate is closed for good: whatever ended the pool, that is told once.
    pub(super) fn tell_closed(&mut self, by: By) {
        if !std::mem::replace(&mut self.told_closed, true) {
            self.tell(PoolEvent::Gate { state: "closed", by });
        }
    }
}

/// A kill of the actor, or a panic in it, leaves nobody else who could tell: the hooks are let go of after this.
impl<B: Backend> Drop for Supervision<B> {
    fn drop(&mut self) {
        if self.told_closed {
            return;
        }
        self.shared.abort(CloseReason::ActorGone, &Arc::from("the pool's actor ended"), || ());
        // In the course of a panic, another one would end the process.
        if let Err(caught) = catch(|| self.tell_closed(By::Pool)) {
            tracing::error!("the end of a pool could not be told: {}", caught.message);
        }
    }
}

impl<B: Backend> Shared<B> {
    /// The pool ends now, whether or not its actor still answers.
    pub(crate) fn end_now(&self) {
        self.abort(CloseReason::Shutdown, &Arc::from("the pool was aborted"), || ());
        if let Some(actor) = self.actor.get() {
            actor.get_cell().kill();
        }
    }

    /// However the pool dies: the gate closes and every outcome is written; on the spot, but on the control thread, where many are written
    /// in passes. `done` comes after the last one. Safe to call again.
    pub(super) fn abort(&self, reason: CloseReason, by: &Arc<str>, done: impl FnOnce() + Send + 'static) {
        self.abort_then(reason, by, || (), done);
    }

    /// The same. `ended` comes once every job that ran has its outcome.
    fn abort_then(
        &self,
        reason: CloseReason,
        by: &Arc<str>,
        ended: impl FnOnce() + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) {
        let reach = self.backend.capabilities().kill;
        let runs_no_more = move |cell: &Cell, claim| match reach {
            KillReach::None => false,
            // A future that stands at an `await` is dropped there, and interpreted code stops at its next loop. A future that is being polled, and a
            // call from an interpreter into this process, may block their thread for ever.
            KillReach::AtYield | KillReach::InGuest => cell.seize(claim),
            KillReach::Anywhere => {
                cell.end_now();
                true
            }
        };
        let (plane, by) = (self.plane.clone(), by.clone());
        let (mut cells, mut ended) = (plane.close(reason.clone()), Some(ended));
        let pass = move || {
            if let Some(all_ended) = ended.take() {
                let left = plane.abort_some(&mut cells, &reason, &by, &runs_no_more);
                let wards = left.into_iter().map(|Left { cell, job }| (cell, job.map(|job| held_job(job.header()))));
                reaper::adopt(&plane.config.name, &plane.clock, wards.collect());
                if !cells.is_empty() {
                    ended = Some(all_ended);
                    return true;
                }
                all_ended();
            }
            plane.fail_some(&reason)
        };
        timer::in_passes(pass, done);
    }
}

fn held_job(header: &Header) -> HeldJob {
    (header.id(), header.label().cloned())
}

/// Runs [`Shared::abort`] when the actor's value is dropped, which ractor does however the actor ends.
pub(super) struct AbortGuard<B: Backend>(pub(super) Aside<Shared<B>>);

impl<B: Backend> Drop for AbortGuard<B> {
    fn drop(&mut self) {
        let shared = Aside::new(self.0.clone());
        let done = move || shared.events.close();
        self.0.abort(CloseReason::ActorGone, &Arc::from("the pool's actor ended"), done);
    }
}
