//! What an operator sends is worked off in the operator's span, and so is what hooks are asked about it; whatever is started by it, or
//! happens later, is in nobody's.

use std::time::Duration;

use millpond::{
    Hook, HookContext, HookSpec, JobOptions, Limits, Notice, PoolExecutor, StartContext, ThreadPool, TimeLimit,
    Verdict, Watchdog,
};
use tracing::{info, info_span};

use crate::listener::{Heard, heard, listen};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

struct Says;

impl Hook for Says {
    async fn resize(&self, cx: &HookContext, _from: Limits, to: Limits) -> Verdict {
        info!(asked = &*cx.pool, max = to.max);
        Verdict::Allow
    }

    async fn told(&self, cx: &HookContext, notice: &Notice) {
        if let Notice::WorkerStarted { worker, .. } = notice {
            info!(told = &*cx.pool, %worker);
        }
    }
}

/// The spans it was in, ractor's own for each actor apart.
fn spans(heard: &Heard) -> Vec<&'static str> {
    heard.spans.iter().map(|(name, _)| *name).filter(|name| *name != "Actor").collect()
}

fn of<'a>(pool: &'a ThreadPool, field: &'static str, value: &'a str) -> impl Fn(&Heard) -> bool + 'a {
    move |heard| {
        let is_ours = ["pool", "started", "told", "asked"]
            .iter()
            .any(|name| heard.fields.get(name).is_some_and(|is| is == pool.name()));
        is_ours && heard.fields.get(field).is_some_and(|is| is == value)
    }
}

#[test]
fn what_an_operator_sets_going_does_not_inherit_the_operators_span() {
    listen();
    let builder = ThreadPool::builder("spanned").limits(Limits::fixed(1)).watchdog(Watchdog::warn());
    let builder = builder.initializer(|cx: &StartContext| {
        info!(started = cx.pool(), worker = %cx.worker());
        Ok(())
    });
    let pool = builder.build().expect("it is built");
    let ready = "a worker is ready";
    heard("message", ready, of(&pool, "worker", "0.1"));

    // Its thread is started by the next message of this operator.
    info_span!("operator").in_scope(|| {
        pool.blocking().set_hook(HookSpec::new("says", Says), LIMIT).expect("it is sound");
        pool.blocking().resize(Limits::fixed(2), LIMIT).expect("it answers");
    });
    let asked = heard("asked", pool.name(), of(&pool, "max", "2"));
    assert_eq!(spans(&asked), ["operator"], "it is part of the request: {asked:?}");
    let in_force = heard("message", "new limits are in force", of(&pool, "max", "2"));
    assert_eq!(spans(&in_force), ["operator"]);

    // The worker that it set going: its thread, its readiness, what the hook is told of it, and all that it does later.
    assert_eq!(spans(&heard("started", pool.name(), of(&pool, "worker", "1.1"))), [""; 0]);
    assert_eq!(spans(&heard("message", ready, of(&pool, "worker", "1.1"))), [""; 0]);
    assert_eq!(spans(&heard("told", pool.name(), of(&pool, "worker", "1.1"))), [""; 0]);
    let silent = pool.with(JobOptions::new().label("silent").overdue_after(Duration::from_millis(20)));
    let (end, ends) = std::sync::mpsc::sync_channel::<()>(1);
    let silent = silent.submit_blocking(move || ends.recv().is_err()).expect("there is a place");
    // Told by the timer, whose reminders that operator's messages set too.
    let overdue = heard("message", "a job is overdue: it makes no progress", of(&pool, "label", "silent"));
    assert_eq!(spans(&overdue), [""; 0]);
    drop(end);
    silent.join().expect("it ends");
}
