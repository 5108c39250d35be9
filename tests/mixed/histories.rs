//! Random histories: whatever happens to members and jobs, each job has one outcome, the ledger balances, and none runs twice that may not.
//!
//! A failure says its seed; `MILLPOND_MIXED_SEED=7` runs that one alone, `MILLPOND_MIXED=2000` more of them.

use std::collections::HashMap;
use std::time::Duration;

use millpond::{PoolExecutor, WorkerId};
use millpond_supervisors::mixed::{LeastLoaded, MixedError, MixedHandle};

use crate::rig::{LIMIT, SECOND, Stage, beside, soon, stage, until};

const STEPS: usize = 60;
/// Added to a job, it is its output.
const OUTPUT: u64 = 1_000_000;

/// Numbers that depend on the seed alone (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    fn one_of<'a, V>(&mut self, all: &'a [V]) -> Option<&'a V> {
        (!all.is_empty()).then(|| &all[self.roll(all.len() as u64) as usize])
    }
}

struct History {
    stage: Stage,
    dice: Dice,
    handles: Vec<(u64, MixedHandle<u64>)>,
    accepted: u64,
    rejected: u64,
    /// Which jobs may run more than once.
    repeatable: Vec<u64>,
    /// How often each has begun.
    begun: HashMap<u64, u32>,
    /// Who has which in hand.
    held: HashMap<(usize, WorkerId), u64>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (members, queue) = (2 + dice.roll(2) as usize, dice.roll(3) as usize);
        let (places, least) = (3 + dice.roll(6) as usize, dice.roll(2) == 0);
        let stage = stage("history", members, queue, |builder| {
            let builder = builder.places(places).reject_when_full();
            if least { builder.route(LeastLoaded) } else { builder }
        });
        Self {
            stage,
            dice,
            handles: Vec::new(),
            accepted: 0,
            rejected: 0,
            repeatable: Vec::new(),
            begun: HashMap::new(),
            held: HashMap::new(),
        }
    }

    fn submit(&mut self) {
        let job = self.accepted + self.rejected;
        let mut submitter = self.stage.pool.job().label(["one", "other"][self.dice.roll(2) as usize]);
        submitter = match self.dice.roll(3) {
            0 => submitter,
            1 => submitter.again_if_not_begun(),
            _ => {
                self.repeatable.push(job);
                submitter.repeatable()
            }
        };
        submitter = match self.dice.roll(6) {
            0 => submitter.deadline_in(SECOND * 3),
            1 => submitter.queue_limit(SECOND * 2),
            2 => submitter.run_limit(SECOND * 2),
            _ => submitter,
        };
        match submitter.try_submit(job) {
            Ok(handle) => {
                self.accepted += 1;
                self.handles.push((job, handle));
            }
            Err(rejected) => {
                assert_eq!(rejected.into_job(), job);
                self.rejected += 1;
            }
        }
    }

    fn worker(&mut self) -> Option<(usize, WorkerId)> {
        let member = self.dice.roll(self.stage.members.len() as u64) as usize;
        let alive = self.stage.members[member].1.alive();
        self.dice.one_of(&alive).map(|&worker| (member, worker))
    }

    fn take(&mut self) {
        let Some((member, worker)) = self.worker() else { return };
        let Some(job) = self.stage.members[member].1.take(worker) else { return };
        assert!(self.held.values().all(|held| *held != job), "job {job} is in two hands");
        let begun = self.begun.entry(job).or_default();
        *begun += 1;
        assert!(*begun == 1 || self.repeatable.contains(&job), "job {job} may not run twice");
        assert!(*begun as usize <= self.stage.members.len(), "job {job} comes back to who has had it");
        self.held.insert((member, worker), job);
    }

    fn end_one(&mut self) {
        let Some(at @ (member, worker)) = self.worker() else { return };
        let script = &self.stage.members[member].1;
        let output = self.held.get(&at).map_or(0, |job| job + OUTPUT);
        // First, as it may be in other hands at once.
        self.held.remove(&at);
        match self.dice.roll(5) {
            0 => script.die(worker),
            1 => _ = script.panic(worker),
            _ => _ = script.finish(worker, output),
        }
    }

    fn disturb(&mut self) {
        let member = self.dice.roll(self.stage.members.len() as u64) as usize;
        let pool = &self.stage.members[member].0;
        match self.dice.roll(20) {
            0 => pool.abort(),
            1..9 => _ = soon(pool.quiesce(LIMIT)),
            _ => _ = soon(pool.resume(LIMIT)),
        }
    }

    fn step(&mut self) {
        match self.dice.roll(16) {
            0..5 => self.submit(),
            5..9 => self.take(),
            9..12 => self.end_one(),
            12 => self.disturb(),
            13 => self.stage.clock.advance(Duration::from_millis(self.dice.roll(1_500))),
            14 => {
                if let Some((_, handle)) = self.dice.one_of(&self.handles) {
                    handle.cancel();
                }
            }
            _ => {
                if !self.handles.is_empty() && self.dice.roll(3) == 0 {
                    let which = self.dice.roll(self.handles.len() as u64) as usize;
                    drop(self.handles.swap_remove(which));
                }
            }
        }
    }

    /// Ends it, in one way or another, and holds what came of it against what must hold.
    fn end(mut self) {
        let pool = self.stage.pool.clone();
        if self.dice.roll(2) == 0 {
            pool.abort();
        } else {
            let ends = pool.clone();
            let shutdown = beside(async move { ends.shutdown((SECOND * 8).into()).await });
            until("it has ended", || {
                self.stage.clock.advance(SECOND / 2);
                // Or members would seem not to answer, on a clock that runs so fast.
                std::thread::sleep(Duration::from_millis(3));
                shutdown.is_finished()
            });
            let report = soon(shutdown).expect("it does not panic");
            assert!(report.ledger.balances(), "{}", report.ledger);
            if report.members.iter().any(|member| member.reply.is_err()) {
                // The clock has outrun a member's control, which would wait for a time that does not come any more.
                pool.abort();
            }
        }
        let mut completed = 0;
        for (job, handle) in self.handles.drain(..) {
            let outcome: Result<u64, Box<MixedError>> = soon(handle);
            completed += u64::from(outcome.is_ok());
            assert!(outcome.as_ref().is_err() || outcome.as_ref().ok() == Some(&(job + OUTPUT)), "{job}: {outcome:?}");
        }
        self.stage.at_rest();
        let ledger = pool.ledger();
        assert_eq!((ledger.accepted, ledger.rejected, ledger.withdrawn), (self.accepted, self.rejected, 0), "{ledger}");
        assert!(completed <= ledger.completed, "{ledger}");
        assert_eq!((pool.inventory_now().waiting_here, pool.route_fault()), (0, None));
        for (member, _) in &self.stage.members {
            until("no job is left in a member", || member.snapshot().ledger.pending == 0);
            assert!(member.snapshot().ledger.balances());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn each_job_has_one_outcome_whatever_happens() {
    let seeds = match number("MILLPOND_MIXED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MILLPOND_MIXED").unwrap_or(200),
    };
    for seed in seeds {
        let run = || {
            let mut history = History::new(seed);
            (0..STEPS).for_each(|_| history.step());
            history.end();
        };
        if std::panic::catch_unwind(run).is_err() {
            panic!("a history fails: MILLPOND_MIXED_SEED={seed}");
        }
    }
}
