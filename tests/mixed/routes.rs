//! Who a job is offered to.

use std::sync::Arc;

use millpond::testing::{Scripted, SettableClock};
use millpond::{Lane, Limits, PoolBuilder, PoolExecutor};
use millpond_supervisors::mixed::{
    InOrder, LeastLoaded, Member, MemberView, MixedPool, MixedRejectReason, Route, Routed, Step,
};

use crate::rig::{LIMIT, is_with, named, plain, scripted, soon, stage, until, waits};

#[test]
fn a_member_that_is_full_is_passed_over_and_what_nobody_takes_waits_for_the_first_place() {
    let stage = plain("full", 2, 0);
    let (first, second) = (stage.put(1), stage.put(2));
    is_with(&first, "0");
    is_with(&second, "1");
    let (third, fourth) = (stage.put(3), stage.put(4));
    waits(&third);
    assert_eq!(stage.pool.inventory_now().waiting_here, 2);
    assert_eq!((stage.take(0), stage.take(1)), (1, 2));
    stage.finish(1, 20);
    assert_eq!(soon(second).unwrap(), 20);
    assert_eq!(stage.take(1), 3, "who has waited longest");
    stage.finish(0, 10);
    assert_eq!(stage.take(0), 4);
    stage.finish(0, 40);
    stage.finish(1, 30);
    assert_eq!((soon(first).unwrap(), soon(third).unwrap(), soon(fourth).unwrap()), (10, 30, 40));
    stage.at_rest();
    assert_eq!(stage.pool.ledger().completed, 4);
}

/// Nobody tells of that: the mixed pool asks again.
#[test]
fn a_job_goes_on_when_the_job_of_somebody_else_has_left_a_member() {
    let stage = plain("others", 1, 0);
    let other = stage.occupy(0);
    let handle = stage.put(1);
    waits(&handle);
    stage.finish(0, 7);
    assert_eq!(soon(other).unwrap(), 7);
    assert_eq!(stage.take(0), 1);
    stage.finish(0, 10);
    assert_eq!(soon(handle).unwrap(), 10);
}

#[test]
fn a_member_without_workers_is_passed_over_until_it_has_some() {
    let clock = SettableClock::new();
    let (backend, script) = Scripted::new(true);
    // More often than it is tried again at once.
    (0..5).for_each(|_| script.refuse_next_start());
    let builder = PoolBuilder::new(&named("ill"), backend).limits(Limits::fixed(1)).clock(clock.clock());
    let ill = builder.default_lane(Lane::new("default").capacity(9)).build().expect("it is built");
    until("it is unavailable", || ill.health().is_unavailable());
    let (well, _script) = scripted("well", &clock, 9);
    let pool = MixedPool::builder(named("ill"))
        .member(Member::new(Arc::new(ill.clone())).named("ill"))
        .member(Member::new(Arc::new(well)).named("well"))
        .clock(clock.clock())
        .build()
        .expect("it is built");
    let before = pool.try_submit(1).expect("there is a place");
    is_with(&before, "well");
    until("its slot is tried again", || {
        clock.advance(crate::rig::SECOND);
        ill.health().is_healthy()
    });
    let after = pool.try_submit(2).expect("there is a place");
    is_with(&after, "ill");
}

#[test]
fn a_member_that_is_paused_is_passed_over_until_it_is_resumed() {
    let stage = plain("paused", 2, 9);
    soon(stage.members[0].0.quiesce(LIMIT)).expect("it answers");
    is_with(&stage.put(1), "1");
    soon(stage.members[1].0.quiesce(LIMIT)).expect("it answers");
    let waiting = stage.put(2);
    waits(&waiting);
    soon(stage.members[0].0.resume(LIMIT)).expect("it answers");
    until("it goes on", || waiting.member().as_deref() == Some("0"));
}

