//! The presets in pools with threads, where what they set off has to happen.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use millpond::{
    EventStream, JobContext, JobError, JobHandle, JoinError, Lane, Limits, PoolEvent, PoolExecutor, Rung, ThreadPool,
    Watchdog,
};
use millpond_supervisors::watchdog;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const SPAN: Duration = Duration::from_millis(50);

fn pool(name: &str, watchdog: Watchdog) -> Result<(ThreadPool, EventStream), millpond::BuildError> {
    let lane = Lane::new("default").overdue_after(SPAN);
    let pool = ThreadPool::builder(name).limits(Limits::fixed(1)).default_lane(lane).watchdog(watchdog).build()?;
    let events = pool.events();
    Ok((pool, events))
}

/// A job that is silent until it is told to end, or, if it `heeds` it, asked.
fn silent(
    pool: &ThreadPool,
    heeds: bool,
) -> Result<(JobHandle<bool>, SyncSender<()>), Box<dyn std::error::Error + Send + Sync>> {
    let (end, ends) = sync_channel(1);
    let handle = pool.submit_blocking(move || {
        let me = JobContext::current().expect("inside a job");
        while !(heeds && me.is_cancelled()) {
            if ends.recv_timeout(Duration::from_millis(1)) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                return false;
            }
        }
        true
    })?;
    Ok((handle, end))
}

/// What the watchdog does next: `None` for a warning, or the rung.
fn next(events: &mut EventStream) -> Option<Rung> {
    loop {
        match events.next_blocking().expect("the pool lives") {
            PoolEvent::Overdue { .. } => return None,
            PoolEvent::OverdueRung { rung, .. } => return Some(rung),
            _ => {}
        }
    }
}

#[test]
fn warn_only_warns_again_and_again() -> Outcome {
    let (pool, mut events) = pool("warn-only", watchdog::warn_only())?;
    let (handle, end) = silent(&pool, true)?;
    assert_eq!([next(&mut events), next(&mut events)], [None, None]);
    end.send(())?;
    assert!(!handle.join()?, "nobody asked it");
    Ok(())
}

#[test]
fn ask_takes_nobody() -> Outcome {
    let (pool, mut events) = pool("ask", watchdog::ask(SPAN))?;
    let (handle, end) = silent(&pool, false)?;
    let said: Vec<_> = (0..4).map(|_| next(&mut events)).collect();
    assert_eq!(said, [None, Some(Rung::Cancel), None, Some(Rung::Cancel)]);
    end.send(())?;
    assert!(!handle.join()?);
    Ok(())
}

#[test]
fn patient_asks_first_and_a_job_that_heeds_it_ends_by_itself() -> Outcome {
    let (pool, mut events) = pool("patient", watchdog::patient(Duration::from_secs(1)))?;
    let (handle, _end) = silent(&pool, true)?;
    assert!(handle.join()?, "it was asked");
    assert_eq!([next(&mut events), next(&mut events)], [None, Some(Rung::Cancel)]);
    Ok(())
}

#[test]
fn strict_takes_the_worker_and_says_why() -> Outcome {
    let (pool, mut events) = pool("strict", watchdog::strict(SPAN))?;
    let (handle, end) = silent(&pool, false)?;
    let Err(JoinError::Job(JobError::Abandoned(abandoned))) = handle.join() else { panic!("its worker was taken") };
    assert!(abandoned.silent_for.is_some_and(|span| span >= SPAN), "{abandoned}");
    let said: Vec<_> = (0..3).map(|_| next(&mut events)).collect();
    assert_eq!(said, [None, Some(Rung::Cancel), Some(Rung::Kill)]);
    assert_eq!(pool.submit_blocking(|| 6 * 7)?.join()?, 42);
    end.send(())?;
    Ok(())
}
