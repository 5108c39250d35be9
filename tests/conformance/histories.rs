//! What a restart policy is told of its slot and its pool. On a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{EventStream, Exit, Limits, PoolEvent, PoolExecutor, Restart, RestartPolicy, SlotHistory, Timestamp};
use parking_lot::Mutex;

use crate::faults::{Faulty, with_faults};
use crate::rig::{PoolOf, after_control, at_rest, build, hold, soon, until};
use crate::task::Gate;

with_faults! {
    a_policy_sees_the_faults_of_the_whole_pool,
    after_a_cool_down_one_worker_is_a_probe,
}

const SECOND: Duration = Duration::from_secs(1);

/// Cools down whatever fails, and keeps what it was told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<SlotHistory>>>);

impl RestartPolicy for Notes {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, _exit: &Exit) -> Restart {
        self.0.lock().push(slot.clone());
        Restart::CoolDown(SECOND * 60)
    }
}

fn noted<S: Faulty>(what: &str) -> (PoolOf<S>, SettableClock, Notes) {
    let (clock, notes) = (SettableClock::new(), Notes::default());
    let pool = build::<S>(what, |builder| {
        S::shape(builder).limits(Limits::fixed(2)).restart_policy(notes.clone()).clock(clock.clock())
    });
    until("both are up", || pool.saturation().idle == 2);
    (pool, clock, notes)
}

/// One worker ends by a fault, and what becomes of its slot is decided.
fn fault<S: Faulty>(pool: &PoolOf<S>, events: &mut EventStream) {
    assert!(soon(S::lay(pool).light()).is_err());
    while !matches!(soon(events.next()), Some(PoolEvent::RestartDecided { .. })) {}
    after_control(pool);
}

fn a_policy_sees_the_faults_of_the_whole_pool<S: Faulty>() {
    let (pool, clock, notes) = noted::<S>("whole-pool");
    let mut events = pool.events();
    let began = clock.now();
    fault::<S>(&pool, &mut events);
    clock.advance(SECOND);
    fault::<S>(&pool, &mut events);
    let notes = notes.0.lock();
    let [first, second] = &**notes else { panic!("{notes:?}") };
    assert_eq!((first.pool.slots, first.pool.empty, &*first.pool.faults), (2, 0, &[began][..]));
    assert_eq!((second.pool.slots, second.pool.empty), (2, 1));
    assert_eq!((&*second.pool.faults, second.faults.len()), (&[began, began.after(SECOND)][..], 1));
    assert_eq!(second.pool.faults_within(clock.now(), SECOND / 2), 1);
}

fn after_a_cool_down_one_worker_is_a_probe<S: Faulty>() {
    let (pool, clock, notes) = noted::<S>("probe");
    let mut events = pool.events();
    let told = || notes.0.lock().last().map(|slot| (slot.streak, slot.cool_downs, slot.is_probe()));
    // The same slot each time, so that it has a history: the other's worker is kept busy.
    let gate = Gate::new();
    let held = hold::<S>(&pool, &gate, 1).pop().expect("one");
    let up_again = |clock: &SettableClock| {
        clock.advance(SECOND * 60);
        until("it is up again", || pool.saturation().idle == 1);
        after_control(&pool);
    };
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((1, 0, false)));
    up_again(&clock);
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((2, 1, true)), "the probe failed");
    up_again(&clock);
    clock.advance(SECOND * 10);
    fault::<S>(&pool, &mut events);
    assert_eq!(told(), Some((1, 0, false)), "it had been up for as long as is healthy");
    gate.open();
    soon(held).unwrap();
    clock.advance(SECOND * 60);
    until("both are up", || pool.saturation().idle == 2);
    at_rest(&pool);
}
