//! Who asked for what, who allowed or denied it, and what happened: an audit trail as lines of JSON, which `AuditTrail` of
//! `millpond-supervisors` writes to a file, or whatever else can be written to.
//!
//! `cargo run --example audit_trail`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use millpond::{ControlError, Hook, HookContext, Ladder, Limits, PoolExecutor, Select, ThreadPool, TimeLimit, Verdict};
use millpond_supervisors::hook::AuditTrail;
use serde_json::Value;

const LIMIT: TimeLimit = TimeLimit::secs(30);

/// Denies more than two workers.
struct Budget;

impl Hook for Budget {
    async fn resize(&self, _cx: &HookContext, _from: Limits, to: Limits) -> Verdict {
        if to.max > 2 { Verdict::deny(format!("{} are more than \"two\"", to.max)) } else { Verdict::Allow }
    }
}

/// In place of a file: each write of the trail is whole lines.
struct Pages(SyncSender<Vec<u8>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (pages, written) = sync_channel(1024);
    let trail = AuditTrail::new(Pages(pages));
    let builder = ThreadPool::builder("mill").limits(Limits::fixed(1));
    let pool = builder.hook("budget", Budget).hook_spec(trail.spec("audit")).build()?;
    assert_eq!(pool.submit_blocking(|| 6 * 7)?.join()?, 42);

    let refused = pool.by("day shift").blocking().resize(Limits::fixed(3), LIMIT);
    assert!(matches!(refused, Err(ControlError::Vetoed { .. })));
    pool.blocking().resize(Limits::fixed(2), LIMIT)?;
    let worker = pool.inventory_now().workers[0].worker;
    pool.blocking().terminate(Select::worker(worker), Ladder::kill(), LIMIT)?;
    pool.blocking().shutdown(LIMIT)?;

    // The trail ends with its hook, and that with the pool.
    drop((pool, trail));
    let text = String::from_utf8(written.iter().flatten().collect())?;
    print!("{text}");
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let vetoed = lines.iter().find(|line| line["what"] == "vetoed").ok_or("it was denied")?;
    assert_eq!((&vetoed["vetoed_by"], &vetoed["asked_for"]), (&"budget".into(), &"day shift".into()));
    for what in ["worker started", "allowed", "resized", "worker gone", "gate"] {
        assert!(lines.iter().any(|line| line["what"] == what), "{what} is not in the trail");
    }
    Ok(())
}
