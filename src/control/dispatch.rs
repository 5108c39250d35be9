//! Which message does what.

use super::event::PoolEvent;
use super::message::{Attached, Command, Internal, PoolMessage};
use super::retune::{Asker, Reply, Retune};
use super::supervisor::Supervision;
use crate::backend::Backend;
use crate::gate::Gate;
use crate::id::By;
use crate::job::look_again;
use crate::plane::Signal;

impl<B: Backend> Supervision<B> {
    /// A message has come, from whoever sent it or, by what it says, from another; then whatever waits for something looks whether it has come.
    pub(super) fn on(&mut self, mut by: By, mut message: PoolMessage) {
        // Whoever passes on what another has asked for does not take its name away. Not by recursion: who sends it says how deep it is.
        while let PoolMessage::By(name, inner) = message {
            message = *inner;
            if !name.is_empty() {
                by = By::operator(&name);
            }
        }
        // One's own word to go on is no news.
        if !matches!(message, PoolMessage::Internal(Internal(Command::GoOn))) {
            self.look_at_all();
        }
        match message {
            // Taken off above.
            PoolMessage::By(..) => {}
            // Whoever asked may have gone: that is their affair, here and below.
            PoolMessage::Inventory(reply) => drop(reply.send(self.plane().inventory(self.now()))),
            PoolMessage::Snapshot(reply) => drop(reply.send(self.plane().snapshot())),
            PoolMessage::Resize(limits, reply) => {
                self.ask_retune(Retune::new().limits(limits), Asker { by, reply: Reply::Resize(reply) });
            }
            PoolMessage::Retune(change, reply) => self.ask_retune(change, Asker { by, reply: Reply::Retune(reply) }),
            PoolMessage::Quiesce(reply) => drop(reply.send(self.move_gate(Gate::Quiesced, "quiesce", by))),
            PoolMessage::Resume(reply) => drop(reply.send(self.move_gate(Gate::Open, "resume", by))),
            PoolMessage::Drain(reply) => self.drain(by, reply),
            PoolMessage::Terminate(targets, ladder, reply) => self.ask_terminate(targets, ladder, by, reply),
            PoolMessage::SetRestartPolicy(policy, reply) => {
                self.retune(Retune::new().restart_policy(policy), Asker { by, reply: Reply::Policy(reply) });
            }
            PoolMessage::Shutdown(limit, reply) => self.shut_down(limit, by, Some(reply)),
            PoolMessage::SetHook(hook, reply) => drop(reply.send(self.set_hook(hook, by))),
            PoolMessage::RemoveHook(name, reply) => drop(reply.send(self.remove_hook(&name, by))),
            PoolMessage::Hooks(reply) => drop(reply.send(self.hooks.rows())),
            PoolMessage::Internal(Internal(command)) => self.command(command),
        }
        self.settle();
    }

    /// One of millpond's own.
    fn command(&mut self, command: Command) {
        match command {
            Command::Begin => self.staff(),
            Command::GoOn => {
                self.goes_on = false;
                self.staff();
            }
            Command::Signal(Signal::Demand) => self.staff(),
            Command::Signal(Signal::Ready(worker)) => self.on_ready(worker),
            Command::Signal(Signal::Exited { worker, exit }) => self.on_exit(worker, exit),
            Command::Signal(Signal::Overrun(overrun)) => self.on_overrun(overrun),
            Command::Signal(Signal::Leaves) => look_again(),
            Command::Signal(Signal::Deadlock(deadlock)) => self.tell(PoolEvent::Deadlock(deadlock)),
            Command::Signal(Signal::Redelivered { job, label, lost, rests_for }) => {
                self.tell(PoolEvent::Redelivered { job, label, lost, rests_for });
            }
            Command::Signal(Signal::DeadLettered(letter)) => self.tell(PoolEvent::DeadLettered(letter)),
            Command::Signal(Signal::Quarantined(why)) => self.tell(PoolEvent::Quarantined(why)),
            Command::Signal(Signal::Released(label)) => self.tell(PoolEvent::Released { label }),
            Command::Signal(Signal::Quiet) => {}
            Command::Signal(Signal::Tick) => self.note_reminder(),
            Command::Asked { question, since } => self.on_asked(question, since),
            Command::Decided { question, decision } => self.on_decided(question, decision),
            Command::ScaleAsked { round, since } => self.on_scale_asked(round, since),
            Command::Scaled { round, wanted } => self.on_scaled(round, wanted),
            #[cfg(any(feature = "guest", feature = "process"))]
            Command::Weighed(grown) => self.on_weighed(grown),
            Command::Signal(Signal::Rung) => self.on_rung(),
            Command::Verdict { question, hook, verdict } => self.on_verdict(question, hook, verdict),
            Command::CaughtUp { hook } => self.on_caught_up(hook),
            Command::Signal(Signal::Worn(worker)) => self.on_worn(worker),
            Command::Signal(Signal::Overdue(overdue)) => self.on_overdue(overdue),
            Command::HostGone => self.on_host_gone(),
            Command::Disowned => self.shut_down(self.plane().config.shutdown_limit, By::Pool, None),
            Command::Attach(reply) => {
                let pool = self.plane().config.name.clone();
                let kind = self.shared.backend.capabilities().kind;
                drop(reply.send(Attached { pool, kind, shared: Box::new(self.shared.clone()) }));
            }
        }
    }
}
