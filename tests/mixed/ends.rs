//! Pause, drain, shutdown, abort, and the drop of the last handle: every job has an outcome.

use std::sync::Arc;

use millpond::{CloseReason, ControlError, Ended, PoolExecutor, ThreadPool};
use millpond_supervisors::mixed::{Member, MixedEnd, MixedPool, MixedRejectReason};

use tokio_test::{assert_pending, task::spawn};

use crate::rig::{LIMIT, SECOND, Stage, beside, named, plain, soon, stage, until, waits};

#[test]
fn all_are_paused_and_go_on_together() {
    let stage = plain("pause", 2, 9);
    let replies = soon(stage.pool.quiesce(LIMIT));
    assert!(replies.len() == 2 && replies.iter().all(|member| member.reply.is_ok()));
    assert!(stage.members.iter().all(|(pool, _)| pool.gate() == "quiesced"));
    let handle = stage.put(1);
    waits(&handle);
    assert!(stage.pool.resume_blocking(LIMIT).iter().all(|member| member.reply.is_ok()));
    assert_eq!(stage.take(0), 1);
    stage.finish(0, 10);
    assert_eq!(soon(handle).unwrap(), 10);
}

#[test]
fn a_drain_works_off_what_waits_here_and_then_drains_the_members() {
    let stage = plain("drain", 1, 0);
    let handles = [stage.put(1), stage.put(2)];
    let mut drain = spawn(stage.pool.drain(LIMIT));
    assert_pending!(drain.poll());
    assert!(matches!(refusal(&stage), Some(MixedRejectReason::Closed { .. })));
    assert_eq!(stage.members[0].0.gate(), "open", "it has work yet");
    for job in [1, 2] {
        assert_eq!(stage.take(0), job);
        stage.finish(0, job * 10);
    }
    let replies = soon(drain).expect("in time");
    assert!(replies.iter().all(|member| member.reply.is_ok()), "{replies:?}");
    assert_eq!(stage.members[0].0.gate(), "draining");
    assert_eq!(handles.map(|handle| soon(handle).unwrap()), [10, 20]);
}

#[test]
fn a_drain_of_what_is_paused_has_its_members_go_on() {
    let stage = plain("drain-paused", 1, 9);
    let handles = [stage.put(1), stage.put(2)];
    assert_eq!(stage.take(0), 1);
    assert!(soon(stage.pool.quiesce(LIMIT)).iter().all(|member| member.reply.is_ok()));
    stage.finish(0, 10);
    let mut drain = spawn(stage.pool.drain(LIMIT));
    assert_pending!(drain.poll());
    assert_eq!(stage.take(0), 2);
    stage.finish(0, 20);
    assert!(soon(drain).expect("in time").iter().all(|member| member.reply.is_ok()));
    assert_eq!(handles.map(|handle| soon(handle).unwrap()), [10, 20]);
}

fn refusal(stage: &Stage) -> Option<MixedRejectReason> {
    stage.pool.try_submit(99).err().map(|rejected| rejected.into_parts().1)
}

#[test]
fn a_drain_that_does_not_end_in_time_says_how_many_are_left() {
    let stage = plain("drain-late", 1, 0);
    let handle = stage.put(1);
    assert_eq!(stage.take(0), 1);
    let mut drain = spawn(stage.pool.drain((SECOND * 3).into()));
    assert_pending!(drain.poll());
    stage.clock.advance(SECOND * 3);
    let late = soon(drain).expect_err("it is late");
    assert_eq!(late.pending, 1);
    stage.finish(0, 10);
    assert_eq!(soon(handle).unwrap(), 10);
}

/// Half-way: one runs, one is queued in a member, one waits here, one is at the gate.
#[test]
fn a_shutdown_gives_every_job_an_outcome() {
    let stage = stage("shutdown", 1, 1, |builder| builder.places(3));
    let (runs, queued, here) = (stage.put(1), stage.put(2), stage.put(3));
    assert_eq!(stage.take(0), 1);
    waits(&here);
    let pool = stage.pool.clone();
    let at_gate = beside(async move { pool.submit(4).await });
    until("it is at the gate", || stage.pool.saturation().waiting == 1);
    let pool = stage.pool.clone();
    let shutdown = beside(async move { pool.shutdown((SECOND * 40).into()).await });
    let rejected = soon(at_gate).expect("it does not panic").expect_err("it takes no more");
    assert!(matches!(rejected.reason(), MixedRejectReason::Closed { .. }), "{rejected}");
    // For three quarters of the limit jobs go on, and members take new attempts.
    stage.finish(0, 10);
    assert_eq!(soon(runs).unwrap(), 10);
    assert_eq!(stage.take(0), 2);
    until("it has gone on", || here.member().is_some());
    stage.clock.advance(SECOND * 30);
    until("the members are shut down", || stage.members[0].0.gate() == "draining");
    stage.clock.advance(SECOND * 10);
    let report = soon(shutdown).expect("it does not panic");
    assert!(report.members[0].reply.is_ok(), "{report:?}");
    assert!(report.ledger.balances() && report.ledger.pending == 0, "{}", report.ledger);
    assert_eq!((report.ledger.completed, report.ledger.killed, report.ledger.not_started), (1, 1, 1));
    assert_eq!(soon(queued).expect_err("it was killed").ended(), Ended::Killed);
    assert_eq!(soon(here).expect_err("it never began").ended(), Ended::NotStarted);
    assert!(matches!(refusal(&stage), Some(MixedRejectReason::Closed { .. })));
}

