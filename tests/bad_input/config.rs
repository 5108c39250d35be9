//! What a pool is told before it starts, or by a resize.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use millpond::{
    Autoscaler, BuildError, ConfigError, ControlError, Fate, JobError, JobOptions, JoinError, Ladder, Lane, LimitKind,
    Limits, PoolBuilder, PoolExecutor, Recycle, RejectReason, Select, Snapshot, ThreadPool, Threads, TimeLimit,
    Watchdog,
};

use crate::{LIMIT, builder, goes_on, pool, until};

#[track_caller]
fn refused_config(builder: PoolBuilder<Threads>, parts: &[&str]) -> ConfigError {
    let error = builder.build().expect_err("it contradicts itself");
    let text = error.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in: {text}"));
    match error {
        BuildError::Config { pool, conflict } => {
            assert_eq!(text, format!("pool `{pool}` was not built: {conflict}"));
            conflict
        }
        other => panic!("{other}"),
    }
}

#[test]
fn zero_and_absurd_limits() {
    let of = |limits| ThreadPool::builder("bad-limits").limits(limits);
    assert_eq!(refused_config(of(Limits::fixed(0)), &["max = 0", "quiesce"]), ConfigError::NoWorkers);
    let conflict =
        refused_config(of(Limits::new(3, 2)), &["pool `bad-limits`", "min = 3", "max = 2", "raise max or lower min"]);
    assert_eq!(conflict, ConfigError::MinAboveMax { min: 3, max: 2 });
    let spares = of(Limits::new(1, 2).min_idle(3));
    let conflict = refused_config(spares, &["min_idle = 3", "max = 2", "raise max or lower min_idle"]);
    assert_eq!(conflict, ConfigError::MinIdleAboveMax { min_idle: 3, max: 2 });
    let conflict = refused_config(of(Limits::fixed(usize::MAX)), &[&usize::MAX.to_string()]);
    assert_eq!(conflict, ConfigError::TooManyWorkers { max: usize::MAX });
    let zero = of(Limits::fixed(1).idle_timeout(Duration::ZERO));
    assert_eq!(refused_config(zero, &["idle timeout", "zero"]), ConfigError::ZeroLimit("idle timeout"));
}

#[test]
fn an_autoscaler_that_would_be_asked_all_the_time() {
    struct One;
    impl Autoscaler for One {
        fn scale(&self, _snapshot: &Snapshot, _bounds: Limits) -> usize {
            1
        }
    }
    for period in [Duration::ZERO, Duration::from_micros(999)] {
        let conflict = refused_config(builder("bad-period").autoscaler(One, period), &["autoscaler", "1ms"]);
        assert_eq!(conflict, ConfigError::PeriodTooShort { period, least: Duration::from_millis(1) });
    }
}

#[test]
fn zero_and_absurd_limits_in_a_resize_change_nothing() {
    let pool = pool("bad-resize");
    for (limits, part) in [
        (Limits::fixed(0), "max = 0"),
        (Limits::new(2, 1), "min = 2"),
        (Limits::fixed(1).min_idle(2), "min_idle = 2"),
        (Limits::fixed(usize::MAX), "the most that a pool can have"),
        (Limits::fixed(1).idle_timeout(Duration::ZERO), "idle timeout"),
    ] {
        let error = pool.blocking().resize(limits, LIMIT).expect_err("it is refused");
        let text = error.to_string();
        assert!(matches!(error, ControlError::Config { .. }) && text.contains(part), "{text}");
        assert!(text.starts_with("pool `bad-resize` cannot resize, and nothing was changed: "), "{text}");
        assert_eq!(pool.snapshot().limits, Limits::fixed(1));
    }
    goes_on(&pool);
}

#[test]
fn zero_time_limits() {
    let lane = || Lane::new("slow");
    for (lane, what) in [
        (lane().queue_limit(Duration::ZERO), "queue limit"),
        (lane().run_limit(Duration::ZERO), "run limit"),
        (lane().overdue_after(Duration::ZERO), "overdue limit"),
        (lane().admission_limit(Duration::ZERO), "admission limit"),
    ] {
        let conflict = ConfigError::ZeroLaneLimit { lane: "slow".to_owned(), what };
        assert_eq!(refused_config(builder("bad-lane").lane(lane), &["`slow`", what, "zero"]), conflict);
    }
    let conflict = refused_config(builder("bad-start").start_limit(Duration::ZERO), &["start limit"]);
    assert_eq!(conflict, ConfigError::ZeroLimit("start limit"));
    let pool = pool("bad-job-limits");
    for (options, limit) in [
        (JobOptions::new().queue_limit(Duration::ZERO), "queue limit"),
        (JobOptions::new().run_limit(Duration::ZERO), "run limit"),
        (JobOptions::new().overdue_after(Duration::ZERO), "overdue limit"),
    ] {
        let refused = pool.with(options).try_submit(|| 3).expect_err("it has passed already");
        assert!(matches!(refused.reason(), RejectReason::AlreadyExpired { what, .. } if *what == limit), "{refused}");
        assert_eq!(refused.into_job()(), 3);
    }
    goes_on(&pool);
}

