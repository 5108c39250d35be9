//! The pool, its workers' strings, and the clock: how commands reach it, and when it has come to rest.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    EventStream, Exit, Inventory, JobHandle, JobId, JobOptions, Lane, Ledger, Limits, Pool, PoolBuilder, PoolEvent,
    PoolExecutor, Recycle, RejectReason, Rejected, Restart, RestartPolicy, SlotHistory, StartError, Target,
    TerminationReport, TimeLimit, Timestamp, WorkerId, WorkerRow, WorkerState,
};

use crate::command::{LANES, No, Terms};
use crate::reference::{Fate, Setup};
use crate::turns::Turns;
use crate::{ADMISSION_LIMIT, BACKOFF, GRACE};

/// On the pool's own clock, which stands still: replies are waited for.
pub(crate) const PATIENCE: TimeLimit = TimeLimit::secs(1_000_000);

/// More rounds than this, and the pool never comes to rest.
const ROUNDS: usize = 100_000;

type Submission = Pin<Box<dyn Future<Output = Result<JobHandle<u64>, Rejected<u64>>>>>;
type Termination = Pin<Box<dyn Future<Output = TerminationReport>>>;

/// A crash is forgiven at once, a start that failed after a fixed time.
struct Policy;

impl RestartPolicy for Policy {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, exit: &Exit) -> Restart {
        let failed = matches!(exit, Exit::FailedToStart(error) if matches!(**error, StartError::Refused(_)));
        Restart::After(Duration::from_millis(if failed { BACKOFF } else { 0 }))
    }
}

pub(crate) struct Pond {
    pub(crate) pool: Pool<Scripted>,
    pub(crate) script: Script,
    pub(crate) clock: SettableClock,
    pub(crate) killable: bool,
    idle_timeout: Option<u64>,
    min_idle: usize,
    /// Which starts, counted from the first one, take their time.
    held: Vec<usize>,
    /// There is a hook.
    pub(crate) hooked: bool,
    events: EventStream,
    /// Faults reported and decisions made: a policy that still thinks leaves them apart.
    faults: usize,
    decisions: usize,
    pub(crate) turns: Turns,
    /// Who waits at the gate.
    pub(crate) submissions: BTreeMap<No, Submission>,
    pub(crate) handles: BTreeMap<No, JobHandle<u64>>,
    pub(crate) ids: BTreeMap<No, JobId>,
    pub(crate) fates: BTreeMap<No, Fate>,
    /// Stops that nobody waits for.
    stops: Vec<Termination>,
    /// A claim that is over.
    pub(crate) stale: Option<Target>,
    pub(crate) ledger: Ledger,
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl Pond {
    pub(crate) fn new(setup: &Setup) -> Self {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        let (backend, script) = Scripted::new(setup.killable);
        let clock = SettableClock::new();
        let lane = |index: usize| {
            let limit = Duration::from_millis(ADMISSION_LIMIT);
            Lane::new(LANES[index]).capacity(setup.capacity[index]).admission_limit(limit)
        };
        let name = format!("model-{}", POOLS.fetch_add(1, Ordering::Relaxed));
        let pool = PoolBuilder::new(&name, backend)
            .limits(limits(setup.min, setup.max, setup.idle_timeout).min_idle(setup.min_idle))
            .default_lane(lane(0))
            .lane(lane(1).reserve(setup.reserve))
            .abandoned_cap(setup.abandoned_cap)
            .kill_grace(Duration::from_millis(GRACE))
            .start_limit(Duration::from_secs(3600))
            .restart_policy(Policy)
            .recycle(recycle(setup))
            .clock(clock.clock())
            .build()
            .expect("the generator makes sense");
        Self {
            events: pool.events(),
            pool,
            script,
            clock,
            killable: setup.killable,
            idle_timeout: setup.idle_timeout,
            min_idle: setup.min_idle,
            held: Vec::new(),
            hooked: false,
            faults: 0,
            decisions: 0,
            turns: Turns::new(setup),
            submissions: BTreeMap::new(),
            handles: BTreeMap::new(),
            ids: BTreeMap::new(),
            fates: BTreeMap::new(),
            stops: Vec::new(),
            stale: None,
            ledger: Ledger::default(),
        }
    }

    // ---- coming to rest ------------------------------------------------------------------------------------------------

    /// Lets everything happen that happens by itself: workers that were woken look for work, those told to leave leave,
    /// submitters get their places, outcomes are read.
    pub(crate) fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS {
            let inventory = self.control_at_rest();
            let moves = self.leave(&inventory) || self.poll_all() | self.move_a_worker(&inventory);
            // One that was told to look may have found its turn to go.
            if !moves && !self.somebody_leaves() {
                return;
            }
        }
        panic!("the pool does not come to rest: {}", self.pool.inventory_now());
    }

