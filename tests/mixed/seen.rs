//! The one inventory, saturation, health and ledger.

use millpond::{Limits, PoolExecutor, Saturation};
use millpond_supervisors::mixed::MixedHealth;

use crate::rig::{LIMIT, SECOND, plain, soon, until};

/// The sums of the members' own counters.
fn sums(stage: &crate::rig::Stage) -> Saturation {
    let mut sum = Saturation::default();
    for (pool, _) in &stage.members {
        let one = pool.saturation();
        sum.limit += one.limit;
        sum.workers += one.workers;
        sum.active += one.active;
        sum.idle += one.idle;
        sum.queued += one.queued;
        sum.queue_capacity += one.queue_capacity;
    }
    sum
}

#[test]
fn the_saturation_is_the_sum_of_the_members_and_of_what_waits_here() {
    let stage = plain("sums", 2, 1);
    let handles: Vec<_> = (0..5).map(|job| stage.put(job)).collect();
    // The first that takes it, each with a place for one that waits.
    assert_eq!((stage.take(0), stage.take(1)), (0, 2));
    let (seen, sum) = (stage.pool.saturation(), sums(&stage));
    assert_eq!((seen.limit, seen.workers, seen.active, seen.idle, seen.queue_capacity), (2, 2, 2, 0, 2));
    assert_eq!((sum.limit, sum.workers, sum.active, sum.idle, sum.queue_capacity), (2, 2, 2, 0, 2));
    assert_eq!((sum.queued, seen.queued, stage.pool.inventory_now().waiting_here), (2, 3, 1));
    stage.finish(0, 10);
    assert_eq!(stage.take(0), 1);
    until("the last one is in a queue", || stage.pool.inventory_now().waiting_here == 0);
    stage.finish(1, 12);
    assert_eq!(stage.take(1), 3);
    stage.finish(1, 13);
    stage.finish(0, 11);
    assert_eq!(stage.take(0), 4);
    stage.finish(0, 14);
    let outputs: Vec<_> = handles.into_iter().map(|handle| soon(handle).unwrap()).collect();
    assert_eq!(outputs, [10, 11, 12, 13, 14]);
    stage.at_rest();
    let (own, others) = (stage.pool.ledger(), stage.members.iter().map(|(pool, _)| pool.snapshot().ledger.completed));
    assert_eq!((own.completed, others.sum::<u64>()), (5, 5));
}

#[test]
fn the_inventory_is_one_table_of_all_members() {
    let stage = plain("table", 2, 0);
    let _handles = [1, 2].map(|job| stage.pool.job().label("shown\n").try_submit(job).expect("there is a place"));
    assert_eq!((stage.take(0), stage.take(1)), (1, 2));
    let _waits = stage.put(3);
    let inventory = stage.pool.inventory_now();
    let rows: Vec<_> = inventory.workers.iter().map(|row| (&*row.member, row.row.worker.to_string())).collect();
    assert_eq!(rows, [("0", "0.1".to_owned()), ("1", "0.1".to_owned())]);
    assert!(inventory.workers.iter().all(|row| row.row.job.is_some()));
    let text = inventory.to_string();
    assert!(text.contains("2/2 busy, 1 queued, 0 waiting, 1 here, healthy"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("tests/mixed/seen.rs:") && text.contains("shown\u{fffd}"), "{text}");
}

#[test]
fn it_is_as_healthy_as_its_members_let_it_work() {
    let stage = plain("health", 2, 0);
    assert_eq!(stage.pool.health(), MixedHealth::Healthy);
    soon(stage.members[0].0.quiesce(LIMIT)).expect("it answers");
    assert_eq!(stage.pool.health(), MixedHealth::Degraded);
    assert!(stage.pool.inventory_now().to_string().contains("\n`0` is quiesced, healthy"));
    stage.members[1].0.abort();
    assert_eq!(stage.pool.health(), MixedHealth::Unavailable);
    let views = stage.pool.members();
    assert_eq!((views[0].gate, views[1].gate, views[1].health.is_unavailable()), ("quiesced", "closed", true));
}

/// What is a member's own is asked of it.
#[test]
fn a_member_is_resized_by_its_name() {
    let stage = plain("resized", 2, 0);
    let member = stage.pool.member("1").expect("it is there");
    soon(member.resize(Limits::fixed(3), LIMIT)).expect("it answers");
    assert_eq!(stage.pool.saturation().limit, 4);
    assert!(stage.pool.member("2").is_none());
    stage.clock.advance(SECOND);
}
