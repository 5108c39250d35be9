//! The ladder: each target climbs it on its own, and the supervisor looks in when something happened or a grace is over.

use std::collections::HashMap;
use std::time::Duration;

use ractor::RpcReplyPort;

use super::climb::{Climb, cancel, report};
use super::event::PoolEvent;
use super::ring::Ring;
use super::shutdown::Ending;
use super::supervisor::Supervision;
use super::target::{Ladder, Targets};
use super::trace::trace_rung;
use super::watchdog::Silence;
use crate::backend::{Backend, KillOutcome};
use crate::id::{By, ClaimNo, JobId, WorkerId};
use crate::plane::{Aimed, Found};
use crate::policy::Exit;
use crate::slot::Cell;
use crate::snapshot::{Ended, Fate, Rung, Target, TargetReport, TerminationReport, WorkerState};
use crate::sync::{Arc, Timestamp};

/// How often a climb looks whether its job has ended: a job's end tells control nothing.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How long a child may take to say whether it has begun the job after the one that a rung is aimed at.
const ANSWER: Duration = Duration::from_millis(20);

/// Somebody's request: what has become of its targets, and who wants to know.
struct Termination {
    rows: Vec<Option<TargetReport>>,
    /// Targets that are on the ladder still.
    left: usize,
    by: By,
    reply: RpcReplyPort<TerminationReport>,
}

/// Who is on a ladder, and for whom.
#[derive(Default)]
pub(super) struct Climbs {
    ring: Ring<Climb>,
    terminations: HashMap<u64, Termination>,
    /// How many there were.
    requests: u64,
}

impl<B: Backend> Supervision<B> {
    pub(super) fn terminate(
        &mut self,
        targets: Targets,
        ladder: &Ladder,
        by: By,
        reply: RpcReplyPort<TerminationReport>,
        began: Timestamp,
    ) {
        if targets.is_empty() {
            // Whoever asked may have gone, here and below.
            return drop(reply.send(TerminationReport::default()));
        }
        let who = format!("terminated by {}", by.name().unwrap_or("an operator"));
        let (exit, rungs) = (Exit::Killed(Arc::from(who)), Arc::from(&*ladder.rungs));
        self.climbs.requests += 1;
        let (request, left) = (self.climbs.requests, targets.len());
        self.climbs.terminations.insert(request, Termination { rows: vec![None; left], left, by, reply });
        for (row, target) in targets.into_iter().enumerate() {
            let climb = Climb::new(target, Arc::clone(&rungs), exit.clone(), began);
            self.climbs.ring.add(Climb { row: Some((request, row)), ..climb });
        }
    }

    /// A job passed its run limit: it was asked to stop already; its worker has a grace, then it is taken.
    pub(super) fn climb_for_overrun(&mut self, worker: WorkerId, claim: ClaimNo) {
        let now = self.now();
        let Some(cell) = self.plane().cell(worker) else { return };
        let Some(job) = cell.lock().held.as_ref().map(|held| held.job.header().id()) else { return };
        let grace = self.plane().config.kill_grace;
        let ladder = Ladder::new().then(Rung::Cancel, grace).then(Rung::Kill, grace);
        let exit = Exit::Killed(Arc::from("its job passed a time limit"));
        let climb = Climb::new(Target::Claim { worker, claim, job }, Arc::from(ladder.rungs), exit, now);
        self.climbs.ring.add(Climb { cell: Some(Some(cell)), ..climb });
    }

    /// A job is overdue, and the grace after the warning is over.
    pub(super) fn climb_for_silence(&mut self, silence: Silence, target: Target, ladder: &Ladder, now: Timestamp) {
        let first = ladder.rungs.first().map_or(Rung::Cancel, |(rung, _)| *rung);
        let climb = Climb::new(target, Arc::from(&*ladder.rungs), silence.exit(first, now), now);
        self.climbs.ring.add(Climb { silence: Some(silence), ..climb });
    }

    /// Takes a worker now, with nobody waiting for the answer.
    pub(super) fn kill_worker(&mut self, worker: WorkerId, by: &Arc<str>) {
        let now = self.now();
        let ladder = Ladder::new().then(Rung::Kill, self.plane().config.kill_grace);
        let climb = Climb::new(Target::Worker(worker), Arc::from(ladder.rungs), Exit::Killed(by.clone()), now);
        self.climbs.ring.add(climb);
    }

