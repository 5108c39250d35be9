//! The reference: what a pool is to be, by the arithmetic of DESIGN.md, section 2, on numbers alone.

use std::collections::{BTreeMap, VecDeque};

use crate::command::{LANES, Manner, No, Terms};

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
    /// Milliseconds that a worker above `min` may idle.
    pub(crate) idle_timeout: Option<u64>,
    /// How many workers are to idle while there are fewer than `max`.
    pub(crate) min_idle: usize,
    /// When a worker is replaced: after so many jobs,
    pub(crate) after_jobs: Option<u64>,
    /// or at this age, in milliseconds, of which it may be short by a quarter.
    pub(crate) after_age: Option<u64>,
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
    /// Of its worker, this job apart.
    pub(crate) wear: Wear,
}

/// What a worker has behind it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wear {
    /// When it was started.
    pub(crate) born: u64,
    pub(crate) jobs: u64,
    /// It is to be recycled, and the hook has been asked: when its turn comes, from then on.
    pub(crate) due_from: Option<u64>,
}

/// A worker that idles.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Idler {
    pub(crate) wear: Wear,
    pub(crate) since: u64,
    /// A hook has it stay, though it has idled for too long, until then.
    pub(crate) spared_until: u64,
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
    /// The longest idle first; the last one is called.
    pub(crate) idle: Vec<Idler>,
    /// One that idled, and is about to look for a job. None at rest.
    pub(crate) called: Option<Idler>,
    /// Has a seat, and is looking for a job: 1 at most.
    looking: usize,
    /// Jobs whose workers cannot be made to die and have not returned.
    pub(crate) abandoned: Vec<No>,
    /// Slots that back off, each until then.
    pub(crate) cooling: Vec<u64>,
    /// By lane, who waits at the gate until when.
    pub(crate) gate: [VecDeque<(No, u64)>; LANES.len()],
    /// By lane, those of them who were promised a place and have not looked yet.
    pub(crate) promised: [VecDeque<No>; LANES.len()],
    /// Workers that have a seat, and come up when they are told to.
    pub(crate) coming: Vec<Wear>,
    /// Starts to come that are to take their time so.
    pub(crate) holds: usize,
    /// Starts to come that the system refuses.
    pub(crate) refusals: usize,
    /// There is a hook, and what it says.
    pub(crate) hook: Option<Manner>,
    /// Starts that it has put off, each until then.
    pub(crate) delayed: Vec<u64>,
    /// There may be an empty slot whose next start nobody is asked about, since a fault emptied it.
    pub(crate) unasked: bool,
    /// The largest `max` so far.
    pub(crate) slots: usize,
    /// Workers that left since they had idled for too long, and those that were recycled.
    pub(crate) idled_out: usize,
    pub(crate) recycled: usize,
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
            idle: Vec::new(),
            called: None,
            looking: 0,
            abandoned: Vec::new(),
            cooling: Vec::new(),
            gate: Default::default(),
            promised: Default::default(),
            coming: Vec::new(),
            holds: 0,
            refusals: 0,
            hook: None,
            delayed: Vec::new(),
            unasked: false,
            slots: setup.max,
            idled_out: 0,
            recycled: 0,
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
        self.refusals == 0 && self.cooling.is_empty() && self.delayed.is_empty()
    }

    /// Somebody is on the way, or will be for a while.
    pub(crate) fn has_slow_starts(&self) -> bool {
        self.holds > 0 || !self.coming.is_empty()
    }

    pub(crate) fn denies_starts(&self) -> bool {
        self.hook == Some(Manner::DeniesStarts)
    }

    /// A start that is wanted now, and was not asked about before, is not made now.
    pub(crate) fn holds_starts_up(&self) -> bool {
        matches!(self.hook, Some(Manner::DeniesStarts | Manner::DelaysStarts)) || !self.delayed.is_empty()
    }

    /// Other limits lead to what is certain.
    pub(crate) fn takes_limits(&self) -> bool {
        let overstays = |idler: &Idler| self.overstays_from(idler) <= self.now || idler.spared_until > self.now;
        self.all_starts_work() && !self.holds_starts_up() && !self.idle.iter().any(overstays)
    }

    // ---- the arithmetic ------------------------------------------------------------------------------------------------

    pub(crate) fn idlers(&self) -> impl Iterator<Item = &Idler> {
        self.idle.iter().chain(&self.called)
    }

    pub(crate) fn live(&self) -> usize {
        self.up() + self.coming.len()
    }

    /// Those that have come up.
    pub(crate) fn up(&self) -> usize {
        self.idlers().count() + self.runs.len() + self.looking
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

    /// Control does what it is to do; then those who wait get the places that came free, and one worker takes what it may: until nothing
    /// moves, in the order in which the pond lets things happen.
    pub(crate) fn settle(&mut self) {
        loop {
            self.note_ages();
            self.call();
            while self.staff() | self.let_idlers_go() || self.recycle() {
                self.call();
            }
            let received = self.receive();
            self.call();
            if !(self.look() | received) {
                break;
            }
        }
        if self.is_lost() {
            self.send_away();
        }
        self.unasked &= self.live() < self.slots;
    }

    pub(crate) fn wanted(&self) -> usize {
        let startable: usize = (0..LANES.len()).map(|lane| self.queues[lane].len().min(self.free(lane))).sum();
        let wanted = startable + self.setup.min_idle;
        let free = self.idlers().count() + self.coming.len();
        let for_jobs = if self.quiesced { 0 } else { wanted.saturating_sub(free) };
        for_jobs.max(self.min.saturating_sub(self.live())).min(self.startable_workers())
    }

    pub(crate) fn staff(&mut self) -> bool {
        // Those that are put off are among the wanted.
        let wanted = self.wanted().saturating_sub(self.delayed.len());
        for _ in 0..wanted {
            match self.hook {
                Some(Manner::DeniesStarts) => self.do_without(crate::VETO_PAUSE),
                Some(Manner::DelaysStarts) => self.delayed.push(self.now + crate::DELAY),
                _ => self.start(),
            }
        }
        wanted > 0
    }

    /// A worker comes up, or the system refuses it.
    pub(crate) fn start(&mut self) {
        if self.refusals > 0 {
            (self.refusals, self.unasked) = (self.refusals - 1, true);
            self.do_without(crate::BACKOFF);
        } else if self.holds > 0 {
            self.holds -= 1;
            self.coming.push(Wear { born: self.now, jobs: 0, due_from: None });
        } else {
            self.go_on(true, Wear { born: self.now, jobs: 0, due_from: None });
        }
    }

    /// A worker that was on its way is up: it pays a debt, or goes on.
    pub(crate) fn come_up(&mut self) {
        let owed = self.live() > self.max;
        let wear = self.coming.remove(0);
        if !owed {
            self.go_on(true, wear);
        }
    }

    /// A worker that holds no job takes the next one, or idles from now on.
    pub(crate) fn go_on(&mut self, begun: bool, wear: Wear) {
        if !self.take(begun, wear) {
            self.idle.push(Idler { wear, since: self.now, spared_until: 0 });
        }
    }

    /// A slot stays empty for so long.
    fn do_without(&mut self, pause: u64) {
        self.cooling.push(self.now + pause);
        self.fail_handed_over();
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

    /// Where a job could start, the worker that has idled for the shortest time is called. It is not among the idle from then on.
    pub(crate) fn call(&mut self) {
        let could_start = |lane: usize| !self.queues[lane].is_empty() && self.free(lane) > 0;
        if self.called.is_none() && !self.quiesced && (0..LANES.len()).any(could_start) {
            self.called = self.idle.pop();
        }
    }

    /// Who was called leaves, if its turn has come, or takes a job. Called in vain, it has idled all the time.
    pub(crate) fn look(&mut self) -> bool {
        let Some(called) = self.called else { return false };
        let has_its_turn = self.has_its_turn(&called.wear);
        self.called = None;
        if has_its_turn {
            self.replace_recycled();
        } else if !self.take(true, called.wear) {
            let place = self.idle.partition_point(|idler| idler.since <= called.since);
            self.idle.insert(place, called);
        }
        true
    }

    /// A worker that holds no seat yet takes the next job.
    pub(crate) fn take(&mut self, begun: bool, wear: Wear) -> bool {
        if self.quiesced {
            return false;
        }
        // The seat is the worker's already: it counts among the live.
        self.looking = 1;
        let lanes = (1..=LANES.len()).map(|step| (self.cursor + step) % LANES.len());
        let lane = lanes.into_iter().find(|&lane| !self.queues[lane].is_empty() && self.free(lane) > 0);
        self.looking = 0;
        let Some(lane) = lane else { return false };
        let job = self.queues[lane].pop_front().expect("it is not empty");
        let until = job.terms.run.map_or(u64::MAX, |limit| self.now + limit).min(job.deadline);
        self.cursor = lane;
        self.runs.push(Run { job, until, begun, condemned: false, kill_at: None, wear });
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
