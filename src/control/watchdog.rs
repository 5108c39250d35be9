//! Overdue jobs: a warning, a grace, then the ladder. Who finds them: `plane/watch.rs`. States and the argument: DESIGN.md, section 12.

use std::time::Duration;

use super::event::PoolEvent;
use super::hook::ask::Ruling;
use super::report::Rung;
use super::supervisor::Supervision;
use super::target::{Ladder, Target};
use super::terminate::LOOK;
use super::trace::trace_overdue;
use crate::backend::Backend;
use crate::hook::Question;
use crate::id::{ClaimNo, WorkerId};
use crate::job::Envelope;
use crate::plane::Overdue;
use crate::policy::Exit;
use crate::slot::{Cell, Held};
use crate::sync::{Arc, Timestamp};

/// What follows when a job is overdue, that is, has made no progress for as long as its [`Lane`](crate::Lane::overdue_after) or its
/// [`JobOptions`](crate::JobOptions::overdue_after) allow: a warning, which is [`PoolEvent::Overdue`] and a line of `tracing`; after a
/// grace the ladder, rung by rung. A job that makes progress before it is taken is let off, and [`PoolEvent::LetOff`] says so.
/// A hook may [deny](crate::Question::Overdue) a ladder that does not begin with a kill, for a span each time.
///
/// The default warns, asks the job a second later, and takes its worker two seconds after that. Who is not overdue is never touched; a
/// worker without a job is not overdue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watchdog {
    pub(crate) grace: Duration,
    pub(crate) ladder: Ladder,
}

impl Watchdog {
    /// Warns and goes no further. A job that stays silent is warned about again each time that its span has passed once more.
    pub fn warn() -> Self {
        Self::new(Duration::ZERO, Ladder::new())
    }

    /// Warns, and after `grace` starts `ladder` on the job's worker. A job that a ladder without [`Rung::Kill`] does not end is warned
    /// about again when its span has passed once more.
    pub fn new(grace: Duration, ladder: Ladder) -> Self {
        Self { grace, ladder }
    }
}

impl Default for Watchdog {
    /// A second after the warning, [`Ladder::graceful`] with one second.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Ladder::default())
    }
}

/// A claim that makes no progress, since when.
#[derive(Clone)]
pub(super) struct Silence {
    cell: Arc<Cell>,
    job: Arc<dyn Envelope>,
    claim: ClaimNo,
    since: Timestamp,
}

/// What has become of a silence.
enum Heard {
    Nothing,
    /// The job has made progress.
    Beat(Timestamp),
    /// The claim is over, or the job has its outcome.
    End,
}

impl Silence {
    fn held(&self) -> Option<Held> {
        self.cell.lock().in_hand().filter(|held| held.claim == self.claim && !held.job.header().is_done())
    }

    fn is_of(&self, cell: &Arc<Cell>, claim: ClaimNo) -> bool {
        Arc::ptr_eq(&self.cell, cell) && self.claim == claim
    }

    fn is_by(&self, worker: WorkerId, claim: ClaimNo) -> bool {
        self.cell.id == worker && self.claim == claim
    }

    fn heard(&self) -> Heard {
        let Some(held) = self.held() else { return Heard::End };
        let progress = self.cell.progress(&held);
        if progress > self.since { Heard::Beat(progress) } else { Heard::Nothing }
    }

    /// Why its worker is taken, if it is now.
    pub(super) fn exit(&self, now: Timestamp) -> Exit {
        Exit::Stuck(now.since(self.since))
    }
}

/// A job that was warned about, and when: it has the grace of the watchdog in force to make progress.
struct Warned {
    silence: Silence,
    at: Timestamp,
    /// The grace has passed in vain: hooks are asked whether the ladder is to begin.
    asked: bool,
    /// The number of that question, while it is out.
    question: Option<u64>,
}

/// The watchdog at work.
#[derive(Default)]
pub(super) struct Vigil {
    /// `None`: nothing follows.
    pub(super) watchdog: Option<Watchdog>,
    warned: Vec<Warned>,
}

impl Vigil {
    fn find(&mut self, worker: WorkerId, claim: ClaimNo) -> Option<&mut Warned> {
        self.warned.iter_mut().find(|warned| warned.silence.is_by(worker, claim))
    }
}

impl<B: Backend> Supervision<B> {
    /// The plane has found a silent job: it is warned about, and has the grace.
    pub(super) fn on_overdue(&mut self, Overdue { worker, claim, since }: Overdue) {
        let now = self.now();
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(held) = cell.lock().in_hand().filter(|held| held.claim == claim) else { return };
        let known = |silence: &Silence| silence.is_of(&cell, claim);
        if self.vigil.warned.iter().any(|warned| known(&warned.silence)) || self.is_climbed_for(known) {
            // The plane may tell it twice: DESIGN.md, section 12.
            return;
        }
        let (job, silent_for) = (held.job, now.since(since));
        if self.vigil.watchdog.is_none() {
            // Looked at again after another span, by which there may be one.
            return self.watch_again(&Silence { cell, job, claim, since }, now);
        }
        trace_overdue(&self.plane().config.name, worker, claim, job.header(), silent_for);
        self.tell(PoolEvent::Overdue { worker, claim, job: job.header().id(), silent_for });
        self.vigil.warned.push(Warned {
            silence: Silence { cell, job, claim, since },
            at: now,
            asked: false,
            question: None,
        });
    }

