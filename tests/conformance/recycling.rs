//! Recycling, on a clock that the test moves: who is due, when its turn comes, and who is up meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use millpond::testing::SettableClock;
use millpond::{
    EventStream, Exit, Health, Limits, PoolEvent, PoolExecutor, Recycle, RecycleReason, Restart, TimeLimit, WorkerId,
};
use tokio_test::{assert_pending, task::spawn};

use crate::faults::{By, Faulty, with_faults};
use crate::rig::{PoolOf, after_control, at_rest, build, hold, put, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    a_worker_that_has_run_its_jobs_goes_when_another_is_up,
    where_there_is_no_room_for_another_it_goes_first,
    a_worker_is_due_at_an_age_of_its_own_and_they_go_one_at_a_time,
    a_busy_worker_goes_after_its_job_and_does_not_hold_up_the_others,
    an_idle_worker_is_replaced_where_the_idle_timeout_does_not_reach,
    a_job_makes_an_idle_worker_fresh,
    a_shutdown_does_not_wait_for_those_who_are_due,
}

mod faulty {
    use super::*;

    with_faults! { a_slot_that_cools_down_beyond_min_holds_up_nobody }
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

struct Rig<S: Subject> {
    pool: PoolOf<S>,
    clock: SettableClock,
    events: EventStream,
    seen: Vec<Seen>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Seen {
    Up(WorkerId),
    Due(WorkerId, RecycleReason),
    Gone(WorkerId, RecycleReason),
}

impl<S: Subject> Rig<S> {
    fn new(what: &str, limits: Limits, recycle: Recycle) -> Self {
        let clock = SettableClock::new();
        let pool = build::<S>(what, |builder| {
            let never_asked = By(|| -> Restart { panic!("it is no fault") });
            builder.limits(limits.idle_timeout(None)).recycle(recycle).restart_policy(never_asked).clock(clock.clock())
        });
        until("all are up", || pool.saturation().idle == limits.min);
        after_control(&pool);
        let events = pool.events();
        Self { pool, clock, events, seen: Vec::new() }
    }

    /// Control has heard of it when this returns.
    fn advance(&self, span: Duration) {
        self.clock.advance(span);
        after_control(&self.pool);
    }

    fn look(&mut self) {
        while let Some(event) = self.events.try_next() {
            self.seen.push(match event {
                PoolEvent::WorkerReady { worker, .. } => Seen::Up(worker),
                PoolEvent::RecycleDue { worker, reason } => Seen::Due(worker, reason),
                PoolEvent::WorkerGone { worker, exit: Exit::Recycled(reason) } => Seen::Gone(worker, reason),
                PoolEvent::Gate { .. } => continue,
                other => panic!("{other:?}"),
            });
        }
    }

    fn gone(&mut self) -> Vec<(WorkerId, RecycleReason)> {
        self.look();
        let gone = |seen: &Seen| if let Seen::Gone(worker, reason) = seen { Some((*worker, *reason)) } else { None };
        self.seen.iter().filter_map(gone).collect()
    }

    #[track_caller]
    fn until_gone(&mut self, workers: usize) -> Vec<(WorkerId, RecycleReason)> {
        let mut gone = Vec::new();
        until("they are gone, and others are up", || {
            gone = self.gone();
            let min = self.pool.snapshot().limits.min;
            gone.len() == workers && self.pool.saturation().idle >= min
        });
        gone
    }

    /// So many jobs, one after another, each for a worker that idles, so that none is started for it.
    fn run(&self, jobs: u64) {
        for n in 0..jobs {
            until("a worker idles", || self.pool.saturation().idle > 0);
            assert_eq!(soon(put::<S>(&self.pool, Task::value(n))).unwrap(), n);
        }
    }

