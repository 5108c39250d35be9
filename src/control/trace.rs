//! What control decides, as structured events for `tracing`: each with the pool and what it is about in fields of their own.
//!
//! Nothing of a user's is formatted here, an error's text least of all: this runs on the control thread. What a failed start said is logged
//! by the policies' thread.

#[cfg(all(test, not(millpond_loom)))]
mod tests;

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::event::PoolEvent;
use super::report::ShutdownReport;
use crate::id::{ClaimNo, WorkerId};
use crate::job::Header;
use crate::policy::{Exit, Restart};
use crate::snapshot::{Delay, Health, Rung, Target};

/// An exit in a word or two, and who asked for it.
fn exit_words(exit: &Exit) -> (&'static str, Option<&str>) {
    match exit {
        Exit::Finished => ("finished", None),
        Exit::Stopped(by) => ("stopped", Some(by)),
        Exit::Retired => ("retired", None),
        Exit::IdleTimeout => ("idle for too long", None),
        Exit::Recycled(_) => ("recycled", None),
        Exit::Panicked => ("panicked", None),
        Exit::Stuck { .. } => ("stuck", Some("watchdog")),
        Exit::Killed(by) => ("killed", Some(by)),
        Exit::FailedToStart(_) => ("failed to start", None),
        Exit::Lost => ("lost", None),
        #[cfg(feature = "process")]
        Exit::Died(_) => ("died", None),
        Exit::TakenAlong { .. } => ("taken along by its job", None),
        Exit::RuntimeGone => ("runtime gone", None),
    }
}

/// One event for each of the pool's.
pub(super) fn trace(pool: &str, event: &PoolEvent) {
    match event {
        PoolEvent::WorkerReady { worker, start_delay } => debug!(pool, %worker, ?start_delay, "a worker is ready"),
        PoolEvent::WorkerGone { worker, exit } => trace_exit(pool, worker, exit),
        PoolEvent::WorkerAbandoned { worker } => {
            warn!(pool, %worker, "a worker cannot be made to end: it is abandoned");
        }
        PoolEvent::RestartDecided { worker, restart } => trace_restart(pool, worker, restart),
        PoolEvent::ProbeSucceeded { worker, cool_downs, out_for } => {
            info!(pool, %worker, cool_downs, ?out_for, "a probe has succeeded: its slot is back");
        }
        PoolEvent::PolicyReplaced { reason } => error!(pool, reason, "a policy is replaced"),
        PoolEvent::Resized { from, to, bounds_from, bounds, by } => {
            let (min, max, min_before, max_before) = (to.min, to.max, from.min, from.max);
            let (min_idle, idle_timeout) = (to.min_idle, to.idle_timeout);
            let (bound, bound_before) = (bounds.max, bounds_from.max);
            info!(pool, min, max, min_before, max_before, bound, bound_before, min_idle, ?idle_timeout, %by, "new limits are in force");
        }
        PoolEvent::Retuned(retuned) => {
            info!(pool, by = %retuned.by, changes = %retuned, "the pool was retuned");
        }
        PoolEvent::Overrun { worker, claim } => {
            warn!(pool, %worker, %claim, "a running job passed its limit: its worker goes down the ladder");
        }
        PoolEvent::Redelivered { .. }
        | PoolEvent::DeadLettered(_)
        | PoolEvent::Quarantined(_)
        | PoolEvent::Released { .. } => trace_delivery(pool, event),
        // Its text was logged where it was found.
        PoolEvent::Deadlock(deadlock) => debug!(pool, waits = deadlock.waits.len() + deadlock.more, "a wait was ended"),
        PoolEvent::Terminated { report, by } => {
            info!(pool, %by, targets = report.targets.len(), "a termination is over");
        }
        PoolEvent::Gate { state, by } => info!(pool, state, %by, "the gate moved"),
        PoolEvent::Health(health) => trace_health(pool, health),
        PoolEvent::RecycleDue { worker, reason } => debug!(pool, %worker, %reason, "a worker is due to be recycled"),
        // `trace_overdue` says it, and which job that is.
        PoolEvent::Overdue { .. } => {}
        PoolEvent::OverdueRung { worker, claim, job, rung, silent_for } => {
            warn!(pool, %worker, %claim, job = job.get(), ?rung, ?silent_for, "a rung of the ladder for an overdue job");
        }
        PoolEvent::LetOff { worker, claim, job, silent_for } => {
            info!(pool, %worker, %claim, job = job.get(), ?silent_for, "an overdue job is let off");
        }
        PoolEvent::Scaled { from, to } => {
            info!(pool, max = to, max_before = from, "the autoscaler has changed the limit")
        }
        PoolEvent::RestartPolicySet { by } => info!(pool, %by, "another restart policy is in force"),
        PoolEvent::Vetoed { question, veto, by: wanted_by } => {
            let (question, worker, by, reason) = (question.word(), question.worker(), &*veto.by, &*veto.reason);
            let worker = worker.map(tracing::field::display);
            info!(pool, question, worker, %wanted_by, by, reason, "a hook denied what the pool was about to do");
        }
        PoolEvent::Delayed { question, delay: Delay { by, delay, .. }, by: wanted_by } => {
            let (question, worker, by) = (question.word(), question.worker(), &**by);
            let worker = worker.map(tracing::field::display);
            info!(pool, question, worker, %wanted_by, by, ?delay, "a hook put off what the pool was about to do");
        }
        PoolEvent::HookFault { hook, question, fault, .. } => {
            let hook = &**hook;
            warn!(pool, hook, question, ?fault, "a hook gave no answer that makes sense: its default counts");
        }
        PoolEvent::Hook { name, change, by } => info!(pool, hook = &**name, ?change, %by, "the hooks changed"),
        // Of one reader alone, who is told.
        PoolEvent::Missed(_) => {}
    }
}

