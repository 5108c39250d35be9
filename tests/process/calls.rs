//! Functions of this executable, called elsewhere.

use std::time::Duration;

use millpond::{
    BuildError, ConfigError, JobContext, JobError, JobOptions, JoinError, Limits, PoolExecutor, TransferFault,
};

use crate::rig::{builder, failure, pids, pool, pool_with, until};
use millpond::process::ChildOptions;

fn triple(n: u64) -> u64 {
    3 * n
}

#[test]
fn a_function_runs_in_another_process() {
    let pool = pool("calls", 2);
    assert_eq!(pool.submit_blocking(triple, 14).unwrap().join().unwrap(), 42);
    let there = pool.submit_blocking(|()| std::process::id(), ()).unwrap().join().unwrap();
    assert_ne!(there, std::process::id());
    assert!(pids(&pool, 2).contains(&there));
    let (sum, text) = pool
        .submit_blocking(
            |(list, text): (Vec<u64>, String)| (list.iter().sum::<u64>(), text + "!"),
            (vec![1, 2, 3], "so".into()),
        )
        .unwrap()
        .join()
        .unwrap();
    assert_eq!((sum, text.as_str()), (6, "so!"));
}

#[test]
fn many_jobs_go_through_few_children() {
    let pool = pool("many", 2);
    let handles: Vec<_> = (0..2_000).map(|n| pool.submit_blocking(triple, n).unwrap()).collect();
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().unwrap(), 3 * n);
    }
    assert!(pool.snapshot().ledger.balances());
}

#[test]
fn a_panic_comes_home_and_the_child_goes_on() {
    let pool = pool("panic", 1);
    let before = pids(&pool, 1);
    let (handle, line) = (pool.submit_blocking(|n: u32| -> u32 { panic!("no {n}") }, 7).unwrap(), line!());
    let id = handle.id();
    let error = failure(handle);
    let JobError::Panicked(report) = &error else { panic!("{error}") };
    assert_eq!((report.job, report.message.as_str()), (id, "no 7"));
    let place = report.location.as_deref().expect("it is known");
    assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
    assert_eq!(pool.submit_blocking(triple, 1).unwrap().join().unwrap(), 3);
    assert_eq!(pids(&pool, 1), before);
}

#[test]
fn a_job_knows_what_it_is() {
    let pool = pool("context", 1);
    let options = JobOptions::new().label("who");
    let handle = pool.with(options).submit_call_blocking(
        |()| {
            let me = JobContext::current().expect("a job has a context");
            (me.job_id().get(), me.worker_id().to_string(), me.label().map(|label| label.to_string()))
        },
        (),
    );
    let handle = handle.unwrap();
    let id = handle.id();
    assert_eq!(handle.join().unwrap(), (id.get(), "0.1".to_owned(), Some("who".to_owned())));
}

/// A job's pool, parent, label, depth and the line that its parent was submitted from.
type Parent = (String, u64, Option<String>, u32, u32);

fn parent() -> Option<Parent> {
    let me = JobContext::current().expect("a job has a context");
    me.lineage().map(|from| {
        let label = from.label.as_deref().map(str::to_owned);
        (from.pool.to_string(), from.parent.get(), label, from.depth, from.submitted_from.line())
    })
}

/// Also one that the child itself submits to a pool of its own, and that one's.
#[test]
fn a_job_knows_by_which_job_it_was_submitted_from_process_to_process() {
    let (outer, pool) =
        (millpond::ThreadPool::builder("outer").limits(Limits::fixed(1)).build().unwrap(), pool("inner", 1));
    let there = |()| {
        let number = JobContext::current().expect("a job has a context").job_id();
        let own = millpond::ThreadPool::builder(format!("own-{number}"))
            .limits(Limits::fixed(1))
            .build()
            .expect("it is built there");
        let below = own.submit_blocking(parent).expect("there is a place").join().expect("it runs");
        (parent(), below)
    };
    let (alone, _) = pool.submit_blocking(there, ()).unwrap().join().unwrap();
    assert_eq!(alone, None, "nobody's job submitted it");

    let to = pool.clone();
    let nested = move || {
        let (handle, line) = (to.submit_blocking(there, ()).expect("there is a place"), line!());
        (handle.id().get(), line, handle.join().expect("it runs"))
    };
    let (first, line) = (outer.with(JobOptions::new().label("first")).submit_blocking(nested).unwrap(), line!());
    let id = first.id().get();
    let (inner, inner_line, (above, below)) = first.join().unwrap();
    assert_eq!(above, Some(("outer".to_owned(), id, Some("first".to_owned()), 1, line)));
    assert_eq!(below, Some(("inner".to_owned(), inner, None, 2, inner_line)));
}

