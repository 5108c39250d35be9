//! What each command does to the reference.

use crate::command::{Command, LANES, Manner, No, Terms};
use crate::reference::{Fate, Model, Run};
use crate::{ADMISSION_LIMIT, GRACE};

impl Model {
    pub(crate) fn step(&mut self, command: &Command) {
        match *command {
            Command::Submit { lane, terms } => self.submit(lane, terms),
            Command::Wait { lane } => self.wait(lane),
            Command::LeaveGate(no) => self.leave_gate(no),
            Command::Cancel(no) => {
                self.withdraw(no, Fate::Cancelled);
                if self.running().contains(&no) {
                    self.run_mut(no).job.asked = true;
                }
            }
            Command::Begin(no) => self.run_mut(no).begun = true,
            Command::Finish(no) => self.finish(no, Fate::Completed),
            Command::Panic(no) => self.finish(no, Fate::Panicked),
            Command::Die(no) => self.die(no),
            Command::DieIdle | Command::KillIdle => {
                self.unasked |= matches!(command, Command::DieIdle);
                self.idle.remove(self.longest_idle());
            }
            Command::Kill(no) => {
                self.withdraw(no, Fate::Cancelled);
                if self.running().contains(&no) {
                    self.kill(no);
                }
            }
            Command::KillWorkerOf(no) => self.kill(no),
            Command::KillStale => {}
            Command::Stop(no) => self.run_mut(no).condemned = true,
            Command::Return(no) => self.abandoned.retain(|other| *other != no),
            Command::Resize { .. } | Command::Retune { .. } if self.hook == Some(Manner::DeniesLimits) => {}
            Command::Resize { min, max } => self.resize(min, max),
            Command::Retune { min, max, capacity, reserve } => self.retune(min, max, capacity, reserve),
            Command::RetuneInVain { .. } => {}
            Command::Hook(manner) => self.hook = Some(manner),
            // What it put off ends with it.
            Command::NoHook => {
                self.hook = None;
                self.delayed.clear();
                self.end_recycling_delays();
            }
            Command::FailNextStart => self.refusals += 1,
            Command::HoldNextStart => self.holds += 1,
            Command::ComeUp => self.come_up(),
            Command::Quiesce => self.quiesced = true,
            Command::Resume => self.quiesced = false,
            Command::Advance(span) => self.advance(span),
        }
        self.settle();
    }

    fn next_no(&self) -> No {
        self.fates.len() as No
    }

    fn submit(&mut self, lane: usize, terms: Terms) {
        let no = self.next_no();
        if self.is_lost() {
            self.fates.insert(no, Fate::SaturatedByAbandoned);
        } else if self.gate[lane].is_empty() && self.room(lane) > 0 {
            self.enter(no, lane, terms);
            // One that idles is called; another is started for it afterwards, where so many are to idle.
            self.call();
            self.look();
        } else {
            self.fates.insert(no, Fate::Full);
        }
    }

    fn wait(&mut self, lane: usize) {
        let no = self.next_no();
        self.submit(lane, Terms::default());
        if self.fates[&no] == Fate::Full {
            self.fates.insert(no, Fate::Waiting);
            self.gate[lane].push_back((no, self.now + ADMISSION_LIMIT));
        }
    }

    fn leave_gate(&mut self, no: No) {
        self.gate.iter_mut().for_each(|line| line.retain(|(other, _)| *other != no));
        self.fates.insert(no, Fate::Left);
    }

    /// Ends it if it is queued.
    fn withdraw(&mut self, no: No, fate: Fate) {
        for queue in &mut self.queues {
            let before = queue.len();
            queue.retain(|job| job.no != no);
            if queue.len() < before {
                self.fates.insert(no, fate);
            }
        }
    }

    fn run_mut(&mut self, no: No) -> &mut Run {
        self.runs.iter_mut().find(|run| run.job.no == no).expect("it runs")
    }

    /// The worker has no job any more, and no seat.
    fn unseat(&mut self, no: No) -> Run {
        let index = self.runs.iter().position(|run| run.job.no == no).expect("it runs");
        self.runs.remove(index)
    }

    /// Writes an outcome, unless there is one.
    fn end(&mut self, no: No, fate: Fate) {
        if self.fates[&no] == Fate::Open {
            self.fates.insert(no, fate);
        }
    }

    /// The job ends by itself; its worker pays a debt, leaves if it was told to or its turn has come, or goes on.
    fn finish(&mut self, no: No, fate: Fate) {
        self.end(no, fate);
        let owed = self.live() > self.max;
        let has_its_turn = {
            let wear = self.run_mut(no).wear;
            self.has_its_turn(&wear)
        };
        let Run { condemned, mut wear, .. } = self.unseat(no);
        if condemned || owed {
            return;
        }
        if has_its_turn {
            return self.replace_recycled();
        }
        wear.jobs += 1;
        // Control hears of it when the worker has gone on.
        if Some(wear.jobs) == self.setup.after_jobs {
            self.ask_recycle(&mut wear);
        }
        self.go_on(false, wear);
    }

