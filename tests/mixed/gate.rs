//! The one admission: places, who waits for them, and who is handed back.

use millpond::{Ended, LimitKind};
use millpond_supervisors::mixed::{Member, MixedBuildError, MixedJoinError, MixedPool, MixedRejectReason};
use tokio_test::{assert_pending, assert_ready, task::spawn};

use crate::rig::{SECOND, named, plain, scripted, soon, stage, until, waits};

#[test]
fn a_place_is_taken_from_the_admission_to_the_outcome_wherever_the_job_is() {
    let stage = stage("places", 2, 0, |builder| builder.places(3).reject_when_full());
    let handles: Vec<_> = (1..4).map(|job| stage.put(job)).collect();
    waits(&handles[2]);
    let (job, reason) = stage.pool.try_submit(4).expect_err("there is no place").into_parts();
    assert!(job == 4 && matches!(reason, MixedRejectReason::Full { places: 3, .. }), "{reason}");
    assert!(soon(stage.pool.submit(5)).is_err(), "nobody waits here");
    assert!(stage.pool.submit_blocking(6).is_err());
    assert_eq!(stage.take(0), 1);
    stage.finish(0, 10);
    let mut handles = handles.into_iter();
    assert_eq!(soon(handles.next().expect("the first")).unwrap(), 10);
    drop(stage.put(7));
    let ledger = stage.pool.ledger();
    assert_eq!((ledger.offered, ledger.accepted, ledger.rejected), (7, 4, 3), "{ledger}");
    assert!(ledger.balances(), "{ledger}");
}

#[test]
fn who_waits_for_a_place_gets_it_in_turn_and_nobody_overtakes() {
    let stage = stage("in-turn", 1, 0, |builder| builder.places(1));
    let first = stage.put(1);
    let (mut second, mut third) = (spawn(stage.pool.submit(2)), spawn(stage.pool.submit(3)));
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(stage.pool.saturation().waiting, 2);
    assert_eq!(stage.take(0), 1);
    stage.finish(0, 10);
    assert_eq!(soon(first).unwrap(), 10);
    assert!(stage.pool.try_submit(4).is_err(), "the place is the second's");
    let second = assert_ready!(second.poll()).expect("it has a place");
    assert_pending!(third.poll());
    assert_eq!(stage.take(0), 2);
    stage.finish(0, 20);
    assert_eq!(soon(second).unwrap(), 20);
    let third = soon(third).expect("it has a place");
    drop(third);
    assert_eq!(stage.take(0), 3);
    stage.finish(0, 30);
    stage.at_rest();
    assert_eq!(stage.pool.ledger().completed, 3);
}

#[test]
fn who_goes_away_at_the_gate_leaves_nothing() {
    let stage = stage("withdrawn", 1, 0, |builder| builder.places(1));
    let first = stage.put(1);
    let mut second = spawn(stage.pool.submit(2));
    assert_pending!(second.poll());
    drop(second);
    // Not even one that was given its place and has not seen that.
    let mut third = spawn(stage.pool.submit(3));
    assert_pending!(third.poll());
    assert_eq!(stage.take(0), 1);
    stage.finish(0, 10);
    soon(first).expect("it was run");
    assert!(third.is_woken());
    drop(third);
    let fourth = stage.put(4);
    assert_eq!(stage.take(0), 4);
    stage.finish(0, 40);
    soon(fourth).expect("it was run");
    stage.at_rest();
    let ledger = stage.pool.ledger();
    assert_eq!((ledger.offered, ledger.withdrawn, ledger.completed), (4, 2, 2));
}

#[test]
fn nobody_waits_for_longer_than_the_admission_limit_or_past_the_deadline() {
    let stage = stage("admission", 1, 0, |builder| builder.places(1).admission_limit(SECOND * 4));
    let _first = stage.put(1);
    let mut patient = spawn(stage.pool.submit(2));
    let mut pressed = spawn(stage.pool.job().deadline_in(SECOND).submit(3));
    assert_pending!(patient.poll());
    assert_pending!(pressed.poll());
    stage.clock.advance(SECOND);
    let rejected = soon(pressed).expect_err("its deadline is over");
    assert!(matches!(rejected.reason(), MixedRejectReason::AdmissionTimedOut { .. }), "{rejected}");
    assert_eq!(rejected.into_job(), 3);
    assert_pending!(patient.poll());
    stage.clock.advance(SECOND * 3);
    until("the pool's thread tells it", || patient.is_woken());
    assert_eq!(assert_ready!(patient.poll()).expect_err("it has waited enough").into_job(), 2);
}

#[test]
fn what_has_expired_before_it_comes_is_handed_back() {
    let stage = plain("expired", 1, 0);
    let submitter = stage.pool.job().deadline_in(SECOND);
    stage.clock.advance(SECOND);
    let (job, reason) = submitter.try_submit(1).expect_err("it is late").into_parts();
    assert!(job == 1 && matches!(reason, MixedRejectReason::AlreadyExpired { .. }), "{reason}");
    stage.at_rest();
}

