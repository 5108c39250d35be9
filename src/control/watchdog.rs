//! Overdue jobs: a warning, a grace, then the ladder. Who finds them: `plane/watch.rs`. States and the argument: DESIGN.md, section 12.

use std::collections::HashMap;
use std::time::Duration;

use super::event::PoolEvent;
use super::hook::ask::Ruling;
use super::ring::Ring;
use super::supervisor::Supervision;
use super::target::Ladder;
use super::terminate::LOOK;
use super::trace::trace_overdue;
use crate::backend::Backend;
use crate::hook::Question;
use crate::id::{By, ClaimNo, WorkerId};
use crate::job::{Envelope, Share};
use crate::plane::Overdue;
use crate::policy::Exit;
use crate::slot::{Cell, Held};
use crate::snapshot::{Rung, Target};
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
    /// about again when its span has passed once more. How its last grace goes with the backend's own is told at [`Ladder`].
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

/// A claim, and whose it is.
type Claimed = (WorkerId, ClaimNo);

/// A claim that makes no progress, since when.
#[derive(Clone)]
pub(super) struct Silence {
    cell: Arc<Cell>,
    job: Share<dyn Envelope>,
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

    /// True once the claim is over, or the job has its outcome, whichever is seen first: its worker gives it back before it publishes that, and
    /// an outcome that control writes is there before its worker knows.
    pub(super) fn has_ended(&self) -> bool {
        self.held().is_none()
    }

    fn name(&self) -> Claimed {
        (self.cell.id, self.claim)
    }

    fn heard(&self) -> Heard {
        let Some(held) = self.held() else { return Heard::End };
        let progress = self.cell.progress(&held);
        if progress > self.since { Heard::Beat(progress) } else { Heard::Nothing }
    }