    /// Targets go as far up as they can, as many as it is the turn of; says when to look again.
    pub(super) fn climb(&mut self, now: Timestamp) -> Timestamp {
        let (pass, mut looks) = (self.pass(), self.climbs.ring.begin(now));
        while let Some(mut climb) = self.climbs.ring.next(&mut looks) {
            self.look_up(&mut climb);
            self.advance(&mut climb, now);
            match climb.fate {
                Some(_) => self.note_fate(&climb),
                None => {
                    // One that waits for an answer is past its time.
                    let until = if climb.until > now { climb.until } else { now.after(LOOK) };
                    self.climbs.ring.keep(climb, until.min(now.after(LOOK)));
                }
            }
            if pass.is_over() {
                break;
            }
        }
        if self.climbs.ring.is_behind(now) {
            self.go_on_later();
        }
        self.climbs.ring.next_round()
    }

    /// A message has come. Where the clock stands still, nothing else has those looked at who are on a ladder, or were warned about: what became of
    /// a target may be what came of this message.
    pub(super) fn look_at_all(&mut self) {
        if self.plane().clock.is_settable() {
            self.climbs.ring.look_at_all();
            self.vigil.warned.look_at_all();
        }
    }

    fn look_up(&self, climb: &mut Climb) {
        if climb.cell.is_none() {
            climb.cell = Some(match climb.target {
                Target::Worker(worker) | Target::Claim { worker, .. } => self.plane().cell(worker),
                Target::Queued(_) => None,
            });
        }
    }

    /// The request of a target that has its fate is answered once it was the last one.
    fn note_fate(&mut self, climb: &Climb) {
        if let Some(silence) = &climb.silence {
            self.forget_silence(silence);
            return self.tell_of_silence(climb);
        }
        let Some((request, row)) = climb.row else { return };
        let Some(termination) = self.climbs.terminations.get_mut(&request) else { return };
        termination.rows[row] = report(climb);
        termination.left -= 1;
        if termination.left == 0
            && let Some(Termination { rows, by, reply, .. }) = self.climbs.terminations.remove(&request)
        {
            let report = TerminationReport { targets: rows.into_iter().flatten().collect(), veto: None };
            self.tell(PoolEvent::Terminated { report: Arc::new(report.clone()), by });
            drop(reply.send(report));
        }
    }

    /// An overdue job that a rung has ended. One that is let off, or outlasts its ladder, is told of as such, or warned about again.
    fn tell_of_silence(&self, climb: &Climb) {
        let over = report(climb).filter(|row| row.rung.is_some() && row.fate != Fate::StillRunning);
        if let Some(row) = over {
            let report = Arc::new(TerminationReport { targets: vec![row], veto: None });
            self.tell(PoolEvent::Terminated { report, by: By::Watchdog });
        }
    }

    fn advance(&mut self, climb: &mut Climb, now: Timestamp) {
        let began = climb.began;
        self.look_for_lent(climb);
        loop {
            if let Some(fate) = self.fate(climb) {
                climb.fate = Some((fate, climb.last_rung(), now.since(began)));
                return;
            }
            if let Some(fate) = self.let_off(climb) {
                climb.fate = Some((fate, climb.last_rung(), now.since(began)));
                return;
            }
            if climb.until > now {
                return;
            }
            let Some(&(rung, grace)) = climb.rungs.get(climb.next) else {
                let fate = self.overstayed(climb);
                if let (Fate::StillRunning, Some(silence)) = (fate, &climb.silence) {
                    self.note_outlasted(silence, now);
                }
                climb.fate = Some((fate, climb.last_rung(), now.since(began)));
                return;
            };
            if let Some(silence) = &climb.silence {
                climb.exit = silence.exit(rung, now);
            }
            let Some(hit) = self.aim(climb, rung, now) else { return };
            climb.next += 1;
            climb.until = now.after(grace);
            if let Some(silence) = &climb.silence {
                self.note_rung(silence, rung, now);
            }
            self.step(climb, rung, hit);
        }
    }

    /// What becomes of an overdue job that makes progress again before its worker is taken, or ends.
    fn let_off(&self, climb: &Climb) -> Option<Fate> {
        let silence = climb.silence.as_ref().filter(|_| climb.last_rung() != Some(Rung::Kill))?;
        self.is_over(silence).then(|| if silence.has_ended() { Fate::Finished } else { Fate::StillRunning })
    }

