//! Commands carried out on the pool, and the pool compared with its model.

use std::time::Duration;

use millpond::{
    ControlError, Fate as Reported, JobError, Ladder, LaneChange, PoolExecutor, Retune, Select, Target, TimeLimit,
    WorkerState,
};

use crate::command::{Command, LANES, Manner, No};
use crate::pond::{PATIENCE, Pond, poll};
use crate::reference::{Fate, Model};

/// What a job returns.
fn output_of(no: No) -> u64 {
    no + 1_000_000
}

pub(crate) fn fate(no: No, outcome: Result<u64, JobError>) -> Fate {
    match outcome {
        Ok(output) => {
            assert_eq!(output, output_of(no), "somebody else's output");
            Fate::Completed
        }
        Err(JobError::Panicked(_)) => Fate::Panicked,
        Err(JobError::Cancelled(_)) => Fate::Cancelled,
        Err(JobError::TimedOut(_)) => Fate::Expired,
        Err(JobError::StartFailed(_)) => Fate::StartFailed,
        Err(JobError::Killed(_)) => Fate::Killed,
        Err(JobError::Abandoned(_)) => Fate::Abandoned,
        Err(other) => panic!("job {no}: {other}"),
    }
}

fn bounds(capacity: [usize; LANES.len()], reserve: usize) -> Retune {
    let change = |lane: usize| LaneChange::new(LANES[lane]).capacity(capacity[lane]);
    Retune::new().lane(change(0)).lane(change(1).reserve(reserve))
}

/// Other limits are put in force, unless the hook denies them.
fn is_made(answer: Result<(), ControlError>, model: &Model) {
    match answer {
        Ok(()) => assert_ne!(model.hook, Some(Manner::DeniesLimits), "it was asked"),
        Err(ControlError::Vetoed { .. }) => assert_eq!(model.hook, Some(Manner::DeniesLimits)),
        Err(other) => panic!("the reserve fits: {other}"),
    }
}

impl Pond {
    /// `model` is where the command leads.
    pub(crate) fn step(&mut self, command: &Command, model: &Model) {
        match *command {
            Command::Submit { lane, terms } => self.try_submit(lane, terms),
            Command::Wait { lane } => self.wait(lane),
            Command::LeaveGate(no) => {
                drop(self.submissions.remove(&no).expect("it waits"));
                self.fates.insert(no, Fate::Left);
            }
            Command::Cancel(no) => self.handles[&no].cancel(),
            Command::Begin(no) => self.begin(no),
            Command::Finish(no) => self.finish(no, true),
            Command::Panic(no) => self.finish(no, false),
            Command::Die(no) => {
                let worker = self.holder(no).0;
                self.script.die(worker);
            }
            Command::DieIdle => self.script.die(self.an_idle_worker()),
            Command::Kill(no) => self.kill(Select::job(self.ids[&no]), model),
            Command::KillWorkerOf(no) => {
                let worker = self.holder(no).0;
                self.kill(Select::worker(worker), model);
            }
            Command::KillIdle => self.kill(Select::worker(self.an_idle_worker()), model),
            Command::KillStale => self.kill_stale(),
            Command::Stop(no) => {
                let target = self.holder(no).1;
                self.stop(Select::Targets(vec![target]));
            }
            Command::Return(no) => self.come_back(no),
            Command::Resize { min, max } => {
                let answer = self.pool.blocking().resize(self.limits(min, max), PATIENCE);
                is_made(answer.map(|report| assert_eq!((report.to.min, report.to.max), (min, max))), model);
            }
            Command::Retune { min, max, capacity, reserve } => {
                let change = bounds(capacity, reserve).limits(self.limits(min, max));
                is_made(self.pool.blocking().retune(change, PATIENCE).map(drop), model);
            }
            Command::RetuneInVain { capacity } => {
                let refused = self.pool.blocking().retune(bounds(capacity, 100), PATIENCE);
                refused.expect_err("nobody has so many seats");
            }
            Command::FailNextStart => self.script.refuse_next_start(),
            Command::HoldNextStart => self.hold_next_start(),
            Command::ComeUp => self.come_up(),
            Command::Quiesce => self.pool.blocking().quiesce(PATIENCE).expect("it is open"),
            Command::Resume => self.pool.blocking().resume(PATIENCE).expect("it is quiesced"),
            Command::Hook(manner) => self.set_hook(manner),
            Command::NoHook => self.remove_hook(),
            Command::Advance(span) => self.advance(span, model),
        }
    }

