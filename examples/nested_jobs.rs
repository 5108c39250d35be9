//! Jobs that submit jobs and wait for them: how that works, how it goes wrong, and what the pools say then.
//!
//! Pages are made of tiles. A page waits for its tiles; a tile that waits for a page, in a pool where pages hold every thread, would wait
//! for ever. The pools find that out, and one of the waits ends with an error that names everybody in the knot.
//!
//! `cargo run --example nested_jobs`

#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use millpond::{JobContext, JobError, JobOptions, JoinError, Limits, PoolEvent, PoolExecutor, ThreadPool, TimeLimit};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pages = Arc::new(ThreadPool::builder("pages").limits(Limits::fixed(1)).build()?);
    let tiles = Arc::new(ThreadPool::builder("tiles").limits(Limits::fixed(2)).build()?);

    // As it should be: those who wait, and those for whom they wait, have pools of their own.
    let there = tiles.clone();
    let page = move || -> Result<usize, JoinError> {
        let tile = |n: usize| there.with(JobOptions::new().label("tile")).submit_blocking(move || n);
        let handles: Vec<_> = (0..4).map(|n| tile(n).expect("there is a place")).collect();
        handles.into_iter().map(|handle| handle.join()).sum()
    };
    let sum = pages.with(JobOptions::new().label("page")).submit_blocking(page)?.join()??;
    assert_eq!(sum, 6);

    // A job knows by which it was submitted.
    let there = tiles.clone();
    let who = || JobContext::current()?.lineage().map(|by| format!("job {} of pool `{}`", by.parent, by.pool));
    let page = move || there.submit_blocking(who).expect("there is a place").join();
    let by = pages.submit_blocking(page)?.join()??.expect("a page submitted it");
    println!("a tile was submitted by {by}\n");

    // As it should not be: both tiles want another page each, while the one page waits for them.
    let mut events = tiles.events();
    let both = Arc::new(Barrier::new(2));
    let (there, back) = (tiles.clone(), pages.clone());
    let page = move || {
        let tile = || {
            let (pages, both) = (back.clone(), both.clone());
            let tile = move || {
                both.wait();
                let page = pages.with(JobOptions::new().label("another page")).submit_blocking(|| ());
                page.expect("there is a place").join()
            };
            there.with(JobOptions::new().label("tile")).submit_blocking(tile).expect("there is a place")
        };
        let handles = [tile(), tile()];
        handles.map(|handle| handle.join().and_then(|tile| tile))
    };
    let outcomes = pages.with(JobOptions::new().label("page")).submit_blocking(page)?.join()?;
    let knots = outcomes.iter().filter_map(|outcome| match outcome {
        Err(JoinError::Job(JobError::Deadlock(knot))) => Some(knot),
        _ => None,
    });
    let knots: Vec<_> = knots.collect();
    assert!(!knots.is_empty(), "somebody was told");
    for knot in knots {
        println!("{knot}\n");
    }

    // Whoever watches the pool is told as well; and what was waited for has run meanwhile.
    let mut told = std::iter::from_fn(|| events.next_timeout(Duration::from_secs(30)).ok().flatten());
    assert!(told.any(|event| matches!(event, PoolEvent::Deadlock(_))));
    let report = pages.blocking().shutdown(TimeLimit::secs(30))?;
    assert_eq!(report.not_started, 0);
    Ok(())
}
