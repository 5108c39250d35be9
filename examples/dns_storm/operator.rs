//! What an operator does while the storm runs: look round, take out the job that has run longest, make the pool bigger.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond::{
    ControlError, Inventory, JobHandle, JobOptions, Ladder, Limits, PoolExecutor, Select, ThreadPool, TimeLimit,
    WorkerRow,
};
use serde_json::{Value, json};

use crate::pond::{finish, in_lane, look_up, reserved_pool, slow_calls};
use crate::report::{Operation, Phase};
use crate::stats::milliseconds;
use crate::storm::{Names, THREADS, paced, runtime};

/// A call that nobody should have made from here: it keeps its thread for a minute.
const STUCK_CALL: Duration = Duration::from_secs(60);
/// Look-ups in each phase: a second of them.
const LOOK_UPS: usize = 20;

pub(crate) fn operate(names: Names) -> Result<Operation, Box<dyn Error>> {
    runtime()?.block_on(async {
        let pool = reserved_pool("operator")?;
        let stuck = pool.with(JobOptions::new().label("stuck_call")).submit(|| std::thread::sleep(STUCK_CALL)).await?;
        let slow = slow_calls(&pool).await?;
        let before = phase(&pool, &names, "before the kill").await;

        let (inventory, looked_ms) = timed(pool.inventory(TimeLimit::default())).await?;
        let ((killed, outcome), killed_ms) = kill_longest(&pool, &inventory, stuck).await?;
        let between = phase(&pool, &names, "after the kill").await;

        let larger = Limits::fixed(2 * THREADS);
        let (_in_force, resized_ms) = timed(pool.resize(larger, TimeLimit::default())).await?;
        let after = phase(&pool, &names, "after the resize").await;

        let saturation = pool.saturation().to_string();
        finish(&pool, slow).await?;
        Ok(Operation {
            rows: inventory.workers.iter().map(row_to_json).collect(),
            inventory: inventory.to_string(),
            killed,
            outcome,
            saturation,
            control_ms: [("inventory", looked_ms), ("kill", killed_ms), ("resize", resized_ms)],
            phases: [("before_kill", before), ("after_kill", between), ("after_resize", after)],
        })
    })
}

/// Kills the job that has run longest: says which it was, and what its submitter was told.
///
/// The target is the job, so if it ended since the inventory, whatever its worker does now is not hit.
async fn kill_longest(
    pool: &ThreadPool,
    inventory: &Inventory,
    stuck: JobHandle<()>,
) -> Result<((String, String), f64), Box<dyn Error>> {
    let longest = inventory.longest_active().ok_or("nobody is active in the middle of a storm")?;
    let job = longest.job.as_ref().ok_or("an active worker has a job")?;
    let label = job.label.as_deref().unwrap_or("-");
    let killed = format!("worker {} `{label}`, active {:.1} s", longest.worker, job.running_for.as_secs_f64());
    let (_report, ms) = timed(pool.terminate(Select::job(job.id), Ladder::kill(), TimeLimit::default())).await?;
    let outcome = match stuck.await {
        Ok(()) => "it ended by itself".to_owned(),
        Err(error) => error.to_string(),
    };
    Ok(((killed, outcome), ms))
}

/// A second of look-ups, and how fast the slow calls went meanwhile.
async fn phase(pool: &Arc<ThreadPool>, names: &Names, title: &'static str) -> Phase {
    let (begun, completed) = (Instant::now(), pool.snapshot().ledger.completed);
    let look_ups = paced(names, LOOK_UPS, |name| look_up(pool, in_lane(), name)).await;
    let all = pool.snapshot().ledger.completed - completed;
    let slow = all.saturating_sub(LOOK_UPS as u64);
    Phase { title, look_ups, slow_calls_per_s: slow as f64 / begun.elapsed().as_secs_f64() }
}

/// A control call's reply, and the milliseconds until it came.
async fn timed<T>(reply: impl Future<Output = Result<T, ControlError>>) -> Result<(T, f64), ControlError> {
    let asked = Instant::now();
    let reply = reply.await?;
    Ok((reply, milliseconds(asked.elapsed())))
}

fn row_to_json(row: &WorkerRow) -> Value {
    json!({
        "worker": row.worker.to_string(),
        "state": row.state.to_string(),
        "in_state_ms": milliseconds(row.in_state_for),
        "jobs_done": row.jobs_done,
        "restarts": row.restarts,
        "job": row.job.as_ref().map(|job| json!({
            "id": job.id.get(),
            "label": job.label.as_deref(),
            "lane": &*job.lane,
            "submitted_from": format!("{}:{}", job.submitted_from.file(), job.submitted_from.line()),
            "queue_wait_ms": milliseconds(job.queue_wait),
            "running_ms": milliseconds(job.running_for),
        })),
    })
}