#[test]
fn a_member_that_has_ended_is_passed_over_and_without_any_other_jobs_come_back() {
    let stage = plain("closed", 2, 9);
    stage.members[0].0.abort();
    let handle = stage.put(1);
    is_with(&handle, "1");
    assert_eq!(stage.take(1), 1);
    stage.finish(1, 10);
    assert_eq!(soon(handle).unwrap(), 10);
    stage.members[1].0.abort();
    let (job, reason) = stage.pool.try_submit(2).expect_err("there is nobody").into_parts();
    assert!(job == 2 && matches!(reason, MixedRejectReason::NoMember { .. }), "{reason}");
    stage.at_rest();
    assert_eq!((stage.pool.ledger().completed, stage.pool.ledger().rejected), (1, 1));
}

/// Whatever the route says, a job does not wait for members that are all gone.
#[test]
fn what_waits_ends_when_the_last_member_closes() {
    let stage = stage("all-gone", 1, 0, |builder| builder.route(|_: &Routed<'_>, _: &[MemberView]| Step::Wait));
    let handle = stage.put(1);
    waits(&handle);
    stage.members[0].0.abort();
    let error = soon(handle).expect_err("there is nobody");
    assert_eq!(error.ended(), millpond::Ended::NotStarted, "{error}");
    stage.at_rest();
}

#[test]
fn the_least_loaded_takes_it() {
    let stage = stage("least", 3, 9, |builder| builder.route(LeastLoaded));
    let handles: Vec<_> = (0..6).map(|job| stage.put(job)).collect();
    let with: Vec<_> = handles.iter().map(|handle| handle.member().expect("a member has it")).collect();
    assert_eq!(with.iter().map(|name| &**name).collect::<Vec<_>>(), ["0", "1", "2", "0", "1", "2"]);
}

#[test]
fn in_order_an_attempt_is_the_only_one() {
    let stage = stage("in-order", 2, 0, |builder| builder.route(InOrder));
    let handle = stage.pool.job().repeatable().try_submit(1).expect("there is a place");
    assert_eq!(stage.take(0), 1);
    stage.panic(0);
    assert_eq!(soon(handle).expect_err("it panicked").attempts.len(), 1);
    assert_eq!(stage.members[1].0.snapshot().ledger.offered, 0);
}

/// Jobs of one label hold up each other, and no others.
#[test]
fn a_label_whose_member_is_full_does_not_hold_up_another() {
    let by_label = |job: &Routed<'_>, _: &[MemberView]| {
        let member = usize::from(job.label == Some("one"));
        if job.refusal(member).is_some() { Step::Wait } else { Step::To(member) }
    };
    let stage = stage("labels", 2, 0, |builder| builder.route(by_label));
    let _others = [stage.occupy(0), stage.occupy(1)];
    let zeros: Vec<_> = (0..3).map(|job| stage.put(job)).collect();
    let one = stage.pool.job().label("one").try_submit(10).expect("there is a place");
    zeros.iter().for_each(waits);
    waits(&one);
    stage.finish(1, 0);
    assert_eq!(stage.take(1), 10);
    zeros.iter().for_each(waits);
    stage.finish(0, 0);
    assert_eq!(stage.take(0), 0);
}

/// To the second member what is labelled `other`, and all else to the first.
fn by_label(job: &Routed<'_>, _: &[MemberView]) -> Step {
    let member = usize::from(job.label == Some("other"));
    if job.refusal(member).is_some() { Step::Wait } else { Step::To(member) }
}

/// More than are looked at in one pass, each with a label of its own, so that none of them stands for the others.
#[test]
fn a_crowd_that_waits_for_one_member_does_not_starve_another() {
    let stage = stage("crowd", 2, 0, |builder| builder.route(by_label));
    let _busy = [stage.occupy(0), stage.occupy(1)];
    let label = |label: usize| stage.pool.job().label(label.to_string());
    let crowd: Vec<_> = (0..200).map(|n| label(n).try_submit(n as u64).expect("there is a place")).collect();
    let others = [500, 501].map(|n| stage.pool.job().label("other").try_submit(n).expect("there is a place"));
    others.iter().for_each(waits);
    stage.finish(1, 0);
    assert_eq!(stage.take(1), 500, "behind them all, and before its like");
    // Whoever is being offered as the place comes free: mostly the first, with whom each pass begins.
    stage.finish(0, 0);
    assert!(stage.take(0) < 200);
    drop(crowd);
    stage.finish(1, 0);
    assert_eq!(stage.take(1), 501);
}

/// More than are passed over in one pass.
#[test]
fn a_long_line_of_one_label_does_not_starve_what_stands_behind_it() {
    let stage = stage("long-line", 2, 0, |builder| builder.route(by_label).places(10_000));
    let _busy = stage.occupy(0);
    let _line: Vec<_> = (0..9_000).map(|n| stage.put(n)).collect();
    let other = stage.pool.job().label("other").try_submit(9_500).expect("there is a place");
    assert_eq!(stage.take(1), 9_500);
    until("its handle says so", || other.member().as_deref() == Some("1"));
}

#[test]
fn a_route_that_panics_or_answers_nonsense_is_replaced_by_the_default() {
    let stages = [
        stage("panics", 2, 0, |builder| builder.route(|_: &Routed<'_>, _: &[MemberView]| panic!("a bug"))),
        stage("beyond", 2, 0, |builder| builder.route(|_: &Routed<'_>, _: &[MemberView]| Step::To(2))),
        stage("obstinate", 2, 0, |builder| builder.route(|_: &Routed<'_>, _: &[MemberView]| Step::To(0))),
    ];
    for (stage, says) in stages.into_iter().zip(["it panicked: a bug", "it named member 2", "had just refused the job"])
    {
        assert!(stage.pool.route_fault().is_none());
        let handles = [stage.put(1), stage.put(2)];
        is_with(&handles[0], "0");
        is_with(&handles[1], "1");
        let fault = stage.pool.route_fault().expect("it has no say any more");
        assert!(fault.contains(says), "{fault}");
    }
}

/// A closure is a route.
#[test]
fn a_route_may_refuse_and_what_it_refuses_comes_back() {
    let stage = stage("refuses", 1, 0, |builder| builder.route(|_: &Routed<'_>, _: &[MemberView]| Step::GiveUp));
    let rejected = stage.pool.try_submit(7).expect_err("the route refuses it");
    assert_eq!(rejected.into_job(), 7);
    let as_trait: &dyn Route = &InOrder;
    assert_eq!(as_trait.route(&Routed::new(None, &[], &[]), &[MemberView::empty("a")]), Step::To(0));
}

/// Of a member whose job cannot be made, nothing is lost but its turn.
#[test]
fn an_adapter_that_panics_has_its_member_passed_over() {
    let clock = SettableClock::new();
    let ((one, _), (other, script)) = (scripted("adapter", &clock, 9), scripted("adapter", &clock, 9));
    let pool: MixedPool<String, String> = MixedPool::builder(named("adapter"))
        .member(Member::adapted(
            Arc::new(one),
            |job: &String| job.parse::<u64>().expect("a number"),
            |output: u64| output.to_string(),
        ))
        .member(Member::adapted(
            Arc::new(other),
            |job: &String| job.len() as u64,
            |output: u64| if output == 0 { panic!("an output of nothing") } else { output.to_string() },
        ))
        .clock(clock.clock())
        .build()
        .expect("it is built");
    let handle = pool.try_submit("twelve".to_owned()).expect("there is a place");
    assert_eq!(until_taken(&script), 6);
    assert!(script.finish(crate::rig::FIRST, 3));
    assert_eq!(soon(handle).unwrap(), "3");
    // On the way out: the job has run, and that is its end.
    let handle = pool.try_submit("twelve".to_owned()).expect("there is a place");
    assert_eq!(until_taken(&script), 6);
    assert!(script.finish(crate::rig::FIRST, 0));
    let error = soon(handle).expect_err("its output was lost");
    assert!(error.to_string().contains("an output of nothing"), "{error}");
    assert!(pool.ledger().balances() && pool.ledger().panicked == 1, "{}", pool.ledger());
}

fn until_taken(script: &millpond::testing::Script) -> u64 {
    let mut taken = None;
    until("it has a job", || {
        taken = script.take(crate::rig::FIRST);
        taken.is_some()
    });
    taken.expect("it has one")
}