#[test]
fn recycling_at_nothing() {
    let (zero, none) = (Duration::ZERO, Recycle::new());
    let rules = [(none.after_jobs(0), "jobs"), (none.after_age(zero), "age"), (none.after_idle(zero), "idle time")];
    for (rule, what) in rules {
        let conflict = refused_config(builder("bad-recycling").recycle(rule), &["recycling at zero", what]);
        assert_eq!(conflict, ConfigError::ZeroRecycle(what));
    }
}

#[test]
fn absurdly_long_time_limits_never_pass() {
    let lane = Lane::new("default").queue_limit(Duration::MAX).run_limit(Duration::MAX).admission_limit(Duration::MAX);
    let lane = lane.overdue_after(Duration::MAX);
    let limits = Limits::fixed(1).idle_timeout(Duration::MAX);
    let pool = ThreadPool::builder("for-ever")
        .limits(limits)
        .default_lane(lane)
        .watchdog(Watchdog::new(Duration::MAX, Ladder::graceful(Duration::MAX)))
        .start_limit(Duration::MAX)
        .kill_grace(Duration::MAX)
        .recycle(Recycle::new().after_jobs(u64::MAX).after_age(Duration::MAX).after_idle(Duration::MAX))
        .shutdown_limit(Duration::MAX)
        .build()
        .expect("long is not wrong");
    let options = JobOptions::new().deadline_in(Duration::MAX).queue_limit(Duration::MAX).run_limit(Duration::MAX);
    let options = options.overdue_after(Duration::MAX);
    assert_eq!(pool.with(options).submit_blocking(|| 4).expect("a place").join().expect("it runs"), 4);
    assert!(pool.blocking().inventory(TimeLimit(Duration::MAX)).is_ok());
    assert!(pool.blocking().shutdown(TimeLimit(Duration::MAX)).is_ok());
}

#[test]
fn a_queue_without_a_bound_worth_the_name() {
    let boundless = |name| Lane::new(name).capacity(usize::MAX);
    let pool =
        builder("boundless").default_lane(boundless("default")).lane(boundless("b")).build().expect("it is large");
    assert_eq!(pool.saturation().queue_capacity, usize::MAX, "a sum that does not run over");
    pool.blocking().quiesce(LIMIT).expect("it answers");
    let jobs =
        ["default", "b"].repeat(50).into_iter().map(|lane| pool.with(JobOptions::new().lane(lane)).try_submit(|| 1));
    let jobs: Vec<_> = jobs.collect::<Result<_, _>>().expect("a place for each");
    pool.blocking().resume(LIMIT).expect("it answers");
    assert_eq!(jobs.into_iter().map(|job| job.join().expect("it runs")).sum::<u64>(), 100);
    goes_on(&pool);
}

/// No worker may be lost at all: the one that is takes its seat along until it returns.
#[test]
fn an_abandoned_cap_of_zero() {
    let pool = builder("bad-cap").abandoned_cap(0).build().expect("it is strict, not wrong");
    let (release, held) = sync_channel::<()>(1);
    let stuck = pool.submit_blocking(move || held.recv().is_ok()).expect("a place");
    until(|| pool.saturation().active == 1);
    let report = pool.blocking().terminate(Select::job(stuck.id()), Ladder::kill(), LIMIT).expect("it answers");
    assert_eq!(report.targets[0].fate, Fate::Abandoned);
    until(|| pool.snapshot().health.is_unavailable());
    let refused = pool.try_submit(|| 5).expect_err("there is no seat");
    assert!(matches!(refused.reason(), RejectReason::SaturatedByAbandoned { cap: 0, .. }), "{refused}");
    assert_eq!(refused.into_job()(), 5);
    release.send(()).expect("the job listens");
    until(|| pool.saturation().abandoned == 0);
    goes_on(&pool);
}

/// The ladder for an overrun is then climbed at once, and takes nobody else along.
#[test]
fn a_kill_grace_of_zero() {
    let pool = builder("bad-grace").kill_grace(Duration::ZERO).build().expect("it is strict, not wrong");
    let (release, held) = sync_channel::<()>(1);
    let limited = JobOptions::new().run_limit(Duration::from_millis(5));
    let stuck = pool.with(limited).submit_blocking(move || held.recv().is_ok()).expect("a place");
    let error = stuck.join().expect_err("it overran");
    assert!(matches!(&error, JoinError::Job(JobError::TimedOut(why)) if why.limit == LimitKind::Run), "{error}");
    goes_on(&pool);
    assert_eq!(pool.saturation().abandoned, 1, "another worker had the seat by then");
    release.send(()).expect("the job listens");
    until(|| pool.saturation().abandoned == 0);
    goes_on(&pool);
}

