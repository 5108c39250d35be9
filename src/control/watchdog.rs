//! Overdue jobs: a warning, a grace, then the ladder. Who finds them: `plane/watch.rs`. States and the argument: DESIGN.md, section 12.

use std::collections::HashSet;
use std::time::Duration;

use super::event::PoolEvent;
use super::report::Rung;
use super::ring::Ring;
use super::supervisor::Supervision;
use super::target::{Ladder, Target};
use super::terminate::LOOK;
use crate::backend::Backend;
use crate::id::{ClaimNo, WorkerId};
use crate::job::Envelope;
use crate::plane::Overdue;
use crate::policy::Exit;
use crate::slot::{Cell, Held};
use crate::snapshot::Seconds;
use crate::sync::{Arc, Timestamp};

/// What follows when a job is overdue, that is, has made no progress for as long as its [`Lane`](crate::Lane::overdue_after) or its
/// [`JobOptions`](crate::JobOptions::overdue_after) allow: a warning, which is [`PoolEvent::Overdue`] and a line of `tracing`; after a
/// grace the ladder, rung by rung. A job that makes progress before it is taken is let off, and [`PoolEvent::LetOff`] says so.
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
        self.cell.lock().held.clone().filter(|held| held.claim == self.claim && !held.job.header().is_done())
    }

    fn name(&self) -> (WorkerId, ClaimNo) {
        (self.cell.id, self.claim)
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

/// A job that was warned about, and until when it has to make progress.
struct Warned {
    silence: Silence,
    until: Timestamp,
}

/// The watchdog at work.
#[derive(Default)]
pub(super) struct Vigil {
    pub(super) watchdog: Watchdog,
    warned: Ring<Warned>,
    /// Those that were warned about and those on the ladder.
    known: HashSet<(WorkerId, ClaimNo)>,
}

impl<B: Backend> Supervision<B> {
    /// The plane has found a silent job: it is warned about, and has the grace.
    pub(super) fn on_overdue(&mut self, Overdue { worker, claim, since }: Overdue) {
        let now = self.now();
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(held) = cell.lock().held.clone().filter(|held| held.claim == claim) else { return };
        if !self.vigil.known.insert((worker, claim)) {
            // The plane may tell it twice: DESIGN.md, section 12.
            return;
        }
        let (job, silent_for) = (held.job, now.since(since));
        let header = job.header();
        tracing::warn!(
            pool = &*self.plane().config.name, %worker, job = %header.id(), label = ?header.label(), from = %header.submitted_from(),
            "a job is overdue: no progress for {}", Seconds(silent_for),
        );
        self.tell(PoolEvent::Overdue { worker, claim, job: header.id(), silent_for });
        let until = now.after(self.vigil.watchdog.grace);
        self.vigil.warned.add(Warned { silence: Silence { cell, job, claim, since }, until });
    }

    /// Looks after those who were warned about; says when to look again.
    pub(super) fn look_at_warned(&mut self, now: Timestamp) -> Timestamp {
        let (pass, mut looks) = (self.pass(), self.vigil.warned.begin(now));
        while let Some(warned) = self.vigil.warned.next(&mut looks) {
            if self.is_over(&warned.silence) {
                self.forget_silence(&warned.silence);
            } else if warned.until <= now {
                self.start_ladder(warned.silence, now);
            } else {
                // A beat tells control nothing: look often enough to be late by a quarter of the grace at most.
                let look = now.after((self.vigil.watchdog.grace / 4).max(LOOK));
                let at = warned.until.min(look);
                self.vigil.warned.keep(warned, at);
            }
            if pass.is_over() {
                break;
            }
        }
        if self.vigil.warned.is_behind() {
            self.go_on_later();
        }
        self.vigil.warned.next_round()
    }

    /// Nobody looks after this job any more.
    pub(super) fn forget_silence(&mut self, silence: &Silence) {
        self.vigil.known.remove(&silence.name());
    }

    /// The grace is over, and the job is silent still: the one place where the ladder of an overdue job begins.
    fn start_ladder(&mut self, silence: Silence, now: Timestamp) {
        let ladder = self.vigil.watchdog.ladder.clone();
        let (worker, claim, job) = (silence.cell.id, silence.claim, silence.job.header().id());
        self.climb_for_silence(silence, Target::Claim { worker, claim, job }, &ladder, now);
    }

    /// True if there is nothing to be done about a silence any more: the job has ended, or it is let off and watched again.
    pub(super) fn is_over(&self, silence: &Silence) -> bool {
        match silence.heard() {
            Heard::Nothing => false,
            Heard::End => true,
            Heard::Beat(at) => {
                let Silence { cell, job, claim, since } = silence;
                let silent_for = at.since(*since);
                tracing::info!(
                    pool = &*self.plane().config.name, worker = %cell.id, job = %job.header().id(),
                    "a job that was overdue makes progress again, after {}", Seconds(silent_for),
                );
                self.tell(PoolEvent::LetOff { worker: cell.id, claim: *claim, job: job.header().id(), silent_for });
                self.watch_again(silence, at);
                true
            }
        }
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
        tracing::warn!(
            pool = &*self.plane().config.name, %worker, %job, %rung,
            "the ladder of an overdue job: no progress for {}", Seconds(silent_for),
        );
        self.tell(PoolEvent::OverdueRung { worker, claim: *claim, job, rung, silent_for });
    }
}
