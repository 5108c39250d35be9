//! Hazard 15, drain hang or silent loss, continued: the supervisor dies while somebody waits for its answer.
//!
//! The parent is busy and keeps the supervision event, and with it the State of the killed actor. Whoever waits for a reply is told at
//! once that nobody will give it, and not when its time limit passes.

use std::pin::Pin;

use millpond::{ControlError, Ladder, Limits, Pool, PoolExecutor, Rung, Select, TimeLimit};
use ractor::{Actor, ActorRef};

use crate::busy_parent::{Order, Parent};
use crate::kinds::{Ground, Kind, Work, on_every_kind, on_fresh_instances, put};
use crate::latch::Meter;
use crate::patience::{FOREVER, Flag, eventually};

on_every_kind!(
    in_this_process:
    a_drain_of_a_killed_pool_is_closed,
    a_termination_in_a_killed_pool_is_closed,
    a_shutdown_of_a_killed_pool_is_closed,
    the_debt_of_a_killed_pool_is_settled,
    a_drain_of_an_aborted_pool_is_answered,
);
on_fresh_instances!(
    a_drain_of_a_killed_pool_is_closed,
    a_termination_in_a_killed_pool_is_closed,
    a_shutdown_of_a_killed_pool_is_closed,
    the_debt_of_a_killed_pool_is_settled,
    a_drain_of_an_aborted_pool_is_answered,
);

type Waits<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer = Result<(), ControlError>;

/// A pool of two under a parent; both workers are held.
struct Scene<K: Kind> {
    ground: Ground,
    parent: ActorRef<Order>,
    pool: Pool<K::Backend>,
}

impl<K: Kind> Scene<K> {
    fn new(name: &str) -> Self {
        let ground = Ground::new();
        let (parent, _ended) = ground.block_on(Actor::spawn(None, Parent, ())).expect("the parent starts");
        let builder = K::builder(name, &ground).limits(Limits::fixed(2));
        let pool = ground.block_on(builder.spawn_linked(parent.get_cell())).expect("the pool starts");
        let (held, bodies) = (ground.latch(), Meter::default());
        for _ in 0..2 {
            drop(put::<K>(&pool, Work::value(0).counted(&bodies).until(&held)));
        }
        eventually("both run", || bodies.inside() == 2);
        Self { ground, parent, pool }
    }

    /// Polled once, so that control is asked, and looked at after control has come by: it waits.
    fn still_waits<T>(&self, waits: &mut Waits<'_, T>) {
        let flag = Flag::new();
        assert!(flag.poll(waits.as_mut()).is_pending());
        self.pool.blocking().inventory(TimeLimit(FOREVER)).expect("control answers");
        assert!(!flag.is_up(), "it is answered already");
    }

    /// The parent does this, and reads nothing from then on.
    fn by_the_parent(&self, act: impl FnOnce(&Pool<K::Backend>) + Send + 'static) {
        let (done, busy, pool) = (self.ground.latch(), self.ground.latch(), self.pool.clone());
        let order = Order { act: Box::new(move || act(&pool)), done: done.clone(), busy };
        self.parent.cast(order).expect("the parent is up");
        done.block();
    }

    #[track_caller]
    fn promptly<T>(&self, what: &str, waits: Waits<'_, T>) -> T {
        let answer = self.ground.block_on(async { tokio::time::timeout(FOREVER / 2, waits).await });
        answer.unwrap_or_else(|_| panic!("{what} is left waiting for a pool that is gone"))
    }
}

fn is_closed_by_a_kill<K: Kind>(
    name: &str,
    what: &str,
    ask: impl for<'a> FnOnce(&'a Pool<K::Backend>) -> Waits<'a, Answer>,
) {
    let scene = Scene::<K>::new(name);
    let mut waits = ask(&scene.pool);
    scene.still_waits(&mut waits);
    scene.by_the_parent(|pool| pool.actor().kill());
    let answer = scene.promptly(what, waits);
    assert!(matches!(&answer, Err(ControlError::Closed { operation, .. }) if *operation == what), "{answer:?}");
}

fn a_drain_of_a_killed_pool_is_closed<K: Kind>() {
    is_closed_by_a_kill::<K>("h15-drain-reply", "drain", |pool| Box::pin(pool.drain(TimeLimit(FOREVER))));
}

fn a_termination_in_a_killed_pool_is_closed<K: Kind>() {
    is_closed_by_a_kill::<K>("h15-terminate-reply", "terminate", |pool| {
        let ladder = Ladder::new().then(Rung::Cancel, FOREVER).then(Rung::Stop, FOREVER).then(Rung::Kill, FOREVER);
        Box::pin(async move { pool.terminate(Select::all(), ladder, TimeLimit(FOREVER)).await.map(drop) })
    });
}

fn a_shutdown_of_a_killed_pool_is_closed<K: Kind>() {
    is_closed_by_a_kill::<K>("h15-shutdown-reply", "shutdown", |pool| {
        Box::pin(async move { pool.shutdown(TimeLimit(FOREVER)).await.map(drop) })
    });
}

/// `ResizeReport::settled` ends, empty, if the pool ends first.
fn the_debt_of_a_killed_pool_is_settled<K: Kind>() {
    let scene = Scene::<K>::new("h15-debt");
    let report = scene.pool.blocking().resize(Limits::fixed(1), TimeLimit(FOREVER)).expect("it answers");
    assert_eq!(report.debt, 1);
    let mut waits: Waits<'_, _> = Box::pin(report.settled());
    scene.still_waits(&mut waits);
    scene.by_the_parent(|pool| pool.actor().kill());
    assert_eq!(scene.promptly("the debt", waits), []);
}

/// The same when the caller ends the pool, whose actor then dies by a kill too.
fn a_drain_of_an_aborted_pool_is_answered<K: Kind>() {
    let scene = Scene::<K>::new("h15-drain-abort");
    let mut waits: Waits<'_, _> = Box::pin(scene.pool.drain(TimeLimit(FOREVER)));
    scene.still_waits(&mut waits);
    scene.by_the_parent(|pool| pool.abort());
    // Control may have seen in between that nothing is left to run.
    let answer = scene.promptly("a drain", waits);
    assert!(matches!(&answer, Ok(()) | Err(ControlError::Closed { operation: "drain", .. })), "{answer:?}");
}
