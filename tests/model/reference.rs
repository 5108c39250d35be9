//! The reference: what a pool is to be, by the arithmetic of DESIGN.md, section 2, on numbers alone.

use std::collections::{BTreeMap, VecDeque};

use crate::command::{LANES, No, Terms};

/// How a pool is built.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) capacity: [usize; LANES.len()],
    /// Of the last lane; the first has none.
    pub(crate) reserve: usize,
    pub(crate) abandoned_cap: usize,
    pub(crate) killable: bool,
}

/// What became of a job that came to the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Waiting,
    Left,
    Full,
    SaturatedByAbandoned,
    GateTimedOut,
    /// Queued or running.
    Open,
    Completed,
    Panicked,
    Cancelled,
    Expired,
    StartFailed,
    Killed,
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) no: No,
    pub(crate) lane: usize,
    pub(crate) terms: Terms,
    pub(crate) deadline: u64,
    pub(crate) expires: u64,
    /// Asked to stop while a worker had it.
    pub(crate) asked: bool,
    /// It came to a lane without a queue, and was not let into one that was taken away.
    pub(crate) handed_over: bool,
}

/// A job in a worker's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) job: Job,
    pub(crate) until: u64,
    /// Its payload was taken; otherwise it goes back if its worker dies.
    pub(crate) begun: bool,
    /// Its worker takes no other.
    pub(crate) condemned: bool,
    /// Its outcome was written, and its worker is taken then.
    pub(crate) kill_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) setup: Setup,
    pub(crate) now: u64,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) quiesced: bool,
    pub(crate) queues: [VecDeque<Job>; LANES.len()],
    pub(crate) runs: Vec<Run>,
    pub(crate) idle: usize,
    /// Jobs whose workers cannot be made to die and have not returned.
    pub(crate) abandoned: Vec<No>,
    /// Slots that back off, each until then.
    pub(crate) cooling: Vec<u64>,
    /// By lane, who waits at the gate until when.
    pub(crate) gate: [VecDeque<(No, u64)>; LANES.len()],
    /// By lane, those of them who were promised a place and have not looked yet.
    pub(crate) promised: [VecDeque<No>; LANES.len()],
    /// Starts to come that the system refuses.
    pub(crate) refusals: usize,
    /// There is a hook; true if it is strict.
    pub(crate) hook: Option<bool>,
    pub(crate) fates: BTreeMap<No, Fate>,
    pub(crate) cursor: usize,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut model = Self {
            now: 0,
            min: setup.min,
            max: setup.max,
            quiesced: false,
            queues: Default::default(),
            runs: Vec::new(),
            idle: 0,
            abandoned: Vec::new(),
            cooling: Vec::new(),
            gate: Default::default(),
            promised: Default::default(),
            refusals: 0,
            hook: None,
            fates: BTreeMap::new(),
            cursor: 0,
            setup,
        };
        model.settle();
        model
    }

    // ---- what generators and checks ask --------------------------------------------------------------------------------

    pub(crate) fn running(&self) -> Vec<No> {
        self.runs.iter().map(|run| run.job.no).collect()
    }

    pub(crate) fn is_unbegun(&self, no: No) -> bool {
        self.runs.iter().any(|run| run.job.no == no && !run.begun)
    }

    /// Jobs without an outcome.
    pub(crate) fn open_jobs(&self) -> Vec<No> {
        self.having(Fate::Open)
    }

    pub(crate) fn at_gate(&self) -> Vec<No> {
        self.having(Fate::Waiting)
    }

    pub(crate) fn having(&self, fate: Fate) -> Vec<No> {
        self.fates.iter().filter(|(_, it)| **it == fate).map(|(no, _)| *no).collect()
    }

    pub(crate) fn all_starts_work(&self) -> bool {
        self.refusals == 0 && self.cooling.is_empty()
    }

    // ---- the arithmetic ------------------------------------------------------------------------------------------------

    pub(crate) fn live(&self) -> usize {
        self.idle + self.runs.len()
    }

    pub(crate) fn loss(&self) -> usize {
        self.cooling.len() + self.abandoned.len().saturating_sub(self.setup.abandoned_cap)
    }

    pub(crate) fn startable_workers(&self) -> usize {
        self.max.saturating_sub(self.live() + self.loss())
    }

    pub(crate) fn seats(&self) -> usize {
        self.max.min(self.live() + self.startable_workers())
    }

    pub(crate) fn busy(&self, lane: usize) -> usize {
        self.runs.iter().filter(|run| run.job.lane == lane).count()
    }

    pub(crate) fn reserve(&self, lane: usize) -> usize {
        if lane + 1 == LANES.len() { self.setup.reserve } else { 0 }
    }

    /// Seats of its reserve that `lane` does not use.
    fn shortfall(&self, lane: usize) -> usize {
        self.reserve(lane).saturating_sub(self.busy(lane))
    }

    /// How many more jobs of `lane` may start.
    pub(crate) fn free(&self, lane: usize) -> usize {
        let others = (0..LANES.len()).filter(|&other| other != lane);
        let shortfall: usize = others.map(|other| self.shortfall(other)).sum();
        self.seats().saturating_sub(self.runs.len() + shortfall)
    }

    /// How many more jobs `lane` may admit.
    pub(crate) fn room(&self, lane: usize) -> usize {
        let taken = |lane: usize| self.queues[lane].len() + self.promised[lane].len();
        let others = (0..LANES.len()).filter(|&other| other != lane);
        let beyond = |other: usize| taken(other).min(self.free(other)).saturating_sub(self.shortfall(other));
        let promised: usize = others.map(beyond).sum();
        let room = self.setup.capacity[lane] + self.free(lane).saturating_sub(promised);
        room.saturating_sub(taken(lane))
    }

    /// Workers that cannot be made to die hold every seat. Not while a slot backs off, whose seat comes back.
    pub(crate) fn is_lost(&self) -> bool {
        let beyond = self.abandoned.len().saturating_sub(self.setup.abandoned_cap);
        beyond > 0 && self.live() == 0 && beyond >= self.max
    }

    // ---- coming to rest ------------------------------------------------------------------------------------------------

    /// Workers start, those who wait get the places that came free, and one worker at a time takes what it may, until nothing
    /// moves: in the order in which the pond lets things happen.
    pub(crate) fn settle(&mut self) {
        while self.staff() | self.receive() | self.idle_take() {}
        if self.is_lost() {
            self.send_away();
        }
    }

    fn wanted(&self) -> usize {
        let startable: usize = (0..LANES.len()).map(|lane| self.queues[lane].len().min(self.free(lane))).sum();
        let for_jobs = if self.quiesced { 0 } else { startable.saturating_sub(self.idle) };
        for_jobs.max(self.min.saturating_sub(self.live())).min(self.startable_workers())
    }

    fn staff(&mut self) -> bool {
        let wanted = self.wanted();
        for _ in 0..wanted {
            if self.refusals > 0 {
                self.refusals -= 1;
                self.cooling.push(self.now + crate::BACKOFF);
                self.fail_handed_over();
            } else if !self.take(true) {
                self.idle += 1;
            }
        }
        wanted > 0
    }

    /// Jobs of lanes without a queue for which no seat is left share the fate of the start that failed.
    fn fail_handed_over(&mut self) {
        for lane in 0..LANES.len() {
            while self.setup.capacity[lane] == 0
                && self.queues[lane].front().is_some_and(|job| job.handed_over)
                && self.queues[lane].len() > self.free(lane)
            {
                let job = self.queues[lane].pop_front().expect("it is longer than something");
                self.fates.insert(job.no, Fate::StartFailed);
            }
        }
    }

    fn idle_take(&mut self) -> bool {
        if self.idle == 0 {
            return false;
        }
        // Taken off first: the worker that takes is not idle and busy at once.
        self.idle -= 1;
        let taken = self.take(true);
        self.idle += usize::from(!taken);
        taken
    }

    /// A worker that holds no seat yet takes the next job.
    pub(crate) fn take(&mut self, begun: bool) -> bool {
        if self.quiesced {
            return false;
        }
        // The seat is the worker's already: it counts among the live.
        self.idle += 1;
        let lanes = (1..=LANES.len()).map(|step| (self.cursor + step) % LANES.len());
        let lane = lanes.into_iter().find(|&lane| !self.queues[lane].is_empty() && self.free(lane) > 0);
        self.idle -= 1;
        let Some(lane) = lane else { return false };
        let job = self.queues[lane].pop_front().expect("it is not empty");
        let until = job.terms.run.map_or(u64::MAX, |limit| self.now + limit).min(job.deadline);
        self.cursor = lane;
        self.runs.push(Run { job, until, begun, condemned: false, kill_at: None });
        true
    }

    /// Promises the free places to those who wait.
    pub(crate) fn grant(&mut self) {
        for lane in 0..LANES.len() {
            while self.room(lane) > 0
                && let Some((no, _)) = self.gate[lane].pop_front()
            {
                self.promised[lane].push_back(no);
            }
        }
    }

    /// Those who wait look whether they have been promised a place.
    fn receive(&mut self) -> bool {
        self.grant();
        let mut received = false;
        for lane in 0..LANES.len() {
            while let Some(no) = self.promised[lane].pop_front() {
                self.enter(no, lane, Terms::default());
                received = true;
            }
        }
        received
    }

    /// The job is in.
    pub(crate) fn enter(&mut self, no: No, lane: usize, terms: Terms) {
        let deadline = terms.deadline.map_or(u64::MAX, |span| self.now + span);
        let expires = terms.queue.map_or(u64::MAX, |limit| self.now + limit).min(deadline);
        self.queues[lane].push_back(Job { no, lane, terms, deadline, expires, asked: false, handed_over: true });
        self.fates.insert(no, Fate::Open);
    }
}