    /// A worker that has not begun its job begins it.
    fn begin(&mut self, no: No) {
        let worker = self.holder(no).0;
        if let Some(begun) = self.script.take(worker) {
            assert_eq!(begun, no, "the worker holds another job than inventory says");
        }
    }

    fn finish(&mut self, no: No, well: bool) {
        self.begin(no);
        let (worker, target) = self.holder(no);
        let finished = if well { self.script.finish(worker, output_of(no)) } else { self.script.panic(worker) };
        assert!(finished, "job {no} is not in the hands of {worker}");
        self.stale = Some(target);
    }

    /// The code of an abandoned worker returns, and its thread ends.
    fn come_back(&mut self, no: No) {
        self.begin(no);
        let worker = self.holder(no).0;
        assert!(self.script.finish(worker, output_of(no)), "it held its job all the time");
        self.script.die(worker);
    }

    fn kill(&mut self, select: Select, _model: &Model) {
        let by_worker = matches!(select, Select::Worker(_));
        let mut asked = self.start_termination(select, Ladder::kill());
        let report = loop {
            self.come_to_rest();
            if let Some(report) = poll(&mut asked) {
                break report;
            }
        };
        let [target] = report.targets.as_slice() else { panic!("one was asked for: {report:?}") };
        let expected = match target.target {
            Target::Queued(_) => Reported::Withdrawn,
            _ if self.killable => Reported::Killed,
            // One that idled has left when it was told to.
            _ if by_worker && target.fate == Reported::Killed => Reported::Killed,
            _ => Reported::Abandoned,
        };
        assert_eq!(target.fate, expected, "{target:?}");
    }

    /// A message about a claim that is over hits nobody; that nothing changes is for the comparison to see.
    fn kill_stale(&mut self) {
        let Some(target) = self.stale else { return };
        let report = self.pool.blocking().terminate(Select::Targets(vec![target]), Ladder::kill(), PATIENCE);
        let report = report.expect("control answers");
        assert!(matches!(report.targets[0].fate, Reported::Finished | Reported::Stale), "{report:?}");
    }

    fn advance(&mut self, span: u64, model: &Model) {
        self.clock.advance(Duration::from_millis(span));
        // The outcome of a limit that passed is there when the tick is over, before anybody else has done anything.
        for no in model.having(Fate::Expired) {
            if let Some(handle) = self.handles.get(&no) {
                assert_eq!(handle.status(), millpond::JobStatus::Done, "job {no} outlived its limit");
            }
        }
    }

    /// What must hold whatever the model says.
    pub(crate) fn check_invariants(&self) {
        let seen = self.pool.saturation();
        assert!(seen.active <= seen.limit + seen.debt + seen.abandoned, "{seen}");
        let ledger = self.pool.snapshot().ledger;
        assert!(ledger.balances(), "{ledger}");
    }