fn trace_exit(pool: &str, worker: &WorkerId, exit: &Exit) {
    let (exit_is, by) = exit_words(exit);
    match exit {
        // With its cause it is a warning of the policies' thread.
        Exit::FailedToStart(_) => debug!(pool, %worker, exit = exit_is, "a worker ended by a fault"),
        _ if exit.is_fault() => warn!(pool, %worker, exit = exit_is, "a worker ended by a fault"),
        Exit::Stuck { rung, .. } => debug!(pool, %worker, exit = exit_is, by, %rung, "a worker is gone"),
        _ => debug!(pool, %worker, exit = exit_is, by, "a worker is gone"),
    }
}

/// What became of jobs under which workers were lost.
fn trace_delivery(pool: &str, event: &PoolEvent) {
    match event {
        PoolEvent::Redelivered { job, label, lost, rests_for } => {
            let (job, label, worker, delivery) = (job.get(), label.as_deref(), lost.worker, lost.number);
            warn!(pool, job, label, %worker, delivery, ?rests_for, "a worker was lost under a job, which is to be delivered again");
        }
        PoolEvent::DeadLettered(letter) => {
            let (job, label, deliveries) = (letter.job.get(), letter.label.as_deref(), letter.deliveries.len());
            error!(pool, job, label, deliveries, "a job is dead-lettered: it is not delivered any more");
        }
        PoolEvent::Quarantined(why) => {
            let (label, deaths, within, lasts) = (&*why.label, why.deaths, why.within, why.until.since(why.since));
            error!(
                pool,
                label,
                deaths,
                ?within,
                ?lasts,
                "a label is in quarantine: workers keep being lost under its jobs"
            );
        }
        PoolEvent::Released { label } => info!(pool, label = &**label, "a label is in quarantine no more"),
        _ => {}
    }
}

fn trace_restart(pool: &str, worker: &WorkerId, restart: &Restart) {
    match restart {
        Restart::After(delay) => info!(pool, %worker, restart = "after", ?delay, "a restart was decided"),
        Restart::CoolDown(delay) => warn!(pool, %worker, restart = "cool down", ?delay, "a slot is out of budget"),
        Restart::Never => warn!(pool, %worker, restart = "never", "a slot stays empty for good"),
        Restart::Escalate(reason) => error!(pool, %worker, restart = "escalate", reason, "the pool is given up"),
    }
}

fn trace_health(pool: &str, health: &Health) {
    match health {
        Health::Healthy => info!(pool, health = "healthy", "the pool's health changed"),
        Health::Degraded { missing, why, .. } => {
            warn!(pool, health = "degraded", missing, %why, "the pool's health changed");
        }
        Health::Unavailable { why, .. } => error!(pool, health = "unavailable", %why, "the pool's health changed"),
    }
}

/// A job makes no progress.
pub(super) fn trace_overdue(pool: &str, worker: WorkerId, claim: ClaimNo, header: &Header, silent_for: Duration) {
    let (job, label, from) = (header.id().get(), header.label().map(|label| &**label), header.submitted_from());
    warn!(pool, %worker, %claim, job, label, %from, ?silent_for, "a job is overdue: it makes no progress");
}

/// A worker's start begins.
pub(super) fn trace_start(pool: &str, worker: WorkerId, restarts: u32) {
    debug!(pool, %worker, restarts, "a worker is being started");
}

/// A target of a termination goes up one rung.
pub(super) fn trace_rung(pool: &str, target: &Target, rung: Rung, by: &str) {
    let rung = match rung {
        Rung::Cancel => "cancel",
        Rung::Stop => "stop",
        Rung::Kill => "kill",
    };
    match *target {
        Target::Worker(worker) => info!(pool, %worker, rung, by, "a rung of the ladder"),
        Target::Claim { worker, claim, job } => {
            info!(pool, %worker, %claim, job = job.get(), rung, by, "a rung of the ladder");
        }
        Target::Queued(job) => info!(pool, job = job.get(), rung, by, "a rung of the ladder"),
    }
}

/// A shutdown is over.
pub(super) fn trace_shutdown(pool: &str, report: &ShutdownReport) {
    let ShutdownReport {
        completed,
        panicked,
        expired,
        not_started,
        cancelled,
        killed,
        abandoned,
        lost,
        dead_lettered,
        took,
    } = *report;
    info!(
        pool,
        completed,
        panicked,
        expired,
        not_started,
        cancelled,
        killed,
        abandoned,
        lost,
        dead_lettered,
        ?took,
        "the pool was shut down"
    );
}
