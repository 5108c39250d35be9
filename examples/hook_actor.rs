//! A hook that is an actor of the application's own. It counts the workers that it has granted, and vetoes what goes beyond its budget;
//! the veto is in the reply of whoever asked. The pool never links it: it stays its own supervisor's.
//!
//! `cargo run --example hook_actor`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;

use millpond::{
    ControlError, HookMessage, HookSpec, Limits, Notice, PoolExecutor, Question, TaskPool, TimeLimit, Verdict,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

const LIMIT: TimeLimit = TimeLimit::secs(30);

/// Grants at most so many workers.
struct Treasurer {
    budget: usize,
}

#[ractor::actor(message = HookMessage, state = usize, arguments = ())]
impl Treasurer {
    async fn pre_start(&self, _: ActorRef<HookMessage>, _: ()) -> Result<usize, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<HookMessage>,
        message: HookMessage,
        resizes: &mut usize,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HookMessage::Asked {
                question: Question::Resize { to, .. } | Question::Shrink { to, .. }, reply, ..
            } => {
                let verdict = if to.max > self.budget {
                    Verdict::deny(format!("the budget is {} workers", self.budget))
                } else {
                    Verdict::Allow
                };
                // Whoever asked may have given up: then the default verdict has counted.
                let _ = reply.send(verdict);
            }
            // Everything else that there is to ask, now or in a later version.
            HookMessage::Asked { reply, .. } => drop(reply.send(Verdict::Allow)),
            HookMessage::Told { notice: Notice::Resized { from, to, .. }, .. } => {
                *resizes += 1;
                println!("resize {resizes}: from {from} to {to}");
            }
            _ => {}
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (treasurer, ended) = Actor::spawn(None, Treasurer { budget: 4 }, ()).await?;
    let hook = HookSpec::actor("treasurer", treasurer.clone());
    let pool = TaskPool::builder("ledgers").limits(Limits::fixed(2)).hook_spec(hook).build()?;

    assert_eq!(pool.resize(Limits::fixed(4), LIMIT).await?.to.max, 4);
    let refused = pool.resize(Limits::fixed(8), LIMIT).await.expect_err("that is too dear");
    println!("{refused}");
    assert!(matches!(&refused, ControlError::Vetoed { by, reason, .. }
        if **by == *"treasurer" && **reason == *"the budget is 4 workers"));
    assert_eq!(pool.saturation().limit, 4);

    // An actor that is gone counts as its default verdict, which allows unless its options say otherwise.
    treasurer.stop(None);
    ended.await?;
    assert_eq!(pool.resize(Limits::fixed(8), LIMIT).await?.to.max, 8);
    let row = pool.hooks(LIMIT).await?.remove(0);
    println!("{}: asked {} times, denied {}, by default {}", row.name, row.asked, row.denied, row.defaulted);

    assert_eq!(pool.submit(async { 6 * 7 }).await?.await?, 42);
    pool.shutdown(LIMIT).await?;
    Ok(())
}