/// One of no time at all, and whose: of the job's, or of what each job has in that member.
#[test]
fn a_limit_that_leaves_no_time_is_named_and_a_members_own_ends_no_job() {
    let none = std::time::Duration::ZERO;
    let stage = plain("no-time", 1, 0);
    let busy = stage.occupy(0);
    let waits_before = stage.put(7);
    // Whether it would wait or not.
    for _ in 0..2 {
        let submitters =
            [stage.pool.job().run_limit(none), stage.pool.job().queue_limit(none), stage.pool.job().deadline_in(none)];
        for (submitter, expected) in submitters.into_iter().zip([LimitKind::Run, LimitKind::Queue, LimitKind::Deadline])
        {
            let rejected = submitter.try_submit(1).expect_err("it has no time");
            let MixedRejectReason::AlreadyExpired { limit, .. } = rejected.reason() else { panic!("{rejected}") };
            assert_eq!(*limit, expected, "{rejected}");
        }
        waits_before.cancel();
        until("nobody waits", || stage.pool.saturation().queued == 0);
    }
    drop((busy, waits_before));

    let clock = millpond::testing::SettableClock::new();
    let ((hasty, _script), (other, other_script)) = (scripted("hasty", &clock, 0), scripted("hasty", &clock, 0));
    let hasty =
        Member::new(std::sync::Arc::new(hasty)).options(millpond::JobOptions::new().run_limit(none)).named("hasty");
    let builder = MixedPool::builder(named("hasty")).clock(clock.clock()).member(hasty);
    let pool = builder.member(Member::new(std::sync::Arc::new(other)).named("other")).build().expect("it is built");
    let handle = pool.job().deadline_in(SECOND).try_submit(5).expect("the other one takes it");
    assert_eq!(handle.member().as_deref(), Some("other"));
    until("it runs", || other_script.take(crate::rig::FIRST) == Some(5));
    assert!(other_script.finish(crate::rig::FIRST, 50));
    assert_eq!(soon(handle).unwrap(), 50);
}

#[test]
fn a_job_is_cancelled_where_it_waits() {
    let stage = plain("cancel-here", 1, 0);
    let _busy = stage.occupy(0);
    let waiting = stage.put(1);
    waits(&waiting);
    waiting.cancel();
    assert_eq!(soon(waiting).expect_err("it was cancelled").ended(), Ended::Cancelled);
    drop(stage.put(2).cancel_on_drop());
    stage.at_rest();
    assert_eq!(stage.pool.ledger().cancelled, 2);
}

/// For synchronous callers; on the only thread of a runtime none may wait.
#[test]
fn a_thread_waits_unless_it_is_the_only_one_of_a_runtime() {
    let stage = stage("blocking", 1, 0, |builder| builder.places(1));
    let first = stage.put(1);
    let alone = tokio::runtime::Builder::new_current_thread().build().expect("it is small");
    alone.block_on(async {
        let (job, reason) = stage.pool.submit_blocking(2).expect_err("it would block").into_parts();
        assert!(job == 2 && matches!(reason, MixedRejectReason::WouldBlock { .. }), "{reason}");
    });
    let pool = stage.pool.clone();
    std::thread::scope(|scope| {
        let waiting = std::thread::Builder::new().spawn_scoped(scope, || pool.submit_blocking(3)).expect("a thread");
        until("it waits", || stage.pool.saturation().waiting == 1);
        assert_eq!(stage.take(0), 1);
        stage.finish(0, 10);
        let third = waiting.join().expect("it does not panic").expect("there is a place then");
        assert_eq!(stage.take(0), 3);
        alone.block_on(async {
            assert!(matches!(third.join(), Err(MixedJoinError::WouldBlock)));
        });
        stage.finish(0, 30);
    });
    assert_eq!(first.join().unwrap(), 10);
    stage.at_rest();
}

#[test]
fn what_cannot_be_built_says_why() {
    let none = MixedPool::<u64, u64>::builder("none").build().expect_err("it has no member");
    assert!(matches!(none, MixedBuildError::NoMember(_)), "{none}");
    let clock = millpond::testing::SettableClock::new();
    let member = || {
        let (pool, _) = crate::rig::scripted("twins", &clock, 0);
        Member::new(std::sync::Arc::new(pool)).named("twin")
    };
    let twins = MixedPool::builder(named("twins")).member(member()).member(member()).build();
    assert!(matches!(twins, Err(MixedBuildError::SameName { .. })));
    // By whatever names: all that is counted over members would count it twice.
    let (pool, _) = crate::rig::scripted("same", &clock, 0);
    let same = ["a", "b"].map(|name| Member::new(std::sync::Arc::new(pool.clone())).named(name));
    let [one, other] = same;
    let same = MixedPool::<u64, u64>::builder(named("same")).member(one).member(other).build();
    let error = same.expect_err("one pool is one member");
    assert!(matches!(&error, MixedBuildError::SamePool { .. }), "{error}");
    assert!(error.to_string().contains("members `a` and `b` are the one pool `mixed-same-"), "{error}");
    let no_place = MixedPool::builder(named("no-place")).member(member()).places(0).build();
    assert!(matches!(no_place, Err(MixedBuildError::Places { places: 0, .. })));
}
