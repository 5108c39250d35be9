//! Labels whose jobs keep killing workers, on a clock that stands still.

use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    BuildError, ConfigError, JobError, JobOptions, Limits, PoolEvent, PoolExecutor, ProcessPool, Quarantine,
    Redelivery, RejectReason, TimeLimit,
};

use crate::rig::{Marks, builder, failure, mark, until};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));
const MINUTE: Duration = Duration::from_secs(60);

/// A pool with one worker, in which two lost workers put a label into quarantine, for ten minutes.
fn pool(name: &str) -> (ProcessPool, SettableClock) {
    let clock = SettableClock::new();
    // The clock may be moved while a child comes up: that is not to be late for it.
    let builder = builder(name).limits(Limits::fixed(1)).clock(clock.clock()).start_limit(MINUTE * 1_000);
    (builder.quarantine(Quarantine::new(2).within(MINUTE).lasts(MINUTE * 10)).build().unwrap(), clock)
}

/// Delivered as often as that, so that its slot does not pay.
fn bad(deliveries: u16) -> JobOptions {
    JobOptions::new().label("bad").redeliver(Redelivery::new(deliveries).back_off(MINUTE, MINUTE))
}

fn abort(_: ()) {
    std::process::abort()
}

#[test]
fn a_label_that_keeps_killing_workers_is_kept_out_until_its_time_is_over() {
    let (pool, clock) = pool("kept-out");
    let mut events = pool.events();
    let submit = |options: JobOptions| pool.with(options).try_submit_call(abort, ());
    failure(submit(bad(1)).unwrap());
    clock.advance(MINUTE);
    failure(submit(bad(1)).unwrap());
    failure(submit(JobOptions::new().redeliver(Redelivery::new(1))).unwrap());
    assert!(pool.snapshot().quarantined.is_empty(), "a minute apart, and one of no label");
    // Whether a job may be delivered again makes no difference.
    assert!(matches!(failure(submit(JobOptions::new().label("bad")).unwrap()), JobError::Lost(_)));

    clock.advance(MINUTE);
    let refused = submit(bad(1)).unwrap_err().into_reason();
    let RejectReason::Quarantined(why) = &refused else { panic!("{refused}") };
    assert_eq!((&*why.label, why.deaths, why.until.since(why.since)), ("bad", 2, MINUTE * 10));
    assert!(refused.to_string().contains("in quarantine since 60.0 s, and for 540.0 s more: 2 workers"), "{refused}");
    assert_eq!(pool.snapshot().quarantined[0].label, why.label);
    let good = pool.with(JobOptions::new().label("good")).submit_call_blocking(|n: u32| n, 4).unwrap();
    assert_eq!(good.join().unwrap(), 4);
    assert_eq!(pool.submit_blocking(|n: u32| n, 5).unwrap().join().unwrap(), 5);

    clock.advance(MINUTE * 9);
    let again = pool.with(JobOptions::new().label("bad")).submit_call_blocking(|n: u32| n, 6).unwrap();
    assert_eq!(again.join().unwrap(), 6);
    assert!(pool.snapshot().quarantined.is_empty());
    let (mut kept_out, mut released) = (0, 0);
    while released == 0 {
        match events.next_timeout(LIMIT.0).expect("it is told").expect("the pool goes on") {
            PoolEvent::Quarantined(told) => kept_out += u32::from(told.since == why.since),
            PoolEvent::Released { label } => released += u32::from(&*label == "bad"),
            _ => {}
        }
    }
    assert_eq!(kept_out, 1);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.rejected, ledger.pending) == (1, 0), "{ledger}");
}

/// Those that were admitted before end when their turn comes, and none of them begins.
#[test]
fn what_is_queued_or_rests_when_its_label_is_kept_out_is_dead_lettered() {
    let (pool, clock) = pool("queued");
    let mut events = pool.events();
    let marks = Marks::new("queued");
    let rests = pool.with(bad(3)).submit_call_blocking(abort, ()).unwrap();
    until("it rests", || pool.snapshot().lanes[0].resting == 1);
    pool.blocking().quiesce(LIMIT).unwrap();
    let kills = pool.with(bad(1)).submit_call_blocking(abort, ()).unwrap();
    let marks_it = |path: String| mark(&path);
    let queued: Vec<_> =
        (0..5).map(|_| pool.with(bad(2)).submit_call_blocking(marks_it, marks.path()).unwrap()).collect();
    let good = pool.submit_blocking(|n: u32| n, 7).unwrap();
    pool.blocking().resume(LIMIT).unwrap();
    let JobError::DeadLettered(letter) = failure(kills) else { panic!("it had one delivery") };
    assert_eq!((letter.deliveries.len(), &letter.quarantine), (1, &None));
    for queued in queued {
        let error = failure(queued);
        let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
        let why = letter.quarantine.as_ref().expect("its label is kept out");
        assert_eq!((letter.deliveries.len(), &*why.label), (0, "bad"));
        let payload = letter.payload.as_ref().expect("it can be sent again");
        assert_eq!(payload.arguments::<String>(), Ok(marks.path()));
        assert!(
            error.to_string().contains("is not delivered") && error.to_string().contains("in quarantine"),
            "{error}"
        );
    }
    assert_eq!(good.join().unwrap(), 7);
    clock.advance(MINUTE);
    let JobError::DeadLettered(letter) = failure(rests) else { panic!("its label is kept out") };
    assert!(letter.deliveries.len() == 1 && letter.quarantine.is_some(), "{letter}");
    assert!(marks.pids().is_empty());
    let mut told = 0;
    while told < 2 {
        if let PoolEvent::DeadLettered(letter) =
            events.next_timeout(LIMIT.0).expect("it is told").expect("the pool goes on")
        {
            assert_eq!(letter.deliveries.len(), 1, "of those that were never delivered, the quarantine tells");
            told += 1;
        }
    }
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.dead_lettered, ledger.completed, ledger.pending) == (7, 1, 0), "{ledger}");
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_and_none_keeps_nobody_out() {
    for rule in
        [Quarantine::new(0), Quarantine::new(1).within(Duration::ZERO), Quarantine::new(1).lasts(Duration::ZERO)]
    {
        let error = builder("senseless").quarantine(rule).build().unwrap_err();
        assert!(matches!(error, BuildError::Config { conflict: ConfigError::ZeroLimit(_), .. }), "{error}");
    }
    let pool = builder("lenient").limits(Limits::fixed(1)).quarantine(None).build().unwrap();
    for _ in 0..12 {
        failure(pool.with(bad(1)).submit_call_blocking(abort, ()).unwrap());
    }
}
