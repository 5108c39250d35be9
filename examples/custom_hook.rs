//! A hook of your own: asked before the pool acts, and told afterwards. This one keeps a pool from being made small while it is busy,
//! and writes down what happens.
//!
//! It runs on a thread of its own, and the pool waits for it no longer than its limit.
//!
//! `cargo run --example custom_hook`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use millpond::{
    ControlError, Hook, HookContext, HookOptions, HookSpec, Limits, Notice, ThreadPool, TimeLimit, Verdict,
};

const LIMIT: TimeLimit = TimeLimit::secs(30);

/// Where the job waits until everything has been looked at.
static DOOR: OnceLock<()> = OnceLock::new();

struct Caretaker {
    diary: SyncSender<String>,
}

impl Hook for Caretaker {
    async fn shrink(&self, cx: &HookContext, from: Limits, to: Limits) -> Verdict {
        // It may call the pool from here: nobody holds anything while it is asked.
        let pool = millpond::pools().into_iter().find(|pool| *pool.name() == *cx.pool);
        match pool.map(|pool| pool.saturation().active) {
            Some(active) if active > 0 => Verdict::deny(format!("{active} busy: {from} is not to become {to} now")),
            _ => Verdict::Allow,
        }
    }

    async fn told(&self, cx: &HookContext, notice: &Notice) {
        // Once nobody reads the diary, nothing is written.
        let _ = self.diary.try_send(format!("{}: {notice:?}", cx.pool));
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (diary, entries) = sync_channel(1024);
    // Without an answer within ten seconds, a shrink does not happen.
    let options =
        HookOptions::new().limit(Duration::from_secs(10)).default_verdict(Verdict::deny("the caretaker is out"));
    let caretaker = HookSpec::new("caretaker", Caretaker { diary }).options(options);
    let pool = ThreadPool::builder("mill").limits(Limits::fixed(2)).hook_spec(caretaker).build()?;

    let (begin, begun) = sync_channel(1);
    let job = pool.submit_blocking(move || begin.send(()).is_ok() && DOOR.wait() == &())?;
    begun.recv()?;
    let refused = pool.blocking().resize(Limits::fixed(1), LIMIT).expect_err("one is busy");
    println!("{refused}");
    assert!(matches!(&refused, ControlError::Vetoed { by, .. } if **by == *"caretaker"));

    DOOR.set(()).expect("it is opened once");
    assert!(job.join()?);
    // Who has an outcome finds its job counted out.
    let report = pool.blocking().resize(Limits::fixed(1), LIMIT)?;
    println!("from {} to {}", report.from, report.to);

    pool.blocking().shutdown(LIMIT)?;
    // The diary ends with the hook, and that with the pool.
    drop(pool);
    let entries: Vec<String> = entries.iter().collect();
    entries.iter().for_each(|entry| println!("{entry}"));
    for what in ["WorkerStarted", "Vetoed", "Resized", "Gate(\"closed\")"] {
        assert!(entries.iter().any(|entry| entry.contains(what)), "{what} is not in the diary");
    }
    Ok(())
}
