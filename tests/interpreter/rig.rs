//! What every test here needs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond::interpreter::{Engine, Interpreters, Script};
use millpond::{
    Fate, GuestFault, InterpreterPool, JobError, JobHandle, JoinError, Ladder, Limits, PoolBuilder, PoolExecutor, Rung,
    Select, TimeLimit,
};

use crate::kinds::Kind;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const LIMIT: TimeLimit = TimeLimit(PATIENCE);

/// A kill that waits for its effect, however busy the machine is.
pub(crate) fn patient_kill() -> Ladder {
    Ladder::new().then(Rung::Kill, PATIENCE / 2)
}

/// Kills a job, and finds it killed.
#[track_caller]
pub(crate) fn is_killed<E: Engine, T: std::fmt::Debug>(pool: &InterpreterPool<E>, handle: JobHandle<T>) -> Outcome {
    let report = pool.blocking().terminate(Select::job(handle.id()), patient_kill(), LIMIT)?;
    assert_eq!(report.targets[0].fate, Fate::Killed, "{report}");
    let error = failure(handle);
    assert!(matches!(error, JobError::Killed(_)), "{error}");
    Ok(())
}

pub(crate) fn builder<E: Engine>(engine: E) -> PoolBuilder<Interpreters<E>> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("guests-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    InterpreterPool::builder(name, engine).limits(Limits::fixed(1))
}

/// A pool of one worker.
pub(crate) fn pool<E: Engine>(engine: E) -> InterpreterPool<E> {
    builder(engine).build().expect("the guest is sound")
}

/// Calls a function of the plugin's.
pub(crate) fn ask<K: Kind>(pool: &InterpreterPool<K>, function: &'static str) -> JobHandle<i64> {
    put(pool, K::call(function, 0))
}

pub(crate) fn put<E: Engine, S: Script<E>>(pool: &InterpreterPool<E>, job: S) -> JobHandle<S::Output> {
    pool.try_submit(job).unwrap_or_else(|rejected| panic!("{}", rejected.reason()))
}

/// The error of a job that has to fail.
pub(crate) fn failure<T>(handle: JobHandle<T>) -> JobError {
    match handle.join() {
        Err(JoinError::Job(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the job was to fail"),
    }
}

/// How the guest failed.
pub(crate) fn fault<T>(handle: JobHandle<T>) -> GuestFault {
    match failure(handle) {
        JobError::Guest(failed) => failed.fault,
        other => panic!("{other}"),
    }
}

/// Waits until `so`, by looking again and again.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited for ever until {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

pub(crate) fn until_busy<E: Engine>(pool: &InterpreterPool<E>, workers: usize) {
    until("the jobs run", || pool.saturation().active == workers);
}
