//! How each fault is done.

use std::time::Duration;

use millpond::{ControlError, Fate, Ladder, NewRestartPolicy, PoolExecutor, Rung, Select, Target, TargetReport};

use crate::allowed::Cause;
use crate::errand::Act;
use crate::hooks;
use crate::kinds::Kind;
use crate::load::VICTIM;
use crate::plan::{Aim, Fault, HOOKS, Mend, RESERVE, Rule, Step};
use crate::policies::Moody;
use crate::site::{LIMIT, Site, limits};

/// Claims that are remembered to be aimed at when they are over.
const OLD: usize = 8;

fn kill() -> Ladder {
    Ladder::new().then(Rung::Kill, Duration::from_millis(5))
}

/// What a termination came to for one target.
fn effect(row: &TargetReport, forced: bool) -> String {
    let how = if forced { "kill" } else { "ladder" };
    match (row.fate, row.rung) {
        (Fate::Stale | Fate::Finished, None) => format!("{how}: came too late"),
        // Which of the two it is depends on the kind of pool.
        (Fate::Killed | Fate::Abandoned, Some(Rung::Kill)) => format!("{how}: taken"),
        (fate, Some(rung)) => format!("{how}: {fate:?} by {rung}"),
        (fate, None) => format!("{how}: {fate:?}"),
    }
}

impl<K: Kind> Site<K> {
    pub fn inflict(&self, step: &Step) {
        match *step {
            Step::Fault(Fault::Panic) => self.put("panicking", || Act::Panics, |options| options),
            Step::Fault(Fault::Silent { obeys }) => {
                let deaf = || Act::Stubborn(Duration::from_millis(50), self.shared.latch());
                let act = || if obeys { Act::Polite } else { deaf() };
                self.put("silent", act, |options| options.overdue_after(Duration::from_millis(1)));
            }
            Step::Fault(Fault::Stubborn(millis)) => {
                let span = Duration::from_millis(millis);
                self.put("stubborn", || Act::Stubborn(span, self.shared.latch()), |options| options);
            }
            Step::Fault(Fault::Kill(aim)) => {
                self.terminate(aim, kill());
            }
            Step::Fault(Fault::Ladder(aim)) => self.terminate(aim, Ladder::graceful(Duration::from_millis(2))),
            Step::Fault(Fault::Crash(which)) => self.crash(which),
            Step::Fault(Fault::FailStarts(how, starts)) => self.starts.fail(how, starts),
            Step::Fault(Fault::Hook(name, habit, patience)) => {
                let hook = hooks::spec(name, habit, patience, &self.shared);
                self.pool.blocking().set_hook(hook, LIMIT).expect("there is room, and control waits for nobody");
            }
            Step::Fault(Fault::Policy(rule)) => self.set_policy(rule),
            Step::Fault(Fault::Resize { min, max }) => self.resize(min, max),
            Step::Fault(Fault::Retune(change)) => self.retune(change),
            Step::Fault(Fault::Quiesce) => self.pool.blocking().quiesce(LIMIT).expect("it is open, or quiesced"),
            Step::Mend(mend) => self.mend(mend),
        }
        std::thread::sleep(Duration::from_micros(500));
    }

    pub fn mend(&self, mend: Mend) {
        match mend {
            Mend::Resume => self.pool.blocking().resume(LIMIT).expect("it is open, or quiesced"),
            Mend::NoAutoscaler => self.no_autoscaler(),
            Mend::Watchdog => self.set_watchdog(),
            Mend::SoundPolicy => self.set_policy(Rule::Sound),
            Mend::RemoveHook(name) => match self.pool.blocking().remove_hook(HOOKS[name], LIMIT) {
                // Another one of that name was removed before, and this one had replaced it.
                Ok(()) | Err(ControlError::Unknown { .. }) => {}
                Err(other) => panic!("{other}"),
            },
        }
    }

    fn set_policy(&self, rule: Rule) {
        let policy = NewRestartPolicy::new(Moody::new(rule, &self.shared));
        self.pool.blocking().set_restart_policy(policy, LIMIT).expect("control waits for nobody");
    }

    /// Hooks are asked, so the answer may take until they are gone.
    fn resize(&self, min: usize, max: usize) {
        let (pool, wanted, shared) = (self.view.clone(), limits::<K>(min, max), self.shared.clone());
        shared.allowed.ask_max(max);
        self.ask(async move {
            let answer = pool.resize(wanted, LIMIT).await;
            shared.allowed.max_answered(max, answer.is_ok());
            match answer {
                Ok(report) if report.to == wanted => {
                    shared.tally.note(if report.debt > 0 { "resize: in force, with debt" } else { "resize: in force" });
                    report.settled().await;
                    Ok(())
                }
                Ok(report) => Err(format!("{wanted} was asked for: {report:?}")),
                Err(ControlError::Vetoed { .. }) => {
                    shared.tally.note("resize: vetoed");
                    Ok(())
                }
                Err(ControlError::Superseded { .. }) => {
                    shared.tally.note("resize: superseded");
                    Ok(())
                }
                // They do not go with the reserve that a retune has set.
                Err(ControlError::Config { conflict: refused, .. }) if min <= RESERVE || max <= RESERVE + 1 => {
                    shared.tally.note(format!("resize: refused: {refused}"));
                    Ok(())
                }
                Err(other) => Err(other.to_string()),
            }
        });
    }

    fn terminate(&self, aim: Aim, ladder: Ladder) {
        let Some(targets) = self.targets(aim) else { return };
        self.shared.books.aim_at(&targets);
        let (pool, shared) = (self.view.clone(), self.shared.clone());
        let forced = ladder == kill();
        if !forced && targets.iter().any(|target| matches!(target, Target::Worker(_))) {
            shared.allowed.cause(Cause::LadderAtWorkers);
        }
        self.ask(async move {
            match pool.terminate(Select::Targets(targets), ladder, LIMIT).await {
                Ok(report) => {
                    for row in &report.targets {
                        shared.tally.note(effect(row, forced));
                    }
                    Ok(())
                }
                Err(other) => Err(other.to_string()),
            }
        });
    }

    fn targets(&self, aim: Aim) -> Option<millpond::Targets> {
        let inventory = self.pool.inventory_now();
        let held: Vec<_> = Select::matching(|row| row.job.is_some()).resolve(&inventory);
        let targets = match aim {
            Aim::Worker(which) => {
                let row = inventory.workers.get(which % inventory.workers.len().max(1))?;
                Select::worker(row.worker).resolve(&inventory)
            }
            Aim::Job(which) => vec![*held.get(which % held.len().max(1))?],
            Aim::Old => std::mem::take(&mut *self.old.lock()),
            Aim::Label => Select::label(VICTIM).resolve(&inventory),
            Aim::Lane => Select::lane("reserved").resolve(&inventory),
            Aim::All => Select::all().resolve(&inventory),
        };
        let mut old = self.old.lock();
        old.extend(held);
        old.truncate(OLD);
        Some(targets)
    }

    /// As somebody would who found it in the tree of actors.
    fn crash(&self, which: usize) {
        let children = self.pool.actor().get_children();
        if let Some(child) = children.get(which % children.len().max(1)) {
            self.shared.allowed.cause(Cause::Crash);
            child.kill();
        }
    }

    pub fn ask(&self, asked: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.asked.lock().push(self.outside.spawn(asked));
    }
}