    /// What became of the target, if that is known by now.
    fn fate(&self, climb: &Climb) -> Option<Fate> {
        if let Target::Queued(job) = climb.target {
            return self.fate_of_queued(climb, job);
        }
        let Some(cell) = climb.worker().filter(|cell| cell.lock().state != WorkerState::Gone) else {
            return Some(match climb.last_rung() {
                // Gone before anything was done to it: whether control has heard of that yet makes no difference.
                None => Fate::Stale,
                Some(Rung::Cancel) => Fate::Finished,
                Some(Rung::Stop) => Fate::Stopped,
                // A job that was quicker than the kill ended by itself; its worker has taken no other, or the job alone was meant.
                Some(Rung::Kill) if climb.ended_by_itself() && !climb.went_on() => Fate::Finished,
                Some(Rung::Kill) => Fate::Killed,
            });
        };
        let (state, claim) = (cell.lock(), climb.claim());
        let holds = |claim| state.held.as_ref().is_some_and(|held| held.claim == claim);
        if state.state == WorkerState::Abandoned {
            // It keeps the claim that it was abandoned with; any other was over before.
            return Some(if claim.is_none_or(holds) { Fate::Abandoned } else { Fate::Finished });
        }
        // Once it is condemned only its end counts: then it has taken no other job, but for one that it was lent before that, which is not meant.
        let told = climb.condemned.is_some() || climb.last_rung() == Some(Rung::Stop);
        let over = claim.is_some_and(|claim| !holds(claim) && (!told || state.held.is_some()));
        over.then_some(Fate::Finished)
    }

    /// The first rung, whichever it is, takes a queued job out.
    fn fate_of_queued(&self, climb: &Climb, job: JobId) -> Option<Fate> {
        match climb.withdrawn? {
            true => Some(Fate::Withdrawn),
            false if self.plane().was_admitted(job) => Some(Fate::Finished),
            false => Some(Fate::Stale),
        }
    }

    /// Takes a queued job out; one that a worker has taken since is followed there. One that is lent is asked to stop, whoever gets it, and looked for again.
    fn withdraw(&self, climb: &mut Climb, job: JobId) {
        match self.plane().cancel_queued(job) {
            Found::Withdrawn => climb.withdrawn = Some(true),
            Found::Lent(lent) => {
                lent.header().cancel();
                climb.job = Some(lent);
            }
            Found::Gone => {
                if let Some((worker, claim)) = self.plane().holder_of(job) {
                    (climb.target, climb.cell) =
                        (Target::Claim { worker, claim, job }, Some(self.plane().cell(worker)));
                    (climb.next, climb.until) = (0, self.now());
                    return;
                }
                // Asked to stop while it was lent, it ends by that as it comes back. Whoever ends it may not have told yet.
                climb.withdrawn = match &climb.job {
                    Some(lent) => lent.header().ended().map(|ended| ended == Ended::Cancelled),
                    None => Some(false),
                };
            }
        }
    }

    /// What was lent when a rung was tried on it is back in its lane by now, or its worker's; or nobody knows yet, and the ladder's time goes on.
    fn look_for_lent(&self, climb: &mut Climb) {
        if let Target::Queued(job) = climb.target
            && climb.next > 0
            && climb.withdrawn.is_none()
        {
            self.withdraw(climb, job);
        }
    }

    /// Condemns whoever the rung is to take: true if it was there to be. `None`: the rung waits, since the worker was lent another job than the one that is meant:
    /// soon that is back, or its next claim. Not for long: a child that does not answer is taken, and what it was lent goes along.
    fn aim(&self, climb: &mut Climb, rung: Rung, now: Timestamp) -> Option<bool> {
        let (Some(cell), claim) = (climb.worker().cloned(), climb.claim()) else { return Some(false) };
        if climb.job.is_none() {
            let state = cell.lock();
            let held = state.held.as_ref().filter(|held| claim.is_none_or(|claim| held.claim == claim));
            climb.job = held.map(|held| held.job.clone());
        }
        let aimed = match (rung, claim) {
            (Rung::Cancel, _) | (Rung::Stop, None) => return Some(false),
            (Rung::Kill, None) => self.plane().condemn(&cell, None, &climb.exit).map_or(Aimed::Missed, Aimed::Hit),
            (Rung::Stop | Rung::Kill, Some(claim)) => {
                let exit = if rung == Rung::Stop { climb.exit.when_told() } else { climb.exit.clone() };
                let waited = climb.spares_since.is_some_and(|since| now >= since.after(ANSWER));
                self.plane().condemn_alone(&cell, claim, &exit, waited || climb.condemned.is_some())
            }
        };
        match aimed {
            Aimed::Spared => {
                climb.spares_since.get_or_insert(now);
                None
            }
            Aimed::Hit(condemned) => {
                climb.condemned = Some(condemned);
                Some(true)
            }
            Aimed::Missed => Some(false),
        }
    }