    /// Why its worker is taken, or told to leave, if this rung does it now.
    pub(super) fn exit(&self, rung: Rung, now: Timestamp) -> Exit {
        Exit::Stuck { silent_for: now.since(self.since), rung }
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
    /// Those that were warned about, and those on the ladder, which are `None`.
    known: HashMap<Claimed, Option<Warned>>,
    /// Those that were warned about, and when, to be looked at. What became of some of them is known already.
    pub(super) warned: Ring<(Claimed, Timestamp)>,
}

impl Vigil {
    /// One that was warned about and is not on the ladder.
    fn find(&mut self, name: Claimed) -> Option<&mut Warned> {
        self.known.get_mut(&name)?.as_mut()
    }
}

impl<B: Backend> Supervision<B> {
    /// The plane has found a silent job: it is warned about, and has the grace.
    pub(super) fn on_overdue(&mut self, Overdue { worker, claim, since }: Overdue) {
        let now = self.now();
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(held) = cell.lock().in_hand().filter(|held| held.claim == claim) else { return };
        if self.vigil.known.contains_key(&(worker, claim)) {
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
        let silence = Silence { cell, job, claim, since };
        self.vigil.known.insert((worker, claim), Some(Warned { silence, at: now, asked: false, question: None }));
        self.vigil.warned.add(((worker, claim), now));
    }

    /// Looks after those who were warned about; says when to look again.
    pub(super) fn look_at_warned(&mut self, now: Timestamp) -> Timestamp {
        if self.vigil.warned.is_empty() {
            return Timestamp::NEVER;
        }
        // Where there is no watchdog, all are let off.
        let watchdog = self.vigil.watchdog.clone().unwrap_or_default();
        let (pass, mut looks) = (self.pass(), self.vigil.warned.begin(now));
        while let Some((name, at)) = self.vigil.warned.next(&mut looks) {
            if let Some(again) = self.look_at(name, at, &watchdog, now) {
                self.vigil.warned.keep((name, at), again);
            }
            if pass.is_over() {
                break;
            }
        }
        if self.vigil.warned.is_behind(now) {
            self.go_on_later();
        }
        self.vigil.warned.next_round()
    }

    /// Looks after one that was warned about at `at`; says when to look again, unless that is over.
    fn look_at(&mut self, name: Claimed, at: Timestamp, watchdog: &Watchdog, now: Timestamp) -> Option<Timestamp> {
        let warned = self.vigil.find(name).filter(|warned| warned.at == at)?;
        let (silence, asked) = (warned.silence.clone(), warned.asked);
        if self.is_over(&silence) {
            self.forget_silence(&silence);
            return None;
        }
        // A beat tells control nothing: look often enough to be late by a quarter of the grace at most.
        let (due, look) = (at.after(watchdog.grace), now.after((watchdog.grace / 4).max(LOOK)));
        if asked && due <= now && !watchdog.ladder.is_forced() {
            return Some(look);
        }
        // Another watchdog may be in force than when it was put: one by which it comes too early, or need not be put.
        self.take_question_back(name);
        if due > now {
            return Some(due.min(look));
        }
        self.start_ladder(&silence, &watchdog.ladder, now);
        // Hooks may have to be waited for.
        self.vigil.find(name).map(|_| look)
    }

    /// What was warned about is looked at again by what is in force now.
    pub(super) fn look_at_all_warned(&mut self) {
        self.vigil.warned.begin_round(self.now());
    }

    /// Nobody looks after this job any more.
    pub(super) fn forget_silence(&mut self, silence: &Silence) {
        self.take_question_back(silence.name());
        self.vigil.known.remove(&silence.name());
    }

    /// Whether the ladder is to begin is no question, for now or any more.
    fn take_question_back(&mut self, name: Claimed) {
        let Some(warned) = self.vigil.find(name) else { return };
        warned.asked = false;
        if let Some(question) = warned.question.take() {
            self.withdraw_question(question);
        }
    }

    /// The grace is over, and the job is silent still: the one place where the ladder of an overdue job begins, if the hooks allow it.
    fn start_ladder(&mut self, silence: &Silence, ladder: &Ladder, now: Timestamp) {
        let (worker, claim, job) = (silence.cell.id, silence.claim, silence.job.header().id());
        if ladder.is_forced() {
            return self.on_overdue_ruled(worker, claim, &Ruling::Allowed);
        }
        if let Some(warned) = self.vigil.find((worker, claim)) {
            warned.asked = true;
        }
        let question = Question::Overdue { worker, claim, job, silent_for: now.since(silence.since) };
        let question = self.ask_hooks(question, By::Watchdog, move |supervision, ruling| {
            supervision.on_overdue_ruled(worker, claim, &ruling);
        });
        // Unless it has been ruled upon at once, and is warned about no more.
        if let Some(warned) = self.vigil.find((worker, claim)) {
            warned.question = question;
        }
    }

    fn on_overdue_ruled(&mut self, worker: WorkerId, claim: ClaimNo, ruling: &Ruling) {
        let name = (worker, claim);
        let Some((silence, at)) = self.vigil.find(name).map(|warned| (warned.silence.clone(), warned.at)) else {
            return;
        };
        // What is in force may be another watchdog, or none, since the question. Where there is none, it is over.
        if self.is_over(&silence) {
            self.vigil.known.remove(&name);
            return;
        }
        let (now, watchdog) = (self.now(), self.vigil.watchdog.clone().unwrap_or_default());
        if at.after(watchdog.grace) > now {
            // It came too early, by what is in force now: it is put again when this grace is over.
            return self.take_question_back(name);
        }
        self.vigil.known.remove(&name);
        match ruling {
            Ruling::Denied(_) => self.watch_again(&silence, now),
            Ruling::Allowed => {
                let job = silence.job.header().id();
                self.vigil.known.insert(name, None);
                self.climb_for_silence(silence, Target::Claim { worker, claim, job }, &watchdog.ladder, now);
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

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::id::LaneId;
    use crate::job::{JobCell, PoolNo, Submission};
    use crate::slot::{Counts, Taken, take_up, transition};
    use crate::snapshot::WorkerState;
    use crate::sync::Clock;

    #[test]
    fn a_job_that_its_worker_has_given_back_has_ended_before_its_outcome_is_there() {
        let (clock, counts) = (Clock::real(), Counts::new(1));
        let cell = Cell::new(WorkerId { slot: 0, generation: 1 }, 0, PoolNo::NOBODY, clock.clone());
        let submission = Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms: None };
        let (handle, queued) = Share::<JobCell<(), ()>>::alone((), submission).submitted(LaneId::DEFAULT, None);
        let now = clock.now();
        let claim = cell.lock().next_claim();
        let (taken, shown) = Taken::new(queued, LaneId::DEFAULT, claim, now);
        take_up(&counts, &mut cell.lock(), shown, now);
        let silence = Silence { cell: cell.clone(), job: handle.erase(), claim, since: now };
        assert!(!silence.has_ended());
        // As a turnover does, after which the outcome is published.
        transition(&counts, &mut cell.lock(), WorkerState::Idle, now);
        taken.let_go();
        assert!(silence.has_ended());
        assert!(!silence.job.header().is_done());
    }
}