    fn die(&mut self, no: No) {
        self.unasked = true;
        let run = self.unseat(no);
        if run.begun || run.condemned || self.fates[&no] != Fate::Open {
            self.end(no, Fate::Killed);
        } else if run.job.asked {
            self.end(no, Fate::Cancelled);
        } else if run.job.expires <= self.now {
            self.end(no, Fate::Expired);
        } else {
            self.queues[run.job.lane].push_front(run.job);
        }
    }

    fn kill(&mut self, no: No) {
        let run = self.unseat(no);
        if self.setup.killable {
            self.end(run.job.no, Fate::Killed);
        } else {
            self.end(run.job.no, Fate::Abandoned);
            self.abandoned.push(no);
        }
    }

    /// Nothing that was admitted now could run: those who wait are told what whoever comes now is told.
    pub(crate) fn send_away(&mut self) {
        for (no, _) in self.gate.iter_mut().flat_map(|line| line.drain(..)) {
            self.fates.insert(no, Fate::SaturatedByAbandoned);
        }
    }

    fn resize(&mut self, min: usize, max: usize) {
        (self.min, self.max, self.slots) = (min, max, self.slots.max(max));
        while self.live() > self.max && !self.idle.is_empty() {
            self.idle.remove(0);
        }
    }

    fn retune(&mut self, min: usize, max: usize, capacity: [usize; LANES.len()], reserve: usize) {
        // One that is not begun yet may come back.
        let running = self.runs.iter_mut().map(|run| &mut run.job);
        for job in self.queues.iter_mut().flatten().chain(running) {
            job.handed_over &= capacity[job.lane] > 0 || self.setup.capacity[job.lane] == 0;
        }
        (self.setup.capacity, self.setup.reserve) = (capacity, reserve);
        self.resize(min, max);
    }

    fn advance(&mut self, span: u64) {
        self.now += span;
        while let Some(due) = self.next_due() {
            self.work_off(due);
        }
        self.end_delays();
        let late: Vec<No> =
            self.runs.iter().filter(|run| run.kill_at <= Some(self.now)).map(|run| run.job.no).collect();
        for no in late {
            if self.runs.iter().any(|run| run.job.no == no && run.kill_at.is_some()) {
                self.kill(no);
            }
        }
        self.cooling.retain(|until| *until > self.now);
        // Those who overran now have their grace from now on.
        for run in &mut self.runs {
            if run.until <= self.now && run.kill_at.is_none() {
                run.kill_at = Some(self.now + GRACE);
            }
        }
    }

    /// Starts that were put off are made, if they are wanted still.
    fn end_delays(&mut self) {
        let over = self.delayed.extract_if(.., |until| *until <= self.now).count();
        for _ in 0..over {
            if self.wanted() > 0 {
                self.start();
            }
        }
    }

    /// True if, so much later, somebody has waited or queued for too long.
    pub(crate) fn limits_pass(&self, span: u64) -> bool {
        let waiting = self.gate.iter().flatten().map(|(_, until)| *until);
        let queued = self.queues.iter().flatten().map(|job| job.expires);
        waiting.chain(queued).any(|at| at <= self.now + span)
    }

    /// True if, so much later, control takes a worker or fills a slot.
    pub(crate) fn control_is_due(&self, span: u64) -> bool {
        let kills = self.runs.iter().filter_map(|run| run.kill_at);
        kills.chain(self.cooling.iter().chain(&self.delayed).copied()).any(|at| at <= self.now + span)
    }

    /// How many kinds of things are due so much later that have no order among each other.
    pub(crate) fn due_with(&self, span: u64) -> usize {
        let due = [self.limits_pass(span), self.control_is_due(span), self.exits_are_due(span), self.wears_out(span)];
        due.into_iter().filter(|due| *due).count()
    }

    /// The earliest limit that has passed.
    fn next_due(&self) -> Option<Due> {
        let waiting = self.gate.iter().flatten().map(|&(no, until)| (until, Due::Waiting(no)));
        let queued = self.queues.iter().flatten().map(|job| (job.expires, Due::Queued(job.no)));
        let open = self.runs.iter().filter(|run| self.fates[&run.job.no] == Fate::Open);
        let running = open.map(|run| (run.until, Due::Running(run.job.no)));
        let due = waiting.chain(queued).chain(running).min_by_key(|(at, _)| *at)?;
        (due.0 <= self.now).then_some(due.1)
    }

    fn work_off(&mut self, due: Due) {
        match due {
            Due::Waiting(no) => {
                self.leave_gate(no);
                self.fates.insert(no, Fate::GateTimedOut);
            }
            Due::Queued(no) => {
                self.withdraw(no, Fate::Expired);
                self.grant();
            }
            Due::Running(no) => self.end(no, Fate::Expired),
        }
    }

    /// The sum of `queued` over all lanes.
    pub(crate) fn queued(&self) -> usize {
        (0..LANES.len()).map(|lane| self.queues[lane].len()).sum()
    }
}

#[derive(Clone, Copy)]
enum Due {
    Waiting(No),
    Queued(No),
    Running(No),
}