    fn step(&mut self, climb: &mut Climb, rung: Rung, hit: bool) {
        if climb.silence.is_none() {
            // That of an overdue job has been told already, as an event of its own.
            trace_rung(&self.plane().config.name, &climb.target, rung, &climb.exit.blame());
        }
        if let Target::Queued(job) = climb.target {
            return self.withdraw(climb, job);
        }
        let (Some(cell), claim) = (climb.worker().cloned(), climb.claim()) else { return };
        match rung {
            Rung::Cancel => cancel(&cell, claim),
            Rung::Stop if claim.is_none() => self.plane().stop_worker(&cell, climb.exit.when_told()),
            Rung::Stop if hit => cell.tell_to_leave(),
            Rung::Stop => {}
            Rung::Kill => self.take(climb, &cell, hit),
        }
    }

    fn take(&mut self, climb: &mut Climb, cell: &Arc<Cell>, hit: bool) {
        let claim = climb.claim();
        match climb.condemned.as_ref().filter(|_| hit).map(|condemned| &condemned.job) {
            Some(Some((job, _))) => _ = job.header().cancel(),
            // The job was not begun, and is not hit.
            Some(None) if cell.is_taken_back() => climb.job = None,
            Some(None) => {}
            // On its way out it has no job that could be hit by mistake: it is the target itself, or leaves because of this.
            None if claim.is_none() => {}
            // Or has gone on meanwhile to a job that its child was handed with the one that this is about.
            None if climb.condemned.is_some()
                && cell.lock().held.as_ref().is_none_or(|held| Some(held.claim) == claim) => {}
            None => return,
        }
        let outcome = self.employed.get(cell.id).map(|employed| employed.control.kill());
        // One that idled was told to leave just now, and another one before that: it has the grace to do so.
        let leaves = cell.lock().state == WorkerState::Leaving;
        if outcome == Some(KillOutcome::Abandoned) && !leaves {
            self.abandon(cell, &climb.exit);
        }
    }

    /// The last grace is over.
    fn overstayed(&mut self, climb: &Climb) -> Fate {
        let killed = climb.last_rung() == Some(Rung::Kill);
        match climb.worker() {
            Some(cell) if killed => {
                self.abandon(cell, &climb.exit);
                if cell.lock().state == WorkerState::Gone { Fate::Killed } else { Fate::Abandoned }
            }
            _ => Fate::StillRunning,
        }
    }

    fn abandon(&mut self, cell: &Arc<Cell>, exit: &Exit) {
        self.plane().abandon(cell, exit);
        // Unless it has ended just now, which its exit tells.
        if cell.lock().state == WorkerState::Abandoned {
            self.on_abandoned(cell.id);
        }
    }

    /// A worker that takes longer to leave than the grace, say in the drop of its state, does not keep its slot. It is not killed: what it
    /// does on its way out may matter. Says when to look again.
    pub(super) fn give_up_on_leaving(&mut self, now: Timestamp) -> Timestamp {
        // At a shutdown nobody is to take their slots, and they have until its limit.
        let stopping = self.ending.as_ref().is_some_and(Ending::is_stopping);
        if stopping || self.plane().counts.leaving() == 0 {
            self.leaving_until = Timestamp::NEVER;
            return Timestamp::NEVER;
        }
        let grace = self.plane().config.kill_grace.max(LOOK);
        // Whoever began to leave since the last look has until later.
        self.leaving_until = self.leaving_until.min(now.after(grace));
        if self.leaving_until <= now {
            self.leaving_until = Timestamp::NEVER;
            let late = Exit::Killed(Arc::from("it had not left when the grace was over"));
            for cell in self.plane().cells() {
                let (state, since) = {
                    let state = cell.lock();
                    (state.state, state.since)
                };
                match since.after(grace) {
                    _ if state != WorkerState::Leaving => {}
                    until if until <= now => self.abandon(&cell, &late),
                    until => self.leaving_until = self.leaving_until.min(until),
                }
            }
            // Each look is at all workers.
            self.leaving_until = self.leaving_until.max(now.after(LOOK));
        }
        self.leaving_until
    }
}