    /// Control has worked off all that it was told, and what followed from that.
    fn control_at_rest(&mut self) -> Inventory {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = (self.faults, self.decisions);
            let inventory = self.pool.blocking().inventory(PATIENCE).expect("control answers");
            self.read_events();
            let unchanged = before == (self.faults, self.decisions) && self.nobody_is_asked();
            quiet = if unchanged && self.nobody_is_on_the_way(&inventory) { quiet + 1 } else { 0 };
            // Twice: what a worker that is gone has told control came before the second question.
            if quiet == 2 {
                return inventory;
            }
            std::thread::yield_now();
        }
        panic!("control does not come to rest: {}", self.pool.inventory_now());
    }

    fn read_events(&mut self) {
        while let Some(event) = self.events.try_next() {
            self.turns.note(&event, self.pool.snapshot().limits);
            match event {
                PoolEvent::WorkerGone { exit, .. } if exit.is_fault() => self.faults += 1,
                PoolEvent::RestartDecided { .. } => self.decisions += 1,
                PoolEvent::PolicyReplaced { reason } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    /// No worker is coming up, dying, or waiting for a policy.
    fn nobody_is_on_the_way(&self, inventory: &Inventory) -> bool {
        let alive = self.script.alive();
        let mut listed: Vec<_> = inventory.workers.iter().map(|row| row.worker).collect();
        listed.sort();
        self.faults == self.decisions
            && alive == listed
            && inventory.workers.iter().all(|row| row.state != WorkerState::Starting || self.is_held(row.worker))
            && !(self.killable && self.script.kills().iter().any(|killed| alive.contains(killed)))
    }

    /// The next worker that is started is not up before it is told to be.
    pub(crate) fn hold_next_start(&mut self) {
        self.held.push(self.script.started().len());
        self.script.hang_next_start();
    }

    fn is_held(&self, worker: WorkerId) -> bool {
        let started = self.script.started();
        self.held.iter().any(|index| started.get(*index) == Some(&worker))
    }

    /// The one that has been on its way for longest is up. What it takes it begins, as whoever comes up.
    pub(crate) fn come_up(&mut self) {
        let index = self.held.remove(0);
        self.script.take(self.script.started()[index]);
    }

    fn move_a_worker(&mut self, inventory: &Inventory) -> bool {
        inventory.workers.iter().any(|row| match row.state {
            // A scripted worker's waker wakes nobody: it looks when it is told to, and finds a job only if it was notified.
            WorkerState::Idle => self.script.take(row.worker).is_some(),
            // The first claim of an incarnation may be made as it comes up: it is begun, whoever was quicker.
            WorkerState::Busy | WorkerState::Condemned if is_first_claim(row) => self.script.take(row.worker).is_some(),
            _ => false,
        })
    }

    fn somebody_leaves(&self) -> bool {
        self.pool.inventory_now().workers.iter().any(|row| row.state == WorkerState::Leaving)
    }

    /// Whoever leaves has gone before anybody else moves.
    fn leave(&mut self, inventory: &Inventory) -> bool {
        let leaving: Vec<_> = inventory.workers.iter().filter(|row| row.state == WorkerState::Leaving).collect();
        leaving.iter().for_each(|row| self.script.die(row.worker));
        !leaving.is_empty()
    }

    /// Those who wait look whether they were told.
    fn poll_all(&mut self) -> bool {
        let mut entered = false;
        let waiting: Vec<No> = self.submissions.keys().copied().collect();
        for no in waiting {
            let submission = self.submissions.get_mut(&no).expect("it was there");
            if let Some(result) = poll(submission) {
                self.submissions.remove(&no);
                self.entered(no, result);
                entered = true;
            }
        }
        let handles = std::mem::take(&mut self.handles);
        for (no, mut handle) in handles {
            match poll(&mut handle) {
                Some(outcome) => drop(self.fates.insert(no, crate::check::fate(no, outcome))),
                None => drop(self.handles.insert(no, handle)),
            }
        }
        self.stops.retain_mut(|stop| poll(stop).is_none());
        entered
    }

    // ---- what commands are made of -------------------------------------------------------------------------------------

    pub(crate) fn entered(&mut self, no: No, result: Result<JobHandle<u64>, Rejected<u64>>) {
        let fate = match result {
            Ok(handle) => {
                self.ids.insert(no, handle.id());
                self.handles.insert(no, handle);
                Fate::Open
            }
            Err(rejected) => match rejected.into_parts() {
                (job, _) if job != no => panic!("job {no} comes back as {job}"),
                (_, RejectReason::Full { .. }) => Fate::Full,
                (_, RejectReason::SaturatedByAbandoned { .. }) => Fate::SaturatedByAbandoned,
                (_, RejectReason::AdmissionTimedOut { .. }) => Fate::GateTimedOut,
                (_, reason) => panic!("{reason}"),
            },
        };
        self.fates.insert(no, fate);
    }

    pub(crate) fn next_no(&self) -> No {
        self.fates.len() as No
    }

    pub(crate) fn try_submit(&mut self, lane: usize, terms: Terms) {
        let mut options = JobOptions::new().lane(LANES[lane]);
        let millis = Duration::from_millis;
        if let Some(limit) = terms.queue {
            options = options.queue_limit(millis(limit));
        }
        if let Some(limit) = terms.run {
            options = options.run_limit(millis(limit));
        }
        if let Some(span) = terms.deadline {
            options = options.deadline_in(millis(span));
        }
        let no = self.next_no();
        let result = self.pool.with(options).try_submit(no);
        self.entered(no, result);
    }

    pub(crate) fn wait(&mut self, lane: usize) {
        let (no, pool) = (self.next_no(), self.pool.clone());
        let mut submission: Submission =
            Box::pin(async move { pool.with(JobOptions::new().lane(LANES[lane])).submit(no).await });
        match poll(&mut submission) {
            Some(result) => self.entered(no, result),
            None => {
                self.fates.insert(no, Fate::Waiting);
                self.submissions.insert(no, submission);
            }
        }
    }

    /// The worker that holds this job, and its claim.
    pub(crate) fn holder(&mut self, no: No) -> (WorkerId, Target) {
        let id = self.ids[&no];
        let inventory = self.pool.inventory_now();
        let holds = |row: &&WorkerRow| row.job.as_ref().is_some_and(|job| job.id == id);
        let row = inventory.workers.iter().find(holds).unwrap_or_else(|| panic!("nobody holds {no}:\n{inventory}"));
        let claim = row.job.as_ref().expect("it holds it").claim;
        (row.worker, Target::Claim { worker: row.worker, claim, job: id })
    }

    /// The one that has idled for longest; of several, the one with the fewest jobs.
    pub(crate) fn an_idle_worker(&self) -> WorkerId {
        let inventory = self.pool.inventory_now();
        let idle = inventory
            .workers
            .iter()
            .filter(|row| row.state == WorkerState::Idle)
            .min_by_key(|row| (row.since, row.jobs_done));
        idle.unwrap_or_else(|| panic!("nobody idles:\n{inventory}")).worker
    }

    pub(crate) fn limits(&self, min: usize, max: usize) -> Limits {
        limits(min, max, self.idle_timeout).min_idle(self.min_idle)
    }

    pub(crate) fn start_termination(&self, select: millpond::Select, how: millpond::Ladder) -> Termination {
        let pool = self.pool.clone();
        let mut asked: Termination =
            Box::pin(async move { pool.terminate(select, how, PATIENCE).await.expect("control answers") });
        // The first poll sends the message.
        match poll(&mut asked) {
            Some(report) => Box::pin(std::future::ready(report)),
            None => asked,
        }
    }

    pub(crate) fn stop(&mut self, select: millpond::Select) {
        let grace = Duration::from_millis(GRACE);
        let stop = self.start_termination(select, millpond::Ladder::new().then(millpond::Rung::Stop, grace));
        self.stops.push(stop);
    }
}

fn recycle(setup: &Setup) -> Recycle {
    let mut rule = Recycle::new();
    if let Some(jobs) = setup.after_jobs {
        rule = rule.after_jobs(jobs);
    }
    if let Some(age) = setup.after_age {
        rule = rule.after_age(Duration::from_millis(age));
    }
    rule
}

fn is_first_claim(row: &WorkerRow) -> bool {
    row.job.as_ref().is_some_and(|job| job.claim.to_string() == "1")
}

fn limits(min: usize, max: usize, idle_timeout: Option<u64>) -> Limits {
    Limits::new(min, max).idle_timeout(idle_timeout.map(Duration::from_millis))
}