#[test]
fn a_cancellation_reaches_the_job() {
    let pool = pool("cancel", 1);
    let polite = |limit: u64| -> u64 {
        let me = JobContext::current().expect("a job has a context");
        for n in 0..limit {
            if me.is_cancelled() {
                return n;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        limit
    };
    for wait in [0, 1, 20] {
        let handle = pool.submit_blocking(polite, 60_000).unwrap();
        until("it runs", || pool.saturation().active == 1);
        std::thread::sleep(Duration::from_millis(wait));
        handle.cancel();
        assert!(handle.join().unwrap() < 60_000);
    }
}

/// It may be on its way when the result comes.
#[test]
fn a_cancellation_that_comes_with_the_result_costs_nothing() {
    let pool = pool("late-cancel", 1);
    let before = pids(&pool, 1);
    for n in 0..100 {
        let handle =
            pool.submit_blocking(|micros: u64| std::thread::sleep(Duration::from_micros(micros)), 3_000).unwrap();
        std::thread::sleep(Duration::from_micros(2_500 + 10 * n));
        handle.cancel();
        match handle.join() {
            Ok(()) | Err(JoinError::Job(JobError::Cancelled(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(pids(&pool, 1), before);
}

/// Its words do not keep the request from being seen.
#[test]
fn a_cancellation_reaches_a_job_that_talks_all_the_time() {
    let pool = pool("talks", 1);
    let talks = |()| {
        let me = JobContext::current().expect("a job has a context");
        while !me.is_cancelled() {
            me.beat();
            std::hint::black_box((0..10_000).sum::<u64>());
        }
    };
    let handle = pool.submit_blocking(talks, ()).unwrap();
    until("it beats", || {
        let rows = pool.inventory_now().workers;
        rows.iter().filter_map(|row| row.job.as_ref()).any(|job| job.last_beat.is_some())
    });
    handle.cancel();
    handle.join().unwrap();
}

#[test]
fn a_beat_comes_home() {
    let pool = pool("beat", 1);
    let handle = pool
        .submit_blocking(
            |()| {
                let me = JobContext::current().expect("a job has a context");
                while !me.is_cancelled() {
                    me.beat();
                    std::thread::sleep(Duration::from_millis(1));
                }
            },
            (),
        )
        .unwrap();
    until("a beat is seen", || {
        let rows = pool.inventory_now().workers;
        rows.iter().filter_map(|row| row.job.as_ref()).any(|job| job.last_beat.is_some())
    });
    handle.cancel();
    handle.join().unwrap();
}

#[test]
fn a_call_that_takes_longer_is_acknowledged_while_it_runs() {
    let pool = pool("acknowledged", 1);
    let handle = pool
        .submit_blocking(
            |()| {
                while !JobContext::current().expect("it runs in a job").is_cancelled() {
                    std::thread::yield_now();
                }
            },
            (),
        )
        .unwrap();
    let id = handle.id();
    until("it is acknowledged", || {
        let rows = pool.inventory_now().workers;
        rows.iter().any(|row| row.facts.acknowledged == Some(id))
    });
    handle.cancel();
    handle.join().unwrap();
}

#[test]
fn the_inventory_shows_what_a_child_uses() {
    let pool = pool("usage", 1);
    let pid = pids(&pool, 1)[0];
    let row = &pool.inventory_now().workers[0];
    assert_eq!(row.facts.pid, Some(pid));
    assert!(row.facts.resident_memory.is_some_and(|bytes| bytes > 100_000) && row.facts.cpu_time.is_some(), "{row:?}");
    assert!(row.start_delay.is_some());
}

#[test]
fn what_is_too_large_is_that_jobs_error() {
    let pool = pool_with("large", 1, ChildOptions::new().frame_limit(1 << 20));
    let before = pids(&pool, 1);
    let error = failure(pool.submit_blocking(|bytes: Vec<u8>| bytes.len(), vec![1; 2 << 20]).unwrap());
    let JobError::Transfer(failed) = &error else { panic!("{error}") };
    assert!(matches!(failed.fault, TransferFault::ArgumentsTooLarge { limit, .. } if limit == 1 << 20), "{error}");
    let error = failure(pool.submit_blocking(|n: usize| vec![1_u8; n], 2 << 20).unwrap());
    let JobError::Transfer(failed) = &error else { panic!("{error}") };
    assert!(matches!(failed.fault, TransferFault::ResultTooLarge { .. }), "{error}");
    let half = pool.submit_blocking(|bytes: Vec<u8>| bytes, vec![7; 1 << 19]).unwrap().join().unwrap();
    assert_eq!(half, vec![7; 1 << 19]);
    assert_eq!(pids(&pool, 1), before, "and no child had to go for it");
}

/// A panic says a lot, and its backtrace more: the child cuts it, and does not die of its own words.
#[test]
fn what_a_panic_says_is_cut_to_what_a_frame_may_have() {
    let options = ChildOptions::new().frame_limit(4 << 10).env("RUST_BACKTRACE", "full");
    let pool = pool_with("words", 1, options);
    let before = pids(&pool, 1);
    let error = failure(pool.submit_blocking(|n: usize| -> u32 { panic!("{}", "x".repeat(n)) }, 5 << 10).unwrap());
    let JobError::Panicked(report) = &error else { panic!("{error}") };
    assert!(report.message.len() > 2 << 10 && report.message.bytes().all(|byte| byte == b'x'), "{error}");
    assert!(report.location.as_deref().is_some_and(|place| place.contains("calls.rs")), "{error}");
    assert_eq!(pids(&pool, 1), before);
}

#[test]
fn a_build_error_says_what_is_wrong() {
    for options in [
        ChildOptions::new().frame_limit(1),
        ChildOptions::new().nice(40),
        ChildOptions::new().umask(0o1000),
        ChildOptions::new().cpu_time(Duration::from_millis(3)),
        ChildOptions::new().memory(0),
        ChildOptions::new().env("", "x"),
    ] {
        let error = builder("bad").child(options).build().expect_err("it is bad");
        assert!(error.to_string().contains("cannot be started"), "{error}");
    }
}

/// Otherwise its slot would be used again while it lives.
#[test]
fn a_child_ends_before_it_is_given_up_or_the_pool_is_not_built() {
    let (half, second) = (Duration::from_millis(500), Duration::from_secs(1));
    for (leave, term, grace) in [(second, half, None), (half, second, None), (second * 3, second, Some(second * 3))] {
        let options = ChildOptions::new().leave_grace(leave).term_grace(term);
        let builder = builder("late").child(options);
        let builder = if let Some(grace) = grace { builder.kill_grace(grace) } else { builder };
        let error = builder.build().expect_err("it would be given up");
        let BuildError::Config { conflict: ConfigError::EndsTooLate { needed, grace: has, .. }, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*needed, *has), (leave + term, grace.unwrap_or(second)));
        assert!(error.to_string().contains("raise `kill_grace`"), "{error}");
    }
    let options = ChildOptions::new().leave_grace(half).term_grace(half);
    drop(builder("in-time").child(options.clone()).build().expect("it has a second"));
    // Whoever gives workers up sooner than that has chosen to.
    drop(builder("strict").child(options).kill_grace(Duration::ZERO).build().expect("it is strict, not wrong"));
}