    /// Looks after those who were warned about; says when to look again.
    pub(super) fn look_at_warned(&mut self, now: Timestamp) -> Timestamp {
        if self.vigil.warned.is_empty() {
            return Timestamp::NEVER;
        }
        let (over, left) = std::mem::take(&mut self.vigil.warned).into_iter().partition(|w| self.is_over(&w.silence));
        self.vigil.warned = left;
        // Whether the ladder is to begin on them is no question any more.
        let over: Vec<Warned> = over;
        over.into_iter().filter_map(|warned| warned.question).for_each(|question| self.withdraw_question(question));
        // Where there is no watchdog, nobody is left.
        let Watchdog { grace, ladder } = self.vigil.watchdog.clone().unwrap_or_default();
        let due = self.vigil.warned.iter().filter(|warned| !warned.asked && warned.at.after(grace) <= now);
        let due: Vec<_> = due.map(|warned| warned.silence.clone()).collect();
        due.into_iter().for_each(|silence| self.start_ladder(&silence, &ladder, now));
        // A beat tells control nothing: look often enough to be late by a quarter of the grace at most.
        let look = now.after((grace / 4).max(LOOK));
        let until = |warned: &Warned| if warned.asked { look } else { warned.at.after(grace).min(look) };
        self.vigil.warned.iter().map(until).min().unwrap_or(Timestamp::NEVER)
    }

    /// The grace is over, and the job is silent still: the one place where the ladder of an overdue job begins, if the hooks allow it.
    fn start_ladder(&mut self, silence: &Silence, ladder: &Ladder, now: Timestamp) {
        let (worker, claim, job) = (silence.cell.id, silence.claim, silence.job.header().id());
        if ladder.is_forced() {
            return self.on_overdue_ruled(worker, claim, &Ruling::Allowed);
        }
        if let Some(warned) = self.vigil.find(worker, claim) {
            warned.asked = true;
        }
        let question = Question::Overdue { worker, claim, job, silent_for: now.since(silence.since) };
        let question = self.ask_hooks(question, move |supervision, ruling| {
            supervision.on_overdue_ruled(worker, claim, &ruling);
        });
        // Unless it has been ruled upon at once, and is warned about no more.
        if let Some(warned) = self.vigil.find(worker, claim) {
            warned.question = question;
        }
    }

    fn on_overdue_ruled(&mut self, worker: WorkerId, claim: ClaimNo, ruling: &Ruling) {
        let Some(index) = self.vigil.warned.iter().position(|warned| warned.silence.is_by(worker, claim)) else {
            return;
        };
        let silence = self.vigil.warned.swap_remove(index).silence;
        // What is in force may be another watchdog, or none, since the question.
        if self.is_over(&silence) {
            return;
        }
        let now = self.now();
        match ruling {
            Ruling::Denied(_) => self.watch_again(&silence, now),
            Ruling::Allowed => {
                let (job, ladder) = (silence.job.header().id(), self.vigil.watchdog.clone().unwrap_or_default().ladder);
                self.climb_for_silence(silence, Target::Claim { worker, claim, job }, &ladder, now);
            }
        }
    }

    /// True if there is nothing to be done about a silence any more: the job has ended, or it is let off and watched again.
    pub(super) fn is_over(&self, silence: &Silence) -> bool {
        match silence.heard() {
            Heard::Nothing if self.is_spared(silence) => {
                let Silence { cell, job, claim, since } = silence;
                let silent_for = self.now().since(*since);
                self.tell(PoolEvent::LetOff { worker: cell.id, claim: *claim, job: job.header().id(), silent_for });
                self.watch_again(silence, *since);
                true
            }
            Heard::Nothing => false,
            Heard::End => true,
            Heard::Beat(at) => {
                let Silence { cell, job, claim, since } = silence;
                let silent_for = at.since(*since);
                self.tell(PoolEvent::LetOff { worker: cell.id, claim: *claim, job: job.header().id(), silent_for });
                self.watch_again(silence, at);
                true
            }
        }
    }

    /// True if by what is in force now, the job would not be overdue, or nothing would follow.
    fn is_spared(&self, silence: &Silence) -> bool {
        let due = self.plane().overdue_after(&*silence.job).map_or(Timestamp::NEVER, |span| silence.since.after(span));
        self.vigil.watchdog.is_none() || due > self.now()
    }

    /// The ladder is over, and the job is not.
    pub(super) fn note_outlasted(&self, silence: &Silence, now: Timestamp) {
        if silence.held().is_some() {
            self.watch_again(silence, now);
        }
    }

    /// From now on the plane watches the job again.
    fn watch_again(&self, silence: &Silence, from: Timestamp) {
        if let Some(span) = self.plane().overdue_after(&*silence.job) {
            self.plane().watch_progress(&silence.cell, from.after(span));
        }
    }

    /// A rung of the ladder of an overdue job is taken now.
    pub(super) fn note_rung(&self, silence: &Silence, rung: Rung, now: Timestamp) {
        let Silence { cell, job, claim, since } = silence;
        let (worker, job, silent_for) = (cell.id, job.header().id(), now.since(*since));
        self.tell(PoolEvent::OverdueRung { worker, claim: *claim, job, rung, silent_for });
    }
}