    /// The pool is what the model says.
    pub(crate) fn check(&mut self, model: &Model) {
        assert_eq!(self.fates, model.fates, "\n{}\n{model:#?}", self.pool.inventory_now());
        let seen = self.pool.saturation();
        let debt = model.live().saturating_sub(model.max);
        let found =
            (seen.limit, seen.debt, seen.active, seen.idle, seen.starting, seen.abandoned, seen.queued, seen.waiting);
        let expected = (
            model.max,
            debt,
            model.runs.len(),
            model.idle.len(),
            model.coming.len(),
            model.abandoned.len(),
            model.queued(),
            model.at_gate().len(),
        );
        let inventory = self.pool.inventory_now();
        assert_eq!(
            found, expected,
            "limit, debt, active, idle, starting, abandoned, queued, waiting\n{inventory}\n{model:#?}"
        );
        // Whose turn it was to leave.
        let mut idle: Vec<_> = inventory.workers.iter().filter(|row| row.state == WorkerState::Idle).collect();
        idle.sort_by_key(|row| (row.since, row.jobs_done));
        let mut expected = model.idle.clone();
        expected.sort_by_key(|idler| (idler.since, idler.wear.jobs));
        let found: Vec<_> = idle.iter().map(|row| (row.since.as_nanos() / 1_000_000, row.jobs_done)).collect();
        let expected: Vec<_> = expected.iter().map(|idler| (idler.since, idler.wear.jobs)).collect();
        assert!(
            !model.minds_who() || found == expected,
            "{found:?}, {expected:?}: those that idle, since when, with so many jobs behind them\n{inventory}\n{model:#?}"
        );
        let (found, expected) = ((self.turns.idled_out, self.turns.recycled), (model.idled_out, model.recycled));
        assert_eq!(found, expected, "idled for too long, recycled\n{inventory}\n{model:#?}");
        let snapshot = self.pool.snapshot();
        for lane in 0..LANES.len() {
            let seen = &snapshot.lanes[lane];
            let expected = (model.queues[lane].len(), model.busy(lane), model.gate[lane].len());
            assert_eq!((seen.queued, seen.active, seen.waiting), expected, "lane {}", seen.name);
            assert_eq!(
                (seen.capacity, seen.reserve),
                (model.setup.capacity[lane], model.reserve(lane)),
                "lane {}",
                seen.name
            );
        }
        self.check_ledger(model);
    }

    fn check_ledger(&mut self, model: &Model) {
        let ledger = self.pool.snapshot().ledger;
        let count = |fates: &[Fate]| fates.iter().map(|fate| model.having(*fate).len() as u64).sum::<u64>();
        let found = [
            ledger.offered,
            ledger.rejected,
            ledger.withdrawn,
            ledger.waiting,
            ledger.pending,
            ledger.completed,
            ledger.panicked,
            ledger.cancelled,
            ledger.expired,
            ledger.not_started,
            ledger.killed,
            ledger.abandoned,
            ledger.lost,
        ];
        let expected = [
            model.fates.len() as u64,
            count(&[Fate::Full, Fate::SaturatedByAbandoned, Fate::GateTimedOut]),
            count(&[Fate::Left]),
            count(&[Fate::Waiting]),
            count(&[Fate::Open]),
            count(&[Fate::Completed]),
            count(&[Fate::Panicked]),
            count(&[Fate::Cancelled]),
            count(&[Fate::Expired]),
            count(&[Fate::StartFailed]),
            count(&[Fate::Killed]),
            count(&[Fate::Abandoned]),
            0,
        ];
        assert_eq!(found, expected, "{ledger}\n{model:#?}");
        assert!(ledger.ended() >= self.ledger.ended() && ledger.accepted >= self.ledger.accepted, "it ran backwards");
        self.ledger = ledger;
    }

    /// The pool ends, and every thread with it.
    pub(crate) fn shut_down(self) {
        let pool = self.pool.clone();
        let mut ending = Box::pin(async move { pool.shutdown(TimeLimit::secs(10)).await });
        for _ in 0..100_000 {
            if let Some(report) = poll(&mut ending) {
                report.expect("control answers");
                return;
            }
            for row in self.pool.inventory_now().workers {
                if row.state == WorkerState::Leaving {
                    self.script.die(row.worker);
                }
            }
            // Each round waits for control, which may be kept from the processor for long. It may have ended by now.
            drop(self.pool.blocking().inventory(PATIENCE));
        }
        panic!("the pool does not end: {}", self.pool.inventory_now());
    }
}