/// The last handle's drop ends it then and there: no job is left without an outcome.
#[test]
fn a_shutdown_limit_of_zero() {
    let pool = builder("bad-end").shutdown_limit(Duration::ZERO).build().expect("it is strict, not wrong");
    goes_on(&pool);
    let (_release, held) = sync_channel::<()>(1);
    let stuck = pool.submit_blocking(move || held.recv().is_ok()).expect("a place");
    until(|| pool.saturation().active == 1);
    let queued = pool.submit_blocking(|| true).expect("a place");
    drop(pool);
    let error = queued.join().expect_err("there was no time for it");
    assert!(matches!(error, JoinError::Job(JobError::NotStarted(_))), "{error}");
    let error = stuck.join().expect_err("it does not end");
    assert!(matches!(error, JoinError::Job(JobError::Abandoned(_))), "{error}");
}

#[test]
fn reserves_that_do_not_fit() {
    let reserving = |reserve| Lane::new("dns").reserve(reserve);
    let many = ThreadPool::builder("bad-reserve").limits(Limits::new(1, 4)).lane(reserving(2));
    let conflict = refused_config(many, &["reserve 2 seats", "`dns` 2", "min = 1"]);
    assert!(matches!(conflict, ConfigError::ReservesAboveMin { reserved: 2, min: 1, .. }));
    let all = ThreadPool::builder("bad-reserve").limits(Limits::fixed(2)).lane(reserving(2));
    let conflict = refused_config(all, &["reserve all 2 seats", "`default`"]);
    assert!(matches!(conflict, ConfigError::ReservesStarve { max: 2, .. }));
    let overflow = builder("bad-reserve").lane(reserving(usize::MAX)).lane(Lane::new("b").reserve(usize::MAX));
    assert!(matches!(refused_config(overflow, &["min = 1"]), ConfigError::ReservesAboveMin { .. }));
}

#[test]
fn duplicate_nameless_and_countless_lanes() {
    let twice = builder("bad-lanes").lane(Lane::new("a")).lane(Lane::new("a"));
    assert_eq!(refused_config(twice, &["two lanes", "`a`"]), ConfigError::DuplicateLane("a".to_owned()));
    let default = builder("bad-lanes").lane(Lane::new("default"));
    assert_eq!(refused_config(default, &["`default`"]), ConfigError::DuplicateLane("default".to_owned()));
    let nameless = refused_config(builder("bad-lanes").lane(Lane::new("")), &["lane's name", "0"]);
    assert_eq!(nameless, ConfigError::BadName { what: "lane", bytes: 0 });
    let many = (0..100).fold(builder("bad-lanes"), |builder, n| builder.lane(Lane::new(format!("lane {n}"))));
    assert!(matches!(refused_config(many, &["101 lanes"]), ConfigError::TooManyLanes(101)));
}

#[test]
fn names_of_pools() {
    assert_eq!(refused_config(builder(""), &["pool's name"]), ConfigError::BadName { what: "pool", bytes: 0 });
    let megabyte = "x".repeat(1 << 20);
    let text = builder(&megabyte).build().expect_err("it is no name").to_string();
    assert!(text.len() < 200, "it is not said in full: {} bytes", text.len());
    let error = refused_config(builder(&megabyte), &["1048576"]);
    assert_eq!(error, ConfigError::BadName { what: "pool", bytes: 1 << 20 });
}

/// Threads are named after their pool, and `std` panics over a NUL there.
#[test]
fn a_name_with_a_nul() {
    let error = refused_config(builder("bad\0name"), &["NUL", "bad\\0name"]);
    assert_eq!(error, ConfigError::NulInName("bad\0name".to_owned()));
}

#[test]
fn a_stack_that_no_thread_can_have() {
    for bytes in [usize::MAX, usize::MAX / 2] {
        let error = refused_config(builder("bad-stack").stack_size(bytes), &[&bytes.to_string(), "stack"]);
        assert_eq!(error, ConfigError::StackTooLarge { bytes });
    }
    goes_on(&builder("small-stack").stack_size(0).build().expect("the system's least is taken"));
}

#[test]
fn a_name_that_is_taken() {
    let first = pool("taken");
    let error = builder("taken").build().expect_err("the name is taken");
    assert!(matches!(&error, BuildError::NameTaken(name) if &**name == "taken"), "{error}");
    assert!(error.to_string().contains("`taken`"), "{error}");
    goes_on(&first);
    assert_eq!(millpond::pools().iter().filter(|pool| pool.name() == "taken").count(), 1);
}