    /// The fewest workers that were up at any time, by what was told: one that is up is told of before it lets another go.
    fn fewest(&mut self) -> usize {
        self.look();
        let mut up = self.pool.snapshot().limits.min;
        let mut fewest = up;
        for seen in &self.seen {
            match seen {
                Seen::Up(_) => up += 1,
                Seen::Gone(..) => {
                    up -= 1;
                    fewest = fewest.min(up);
                }
                Seen::Due(..) => {}
            }
        }
        fewest
    }
}

fn a_worker_that_has_run_its_jobs_goes_when_another_is_up<S: Subject>() {
    let mut rig = Rig::<S>::new("jobs", Limits::new(1, 2), Recycle::new().after_jobs(3));
    rig.run(2);
    after_control(&rig.pool);
    assert_eq!(rig.gone(), []);
    rig.run(1);
    let old = WorkerId { slot: 0, generation: 1 };
    assert_eq!(rig.until_gone(1), [(old, RecycleReason::Jobs(3))]);
    let new = WorkerId { slot: 1, generation: 1 };
    let due = Seen::Due(old, RecycleReason::Jobs(3));
    assert_eq!(rig.seen, [due, Seen::Up(new), Seen::Gone(old, RecycleReason::Jobs(3))]);
    assert_eq!(rig.pool.saturation().workers, 1);
    rig.run(3);
    let gone = rig.until_gone(2);
    assert_eq!(gone[1], (new, RecycleReason::Jobs(3)));
    assert!(gone[1].1.to_string() == "after 3 jobs" && rig.fewest() == 1);
    at_rest(&rig.pool);
}

/// It is a seat that can be filled, so no reader of the pool's health misses it.
fn where_there_is_no_room_for_another_it_goes_first<S: Subject>() {
    let mut rig = Rig::<S>::new("no-room", Limits::fixed(1), Recycle::new().after_jobs(2));
    for generation in 1..=3 {
        rig.run(2);
        let gone = rig.until_gone(generation as usize);
        assert_eq!(gone.last(), Some(&(WorkerId { slot: 0, generation }, RecycleReason::Jobs(2))));
        assert_eq!(rig.pool.snapshot().health, Health::Healthy);
    }
    let inventory = rig.pool.inventory_now();
    assert_eq!((inventory.workers.len(), inventory.workers[0].restarts), (1, 0), "{inventory}");
    at_rest(&rig.pool);
}

fn a_worker_is_due_at_an_age_of_its_own_and_they_go_one_at_a_time<S: Subject>() {
    let mut rig = Rig::<S>::new("ages", Limits::fixed(4), Recycle::new().after_age(HOUR));
    rig.advance(HOUR * 3 / 4 - Duration::from_millis(1));
    rig.look();
    assert_eq!(rig.seen, [], "nobody is due");
    let mut ages = BTreeSet::new();
    for minute in 45..60 {
        rig.advance(MINUTE);
        until("those who are due are gone, and others are up", || {
            rig.look();
            let due = rig.seen.iter().filter(|seen| matches!(seen, Seen::Due(..))).count();
            rig.gone().len() == due && rig.pool.saturation().idle == 4
        });
        if rig.gone().len() > ages.len() {
            ages.insert(minute);
        }
    }
    let gone = rig.until_gone(4);
    let slots: BTreeSet<_> = gone.iter().map(|(worker, _)| worker.slot).collect();
    assert!(slots.len() == 4 && ages.len() >= 3, "each at a moment of its own: {:?}", rig.seen);
    let in_time =
        |reason: &RecycleReason| matches!(reason, RecycleReason::Age(age) if (HOUR * 3 / 4..=HOUR).contains(age));
    assert!(gone.iter().all(|(_, reason)| in_time(reason)), "{gone:?}");
    assert_eq!(rig.fewest(), 3, "never two at a time");
    at_rest(&rig.pool);
}

fn a_busy_worker_goes_after_its_job_and_does_not_hold_up_the_others<S: Subject>() {
    let mut rig = Rig::<S>::new("busy", Limits::fixed(2), Recycle::new().after_age(HOUR));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 1).pop().expect("one");
    let busy = worker_of(&rig.pool, &held);
    rig.advance(HOUR);
    until("the other one is replaced", || rig.gone().len() == 1 && rig.pool.saturation().idle == 1);
    assert_ne!(rig.gone()[0].0, busy);
    after_control(&rig.pool);
    assert_eq!(rig.pool.saturation().active, 1, "its job goes on");
    gate.open();
    assert_eq!(soon(held).unwrap(), 0);
    assert_eq!(rig.until_gone(2)[1].0, busy);
    assert_eq!(rig.fewest(), 1);
    at_rest(&rig.pool);
}

fn an_idle_worker_is_replaced_where_the_idle_timeout_does_not_reach<S: Subject>() {
    let mut rig = Rig::<S>::new("idle", Limits::new(2, 3), Recycle::new().after_idle(MINUTE));
    rig.advance(MINUTE / 2);
    rig.advance(MINUTE / 2);
    let gone = rig.until_gone(2);
    assert!(gone.iter().all(|(_, reason)| matches!(reason, RecycleReason::Idle(span) if *span >= MINUTE)), "{gone:?}");
    assert_eq!((rig.pool.saturation().workers, rig.fewest()), (2, 2), "another was up first, each time");
    // Those who came in their place have their own minute.
    rig.advance(MINUTE / 2);
    assert_eq!(rig.gone().len(), 2);
    at_rest(&rig.pool);
}

fn a_job_makes_an_idle_worker_fresh<S: Subject>() {
    let mut rig = Rig::<S>::new("fresh", Limits::fixed(1), Recycle::new().after_idle(MINUTE));
    for _ in 0..4 {
        rig.advance(MINUTE * 3 / 4);
        rig.run(1);
        until("it idles", || rig.pool.saturation().idle == 1);
    }
    assert_eq!(rig.gone(), []);
    at_rest(&rig.pool);
}

fn a_shutdown_does_not_wait_for_those_who_are_due<S: Subject>() {
    let mut rig = Rig::<S>::new("shutdown", Limits::fixed(2), Recycle::new().after_age(HOUR));
    let gate = Gate::new();
    let held = hold::<S>(&rig.pool, &gate, 2);
    rig.advance(HOUR);
    rig.look();
    let due = rig.seen.iter().filter(|seen| matches!(seen, Seen::Due(..))).count();
    assert_eq!((due, rig.gone().len()), (2, 0));
    let mut end = spawn(rig.pool.shutdown(TimeLimit::secs(30)));
    assert_pending!(end.poll());
    after_control(&rig.pool);
    gate.open();
    let report = soon(end).expect("it answers");
    assert_eq!((report.completed, report.jobs()), (2, 2), "{report}");
    held.into_iter().for_each(|handle| assert_eq!(soon(handle).unwrap(), 0));
}

fn a_slot_that_cools_down_beyond_min_holds_up_nobody<S: Faulty>() {
    let clock = SettableClock::new();
    let pool = build::<S>("cools-beside", |builder| {
        let builder = S::shape(builder).restart_policy(By(|| Restart::CoolDown(HOUR))).clock(clock.clock());
        builder.limits(Limits::new(1, 3).idle_timeout(None)).recycle(Recycle::new().after_jobs(3))
    });
    let mut events = pool.events();
    let fuse = S::lay(&pool);
    assert!(soon(fuse.light()).is_err());
    until("its slot cools down", || {
        std::iter::from_fn(|| events.try_next())
            .any(|event| matches!(event, PoolEvent::RestartDecided { restart: Restart::CoolDown(_), .. }))
    });
    for n in 0..3 {
        assert_eq!(soon(put::<S>(&pool, Task::value(n))).unwrap(), n);
        until("its worker idles", || pool.saturation().active == 0 && pool.saturation().idle > 0);
    }
    let mut gone = None;
    until("the worker is recycled", || {
        while let Some(event) = events.try_next() {
            if let PoolEvent::WorkerGone { exit: Exit::Recycled(reason), .. } = event {
                gone = Some(reason);
            }
        }
        gone.is_some()
    });
    assert_eq!(gone, Some(RecycleReason::Jobs(3)));
    at_rest(&pool);
}