#[test]
fn a_shutdown_without_jobs_waits_for_nothing() {
    type Job = Box<dyn FnOnce() -> u8 + Send>;
    let threads = || ThreadPool::builder(named("shutdown-idle")).build().expect("it is built");
    let (one, other) = (threads(), threads());
    let members = [one.clone(), other.clone()].map(|pool| Member::<Job, u8>::new(Arc::new(pool)));
    let builder =
        members.into_iter().fold(MixedPool::builder(named("shutdown-idle")), |builder, it| builder.member(it));
    let pool = builder.build().expect("it is built");
    let report = pool.shutdown_blocking(LIMIT);
    assert!(report.members.len() == 2 && report.members.iter().all(|member| member.reply.is_ok()), "{report:?}");
    assert_eq!((one.gate(), other.gate()), ("closed", "closed"));
    // Again: they have nobody to answer.
    assert!(pool.shutdown_blocking(LIMIT).members.iter().all(|member| member.reply.is_err()));
}

/// Two, of which one was given a place that it has not seen. The clock stands but for what the member has for its worker: nothing else is waited for.
#[test]
fn a_submitter_that_nobody_polls_holds_up_no_end() {
    for drains in [true, false] {
        let stage = stage("unpolled", 1, 0, |builder| builder.places(1));
        let first = stage.put(1);
        let (mut second, mut third) = (spawn(stage.pool.submit(2)), spawn(stage.pool.submit(3)));
        assert_pending!(second.poll());
        assert_pending!(third.poll());
        assert_eq!(stage.take(0), 1);
        stage.finish(0, 10);
        assert_eq!(soon(first).unwrap(), 10);
        assert!(second.is_woken(), "the place is his");
        let ledger = if drains {
            soon(stage.pool.drain(LIMIT)).expect("no job is left");
            stage.pool.ledger()
        } else {
            let pool = stage.pool.clone();
            let shutdown = beside(async move { pool.shutdown((SECOND * 40).into()).await });
            until("the members are shut down", || stage.members[0].0.gate() != "open");
            stage.clock.advance(SECOND * 40);
            let report = soon(shutdown).expect("it does not panic");
            assert!(report.members[0].reply.is_ok(), "{report:?}");
            report.ledger
        };
        assert!(ledger.balances() && (ledger.pending, ledger.waiting) == (0, 2), "{ledger}");
        for late in [second, third] {
            let rejected = soon(late).expect_err("it takes no more");
            assert!(matches!(rejected.reason(), MixedRejectReason::Closed { .. }), "{rejected}");
        }
        stage.at_rest();
        assert_eq!((stage.pool.ledger().rejected, stage.pool.ledger().waiting), (2, 0));
    }
}

#[test]
fn an_abort_ends_what_waits_and_what_runs() {
    let stage = plain("abort", 1, 0);
    let (runs, here) = (stage.put(1), stage.put(2));
    assert_eq!(stage.take(0), 1);
    stage.pool.abort();
    assert_eq!(soon(runs).expect_err("it was killed").ended(), Ended::Killed);
    assert_eq!(soon(here).expect_err("it never began").ended(), Ended::NotStarted);
    stage.at_rest();
}

/// One way, as for a single pool: nobody pauses what drains, and then has it wait for ever.
#[test]
fn nobody_pauses_what_drains() {
    let stage = plain("pause-drain", 2, 9);
    let handles = [stage.put(1), stage.put(2)];
    assert_eq!(stage.take(0), 1);
    let mut drain = spawn(stage.pool.drain(LIMIT));
    assert_pending!(drain.poll());
    for replies in [soon(stage.pool.quiesce(LIMIT)), soon(stage.pool.resume(LIMIT))] {
        let late = |reply: &millpond_supervisors::mixed::MemberReply<()>| matches!(&reply.reply, Err(error @ ControlError::TooLate { reason: CloseReason::Draining, .. }) if error.to_string().contains(stage.pool.name()));
        assert!(replies.len() == 2 && replies.iter().all(late), "{replies:?}");
    }
    assert!(stage.members.iter().all(|(pool, _)| pool.gate() == "open"));
    stage.finish(0, 10);
    assert_eq!(stage.take(0), 2);
    stage.finish(0, 20);
    assert!(soon(drain).is_ok());
    assert_eq!(handles.map(|handle| soon(handle).unwrap()), [10, 20]);
    stage.pool.abort();
    let replies = soon(stage.pool.quiesce(LIMIT));
    assert!(
        replies
            .iter()
            .all(|member| matches!(member.reply, Err(ControlError::TooLate { reason: CloseReason::Shutdown, .. })))
    );
}

/// As for any pool: what was admitted is worked off, within a limit.
#[test]
fn the_last_handle_that_is_dropped_leaves_jobs_their_time_and_no_more() {
    let Stage { pool, members, clock } = stage("dropped", 1, 0, |builder| builder.shutdown_limit(SECOND * 9));
    let handles = [1, 2, 3].map(|job| pool.try_submit(job).expect("there is a place"));
    drop(pool);
    let script = &members[0].1;
    for job in [1, 2] {
        until("it has it", || script.take(crate::rig::FIRST) == Some(job));
        if job == 1 {
            assert!(script.finish(crate::rig::FIRST, 10));
        }
    }
    clock.advance(SECOND * 9);
    let [first, second, third] = handles;
    assert_eq!(soon(first).unwrap(), 10);
    assert!(matches!(soon(third).expect_err("nobody had it").end, MixedEnd::NotStarted));
    // It is the member's, and runs on there.
    assert!(script.finish(crate::rig::FIRST, 20));
    assert_eq!(soon(second).unwrap(), 20);
}
